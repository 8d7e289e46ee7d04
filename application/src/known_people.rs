//! Who the people are whose bearer tokens came lately, so that a person's requests do not each begin with a look-up.
//!
//! - Somebody is forgotten as soon as this process changes them, their log-ins or their tenant, and when the access log tells of a change that
//!   another made.
//! - Whatever happens elsewhere, nobody is known for longer than [`KnownPeople::MAX_AGE`].
//! - What was read from storage before a change became known, and comes in after it, is not kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{TenantId, UserId};
use pocket_ports::{AccessChange, UserStanding};
use tokio::time::Instant;

/// Taken before storage is asked, and shown with the answer.
#[derive(Clone, Copy)]
pub(crate) struct Epoch(u64);

/// People who were asked for lately.
#[derive(Default)]
pub(crate) struct KnownPeople(Mutex<State>);

#[derive(Default)]
struct State {
    people: HashMap<UserId, (Instant, Arc<UserStanding>)>,
    /// How many changes became known.
    epoch: u64,
}

impl KnownPeople {
    /// The most people, a few hundred bytes each.
    const MOST: usize = 10_000;
    /// For how long somebody is known: what a change that another process made takes at the most.
    pub(crate) const MAX_AGE: Duration = Duration::from_secs(1);

    /// A person as they are, if that is known.
    pub(crate) fn get(&self, tenant: TenantId, id: UserId) -> Option<Arc<UserStanding>> {
        let state = self.state();
        let (since, standing) = state.people.get(&id)?;
        (standing.user.tenant_id == tenant && since.elapsed() <= Self::MAX_AGE).then(|| Arc::clone(standing))
    }

    /// To be called before storage is asked.
    pub(crate) fn epoch(&self) -> (Epoch, Instant) {
        (Epoch(self.state().epoch), Instant::now())
    }

    /// Keeps what storage answered, unless something changed since it was asked. They are known from that time on.
    pub(crate) fn keep(&self, (epoch, asked): (Epoch, Instant), standing: &Arc<UserStanding>) {
        let mut state = self.state();
        if state.epoch != epoch.0 {
            return;
        }
        if state.people.len() >= Self::MOST {
            state.people.retain(|_, (since, _)| since.elapsed() <= Self::MAX_AGE);
        }
        if state.people.len() < Self::MOST {
            state.people.insert(standing.user.id, (asked, Arc::clone(standing)));
        }
    }

    /// Forgets whom a change is about.
    pub(crate) fn forget(&self, change: AccessChange) {
        let mut state = self.state();
        state.epoch += 1;
        match change {
            AccessChange::User { user_id, .. } => {
                state.people.remove(&user_id);
            }
            AccessChange::Tenant { tenant_id } => {
                state.people.retain(|_, (_, standing)| standing.user.tenant_id != tenant_id);
            }
            AccessChange::Device { .. } | AccessChange::Session { .. } => {}
            AccessChange::Everything => state.people.clear(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{Role, Timestamp, User, Username};

    use super::*;

    fn tenant(n: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [n; 10])
    }

    fn user(n: usize) -> User {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&n.to_be_bytes());
        User {
            id: UserId::new(Timestamp::MIN, random),
            tenant_id: tenant(1),
            username: Username::parse("ann").unwrap(),
            role: Role::Viewer,
            credential_version: 0,
            created_at: Timestamp::MIN,
        }
    }

    fn standing(n: usize) -> Arc<UserStanding> {
        Arc::new(UserStanding { user: user(n), ended: Vec::new() })
    }

    fn changed(n: usize) -> AccessChange {
        AccessChange::User { tenant_id: tenant(1), user_id: user(n).id }
    }

    fn is_known(people: &KnownPeople, n: usize) -> bool {
        people.get(tenant(1), user(n).id).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_is_known_for_a_second_from_the_question_on() {
        let people = KnownPeople::default();
        let asked = people.epoch();
        tokio::time::advance(Duration::from_millis(400)).await;
        people.keep(asked, &standing(1));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert!(is_known(&people, 1));
        assert!(people.get(tenant(2), user(1).id).is_none(), "somebody is asked for in their own tenant");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!is_known(&people, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_forgets_whom_it_is_about() {
        let people = KnownPeople::default();
        people.keep(people.epoch(), &standing(1));
        people.keep(people.epoch(), &standing(2));
        people.forget(changed(1));
        assert!(!is_known(&people, 1) && is_known(&people, 2));
        people.forget(AccessChange::Tenant { tenant_id: tenant(2) });
        assert!(is_known(&people, 2));
        people.forget(AccessChange::Tenant { tenant_id: tenant(1) });
        assert!(!is_known(&people, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_before_a_change_is_not_kept() {
        let people = KnownPeople::default();
        let asked = people.epoch();
        people.forget(changed(1));
        people.keep(asked, &standing(1));
        assert!(!is_known(&people, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn when_too_many_are_known_no_more_are_kept_until_some_are_too_old() {
        let people = KnownPeople::default();
        for n in 0..=KnownPeople::MOST {
            people.keep(people.epoch(), &standing(n));
        }
        assert!(is_known(&people, 0) && !is_known(&people, KnownPeople::MOST));
        tokio::time::advance(KnownPeople::MAX_AGE + Duration::from_millis(1)).await;
        people.keep(people.epoch(), &standing(KnownPeople::MOST));
        assert!(is_known(&people, KnownPeople::MOST) && people.state().people.len() == 1);
    }
}
