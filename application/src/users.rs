//! People: added, listed, changed and removed by the administrators of their tenant.

use std::net::IpAddr;
use std::sync::Arc;

use pocket_domain::{
    Invalid, Page, PageRequest, Password, PasswordHash, Role, TenantId, TenantName, User, UserId, Username,
};
use pocket_ports::{AccessChange, Clock, Entropy, TenantRepository, UserRepository, UserUpdate};

use crate::access_watch::AccessWatch;
use crate::auth::account_of;
use crate::hashing::{Hashing, Lane};
use crate::policy::{self, Action};
use crate::scope::Scope;
use crate::throttle::LoginThrottle;
use crate::{Caller, Error};

/// What a new user begins with.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Their name.
    pub username: Username,
    /// Their password.
    pub password: Password,
    /// What they may do.
    pub role: Role,
}

/// A new password.
#[derive(Debug)]
pub struct PasswordChange {
    /// The new one.
    pub password: Password,
    /// The present one; needed by everybody who changes their own.
    pub current: Option<String>,
    /// Where the request comes from: wrong current passwords count like failed log-ins.
    pub source: IpAddr,
}

/// Use cases of people.
pub struct UserService {
    pub(crate) scope: Scope,
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) hashing: Hashing,
    pub(crate) throttle: Arc<LoginThrottle>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl UserService {
    /// Adds a user to a tenant.
    ///
    /// # Errors
    /// `Conflict(Username)`; `Forbidden` for a role above the caller's; `Invalid(role)` for a platform administrator
    /// outside of the tenant `default`.
    pub async fn create(&self, caller: &Caller, tenant: Option<TenantId>, new: NewUser) -> Result<User, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageUsers).await?;
        self.permit_role_in(caller, tenant, new.role).await?;
        let hash = self.hashing.hash(Lane::of(caller), new.password.clone()).await?;
        let user = add_user(tenant, new, &hash, &*self.users, &*self.clock, &*self.entropy).await?;
        tracing::info!(user = %user.id, tenant = %tenant, role = %user.role, by = %caller.user_id(), "user added");
        Ok(user)
    }

    /// The people of a tenant, a page at a time.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        page: PageRequest,
    ) -> Result<Page<User>, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageUsers).await?;
        Ok(self.users.list(tenant, page).await?)
    }

    /// One of the people of a tenant.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, tenant: Option<TenantId>, id: UserId) -> Result<User, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageUsers).await?;
        self.users.get(tenant, id).await?.ok_or(Error::NotFound)
    }

    /// Changes a user's name or role. Another role ends their connections to the broker.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` with the name of another or when the last administrator would be gone; `Forbidden` when
    /// the old or the new role is above the caller's.
    pub async fn update(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: UserId,
        update: UserUpdate,
    ) -> Result<User, Error> {
        let before = self.get(caller, tenant, id).await?;
        policy::permit_role(caller, before.role)?;
        if let Some(role) = update.role {
            self.permit_role_in(caller, before.tenant_id, role).await?;
        }
        let user = self.users.update(before.tenant_id, id, update).await?;
        self.announce(&user);
        tracing::info!(user = %id, role = %user.role, by = %caller.user_id(), "user changed");
        Ok(user)
    }

    /// Removes a user; their bearer tokens and their connections to the broker end at once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict(LastAdmin)`; `Forbidden` when the user's role is above the caller's.
    pub async fn delete(&self, caller: &Caller, tenant: Option<TenantId>, id: UserId) -> Result<(), Error> {
        let user = self.get(caller, tenant, id).await?;
        policy::permit_role(caller, user.role)?;
        if !self.users.delete(user.tenant_id, id).await? {
            return Err(Error::NotFound);
        }
        self.announce(&user);
        tracing::info!(user = %id, by = %caller.user_id(), "user removed");
        Ok(())
    }

    /// Gives a user a new password, which ends their bearer tokens and their connections to the broker.
    /// Administrators may do it for those who are not above them. Everybody may do it for themselves with their present password:
    /// a stolen token alone does not take an account over.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Invalid(currentPassword)` when it is missing or wrong, `TooManyAttempts` when it was wrong too
    /// often.
    pub async fn set_password(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: UserId,
        change: PasswordChange,
    ) -> Result<(), Error> {
        let lane = Lane::of(caller);
        let user = if id == caller.user_id() && tenant.is_none_or(|tenant| tenant == caller.tenant_id()) {
            self.check_current(caller, change.current, change.source).await?;
            caller.user().clone()
        } else {
            let user = self.get(caller, tenant, id).await?;
            policy::permit_role(caller, user.role)?;
            user
        };
        let hash = self.hashing.hash(lane, change.password).await?;
        self.users.set_password(user.tenant_id, id, &hash).await?;
        self.announce(&user);
        tracing::info!(user = %id, by = %caller.user_id(), "password changed");
        Ok(())
    }

    /// Tells this process's connections of the person; those of others hear of it by the access log.
    fn announce(&self, user: &User) {
        self.watch.announce(AccessChange::User { tenant_id: user.tenant_id, user_id: user.id });
    }

    async fn check_current(&self, caller: &Caller, current: Option<String>, source: IpAddr) -> Result<(), Error> {
        let wrong = || Error::from(Invalid::new("currentPassword", "must be your current password"));
        let current = current.ok_or_else(wrong)?;
        let (tenant, user) = (self.tenants.get(caller.tenant_id()).await?.ok_or(Error::NotFound)?, caller.user());
        let attempt = self
            .throttle
            .begin(source, Some(&account_of(&tenant.name, &user.username)), self.clock.now())
            .await
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        match self.is_current(caller, current).await {
            Ok(true) => {
                attempt.succeeded();
                Ok(())
            }
            Ok(false) => {
                drop(attempt);
                tracing::info!(user = %user.id, tenant = %tenant.id, %source, "wrong current password");
                Err(wrong())
            }
            Err(error) => {
                attempt.withdrawn();
                Err(error)
            }
        }
    }

    async fn is_current(&self, caller: &Caller, current: String) -> Result<bool, Error> {
        let stored = self.users.find_by_name(caller.tenant_id(), &caller.user().username).await?;
        Ok(self.hashing.verify(Lane::of(caller), current, stored.map(|(_, hash)| hash)).await?)
    }

    /// Platform administrators live in the tenant `default` only, so that deleting a tenant never removes one.
    async fn permit_role_in(&self, caller: &Caller, tenant: TenantId, role: Role) -> Result<(), Error> {
        policy::permit_role(caller, role)?;
        if role == Role::PlatformAdmin {
            let home = self.tenants.find_by_name(&TenantName::default_tenant()).await?;
            if home.is_none_or(|home| home.id != tenant) {
                return Err(Invalid::new("role", "platform_admin is allowed only in the tenant default").into());
            }
        }
        Ok(())
    }
}

/// Stores a new user with the hash of the password.
pub(crate) async fn add_user(
    tenant: TenantId,
    new: NewUser,
    hash: &PasswordHash,
    users: &dyn UserRepository,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<User, Error> {
    let now = clock.now();
    let mut random = [0; 10];
    entropy.fill(&mut random);
    let user = User {
        id: UserId::new(now, random),
        tenant_id: tenant,
        username: new.username,
        role: new.role,
        credential_version: 0,
        created_at: now,
    };
    users.create(&user, hash).await?;
    Ok(user)
}
