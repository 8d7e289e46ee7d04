//! The state machine of one connection after CONNECT: a packet in, an action out.
//!
//! It does no I/O and reads no clock. What it cannot know, whether a payload is valid and a message stored, the adapter
//! tells its [`Session`].

use std::sync::Arc;
use std::time::Duration;

use pocket_domain::TopicName;

use crate::incoming::Arrival;
use crate::inflight::{Inflight, Stage};
use crate::outgoing_aliases::OutgoingAliases;
use crate::subscription::Target;
use crate::topic_aliases::TopicAliases;
use crate::weight::ALIAS;
use crate::{
    Account, Ack, Action, Authorizer, Client, Closing, Connect, Disconnect, Inbound, KeepAlive, Limits,
    NewSubscription, Packet, PacketId, ProtocolVersion, Publish, Purse, QoS, ReasonCode, Reply, Session, SessionChange,
    Subscribe, SubscribeAck, SubscribeRequest, Subscription, TopicCache, Unsubscribe, UnsubscribeAck, Will,
};

/// What client and server settled on at CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// Seconds; 0: none.
    pub(crate) keep_alive: u16,
    /// Seconds that the session outlives the connection.
    pub(crate) session_expiry: u32,
    /// The most seconds that it may.
    pub(crate) longest_session: u32,
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    version: ProtocolVersion,
    client: Client,
    session: Session,
    aliases: TopicAliases,
    /// What the connection takes beside its session: aliases, and what the adapter remembers for it.
    purse: Purse,
    outgoing_aliases: OutgoingAliases,
    /// Few clients have one, and it is large.
    will: Option<Box<Will>>,
    keep_alive: KeepAlive,
    session_expiry: u32,
    longest_session: u32,
    /// The client asked for a session that ends with the connection.
    is_brief: bool,
    maximum_packet_size: Option<u32>,
    limits: Arc<Limits>,
}

impl Connection {
    pub(crate) fn new(
        connect: &Connect,
        client: Client,
        session: Session,
        will: Option<Will>,
        agreed: Agreed,
        limits: Arc<Limits>,
    ) -> Self {
        let Agreed { keep_alive, session_expiry, longest_session } = agreed;
        Self {
            version: connect.version,
            client,
            session,
            aliases: TopicAliases::default(),
            purse: Purse::default(),
            outgoing_aliases: OutgoingAliases::new(connect.topic_alias_maximum.min(limits.outgoing_topic_aliases)),
            will: will.map(Box::new),
            keep_alive: KeepAlive::from_seconds(keep_alive),
            session_expiry,
            longest_session,
            is_brief: connect.session_expiry == 0,
            maximum_packet_size: connect.maximum_packet_size,
            limits,
        }
    }

    /// Who is at the other end.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The version it speaks.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Its session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// From now on, connection and session take what they keep from this account.
    pub fn charge_to(&mut self, account: &Arc<Account>) {
        self.purse = Purse::of(account);
        self.session.charge_to(account);
    }

    /// What the connection takes beside its session.
    pub fn purse(&mut self) -> &mut Purse {
        &mut self.purse
    }

    /// The session ends with the connection, whatever the client asked for.
    pub fn end_session_with_connection(&mut self) {
        (self.session_expiry, self.longest_session) = (0, 0);
    }

    /// Takes the session away; what is left is an empty one.
    pub fn take_session(&mut self) -> Session {
        let empty = Session::new(Arc::clone(&self.limits), self.version, 0);
        std::mem::replace(&mut self.session, empty)
    }

    /// How long the session outlives the connection.
    pub fn session_expiry(&self) -> Duration {
        Duration::from_secs(self.session_expiry.into())
    }

    /// The agreed keep-alive.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// The largest packet that the client accepts.
    pub fn maximum_packet_size(&self) -> Option<u32> {
        self.maximum_packet_size
    }

    /// The topic aliases in messages to the client.
    pub fn outgoing_aliases(&mut self) -> &mut OutgoingAliases {
        &mut self.outgoing_aliases
    }

    /// Whether a client of 3.1.1, which knows no receive maximum, waits for as many answers as a client of 5.0 might:
    /// nothing is to be read from it until some are sent. Messages that wait for its PUBREL do not count, because reading
    /// on is how that comes.
    pub fn is_at_receive_maximum(&self) -> bool {
        self.version == ProtocolVersion::V311
            && self.session.incoming.unanswered() >= usize::from(self.limits.receive_maximum)
    }

    /// The will, as long as it was not taken back.
    pub fn will(&self) -> Option<&Will> {
        self.will.as_deref()
    }

    /// The will, unless the client took it back or it was taken before.
    pub fn take_will(&mut self) -> Option<Will> {
        self.will.take().map(|will| *will)
    }

    /// Takes a packet. `known` spares the parsing of topics that were seen before.
    pub fn on_packet<'a, V>(
        &mut self,
        packet: Packet<'a>,
        known: &TopicCache<V>,
        authorizer: &dyn Authorizer,
    ) -> Action<'a> {
        match packet {
            Packet::Publish(publish) => match self.on_publish(publish, known, authorizer) {
                Ok(action) => action,
                Err(reason) => Action::Close(Closing::ByServer(reason)),
            },
            // Section 4.3: an acknowledgement of another kind than the message in flight asks for
            Packet::PublishAck(ack) if self.inflight().contradicts(ack.packet_id, QoS::AtLeastOnce) => protocol_error(),
            Packet::PublishReceived(ack) if self.inflight().contradicts(ack.packet_id, QoS::ExactlyOnce) => {
                protocol_error()
            }
            Packet::PublishComplete(ack) if self.inflight().contradicts_complete(ack.packet_id) => protocol_error(),
            Packet::PublishAck(ack) => {
                // An acknowledgement nobody waits for is harmless; both versions leave open what to do.
                self.session.end(ack.packet_id, Inflight::acknowledge);
                Action::Resume(None)
            }
            Packet::PublishReceived(ack) => self.on_received(&ack),
            Packet::PublishRelease(ack) => self.on_release(ack.packet_id),
            Packet::PublishComplete(ack) => {
                self.session.end(ack.packet_id, Inflight::complete);
                Action::Resume(None)
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(subscribe, authorizer),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe),
            Packet::PingRequest => Action::Send(Packet::PingResponse),
            Packet::Disconnect(disconnect) => self.on_disconnect(&disconnect),
            // [MQTT-3.1.0-2] a second CONNECT. Section 4.13.1 leaves open whether an error in CONNECT is told, and whoever
            // sends it waits for CONNACK.
            Packet::Connect(_) => Action::Close(Closing::Silently(ReasonCode::ProtocolError)),
            // AUTH without a method, and what only a server sends
            Packet::Auth(_)
            | Packet::ConnectAck(_)
            | Packet::SubscribeAck(_)
            | Packet::UnsubscribeAck(_)
            | Packet::PingResponse => protocol_error(),
        }
    }

    fn inflight(&mut self) -> &Inflight {
        self.session.outgoing.inflight()
    }

    fn on_publish<'a, V>(
        &mut self,
        publish: Publish<'a>,
        known: &TopicCache<V>,
        authorizer: &dyn Authorizer,
    ) -> Result<Action<'a>, ReasonCode> {
        // [MQTT-3.3.4-6] only the server sends subscription identifiers
        if !publish.subscription_ids.is_empty() {
            return Err(ReasonCode::ProtocolError);
        }
        let topic = self.topic(&publish, known)?;
        if let Some(packet_id) = publish.packet_id {
            let maximum = (self.version == ProtocolVersion::V5).then_some(self.limits.receive_maximum);
            let is_kept = publish.qos == QoS::ExactlyOnce && !self.session.incoming.knows(packet_id);
            if is_kept && !self.session.keep_packet_id() {
                return Err(ReasonCode::QuotaExceeded);
            }
            match self.session.incoming.begin(publish.qos, packet_id, maximum) {
                Arrival::New => {}
                Arrival::Pending => return Ok(Action::None),
                Arrival::Received => return Ok(Action::Send(Packet::PublishReceived(Ack::success(packet_id)))),
                Arrival::TooMany => return Err(ReasonCode::ReceiveMaximumExceeded),
            }
        }
        let inbound = Inbound {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            message_expiry: publish.message_expiry,
            properties: publish.properties,
        };
        if authorizer.may_publish(&self.client, &inbound.topic) {
            Ok(Action::Publish(inbound))
        } else if inbound.topic.is_of_a_bridge() {
            // What another broker tells of its bridge to this one.
            Ok(Action::Drop(inbound.acknowledgement(None)))
        } else {
            Ok(Action::Refuse(inbound))
        }
    }

    fn topic<V>(&mut self, publish: &Publish<'_>, known: &TopicCache<V>) -> Result<TopicName, ReasonCode> {
        let maximum = self.limits.topic_alias_maximum;
        if publish.topic.is_empty() {
            // Section 3.3.2.1: an empty topic without an alias is a protocol error.
            let alias = publish.topic_alias.ok_or(ReasonCode::ProtocolError)?;
            return self.aliases.get(alias, maximum).cloned();
        }
        let topic = match known.name(publish.topic) {
            Some(topic) => topic.clone(),
            None => TopicName::parse(publish.topic).map_err(|_| ReasonCode::TopicNameInvalid)?,
        };
        if let Some(alias) = publish.topic_alias {
            if !self.aliases.holds(alias, &topic) && !self.purse.take(ALIAS + topic.as_str().len()) {
                return Err(ReasonCode::QuotaExceeded);
            }
            let before = self.aliases.set(alias, topic.clone(), maximum)?;
            self.purse.give(before.map_or(0, |before| ALIAS + before.as_str().len()));
        }
        Ok(topic)
    }

    fn on_received(&mut self, ack: &Ack) -> Action<'static> {
        let id = ack.packet_id;
        if ack.reason.is_error() {
            self.session.end(id, Inflight::refuse);
            return Action::Resume(None);
        }
        match self.session.outgoing.inflight().receive(id) {
            Some(Stage::Releasing) => {
                self.session.note_progress_of(id, true);
                Action::Hold(Reply::Released(id))
            }
            stage => Action::Send(Packet::PublishRelease(answer(id, stage.is_some()))),
        }
    }

    fn on_release(&mut self, packet_id: PacketId) -> Action<'static> {
        let known = self.session.release(packet_id);
        let answer = Packet::PublishComplete(answer(packet_id, known));
        if !known || self.session.key().is_none() {
            return Action::Send(answer);
        }
        // After PUBCOMP the client may use the id for another message, which must not be taken for this one.
        self.session.note(SessionChange::Completed(packet_id));
        Action::Hold(Reply::Send(answer))
    }

    fn on_subscribe(&mut self, subscribe: Subscribe, authorizer: &dyn Authorizer) -> Action<'static> {
        // 3.1.1 [MQTT-4.8.0-1], 5.0 [MQTT-4.13.1-1]
        if !subscribe.requests.iter().all(|request| Target::is_well_formed(&request.filter)) {
            return malformed();
        }
        // [MQTT-3.8.3-4] of 5.0
        if subscribe.requests.iter().any(|request| request.options.no_local && request.filter.starts_with("$share/")) {
            return protocol_error();
        }
        let mut granted = Vec::new();
        let mut reasons = Vec::with_capacity(subscribe.requests.len());
        for request in subscribe.requests {
            let wish = self.subscription(&request, authorizer);
            match wish.map(|subscription| Subscription { identifier: subscribe.identifier, ..subscription }) {
                Ok(subscription) => {
                    reasons.push(granted_reason(subscription.options.qos));
                    let key = (subscription.filter.clone(), subscription.group.clone());
                    let replaced = self.session.subscriptions.insert(key, subscription.clone());
                    self.session.note(SessionChange::Subscribed(subscription.clone()));
                    granted.push(NewSubscription { subscription, is_new: replaced.is_none() });
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Action::Subscribe(granted, SubscribeAck { packet_id: subscribe.packet_id, reasons })
    }

    fn subscription(
        &mut self,
        request: &SubscribeRequest,
        authorizer: &dyn Authorizer,
    ) -> Result<Subscription, ReasonCode> {
        let Target { filter, group } = Target::parse(&request.filter).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if filter.levels().count() > self.limits.filter_levels {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let may_share = || group.is_none() || authorizer.may_share(&self.client, &filter);
        if !authorizer.may_subscribe(&self.client, &filter) || !may_share() {
            return Err(ReasonCode::NotAuthorized);
        }
        let key = (filter, group);
        let is_new = !self.session.subscriptions.contains_key(&key);
        if is_new && self.session.subscriptions.len() >= self.limits.subscriptions {
            return Err(ReasonCode::QuotaExceeded);
        }
        let (filter, group) = key;
        if is_new && !self.session.keep_subscription(&filter, group.as_ref()) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(Subscription { filter, group, options: request.options, identifier: None })
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Action<'static> {
        // 3.1.1 [MQTT-4.8.0-1], 5.0 [MQTT-4.13.1-1]
        if !unsubscribe.filters.iter().all(|filter| Target::is_well_formed(filter)) {
            return malformed();
        }
        let mut removed = Vec::new();
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for text in &unsubscribe.filters {
            let Ok(Target { filter, group }) = Target::parse(text) else {
                reasons.push(ReasonCode::TopicFilterInvalid);
                continue;
            };
            reasons.push(match self.session.subscriptions.remove(&(filter, group)) {
                Some(subscription) => {
                    let (filter, group) = (subscription.filter.clone(), subscription.group.clone());
                    self.session.give_subscription(&filter, group.as_ref());
                    self.session.note(SessionChange::Unsubscribed(filter, group));
                    removed.push(subscription);
                    ReasonCode::Success
                }
                None => ReasonCode::NoSubscriptionExisted,
            });
        }
        Action::Unsubscribe(removed, UnsubscribeAck { packet_id: unsubscribe.packet_id, reasons })
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect) -> Action<'static> {
        // [MQTT-3.14.2-2] a session that was to end with the connection cannot be prolonged at the end
        if let Some(seconds) = disconnect.session_expiry {
            if seconds > 0 && self.is_brief {
                return Action::Close(Closing::ByServer(ReasonCode::ProtocolError));
            }
            self.session_expiry = seconds.min(self.longest_session);
        }
        // [MQTT-3.14.4-3] only a normal disconnection takes the will back
        let with_will = disconnect.reason != ReasonCode::Success;
        if !with_will {
            self.will = None;
        }
        Action::Close(Closing::ByClient { with_will })
    }
}

fn protocol_error() -> Action<'static> {
    Action::Close(Closing::ByServer(ReasonCode::ProtocolError))
}

fn malformed() -> Action<'static> {
    Action::Close(Closing::ByServer(ReasonCode::MalformedPacket))
}

fn answer(packet_id: PacketId, known: bool) -> Ack {
    Ack::with(packet_id, if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound })
}

fn granted_reason(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
