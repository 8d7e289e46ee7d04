//! A user name and password for a device, in JSON.

use garde::Validate;
use pocket_domain::{DevicePassword, DeviceUsername, Invalid};
use serde::Deserialize;
use utoipa::ToSchema;

use super::parses;
use super::users::Secret;

/// A user name and password that a device logs in with over MQTT, beside its token.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeviceCredentials {
    /// 1 to 128 bytes without control characters, without white space at its ends, in the form neither of a device id nor of a device
    /// token; unique among the devices of the tenant.
    #[garde(custom(parses(DeviceUsername::parse)))]
    #[schema(
        example = "tasmota-1",
        min_length = 1,
        max_length = 128,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"
    )]
    username: String,
    /// 8 to 256 bytes; neither the user name nor one of the commonest passwords.
    #[garde(skip)]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    password: Secret,
}

impl DeviceCredentials {
    pub(crate) fn parse(self) -> Result<(DeviceUsername, DevicePassword), Invalid> {
        let username = DeviceUsername::parse(&self.username)?;
        let password = DevicePassword::parse(&self.password.0, &username)?;
        Ok((username, password))
    }
}
