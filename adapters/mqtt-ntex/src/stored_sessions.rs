//! Which sessions are stored, and what storage is told of their beginning, their absence and their end.
//!
//! A session of a device that outlives its connection is stored from its first connection on. One that was stored stays so
//! until it ends.

use std::sync::Arc;

use pocket_domain::{Principal, Timestamp};
use pocket_mqtt_core::{Client as Owner, Connection};
use pocket_ports::{BrokerChange, BrokerKey, SessionRecord};

use crate::subscriber::SubscriberId;
use crate::table::Sleeper;
use crate::worker::Worker;
use crate::{errands, records};

impl Worker {
    /// Stores the session of a client that is connecting, if it is one to be stored; returns the client's id with it.
    pub(crate) fn store_session(&self, connection: &mut Connection, id: SubscriberId) -> SubscriberId {
        let owner = connection.client().clone();
        if !self.broker.is_stored() || owner.principal.device().is_none() {
            return id;
        }
        let expiry = connection.session_expiry();
        let will = connection.will().map(records::will_bytes);
        let session = connection.session();
        // A session without a key is a new one: what outlives its connection has had one from its beginning.
        if session.key().is_none() && !expiry.is_zero() {
            session.store(self.broker.keys.take(1));
        }
        let Some(key) = session.key() else { return id };
        let expiry_seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        let mut changes: Vec<BrokerChange> = kept(key, &owner, expiry_seconds, None, will).into_iter().collect();
        changes.extend(errands::changes(key, session.take_changes()));
        self.note_with_letters(owner.tenant_id, changes, Vec::new());
        self.run_errands();
        SubscriberId { session: Some(key), ..id }
    }

    /// A client left: its session waits in storage, too.
    pub(crate) fn note_sleeper(&self, sleeper: &mut Sleeper) {
        let Some(key) = sleeper.session.key() else { return };
        sleeper.session.note_progress();
        let mut changes = errands::changes(key, sleeper.session.take_changes());
        let expiry_seconds = u32::try_from(sleeper.expiry.as_secs()).unwrap_or(u32::MAX);
        let will = sleeper.will.as_ref().map(|(will, _)| records::will_bytes(will));
        changes.extend(kept(key, &sleeper.owner, expiry_seconds, Some(sleeper.left_at), will));
        self.note_with_letters(sleeper.owner.tenant_id, changes, Vec::new());
    }
}

/// What storage knows of a session; `None` for a person's, which is not stored.
fn kept(
    key: BrokerKey,
    owner: &Owner,
    expiry_seconds: u32,
    left_at: Option<Timestamp>,
    will: Option<Box<[u8]>>,
) -> Option<BrokerChange> {
    let Principal::Device(device_id) = owner.principal else { return None };
    Some(BrokerChange::SessionKept(Arc::new(SessionRecord {
        key,
        tenant_id: owner.tenant_id,
        device_id,
        client_id: owner.client_id.as_str().into(),
        expiry_seconds,
        left_at,
        will,
    })))
}
