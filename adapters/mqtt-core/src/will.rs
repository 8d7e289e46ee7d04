//! What a client wants said when its connection breaks.

use std::time::Duration;

use crate::Message;

/// A will that was accepted with CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The message.
    pub message: Message,
    /// How long to wait for the client to come back first.
    pub delay: Duration,
    /// How long the message is wanted, from the moment it is published.
    pub expiry: Option<Duration>,
}
