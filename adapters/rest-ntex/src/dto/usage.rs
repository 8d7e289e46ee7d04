//! How much is stored, in JSON.

use serde::Serialize;
use utoipa::ToSchema;

use super::text::Moment;

/// How much the telemetry of a tenant takes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// All of it.
    #[serde(flatten)]
    total: UsagePart,
    /// What came lately: payloads, and 32 bytes for each message.
    log: UsagePart,
    /// What is compressed, as it is stored.
    chunks: UsagePart,
    /// What messages share: names of topics, and keys of devices with their last values. Those of topics count from 64 KiB on, those
    /// of a device from 64 KiB on; absent where none counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<NameUsage>,
}

/// How much names, keys and last values take.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NameUsage {
    /// The number of topics, keys and last values.
    #[schema(minimum = 0)]
    count: u64,
    /// Their bytes, 64 for each among them.
    #[schema(minimum = 0)]
    bytes: u64,
}

/// How much a part of the telemetry takes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsagePart {
    /// The number of messages.
    #[schema(minimum = 0)]
    rows: u64,
    /// Their bytes, without what the database adds to them, such as indexes and free pages.
    #[schema(minimum = 0)]
    bytes: u64,
    /// To a hundredth; `null` without messages.
    #[schema(required, example = 4.62)]
    bytes_per_row: Option<f64>,
    /// The time of the first message; `null` without messages.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    oldest: Option<Moment>,
    /// The time of the last message; `null` without messages.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    newest: Option<Moment>,
}

impl From<pocket_domain::Usage> for Usage {
    fn from(usage: pocket_domain::Usage) -> Self {
        let pocket_domain::NameUsage { count, bytes } = usage.names;
        let names = (count > 0).then_some(NameUsage { count, bytes });
        Self { total: usage.total().into(), log: usage.log.into(), chunks: usage.chunks.into(), names }
    }
}

impl From<pocket_domain::UsagePart> for UsagePart {
    fn from(part: pocket_domain::UsagePart) -> Self {
        Self {
            rows: part.rows,
            bytes: part.bytes,
            bytes_per_row: part.bytes_per_row().map(|bytes| (bytes * 100.0).round() / 100.0),
            oldest: part.oldest.map(Moment),
            newest: part.newest.map(Moment),
        }
    }
}
