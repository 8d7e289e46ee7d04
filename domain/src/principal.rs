//! Who is behind a client of the broker, and what they may do with topics.

use std::fmt;

use crate::{DeviceId, UserId};

/// Whom credentials belong to. A tenant's principals never share sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A device, with its token.
    Device(DeviceId),
    /// A person, with a bearer token.
    User(UserId),
    /// The program that the broker runs in, which needs no credentials.
    Host,
}

impl Principal {
    /// The device, if it is one.
    pub fn device(self) -> Option<DeviceId> {
        match self {
            Self::Device(device) => Some(device),
            Self::User(_) | Self::Host => None,
        }
    }
}

/// What a principal may do with topics at all, before access rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRights {
    /// Publish in the tenant.
    pub publish: bool,
    /// Subscribe in the tenant.
    pub subscribe: bool,
    /// Subscribe to what the broker tells of itself below `$SYS/`.
    pub system: bool,
}

impl TopicRights {
    /// Everything in the tenant, and nothing of the broker.
    pub const TENANT: Self = Self { publish: true, subscribe: true, system: false };
}

impl fmt::Display for Principal {
    /// For logs: the kind and the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device:{device}"),
            Self::User(user) => write!(f, "user:{user}"),
            Self::Host => f.write_str("host"),
        }
    }
}
