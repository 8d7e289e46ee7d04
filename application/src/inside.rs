//! Passes: how parts of this program come in as clients of its own broker, over a socket of the machine.
//!
//! A pass is a random secret that lives as long as the process and is written nowhere. It stands for one device of one tenant, whose
//! rules hold. It is no credential of the device: what the device shows is its token.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use pocket_domain::{DeviceId, TenantId};

use crate::gateway::{AccessDenied, ClientAccess, ClientCredentials, DeviceGateway};

/// The user name that comes with a pass; no device and no person can have it.
const USERNAME: &str = "$inside";

/// What a part of this program shows when it connects.
#[derive(Clone)]
pub struct InsidePass {
    /// Its user name.
    pub username: &'static str,
    /// The secret.
    pub password: String,
}

/// All passes.
#[derive(Default)]
pub(crate) struct InsidePasses(Mutex<HashMap<String, (TenantId, DeviceId)>>);

impl InsidePasses {
    fn device(&self, password: &[u8]) -> Option<(TenantId, DeviceId)> {
        let password = std::str::from_utf8(password).ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(password).copied()
    }
}

impl DeviceGateway {
    /// A pass for a part of this program that is a device of a tenant, made of random bytes.
    pub fn issue_pass(&self, tenant: TenantId, device: DeviceId, random: [u8; 32]) -> InsidePass {
        let mut password = String::with_capacity(64);
        for byte in random {
            // Writing into a string does not fail.
            let _ = write!(password, "{byte:02x}");
        }
        let mut passes = self.inside.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.insert(password.clone(), (tenant, device));
        InsidePass { username: USERNAME, password }
    }

    /// Whether a message that bears the mark of a bridge of this process was here before: it comes from somebody else than the bridge
    /// itself, and in the bridge's tenant.
    pub fn had_before(&self, access: &ClientAccess, mark: &str) -> bool {
        let Ok(device) = mark.parse::<DeviceId>() else { return false };
        let passes = self.inside.0.lock().unwrap_or_else(PoisonError::into_inner);
        access.principal.device() != Some(device) && passes.values().any(|pass| *pass == (access.tenant_id, device))
    }

    /// The access of who shows a pass; `None` when these are other credentials.
    pub(crate) async fn access_inside(
        &self,
        credentials: &ClientCredentials<'_>,
    ) -> Option<Result<ClientAccess, AccessDenied>> {
        if credentials.username != Some(USERNAME) {
            return None;
        }
        let (tenant, device) = self.inside.device(credentials.password?)?;
        Some(self.host_access(tenant, Some(device)).await)
    }
}
