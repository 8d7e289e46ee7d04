//! Storage of people.

use std::time::Duration;

use async_trait::async_trait;
use pocket_domain::{LoginId, Page, PageRequest, PasswordHash, Role, TenantId, Timestamp, User, UserId, Username};

use crate::StorageError;

/// What is changed about a user; `None` leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UserUpdate {
    /// A new name.
    pub username: Option<Username>,
    /// A new role.
    pub role: Option<Role>,
}

/// A person, and which of their log-ins they ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserStanding {
    /// The person.
    pub user: User,
    /// Log-ins whose bearer tokens are refused, though they have not expired; at most [`MAX_ENDED_LOGINS`].
    pub ended: Vec<LoginId>,
}

/// For how long an ended log-in is remembered after its last token expired, in case the clock was ahead.
pub const ENDED_LOGIN_MARGIN: Duration = Duration::from_secs(86_400);

/// Ended log-ins that are remembered of one person at a time. When there would be more, all log-ins of the person end.
pub const MAX_ENDED_LOGINS: usize = 64;

/// Keeps people and the hashes of their passwords.
#[async_trait]
pub trait UserRepository: Send + Sync {
    /// Adds a user. MUST return `Conflict(Username)` when the name is taken in the tenant, and MUST accept a name that
    /// only another tenant uses. MUST return `NotFound` when the tenant does not exist.
    async fn create(&self, user: &User, password: &PasswordHash) -> Result<(), StorageError>;

    /// The user of this id, if it belongs to the tenant.
    async fn get(&self, tenant: TenantId, id: UserId) -> Result<Option<User>, StorageError>;

    /// The user of this name in the tenant, with the password's hash.
    async fn find_by_name(
        &self,
        tenant: TenantId,
        username: &Username,
    ) -> Result<Option<(User, PasswordHash)>, StorageError>;

    /// The tenant's users, ordered by id. MUST count all of them in `total`, whatever the page.
    async fn list(&self, tenant: TenantId, page: PageRequest) -> Result<Page<User>, StorageError>;

    /// Changes a user and returns it. MUST return `NotFound` when the tenant has no such user, `Conflict(Username)` when
    /// the new name is taken, `Conflict(LastAdmin)` when the change would leave the tenant without a user whose role
    /// administers (`admin` or `platform_admin`) or the platform without a `platform_admin`, though there was one. Two such
    /// changes at the same time MUST NOT both succeed. MUST log `AccessChange::User` when the role becomes another.
    async fn update(&self, tenant: TenantId, id: UserId, update: UserUpdate) -> Result<User, StorageError>;

    /// Replaces the password's hash and adds one to `credential_version`. MUST return `NotFound` when the tenant has no
    /// such user. MUST log `AccessChange::User`.
    async fn set_password(&self, tenant: TenantId, id: UserId, password: &PasswordHash) -> Result<User, StorageError>;

    /// Removes a user; `false` when the tenant has no such user. MUST return `Conflict(LastAdmin)` under the rule of
    /// [`update`](Self::update). MUST log `AccessChange::User`.
    async fn delete(&self, tenant: TenantId, id: UserId) -> Result<bool, StorageError>;

    /// The user of this id, if it belongs to the tenant, with the log-ins that were ended and whose tokens are not over at `now`.
    async fn standing(
        &self,
        tenant: TenantId,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<UserStanding>, StorageError>;

    /// Ends one log-in of a user, whose last token expires at `until`; from then on it need not be remembered. MUST return
    /// `NotFound` when the tenant has no such user. MUST do what [`end_all_logins`](Self::end_all_logins) does when
    /// [`MAX_ENDED_LOGINS`] others are remembered at `now`. Ending a log-in twice MUST succeed. MUST log `AccessChange::User`.
    async fn end_login(
        &self,
        tenant: TenantId,
        id: UserId,
        login: LoginId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError>;

    /// Ends all log-ins of a user: adds one to `credential_version`, and forgets those that were ended one by one. MUST return
    /// `NotFound` when the tenant has no such user. MUST log `AccessChange::User`.
    async fn end_all_logins(&self, tenant: TenantId, id: UserId) -> Result<User, StorageError>;

    /// Whether there is any user in any tenant; the first administrator is made only when there is none.
    async fn any(&self) -> Result<bool, StorageError>;
}
