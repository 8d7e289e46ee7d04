//! Devices in JSON.

use std::time::Duration;

use garde::Validate;
use pocket_application as application;
use pocket_domain::{
    DeviceFilter, DeviceName, DeviceUpdate, Invalid, Label, Labels, Notes, PageRequest, Rejection, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::page;
use super::parses;
use super::patch::{Patch, present};
use super::text::{Moment, Parsed, Switch, TimeText, Whole};

/// A device. Its token is returned only when it is created or renewed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    /// The id, and the user name in MQTT.
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "uuid")]
    tenant_id: String,
    #[schema(example = "boiler-1")]
    name: String,
    labels: Vec<String>,
    notes: String,
    /// Whether it may connect.
    enabled: bool,
    /// The user name of its own that it may log in with beside its token.
    #[schema(required, example = "tasmota-1")]
    username: Option<String>,
    /// When its token expires.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    token_expires_at: Option<Moment>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Moment,
    /// When a user last changed it.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Moment,
    /// Whether it has an open connection.
    online: bool,
    /// When its latest connection was opened, which may have ended; the next two fields describe the same connection.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    connected_at: Option<Moment>,
    /// Remote address and port of that connection.
    #[schema(required, example = "192.0.2.7:50123")]
    remote_address: Option<String>,
    /// `MQTT 3.1.1` or `MQTT 5.0`.
    #[schema(required, example = "MQTT 5.0")]
    protocol: Option<String>,
    /// When it was last seen.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_seen_at: Option<Moment>,
    /// The last message of it that was refused.
    #[schema(required)]
    last_rejection: Option<LastRejection>,
}

/// A message that was neither stored nor routed.
#[derive(Serialize, ToSchema)]
struct LastRejection {
    #[schema(value_type = String, format = DateTime)]
    at: Moment,
    topic: String,
    reason: String,
}

impl From<Rejection> for LastRejection {
    fn from(rejection: Rejection) -> Self {
        Self { at: rejection.at.into(), topic: rejection.topic.to_string(), reason: rejection.reason }
    }
}

impl From<pocket_domain::Device> for Device {
    fn from(device: pocket_domain::Device) -> Self {
        let peer = device.connection.as_ref().map(|connection| &connection.peer);
        Self {
            id: device.id.to_string(),
            tenant_id: device.tenant_id.to_string(),
            name: device.name.to_string(),
            labels: device.labels.iter().map(|label| label.as_str().to_owned()).collect(),
            notes: device.notes.as_str().to_owned(),
            enabled: device.enabled,
            username: device.username.as_ref().map(ToString::to_string),
            token_expires_at: device.token_expires_at.map(Moment),
            created_at: device.created_at.into(),
            updated_at: device.updated_at.into(),
            online: device.online,
            connected_at: device.connection.as_ref().map(|connection| Moment(connection.connected_at)),
            remote_address: peer.and_then(|peer| peer.address).map(|address| address.to_string()),
            protocol: peer.map(|peer| peer.protocol.to_string()),
            last_seen_at: device.last_seen_at.map(Moment),
            last_rejection: device.last_rejection.map(Into::into),
        }
    }
}

/// A device with its new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeviceWithToken {
    #[serde(flatten)]
    device: Device,
    /// The token, shown this once.
    #[schema(example = "7k3m-9q2x-vt4b")]
    token: String,
}

impl From<application::RegisteredDevice> for DeviceWithToken {
    fn from(registered: application::RegisteredDevice) -> Self {
        Self { device: registered.device.into(), token: registered.token.expose().to_owned() }
    }
}

/// One label, for the document.
#[derive(ToSchema)]
#[schema(as = Label, min_length = 1, max_length = 64, pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$", example = "hall")]
#[expect(dead_code, reason = "only its description is used")]
struct LabelText(String);

/// A device to be registered.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateDevice {
    /// 1 to 128 characters, not blank, no control characters; unique in the tenant.
    #[garde(custom(parses(DeviceName::parse)))]
    #[schema(
        example = "boiler-1",
        min_length = 1,
        max_length = 128,
        pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$"
    )]
    name: String,
    /// Up to 32 labels of 1 to 64 characters.
    #[serde(default)]
    #[garde(length(max = Labels::MAX), inner(inner(custom(parses(Label::parse)))))]
    #[schema(value_type = Option<Vec<LabelText>>, max_items = 32)]
    labels: Option<Vec<String>>,
    /// Up to 4,096 characters.
    #[serde(default)]
    #[garde(inner(custom(parses(Notes::parse))))]
    #[schema(max_length = 4096, pattern = "^[^\\u0000]*$")]
    notes: Option<String>,
    /// When the token expires, in the future; RFC 3339 or integer milliseconds.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<TimeText>)]
    token_expires_at: Option<Moment>,
}

impl CreateDevice {
    pub(crate) fn parse(self) -> Result<application::NewDevice, Invalid> {
        Ok(application::NewDevice {
            name: DeviceName::parse(&self.name)?,
            labels: Labels::parse(&self.labels.unwrap_or_default())?,
            notes: Notes::parse(&self.notes.unwrap_or_default())?,
            token_expires_at: self.token_expires_at.map(|time| time.0),
        })
    }
}

/// Changes to a device; absent fields stay unchanged.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateDevice {
    /// 1 to 128 characters, not blank, no control characters.
    #[serde(default, deserialize_with = "present")]
    #[garde(inner(custom(parses(DeviceName::parse))))]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 128,
        pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$"
    )]
    name: Option<String>,
    /// Up to 32 labels of 1 to 64 characters; `null` removes all.
    #[serde(default)]
    #[garde(inner(length(max = Labels::MAX), inner(custom(parses(Label::parse)))))]
    #[schema(value_type = Option<Vec<LabelText>>, max_items = 32)]
    labels: Patch<Vec<String>>,
    /// Up to 4,096 characters; `null` empties them.
    #[serde(default)]
    #[garde(inner(custom(parses(Notes::parse))))]
    #[schema(value_type = Option<String>, max_length = 4096, pattern = "^[^\\u0000]*$")]
    notes: Patch<String>,
    /// When the current token expires; `null`: never. RFC 3339 or integer milliseconds.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<TimeText>)]
    token_expires_at: Patch<Moment>,
    /// Whether it may connect.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl UpdateDevice {
    pub(crate) fn parse(self) -> Result<DeviceUpdate, Invalid> {
        Ok(DeviceUpdate {
            name: self.name.as_deref().map(DeviceName::parse).transpose()?,
            labels: self.labels.or_empty(Vec::new()).as_deref().map(Labels::parse).transpose()?,
            notes: self.notes.or_empty(String::new()).as_deref().map(Notes::parse).transpose()?,
            enabled: self.enabled,
            token_expires_at: self.token_expires_at.nullable().map(|time| time.map(|time| time.0)),
        })
    }
}

/// How a token is renewed.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub(crate) struct RegenerateToken {
    /// When the new token expires, in the future; RFC 3339 or integer milliseconds.
    #[serde(default)]
    #[schema(value_type = Option<TimeText>)]
    token_expires_at: Option<Moment>,
    /// Seconds for which the old token still works; default 0.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2592000)]
    grace_seconds: Option<u64>,
}

impl RegenerateToken {
    /// When the new token stops.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.token_expires_at.map(|time| time.0)
    }

    /// For how long the old token still works.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds.unwrap_or(0))
    }
}

/// Which devices to list; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Those with this label.
    #[param(min_length = 1, max_length = 64, pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    label: Option<String>,
    /// Those of this name; `*` stands for any text.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        example = "boiler-*"
    )]
    name: Option<String>,
    /// Connected or not connected devices.
    #[param(value_type = Option<bool>)]
    online: Option<Switch>,
    /// Entries per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// Entries to skip.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9223372036854775807_u64, default = 0)]
    offset: Option<Whole>,
}

impl DeviceParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The page that is asked for.
    pub(crate) fn page(&self) -> Result<PageRequest, Invalid> {
        page(self.limit, self.offset)
    }

    /// The conditions. A pattern that no name can match is an error, so that a slip is noticed.
    pub(crate) fn filter(&self) -> Result<DeviceFilter, Invalid> {
        Ok(DeviceFilter {
            label: self.label.as_deref().map(Label::parse).transpose().map_err(|invalid| invalid.of("label"))?,
            name: self.name.as_deref().map(DeviceName::parse).transpose()?.map(|name| name.to_string()),
            online: self.online.map(|online| online.0),
        })
    }
}
