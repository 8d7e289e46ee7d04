//! What waits until a batch is stored.

use crate::{Acknowledgement, NewSubscription, Packet, PacketId, SubscribeAck, Subscription};

/// Something that a session does when the batch it stands in is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Send PUBACK or PUBREC.
    Acknowledge(Acknowledgement),
    /// Send a packet to the client on the connection it was made for.
    Send(Packet<'static>),
    /// Send SUBACK, then the retained messages that the new subscriptions ask for.
    Subscribed(Vec<NewSubscription>, SubscribeAck),
    /// A message of QoS 2 has its packet id in storage, so it can be sent.
    Recorded(PacketId),
    /// That a message of QoS 2 arrived at the client is in storage, so PUBREL can be sent.
    Released(PacketId),
}

impl Reply {
    /// Whether it is about the session and not about the connection: it then holds for the next connection, too.
    pub(crate) fn outlives_connection(&self) -> bool {
        match self {
            // What was not acknowledged at QoS 1, the client sends again.
            Self::Acknowledge(acknowledgement) => acknowledgement.qos == crate::QoS::ExactlyOnce,
            Self::Send(_) | Self::Subscribed(..) => false,
            Self::Recorded(_) | Self::Released(_) => true,
        }
    }
}

impl From<Acknowledgement> for Reply {
    fn from(acknowledgement: Acknowledgement) -> Self {
        Self::Acknowledge(acknowledgement)
    }
}

/// What is to be done beside sending packets, after a batch was settled.
#[derive(Debug, Default, PartialEq)]
pub struct Settled {
    /// Subscriptions whose retained messages are due.
    pub granted: Vec<NewSubscription>,
    /// Subscriptions that could not be stored: they are to leave the index.
    pub refused: Vec<Subscription>,
    /// Whether messages may be sent that could not before.
    pub resume: bool,
}
