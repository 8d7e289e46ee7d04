//! What a client can make the broker keep, and how much of it.

/// Bounds of everything that clients can grow. What happens at a bound stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients that are connected at a time; more are refused (3.1.1: 3, 5.0: 0x97).
    pub connections: usize,
    /// Clients of a tenant that are connected at a time; more are refused (3.1.1: 3, 5.0: 0x97). 0: no limit.
    pub tenant_connections: usize,
    /// Clients of a device or person that are connected at a time; more are refused alike. 0: no limit.
    pub device_connections: usize,
    /// Percent of `connections`, `sessions` and `kept_bytes` that a tenant gets when it is alone. With others it gets less, so
    /// that there is room left for whoever comes next; see [`Ledger`](crate::Ledger). 100: no limit but the total.
    pub tenant_share: u8,
    /// Sockets at a time whose CONNECT has not come yet; the oldest one of the address that has most makes room.
    pub pending_connections: usize,
    /// Those of one source address (IPv6: one /64 network); the oldest of them makes room.
    pub pending_per_address: usize,
    /// Bytes of a PUBLISH; a larger one closes the connection (0x95). Announced in 5.0.
    pub packet_bytes: u32,
    /// Bytes of a packet of any other kind, with the same effect. While a PUBLISH that is larger than this arrives, it counts among
    /// what is kept for its device or person.
    pub usual_packet_bytes: u32,
    /// Unacknowledged messages of QoS 1 and 2 from a client. Announced in 5.0, where more close the connection (0x93);
    /// from a client of 3.1.1 nothing is read until some are acknowledged.
    pub receive_maximum: u16,
    /// Messages a second of a device or person, over all their connections; a second's worth may come at once. Of whoever
    /// sends more, nothing is read until it is due. 0: no limit.
    pub publish_rate: u32,
    /// Topic aliases of a client; a larger one closes the connection (0x94). Announced in 5.0.
    pub topic_alias_maximum: u16,
    /// Topic aliases to a client that accepts some; the client's maximum when it is less. Other topics are written out.
    pub outgoing_topic_aliases: u16,
    /// Persistent sessions. When there is no place, the session of the same device that has waited
    /// longest makes room; when there is none, the client is told that its session will not be kept (5.0: Session Expiry
    /// Interval 0; 3.1.1: refused with 3).
    pub sessions: usize,
    /// Those of a device or person.
    pub device_sessions: usize,
    /// The longest time in seconds that a session outlives its connection. 5.0 is told; a session of 3.1.1 that is not
    /// clean gets all of it.
    pub session_expiry_seconds: u32,
    /// Subscriptions of a session; more are refused (3.1.1: 0x80, 5.0: 0x97).
    pub subscriptions: usize,
    /// Subscriptions of a device or person, over all its sessions, with the same effect.
    pub device_subscriptions: usize,
    /// Subscriptions of a tenant, over all its sessions, with the same effect.
    pub tenant_subscriptions: usize,
    /// Levels of a topic filter; more are refused (3.1.1: 0x80, 5.0: 0x8F).
    pub filter_levels: usize,
    /// Levels of a topic that is published on; more are refused (5.0: 0x90).
    pub topic_levels: usize,
    /// The most nodes of a tenant's filters that a message may have to visit. A subscription with which some topic would
    /// visit more is refused (3.1.1: 0x80, 5.0: 0x97).
    pub match_nodes: u32,
    /// Bytes that all that is kept for clients may take together: retained and queued messages, sessions, subscriptions,
    /// aliases, what sockets have not taken. Above, it is refused as at the limit that is meant for it alone.
    pub kept_bytes: usize,
    /// Those of a device or person.
    pub device_bytes: usize,
    /// Messages of QoS 1 and 2 to a client that wait for its acknowledgement at a time; more wait in the queue.
    pub inflight: u16,
    /// Messages of QoS 1 and 2 that wait for a place in flight; more are dropped and counted.
    pub queued_messages: usize,
    /// Bytes of these; more are dropped and counted.
    pub queued_bytes: usize,
    /// Retained messages of a tenant; more are delivered, but not kept, and counted.
    pub retained_messages: usize,
    /// Bytes of these, with the same effect.
    pub retained_bytes: usize,
    /// Bytes that the client's socket has not taken yet; above, messages of QoS 0 are dropped and counted, and those of
    /// QoS 1 and 2 wait in the queue.
    pub unsent_bytes: usize,
    /// The longest time in seconds that a client's queue overflows, or that its socket takes nothing of what waits for it;
    /// then the connection is closed (0x97). 0: no limit.
    pub slow_consumer_seconds: u16,
    /// Messages on their way to another worker; above, those of QoS 0 are dropped and counted, and publishers of QoS 1
    /// and 2 are not read until there is room.
    pub mailbox_messages: usize,
    /// Bytes of these, with the same effect.
    pub mailbox_bytes: usize,
    /// The longest keep-alive in seconds; a client that asks for more, or for none, is told this one in 5.0. 0: no limit.
    pub keep_alive_seconds: u16,
    /// The keep-alive in seconds that a client of 5.0 is told when it asks for none. 0: it needs none, and only TCP finds out
    /// that it is gone.
    pub default_keep_alive_seconds: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            tenant_connections: 0,
            device_connections: 10_000,
            tenant_share: 80,
            pending_connections: 4_096,
            pending_per_address: 2_048,
            packet_bytes: 1024 * 1024 + 8 * 1024,
            usual_packet_bytes: 64 * 1024 + 8 * 1024,
            receive_maximum: 1_024,
            publish_rate: 0,
            topic_alias_maximum: 64,
            outgoing_topic_aliases: 64,
            sessions: 50_000,
            device_sessions: 100,
            session_expiry_seconds: 7 * 24 * 3_600,
            subscriptions: 1_000,
            device_subscriptions: 20_000,
            tenant_subscriptions: 500_000,
            filter_levels: 32,
            topic_levels: 32,
            match_nodes: 1_000,
            kept_bytes: 512 * 1024 * 1024,
            device_bytes: 64 * 1024 * 1024,
            inflight: 1_024,
            queued_messages: 10_000,
            queued_bytes: 8 * 1024 * 1024,
            retained_messages: 100_000,
            retained_bytes: 64 * 1024 * 1024,
            unsent_bytes: 256 * 1024,
            slow_consumer_seconds: 60,
            mailbox_messages: 65_536,
            mailbox_bytes: 32 * 1024 * 1024,
            keep_alive_seconds: 0,
            default_keep_alive_seconds: 300,
        }
    }
}
