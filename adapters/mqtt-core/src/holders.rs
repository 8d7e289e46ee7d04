//! Who holds subscriptions with one filter.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::{GroupName, Match, Matches, Member, Own, SharedGroup, Subscription, SubscriptionOptions};

/// Who holds subscriptions with one filter.
#[derive(Debug)]
pub(crate) struct Holders<S> {
    direct: Sorted<S>,
    groups: Vec<Group<S>>,
}

#[derive(Debug)]
pub(crate) struct Group<S> {
    name: GroupName,
    pub(crate) holders: Sorted<S>,
    turn: Arc<AtomicUsize>,
}

impl<S> Default for Holders<S> {
    fn default() -> Self {
        Self { direct: Sorted(Vec::new()), groups: Vec::new() }
    }
}

impl<S: Copy + Ord> Holders<S> {
    pub(crate) fn insert(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        let holder =
            Holder { subscriber, options: subscription.options, identifier: subscription.identifier, is_away: false };
        let Some(name) = &subscription.group else { return self.direct.insert(holder) };
        if let Some(group) = self.group_mut(Some(name)) {
            return group.holders.insert(holder);
        }
        self.groups.push(Group { name: name.clone(), holders: Sorted(vec![holder]), turn: Arc::default() });
        true
    }

    pub(crate) fn remove(&mut self, subscriber: S, group: Option<&GroupName>) -> bool {
        if group.is_none() {
            return self.direct.remove(subscriber);
        }
        let removed = self.group_mut(group).is_some_and(|group| group.holders.remove(subscriber));
        self.groups.retain(|group| !group.holders.0.is_empty());
        removed
    }

    pub(crate) fn group_mut(&mut self, name: Option<&GroupName>) -> Option<&mut Group<S>> {
        self.groups.iter_mut().find(|group| Some(&group.name) == name)
    }

    pub(crate) fn collect(&self, matches: &mut Matches<S>) {
        matches.direct.extend(self.direct.0.iter().map(Holder::found));
        matches.groups.extend(self.groups.iter().map(Group::found));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.direct.0.is_empty() && self.groups.is_empty()
    }
}

impl<S: Copy> Group<S> {
    pub(crate) fn found(&self) -> SharedGroup<S> {
        let member = |holder: &Holder<S>| Member { found: holder.found(), is_away: holder.is_away };
        SharedGroup::new(self.name.clone(), self.holders.0.iter().map(member).collect(), Arc::clone(&self.turn))
    }
}

/// One subscriber's subscription.
#[derive(Debug)]
pub(crate) struct Holder<S> {
    subscriber: S,
    options: SubscriptionOptions,
    identifier: Option<NonZeroU32>,
    /// Of a group's member: it has no connection at the moment.
    pub(crate) is_away: bool,
}

impl<S: Copy> Holder<S> {
    fn found(&self) -> Match<S> {
        Match {
            subscriber: self.subscriber,
            qos: self.options.qos,
            own: if self.options.no_local { Own::Nothing } else { Own::Same },
            retain_as_published: self.options.retain_as_published,
            identifiers: self.identifier.into_iter().collect(),
        }
    }
}

/// Subscribers of one filter, ordered by id. New sessions have larger ids, so most insertions append.
#[derive(Debug)]
pub(crate) struct Sorted<S>(Vec<Holder<S>>);

impl<S: Copy + Ord> Sorted<S> {
    fn place(&self, subscriber: S) -> Result<usize, usize> {
        self.0.binary_search_by_key(&subscriber, |holder| holder.subscriber)
    }

    fn insert(&mut self, holder: Holder<S>) -> bool {
        match self.place(holder.subscriber) {
            // [MQTT-3.8.4-3] the same filter again replaces the subscription
            Ok(place) => {
                self.0[place] = holder;
                false
            }
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, holder);
                true
            }
        }
    }

    fn remove(&mut self, subscriber: S) -> bool {
        self.place(subscriber).map(|place| self.0.remove(place)).is_ok()
    }

    pub(crate) fn get_mut(&mut self, subscriber: S) -> Option<&mut Holder<S>> {
        self.place(subscriber).ok().and_then(|place| self.0.get_mut(place))
    }
}
