//! What becomes of the messages of connected clients: which are accepted, what of them is stored, and who is told of those that are
//! not.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use pocket_domain::{
    NewTelemetry, Payload, PayloadError, ReadPayload, Readings, Rejection, Timestamp, TopicName, beginning,
};

use crate::gateway::{ClientAccess, DeviceGateway};
use crate::refusals::{RefusalKind, RefusedMessage};

/// What is to be stored of a message: nothing, one row, or several of an array of readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    first: Option<NewTelemetry>,
    more: Vec<NewTelemetry>,
}

impl IntoIterator for Accepted {
    type Item = NewTelemetry;
    type IntoIter = std::iter::Chain<std::option::IntoIter<NewTelemetry>, std::vec::IntoIter<NewTelemetry>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

impl DeviceGateway {
    /// Validates a message, and makes of it what is to be stored. Nothing: it is fine, but it is empty, this platform does not
    /// store its topic, or it is not of a device. An array of readings is as many messages to be stored. A refusal is noted, and so
    /// is that of a retained message nothing is stored because it is larger than other messages may be.
    ///
    /// # Errors
    /// The message must be neither stored nor routed.
    pub fn accept(
        &self,
        access: &ClientAccess,
        topic: &TopicName,
        payload: &[u8],
        retain: bool,
        received_at: Timestamp,
    ) -> Result<Accepted, PayloadError> {
        if retain && payload.len() > self.rules.max_payload && payload.len() <= self.rules.max_retained_payload {
            return self.accept_large(access, topic, payload, received_at).map(|()| Accepted::default());
        }
        let read = if payload.is_empty() {
            Ok(None)
        } else if self.rules.stores(topic) {
            self.rules.read_all(payload, access.payload_policy).map(Some)
        } else {
            self.rules.check_size(payload).map(|()| None)
        };
        let read = read.inspect_err(|error| self.note_error(access, topic, payload, error, received_at))?;
        let (Some(Readings { first, more }), Some(device_id)) = (read, access.principal.device()) else {
            return Ok(Accepted::default());
        };
        if let Err(full) = self.topics.admit(access.tenant_id, device_id, topic) {
            let error = PayloadError::from(full);
            self.note_error(access, topic, payload, &error, received_at);
            return Err(error);
        }
        let message = |read: ReadPayload| NewTelemetry {
            tenant_id: access.tenant_id,
            device_id,
            topic: topic.clone(),
            timestamp: read
                .own_time
                .map_or(received_at, |_| self.dated(access, topic, payload, read.time(received_at), received_at)),
            payload: read.payload,
            received_at,
        };
        Ok(Accepted { first: Some(message(first)), more: more.into_iter().map(message).collect() })
    }

    /// Judges a retained message that is too large for the history: a configuration, such as the list of a gateway's devices. It is
    /// delivered and kept for those who subscribe later.
    fn accept_large(
        &self,
        access: &ClientAccess,
        topic: &TopicName,
        payload: &[u8],
        received_at: Timestamp,
    ) -> Result<(), PayloadError> {
        if !self.rules.stores(topic) {
            return Ok(());
        }
        Payload::read(payload, access.payload_policy, self.rules.max_retained_payload)
            .inspect_err(|error| self.note_error(access, topic, payload, error, received_at))?;
        if access.principal.device().is_some() {
            let (bytes, allowed) = (payload.len(), self.rules.max_payload);
            let reason = &*format!(
                "delivered and retained, but not stored in the history: payload of {bytes} bytes is larger than the {allowed} allowed"
            );
            let kind = RefusalKind::PayloadSize;
            self.note_refusal(access, &RefusedMessage { kind, topic, payload, bytes, reason }, received_at);
        }
        Ok(())
    }

    /// The time of a message that says one itself: that of its arrival when it says one that is too far ahead, which is noted on
    /// the device.
    fn dated(
        &self,
        access: &ClientAccess,
        topic: &TopicName,
        payload: &[u8],
        time: Timestamp,
        received_at: Timestamp,
    ) -> Timestamp {
        match self.max_ahead.check(time, self.time.at_least(received_at)) {
            Ok(()) => time,
            Err(ahead) => {
                self.dated_at_arrival.fetch_add(1, Ordering::Relaxed);
                let reason = &*format!("stored with the time of its arrival: {ahead}");
                let (kind, bytes) = (RefusalKind::Ahead, payload.len());
                self.note_refusal(access, &RefusedMessage { kind, topic, payload, bytes, reason }, received_at);
                received_at
            }
        }
    }

    /// How many messages were refused because their topic was one too many, since the start.
    pub fn topics_refused(&self) -> u64 {
        self.topics.refused()
    }

    /// How many messages said a time that is too far ahead, since the start.
    pub fn dated_at_arrival(&self) -> u64 {
        self.dated_at_arrival.load(Ordering::Relaxed)
    }

    /// Whether the payload of a message that is published later, a will, has a size that messages may have.
    ///
    /// # Errors
    /// It is too large.
    pub fn check_size(&self, payload: &[u8]) -> Result<(), PayloadError> {
        self.rules.check_size(payload)
    }

    /// Judges a will that is due as the message that it is, and tells whether it may be sent. A refusal is noted. What is
    /// fine is not stored.
    pub fn accepts_will(&self, access: &ClientAccess, topic: &TopicName, payload: &[u8]) -> bool {
        self.accept(access, topic, payload, false, self.clock.now()).is_ok()
    }

    fn note_error(
        &self,
        access: &ClientAccess,
        topic: &TopicName,
        payload: &[u8],
        error: &PayloadError,
        received_at: Timestamp,
    ) {
        let (kind, reason) = (RefusalKind::of_payload(error), &*error.to_string());
        let refused = RefusedMessage { kind, topic, payload, bytes: payload.len(), reason };
        self.note_refusal(access, &refused, received_at);
    }

    /// Counts a message that was refused, tells of it in the log, and notes it on the device.
    pub fn note_refusal(&self, access: &ClientAccess, refused: &RefusedMessage<'_>, received_at: Timestamp) {
        self.refusals.message(access.tenant_id, access.principal, refused);
        if let Some(device) = access.principal.device() {
            let rejection = Rejection::with_beginning(
                received_at,
                refused.topic.clone(),
                refused.reason,
                &beginning(refused.payload),
            );
            self.activity.rejected(access.tenant_id, device, rejection);
        }
    }

    /// Counts a connection that was refused, and tells of it in the log.
    pub fn note_refused_connection(&self, source: IpAddr, kind: RefusalKind, detail: impl FnOnce() -> String) {
        self.refusals.connection(source, kind, detail);
    }

    /// How often something was refused since the start, by kind.
    pub fn refusals(&self) -> [(RefusalKind, u64); RefusalKind::ALL.len()] {
        self.refusals.counts()
    }
}
