//! Publishing and subscribing without a socket, for the program that the broker runs in.
//!
//! A client belongs to one tenant and never leaves it. It is trusted: no rules hold for the program itself. What it
//! publishes for a device is what the device had published, telemetry and rules included; what it publishes for itself is
//! routed and is no telemetry. Everything may be called and awaited on any thread and any runtime.

use std::sync::Arc;

use bytes::Bytes;
use pocket_application::AccessDenied;
use pocket_domain::{DeviceId, Invalid, PayloadError, TenantId, TopicName};
use pocket_mqtt_core::{Authorizer, Message, MessageProperties, QoS};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::local_access::LocalAccess;
use crate::local_publish::LocalPublish;
use crate::local_subscription::LocalSubscription;
use crate::mailbox::Letter;

/// Why a client inside the process was refused something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is no such tenant, or no such device in it, or not any more.
    #[error("no such tenant, or no such device in it")]
    NotFound,
    /// The device is disabled.
    #[error("the device is disabled")]
    Disabled,
    /// The topic begins with `$`, or a rule of the device is against it.
    #[error("the topic is not allowed")]
    NotAuthorized,
    /// A topic, a filter or a property is not what MQTT allows.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The payload is too large, or not what the tenant accepts. It was neither routed nor stored.
    #[error("{0}")]
    Payload(PayloadError),
    /// The client has as many subscriptions as the limits allow.
    #[error("a client may have {0} subscriptions")]
    TooManySubscriptions(usize),
    /// The message was routed; the database refuses it and cannot put it aside either.
    #[error("the message could not be stored")]
    NotStored,
    /// The broker is stopping. What was being published may or may not be stored.
    #[error("the broker is stopping")]
    Stopping,
    /// Storage cannot be asked at present.
    #[error("not available at present: {0}")]
    Unavailable(String),
}

impl From<AccessDenied> for LocalError {
    fn from(denied: AccessDenied) -> Self {
        match denied {
            AccessDenied::Disabled => Self::Disabled,
            AccessDenied::Unavailable(cause) => Self::Unavailable(cause),
            AccessDenied::BadCredentials | AccessDenied::TooManyAttempts => Self::NotFound,
        }
    }
}

/// A message that is to be published. Without more said: QoS 0, not retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    topic: TopicName,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    expiry: Option<u32>,
    properties: Option<MessageProperties>,
}

impl Publication {
    /// A payload for a topic.
    ///
    /// # Errors
    /// When the topic is none.
    pub fn new(topic: &str, payload: impl Into<Bytes>) -> Result<Self, Invalid> {
        let topic = TopicName::parse(topic)?;
        let payload = payload.into();
        Ok(Self { topic, payload, qos: QoS::AtMostOnce, retain: false, expiry: None, properties: None })
    }

    /// At this QoS. At 1 and 2 it is stored when [`publish`](LocalClient::publish) returns, also for sessions that are away.
    #[must_use]
    pub fn at(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// To be kept for those who subscribe later; an empty payload removes what is kept.
    #[must_use]
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    /// Not to be delivered any more after so many seconds.
    #[must_use]
    pub fn expiring_after(self, seconds: u32) -> Self {
        Self { expiry: Some(seconds), ..self }
    }

    /// With what MQTT 5.0 can say about it.
    ///
    /// # Errors
    /// When a text is longer than 65,535 bytes or has U+0000, or the response topic is none.
    pub fn with(self, properties: MessageProperties) -> Result<Self, Invalid> {
        let texts = [properties.content_type.as_deref(), properties.response_topic.as_deref()].into_iter().flatten();
        let pairs = properties.user_properties.iter().flat_map(|(name, value)| [&**name, &**value]);
        let is_wrong = |text: &str| text.len() > usize::from(u16::MAX) || text.contains('\0');
        let too_long = properties.correlation_data.as_ref().is_some_and(|data| data.len() > usize::from(u16::MAX));
        if too_long || texts.chain(pairs).any(is_wrong) {
            return Err(Invalid::new("properties", "texts must be at most 65535 bytes without U+0000"));
        }
        if let Some(topic) = &properties.response_topic {
            // [MQTT-3.3.2-14] no wildcards
            TopicName::parse(topic)?;
        }
        Ok(Self { properties: Some(properties), ..self })
    }
}

/// Publishes and subscribes in one tenant. Cloning it is cheap, and the clones share its limit of subscriptions.
#[derive(Clone, Debug)]
pub struct LocalClient(Arc<LocalAccess>);

/// Publishes what a device reports by other means than MQTT. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct LocalDevice(Arc<LocalAccess>);

impl Broker {
    /// A client inside the process, for one tenant. It takes part as soon as the broker serves.
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant; `Unavailable`.
    pub async fn client(self: &Arc<Self>, tenant: TenantId) -> Result<LocalClient, LocalError> {
        LocalAccess::open(self, tenant, None).await.map(LocalClient)
    }
}

impl LocalClient {
    /// The tenant it belongs to.
    pub fn tenant_id(&self) -> TenantId {
        self.0.owner.tenant_id
    }

    /// Subscribes with a filter, or with `$share/group/filter`. What is retained comes first. Subscriptions of one client
    /// that overlap are each given their own copy.
    ///
    /// # Errors
    /// `Invalid`, `NotAuthorized` for topics that begin with `$`, `TooManySubscriptions`, `Stopping`.
    pub fn subscribe(&self, filter: &str, qos: QoS) -> Result<LocalSubscription, LocalError> {
        LocalSubscription::open(&self.0, filter, qos)
    }

    /// Publishes a message. Returns when a client with a socket would have its acknowledgement: at QoS 1 and 2 when what
    /// is to be stored of it is committed, at QoS 0 when the broker has it. It waits while storage or the broker are
    /// full. Given up half way, the message may have been published or not.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn publish(&self, publication: Publication) -> Result<(), LocalError> {
        publish(&self.0, publication).await
    }

    /// A publisher on behalf of a device of the tenant, which need not be connected and does not become online by it.
    ///
    /// # Errors
    /// `NotFound` when the tenant has no such device; `Disabled`; `Unavailable`.
    pub async fn device(&self, device: DeviceId) -> Result<LocalDevice, LocalError> {
        LocalAccess::open(&self.0.broker, self.tenant_id(), Some(device)).await.map(LocalDevice)
    }
}

impl LocalDevice {
    /// Publishes a message as if the device had: it is telemetry, the rules of the device hold, and a payload that is not
    /// accepted is the device's last rejection. Returns as [`LocalClient::publish`] does.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn publish(&self, publication: Publication) -> Result<(), LocalError> {
        publish(&self.0, publication).await
    }
}

async fn publish(client: &Arc<LocalAccess>, publication: Publication) -> Result<(), LocalError> {
    if client.broker.is_stopping() {
        return Err(LocalError::Stopping);
    }
    client.broker.local.unless_closed(publish_now(client, publication)).await.unwrap_or(Err(LocalError::Stopping))
}

async fn publish_now(client: &Arc<LocalAccess>, publication: Publication) -> Result<(), LocalError> {
    let broker = &client.broker;
    let access = client.read().await?;
    let counters = &broker.counters[usize::from(client.worker)];
    let Publication { topic, payload, qos, retain, expiry, properties } = publication;
    if !broker.authorizer(&access).may_publish(&client.owner, &topic) {
        counters.denied.add(1);
        return Err(LocalError::NotAuthorized);
    }
    if topic.levels().count() > broker.limits.topic_levels {
        let words = format!("must have at most {} levels", broker.limits.topic_levels);
        return Err(Invalid::new("topic", words).into());
    }
    let (now, received_at) = (broker.gateway.steady_now(), broker.gateway.now());
    let telemetry = broker.gateway.accept(&access, &topic, &payload, retain, received_at).map_err(|error| {
        counters.rejected.add(1);
        LocalError::Payload(error)
    })?;
    client.was_heard(&access);
    let message = Arc::new(Message {
        topic,
        payload,
        qos,
        retain,
        properties: properties.map(Arc::new),
        expires_at: expiry.map(|seconds| now.plus(std::time::Duration::from_secs(seconds.into()))),
    });
    for mailbox in &broker.mailboxes {
        mailbox.room(client.owner.tenant_id, &broker.limits).await;
    }
    let (reply, answer) = oneshot::channel();
    let (index, tenant_id) = (Arc::clone(&client.index), client.owner.tenant_id);
    let publish = LocalPublish { index, tenant_id, message, telemetry, reply };
    broker.mailboxes[usize::from(client.worker)].post(Letter::Publish(Box::new(publish)));
    answer.await.unwrap_or(Err(LocalError::Stopping))
}
