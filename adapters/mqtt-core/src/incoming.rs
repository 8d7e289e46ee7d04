//! Messages of QoS 1 and 2 from one client that are not yet done with.

use std::collections::HashMap;

use crate::{PacketId, QoS};

/// What a PUBLISH of QoS 1 or 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message that was not seen before.
    New,
    /// QoS 2: seen, and still being stored; its PUBREC will come.
    Pending,
    /// QoS 2: seen and PUBREC sent; it is to be sent again.
    Received,
    /// More than the client may have unacknowledged.
    TooMany,
}

/// Where a message of QoS 2 stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Received,
}

/// The receiving side of a session.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    exactly_once: HashMap<PacketId, Stage>,
    at_least_once: usize,
}

impl Incoming {
    /// A message begins. `maximum` is the receive maximum that was announced; `None` where none can be.
    pub(crate) fn begin(&mut self, qos: QoS, id: PacketId, maximum: Option<u16>) -> Arrival {
        if qos == QoS::ExactlyOnce {
            // [MQTT-4.3.3-10] until PUBREL the same id is the same message
            match self.exactly_once.get(&id) {
                Some(Stage::Pending) => return Arrival::Pending,
                Some(Stage::Received) => return Arrival::Received,
                None => {}
            }
        }
        if maximum.is_some_and(|maximum| self.unacknowledged() >= usize::from(maximum)) {
            return Arrival::TooMany;
        }
        if qos == QoS::ExactlyOnce {
            self.exactly_once.insert(id, Stage::Pending);
        } else {
            self.at_least_once += 1;
        }
        Arrival::New
    }

    /// PUBACK was sent.
    pub(crate) fn acknowledged(&mut self) {
        self.at_least_once = self.at_least_once.saturating_sub(1);
    }

    /// The client will send all of QoS 1 again.
    pub(crate) fn forget_at_least_once(&mut self) {
        self.at_least_once = 0;
    }

    /// PUBREC of success was sent.
    pub(crate) fn received(&mut self, id: PacketId) {
        self.exactly_once.insert(id, Stage::Received);
    }

    /// PUBREC of failure was sent: the id is free again.
    pub(crate) fn refused(&mut self, id: PacketId) {
        self.exactly_once.remove(&id);
    }

    /// PUBREL: `false` when the id is not known.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        self.exactly_once.remove(&id).is_some()
    }

    /// The ids of messages for which PUBREC was sent.
    pub(crate) fn all_received(&self) -> impl Iterator<Item = PacketId> {
        self.exactly_once.iter().filter(|(_, stage)| **stage == Stage::Received).map(|(id, _)| *id)
    }

    /// Messages that count towards the receive maximum.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.at_least_once + self.exactly_once.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn the_same_id_of_qos_2_is_the_same_message_until_it_is_released() {
        let mut incoming = Incoming::default();
        let begin = |incoming: &mut Incoming| incoming.begin(QoS::ExactlyOnce, id(1), None);
        assert_eq!(begin(&mut incoming), Arrival::New);
        assert_eq!(begin(&mut incoming), Arrival::Pending);
        incoming.received(id(1));
        assert_eq!(begin(&mut incoming), Arrival::Received);
        assert!(incoming.release(id(1)) && !incoming.release(id(1)));
        assert_eq!(begin(&mut incoming), Arrival::New);
        incoming.refused(id(1));
        assert_eq!(begin(&mut incoming), Arrival::New);
    }

    #[test]
    fn the_receive_maximum_counts_both_levels() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.begin(QoS::AtLeastOnce, id(1), Some(2)), Arrival::New);
        assert_eq!(incoming.begin(QoS::ExactlyOnce, id(2), Some(2)), Arrival::New);
        assert_eq!(incoming.begin(QoS::AtLeastOnce, id(3), Some(2)), Arrival::TooMany);
        assert_eq!(incoming.begin(QoS::ExactlyOnce, id(2), Some(2)), Arrival::Pending);
        incoming.acknowledged();
        assert_eq!(incoming.begin(QoS::AtLeastOnce, id(3), Some(2)), Arrival::New);
    }
}
