//! Subscriptions: a filter and how its messages are wanted.

use std::num::NonZeroU32;
use std::sync::Arc;

use pocket_domain::{Invalid, TopicFilter};

use crate::{Limits, QoS};

/// Which retained messages a new subscription gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    AtSubscribe,
    /// All that match, unless the subscription was there before.
    AtSubscribeNew,
    /// None.
    Never,
}

/// How the messages of a subscription are wanted. 3.1.1 has only the QoS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SubscriptionOptions {
    /// At most this QoS.
    pub qos: QoS,
    /// Not those that the client itself published.
    pub no_local: bool,
    /// With the retain flag as it was published.
    pub retain_as_published: bool,
    /// Which retained messages.
    pub retain_handling: RetainHandling,
}

/// The name of a group that shares a subscription: 1 to 255 bytes, without `/`, `+`, `#` and U+0000.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// The most bytes. The standard has no bound but that of any text; storage has a key with the name in it.
    pub const MAX_BYTES: usize = 255;

    /// Parses a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no name has.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !Self::is_well_formed(text) {
            return Err(Invalid::new("topic", "a shared subscription has the form $share/group/filter"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::new("topic", "the group of a shared subscription must have at most 255 bytes"));
        }
        Ok(Self(text.into()))
    }

    /// Whether it is a name by the standard. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    fn is_well_formed(text: &str) -> bool {
        !text.is_empty() && !text.contains(['/', '+', '#', '\0'])
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What SUBSCRIBE and UNSUBSCRIBE name: a filter, or `$share/group/filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) filter: TopicFilter,
    pub(crate) group: Option<GroupName>,
}

impl Target {
    /// Parses both forms.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let Some(shared) = text.strip_prefix("$share/") else {
            return Ok(Self { filter: TopicFilter::parse(text)?, group: None });
        };
        let (group, filter) = shared.split_once('/').unwrap_or_default();
        Ok(Self { group: Some(GroupName::parse(group)?), filter: TopicFilter::parse(filter)? })
    }

    /// Whether a text is one of both forms, whatever limits this broker has.
    pub(crate) fn is_well_formed(text: &str) -> bool {
        let Some(shared) = text.strip_prefix("$share/") else { return TopicFilter::is_well_formed(text) };
        let (group, filter) = shared.split_once('/').unwrap_or_default();
        GroupName::is_well_formed(group) && TopicFilter::is_well_formed(filter)
    }
}

/// A granted subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which topics.
    pub filter: TopicFilter,
    /// The group that shares it: each message goes to one member.
    pub group: Option<GroupName>,
    /// How.
    pub options: SubscriptionOptions,
    /// A number that comes with every message sent for it, 5.0 only.
    pub identifier: Option<NonZeroU32>,
}

impl Subscription {
    /// A subscription to a filter, or to `$share/group/filter`, as SUBSCRIBE names them.
    ///
    /// # Errors
    /// When the text is neither, or the filter has more levels than [`Limits::filter_levels`].
    pub fn parse(text: &str, options: SubscriptionOptions, limits: &Limits) -> Result<Self, Invalid> {
        let Target { filter, group } = Target::parse(text)?;
        if filter.levels().count() > limits.filter_levels {
            return Err(Invalid::new("topic", format!("must have at most {} levels", limits.filter_levels)));
        }
        Ok(Self { filter, group, options, identifier: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_subscription_names_a_group_and_a_filter() {
        let target = Target::parse("$share/readers/a/+/#").unwrap();
        assert_eq!(target.group.as_ref().map(GroupName::as_str), Some("readers"));
        assert_eq!(target.filter.as_str(), "a/+/#");
        assert_eq!(Target::parse("a/b").unwrap().group, None);
        assert_eq!(Target::parse("$share").unwrap().group, None);
        for wrong in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/#/a", "$share/g/a#"] {
            assert!(Target::parse(wrong).is_err() && !Target::is_well_formed(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_group_has_a_name_of_at_most_255_bytes() {
        let target = |len| format!("$share/{}/t", "g".repeat(len));
        assert!(Target::parse(&target(GroupName::MAX_BYTES)).is_ok());
        let too_long = target(GroupName::MAX_BYTES + 1);
        // It is refused, and no reason to close the connection.
        assert!(Target::parse(&too_long).is_err() && Target::is_well_formed(&too_long));
    }
}
