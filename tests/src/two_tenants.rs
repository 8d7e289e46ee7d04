//! Two tenants on one platform: A, who does harm, and B, who must not notice.

use serde_json::json;

use crate::{Api, Device, Launch, Platform};

/// A platform with the tenants `a` and `b`.
pub struct TwoTenants {
    /// The running binary.
    pub platform: Platform,
    /// The platform administrator.
    pub root: Api,
    /// Does harm.
    pub a: Tenant,
    /// Must not notice.
    pub b: Tenant,
}

/// A tenant with somebody of each role and a device.
pub struct Tenant {
    /// Its name.
    pub name: &'static str,
    /// Its id.
    pub id: String,
    /// Its administrator; the user name and role are `admin`.
    pub admin: Api,
    /// The user name and role are `operator`.
    pub operator: Api,
    /// The user name and role are `viewer`.
    pub viewer: Api,
    /// A device.
    pub device: Device,
}

impl TwoTenants {
    /// Starts the platform and makes the tenants.
    ///
    /// # Panics
    /// When anything of it is refused.
    pub async fn start(launch: Launch) -> Self {
        let platform = launch.start().await;
        let root = platform.admin().await;
        let a = Tenant::create(&platform, &root, "a").await;
        let b = Tenant::create(&platform, &root, "b").await;
        Self { platform, root, a, b }
    }
}

impl Tenant {
    /// The password of everybody in the tenant.
    pub const PASSWORD: &str = "another horse battery";

    /// Makes a tenant of this name.
    ///
    /// # Panics
    /// When anything of it is refused.
    pub async fn create(platform: &Platform, root: &Api, name: &'static str) -> Self {
        let tenant = root.post("/api/v1/tenants", json!({ "name": name })).await.expect(201);
        let id = tenant["id"].as_str().expect("a tenant has an id").to_owned();
        let person = async |role: &str| {
            let user = json!({ "username": role, "password": Self::PASSWORD, "role": role });
            root.post(&format!("/api/v1/users?tenantId={id}"), user).await.expect(201);
            platform.api().log_in_to(name, role, Self::PASSWORD).await
        };
        let (admin, operator, viewer) = (person("admin").await, person("operator").await, person("viewer").await);
        let device = Device::register(&operator, "device").await;
        Self { name, id, admin, operator, viewer, device }
    }
}
