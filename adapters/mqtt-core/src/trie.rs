//! The subscriptions of one tenant, ordered by the levels of their filters.
//!
//! A look-up walks the levels of the topic and at each level at most three branches: the level itself, `+` and `#`. The
//! depth of the recursion is that of the tree, which [`Limits::filter_levels`](crate::Limits::filter_levels) bounds.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::{GroupName, Match, Matches, Member, Own, SharedGroup, Subscription, SubscriptionOptions};

/// A level of the tree.
#[derive(Debug)]
pub(crate) struct Trie<S> {
    levels: HashMap<Box<str>, Trie<S>>,
    any_level: Option<Box<Trie<S>>>,
    /// Filters that end here.
    here: Holders<S>,
    /// Filters that end here with `#`.
    below: Holders<S>,
}

impl<S> Default for Trie<S> {
    fn default() -> Self {
        Self { levels: HashMap::new(), any_level: None, here: Holders::default(), below: Holders::default() }
    }
}

impl<S: Copy + Ord> Trie<S> {
    /// Adds or replaces a subscription; `true` when the subscriber had none with this filter and group.
    pub(crate) fn insert(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        let mut node = self;
        for level in subscription.filter.levels() {
            node = match level {
                "#" => return node.below.insert(subscriber, subscription),
                "+" => node.any_level.get_or_insert_default(),
                level => {
                    // Two look-ups, so that the level is copied only when it is new.
                    if !node.levels.contains_key(level) {
                        node.levels.insert(level.into(), Self::default());
                    }
                    node.levels.get_mut(level).expect("the level was inserted when it was missing")
                }
            };
        }
        node.here.insert(subscriber, subscription)
    }

    /// Removes a subscription and the branches it leaves empty; `false` when there was none.
    pub(crate) fn remove(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        self.change(Some(subscription.filter.as_str()), &mut |holders| {
            holders.remove(subscriber, subscription.group.as_ref())
        })
    }

    /// Notes whether a member of a group is connected; `false` when there is no such member.
    pub(crate) fn set_away(&mut self, subscriber: S, subscription: &Subscription, is_away: bool) -> bool {
        self.change(Some(subscription.filter.as_str()), &mut |holders| {
            let group = holders.group_mut(subscription.group.as_ref());
            group.and_then(|group| group.holders.get_mut(subscriber)).is_some_and(|holder| {
                holder.is_away = is_away;
                true
            })
        })
    }

    /// The other members of a group that shares a subscription.
    pub(crate) fn group(&mut self, subscription: &Subscription) -> Option<SharedGroup<S>> {
        let mut found = None;
        self.change(Some(subscription.filter.as_str()), &mut |holders| {
            found = holders.group_mut(subscription.group.as_ref()).map(|group| group.found());
            found.is_some()
        });
        found
    }

    /// Changes the holders of one filter, and drops the branches that are left empty.
    fn change(&mut self, rest: Option<&str>, change: &mut dyn FnMut(&mut Holders<S>) -> bool) -> bool {
        let Some(rest) = rest else { return change(&mut self.here) };
        let (level, rest) = split(rest);
        match level {
            "#" => change(&mut self.below),
            "+" => {
                let Some(branch) = &mut self.any_level else { return false };
                let changed = branch.change(rest, change);
                if branch.is_empty() {
                    self.any_level = None;
                }
                changed
            }
            level => {
                let Some(branch) = self.levels.get_mut(level) else { return false };
                let changed = branch.change(rest, change);
                if branch.is_empty() {
                    self.levels.remove(level);
                }
                changed
            }
        }
    }

    /// Appends one entry for each subscription that the topic matches.
    pub(crate) fn collect(&self, topic: &str, matches: &mut Matches<S>) {
        // [MQTT-4.7.2-1] wildcards at the first level do not match topics that begin with $
        self.collect_below(Some(topic), !topic.starts_with('$'), matches);
    }

    fn collect_below(&self, rest: Option<&str>, wildcards: bool, matches: &mut Matches<S>) {
        if wildcards {
            // Also when nothing is left: `a/#` matches `a`.
            self.below.collect(matches);
        }
        let Some(rest) = rest else { return self.here.collect(matches) };
        let (level, rest) = split(rest);
        if let Some(branch) = &self.any_level
            && wildcards
        {
            branch.collect_below(rest, true, matches);
        }
        if let Some(branch) = self.levels.get(level) {
            branch.collect_below(rest, true, matches);
        }
    }

    /// Whether a filter begins with this level.
    pub(crate) fn has_level(&self, level: &str) -> bool {
        self.levels.contains_key(level)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any_level.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

/// Who holds subscriptions with one filter.
#[derive(Debug)]
struct Holders<S> {
    direct: Sorted<S>,
    groups: Vec<Group<S>>,
}

#[derive(Debug)]
struct Group<S> {
    name: GroupName,
    holders: Sorted<S>,
    turn: Arc<AtomicUsize>,
}

impl<S> Default for Holders<S> {
    fn default() -> Self {
        Self { direct: Sorted(Vec::new()), groups: Vec::new() }
    }
}

impl<S: Copy + Ord> Holders<S> {
    fn insert(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        let holder =
            Holder { subscriber, options: subscription.options, identifier: subscription.identifier, is_away: false };
        let Some(name) = &subscription.group else { return self.direct.insert(holder) };
        if let Some(group) = self.group_mut(Some(name)) {
            return group.holders.insert(holder);
        }
        self.groups.push(Group { name: name.clone(), holders: Sorted(vec![holder]), turn: Arc::default() });
        true
    }

    fn remove(&mut self, subscriber: S, group: Option<&GroupName>) -> bool {
        if group.is_none() {
            return self.direct.remove(subscriber);
        }
        let removed = self.group_mut(group).is_some_and(|group| group.holders.remove(subscriber));
        self.groups.retain(|group| !group.holders.0.is_empty());
        removed
    }

    fn group_mut(&mut self, name: Option<&GroupName>) -> Option<&mut Group<S>> {
        self.groups.iter_mut().find(|group| Some(&group.name) == name)
    }

    fn collect(&self, matches: &mut Matches<S>) {
        matches.direct.extend(self.direct.0.iter().map(Holder::found));
        matches.groups.extend(self.groups.iter().map(Group::found));
    }

    fn is_empty(&self) -> bool {
        self.direct.0.is_empty() && self.groups.is_empty()
    }
}

impl<S: Copy> Group<S> {
    fn found(&self) -> SharedGroup<S> {
        let member = |holder: &Holder<S>| Member { found: holder.found(), is_away: holder.is_away };
        SharedGroup::new(self.name.clone(), self.holders.0.iter().map(member).collect(), Arc::clone(&self.turn))
    }
}

/// One subscriber's subscription.
#[derive(Debug)]
struct Holder<S> {
    subscriber: S,
    options: SubscriptionOptions,
    identifier: Option<NonZeroU32>,
    /// Of a group's member: it has no connection at the moment.
    is_away: bool,
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
struct Sorted<S>(Vec<Holder<S>>);

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
                self.0.insert(place, holder);
                true
            }
        }
    }

    fn remove(&mut self, subscriber: S) -> bool {
        self.place(subscriber).map(|place| self.0.remove(place)).is_ok()
    }

    fn get_mut(&mut self, subscriber: S) -> Option<&mut Holder<S>> {
        self.place(subscriber).ok().and_then(|place| self.0.get_mut(place))
    }
}
