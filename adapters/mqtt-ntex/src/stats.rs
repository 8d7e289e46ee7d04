//! What the broker counts.

use std::sync::atomic::{AtomicU64, Ordering};

use pocket_mqtt_core::QoS;

use crate::traffic::Traffic;

/// What the broker did since the start, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerStats {
    /// Connections now, those that have not said CONNECT yet among them.
    pub connections: u64,
    /// The same by transport, in the order of [`crate::Transport::ALL`].
    pub connections_by_transport: [u64; 4],
    /// Clients now: connections that have been accepted.
    pub clients: u64,
    /// The most clients at a time since the start.
    pub most_clients: u64,
    /// Sessions now that wait for their clients.
    pub sleeping_sessions: u64,
    /// Retained messages now.
    pub retained_messages: u64,
    /// Bytes of these, with their topics.
    pub retained_bytes: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Bytes that all that is kept for clients weighs now.
    pub kept_bytes: u64,
    /// Sessions now that outlive their connections, those of connected clients among them.
    pub kept_sessions: u64,
    /// What limits refused: by [`pocket_mqtt_core::Resource`], and whose limit it was by [`pocket_mqtt_core::Level`].
    pub refused_at_limits: [[u64; 3]; 4],
    /// Connections now whose CONNECT has not come yet.
    pub pending_connections: u64,
    /// Connections that were closed before CONNECT to make room for others.
    pub pending_evicted: u64,
    /// Pauses of clients whose messages had to be compared with very many filters.
    pub held_for_matching: u64,
    /// Connections that were accepted.
    pub connects_accepted: u64,
    /// Connections that were refused: credentials, limits, malformed CONNECTs, time-outs.
    pub connects_refused: u64,
    /// Those of them that did not get as far as CONNECT: no header of the PROXY protocol, no TLS, no WebSocket.
    pub connects_refused_at: [u64; 3],
    /// Certificates that were exchanged while the broker served.
    pub tls_reloads: u64,
    /// Changed certificates that could not be used.
    pub tls_reloads_failed: u64,
    /// Packets of MQTT from clients, as of half a second ago or later.
    pub packets_in: u64,
    /// Packets of MQTT to clients, as of half a second ago or later.
    pub packets_out: u64,
    /// Bytes of the packets from clients.
    pub bytes_in: u64,
    /// Bytes of the packets to clients.
    pub bytes_out: u64,
    /// Messages from clients, by QoS.
    pub messages_in: [u64; 3],
    /// Messages to clients, by QoS.
    pub messages_out: [u64; 3],
    /// Bytes of their payloads from clients.
    pub payload_bytes_in: u64,
    /// Bytes of their payloads to clients.
    pub payload_bytes_out: u64,
    /// Messages refused because of their payload.
    pub rejected: u64,
    /// Messages and subscriptions refused because the client may not.
    pub denied: u64,
    /// Messages of QoS 0 lost because a client's socket did not take them.
    pub dropped_unsent: u64,
    /// Messages of QoS 1 and 2 lost because a session's queue was full.
    pub dropped_queue_full: u64,
    /// Messages of QoS 0 lost because a worker's mailbox was full.
    pub dropped_mailbox_full: u64,
    /// Messages of QoS 0 not stored because the connection was closed while the ingest had no room.
    pub dropped_not_stored: u64,
    /// Messages delivered but not kept because a tenant has too many retained ones.
    pub dropped_retained_full: u64,
    /// Messages not sent because they are larger than the client accepts.
    pub dropped_too_large: u64,
    /// Times that a device was not read for a while because it published too fast.
    pub held_for_rate: u64,
    /// Connections closed because of what the client sent.
    pub protocol_errors: u64,
    /// Connections closed because nothing came for too long.
    pub keep_alive_timeouts: u64,
    /// Connections closed because the client stayed behind with what is sent to it.
    pub slow_consumers: u64,
    /// Sessions whose clients did not come back in time.
    pub sessions_expired: u64,
    /// Clients that were told that there is no place for a session which outlives the connection.
    pub sessions_not_kept: u64,
    /// Subscriptions refused because messages would have to be compared with too many filters.
    pub filters_refused: u64,
    /// Connections closed because the same client connected again.
    pub takeovers: u64,
    /// Connections closed because the device or person may not be connected any more.
    pub revocations: u64,
}

/// A counter of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Messages of one read or one delivery, counted without the cost of an atomic for each.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: [u64; 3],
    bytes: u64,
}

impl Tally {
    /// One more message.
    pub(crate) fn add(&mut self, qos: QoS, payload: usize) {
        self.messages[qos.index()] += 1;
        self.bytes += payload as u64;
    }

    fn add_to(&self, messages: &[Counter; 3], bytes: &Counter) {
        for (counter, count) in messages.iter().zip(self.messages).filter(|(_, count)| *count > 0) {
            counter.add(count);
        }
        if self.bytes > 0 {
            bytes.add(self.bytes);
        }
    }
}

/// The counters of one worker, on cache lines of their own so that workers do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) connects_accepted: Counter,
    pub(crate) connects_refused: Counter,
    connects_refused_at: [Counter; 3],
    packets_in: Counter,
    packets_out: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    messages_in: [Counter; 3],
    messages_out: [Counter; 3],
    payload_bytes_in: Counter,
    payload_bytes_out: Counter,
    pub(crate) rejected: Counter,
    pub(crate) denied: Counter,
    pub(crate) dropped_unsent: Counter,
    pub(crate) dropped_queue_full: Counter,
    pub(crate) dropped_mailbox_full: Counter,
    pub(crate) dropped_not_stored: Counter,
    pub(crate) dropped_retained_full: Counter,
    pub(crate) dropped_too_large: Counter,
    pub(crate) held_for_rate: Counter,
    pub(crate) held_for_matching: Counter,
    pub(crate) protocol_errors: Counter,
    pub(crate) keep_alive_timeouts: Counter,
    pub(crate) slow_consumers: Counter,
    pub(crate) sessions_expired: Counter,
    pub(crate) sessions_not_kept: Counter,
    pub(crate) filters_refused: Counter,
    pub(crate) takeovers: Counter,
    pub(crate) revocations: Counter,
}

/// What comes before CONNECT on some transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The header of the PROXY protocol.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// The request of a WebSocket.
    WebSocket,
}

/// What became of changed certificates.
#[derive(Debug, Default)]
pub(crate) struct TlsReloads {
    pub(crate) done: Counter,
    pub(crate) failed: Counter,
}

impl TlsReloads {
    /// Adds what was counted.
    pub(crate) fn add_to(&self, sum: &mut BrokerStats) {
        sum.tls_reloads += self.done.get();
        sum.tls_reloads_failed += self.failed.get();
    }
}

impl BrokerStats {
    /// Messages that a limit cost somebody.
    pub fn dropped(&self) -> u64 {
        self.dropped_unsent
            + self.dropped_queue_full
            + self.dropped_mailbox_full
            + self.dropped_not_stored
            + self.dropped_retained_full
            + self.dropped_too_large
    }
}

impl Counters {
    /// Connections that were given up at a step before CONNECT.
    pub(crate) fn refused_at(&self, step: Step) -> &Counter {
        &self.connects_refused_at[step as usize]
    }

    /// Messages came.
    pub(crate) fn messages_in(&self, tally: &Tally) {
        tally.add_to(&self.messages_in, &self.payload_bytes_in);
    }

    /// Messages left.
    pub(crate) fn messages_out(&self, tally: &Tally) {
        tally.add_to(&self.messages_out, &self.payload_bytes_out);
    }

    /// Takes what a connection counted.
    pub(crate) fn traffic(&self, traffic: &Traffic) {
        let (received, sent) = traffic.take();
        if received.packets > 0 {
            self.packets_in.add(received.packets);
            self.bytes_in.add(received.bytes);
        }
        if sent.packets > 0 {
            self.packets_out.add(sent.packets);
            self.bytes_out.add(sent.bytes);
        }
    }

    /// Adds what this worker counted.
    pub(crate) fn add_to(&self, sum: &mut BrokerStats) {
        for qos in QoS::ALL {
            sum.messages_in[qos.index()] += self.messages_in[qos.index()].get();
            sum.messages_out[qos.index()] += self.messages_out[qos.index()].get();
        }
        for (sum, counter) in sum.connects_refused_at.iter_mut().zip(&self.connects_refused_at) {
            *sum += counter.get();
        }
        sum.connects_accepted += self.connects_accepted.get();
        sum.connects_refused += self.connects_refused.get();
        sum.packets_in += self.packets_in.get();
        sum.packets_out += self.packets_out.get();
        sum.bytes_in += self.bytes_in.get();
        sum.bytes_out += self.bytes_out.get();
        sum.payload_bytes_in += self.payload_bytes_in.get();
        sum.payload_bytes_out += self.payload_bytes_out.get();
        sum.rejected += self.rejected.get();
        sum.denied += self.denied.get();
        sum.dropped_unsent += self.dropped_unsent.get();
        sum.dropped_queue_full += self.dropped_queue_full.get();
        sum.dropped_mailbox_full += self.dropped_mailbox_full.get();
        sum.dropped_not_stored += self.dropped_not_stored.get();
        sum.dropped_retained_full += self.dropped_retained_full.get();
        sum.dropped_too_large += self.dropped_too_large.get();
        sum.held_for_rate += self.held_for_rate.get();
        sum.held_for_matching += self.held_for_matching.get();
        sum.protocol_errors += self.protocol_errors.get();
        sum.keep_alive_timeouts += self.keep_alive_timeouts.get();
        sum.slow_consumers += self.slow_consumers.get();
        sum.sessions_expired += self.sessions_expired.get();
        sum.sessions_not_kept += self.sessions_not_kept.get();
        sum.filters_refused += self.filters_refused.get();
        sum.takeovers += self.takeovers.get();
        sum.revocations += self.revocations.get();
    }
}
