//! One message to one subscriber.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::{GroupName, Message, QoS, StoredAs};

/// A message with what differs from subscriber to subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// The lower of the publisher's and the subscription's QoS.
    pub qos: QoS,
    /// The retain flag that the subscriber sees.
    pub retain: bool,
    /// The identifiers of the subscriptions it is sent for.
    pub identifiers: Vec<NonZeroU32>,
    /// The group that shares the subscription it is sent for: another member will do as well.
    pub group: Option<GroupName>,
    /// How it is stored, if it is.
    pub stored: Option<StoredAs>,
}
