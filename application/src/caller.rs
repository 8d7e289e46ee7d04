//! Who is calling: a logged-in person.

use pocket_domain::{LoginId, Role, TenantId, Timestamp, User, UserId};

/// A person whose bearer token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user: User,
    login: Option<Login>,
}

/// A log-in of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) id: LoginId,
    pub(crate) at: Timestamp,
}

impl Caller {
    /// The caller that a checked user is. Whoever calls this vouches that the person proved to be that user.
    pub fn new(user: User) -> Self {
        Self { user, login: None }
    }

    /// The caller that showed a bearer token of a log-in.
    pub(crate) fn of_login(user: User, login: Login) -> Self {
        Self { user, login: Some(login) }
    }

    /// The log-in whose bearer token was shown; `None` for a caller that another program vouches for.
    pub(crate) fn login(&self) -> Option<Login> {
        self.login
    }

    /// The person.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The person's id.
    pub fn user_id(&self) -> UserId {
        self.user.id
    }

    /// The tenant they belong to.
    pub fn tenant_id(&self) -> TenantId {
        self.user.tenant_id
    }

    /// What they may do.
    pub fn role(&self) -> Role {
        self.user.role
    }
}
