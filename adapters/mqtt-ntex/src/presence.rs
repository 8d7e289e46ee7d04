//! How many connections each device or person has, and what they share: how fast they may publish. Each connection that is
//! opened or gone is told to the application.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ntex::io::types::PeerAddr;
use pocket_application::{ClientAccess, DeviceGateway};
use pocket_domain::{Peer, Principal, TenantId};
use pocket_mqtt_core::{Client as Owner, ProtocolVersion, PublishRate};

use crate::Io;
use crate::client::Client;
use crate::end_reason;

/// Nodes of the tree of filters that count as one share.
const NODES_A_SHARE: usize = 16;
/// Shares a second of a device or person: a few percent of a worker.
const SHARES_A_SECOND: u32 = 50_000;

/// Connections, by whose they are. The application is told under the lock, so that it hears in the right order.
#[derive(Debug)]
pub(crate) struct Presence {
    principals: Mutex<HashMap<(TenantId, Principal), Connections>>,
    /// Messages a second; 0: no limit.
    publish_rate: u32,
}

#[derive(Debug)]
struct Connections {
    count: usize,
    rate: SharedRate,
}

/// How fast a device or person publishes, shared by their connections.
#[derive(Clone, Debug)]
pub(crate) struct SharedRate {
    messages: Option<Arc<Mutex<PublishRate>>>,
    /// How many filters its messages may be compared with.
    matching: Arc<Mutex<PublishRate>>,
}

impl SharedRate {
    /// A message came. Returns how long the connection is to be held back; zero: not at all.
    pub(crate) fn take(&self) -> Duration {
        let Some(rate) = &self.messages else { return Duration::ZERO };
        rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// A message visited so many nodes of the tree of filters beyond what is free. Returns what [`take`](Self::take) does.
    pub(crate) fn take_matching(&self, nodes: usize) -> Duration {
        let shares = u32::try_from(nodes / NODES_A_SHARE + 1).unwrap_or(u32::MAX);
        self.matching.lock().unwrap_or_else(PoisonError::into_inner).take_many(shares, Instant::now())
    }
}

impl Presence {
    /// Of those who may publish so many messages a second; 0: no limit.
    pub(crate) fn new(publish_rate: u32) -> Self {
        Self { principals: Mutex::default(), publish_rate }
    }

    /// A connection was opened.
    pub(crate) fn opened(&self, access: &ClientAccess, peer: Peer, gateway: &DeviceGateway) -> SharedRate {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        let present = principals.entry((access.tenant_id, access.principal)).or_insert_with(|| {
            let now = Instant::now();
            let messages = PublishRate::per_second(self.publish_rate, now).map(|rate| Arc::new(Mutex::new(rate)));
            let matching = PublishRate::per_second(SHARES_A_SECOND, now).expect("a rate above 0 is a limit");
            Connections { count: 0, rate: SharedRate { messages, matching: Arc::new(Mutex::new(matching)) } }
        });
        present.count += 1;
        gateway.connected(access, peer);
        present.rate.clone()
    }

    /// The connection of a client is gone.
    pub(crate) fn closed(&self, client: &Client, gateway: &DeviceGateway) {
        let access = client.access.borrow();
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = principals.entry((access.tenant_id, access.principal)) {
            entry.get_mut().count -= 1;
            let is_last = entry.get().count == 0;
            if is_last {
                entry.remove();
            }
            let reason =
                if client.is_ended.get() { end_reason::ENDED.into() } else { end_reason::of(client.closing()) };
            gateway.disconnected(&access, client.peer.clone(), reason, is_last);
        }
    }
}

/// The other end of a connection, as people are told of it.
pub(crate) fn peer(io: &Io, client: &Owner, version: ProtocolVersion) -> Peer {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let protocol = match version {
        ProtocolVersion::V311 => "MQTT 3.1.1",
        ProtocolVersion::V5 => "MQTT 5.0",
    };
    Peer {
        client_id: client.client_id.to_shared(),
        address: io.query::<PeerAddr>().get().map(|peer| canonical(peer.into_inner())),
        protocol: protocol.into(),
    }
}
