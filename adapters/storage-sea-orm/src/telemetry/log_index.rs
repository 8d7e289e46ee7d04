//! What is in the log of a SQLite file, by device, in memory: the file has no index of it.
//!
//! The index goes on from the last id it has seen, whoever wrote the rows: ids of a SQLite file appear in their order. So a
//! process that only reads has it too, at the cost of reading the log once. Rows that are no longer in the log may be in
//! the index for a while; who finds one fetches nothing.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_domain::SortOrder;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use super::log_entry::{Entry, ReadRow};
use super::window::{Place, Scope, Window};

/// A row of one device: time, id, topic, kind.
type Row = (i64, i64, i64, u64);

/// The index of a log.
#[derive(Default)]
pub(crate) struct LogIndex {
    rows: Mutex<Rows>,
    /// Held while the log is read, so that it is read once.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Rows {
    /// The last id that was read.
    seen: i64,
    /// Rows up to here are not in the log any more.
    sealed: i64,
    count: usize,
    devices: HashMap<i64, Device>,
}

struct Device {
    tenant: i64,
    /// Ordered.
    rows: Vec<Row>,
}

impl LogIndex {
    /// Rows that are read at a time.
    const PAGE: usize = 5_000;
    /// The most rows; a log that is longer is read for each query instead. 32 bytes each.
    const MOST: usize = 300_000;
    /// Payloads that are longer are not read to know their kinds.
    const LONG: usize = 1_024;

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes rows that were just committed, in the order of their ids, if none before them is missing.
    pub(crate) fn note(&self, entries: impl Iterator<Item = Entry>) {
        let mut rows = self.lock();
        for entry in entries {
            if entry.id != rows.seen + 1 || rows.count >= Self::MOST {
                return;
            }
            rows.add(entry);
        }
    }

    /// Whether the log has no more than this, when its last row is `last`; rows up to `sealed` are forgotten.
    pub(crate) fn reaches(&self, sealed: i64, last: i64) -> bool {
        let mut rows = self.lock();
        rows.forget_up_to(sealed);
        rows.seen >= last
    }

    /// Reads what the log has more, as a transaction sees it; rows up to `sealed` are forgotten. `false` when there are too
    /// many.
    pub(crate) async fn catch_up(&self, transaction: &impl ConnectionTrait, sealed: i64) -> Result<bool, DbErr> {
        let _reading = self.reading.lock().await;
        loop {
            let seen = {
                let mut rows = self.lock();
                rows.forget_up_to(sealed);
                if rows.count >= Self::MOST {
                    return Ok(false);
                }
                rows.seen
            };
            let sql = format!(
                "SELECT id, tenant, device, topic, timestamp,
                    CASE WHEN octet_length(payload) <= {} THEN payload END AS payload
                FROM telemetry WHERE id > $1 ORDER BY id LIMIT {}",
                Self::LONG,
                Self::PAGE
            );
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [seen.into()]);
            let page = ReadRow::find_by_statement(statement).all(transaction).await?;
            let page: Vec<Entry> = page.into_iter().map(Entry::from).collect();
            let is_last = page.len() < Self::PAGE;
            let mut rows = self.lock();
            for entry in page {
                // An append may have noted some of them meanwhile.
                if entry.id > rows.seen {
                    rows.add(entry);
                }
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    /// Forgets rows that are in chunks now.
    pub(crate) fn forget_up_to(&self, sealed: i64) {
        self.lock().forget_up_to(sealed);
    }

    /// Forgets rows that were removed, named by device and id.
    pub(crate) fn forget(&self, removed: impl Iterator<Item = (i64, i64)>) {
        let mut by_device: HashMap<i64, HashSet<i64>> = HashMap::new();
        for (device, id) in removed {
            by_device.entry(device).or_default().insert(id);
        }
        let mut rows = self.lock();
        for (key, ids) in by_device {
            let Some(device) = rows.devices.get_mut(&key) else { continue };
            let before = device.rows.len();
            device.rows.retain(|row| !ids.contains(&row.1));
            let (is_empty, fewer) = (device.rows.is_empty(), before - device.rows.len());
            rows.count -= fewer;
            if is_empty {
                rows.devices.remove(&key);
            }
        }
    }

    /// The places of rows in the window, in its order; at most so many. `None` when rows behind `sealed` are forgotten, because
    /// somebody else saw them sealed: they are still in the log for whoever sees it as it was before.
    pub(crate) fn find(&self, sealed: i64, scope: &Scope, window: &Window, limit: usize) -> Option<Vec<Place>> {
        let rows = self.lock();
        if rows.sealed > sealed {
            return None;
        }
        Some(rows.find(scope, window, limit))
    }
}

impl LogIndex {
    /// The ids of all rows of a device behind one, in no order. `None` as in [`find`](Self::find).
    pub(crate) fn behind(&self, sealed: i64, device: i64, after: i64) -> Option<Vec<i64>> {
        let rows = self.lock();
        if rows.sealed > sealed {
            return None;
        }
        let Some(device) = rows.devices.get(&device) else { return Some(Vec::new()) };
        Some(device.rows.iter().map(|row| row.1).filter(|id| *id > after).collect())
    }

    /// The ids of the rows of a device between two ids, of each kind on each topic the last one by its place; in no order. `None` as in
    /// [`find`](Self::find).
    pub(crate) fn last_of_each_kind(&self, sealed: i64, device: i64, (after, up_to): (i64, i64)) -> Option<Vec<i64>> {
        let rows = self.lock();
        if rows.sealed > sealed {
            return None;
        }
        let Some(device) = rows.devices.get(&device) else { return Some(Vec::new()) };
        let mut seen = HashSet::new();
        let newest_first = device.rows.iter().rev().filter(|row| row.1 > after && row.1 <= up_to);
        Some(newest_first.filter(|row| seen.insert((row.2, row.3))).map(|row| row.1).collect())
    }

    /// The ids of all rows of these devices at these times, given as pairs. `None` as in [`find`](Self::find).
    pub(crate) fn at(&self, sealed: i64, places: &[(i64, i64)]) -> Option<Vec<i64>> {
        let rows = self.lock();
        if rows.sealed > sealed {
            return None;
        }
        let mut ids = Vec::new();
        for (device, at) in places {
            let Some(device) = rows.devices.get(device) else { continue };
            let first = device.rows.partition_point(|row| row.0 < *at);
            let of_time = device.rows[first..].iter().take_while(|row| row.0 == *at);
            ids.extend(of_time.map(|row| row.1).filter(|id| *id > sealed));
        }
        Some(ids)
    }
}

impl Rows {
    fn find(&self, scope: &Scope, window: &Window, limit: usize) -> Vec<Place> {
        match scope {
            Scope::Device { tenant, key } => {
                let device = self.devices.get(key).filter(|device| device.tenant == *tenant);
                let Some(device) = device else { return Vec::new() };
                let found = device.within(window);
                let is_wanted = |row: &&Row| window.has_place((row.0, row.1)) && window.has_topic(row.2);
                let place = |row: &Row| (row.0, row.1);
                match window.order {
                    SortOrder::Ascending => found.iter().filter(is_wanted).take(limit).map(place).collect(),
                    SortOrder::Descending => found.iter().rev().filter(is_wanted).take(limit).map(place).collect(),
                }
            }
            Scope::Tenant { tenant, .. } => {
                let devices = self.devices.iter().filter(|(key, device)| device.tenant == *tenant && scope.has(**key));
                merge(devices.map(|(_, device)| device.within(window)), window, limit)
            }
        }
    }
}

/// The first rows of many ordered lists, in the order of the window.
fn merge<'a>(lists: impl Iterator<Item = &'a [Row]>, window: &Window, limit: usize) -> Vec<Place> {
    // The place of a list's next row, such that the greatest is the next in the order.
    let rank = |row: &Row| match window.order {
        SortOrder::Ascending => (-row.0, -row.1),
        SortOrder::Descending => (row.0, row.1),
    };
    let split = |list: &'a [Row]| match window.order {
        SortOrder::Ascending => list.split_first(),
        SortOrder::Descending => list.split_last(),
    };
    let mut lists: Vec<&[Row]> = lists.collect();
    let mut heap: BinaryHeap<(Place, usize)> =
        lists.iter().enumerate().filter_map(|(number, list)| Some((rank(split(list)?.0), number))).collect();
    let mut found = Vec::new();
    while let Some((_, number)) = heap.pop() {
        let Some((row, rest)) = split(lists[number]) else { continue };
        lists[number] = rest;
        if window.has_place((row.0, row.1)) && window.has_topic(row.2) {
            found.push((row.0, row.1));
            if found.len() == limit {
                break;
            }
        }
        heap.extend(split(rest).map(|(next, _)| (rank(next), number)));
    }
    found
}

impl Device {
    /// The rows between the window's times.
    fn within(&self, window: &Window) -> &[Row] {
        let range: Range<usize> =
            self.rows.partition_point(|row| row.0 < window.from)..self.rows.partition_point(|row| row.0 <= window.to);
        self.rows.get(range).unwrap_or_default()
    }
}

impl Rows {
    fn add(&mut self, entry: Entry) {
        self.seen = entry.id;
        if entry.id <= self.sealed {
            return;
        }
        self.count += 1;
        let device =
            self.devices.entry(entry.device).or_insert_with(|| Device { tenant: entry.tenant, rows: Vec::new() });
        let row = (entry.timestamp, entry.id, entry.topic, entry.kind);
        match device.rows.last() {
            Some(last) if *last > row => {
                let place = device.rows.partition_point(|other| *other < row);
                device.rows.insert(place, row);
            }
            _ => device.rows.push(row),
        }
    }

    fn forget_up_to(&mut self, sealed: i64) {
        if sealed <= self.sealed {
            return;
        }
        self.sealed = sealed;
        self.seen = self.seen.max(sealed);
        self.devices.retain(|_, device| {
            device.rows.retain(|row| row.1 > sealed);
            device.rows.shrink_to(2 * device.rows.len());
            !device.rows.is_empty()
        });
        self.count = self.devices.values().map(|device| device.rows.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(rows: &[(i64, i64, i64)]) -> LogIndex {
        let index = LogIndex::default();
        let entry =
            |(id, &(device, timestamp, topic))| Entry { id, tenant: device / 10, device, topic, timestamp, kind: 0 };
        index.note((1..).zip(rows).map(entry));
        index
    }

    fn window(from: i64, to: i64, order: SortOrder) -> Window {
        Window { from, to, after: None, order, topics: None }
    }

    fn found(index: &LogIndex, scope: &Scope, window: &Window, limit: usize) -> Vec<Place> {
        index.find(i64::MAX, scope, window, limit).unwrap()
    }

    fn ids(places: &[Place]) -> Vec<i64> {
        places.iter().map(|place| place.1).collect()
    }

    #[test]
    fn late_rows_are_in_their_place() {
        let index = index(&[(1, 5, 1), (1, 7, 1), (2, 1, 1), (1, 6, 2), (1, 5, 1)]);
        let all = window(0, 100, SortOrder::Ascending);
        assert_eq!(ids(&found(&index, &Scope::Device { tenant: 0, key: 1 }, &all, 10)), [1, 5, 4, 2]);
        let newest = window(0, 6, SortOrder::Descending);
        assert_eq!(ids(&found(&index, &Scope::Device { tenant: 0, key: 1 }, &newest, 2)), [4, 5]);
        let on_topic = Window { topics: Some([2].into()), ..all };
        assert_eq!(ids(&found(&index, &Scope::Device { tenant: 0, key: 1 }, &on_topic, 10)), [4]);
    }

    #[test]
    fn the_rows_of_a_tenant_come_in_one_order() {
        let index = index(&[(11, 5, 1), (12, 4, 1), (11, 6, 1), (13, 5, 1), (21, 5, 1), (12, 5, 1)]);
        let scope = Scope::Tenant { tenant: 1, deleted: [13].into() };
        assert_eq!(ids(&found(&index, &scope, &window(0, 9, SortOrder::Ascending), 10)), [2, 1, 6, 3]);
        assert_eq!(ids(&found(&index, &scope, &window(5, 9, SortOrder::Descending), 2)), [3, 6]);
        let mut after = window(0, 9, SortOrder::Ascending);
        after.go_on_after((5, 1));
        assert_eq!(ids(&found(&index, &scope, &after, 10)), [6, 3]);
    }

    #[test]
    fn what_is_sealed_is_forgotten() {
        let index = index(&[(1, 5, 1), (2, 6, 1), (1, 7, 1)]);
        index.lock().forget_up_to(2);
        assert_eq!(
            ids(&found(&index, &Scope::Device { tenant: 0, key: 1 }, &window(0, 9, SortOrder::Ascending), 9)),
            [3]
        );
        assert!(!index.lock().devices.contains_key(&2));
        assert_eq!(index.lock().count, 1);
        assert_eq!(index.at(2, &[(1, 5), (1, 7)]), Some(vec![3]));
        assert_eq!(index.at(1, &[(1, 7)]), None);
        // Who sees the log as it was before has to read it.
        assert_eq!(index.find(1, &Scope::Device { tenant: 0, key: 1 }, &window(0, 9, SortOrder::Ascending), 9), None);
    }

    #[test]
    fn what_is_removed_is_forgotten() {
        let index = index(&[(11, 5, 1), (12, 4, 1), (11, 6, 1), (21, 5, 1)]);
        index.forget([(11, 1), (12, 2), (13, 9)].into_iter());
        let scope = |tenant| Scope::Tenant { tenant, deleted: HashSet::new() };
        assert_eq!(ids(&found(&index, &scope(1), &window(0, 9, SortOrder::Ascending), 9)), [3]);
        assert_eq!(ids(&found(&index, &scope(2), &window(0, 9, SortOrder::Ascending), 9)), [4]);
        assert_eq!(index.lock().count, 2);
        assert!(!index.lock().devices.contains_key(&12));
    }

    #[test]
    fn rows_after_a_gap_are_not_noted() {
        let index = index(&[(1, 5, 1)]);
        index.note([Entry { id: 3, tenant: 0, device: 1, topic: 1, timestamp: 9, kind: 0 }].into_iter());
        assert_eq!(index.lock().seen, 1);
    }

    #[test]
    fn of_each_kind_on_each_topic_the_last_row_is_told() {
        let index = LogIndex::default();
        let entries = [(1, 5, 7), (1, 4, 7), (2, 9, 7), (1, 8, 6), (1, 6, 7), (1, 9, 7)];
        let entry = |(id, (topic, timestamp, kind))| Entry { id, tenant: 1, device: 1, topic, timestamp, kind };
        index.note((1..).zip(entries).map(entry));
        let told = |between| {
            let mut ids = index.last_of_each_kind(0, 1, between).unwrap();
            ids.sort_unstable();
            ids
        };
        assert_eq!(told((0, 6)), [3, 4, 6]);
        assert_eq!(told((0, 5)), [3, 4, 5]);
        assert_eq!(told((0, 2)), [1]);
        assert_eq!(told((4, 6)), [6]);
        assert_eq!(index.last_of_each_kind(0, 2, (0, 6)), Some(Vec::new()));
        index.forget_up_to(3);
        assert_eq!(index.last_of_each_kind(2, 1, (2, 6)), None);
    }
}
