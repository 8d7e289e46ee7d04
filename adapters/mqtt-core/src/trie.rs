//! The subscriptions of one tenant, ordered by the levels of their filters.
//!
//! A look-up walks the levels of the topic and at each level at most three branches: the level itself, `+` and `#`. Filters
//! that mix levels and `+` at many places can double the branches at each level, so every node knows its reach: the most
//! nodes that any one topic visits from there on. A subscription that would take the reach of the root beyond
//! [`Limits::match_nodes`](crate::Limits::match_nodes) is refused, so that no message costs more than that, however large the
//! tree is.

use crate::children::{Branch, Children};
use crate::holders::Holders;
use crate::{Matches, SharedGroup, Subscription};

/// A level of the tree.
#[derive(Debug)]
pub(crate) struct Trie<S> {
    levels: Children<Trie<S>>,
    any_level: Option<Box<Trie<S>>>,
    /// Filters that end here.
    here: Option<Box<Holders<S>>>,
    /// Filters that end here with `#`.
    below: Option<Box<Holders<S>>>,
    /// The most nodes that one topic visits from here on, this one among them.
    reach: u32,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// The subscriber had no subscription with this filter and group.
    pub(crate) is_new: bool,
    /// Nodes that were added to the tree.
    pub(crate) nodes: usize,
}

impl<S> Default for Trie<S> {
    fn default() -> Self {
        Self { levels: Children::default(), any_level: None, here: None, below: None, reach: 1 }
    }
}

impl<S> Branch for Trie<S> {
    fn reach(&self) -> u32 {
        self.reach
    }
}

impl<S: Copy + Ord> Trie<S> {
    /// Adds or replaces a subscription.
    pub(crate) fn insert(&mut self, subscriber: S, subscription: &Subscription) -> Inserted {
        let mut nodes = 0;
        let is_new = self.insert_below(Some(subscription.filter.as_str()), subscriber, subscription, &mut nodes);
        Inserted { is_new, nodes }
    }

    fn insert_below(
        &mut self,
        rest: Option<&str>,
        subscriber: S,
        subscription: &Subscription,
        nodes: &mut usize,
    ) -> bool {
        let Some(rest) = rest else { return self.here.get_or_insert_default().insert(subscriber, subscription) };
        let (level, rest) = split(rest);
        let is_new = match level {
            "#" => return self.below.get_or_insert_default().insert(subscriber, subscription),
            "+" => {
                *nodes += usize::from(self.any_level.is_none());
                let branch = self.any_level.get_or_insert_default();
                branch.insert_below(rest, subscriber, subscription, nodes)
            }
            level => self.levels.change(level, |branch| {
                *nodes += usize::from(branch.is_none());
                let branch = branch.get_or_insert_default();
                branch.insert_below(rest, subscriber, subscription, nodes)
            }),
        };
        self.measure();
        is_new
    }

    /// The most nodes that any one topic visits.
    pub(crate) fn reach(&self) -> u32 {
        self.reach
    }

    /// The most nodes that one topic would visit if there were a subscription with this filter.
    pub(crate) fn reach_with(&self, filter: &str) -> u32 {
        self.reach_below(Some(filter))
    }

    fn reach_below(&self, rest: Option<&str>) -> u32 {
        let Some(rest) = rest else { return self.reach };
        let (level, rest) = split(rest);
        let any = self.any_level.as_ref().map_or(0, |branch| branch.reach);
        match level {
            "#" => self.reach,
            "+" => {
                1 + self.any_level.as_ref().map_or_else(|| chain(rest), |b| b.reach_below(rest)) + self.levels.reach()
            }
            level => {
                let branch = self.levels.get(level).map_or_else(|| chain(rest), |branch| branch.reach_below(rest));
                1 + any + self.levels.reach().max(branch)
            }
        }
    }

    fn measure(&mut self) {
        self.reach = 1 + self.any_level.as_ref().map_or(0, |branch| branch.reach) + self.levels.reach();
    }

    /// Removes a subscription and the branches it leaves empty. Returns the nodes that are gone; `None` when there was no such
    /// subscription.
    pub(crate) fn remove(&mut self, subscriber: S, subscription: &Subscription) -> Option<usize> {
        let mut nodes = 0;
        let removed = self.change(Some(subscription.filter.as_str()), &mut nodes, &mut |holders| {
            holders.remove(subscriber, subscription.group.as_ref())
        });
        removed.then_some(nodes)
    }

    /// Notes whether a member of a group is connected; `false` when there is no such member.
    pub(crate) fn set_away(&mut self, subscriber: S, subscription: &Subscription, is_away: bool) -> bool {
        self.change(Some(subscription.filter.as_str()), &mut 0, &mut |holders| {
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
        self.change(Some(subscription.filter.as_str()), &mut 0, &mut |holders| {
            found = holders.group_mut(subscription.group.as_ref()).map(|group| group.found());
            found.is_some()
        });
        found
    }

    /// Changes the holders of one filter, and drops the branches that are left empty.
    fn change(
        &mut self,
        rest: Option<&str>,
        nodes: &mut usize,
        change: &mut dyn FnMut(&mut Holders<S>) -> bool,
    ) -> bool {
        let Some(rest) = rest else { return change_holders(&mut self.here, change) };
        let (level, rest) = split(rest);
        let changed = match level {
            "#" => return change_holders(&mut self.below, change),
            "+" => {
                let Some(branch) = &mut self.any_level else { return false };
                let changed = branch.change(rest, nodes, change);
                if branch.is_empty() {
                    self.any_level = None;
                    *nodes += 1;
                }
                changed
            }
            level => self.levels.change(level, |place| {
                let Some(branch) = place else { return false };
                let changed = branch.change(rest, nodes, change);
                if branch.is_empty() {
                    *place = None;
                    *nodes += 1;
                }
                changed
            }),
        };
        self.measure();
        changed
    }

    /// Appends one entry for each subscription that the topic matches, and counts the nodes that it takes.
    pub(crate) fn collect(&self, topic: &str, matches: &mut Matches<S>) {
        // [MQTT-4.7.2-1] wildcards at the first level do not match topics that begin with $
        self.collect_below(Some(topic), !topic.starts_with('$'), matches);
    }

    fn collect_below(&self, rest: Option<&str>, wildcards: bool, matches: &mut Matches<S>) {
        matches.visited += 1;
        if let Some(below) = &self.below
            && wildcards
        {
            // Also when nothing is left: `a/#` matches `a`.
            below.collect(matches);
        }
        let Some(rest) = rest else { return self.here.iter().for_each(|here| here.collect(matches)) };
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
        self.levels.get(level).is_some()
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any_level.is_none() && self.here.is_none() && self.below.is_none()
    }
}

/// Changes what is there, and drops it when it is left empty.
fn change_holders<S: Copy + Ord>(
    place: &mut Option<Box<Holders<S>>>,
    change: &mut dyn FnMut(&mut Holders<S>) -> bool,
) -> bool {
    let Some(holders) = place else { return false };
    let changed = change(holders);
    if holders.is_empty() {
        *place = None;
    }
    changed
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

/// The reach of a branch that has one filter alone.
fn chain(rest: Option<&str>) -> u32 {
    let levels = rest.map_or(0, |rest| rest.split('/').filter(|level| *level != "#").count());
    1 + u32::try_from(levels).unwrap_or(u32::MAX - 1)
}
