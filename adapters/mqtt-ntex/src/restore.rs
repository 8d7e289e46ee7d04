//! What an earlier process left, before anybody connects.
//!
//! Sessions are spread over the workers and registered with their subscriptions at once, so that a client finds its session
//! and a publisher its subscribers whichever worker comes up first. Each worker takes its share when it starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::ClientAccess;
use pocket_domain::{DeviceId, Excerpt, Invalid, Principal, TenantId, Timestamp};
use pocket_mqtt_core::{Client as Owner, ClientId, Session};
use pocket_ports::{BrokerChange, BrokerKey, StorageError, StoredSession, Submission};

use crate::broker::Broker;
use crate::records;
use crate::subscriber::SubscriberId;
use crate::table::{Sleeper, Table};

/// The sessions that each worker is to start with.
pub(crate) type Restored = Vec<Vec<(SubscriberId, Sleeper)>>;

impl Broker {
    /// Reads what an earlier process of this node left: retained messages, sessions with their subscriptions, and what
    /// waits for them. To be called once, before [`bind`](Self::bind).
    ///
    /// # Errors
    /// When storage fails.
    pub async fn restore(&self) -> Result<(), StorageError> {
        let Some(state) = self.gateway.broker_state().await? else { return Ok(()) };
        self.keys.begin_after(state.last_key);
        self.set_stored();
        let now = self.gateway.steady_now();
        for (tenant, record) in &state.retained {
            match records::retained(*tenant, record) {
                Ok((message, publisher)) => {
                    let retained = self.index.tenant(*tenant);
                    let account = publisher.as_ref().map(|publisher| self.account(publisher));
                    retained.retained().restore(&Arc::new(message), publisher, account.as_ref());
                }
                Err(error) => {
                    tracing::warn!(topic = %Excerpt(record.topic.as_str()), %error, "a stored retained message cannot be read");
                }
            }
        }
        let mut restored: Restored = (0..self.mailboxes.len()).map(|_| Vec::new()).collect();
        let (count, mut ended) = (state.sessions.len(), Vec::new());
        let (mut accesses, mut messages) = (HashMap::new(), records::Messages::new());
        for (number, stored) in state.sessions.into_iter().enumerate() {
            let key = stored.session.key;
            let worker = number % restored.len();
            match self.restore_session(&stored, now, &mut accesses, &mut messages).await? {
                Some(sleeper) => {
                    let id = self.register_restored(&sleeper, key, worker, restored[worker].len());
                    restored[worker].push((id, sleeper));
                }
                None => ended.push(BrokerChange::SessionEnded(key)),
            }
        }
        if count > 0 {
            tracing::info!(sessions = count - ended.len(), ended = ended.len(), "sessions restored");
        }
        // A queue that is full or closed at the start leaves them for the next start.
        let _ = self.gateway.submit(Submission { tenant: None, messages: Vec::new(), changes: ended, receipt: None });
        self.put_restored(restored);
        Ok(())
    }

    /// A session that waits for its client; `None` when its device is gone or it cannot be read.
    /// `accesses` has those of devices that were looked up, of which each may have many sessions.
    async fn restore_session(
        &self,
        stored: &StoredSession,
        now: Timestamp,
        accesses: &mut HashMap<(TenantId, DeviceId), Option<ClientAccess>>,
        messages: &mut records::Messages,
    ) -> Result<Option<Sleeper>, StorageError> {
        let record = &stored.session;
        let owner = (record.tenant_id, record.device_id);
        let access = match accesses.entry(owner) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let principal = Principal::Device(record.device_id);
                place.insert(self.gateway.access_of(record.tenant_id, principal).await?).clone()
            }
        };
        let Some(access) = access else { return Ok(None) };
        match self.sleeper(stored, access, now, messages) {
            Ok(sleeper) => Ok(Some(sleeper)),
            Err(error) => {
                tracing::warn!(device = %record.device_id, client = %Excerpt(&record.client_id), %error, "a stored session cannot be read");
                Ok(None)
            }
        }
    }

    fn sleeper(
        &self,
        stored: &StoredSession,
        access: ClientAccess,
        now: Timestamp,
        messages: &mut records::Messages,
    ) -> Result<Sleeper, Invalid> {
        let record = &stored.session;
        // A client that was connected when the process ended left at this moment, as far as anybody knows.
        let left_at = record.left_at.unwrap_or(now);
        let expiry = Duration::from_secs(record.expiry_seconds.into());
        let gone = now.since(left_at);
        let left = |whole: Duration| Instant::now() + whole.saturating_sub(gone);
        let will = record.will.as_deref().map(records::will).transpose()?;
        let owner = Owner {
            tenant_id: record.tenant_id,
            principal: Principal::Device(record.device_id),
            client_id: ClientId::parse(&record.client_id)?,
        };
        let mut session = Session::restore(records::left_session(stored, messages)?, &self.limits);
        // What was acknowledged is kept, whatever the limits say by now.
        session.charge_to(&self.account(&owner));
        session.take_place_anyway();
        session.keep_will(will.as_ref());
        Ok(Sleeper {
            owner,
            index: self.index.tenant(record.tenant_id),
            access,
            session,
            left_at,
            expiry,
            ends_at: left(expiry),
            will: will.map(|will| {
                let due = left(will.delay.min(expiry));
                (will, due)
            }),
        })
    }

    fn register_restored(&self, sleeper: &Sleeper, key: BrokerKey, worker: usize, place: usize) -> SubscriberId {
        let worker = u16::try_from(worker).expect("workers are numbered by 16 bits");
        let id = Table::restored_id(place, worker, self.next_serial(), key);
        self.registry.register(&sleeper.owner, id);
        self.count_sleeper(&sleeper.owner, id, true);
        for subscription in sleeper.session.subscriptions() {
            sleeper.index.subscribe(id, subscription);
            sleeper.index.set_away(id, subscription, true);
        }
        id
    }
}
