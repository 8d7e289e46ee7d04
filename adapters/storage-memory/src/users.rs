//! People.

use async_trait::async_trait;
use pocket_domain::{LoginId, Page, PageRequest, PasswordHash, Role, TenantId, Timestamp, User, UserId, Username};
use pocket_ports::{
    AccessChange, Conflict, ENDED_LOGIN_MARGIN, MAX_ENDED_LOGINS, StorageError, UserRepository, UserStanding,
    UserUpdate,
};

use crate::Memory;
use crate::state::{State, page_of};

impl State {
    fn user(&self, tenant: TenantId, id: UserId) -> Option<&User> {
        self.users.get(&id).map(|(user, _)| user).filter(|user| user.tenant_id == tenant)
    }

    fn user_named(&self, tenant: TenantId, name: &Username) -> Option<&(User, PasswordHash)> {
        self.users.values().find(|(user, _)| user.tenant_id == tenant && user.username == *name)
    }

    fn end_all_logins(&mut self, tenant: TenantId, id: UserId) -> Result<User, StorageError> {
        let (user, _) =
            self.users.get_mut(&id).filter(|(user, _)| user.tenant_id == tenant).ok_or(StorageError::NotFound)?;
        user.credential_version += 1;
        let user = user.clone();
        self.ended_logins.remove(&id);
        self.log(AccessChange::User { tenant_id: tenant, user_id: id });
        Ok(user)
    }

    /// Refuses what leaves the tenant without a user who administers, or the platform without a platform administrator.
    fn check_not_last_admin(&self, user: &User, new_role: Option<Role>) -> Result<(), StorageError> {
        let keeps = |enough: &dyn Fn(Role) -> bool, in_reach: &dyn Fn(&User) -> bool| {
            !enough(user.role)
                || new_role.is_some_and(enough)
                || self.users.values().any(|(other, _)| other.id != user.id && in_reach(other) && enough(other.role))
        };
        let tenant_keeps = keeps(&Role::administers, &|other| other.tenant_id == user.tenant_id);
        if tenant_keeps && keeps(&|role| role == Role::PlatformAdmin, &|_| true) {
            Ok(())
        } else {
            Err(StorageError::Conflict(Conflict::LastAdmin))
        }
    }
}

#[async_trait]
impl UserRepository for Memory {
    async fn create(&self, user: &User, password: &PasswordHash) -> Result<(), StorageError> {
        let mut state = self.state();
        state.require_tenant(user.tenant_id)?;
        if state.user_named(user.tenant_id, &user.username).is_some() {
            return Err(StorageError::Conflict(Conflict::Username));
        }
        state.users.insert(user.id, (user.clone(), password.clone()));
        Ok(())
    }

    async fn get(&self, tenant: TenantId, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.state().user(tenant, id).cloned())
    }

    async fn find_by_name(
        &self,
        tenant: TenantId,
        username: &Username,
    ) -> Result<Option<(User, PasswordHash)>, StorageError> {
        Ok(self.state().user_named(tenant, username).cloned())
    }

    async fn list(&self, tenant: TenantId, page: PageRequest) -> Result<Page<User>, StorageError> {
        let state = self.state();
        let users = state.users.values().map(|(user, _)| user).filter(|user| user.tenant_id == tenant);
        Ok(page_of(users, page))
    }

    async fn update(&self, tenant: TenantId, id: UserId, update: UserUpdate) -> Result<User, StorageError> {
        let mut state = self.state();
        let mut user = state.user(tenant, id).cloned().ok_or(StorageError::NotFound)?;
        let role = user.role;
        if let Some(role) = update.role {
            state.check_not_last_admin(&user, Some(role))?;
            user.role = role;
        }
        if let Some(username) = update.username {
            if state.user_named(tenant, &username).is_some_and(|(other, _)| other.id != id) {
                return Err(StorageError::Conflict(Conflict::Username));
            }
            user.username = username;
        }
        if let Some((stored, _)) = state.users.get_mut(&id) {
            *stored = user.clone();
        }
        if user.role != role {
            state.log(AccessChange::User { tenant_id: tenant, user_id: id });
        }
        Ok(user)
    }

    async fn set_password(&self, tenant: TenantId, id: UserId, password: &PasswordHash) -> Result<User, StorageError> {
        let mut state = self.state();
        match state.users.get_mut(&id) {
            Some((user, hash)) if user.tenant_id == tenant => {
                user.credential_version += 1;
                *hash = password.clone();
                let user = user.clone();
                state.log(AccessChange::User { tenant_id: tenant, user_id: id });
                Ok(user)
            }
            _ => Err(StorageError::NotFound),
        }
    }

    async fn delete(&self, tenant: TenantId, id: UserId) -> Result<bool, StorageError> {
        let mut state = self.state();
        let Some(user) = state.user(tenant, id) else { return Ok(false) };
        state.check_not_last_admin(user, None)?;
        state.users.remove(&id);
        state.ended_logins.remove(&id);
        state.log(AccessChange::User { tenant_id: tenant, user_id: id });
        Ok(true)
    }

    async fn standing(
        &self,
        tenant: TenantId,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<UserStanding>, StorageError> {
        let state = self.state();
        let Some(user) = state.user(tenant, id).cloned() else { return Ok(None) };
        let ended = state.ended_logins.get(&id).into_iter().flatten();
        let ended = ended.filter(|(_, until)| *until > now).map(|(login, _)| *login).collect();
        Ok(Some(UserStanding { user, ended }))
    }

    async fn end_login(
        &self,
        tenant: TenantId,
        id: UserId,
        login: LoginId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let mut state = self.state();
        state.user(tenant, id).ok_or(StorageError::NotFound)?;
        let ended = state.ended_logins.entry(id).or_default();
        ended.retain(|(other, until)| until.plus(ENDED_LOGIN_MARGIN) > now && *other != login);
        if ended.iter().filter(|(_, until)| *until > now).count() >= MAX_ENDED_LOGINS {
            return state.end_all_logins(tenant, id).map(drop);
        }
        ended.push((login, until));
        state.log(AccessChange::User { tenant_id: tenant, user_id: id });
        Ok(())
    }

    async fn end_all_logins(&self, tenant: TenantId, id: UserId) -> Result<User, StorageError> {
        self.state().end_all_logins(tenant, id)
    }

    async fn any(&self) -> Result<bool, StorageError> {
        Ok(!self.state().users.is_empty())
    }
}
