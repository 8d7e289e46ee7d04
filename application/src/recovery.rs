//! Ways back in for somebody with a shell on the machine, when nobody can log in.
//!
//! No caller and no policy stand before these: who can run the binary on the database can do as much without it. No edge
//! that is reached over a network calls them.

use pocket_domain::{Password, PayloadPolicy, Role, TenantName, User, Username};

use crate::first_start::default_tenant;
use crate::users::{NewUser, add_user};
use crate::{Adapters, Error};

/// Adds a platform administrator to the tenant `default`, which is made with the payload policy when it is missing.
///
/// # Errors
/// `Conflict(Username)`; those of storage and of the password hasher.
pub async fn add_platform_admin(
    adapters: &Adapters,
    username: Username,
    password: Password,
    payload_policy: PayloadPolicy,
) -> Result<User, Error> {
    let tenant = default_tenant(adapters, payload_policy).await?;
    let hash = adapters.password_hasher.hash(password.clone()).await?;
    let new = NewUser { username, password, role: Role::PlatformAdmin };
    let users = &*adapters.storage.users;
    add_user(tenant.id, new, &hash, users, &*adapters.clock, &*adapters.entropy).await
}

/// Replaces somebody's password, which ends all their log-ins.
///
/// # Errors
/// `NotFound` when there is no such tenant or no such person in it; those of storage and of the password hasher.
pub async fn reset_password(
    adapters: &Adapters,
    tenant: &TenantName,
    username: &Username,
    password: Password,
) -> Result<User, Error> {
    let storage = &adapters.storage;
    let tenant = storage.tenants.find_by_name(tenant).await?.ok_or(Error::NotFound)?;
    let (user, _) = storage.users.find_by_name(tenant.id, username).await?.ok_or(Error::NotFound)?;
    let hash = adapters.password_hasher.hash(password).await?;
    Ok(storage.users.set_password(tenant.id, user.id, &hash).await?)
}
