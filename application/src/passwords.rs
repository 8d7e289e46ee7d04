//! Passwords of clients that connect: of people, and of devices that have a user name and password of their own.
//!
//! - A user name may be that of a person and of devices of several tenants. The password tells which one it is; when it is right for
//!   more than one, nobody gets in.
//! - A password takes a core for tens of milliseconds to check. One that was right is known for some minutes, so that clients
//!   that come back together are let in at once. What is kept is a hash of it, and of whom it was compared with, under a key of this
//!   process: after any change of those it is checked again.
//! - An unknown user name takes as long as a wrong password.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_domain::{
    DeviceLoginId, DevicePassword, DeviceUsername, Excerpt, PasswordHash, TenantName, Timestamp, UserId, Username,
};
use pocket_ports::DeviceLogin;
use tokio::time::Instant;

use crate::auth::account_of;
use crate::gateway::AccessDenied;
use crate::hashing::Lane;
use crate::people::{Pass, People};

/// A user name and a password, by whose they may be.
pub(crate) struct ShownPassword<'a> {
    /// A person's tenant and name.
    pub(crate) person: Option<(TenantName, Username)>,
    /// A device's user name.
    pub(crate) device: Option<DeviceUsername>,
    /// The password.
    pub(crate) password: &'a str,
}

/// Whose a password is.
pub(crate) enum Owner {
    /// A person's.
    Person(Pass),
    /// A device's.
    Device(DeviceLogin),
}

/// Somebody who has the user name, and what changes with their password.
#[derive(Hash)]
enum Identity {
    Person(UserId, u32),
    Device(DeviceLoginId),
}

struct Candidate {
    identity: Identity,
    owner: Owner,
    hash: PasswordHash,
}

/// Passwords that were right a short time ago.
#[derive(Default)]
pub(crate) struct KnownPasswords {
    keys: (RandomState, RandomState),
    known: Mutex<HashMap<(u64, u64), KnownPassword>>,
}

/// Which of the candidates a password is right for, and since when that is known.
type KnownPassword = (usize, Instant);

impl KnownPasswords {
    /// How long a password is known.
    const MAX_AGE: Duration = Duration::from_secs(600);
    /// The most passwords, less than a hundred bytes each.
    const MAX_ENTRIES: usize = 10_000;

    fn key(&self, password: &str, candidates: &[Candidate]) -> (u64, u64) {
        let identities: Vec<&Identity> = candidates.iter().map(|candidate| &candidate.identity).collect();
        let shown = (password, identities);
        (self.keys.0.hash_one(&shown), self.keys.1.hash_one(&shown))
    }

    fn get(&self, key: (u64, u64)) -> Option<usize> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, since) = known.get(&key)?;
        (since.elapsed() < Self::MAX_AGE).then_some(*index)
    }

    fn keep(&self, key: (u64, u64), index: usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MAX_ENTRIES {
            known.retain(|_, (_, since)| since.elapsed() < Self::MAX_AGE);
        }
        if known.len() < Self::MAX_ENTRIES {
            known.insert(key, (index, Instant::now()));
        }
    }
}

impl People {
    /// The most devices of one user name, each of another tenant, that a password is compared with.
    const MAX_DEVICES: u32 = 8;

    /// Checks a password, off the thread that asks. One that is known is not counted among attempts; any other is, with those of
    /// log-ins over REST.
    pub(crate) async fn prove_password(
        &self,
        shown: &ShownPassword<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Owner, AccessDenied> {
        let mut candidates = self.candidates(shown, now).await?;
        let key = self.passwords.key(shown.password, &candidates);
        if let Some(index) = self.passwords.get(key) {
            return Ok(candidates.swap_remove(index).owner);
        }
        let account = match (&shown.person, &shown.device) {
            (Some((tenant, username)), _) => Some(account_of(tenant, username)),
            (None, device) => device.as_ref().map(ToString::to_string),
        };
        let attempt = self.throttle.begin(source, account.as_deref(), now).await;
        let attempt = attempt.map_err(|_| AccessDenied::TooManyAttempts)?;
        match self.judge(shown.password, &candidates, source).await {
            Ok(Some(index)) => {
                attempt.succeeded();
                self.passwords.keep(key, index);
                let owner = candidates.swap_remove(index).owner;
                if let Owner::Device(login) = &owner {
                    self.strengthen(login, shown.password);
                }
                Ok(owner)
            }
            // It stays counted.
            Ok(None) => Err(AccessDenied::BadCredentials),
            Err(error) => {
                attempt.withdrawn();
                Err(error)
            }
        }
    }

    /// Replaces a hash that came from elsewhere by one of ours, now that its password is known. Nobody waits for it; what finds no
    /// place among the hashes that are computed is done at a later log-in.
    fn strengthen(&self, login: &DeviceLogin, password: &str) {
        if self.hashing.is_current(&login.hash) {
            return;
        }
        let Ok(password) = DevicePassword::inherited(password) else { return };
        let (hashing, logins, login) = (self.hashing.clone(), Arc::clone(&self.device_logins), login.clone());
        tokio::spawn(async move {
            let device = login.credential.device_id;
            let Ok(hash) = hashing.hash(Lane::Replacing, password.into_password()).await else { return };
            match logins.replace_hash(&login, &hash).await {
                Ok(true) => tracing::debug!(%device, "imported password hash replaced by one of argon2id"),
                Ok(false) => {}
                Err(error) => tracing::debug!(%device, %error, "imported password hash could not be replaced"),
            }
        });
    }

    /// The owner of a password that is known; nothing is hashed.
    pub(crate) async fn recall_password(
        &self,
        shown: &ShownPassword<'_>,
        now: Timestamp,
    ) -> Result<Owner, AccessDenied> {
        let mut candidates = self.candidates(shown, now).await?;
        let known = self.passwords.get(self.passwords.key(shown.password, &candidates));
        known.map(|index| candidates.swap_remove(index).owner).ok_or(AccessDenied::BadCredentials)
    }

    /// All who have the user name.
    async fn candidates(&self, shown: &ShownPassword<'_>, now: Timestamp) -> Result<Vec<Candidate>, AccessDenied> {
        let mut candidates = Vec::new();
        if let Some((tenant, username)) = &shown.person
            && let Some(tenant) = self.tenants.find_by_name(tenant).await?
            && let Some((user, hash)) = self.users.find_by_name(tenant.id, username).await?
        {
            let identity = Identity::Person(user.id, user.credential_version);
            candidates.push(Candidate { identity, owner: Owner::Person(Self::pass_of(&user, now)), hash });
        }
        if let Some(username) = &shown.device {
            for login in self.device_logins.find(username, Self::MAX_DEVICES).await? {
                let hash = login.hash.clone();
                candidates.push(Candidate { identity: Identity::Device(login.id), owner: Owner::Device(login), hash });
            }
        }
        Ok(candidates)
    }

    /// The one whose password it is.
    async fn judge(
        &self,
        password: &str,
        candidates: &[Candidate],
        source: IpAddr,
    ) -> Result<Option<usize>, AccessDenied> {
        let lane = Lane::of_source(source);
        let verify = async |hash: Option<PasswordHash>| {
            let is_right = self.hashing.verify(lane, password.to_owned(), hash).await;
            is_right.map_err(|error| AccessDenied::Unavailable(error.to_string()))
        };
        if candidates.is_empty() {
            verify(None).await?;
        }
        let mut right = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            if verify(Some(candidate.hash.clone())).await? {
                right.push(index);
            }
        }
        match right[..] {
            [index] => Ok(Some(index)),
            [] => Ok(None),
            [..] => {
                let owners: Vec<String> = right.iter().map(|index| candidates[*index].owner.to_string()).collect();
                tracing::warn!(
                    owners = %Excerpt(&owners.join(", ")), %source,
                    "refused a log-in: several have this user name and password; give one of them another"
                );
                Ok(None)
            }
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(pass) => write!(f, "user {} of tenant {}", pass.user_id, pass.tenant_id),
            Self::Device(DeviceLogin { credential, .. }) => {
                write!(f, "device {} of tenant {}", credential.device_id, credential.tenant_id)
            }
        }
    }
}
