//! Which rows are wanted: whose, from when to when, on which topics, and in which order.

use std::collections::HashSet;

use pocket_domain::{SortOrder, TelemetryQuery, Timestamp};

/// Where a row stands in a history: its time, then its id.
pub(crate) type Place = (i64, i64);

/// Whose rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scope {
    /// Those of one device, which is the tenant's.
    Device { tenant: i64, key: i64 },
    /// Those of a tenant, without devices that are being removed.
    Tenant { tenant: i64, deleted: HashSet<i64> },
}

impl Scope {
    /// Whether a device's rows are meant, of those that the scope's column finds.
    pub(crate) fn has(&self, device: i64) -> bool {
        match self {
            Self::Device { key, .. } => *key == device,
            Self::Tenant { deleted, .. } => !deleted.contains(&device),
        }
    }

    /// The condition that tells whose rows they are. That of a device names its tenant as well: a key of a device that came from
    /// elsewhere than this database must not lead to what is another tenant's.
    pub(crate) fn condition(&self) -> String {
        // Both are numbers of our own.
        match self {
            Self::Device { tenant, key } => format!("device = {key} AND tenant = {tenant}"),
            Self::Tenant { tenant, .. } => format!("tenant = {tenant}"),
        }
    }
}

/// Which of these rows.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The first time, included.
    pub(crate) from: i64,
    /// The last time, included.
    pub(crate) to: i64,
    /// Beyond this place in the order.
    pub(crate) after: Option<Place>,
    /// Which way.
    pub(crate) order: SortOrder,
    /// The topics; `None`: any.
    pub(crate) topics: Option<HashSet<i64>>,
}

impl Window {
    /// What a query asks for. Both bounds of time hold, so that a page far into the history begins where the cursor stands.
    pub(crate) fn of(query: &TelemetryQuery, topics: Option<HashSet<i64>>) -> Self {
        let mut window = Self {
            from: query.from.map_or(0, Timestamp::as_millis),
            to: query.to.map_or(Timestamp::MAX.as_millis(), |to| to.as_millis() - 1),
            after: None,
            order: query.order,
            topics,
        };
        if let Some(cursor) = query.cursor {
            window.go_on_after((cursor.timestamp.as_millis(), i64::try_from(cursor.id.as_key()).unwrap_or(i64::MAX)));
        }
        window
    }

    /// Leaves only what is beyond a place.
    pub(crate) fn go_on_after(&mut self, place: Place) {
        self.after = Some(place);
        match self.order {
            SortOrder::Ascending => self.from = self.from.max(place.0),
            SortOrder::Descending => self.to = self.to.min(place.0),
        }
    }

    /// Whether a row at this place is wanted, as far as times and the order say.
    pub(crate) fn has_place(&self, place: Place) -> bool {
        (self.from..=self.to).contains(&place.0)
            && self.after.is_none_or(|after| match self.order {
                SortOrder::Ascending => place > after,
                SortOrder::Descending => place < after,
            })
    }

    /// Whether rows of the topic are wanted.
    pub(crate) fn has_topic(&self, topic: i64) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.contains(&topic))
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{TelemetryCursor, TelemetryId};

    use super::*;

    #[test]
    fn a_window_ends_where_its_query_does() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let cursor = |millis, id| Some(TelemetryCursor { timestamp: at(millis), id: TelemetryId::from_key(id) });
        let query = TelemetryQuery { from: Some(at(5)), to: Some(at(9)), ..Default::default() };
        let window = |order, cursor| Window::of(&TelemetryQuery { order, cursor, ..query.clone() }, None);
        let found = |window: &Window| (0..12).filter(|at| window.has_place((*at, 2))).collect::<Vec<_>>();
        assert_eq!(found(&window(SortOrder::Ascending, None)), [5, 6, 7, 8]);
        assert_eq!(found(&window(SortOrder::Ascending, cursor(6, 2))), [7, 8]);
        assert_eq!(found(&window(SortOrder::Ascending, cursor(6, 1))), [6, 7, 8]);
        assert_eq!(found(&window(SortOrder::Descending, cursor(6, 2))), [5]);
        assert_eq!(found(&window(SortOrder::Descending, cursor(6, 3))), [5, 6]);
        assert_eq!(found(&Window::of(&TelemetryQuery::default(), None)), (0..12).collect::<Vec<_>>());
    }
}
