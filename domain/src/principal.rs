//! Who is behind a connection: a device, or a person.

use std::fmt;

use crate::{DeviceId, UserId};

/// Whom credentials belong to. A tenant's principals never share sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A device, with its token.
    Device(DeviceId),
    /// A person, with a bearer token.
    User(UserId),
}

impl Principal {
    /// The device, if it is one.
    pub fn device(self) -> Option<DeviceId> {
        match self {
            Self::Device(device) => Some(device),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for Principal {
    /// For logs: the kind and the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device:{device}"),
            Self::User(user) => write!(f, "user:{user}"),
        }
    }
}
