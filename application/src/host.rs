//! The program that this runs in, as a client of the broker: it proves nothing, and stays within the tenant it names.

use pocket_domain::{DeviceId, Principal, TenantId, TopicRights};

use crate::gateway::{AccessDenied, ClientAccess, DeviceGateway, Proof};

impl DeviceGateway {
    /// The access of this program to a tenant: for itself, when no rules hold, or on behalf of a device, when those of the
    /// device do.
    ///
    /// # Errors
    /// `BadCredentials` when there is no such tenant, or no such device in it; `Disabled` for a device that is; `Unavailable`.
    pub async fn host_access(&self, tenant: TenantId, device: Option<DeviceId>) -> Result<ClientAccess, AccessDenied> {
        let tenant = self.tenants.get(tenant).await?.ok_or(AccessDenied::BadCredentials)?;
        let (principal, rules) = match device {
            Some(id) => {
                let device = self.devices.get(tenant.id, id).await?.ok_or(AccessDenied::BadCredentials)?;
                if !device.enabled {
                    return Err(AccessDenied::Disabled);
                }
                (Principal::Device(id), self.access_rules.read(tenant.id, id).await?)
            }
            None => (Principal::Host, None),
        };
        Ok(ClientAccess {
            tenant_id: tenant.id,
            principal,
            until: None,
            payload_policy: tenant.payload_policy,
            rules,
            rights: TopicRights::TENANT,
            proof: Proof::Host,
        })
    }
}
