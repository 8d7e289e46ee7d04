//! Access that changes while devices and people are connected.

use std::rc::Rc;

use ntex::util::join_all;
use pocket_application::{AccessDenied, ClientAccess};
use pocket_domain::{Principal, TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{Authorizer, Client as Owner, Closing, ReasonCode};
use pocket_ports::AccessChange;

use crate::client::Client;
use crate::reason;
use crate::subscriber::SubscriberId;
use crate::table::Place;
use crate::worker::Worker;

/// Sessions that are judged anew at a time.
const AT_A_TIME: usize = 64;
/// How long to wait before storage that is away is asked again.
const PAUSE: ntex::time::Millis = ntex::time::Millis(500);

/// A session that is judged anew.
pub(crate) enum Subject {
    Client(Rc<Client>),
    Sleeper(SubscriberId, ClientAccess),
}

impl Worker {
    /// Finds the sessions that a change concerns and judges them anew.
    pub(crate) fn access_changed(self: &Rc<Self>, change: AccessChange) {
        self.access_changes.set(self.access_changes.get() + 1);
        let mut table = self.table.borrow_mut();
        let is_concerned = |owner: &Owner| concerns(change, owner.tenant_id, owner.principal);
        let online = table.clients().into_iter().filter(|client| is_concerned(&client.owner));
        let mut subjects: Vec<Subject> = online.map(Subject::Client).collect();
        let offline = table.sleepers_mut().filter(|(_, sleeper)| is_concerned(&sleeper.owner));
        subjects.extend(offline.map(|(id, sleeper)| Subject::Sleeper(id, sleeper.access.clone())));
        ntex::rt::spawn(Rc::clone(self).recheck(subjects)).detach();
    }

    /// Judges sessions anew and ends those that may not stay.
    pub(crate) async fn recheck(self: Rc<Self>, subjects: Vec<Subject>) {
        for some in subjects.chunks(AT_A_TIME) {
            join_all(some.iter().map(|subject| self.recheck_one(subject))).await;
        }
    }

    async fn recheck_one(&self, subject: &Subject) {
        match subject {
            Subject::Client(client) => {
                while client.closing().is_none() {
                    let access = client.access.borrow().clone();
                    match self.broker.gateway.recheck(&access).await {
                        Ok(renewed) => {
                            client.access.replace(renewed);
                            return;
                        }
                        Err(denied) => match reason::of_lost_access(&denied) {
                            Some(reason) => return self.revoke(client, reason, &denied),
                            None => ntex::time::sleep(PAUSE).await,
                        },
                    }
                }
            }
            Subject::Sleeper(id, access) => loop {
                match self.broker.gateway.access_of(access.tenant_id, access.principal).await {
                    Ok(Some(renewed)) => return self.renew_sleeper(*id, renewed),
                    // A device that is disabled or gets another token may come back; one that was deleted does not.
                    Ok(None) => return self.end_sleeper(*id),
                    Err(_) => ntex::time::sleep(PAUSE).await,
                }
            },
        }
    }

    /// What waits for a client that is away is judged by the rules of now.
    fn renew_sleeper(&self, id: SubscriberId, access: ClientAccess) {
        if let Some(Place::Offline(sleeper)) = self.table.borrow_mut().get_mut(id) {
            sleeper.access = access;
        }
    }

    /// Whether a message on a topic may be given to a client.
    pub(crate) fn may_receive(&self, owner: &Owner, access: &ClientAccess, topic: &TopicName) -> bool {
        let may = self.broker.authorizer(access).may_receive(owner, topic);
        if !may {
            self.counters().denied.add(1);
        }
        may
    }

    /// Ends a connection of which the access is over by time.
    pub(crate) fn end_if_over(&self, client: &Client, now: Timestamp) {
        if client.access.borrow().until.is_some_and(|until| until <= now) {
            self.revoke(client, ReasonCode::NotAuthorized, &AccessDenied::BadCredentials);
        }
    }

    fn revoke(&self, client: &Client, reason: ReasonCode, denied: &AccessDenied) {
        tracing::info!(principal = %client.owner.principal, client = ?client.owner.client_id, %denied, "connection closed");
        self.counters().revocations.add(1);
        client.close(Closing::ByServer(reason));
    }
}

/// Whether a change is about the access of somebody.
pub(crate) fn concerns(change: AccessChange, tenant: TenantId, principal: Principal) -> bool {
    match change {
        AccessChange::Device { tenant_id, device_id } => {
            (tenant, principal) == (tenant_id, Principal::Device(device_id))
        }
        AccessChange::User { tenant_id, user_id } => (tenant, principal) == (tenant_id, Principal::User(user_id)),
        AccessChange::Tenant { tenant_id } => tenant == tenant_id,
    }
}
