//! What a database needs before anybody can log in: the tenant `default` and one administrator.

use pocket_domain::{Password, PayloadPolicy, Retention, Role, Tenant, TenantName, User, Username};
use pocket_ports::{Conflict, StorageError, TenantRepository};

use crate::tenants::{NewTenant, new_tenant};
use crate::users::{NewUser, add_user};
use crate::{Adapters, Error};

/// Who the first administrator is to be.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// Their name.
    pub username: Username,
    /// Their password; one is generated when absent.
    pub password: Option<Password>,
}

/// An administrator who was made just now.
#[derive(Debug)]
pub struct CreatedAdmin {
    /// The user.
    pub user: User,
    /// The password, when it was generated; shown this once.
    pub generated: Option<Password>,
}

/// Makes the tenant `default` when it is missing and, when there is no user at all, the first administrator. Two
/// processes that start at once on one database make one of each. A tenant that is made gets the payload policy.
///
/// # Errors
/// Those of storage and of the password hasher.
pub async fn prepare(
    adapters: &Adapters,
    admin: FirstAdmin,
    payload_policy: PayloadPolicy,
) -> Result<Option<CreatedAdmin>, Error> {
    let tenant = default_tenant(adapters, payload_policy).await?;
    if adapters.storage.users.any().await? {
        return Ok(None);
    }
    let (password, generated) = match admin.password {
        Some(password) => (password, None),
        None => {
            let mut random = [0; 20];
            adapters.entropy.fill(&mut random);
            let password = Password::generate(random);
            (password.clone(), Some(password))
        }
    };
    let new = NewUser { username: admin.username, password, role: Role::PlatformAdmin };
    let users = &*adapters.storage.users;
    let hash = adapters.password_hasher.hash(new.password.clone()).await?;
    match add_user(tenant.id, new, &hash, users, &*adapters.clock, &*adapters.entropy).await {
        Ok(user) => Ok(Some(CreatedAdmin { user, generated })),
        Err(Error::Conflict(Conflict::Username)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn default_tenant(adapters: &Adapters, payload_policy: PayloadPolicy) -> Result<Tenant, Error> {
    let tenants: &dyn TenantRepository = &*adapters.storage.tenants;
    let name = TenantName::default_tenant();
    if let Some(tenant) = tenants.find_by_name(&name).await? {
        return Ok(tenant);
    }
    let new = NewTenant { name: name.clone(), payload_policy: None, retention: Retention::default() };
    let tenant = new_tenant(new, payload_policy, &*adapters.clock, &*adapters.entropy);
    match tenants.create(&tenant).await {
        Ok(()) => Ok(tenant),
        Err(StorageError::Conflict(Conflict::TenantName)) => {
            tenants.find_by_name(&name).await?.ok_or_else(|| Error::Internal("the tenant default vanished".into()))
        }
        Err(error) => Err(error.into()),
    }
}
