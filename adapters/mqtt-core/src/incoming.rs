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
    /// It is being stored.
    Pending,
    /// It is being stored since an earlier connection, and the client has not sent it again on this one.
    Left,
    /// PUBREC was sent.
    Received,
}

/// The receiving side of a session.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    exactly_once: HashMap<PacketId, Stage>,
    /// How many of these are pending.
    pending: usize,
    at_least_once: usize,
}

impl Incoming {
    /// A message begins. `maximum` is the receive maximum that was announced; `None` where none can be.
    pub(crate) fn begin(&mut self, qos: QoS, id: PacketId, maximum: Option<u16>) -> Arrival {
        if qos == QoS::ExactlyOnce {
            // [MQTT-4.3.3-10] until PUBREL the same id is the same message
            match self.exactly_once.get(&id) {
                Some(Stage::Pending) => return Arrival::Pending,
                Some(Stage::Left) => {
                    self.exactly_once.insert(id, Stage::Pending);
                    self.pending += 1;
                    return Arrival::Pending;
                }
                Some(Stage::Received) => return Arrival::Received,
                None => {}
            }
        }
        if maximum.is_some_and(|maximum| self.unacknowledged() >= usize::from(maximum)) {
            return Arrival::TooMany;
        }
        if qos == QoS::ExactlyOnce {
            self.exactly_once.insert(id, Stage::Pending);
            self.pending += 1;
        } else {
            self.at_least_once += 1;
        }
        Arrival::New
    }

    /// PUBACK was sent.
    pub(crate) fn acknowledged(&mut self) {
        self.at_least_once = self.at_least_once.saturating_sub(1);
    }

    /// The client is back: it will send again all that was not answered. [MQTT-4.4.0-1]
    pub(crate) fn resume(&mut self) {
        self.at_least_once = 0;
        for stage in self.exactly_once.values_mut().filter(|stage| **stage == Stage::Pending) {
            *stage = Stage::Left;
        }
        self.pending = 0;
    }

    /// Whether the client is going to send a message of QoS 2 again. An answer before it does would answer the wrong
    /// packet: after a failure the client would use the id for its next message, and that one be taken for this.
    pub(crate) fn will_come_again(&self, id: PacketId) -> bool {
        self.exactly_once.get(&id) == Some(&Stage::Left)
    }

    /// PUBREC of success was sent.
    pub(crate) fn received(&mut self, id: PacketId) {
        let before = self.exactly_once.insert(id, Stage::Received);
        self.no_longer(before);
    }

    /// PUBREC of failure was sent: the id is free again. `false` when it is not known.
    pub(crate) fn refused(&mut self, id: PacketId) -> bool {
        self.release(id)
    }

    /// PUBREL: `false` when the id is not known.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        let before = self.exactly_once.remove(&id);
        self.no_longer(before);
        before.is_some()
    }

    /// Messages of QoS 2 that are not released.
    pub(crate) fn exactly_once(&self) -> usize {
        self.exactly_once.len()
    }

    /// Whether a message of QoS 2 with this id was seen before.
    pub(crate) fn knows(&self, id: PacketId) -> bool {
        self.exactly_once.contains_key(&id)
    }

    /// Messages that count towards the receive maximum.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.at_least_once + self.exactly_once.len()
    }

    /// Those of them to which the broker has not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.at_least_once + self.pending
    }

    fn no_longer(&mut self, stage: Option<Stage>) {
        self.pending -= usize::from(stage == Some(Stage::Pending));
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
    fn what_is_pending_when_the_client_comes_back_comes_again() {
        let mut incoming = Incoming::default();
        for number in 1..=2 {
            incoming.begin(QoS::ExactlyOnce, id(number), None);
        }
        incoming.received(id(2));
        assert!(!incoming.will_come_again(id(1)));
        incoming.resume();
        assert!(incoming.will_come_again(id(1)) && !incoming.will_come_again(id(2)));
        assert_eq!(incoming.unanswered(), 0);
        assert_eq!(incoming.begin(QoS::ExactlyOnce, id(1), None), Arrival::Pending);
        assert!(!incoming.will_come_again(id(1)));
        assert_eq!(incoming.unanswered(), 1);
    }

    #[test]
    fn a_message_that_waits_for_its_release_is_answered() {
        let mut incoming = Incoming::default();
        for number in 1..=3 {
            incoming.begin(QoS::ExactlyOnce, id(number), None);
        }
        incoming.received(id(1));
        incoming.received(id(1));
        incoming.refused(id(2));
        assert_eq!((incoming.unanswered(), incoming.unacknowledged()), (1, 2));
        assert!(incoming.release(id(1)) && incoming.release(id(3)));
        assert_eq!((incoming.unanswered(), incoming.unacknowledged()), (0, 0));
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
