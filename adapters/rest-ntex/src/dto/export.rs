//! What is exported, and in which form.

use pocket_domain::{DeviceId, Invalid, TelemetryScan, TenantId, Timestamp, TopicFilter};
use pocket_telemetry_text::Format;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::text::{Parsed, Switch, TimeText};

/// A form, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum FormatText {
    Csv,
    Ndjson,
}

/// What to export; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// `ndjson` (default): one JSON object per line; `csv`: a header line and one line per row.
    #[param(value_type = Option<FormatText>, inline, default = "ndjson")]
    format: Option<Parsed<Format>>,
    /// `true`: in CSV, values that a spreadsheet would treat as formulas are prefixed with an apostrophe.
    #[param(value_type = Option<bool>, default = false)]
    spreadsheet: Option<Switch>,
    /// Only this device.
    #[param(value_type = Option<String>, format = "uuid")]
    device_id: Option<Parsed<DeviceId>>,
    /// Only topics that match this MQTT filter.
    #[param(min_length = 1, max_length = 1024, example = "boiler/#")]
    topic: Option<String>,
    /// Start time, inclusive; RFC 3339 or integer milliseconds.
    #[param(value_type = Option<TimeText>)]
    from: Option<Parsed<Timestamp>>,
    /// End time, exclusive; RFC 3339 or integer milliseconds.
    #[param(value_type = Option<TimeText>)]
    to: Option<Parsed<Timestamp>>,
}

impl ExportParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The form that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format.map(|format| format.0).unwrap_or_default()
    }

    /// Whether it is for a spreadsheet.
    pub(crate) fn for_spreadsheet(&self) -> bool {
        self.spreadsheet.is_some_and(|spreadsheet| spreadsheet.0)
    }

    /// The part that was asked for.
    pub(crate) fn scan(&self) -> Result<TelemetryScan, Invalid> {
        Ok(TelemetryScan {
            device_id: self.device_id.map(|id| id.0),
            topic: self.topic.as_deref().map(TopicFilter::parse).transpose()?,
            from: self.from.map(|time| time.0),
            to: self.to.map(|time| time.0),
            after: None,
        })
    }
}
