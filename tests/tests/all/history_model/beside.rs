//! Questions while others write.
//!
//! Batches and deletions of devices are writes that take effect at one moment each, between their call and their return. So an
//! answer must be that of the list after exactly so many writes: no fewer than had returned when the question was asked, and
//! no more than had been called when it was answered. Sealing and merging change nothing that anybody sees.
//!
//! Pruning removes a few messages at a time. While it is under way an answer has every message that is there at its end, and
//! of those that go, any.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pocket_domain::{
    Aggregate, DeviceId, LatestQuery, LatestValue, NewTelemetry, Series, SortOrder, Telemetry, TelemetryId, TenantId,
};
use pocket_ports::Storage;
use tokio::task::JoinSet;

use super::questions::{Question, Told, wanted};
use super::world::{World, add, prune_all};

/// Tasks that ask at the same time, and what each asks.
const ASKERS: usize = 3;
const QUESTIONS: usize = 6;

enum Write {
    Append(Vec<NewTelemetry>),
    Delete(DeviceId),
}

/// How many writes were called, and how many have returned.
#[derive(Default)]
struct Count {
    called: AtomicUsize,
    returned: AtomicUsize,
}

/// A question that was answered while something was written.
struct Asked {
    question: Question,
    told: Told,
    /// Writes that had returned when it was asked.
    least: usize,
    /// Writes that had been called when it was answered.
    most: usize,
}

/// Asks one question after the other, each of one of two processes.
async fn ask_all(storages: [Storage; 2], tenant: TenantId, questions: Vec<Question>, count: Arc<Count>) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (n, question) in questions.into_iter().enumerate() {
        let least = count.returned.load(Ordering::SeqCst);
        let told = question.ask(&storages[n % 2], tenant).await;
        let most = count.called.load(Ordering::SeqCst);
        asked.push(Asked { question, told, least, most });
    }
    asked
}

async fn write_all(
    storage: Storage,
    tenant: TenantId,
    writes: Arc<Vec<Write>>,
    count: Arc<Count>,
) -> Vec<Vec<Option<TelemetryId>>> {
    let mut ids = Vec::new();
    for write in writes.iter() {
        count.called.fetch_add(1, Ordering::SeqCst);
        ids.push(match write {
            Write::Append(messages) => storage.telemetry.append(messages.clone().into()).await.unwrap(),
            Write::Delete(device) => {
                assert!(storage.devices.delete(tenant, *device).await.unwrap());
                Vec::new()
            }
        });
        count.returned.fetch_add(1, Ordering::SeqCst);
    }
    ids
}

impl World {
    fn any_questions(&mut self) -> Vec<Vec<Question>> {
        (0..ASKERS).map(|_| (0..QUESTIONS).map(|_| self.any_question()).collect()).collect()
    }

    /// Starts tasks that ask; who writes counts in `count`.
    fn start_asking(&self, questions: Vec<Vec<Question>>, count: &Arc<Count>) -> JoinSet<Vec<Asked>> {
        let mut askers = JoinSet::new();
        for (n, questions) in questions.into_iter().enumerate() {
            let process = self.process();
            let mut storages = [process.storage.clone(), process.other.clone()];
            storages.rotate_left(n % 2);
            let task = ask_all(storages, self.tenant, questions, Arc::clone(count));
            askers.spawn_on(task, process.runtime.handle());
        }
        askers
    }

    /// Batches are written, and perhaps a device is deleted between them, while questions are asked.
    pub(super) fn write_beside_questions(&mut self) {
        let questions = self.any_questions();
        let mut writes = Vec::new();
        let deletion = self.random.below(20);
        let count = Arc::new(Count::default());
        for n in 0..2 + self.random.below(8) {
            let messages = self.messages();
            writes.push(Write::Append(messages));
            if n == deletion {
                let place = usize::try_from(self.random.below(self.devices.len() as u64)).unwrap();
                writes.push(Write::Delete(self.devices.remove(place)));
            }
        }
        let writes = Arc::new(writes);
        let askers = self.start_asking(questions, &count);
        let process = self.process();
        let writer = if self.now.is_multiple_of(2) { &process.storage } else { &process.other };
        let writing = write_all(writer.clone(), self.tenant, Arc::clone(&writes), count);
        let (ids, asked) = process.run(async { tokio::join!(writing, askers.join_all()) });
        let states = self.states(&writes, ids);
        for Asked { question, told, least, most } in asked.into_iter().flatten() {
            let is_right = states[least..=most].iter().any(|rows| question.answer(rows) == told);
            assert!(
                is_right,
                "{question:?}\nwas answered {told:#?}\nafter {least} to {most} writes, which is none of {:#?}",
                states[least..=most].iter().map(|rows| question.answer(rows)).collect::<Vec<_>>()
            );
        }
        if self.devices.len() < self.size.devices {
            self.register_another();
        }
    }

    /// The list after each number of writes; the last becomes that of the world.
    fn states(&mut self, writes: &[Write], ids: Vec<Vec<Option<TelemetryId>>>) -> Vec<Vec<Telemetry>> {
        let mut states = vec![self.rows.clone()];
        for (write, ids) in writes.iter().zip(ids) {
            match write {
                Write::Append(messages) => add(&mut self.rows, messages.clone(), ids),
                Write::Delete(device) => self.rows.retain(|row| row.device_id != *device),
            }
            states.push(self.rows.clone());
        }
        states
    }

    /// Messages go for their age while questions are asked.
    pub(super) fn prune_beside_questions(&mut self) {
        let (from, now) = self.any_end();
        let questions = self.any_questions();
        let askers = self.start_asking(questions, &Arc::default());
        let process = self.process();
        let (_, asked) = process.run(async { tokio::join!(prune_all(&process.storage, now), askers.join_all()) });
        let before = self.rows.clone();
        self.see_pruned(from);
        for Asked { question, told, .. } in asked.into_iter().flatten() {
            let is_right = is_between(&question, &told, &before, &self.rows);
            assert!(is_right, "{question:?} was answered {told:#?} while messages before {from:?} went");
        }
    }
}

/// Whether an answer has all that is left, and nothing that never was.
fn is_between(question: &Question, told: &Told, before: &[Telemetry], after: &[Telemetry]) -> bool {
    match (question, told) {
        (Question::Range(query), Told::Range(page)) => {
            let (all, left) = (wanted(query, before), wanted(query, after));
            let mut rest = all.into_iter();
            // In their order, each once.
            let are_of_these = page.rows.iter().all(|row| rest.any(|present| present == row));
            let is_in_page = |row: &&&Telemetry| match (&page.next, page.rows.last(), query.order) {
                (None, ..) => true,
                (Some(_), Some(last), SortOrder::Ascending) => (row.timestamp, row.id) <= (last.timestamp, last.id),
                (Some(_), Some(last), SortOrder::Descending) => (row.timestamp, row.id) >= (last.timestamp, last.id),
                (Some(_), None, _) => false,
            };
            are_of_these && left.iter().filter(is_in_page).all(|row| page.rows.contains(row))
        }
        (Question::Aggregate(query), Told::Aggregate(told)) => {
            // How many there are lies between; what they amount to is asked elsewhere.
            let count =
                Question::Aggregate(pocket_domain::AggregateQuery { aggregate: Aggregate::Count, ..query.clone() });
            let (Told::Aggregate(most), Told::Aggregate(least)) = (count.answer(before), count.answer(after)) else {
                return false;
            };
            let count = |all: &[Series], of: &Series, start| {
                let mut same = all.iter().filter(|series| {
                    (series.device_id, &series.key, &series.topic) == (of.device_id, &of.key, &of.topic)
                });
                let bucket = same.next().and_then(|series| series.buckets.iter().find(|bucket| bucket.start == start));
                bucket.map_or(0, |bucket| bucket.count)
            };
            told.iter().chain(&most).all(|series| {
                series.buckets.iter().all(|bucket| {
                    let start = bucket.start;
                    (count(&least, series, start)..=count(&most, series, start)).contains(&count(told, series, start))
                })
            })
        }
        (Question::Latest(device, query), Told::Latest(told)) => {
            is_latest_between(*device, query, &told.values, before, after)
        }
        _ => false,
    }
}

/// Of each key on each topic a value that was there, and none older than what is left.
fn is_latest_between(
    device: DeviceId,
    query: &LatestQuery,
    told: &[LatestValue],
    before: &[Telemetry],
    after: &[Telemetry],
) -> bool {
    let question = Question::Latest(device, query.clone());
    let Told::Latest(left) = question.answer(after) else { return false };
    let value_of = |of: &LatestValue| told.iter().find(|value| value.key == of.key && value.topic == of.topic);
    let was_there = |value: &LatestValue| {
        let is_its =
            |row: &&Telemetry| row.device_id == device && row.timestamp == value.timestamp && row.topic == value.topic;
        before.iter().filter(is_its).any(|row| {
            row.payload.leaves().iter().any(|leaf| leaf.path == value.key && *leaf.value.json() == *value.value)
        })
    };
    let is_told = |left: &LatestValue| match value_of(left) {
        Some(told) => told.timestamp >= left.timestamp,
        // Newer ones took its place.
        None => told.len() == query.most,
    };
    told.iter().all(was_there) && left.values.iter().all(is_told)
}
