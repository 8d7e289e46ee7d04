//! What the index finds for a message: who gets it, and how.

use std::num::NonZeroU32;

use crate::{QoS, SharedGroup};

/// A subscriber that gets a message, once, whatever number of its subscriptions match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<S> {
    /// Who.
    pub subscriber: S,
    /// The highest QoS of the subscriptions that match.
    pub qos: QoS,
    /// What the subscriber gets when it is the publisher.
    pub own: Own<S>,
    /// One of them wants the retain flag as published.
    pub retain_as_published: bool,
    /// The identifiers of those that have one.
    pub identifiers: Vec<NonZeroU32>,
}

/// What a subscriber gets of its own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own<S> {
    /// The same as of others.
    Same,
    /// None of them, because all subscriptions that match exclude them.
    Nothing,
    /// What is left without the subscriptions that exclude them.
    Less(Box<Match<S>>),
}

impl<S: Copy> Match<S> {
    /// What is found for a message that the subscriber itself published.
    pub fn of_own(&self) -> Option<&Self> {
        match &self.own {
            Own::Same => Some(self),
            Own::Nothing => None,
            Own::Less(less) => Some(less),
        }
    }

    /// [MQTT-3.3.4-2] one copy at the highest QoS of the subscriptions that match
    fn merge(&mut self, other: Self) {
        if !matches!((&self.own, &other.own), (Own::Same, Own::Same)) {
            // [MQTT-3.8.3-3] a subscription that excludes own messages adds nothing to what others want of them
            let own = match (self.of_own(), other.of_own()) {
                (None, None) => Own::Nothing,
                (Some(one), None) | (None, Some(one)) => Own::Less(Box::new(Self { own: Own::Same, ..one.clone() })),
                (Some(one), Some(other)) => {
                    let mut both = Self { own: Own::Same, ..one.clone() };
                    both.merge(Self { own: Own::Same, ..other.clone() });
                    Own::Less(Box::new(both))
                }
            };
            self.own = own;
        }
        self.qos = self.qos.max(other.qos);
        self.retain_as_published |= other.retain_as_published;
        self.identifiers.extend(other.identifiers);
    }
}

/// Who gets a message.
#[derive(Clone, Debug)]
pub struct Matches<S> {
    /// Subscribers of their own, ordered; each gets a copy.
    pub direct: Vec<Match<S>>,
    /// Groups; one member of each gets a copy.
    pub groups: Vec<SharedGroup<S>>,
    /// Nodes of the tree that were visited.
    pub visited: usize,
}

/// One match for each subscriber, ordered.
pub(crate) fn merged<S: Copy + Ord>(mut matches: Vec<Match<S>>) -> Vec<Match<S>> {
    matches.sort_by_key(|found| found.subscriber);
    let mut merged: Vec<Match<S>> = Vec::with_capacity(matches.len());
    for found in matches {
        match merged.last_mut() {
            Some(last) if last.subscriber == found.subscriber => last.merge(found),
            _ => merged.push(found),
        }
    }
    merged
}
