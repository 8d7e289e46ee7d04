//! What a packet asks the adapter to do.

use std::ops::Range;
use std::sync::Arc;

use pocket_domain::TopicName;

use crate::{
    Acknowledgement, MessageProperties, Packet, PacketId, QoS, ReasonCode, Reply, SubscribeAck, Subscription,
    UnsubscribeAck,
};

/// What to do about a packet that was taken.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// Nothing.
    None,
    /// Send a packet.
    Send(Packet<'static>),
    /// Do this when what the session noted is stored.
    Hold(Reply),
    /// Validate, route and store a message, and acknowledge it when it is stored.
    Publish(Inbound<'a>),
    /// The client may not publish on this topic: neither route nor store the message, but acknowledge it in its turn.
    Refuse(Inbound<'a>),
    /// Acknowledge a message in its turn that is of no interest to anybody.
    Drop(Option<Acknowledgement>),
    /// Add subscriptions to the index, then send the answer; of a stored session when what it noted is stored.
    Subscribe(Vec<NewSubscription>, SubscribeAck),
    /// Remove subscriptions from the index, then send the answer, as above.
    Unsubscribe(Vec<Subscription>, UnsubscribeAck),
    /// The window may have room for more messages; a packet to send first, if there is one.
    Resume(Option<Packet<'static>>),
    /// Close the connection.
    Close(Closing),
}

/// A message from a client, authorised and not yet validated.
#[derive(Debug, PartialEq)]
pub struct Inbound<'a> {
    /// Where.
    pub topic: TopicName,
    /// What.
    pub payload: &'a [u8],
    /// How.
    pub qos: QoS,
    /// Whether to keep it.
    pub retain: bool,
    /// For QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Seconds until nobody wants it.
    pub message_expiry: Option<u32>,
    /// 5.0 only.
    pub properties: Option<Arc<MessageProperties>>,
}

impl Inbound<'_> {
    /// Whether the payload is said to be UTF-8 and is not. Section 3.3.2.3.2 lets a receiver look.
    pub fn is_misdeclared(&self) -> bool {
        self.properties.as_ref().is_some_and(|properties| properties.misdeclare(self.payload))
    }

    /// The acknowledgement it asks for when it is fine; QoS 0 asks for none. `stored_as` is where its rows are among
    /// those that are stored together, if it is stored.
    pub fn acknowledgement(&self, stored_as: Option<Range<usize>>) -> Option<Acknowledgement> {
        let packet_id = self.packet_id?;
        Some(Acknowledgement { packet_id, qos: self.qos, reason: ReasonCode::Success, reason_string: None, stored_as })
    }

    /// The acknowledgement it asks for when it is neither stored nor routed.
    pub fn refusal(&self, reason: ReasonCode, reason_string: Option<Box<str>>) -> Option<Acknowledgement> {
        Some(Acknowledgement { reason, reason_string, ..self.acknowledgement(None)? })
    }
}

/// A subscription that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// The subscription.
    pub subscription: Subscription,
    /// Whether the session had none with this filter.
    pub is_new: bool,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client said DISCONNECT; with its will when it asked for it.
    ByClient {
        /// Whether the will is to be published.
        with_will: bool,
    },
    /// The broker closes. 5.0 is told the reason by DISCONNECT, 3.1.1 is not told.
    ByServer(ReasonCode),
    /// The broker closes and tells neither version why.
    Silently(ReasonCode),
}
