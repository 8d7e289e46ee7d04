//! Messages that the database refused, in JSON.

use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeviceId, Invalid, PageLimit, TenantId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::telemetry::HistoryPagination;
use super::text::{Moment, Parsed, Whole};

/// Which dead letters to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Only this device.
    #[param(value_type = Option<String>, format = "uuid")]
    device_id: Option<Parsed<DeviceId>>,
    /// Dead letters per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// The `pagination.next` of the page before, with the same conditions.
    #[param(value_type = Option<String>)]
    cursor: Option<Parsed<DeadLetterId>>,
}

impl DeadLetterParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The page that is asked for.
    pub(crate) fn query(&self) -> Result<DeadLetterQuery, Invalid> {
        Ok(DeadLetterQuery {
            device_id: self.device_id.map(|id| id.0),
            cursor: self.cursor.map(|cursor| cursor.0),
            page_limit: PageLimit::parse(self.limit.map(|limit| limit.0))?,
        })
    }
}

/// One page of dead letters.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetters {
    /// The newest first.
    data: Vec<DeadLetterRow>,
    pagination: HistoryPagination,
}

/// A message that the database rejected. It has either `payload` or `base64`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLetterRow {
    /// Opaque.
    id: String,
    #[schema(format = "uuid")]
    device_id: String,
    topic: String,
    /// The published text, as a string even if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "{\"celsius\": 21.5}")]
    payload: Option<String>,
    /// The published bytes, if they are not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    base64: Option<String>,
    /// The time it is about.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Moment,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    received_at: Moment,
    /// Why the database rejected it.
    reason: String,
    /// When it became a dead letter.
    #[schema(value_type = String, format = DateTime)]
    at: Moment,
}

impl From<DeadLetter> for DeadLetterRow {
    fn from(letter: DeadLetter) -> Self {
        let payload = letter.text().map(str::to_owned);
        Self {
            id: letter.id.to_string(),
            device_id: letter.device_id.to_string(),
            topic: letter.topic.to_string(),
            base64: payload.is_none().then(|| letter.base64()),
            payload,
            timestamp: letter.timestamp.into(),
            received_at: letter.received_at.into(),
            reason: letter.reason,
            at: letter.at.into(),
        }
    }
}

impl DeadLetters {
    /// The page that answers a query of this limit.
    pub(crate) fn of(page: DeadLetterPage, limit: PageLimit) -> Self {
        let next = page.next.map(|next| next.to_string());
        let data = page.letters.into_iter().map(Into::into).collect();
        Self { data, pagination: HistoryPagination { limit: limit.get(), next } }
    }
}
