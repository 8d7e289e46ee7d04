//! Messages of QoS 1 and 2 that were sent to a client and are not yet acknowledged.
//!
//! Packet ids are given out in order, so the window is a queue whose place tells the id: a look-up is an index. An
//! entry acknowledged out of order leaves a gap that closes when all before it are acknowledged. As long as an id is
//! inside the queue, gap or not, it is not given out again.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use crate::{Delivery, PacketId, QoS};

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Of a stored session at QoS 2: the packet id is being stored. Sent before, the message could come again with another
    /// id after a crash, and the client would take it for a new one.
    Recording,
    /// It can be sent for the first time.
    Recorded,
    /// Sent; QoS 1 waits for PUBACK, QoS 2 for PUBREC.
    Sent,
    /// Of a stored session: that the client has it is being stored. After PUBREL the message must not come again.
    Releasing,
    /// PUBREL was sent; QoS 2 waits for PUBCOMP.
    Released,
}

/// An unacknowledged message.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) delivery: Delivery,
    pub(crate) stage: Stage,
}

/// The window of one session.
#[derive(Debug)]
pub(crate) struct Inflight {
    entries: VecDeque<Option<Entry>>,
    /// The id of the first entry.
    first: PacketId,
    /// Entries that are no gaps.
    open: usize,
}

impl Default for Inflight {
    fn default() -> Self {
        Self { entries: VecDeque::new(), first: NonZeroU16::MIN, open: 0 }
    }
}

impl Inflight {
    /// Places in the queue, gaps included. A client that acknowledges later messages and never the first gets no more
    /// than this many.
    const SPAN: usize = 16_384;

    /// Whether another message may be sent when `maximum` may be unacknowledged.
    pub(crate) fn has_room(&self, maximum: u16) -> bool {
        self.open < usize::from(maximum) && self.entries.len() < Self::SPAN
    }

    /// Unacknowledged messages.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Takes a message that is about to be sent and gives it an id. The caller asks [`has_room`](Self::has_room) first.
    pub(crate) fn push(&mut self, delivery: Delivery, stage: Stage) -> PacketId {
        let id = advanced(self.first, self.entries.len());
        self.entries.push_back(Some(Entry { delivery, stage }));
        self.open += 1;
        id
    }

    /// The window as it was left, with the ids that the messages had.
    pub(crate) fn restore(left: Vec<(PacketId, Entry)>) -> Self {
        let mut by_id: Vec<_> = left.into_iter().collect();
        by_id.sort_by_key(|(id, _)| *id);
        // The ids go once around at most, so the first is the one behind the widest gap.
        let gap = |place: usize| {
            let before = by_id[(place + by_id.len() - 1) % by_id.len()].0;
            distance(before, by_id[place].0)
        };
        let Some(start) = (0..by_id.len()).max_by_key(|place| gap(*place)) else { return Self::default() };
        by_id.rotate_left(start);
        let first = by_id[0].0;
        let mut restored = Self { entries: VecDeque::new(), first, open: by_id.len() };
        for (id, entry) in by_id {
            restored.entries.resize_with(distance(first, id), || None);
            restored.entries.push_back(Some(entry));
        }
        restored
    }

    /// Whether the message of an id waits for something else than PUBACK (`AtLeastOnce`), PUBREC or PUBCOMP. An id that
    /// is not in flight waits for nothing, which contradicts nothing: its message may be done with.
    pub(crate) fn contradicts(&self, id: PacketId, qos: QoS) -> bool {
        self.get(id).is_some_and(|entry| entry.delivery.qos != qos)
    }

    /// Whether the message of an id does not yet, or never, wait for PUBCOMP.
    pub(crate) fn contradicts_complete(&self, id: PacketId) -> bool {
        self.get(id).is_some_and(|entry| entry.stage != Stage::Released)
    }

    /// PUBACK: ends a message of QoS 1; `None` when the id waits for no PUBACK.
    pub(crate) fn acknowledge(&mut self, id: PacketId) -> Option<Delivery> {
        self.end_if(id, |entry| entry.delivery.qos == QoS::AtLeastOnce)
    }

    /// PUBREC of success: the stage that follows, `Releasing` or `Released`; `None` when the id is not of QoS 2 or not
    /// sent. Saying it twice changes nothing.
    pub(crate) fn receive(&mut self, id: PacketId) -> Option<Stage> {
        let entry = self.entry_mut(id).filter(|entry| entry.delivery.qos == QoS::ExactlyOnce)?;
        entry.stage = match entry.stage {
            Stage::Recording | Stage::Recorded => return None,
            Stage::Sent if entry.delivery.stored.is_some() => Stage::Releasing,
            Stage::Releasing => Stage::Releasing,
            Stage::Sent | Stage::Released => Stage::Released,
        };
        Some(entry.stage)
    }

    /// Moves a message on from one stage to the next; `false` when it is not at the first.
    pub(crate) fn advance(&mut self, id: PacketId, from: Stage, to: Stage) -> bool {
        match self.entry_mut(id) {
            Some(entry) if entry.stage == from => {
                entry.stage = to;
                true
            }
            _ => false,
        }
    }

    /// PUBREC of failure: ends a message of QoS 2 that was not yet released.
    pub(crate) fn refuse(&mut self, id: PacketId) -> Option<Delivery> {
        self.end_if(id, |entry| entry.delivery.qos == QoS::ExactlyOnce && entry.stage == Stage::Sent)
    }

    /// PUBCOMP: ends a message of QoS 2; `None` when the id waits for no PUBCOMP.
    pub(crate) fn complete(&mut self, id: PacketId) -> Option<Delivery> {
        self.end_if(id, |entry| entry.stage == Stage::Released)
    }

    /// Ends a message whatever it waits for.
    pub(crate) fn discard(&mut self, id: PacketId) -> Option<Delivery> {
        self.end_if(id, |_| true)
    }

    /// Everything unacknowledged, in the order it was sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, &Entry)> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(place, entry)| Some((advanced(self.first, place), entry.as_ref()?)))
    }

    /// One of them.
    pub(crate) fn get(&self, id: PacketId) -> Option<&Entry> {
        self.entries.get(distance(self.first, id))?.as_ref()
    }

    fn end_if(&mut self, id: PacketId, is_due: impl FnOnce(&Entry) -> bool) -> Option<Delivery> {
        let place = distance(self.first, id);
        let ended = self.entries.get_mut(place)?.take_if(|entry| is_due(entry))?;
        self.open -= 1;
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first = advanced(self.first, 1);
        }
        Some(ended.delivery)
    }

    fn entry_mut(&mut self, id: PacketId) -> Option<&mut Entry> {
        self.entries.get_mut(distance(self.first, id))?.as_mut()
    }
}

/// The id that comes `steps` after `id`; 1 follows 65,535.
fn advanced(id: PacketId, steps: usize) -> PacketId {
    let zero_based = (usize::from(id.get()) - 1 + steps) % usize::from(u16::MAX);
    u16::try_from(zero_based + 1).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

/// How many steps lead from one id to another.
fn distance(from: PacketId, to: PacketId) -> usize {
    let (from, to) = (usize::from(from.get()), usize::from(to.get()));
    if to >= from { to - from } else { to + usize::from(u16::MAX) - from }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use bytes::Bytes;
    use pocket_domain::TopicName;
    use proptest::prelude::*;

    use super::*;
    use crate::Message;

    fn delivery(qos: QoS) -> Delivery {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: Bytes::new(),
            qos,
            retain: false,
            properties: None,
            expires_at: None,
        };
        Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group: None, stored: None }
    }

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn acknowledgements_are_taken_out_of_order() {
        let mut inflight = Inflight::default();
        for expected in 1..=3 {
            assert_eq!(inflight.push(delivery(QoS::AtLeastOnce), Stage::Sent), id(expected));
        }
        assert!(inflight.acknowledge(id(3)).is_some());
        assert!(inflight.acknowledge(id(1)).is_some());
        assert!([1, 3, 9].iter().all(|wrong| inflight.acknowledge(id(*wrong)).is_none()));
        assert_eq!(inflight.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(inflight.push(delivery(QoS::AtLeastOnce), Stage::Sent), id(4));
    }

    #[test]
    fn qos_2_ends_with_the_fourth_packet() {
        let mut inflight = Inflight::default();
        let first = inflight.push(delivery(QoS::ExactlyOnce), Stage::Sent);
        assert!(inflight.acknowledge(first).is_none() && inflight.complete(first).is_none());
        assert_eq!([inflight.receive(first), inflight.receive(first)], [Some(Stage::Released); 2]);
        assert!(inflight.refuse(first).is_none());
        assert_eq!(inflight.len(), 1);
        assert!(inflight.complete(first).is_some());
        assert_eq!(inflight.len(), 0);
    }

    #[test]
    fn the_window_has_two_bounds() {
        let mut inflight = Inflight::default();
        inflight.push(delivery(QoS::AtLeastOnce), Stage::Sent);
        assert!(!inflight.has_room(1) && inflight.has_room(2));
        for _ in 1..Inflight::SPAN {
            assert!(inflight.has_room(u16::MAX));
            let next = inflight.push(delivery(QoS::AtLeastOnce), Stage::Sent);
            inflight.acknowledge(next);
        }
        assert!(!inflight.has_room(u16::MAX));
        assert!(inflight.acknowledge(id(1)).is_some());
        assert!(inflight.has_room(1));
    }

    #[test]
    fn one_follows_65535() {
        assert_eq!(advanced(id(u16::MAX), 1), id(1));
        assert_eq!(distance(id(u16::MAX), id(1)), 1);
        assert_eq!(distance(id(5), id(5)), 0);
    }

    #[test]
    fn a_stored_message_waits_before_it_is_sent_and_before_it_is_released() {
        let key = crate::StoreKey::MIN;
        let stored =
            Delivery { stored: Some(crate::StoredAs { delivery: key, message: key }), ..delivery(QoS::ExactlyOnce) };
        let mut inflight = Inflight::default();
        let first = inflight.push(stored, Stage::Recording);
        assert_eq!(inflight.receive(first), None);
        assert!(inflight.advance(first, Stage::Recording, Stage::Recorded));
        assert!(!inflight.advance(first, Stage::Recording, Stage::Recorded));
        assert!(inflight.advance(first, Stage::Recorded, Stage::Sent));
        assert_eq!([inflight.receive(first), inflight.receive(first)], [Some(Stage::Releasing); 2]);
        assert!(inflight.complete(first).is_none());
        assert!(inflight.advance(first, Stage::Releasing, Stage::Released));
        assert!(inflight.complete(first).is_some());
    }

    #[test]
    fn a_window_comes_back_with_its_ids_around_the_end() {
        let entry = || Entry { delivery: delivery(QoS::AtLeastOnce), stage: Stage::Sent };
        let left = [2, 65_530, 65_535, 1].map(|number| (id(number), entry()));
        let mut inflight = Inflight::restore(left.into());
        assert_eq!(inflight.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(), [65_530, 65_535, 1, 2]);
        assert_eq!((inflight.len(), inflight.push(delivery(QoS::AtLeastOnce), Stage::Sent)), (4, id(3)));
        assert_eq!(Inflight::restore(Vec::new()).first, id(1));
        assert_eq!(Inflight::restore(vec![(id(7), entry())]).first, id(7));
    }

    proptest! {
        #[test]
        fn an_id_in_flight_is_never_given_out_again(start in 1u16.., steps in prop::collection::vec((0u8..4, 0usize..8), 0..300)) {
            let mut inflight = Inflight { first: id(start), ..Default::default() };
            let mut naive: Vec<(PacketId, QoS, bool)> = Vec::new();
            for (step, which) in steps {
                let at = if naive.is_empty() { None } else { Some(which % naive.len()) };
                match (step, at) {
                    (0, Some(at)) => {
                        let due = naive[at].1 == QoS::AtLeastOnce;
                        prop_assert_eq!(inflight.acknowledge(naive[at].0).is_some(), due);
                        if due { naive.remove(at); }
                    }
                    (1, Some(at)) => {
                        prop_assert_eq!(inflight.receive(naive[at].0).is_some(), naive[at].1 == QoS::ExactlyOnce);
                        naive[at].2 |= naive[at].1 == QoS::ExactlyOnce;
                    }
                    (2, Some(at)) => {
                        let due = naive[at].2;
                        prop_assert_eq!(inflight.complete(naive[at].0).is_some(), due);
                        if due { naive.remove(at); }
                    }
                    _ => {
                        if !inflight.has_room(8) { continue; }
                        let qos = if which % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                        let given = inflight.push(delivery(qos), Stage::Sent);
                        prop_assert!(naive.iter().all(|(id, ..)| *id != given));
                        naive.push((given, qos, false));
                    }
                }
                let ids: HashMap<PacketId, QoS> = naive.iter().map(|(id, qos, _)| (*id, *qos)).collect();
                prop_assert_eq!(inflight.len(), ids.len());
                prop_assert!(inflight.iter().map(|(id, _)| id).eq(naive.iter().map(|(id, ..)| *id)));
            }
        }
    }
}
