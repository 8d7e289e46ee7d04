//! Telemetry in JSON. Payloads pass through as the text they are: neither side parses them into values.

use std::fmt;

use garde::{Path, Report, Validate};
use pocket_application::{TelemetryInput, TelemetryService};
use pocket_domain::{
    DeviceId, Invalid, SortOrder, Telemetry, TelemetryCursor, TelemetryId, TelemetryPage, TelemetryQuery, TenantId,
    Timestamp, TopicFilter, TopicName,
};
use pocket_telemetry_text::write_json;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::object::Object;
use super::parses;
use super::patch::present;
use super::text::{Moment, Parsed, TimeText, Whole};

/// A message to be stored for a device.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TelemetryEntry {
    #[garde(skip)]
    #[schema(value_type = String, format = "uuid")]
    device_id: Parsed<DeviceId>,
    /// 1 to 1,024 bytes, without wildcards, not beginning with `$`.
    #[garde(custom(parses(TopicName::parse)))]
    #[schema(
        example = "boiler/temperature",
        min_length = 1,
        max_length = 1024,
        pattern = "^[^$+#\\u0000][^+#\\u0000]*$"
    )]
    topic: String,
    /// One JSON value. `{"ts":<ms>,"values":{…}}` carries its own time.
    #[garde(skip)]
    #[schema(value_type = serde_json::Value, example = json!({"celsius": 21.5}))]
    payload: Box<RawValue>,
    /// The time it is about, RFC 3339 or integer milliseconds; that of arrival when neither this nor the payload says.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<TimeText>, nullable = false)]
    timestamp: Option<Moment>,
}

impl TelemetryEntry {
    fn parse(self) -> Result<TelemetryInput, Invalid> {
        Ok(TelemetryInput {
            device_id: self.device_id.0,
            topic: TopicName::parse(&self.topic)?,
            payload: String::from(Box::<str>::from(self.payload)),
            timestamp: self.timestamp.map(|time| time.0),
        })
    }
}

/// One message or an array of 1 to 1,000.
pub(crate) enum TelemetryEntries {
    /// Posted as an object.
    One(Box<TelemetryEntry>),
    /// Posted as an array.
    Many(Vec<TelemetryEntry>),
}

impl TelemetryEntries {
    /// Whether they came as an array, so that errors name the entry.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// The messages, in order.
    pub(crate) fn parse(self) -> Result<Vec<TelemetryInput>, Invalid> {
        match self {
            Self::One(entry) => Ok(vec![entry.parse()?]),
            Self::Many(entries) => entries.into_iter().map(TelemetryEntry::parse).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for TelemetryEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

/// An untagged enum would do, but its error would name no field, and it would take an array of any length.
struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = TelemetryEntries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object or an array of 1 to {} objects", TelemetryService::MAX_ENTRIES)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TelemetryEntries, A::Error> {
        let entry = TelemetryEntry::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TelemetryEntries::One(Box::new(entry)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<TelemetryEntries, A::Error> {
        let mut entries = Vec::new();
        while let Some(Object(entry)) = sequence.next_element()? {
            if entries.len() == TelemetryService::MAX_ENTRIES {
                return Err(A::Error::invalid_length(entries.len() + 1, &self));
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(A::Error::invalid_length(0, &self));
        }
        Ok(TelemetryEntries::Many(entries))
    }
}

impl Validate for TelemetryEntries {
    type Context = ();

    fn validate_into(&self, context: &(), parent: &mut dyn FnMut() -> Path, report: &mut Report) {
        match self {
            Self::One(entry) => entry.validate_into(context, parent, report),
            Self::Many(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    entry.validate_into(context, &mut || parent().join(index), report);
                }
            }
        }
    }
}

impl PartialSchema for TelemetryEntries {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Ref};

        let entry = Ref::from_schema_name(TelemetryEntry::name());
        let array =
            ArrayBuilder::new().items(entry.clone()).min_items(Some(1)).max_items(Some(TelemetryService::MAX_ENTRIES));
        OneOfBuilder::new().item(entry).item(array).into()
    }
}

impl ToSchema for TelemetryEntries {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
        schemas.push((TelemetryEntry::name().into_owned(), TelemetryEntry::schema()));
        TelemetryEntry::schemas(schemas);
    }
}

/// The ids of the messages that were stored, in the order in which they were posted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stored {
    ids: Vec<String>,
}

impl From<Vec<TelemetryId>> for Stored {
    fn from(ids: Vec<TelemetryId>) -> Self {
        Self { ids: ids.iter().map(TelemetryId::to_string).collect() }
    }
}

/// An order, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum OrderText {
    Asc,
    Desc,
}

/// Which part of a history is asked for; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TelemetryParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
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
    /// `desc` (default): newest first; `asc`: oldest first.
    #[param(value_type = Option<OrderText>, inline, default = "desc")]
    order: Option<Parsed<SortOrder>>,
    /// Rows on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// The `pagination.next` of the page before, with the same conditions.
    #[param(value_type = Option<String>)]
    cursor: Option<Parsed<TelemetryCursor>>,
}

impl TelemetryParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The question to the history.
    pub(crate) fn query(&self) -> Result<TelemetryQuery, Invalid> {
        let query = TelemetryQuery {
            device_id: self.device_id.map(|id| id.0),
            topic: self.topic.as_deref().map(TopicFilter::parse).transpose()?,
            from: self.from.map(|time| time.0),
            to: self.to.map(|time| time.0),
            order: self.order.map(|order| order.0).unwrap_or_default(),
            cursor: self.cursor.map(|cursor| cursor.0),
            ..TelemetryQuery::default()
        };
        query.with_limit(self.limit.map(|limit| limit.0))
    }
}

/// One page of a history, for the document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct History {
    data: Vec<TelemetryRow>,
    pagination: HistoryPagination,
}

/// Where a history goes on.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryPagination {
    /// Rows on a page at the most.
    pub(crate) limit: u32,
    /// To be sent as `cursor` for the next page; `null` when nothing follows.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

/// A stored message, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct TelemetryRow {
    /// Opaque.
    id: String,
    #[schema(format = "uuid")]
    device_id: String,
    topic: String,
    /// One JSON value, as it was published.
    #[schema(example = json!({"celsius": 21.5}))]
    payload: serde_json::Value,
    /// The time it is about.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Moment,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    received_at: Moment,
}

impl History {
    /// The page that answers a query of `limit` rows. A row whose payload is damaged is told in the log and left out, so that
    /// the others stay readable.
    pub(crate) fn json(page: &TelemetryPage, limit: u32) -> Vec<u8> {
        let mut text = Vec::with_capacity(Self::bytes(page));
        text.extend_from_slice(br#"{"data":["#);
        for row in &page.rows {
            if write_json(&mut text, row) {
                text.push(b',');
            }
        }
        if text.last() == Some(&b',') {
            text.pop();
        }
        text.extend_from_slice(br#"],"pagination":"#);
        let pagination = HistoryPagination { limit, next: page.next.map(|next| next.to_string()) };
        serde_json::to_writer(&mut text, &pagination).expect("a vector takes all that is written to it");
        text.push(b'}');
        text
    }

    /// About how many bytes a page has as JSON: a long text is not moved again and again while it grows.
    pub(crate) fn bytes(page: &TelemetryPage) -> usize {
        // Names, id, device and times of a row, which all have their lengths, and signs around them.
        const ROW: usize = 220;
        let row = |row: &Telemetry| ROW + row.topic.as_str().len() + row.payload.as_str().len();
        128 + page.rows.iter().map(row).sum::<usize>()
    }
}
