//! Who is calling: a logged-in person.

use pocket_domain::{Role, TenantId, User, UserId};

/// A person whose bearer token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user: User,
}

impl Caller {
    /// The caller that a checked user is. Whoever calls this vouches that the person proved to be that user.
    pub fn new(user: User) -> Self {
        Self { user }
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
