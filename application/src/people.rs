//! People who connect to the broker: with their name and a bearer token, for as long as the token is theirs, or with their
//! password, for as long as it is.

use std::sync::Arc;

use pocket_domain::{LoginId, Role, TenantId, Timestamp, User, UserId};
use pocket_ports::{DeviceLoginRepository, TenantRepository, TokenIssuer, UserRepository};

use crate::gateway::AccessDenied;
use crate::hashing::Hashing;
use crate::passwords::KnownPasswords;
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

/// Checks bearer tokens and passwords of who connects.
pub(crate) struct People {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) device_logins: Arc<dyn DeviceLoginRepository>,
    pub(crate) issuer: Arc<dyn TokenIssuer>,
    pub(crate) hashing: Hashing,
    pub(crate) throttle: Arc<LoginThrottle>,
    pub(crate) passwords: KnownPasswords,
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

    /// A password is no log-in that could be ended by itself: it holds until it is changed.
    pub(crate) fn pass_of(user: &User, now: Timestamp) -> Pass {
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
