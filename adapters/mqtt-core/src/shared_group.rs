//! Subscriptions that several clients share: each message goes to one of them, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{GroupName, Match};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<S> {
    /// The member as a match of the message.
    pub found: Match<S>,
    /// It has no connection at the moment.
    pub is_away: bool,
}

/// The members of a group that a message matches.
#[derive(Clone, Debug)]
pub struct SharedGroup<S> {
    /// The group.
    pub name: GroupName,
    /// Its members, at least one, ordered by subscriber.
    pub members: Vec<Member<S>>,
    /// Whose turn it is; shared by all results of the same group.
    turn: Arc<AtomicUsize>,
}

impl<S> SharedGroup<S> {
    pub(crate) fn new(name: GroupName, members: Vec<Member<S>>, turn: Arc<AtomicUsize>) -> Self {
        Self { name, members, turn }
    }

    /// The member that gets the next message: the next in turn that is connected; when none is, the next in turn.
    pub fn choose(&self) -> Option<&Match<S>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let present = self.members.iter().filter(|member| !member.is_away).count();
        let members = self.members.iter().filter(|member| present == 0 || !member.is_away);
        let count = if present == 0 { self.members.len() } else { present };
        members.map(|member| &member.found).nth(turn.checked_rem(count)?)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::TopicName;

    use crate::subscription::Target;
    use crate::{QoS, Subscription, SubscriptionOptions, TenantIndex};

    fn shared(text: &str) -> Subscription {
        let Target { filter, group } = Target::parse(text).unwrap();
        Subscription { filter, group, options: SubscriptionOptions::default(), identifier: None }
    }

    fn chosen(index: &TenantIndex<u32>, count: usize) -> Vec<u32> {
        let topic = TopicName::parse("t/x").unwrap();
        (0..count)
            .flat_map(|_| index.matches(&topic).1.groups)
            .map(|group| group.choose().unwrap().subscriber)
            .collect()
    }

    #[test]
    fn members_take_turns() {
        let index = TenantIndex::default();
        for subscriber in [1, 2, 3] {
            assert!(index.subscribe(subscriber, &shared("$share/g/t/+")));
        }
        assert_eq!(chosen(&index, 6), [1, 2, 3, 1, 2, 3]);
        assert!(index.unsubscribe(2, &shared("$share/g/t/+")));
        assert!(!index.unsubscribe(2, &shared("$share/g/t/+")));
        let mut two = chosen(&index, 2);
        two.sort_unstable();
        assert_eq!(two, [1, 3]);
        assert_eq!(index.count(), 2);
    }

    #[test]
    fn every_group_gets_its_own_copy_beside_direct_subscribers() {
        let index = TenantIndex::default();
        for (subscriber, filter) in [(1, "$share/g/t/#"), (1, "$share/h/t/#"), (1, "t/x"), (1, "$share/g/t/+")] {
            index.subscribe(subscriber, &shared(filter));
        }
        assert_eq!(chosen(&index, 1), [1, 1, 1]);
        let topic = TopicName::parse("t/x").unwrap();
        let direct = index.matches(&topic).1.direct;
        assert_eq!(direct.len(), 1);
        assert_eq!(direct[0].qos, QoS::AtMostOnce);
        for filter in ["$share/g/t/#", "$share/h/t/#", "t/x", "$share/g/t/+"] {
            assert!(index.unsubscribe(1, &shared(filter)));
        }
        assert_eq!(index.count(), 0);
    }

    #[test]
    fn a_member_that_is_away_gets_messages_only_when_all_are() {
        let index = TenantIndex::default();
        for subscriber in [1, 2] {
            index.subscribe(subscriber, &shared("$share/g/t/+"));
        }
        index.set_away(1, &shared("$share/g/t/+"), true);
        assert_eq!(chosen(&index, 3), [2, 2, 2]);
        index.set_away(2, &shared("$share/g/t/+"), true);
        let mut both = chosen(&index, 2);
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        index.hand_over(1, 3, [shared("$share/g/t/+")].iter());
        assert_eq!(chosen(&index, 2), [3, 3]);
    }
}
