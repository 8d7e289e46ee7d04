//! Sessions of a device, as people see and end them.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_domain::{DeviceId, Excerpt, NodeName, Principal, TenantId};
use pocket_mqtt_core::{Client as Owner, Closing, ReasonCode, Session, Subscription};
use pocket_ports::{ClientDigest, DeviceSession, SessionContent, SessionSubscription};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::client::Client;
use crate::mailbox::Letter;
use crate::table::{Place, Sleeper};
use crate::worker::Worker;

/// How long to wait for workers. They answer at once unless their threads are gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A list of the sessions of a device that the workers fill.
#[derive(Debug)]
pub(crate) struct Roll {
    tenant: TenantId,
    device: DeviceId,
    filled: Mutex<Filled>,
}

#[derive(Debug)]
struct Filled {
    sessions: Vec<DeviceSession>,
    /// Workers that have told nothing yet.
    left: usize,
    complete: Option<oneshot::Sender<Vec<DeviceSession>>>,
}

impl Roll {
    fn concerns(&self, owner: &Owner) -> bool {
        owner.tenant_id == self.tenant && owner.principal == Principal::Device(self.device)
    }
}

impl Broker {
    /// The sessions of a device, with all workers.
    pub(crate) async fn list_sessions(&self, tenant: TenantId, device: DeviceId) -> Vec<DeviceSession> {
        let (complete, list) = oneshot::channel();
        let filled = Filled { sessions: Vec::new(), left: self.mailboxes.len(), complete: Some(complete) };
        let roll = Arc::new(Roll { tenant, device, filled: Mutex::new(filled) });
        self.post_to_all(|| Letter::ListSessions(Arc::clone(&roll)));
        match tokio::time::timeout(ANSWER_WITHIN, list).await {
            Ok(Ok(sessions)) => sessions,
            // What was told by then is better than nothing.
            _ => std::mem::take(&mut roll.filled.lock().unwrap_or_else(PoisonError::into_inner).sessions),
        }
    }
}

impl Worker {
    /// Tells the sessions of this worker.
    pub(crate) fn enrol(&self, roll: &Roll) {
        let mut found = Vec::new();
        let mut table = self.table.borrow_mut();
        for client in table.clients().into_iter().filter(|client| roll.concerns(&client.owner)) {
            // One that was taken over has given its session away, and one that people ended is over.
            if client.handed_over.get().is_none() && !client.is_ended.get() {
                found.push(connected(self.broker.gateway.node(), &client));
            }
        }
        for (_, sleeper) in table.sleepers_mut().filter(|(_, sleeper)| roll.concerns(&sleeper.owner)) {
            found.push(waiting(self.broker.gateway.node(), sleeper));
        }
        drop(table);
        let mut filled = roll.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.sessions.append(&mut found);
        filled.left = filled.left.saturating_sub(1);
        if filled.left == 0
            && let Some(complete) = filled.complete.take()
        {
            // Nobody listens when the answer came too late.
            let _ = complete.send(std::mem::take(&mut filled.sessions));
        }
    }

    /// Ends a session of a device, and its connection with it.
    pub(crate) fn end_session_of(self: &Rc<Self>, tenant: TenantId, device: DeviceId, digest: ClientDigest) {
        let is_meant = |owner: &Owner| {
            owner.tenant_id == tenant
                && owner.principal == Principal::Device(device)
                && ClientDigest::of(owner.client_id.as_str()) == digest
        };
        let clients = self.table.borrow().clients();
        for client in clients.into_iter().filter(|client| is_meant(&client.owner) && client.closing().is_none()) {
            client.is_ended.set(true);
            client.connection.borrow_mut().end_session_with_connection();
            tell(&client.owner);
            client.close(Closing::ByServer(ReasonCode::AdministrativeAction));
        }
        let is_sleeper = |place: &Place| matches!(place, Place::Offline(sleeper) if is_meant(&sleeper.owner));
        let sleepers = self.table.borrow().ids(is_sleeper);
        for id in sleepers {
            if let Some(owner) = self.end_sleeper(id) {
                tell(&owner);
            }
        }
    }
}

fn tell(owner: &Owner) {
    tracing::info!(principal = %owner.principal, client = %Excerpt(owner.client_id.as_str()), "session ended by people");
}

fn connected(node: &NodeName, client: &Client) -> DeviceSession {
    let mut connection = client.connection.borrow_mut();
    let expiry = connection.session_expiry();
    DeviceSession {
        node: node.clone(),
        client_id: client.owner.client_id.as_str().into(),
        is_connected: true,
        since: Some(client.connected_at()),
        protocol: Some((&*client.peer.protocol).into()),
        content: Some(content(connection.session(), expiry)),
    }
}

fn waiting(node: &NodeName, sleeper: &Sleeper) -> DeviceSession {
    DeviceSession {
        node: node.clone(),
        client_id: sleeper.owner.client_id.as_str().into(),
        is_connected: false,
        since: Some(sleeper.left_at),
        protocol: None,
        content: Some(content(&sleeper.session, sleeper.expiry)),
    }
}

fn content(session: &Session, expiry: Duration) -> SessionContent {
    let (messages, bytes) = session.payloads();
    let mut content = SessionContent {
        expiry_seconds: u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX),
        queued_messages: messages as u64,
        queued_bytes: bytes as u64,
        ..SessionContent::default()
    };
    content.set_subscriptions(session.subscriptions().map(subscription).collect());
    content
}

fn subscription(held: &Subscription) -> SessionSubscription {
    SessionSubscription {
        filter: held.filter.as_str().into(),
        group: held.group.as_ref().map(|group| group.as_str().into()),
        qos: held.options.qos as u8,
        identifier: held.identifier,
    }
}
