//! What the application says to connected devices and people, and what their broker knows of their sessions.

use std::num::NonZeroU32;

use async_trait::async_trait;
use pocket_domain::{DeviceId, NodeName, TenantId, Timestamp};

use crate::{AccessChange, StorageError, SubscriptionRecord};

/// The connections of devices and people in this process.
#[async_trait]
pub trait DeviceSessions: Send + Sync {
    /// Judges the connections that a change concerns anew and closes those that may not stay; ends the session that a change is about.
    /// Returns at once.
    fn access_changed(&self, change: AccessChange);

    /// The sessions of a device here, connected or waiting for their clients, in any order. One that
    /// [`access_changed`](Self::access_changed) was told to end before MUST NOT be among them.
    async fn sessions_of(&self, tenant: TenantId, device: DeviceId) -> Vec<DeviceSession> {
        let _ = (tenant, device);
        Vec::new()
    }
}

/// Sessions that brokers store, as processes without a broker of their own see and end them, too.
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// The sessions of a device that are stored, of all nodes but one, in any order, and, of a node through which the device is online, the
    /// client id that it connected with last there, where no session of that name is stored for the node. MUST be empty for a device
    /// that the tenant does not have. `since` MUST be when the client left, and `None` while it is connected.
    async fn sessions_of(
        &self,
        tenant: TenantId,
        device: DeviceId,
        except: Option<&NodeName>,
    ) -> Result<Vec<DeviceSession>, StorageError>;

    /// Ends the sessions of a device with this client id, whichever node has them: forgets that they are there, and MUST log
    /// `AccessChange::Session`, upon which their brokers end them. MUST return `NotFound` when the tenant has no such device, and log
    /// the change also when no such session is stored.
    async fn end_session(&self, tenant: TenantId, device: DeviceId, client_id: &str) -> Result<(), StorageError>;
}

/// A session of a device, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSession {
    /// The broker that has it.
    pub node: NodeName,
    /// The client id.
    pub client_id: Box<str>,
    /// Whether the client is connected.
    pub is_connected: bool,
    /// Since when it is, or is not; `None` where that is not known.
    pub since: Option<Timestamp>,
    /// The protocol of the connection.
    pub protocol: Option<Box<str>>,
    /// What is known of the session beside its connection; `None` of a connection to another process, whose session is not stored.
    pub content: Option<SessionContent>,
}

impl DeviceSession {
    /// Adds a connection that is known to stored sessions: the protocol to its session, or a session of which nothing else is known.
    pub fn add_connection(sessions: &mut Vec<Self>, node: NodeName, client_id: Box<str>, protocol: Box<str>) {
        let protocol = Some(protocol);
        match sessions.iter_mut().find(|session| session.node == node && session.client_id == client_id) {
            Some(session) if session.is_connected => session.protocol = protocol,
            // It left, and that is not recorded yet.
            Some(_) => {}
            None => {
                let (since, content) = (None, None);
                sessions.push(Self { node, client_id, is_connected: true, since, protocol, content });
            }
        }
    }
}

/// What a session holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionContent {
    /// Seconds it lives after its connection.
    pub expiry_seconds: u32,
    /// How many subscriptions it has.
    pub subscription_count: usize,
    /// These, at most [`MOST_SUBSCRIPTIONS`](Self::MOST_SUBSCRIPTIONS), ordered by filter and group.
    pub subscriptions: Vec<SessionSubscription>,
    /// Messages of QoS 1 and 2 that wait for the client or were not acknowledged.
    pub queued_messages: u64,
    /// Bytes of their payloads.
    pub queued_bytes: u64,
}

impl SessionContent {
    /// The most subscriptions that are told of a session.
    pub const MOST_SUBSCRIPTIONS: usize = 100;

    /// Takes all subscriptions of the session.
    pub fn set_subscriptions(&mut self, mut all: Vec<SessionSubscription>) {
        self.subscription_count = all.len();
        all.sort();
        all.truncate(Self::MOST_SUBSCRIPTIONS);
        self.subscriptions = all;
    }
}

/// A subscription, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionSubscription {
    /// The topic filter, without the group.
    pub filter: Box<str>,
    /// The group that shares it.
    pub group: Option<Box<str>>,
    /// The highest QoS of what is delivered for it.
    pub qos: u8,
    /// The subscription identifier.
    pub identifier: Option<NonZeroU32>,
}

impl From<SubscriptionRecord> for SessionSubscription {
    fn from(record: SubscriptionRecord) -> Self {
        // The lowest bits of the options are the QoS (5.0, 3.8.3.1).
        let qos = record.options & 0b11;
        Self { filter: record.filter, group: record.group, qos, identifier: record.identifier }
    }
}
