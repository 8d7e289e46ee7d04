//! People who connect to the broker: with their name and a bearer token, for as long as the token is theirs.

use std::sync::Arc;

use pocket_domain::{LoginId, Role, TenantId, Timestamp, User, UserId};
use pocket_ports::{TokenIssuer, UserRepository};

use crate::gateway::AccessDenied;

/// What of a person's token and standing a connection was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) tenant_id: TenantId,
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    credential_version: u32,
    login: LoginId,
    /// When the token stops.
    pub(crate) until: Timestamp,
}

/// Checks bearer tokens of people who connect.
pub(crate) struct People {
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) issuer: Arc<dyn TokenIssuer>,
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
            until: token.until,
        })
    }

    /// Judges a person anew. A pass does not outlive its log-in, nor a change of password or role: who has another role connects
    /// again.
    pub(crate) async fn recheck(&self, pass: Pass, now: Timestamp) -> Result<(), AccessDenied> {
        let user = self.find(pass.tenant_id, pass.user_id, pass.login, now).await?;
        let is_same = (user.role, user.credential_version) == (pass.role, pass.credential_version);
        if is_same && now < pass.until { Ok(()) } else { Err(AccessDenied::BadCredentials) }
    }

    /// A person, unless they ended the log-in.
    async fn find(&self, tenant: TenantId, user: UserId, login: LoginId, now: Timestamp) -> Result<User, AccessDenied> {
        let standing = self.users.standing(tenant, user, now).await?;
        let standing = standing.filter(|standing| !standing.ended.contains(&login));
        standing.map(|standing| standing.user).ok_or(AccessDenied::BadCredentials)
    }
}
