//! Logging in, and telling who calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{Excerpt, LoginId, PasswordHash, TenantId, TenantName, Timestamp, User, UserId, Username};
use pocket_ports::{AccessChange, Claims, Clock, Entropy, TenantRepository, TokenIssuer, UserRepository, UserStanding};

use crate::access_watch::AccessWatch;
use crate::caller::Login;
use crate::hashing::{Hashing, Lane};
use crate::throttle::LoginThrottle;
use crate::{Caller, Error};

/// What somebody logs in with. Names are not parsed yet: one that cannot exist is answered like one that does not.
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

/// Use cases of logging in and out.
pub struct AuthService {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) hashing: Hashing,
    pub(crate) issuer: Arc<dyn TokenIssuer>,
    pub(crate) throttle: Arc<LoginThrottle>,
    /// How long after the log-in its tokens are renewed.
    pub(crate) max_login_age: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Under which name an account's failures are counted.
pub(crate) fn account_of(tenant: &TenantName, username: &Username) -> String {
    format!("{tenant}/{username}")
}

impl AuthService {
    /// How far the clocks of two processes may differ: an ended log-in is remembered for so much longer than its tokens.
    const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

    /// Checks a name and password and gives a bearer token.
    ///
    /// # Errors
    /// `Unauthenticated` for a wrong name, password or tenant alike, after the same time; `TooManyAttempts` when the
    /// account failed too often from this source, the source failed too often, or too many passwords wait to be checked.
    pub async fn login(&self, attempt: LoginAttempt) -> Result<Session, Error> {
        let LoginAttempt { tenant, username, password, source } = attempt;
        let tenant = tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        let names = TenantName::parse(tenant).ok().zip(Username::parse(&username).ok());
        let account = names.as_ref().map(|(tenant, username)| account_of(tenant, username));
        let place = self
            .throttle
            .begin(source, account.as_deref(), self.clock.now())
            .await
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let judged = self.judge(names, password, source).await;
        match judged {
            Ok(Some(user)) => {
                place.succeeded();
                tracing::info!(name = %user.username, user = %user.id, tenant = %user.tenant_id, %source, "logged in");
                let mut random = [0; 10];
                self.entropy.fill(&mut random);
                let now = self.clock.now();
                self.session(user, Login { id: LoginId::new(now, random), at: now }, now)
            }
            Ok(None) => {
                drop(place);
                tracing::info!(name = %Excerpt(&username), tenant = %Excerpt(tenant), %source, "failed log-in");
                Err(Error::Unauthenticated)
            }
            Err(error) => {
                place.withdrawn();
                Err(error)
            }
        }
    }

    /// The person, if the password is theirs.
    async fn judge(
        &self,
        names: Option<(TenantName, Username)>,
        password: String,
        source: IpAddr,
    ) -> Result<Option<User>, Error> {
        let found = match names {
            Some((tenant, username)) => self.find(&tenant, &username).await?,
            None => None,
        };
        let (user, hash) = found.unzip();
        let is_right = self.hashing.verify(Lane::of_source(source), password, hash).await?;
        Ok(user.filter(|_| is_right))
    }

    async fn find(&self, tenant: &TenantName, username: &Username) -> Result<Option<(User, PasswordHash)>, Error> {
        match self.tenants.find_by_name(tenant).await? {
            Some(tenant) => Ok(self.users.find_by_name(tenant.id, username).await?),
            None => Ok(None),
        }
    }

    /// Whether a bearer token is of this platform and has not expired, and of which tenant and person it is. Nothing is read from
    /// storage, so it may be theirs no longer.
    pub fn glance(&self, token: &str) -> Option<(TenantId, UserId)> {
        let claims = self.issuer.verify(token, self.clock.now()).ok()?.claims;
        Some((claims.tenant_id, claims.user_id))
    }

    /// Who a bearer token belongs to, as they are now: a changed role counts at once, and a removed user, a changed
    /// password or a log-out ends the token. What another process changes counts within a second.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, Error> {
        let now = self.clock.now();
        let claims = self.issuer.verify(token, now)?.claims;
        let standing = self.person(claims.tenant_id, claims.user_id, now).await?.ok_or(Error::Unauthenticated)?;
        let is_over = now >= claims.logged_in_at.plus(self.max_login_age);
        if is_over
            || standing.user.credential_version != claims.credential_version
            || standing.ended.contains(&claims.login)
        {
            return Err(Error::Unauthenticated);
        }
        Ok(Caller::of_login(standing.user.clone(), Login { id: claims.login, at: claims.logged_in_at }))
    }

    async fn person(&self, tenant: TenantId, id: UserId, now: Timestamp) -> Result<Option<Arc<UserStanding>>, Error> {
        let known = self.watch.people();
        if let Some(standing) = known.get(tenant, id) {
            return Ok(Some(standing));
        }
        let epoch = known.epoch();
        let standing = self.users.standing(tenant, id, now).await?.map(Arc::new);
        if let Some(standing) = &standing {
            known.keep(epoch, standing);
        }
        Ok(standing)
    }

    /// A new bearer token for somebody who has a valid one, of the same log-in.
    ///
    /// # Errors
    /// `Unauthenticated` when the log-in is older than log-ins may become, and for a caller without a log-in.
    pub fn refresh(&self, caller: &Caller) -> Result<Session, Error> {
        let login = caller.login().ok_or(Error::Unauthenticated)?;
        self.session(caller.user().clone(), login, self.clock.now())
    }

    /// Ends the log-in of the caller, or all log-ins of theirs: tokens are refused and connections to the broker are closed, in this
    /// process at once and in others within seconds.
    ///
    /// # Errors
    /// `Unauthenticated` for a caller without a log-in; those of storage.
    pub async fn logout(&self, caller: &Caller, all: bool) -> Result<(), Error> {
        let (tenant_id, user_id) = (caller.tenant_id(), caller.user_id());
        if all {
            self.users.end_all_logins(tenant_id, user_id).await?;
        } else {
            let login = caller.login().ok_or(Error::Unauthenticated)?;
            let now = self.clock.now();
            let until = now.plus(Duration::from_secs(self.issuer.ttl_seconds())).plus(Self::CLOCKS_DIFFER);
            self.users.end_login(tenant_id, user_id, login.id, until, now).await?;
        }
        self.watch.announce(AccessChange::User { tenant_id, user_id });
        tracing::info!(name = %caller.user().username, user = %user_id, tenant = %tenant_id, all, "logged out");
        Ok(())
    }

    fn session(&self, user: User, login: Login, now: Timestamp) -> Result<Session, Error> {
        let claims = Claims {
            user_id: user.id,
            tenant_id: user.tenant_id,
            credential_version: user.credential_version,
            login: login.id,
            logged_in_at: login.at,
        };
        let end_of_login = login.at.plus(self.max_login_age);
        let until = now.plus(Duration::from_secs(self.issuer.ttl_seconds())).min(end_of_login);
        // Tokens count whole seconds.
        let expires_in = until.since(now).as_secs();
        if expires_in == 0 {
            return Err(Error::Unauthenticated);
        }
        let token = self.issuer.issue(&claims, now, until)?;
        Ok(Session { token, expires_in, user })
    }
}
