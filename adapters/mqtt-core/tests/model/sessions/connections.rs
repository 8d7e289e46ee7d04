//! Connections that are lost and made, and sessions that end.

use pocket_mqtt_core::ProtocolVersion;

use super::World;
use crate::opening::open;

impl World<'_> {
    pub(super) fn change_connection(&mut self) {
        match (self.connection.is_ok(), self.random.below(8)) {
            (true, 0..4) => self.lose_connection(),
            // Another connection takes over.
            (true, _) => {
                self.lose_connection();
                self.connect();
            }
            (false, 0..6) => self.connect(),
            (false, _) => {
                self.end_session();
                self.connect();
            }
        }
    }

    /// What is under way is lost; what the broker has read is stored.
    pub(super) fn lose_connection(&mut self) {
        self.trace.step(|| "the connection is lost".to_owned());
        self.submit();
        self.down.clear();
        self.up.clear();
        if let Ok(connection) = &mut self.connection {
            self.connection = Err(connection.take_session());
        }
    }

    /// The session's time is over, or the client wants a new one.
    fn end_session(&mut self) {
        self.trace.step(|| "the session ends".to_owned());
        let expected = self.deliveries.ended();
        let Err(session) = &mut self.connection else { return };
        assert_eq!(session.take_shared(), expected);
        self.publications.ended();
        self.subscriptions.clear();
        self.connection = Ok(open(self.version, 1, None, &self.limits).0);
    }

    pub(super) fn connect(&mut self) {
        // With more unacknowledged than 5.0 allows, a client of 5.0 could not send all again at once.
        let may_be_v5 = self.client.outbox.len() <= usize::from(self.limits.receive_maximum);
        let is_v5 = may_be_v5 && !self.random.one_in(2);
        self.version = if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        // A client of 3.1.1 has no receive maximum.
        let maximum = if self.version == ProtocolVersion::V5 { 1 + self.random.below(8) } else { 65_535 };
        let maximum = u16::try_from(maximum).unwrap();
        self.window = maximum.min(self.limits.inflight);
        let left = std::mem::replace(&mut self.connection, Ok(open(self.version, 1, None, &self.limits).0)).err();
        let is_left = left.is_some();
        let (connection, session_present) = open(self.version, maximum, left, &self.limits);
        assert_eq!(session_present, is_left);
        self.trace.step(|| format!("connected with {:?} {maximum}, session present: {session_present}", self.version));
        self.connection = Ok(connection);
        self.deliveries.resumed();
        self.publications.resumed();
        self.up.extend(self.client.connected(session_present, self.random));
        self.send();
    }
}
