//! Sessions of devices in JSON.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::text::Moment;

/// The client id of the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct ClientIdParameter {
    /// The client id, percent-encoded: `/` as `%2F`, a space as `%20`.
    #[param(rename = "clientId", example = "boiler-1")]
    client_id: String,
}

/// The sessions of a device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceSessions {
    /// Ordered by client id, at most 1,000.
    data: Vec<DeviceSession>,
    /// Present and `true` when there are more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    has_more: bool,
}

/// A session. What is not known of a connection to another process, whose session is not stored, is `null`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeviceSession {
    /// The client id.
    #[schema(example = "boiler-1")]
    client_id: String,
    connected: bool,
    /// Since when the client is connected, or disconnected.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    since: Option<Moment>,
    /// The protocol of the connection; `null` while the client is disconnected.
    #[schema(required, example = "MQTT 3.1.1")]
    protocol: Option<String>,
    /// Seconds that the session outlives its connection; 0: it ends with it.
    #[schema(required)]
    expiry_seconds: Option<u32>,
    /// When the session ends unless the client comes back; `null` while it is connected.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
    #[schema(required)]
    subscription_count: Option<usize>,
    /// The first 100 by filter.
    #[schema(required)]
    subscriptions: Option<Vec<SessionSubscription>>,
    /// Messages of QoS 1 and 2 that wait for the client or that it did not acknowledge.
    #[schema(required)]
    queued_messages: Option<u64>,
    /// Bytes of their payloads.
    #[schema(required)]
    queued_bytes: Option<u64>,
    /// The broker process that has the session (`POCKET_NODE`).
    node: String,
}

/// A subscription of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionSubscription {
    #[schema(example = "home/#")]
    filter: String,
    /// The group of a shared subscription, which each message goes to one member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[schema(minimum = 0, maximum = 2)]
    qos: u8,
    /// The subscription identifier of 5.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<u32>,
}

impl DeviceSessions {
    /// The most sessions that are returned.
    const MOST: usize = 1_000;
}

impl From<Vec<pocket_ports::DeviceSession>> for DeviceSessions {
    fn from(mut sessions: Vec<pocket_ports::DeviceSession>) -> Self {
        let has_more = sessions.len() > Self::MOST;
        sessions.truncate(Self::MOST);
        Self { data: sessions.into_iter().map(Into::into).collect(), has_more }
    }
}

impl From<pocket_ports::DeviceSession> for DeviceSession {
    fn from(session: pocket_ports::DeviceSession) -> Self {
        let pocket_ports::DeviceSession { node, client_id, is_connected, since, protocol, content } = session;
        let content = content.as_ref();
        let ends = |seconds: u32| Some(since?.plus(std::time::Duration::from_secs(seconds.into())).into());
        let subscription = |held: &pocket_ports::SessionSubscription| SessionSubscription {
            filter: held.filter.to_string(),
            group: held.group.as_deref().map(str::to_owned),
            qos: held.qos,
            identifier: held.identifier.map(|identifier| identifier.get()),
        };
        Self {
            client_id: client_id.into(),
            connected: is_connected,
            since: since.map(Into::into),
            protocol: protocol.map(Into::into),
            expiry_seconds: content.map(|content| content.expiry_seconds),
            expires_at: content.filter(|_| !is_connected).and_then(|content| ends(content.expiry_seconds)),
            subscription_count: content.map(|content| content.subscription_count),
            subscriptions: content.map(|content| content.subscriptions.iter().map(subscription).collect()),
            queued_messages: content.map(|content| content.queued_messages),
            queued_bytes: content.map(|content| content.queued_bytes),
            node: node.to_string(),
        }
    }
}
