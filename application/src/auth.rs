//! Logging in, and telling who calls.

use std::net::IpAddr;
use std::sync::Arc;

use pocket_domain::{PasswordHash, TenantId, TenantName, User, UserId, Username};
use pocket_ports::{Claims, Clock, PasswordHasher, TenantRepository, TokenIssuer, UserRepository};

use crate::known_people::KnownPeople;
use crate::throttle::LoginThrottle;
use crate::{Caller, Error};

/// What somebody logs in with. Names are not parsed: one that cannot exist is answered like one that does not.
pub struct LoginAttempt {
    /// The name of the tenant; `default` when absent.
    pub tenant: Option<String>,
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
    /// Where the attempt comes from.
    pub source: IpAddr,
}

/// A fresh bearer token.
#[derive(Debug)]
pub struct Session {
    /// The token.
    pub token: String,
    /// For how many seconds it is valid.
    pub expires_in: u64,
    /// Whose it is.
    pub user: User,
}

/// Use cases of logging in.
pub struct AuthService {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) known: Arc<KnownPeople>,
    pub(crate) hasher: Arc<dyn PasswordHasher>,
    pub(crate) issuer: Arc<dyn TokenIssuer>,
    pub(crate) throttle: LoginThrottle,
    pub(crate) clock: Arc<dyn Clock>,
}

impl AuthService {
    /// Checks a name and password and gives a bearer token.
    ///
    /// # Errors
    /// `Unauthenticated` for a wrong name, password or tenant alike, after the same time; `TooManyAttempts` when the
    /// account or the source failed too often.
    pub async fn login(&self, attempt: LoginAttempt) -> Result<Session, Error> {
        let tenant = attempt.tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        let account = format!("{tenant}/{}", attempt.username);
        self.throttle
            .check(attempt.source, &account, self.clock.now())
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let (user, hash) = self.find(tenant, &attempt.username).await?.unzip();
        let right = self.hasher.verify(attempt.password, hash).await?;
        match user.filter(|_| right) {
            Some(user) => {
                self.throttle.succeeded(&account);
                self.session(user)
            }
            None => {
                self.throttle.failed(attempt.source, &account, self.clock.now());
                tracing::info!(%account, source = %attempt.source, "failed log-in");
                Err(Error::Unauthenticated)
            }
        }
    }

    async fn find(&self, tenant: &str, username: &str) -> Result<Option<(User, PasswordHash)>, Error> {
        let (Ok(tenant), Ok(username)) = (TenantName::parse(tenant), Username::parse(username)) else {
            return Ok(None);
        };
        match self.tenants.find_by_name(&tenant).await? {
            Some(tenant) => Ok(self.users.find_by_name(tenant.id, &username).await?),
            None => Ok(None),
        }
    }

    /// Who a bearer token belongs to, as they are now: a changed role counts at once, and a removed user or a changed
    /// password ends the token. What another process changes counts within a second.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, Error> {
        let claims = self.issuer.verify(token, self.clock.now())?.claims;
        let user = self.person(claims.tenant_id, claims.user_id).await?.ok_or(Error::Unauthenticated)?;
        if user.credential_version != claims.credential_version {
            return Err(Error::Unauthenticated);
        }
        Ok(Caller::new(user))
    }

    async fn person(&self, tenant: TenantId, id: UserId) -> Result<Option<User>, Error> {
        if let Some(user) = self.known.get(tenant, id) {
            return Ok(Some(user));
        }
        let epoch = self.known.epoch();
        let user = self.users.get(tenant, id).await?;
        if let Some(user) = &user {
            self.known.keep(epoch, user);
        }
        Ok(user)
    }

    /// A new bearer token for somebody who has a valid one.
    pub fn refresh(&self, caller: &Caller) -> Result<Session, Error> {
        self.session(caller.user().clone())
    }

    fn session(&self, user: User) -> Result<Session, Error> {
        let claims =
            Claims { user_id: user.id, tenant_id: user.tenant_id, credential_version: user.credential_version };
        let token = self.issuer.issue(&claims, self.clock.now())?;
        Ok(Session { token, expires_in: self.issuer.ttl_seconds(), user })
    }
}
