//! What a worker has for storage beside what came with a read: changes of sessions, wills, messages for stored sessions; and
//! the last read of a connection that was closed before there was room for it.
//!
//! Errands of a tenant are handed over in order. A letter about something that is stored leaves when its errand is taken, so that
//! whatever its receiver has for storage comes after it. While the ingest has no room for the tenant they wait here, and
//! hold up nobody else's: each is about a message, a client or a session, all of which are bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use pocket_domain::{NewTelemetry, TenantId};
use pocket_mqtt_core::{Outcome, Reply, SessionChange, StoreKey, key_behind};
use pocket_ports::{BrokerChange, Receipt, Refused, Submission};

use crate::client::Client;
use crate::mailbox::{Letter, StoredAt};
use crate::records;
use crate::worker::Worker;

/// Something for storage.
#[derive(Default)]
pub(crate) struct Errand {
    messages: Vec<NewTelemetry>,
    changes: Vec<BrokerChange>,
    receipt: Option<Receipt>,
    letters: Letters,
}

/// Letters with the workers they go to.
pub(crate) type Letters = Vec<(u16, Letter)>;

/// The errands of a worker by tenant, oldest first. A tenant that has none has no entry.
#[derive(Default)]
pub(crate) struct Errands(HashMap<TenantId, VecDeque<Errand>>);

impl Errands {
    /// How many wait for a tenant.
    pub(crate) fn count(&self, tenant: TenantId) -> usize {
        self.0.get(&tenant).map_or(0, VecDeque::len)
    }

    fn take(&mut self, tenant: TenantId) -> Option<Errand> {
        let of_tenant = self.0.get_mut(&tenant)?;
        let errand = of_tenant.pop_front();
        if of_tenant.is_empty() {
            self.0.remove(&tenant);
        }
        errand
    }

    fn put_back(&mut self, tenant: TenantId, errand: Errand) {
        self.0.entry(tenant).or_default().push_front(errand);
    }
}

impl Worker {
    /// Has a change stored, when the broker's state is.
    pub(crate) fn note(&self, tenant: TenantId, change: BrokerChange) {
        if self.broker.is_stored() {
            self.have_stored(tenant, Errand { changes: vec![change], ..Errand::default() });
        }
    }

    /// Has changes stored, then sends the letters that are about them.
    pub(crate) fn note_with_letters(&self, tenant: TenantId, changes: Vec<BrokerChange>, letters: Letters) {
        if !changes.is_empty() || !letters.is_empty() {
            self.have_stored(tenant, Errand { changes, letters, ..Errand::default() });
        }
    }

    /// Has the changes of a client's session stored; `replies` wait for it. Those of a read are stored with its batch: apart
    /// from them, what waits in the batch for a change would not wait.
    pub(crate) fn note_session(&self, client: &Client, replies: Vec<Reply>) {
        let Some(replies) = client.leave_to_read(replies) else { return };
        let mut connection = client.connection.borrow_mut();
        let session = connection.session();
        let Some(key) = session.key() else { return };
        let changes = changes(key, session.take_changes());
        let tenant = client.owner.tenant_id;
        if replies.is_empty() {
            drop(connection);
            return self.note_with_letters(tenant, changes, Vec::new());
        }
        let batch = session.await_storage(replies);
        drop(connection);
        if self.broker.config.ack_on_receipt {
            self.note_with_letters(tenant, changes, Vec::new());
            // By mail: the caller may be in the middle of this session.
            let letter = Letter::Settle { client: client.id, batch, outcome: Outcome::Stored };
            self.broker.mailboxes[usize::from(self.number)].post(letter);
            return;
        }
        let receipt = Some(crate::batch::receipt(&self.broker, client.id, batch));
        self.have_stored(tenant, Errand { changes, receipt, ..Errand::default() });
    }

    /// Has a submission stored that nobody can wait for any longer.
    pub(crate) fn leave(&self, tenant: TenantId, submission: Submission, letters: Letters) {
        let Submission { messages, changes, receipt, .. } = submission;
        self.have_stored(tenant, Errand { messages, changes, receipt, letters });
    }

    fn have_stored(&self, tenant: TenantId, errand: Errand) {
        let mut errands = self.errands.borrow_mut();
        let of_tenant = errands.0.entry(tenant).or_default();
        match of_tenant.back_mut() {
            // Many small changes become one submission.
            Some(last) if errand.messages.is_empty() && last.receipt.is_none() && last.letters.is_empty() => {
                last.changes.extend(errand.changes);
                last.receipt = errand.receipt;
                last.letters = errand.letters;
            }
            _ => {
                of_tenant.push_back(errand);
                self.broker.errands.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Hands errands over as far as the ingest has room.
    pub(crate) fn run_errands(&self) {
        if self.errands.borrow().0.is_empty() {
            return;
        }
        let tenants: Vec<TenantId> = self.errands.borrow().0.keys().copied().collect();
        for tenant in tenants {
            self.run_errands_of(Some(tenant));
        }
    }

    /// Hands errands of a tenant over as far as the ingest has room for them. Returns whether none is left.
    pub(crate) fn run_errands_of(&self, tenant: Option<TenantId>) -> bool {
        let Some(tenant) = tenant else { return true };
        loop {
            let Some(errand) = self.errands.borrow_mut().take(tenant) else { return true };
            let Errand { messages, changes, receipt, letters } = errand;
            match self.broker.gateway.submit(Submission { tenant: Some(tenant), messages, changes, receipt }) {
                Ok(()) => drop(self.post(letters)),
                Err(Refused::Full(Submission { messages, changes, receipt, .. })) => {
                    self.errands.borrow_mut().put_back(tenant, Errand { messages, changes, receipt, letters });
                    return false;
                }
                // The platform is stopping, and nothing is stored any more.
                Err(Refused::Closed(refused)) => self.counters().dropped_not_stored.add(refused.messages.len() as u64),
            }
            self.broker.errands.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sends letters that waited for their errand. Returns whether a mailbox is full now; see [`Worker::mail_room`].
    pub(crate) fn post(&self, letters: Letters) -> bool {
        if letters.is_empty() {
            return false;
        }
        for (worker, letter) in letters {
            self.write_letter(worker, letter);
        }
        self.send_mail()
    }
}

/// What a session noted, for storage.
pub(crate) fn changes(session: StoreKey, noted: Vec<SessionChange>) -> Vec<BrokerChange> {
    noted.into_iter().map(|change| records::change(session, change)).collect()
}

impl StoredAt {
    /// The keys of the delivery at a place of the letter.
    pub(crate) fn of(self, place: usize) -> pocket_mqtt_core::StoredAs {
        pocket_mqtt_core::StoredAs { delivery: key_behind(self.first, place), message: self.message }
    }
}
