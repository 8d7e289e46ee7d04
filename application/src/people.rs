//! People who connect to the broker: with their name and a bearer token, for as long as the token is theirs, or with their
//! password, for as long as it is.
//!
//! A password takes a core for tens of milliseconds to check. One that was right is known for some minutes, so that clients
//! that come back together are let in at once; what is kept is a hash of it under a key of this process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_domain::{LoginId, Role, TenantId, TenantName, Timestamp, User, UserId, Username};
use pocket_ports::{TenantRepository, TokenIssuer, UserRepository};
use tokio::time::Instant;

use crate::auth::account_of;
use crate::gateway::AccessDenied;
use crate::hashing::{Hashing, Lane};
use crate::throttle::LoginThrottle;

/// What of a person's token and standing a connection was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) tenant_id: TenantId,
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    credential_version: u32,
    login: LoginId,
    /// When the token stops; `None` for a password.
    pub(crate) until: Option<Timestamp>,
}

/// Checks bearer tokens and passwords of people who connect.
pub(crate) struct People {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) issuer: Arc<dyn TokenIssuer>,
    pub(crate) hashing: Hashing,
    pub(crate) throttle: Arc<LoginThrottle>,
    pub(crate) passwords: KnownPasswords,
}

/// Passwords that were right a short time ago.
#[derive(Default)]
pub(crate) struct KnownPasswords {
    keys: (RandomState, RandomState),
    known: Mutex<HashMap<(u64, u64), KnownPassword>>,
}

/// Whose a password is, the version of their credentials, and since when it is known.
type KnownPassword = (TenantId, UserId, u32, Instant);

impl KnownPasswords {
    /// How long a password is known.
    const MAX_AGE: Duration = Duration::from_secs(600);
    /// The most passwords.
    const MAX_ENTRIES: usize = 1_000;

    fn key(&self, tenant: &TenantName, username: &Username, password: &str) -> (u64, u64) {
        let shown = (tenant.as_str(), username.as_str(), password);
        (self.keys.0.hash_one(shown), self.keys.1.hash_one(shown))
    }

    fn get(&self, key: (u64, u64)) -> Option<(TenantId, UserId, u32)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (tenant, user, version, since) = known.get(&key)?;
        (since.elapsed() < Self::MAX_AGE).then_some((*tenant, *user, *version))
    }

    fn keep(&self, key: (u64, u64), user: &User) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MAX_ENTRIES {
            known.retain(|_, (.., since)| since.elapsed() < Self::MAX_AGE);
        }
        if known.len() < Self::MAX_ENTRIES {
            known.insert(key, (user.tenant_id, user.id, user.credential_version, Instant::now()));
        }
    }
}

impl People {
    /// Checks a bearer token, and that it is of the person of this name.
    pub(crate) async fn prove(&self, username: &str, token: &str, now: Timestamp) -> Result<Pass, AccessDenied> {
        let token = self.issuer.verify(token, now).map_err(|_| AccessDenied::BadCredentials)?;
        let claims = token.claims;
        let user = self.find(claims.tenant_id, claims.user_id, claims.login, now).await?;
        if user.username.as_str() != username || user.credential_version != claims.credential_version {
            return Err(AccessDenied::BadCredentials);
        }
        Ok(Pass {
            tenant_id: user.tenant_id,
            user_id: user.id,
            role: user.role,
            credential_version: user.credential_version,
            login: claims.login,
            until: Some(token.until),
        })
    }

    /// Checks a password, off the thread that asks. One that is known is not counted among attempts; any other is, with those of
    /// log-ins over REST.
    pub(crate) async fn prove_password(
        &self,
        shown: (TenantName, Username, &str),
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Pass, AccessDenied> {
        let (tenant, username, password) = shown;
        let key = self.passwords.key(&tenant, &username, password);
        if let Some((tenant_id, user_id, version)) = self.passwords.get(key)
            && let Some(standing) = self.users.standing(tenant_id, user_id, now).await?
            && standing.user.credential_version == version
            && standing.user.username == username
        {
            return Ok(Self::pass_of(&standing.user, now));
        }
        let account = account_of(&tenant, &username);
        let attempt = self.throttle.begin(source, Some(&account), now).await;
        let attempt = attempt.map_err(|_| AccessDenied::TooManyAttempts)?;
        match self.judge(&tenant, &username, password, source).await {
            Ok(Some(user)) => {
                attempt.succeeded();
                self.passwords.keep(key, &user);
                Ok(Self::pass_of(&user, now))
            }
            // It stays counted.
            Ok(None) => Err(AccessDenied::BadCredentials),
            Err(error) => {
                attempt.withdrawn();
                Err(error)
            }
        }
    }

    async fn judge(
        &self,
        tenant: &TenantName,
        username: &Username,
        password: &str,
        source: IpAddr,
    ) -> Result<Option<User>, AccessDenied> {
        let found = match self.tenants.find_by_name(tenant).await? {
            Some(tenant) => self.users.find_by_name(tenant.id, username).await?,
            None => None,
        };
        let (user, hash) = found.unzip();
        let is_right = self.hashing.verify(Lane::of_source(source), password.to_owned(), hash).await;
        let is_right = is_right.map_err(|error| AccessDenied::Unavailable(error.to_string()))?;
        Ok(user.filter(|_| is_right))
    }

    /// A password is no log-in that could be ended by itself: it holds until it is changed.
    fn pass_of(user: &User, now: Timestamp) -> Pass {
        Pass {
            tenant_id: user.tenant_id,
            user_id: user.id,
            role: user.role,
            credential_version: user.credential_version,
            login: LoginId::new(now, [0; 10]),
            until: None,
        }
    }

    /// Judges a person anew. A pass does not outlive its log-in, nor a change of password or role: who has another role connects
    /// again.
    pub(crate) async fn recheck(&self, pass: Pass, now: Timestamp) -> Result<(), AccessDenied> {
        let user = self.find(pass.tenant_id, pass.user_id, pass.login, now).await?;
        let is_same = (user.role, user.credential_version) == (pass.role, pass.credential_version);
        if is_same && pass.until.is_none_or(|until| now < until) { Ok(()) } else { Err(AccessDenied::BadCredentials) }
    }

    /// A person, unless they ended the log-in.
    async fn find(&self, tenant: TenantId, user: UserId, login: LoginId, now: Timestamp) -> Result<User, AccessDenied> {
        let standing = self.users.standing(tenant, user, now).await?;
        let standing = standing.filter(|standing| !standing.ended.contains(&login));
        standing.map(|standing| standing.user).ok_or(AccessDenied::BadCredentials)
    }
}
