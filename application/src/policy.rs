//! Who may do what: pure functions of the caller's role and of what is asked.

use pocket_domain::{Role, TenantId, TopicRights};

use crate::{Caller, Error};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Create, list, change and delete tenants.
    ManageTenants,
    /// Create, list, change and delete the people of a tenant.
    ManageUsers,
    /// Register, change and delete devices, renew their tokens, and write their access rules.
    ManageDevices,
    /// Write the access rules that hold for all devices of a tenant.
    ManageTenantRules,
    /// Write the rules by which a tenant names what is published at topics.
    ManageTopicRules,
    /// See what such rules would do.
    PreviewTopicRules,
    /// See devices and access rules.
    ReadDevices,
    /// See how much is stored of a tenant.
    ReadUsage,
    /// Store telemetry.
    WriteTelemetry,
    /// See telemetry.
    ReadTelemetry,
    /// Publish to the tenant's devices.
    PublishMessages,
    /// Receive what is published in the tenant.
    ReceiveMessages,
    /// See what the broker tells of itself, which is about all tenants.
    WatchBroker,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 13] = [
        Self::ManageTenants,
        Self::ManageUsers,
        Self::ManageDevices,
        Self::ManageTenantRules,
        Self::ManageTopicRules,
        Self::PreviewTopicRules,
        Self::ReadDevices,
        Self::ReadUsage,
        Self::WriteTelemetry,
        Self::ReadTelemetry,
        Self::PublishMessages,
        Self::ReceiveMessages,
        Self::WatchBroker,
    ];

    /// The least role that may do it.
    pub fn least_role(self) -> Role {
        match self {
            Self::ManageTenants | Self::WatchBroker => Role::PlatformAdmin,
            Self::ManageUsers | Self::ManageTenantRules | Self::ManageTopicRules | Self::ReadUsage => Role::Admin,
            Self::ManageDevices | Self::PreviewTopicRules | Self::WriteTelemetry | Self::PublishMessages => {
                Role::Operator
            }
            Self::ReadDevices | Self::ReadTelemetry | Self::ReceiveMessages => Role::Viewer,
        }
    }
}

/// Whether the caller may do something at all.
///
/// # Errors
/// `Forbidden` when the role does not reach.
pub fn permit(caller: &Caller, action: Action) -> Result<(), Error> {
    if caller.role() >= action.least_role() { Ok(()) } else { Err(Error::Forbidden("your role does not allow this")) }
}

/// What a person who is connected to the broker may do with topics.
pub fn topic_rights(role: Role) -> TopicRights {
    let reaches = |action: Action| role >= action.least_role();
    TopicRights {
        publish: reaches(Action::PublishMessages),
        subscribe: reaches(Action::ReceiveMessages),
        system: reaches(Action::WatchBroker),
    }
}

/// The tenant that a call works in: the caller's own, or for a platform administrator the one asked for.
///
/// # Errors
/// `Forbidden` when somebody else names another tenant, whether it exists or not.
pub fn tenant_of(caller: &Caller, asked: Option<TenantId>) -> Result<TenantId, Error> {
    match asked {
        None => Ok(caller.tenant_id()),
        Some(tenant) if tenant == caller.tenant_id() || caller.role() == Role::PlatformAdmin => Ok(tenant),
        Some(_) => Err(Error::Forbidden("only a platform administrator may act in another tenant")),
    }
}

/// Whether the caller may give or take a role, or change a person who has it: nobody reaches above their own.
///
/// # Errors
/// `Forbidden` when the role is above the caller's.
pub fn permit_role(caller: &Caller, role: Role) -> Result<(), Error> {
    if role <= caller.role() { Ok(()) } else { Err(Error::Forbidden("this role is higher than your own")) }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{Timestamp, User, UserId, Username};

    use super::*;

    fn tenant(n: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [n; 10])
    }

    fn caller(role: Role) -> Caller {
        Caller::new(User {
            id: UserId::new(Timestamp::MIN, [1; 10]),
            tenant_id: tenant(1),
            username: Username::parse("somebody").unwrap(),
            role,
            credential_version: 0,
            created_at: Timestamp::MIN,
        })
    }

    #[test]
    fn each_role_may_do_what_the_table_says() {
        let allowed = |role| Action::ALL.into_iter().filter(|action| permit(&caller(role), *action).is_ok()).count();
        assert_eq!(Role::ALL.map(allowed), [3, 7, 11, 13]);
    }

    #[test]
    fn a_viewer_only_listens_and_a_platform_administrator_hears_the_broker_too() {
        let rights = |publish, system| TopicRights { publish, subscribe: true, system };
        assert_eq!(
            Role::ALL.map(topic_rights),
            [rights(false, false), rights(true, false), rights(true, false), rights(true, true)]
        );
    }

    #[test]
    fn only_a_platform_administrator_leaves_the_own_tenant() {
        for role in Role::ALL {
            assert_eq!(tenant_of(&caller(role), None), Ok(tenant(1)));
            assert_eq!(tenant_of(&caller(role), Some(tenant(1))), Ok(tenant(1)));
            assert_eq!(tenant_of(&caller(role), Some(tenant(2))).is_ok(), role == Role::PlatformAdmin);
        }
    }

    #[test]
    fn nobody_reaches_above_their_own_role() {
        assert!(permit_role(&caller(Role::Admin), Role::Admin).is_ok());
        assert!(permit_role(&caller(Role::Admin), Role::PlatformAdmin).is_err());
        assert!(permit_role(&caller(Role::PlatformAdmin), Role::PlatformAdmin).is_ok());
    }
}
