//! Where messages go: to clients of this worker at once, to those of other workers by mail.

use std::sync::Arc;

use pocket_domain::TopicName;
use pocket_mqtt_core::{Match, QoS, SharedGroup, TenantIndex};

use crate::subscriber::SubscriberId;

/// Who gets the messages on one topic.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Clients of this worker.
    pub(crate) local: Box<[Match<SubscriberId>]>,
    /// Clients of other workers.
    pub(crate) remote: Box<[Remote]>,
    /// Stored sessions that want QoS 1 or 2, of any worker. They are not among the others.
    pub(crate) stored: Box<[Remote]>,
    /// Groups, of which one member gets each message, whichever worker it is on.
    pub(crate) groups: Box<[SharedGroup<SubscriberId>]>,
    /// How many receivers these are, all members of groups among them.
    pub(crate) count: usize,
    /// Nodes of the tree that were visited to find them.
    pub(crate) visited: usize,
}

/// Clients of one worker.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) worker: u16,
    pub(crate) matches: Arc<[Match<SubscriberId>]>,
}

impl Routes {
    /// Looks a topic up.
    pub(crate) fn find(index: &TenantIndex<SubscriberId>, topic: &TopicName, worker: u16) -> (u64, Self) {
        let (generation, matches) = index.matches(topic);
        let members = matches.groups.iter().map(|group| group.members.len());
        let count = matches.direct.len() + members.sum::<usize>();
        let (groups, visited) = (matches.groups.into(), matches.visited);
        (generation, Self { groups, count, visited, ..Self::split(matches.direct, worker) })
    }

    /// What it takes when it is remembered.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.count * 2 * size_of::<Match<SubscriberId>>()
    }

    fn split(matches: Vec<Match<SubscriberId>>, worker: u16) -> Self {
        if matches.is_empty() {
            return Self::default();
        }
        let (mut local, mut remote, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for found in matches {
            if found.subscriber.session.is_some() && found.qos > QoS::AtMostOnce {
                add(&mut stored, found);
            } else if found.subscriber.worker == worker {
                local.push(found);
            } else {
                add(&mut remote, found);
            }
        }
        let parts = |parts: Vec<(u16, Vec<_>)>| {
            parts.into_iter().map(|(worker, matches)| Remote { worker, matches: matches.into() }).collect()
        };
        Self { local: local.into(), remote: parts(remote), stored: parts(stored), ..Self::default() }
    }
}

/// Puts a match among those of its worker.
fn add(parts: &mut Vec<(u16, Vec<Match<SubscriberId>>)>, found: Match<SubscriberId>) {
    let home = found.subscriber.worker;
    match parts.iter_mut().find(|(number, _)| *number == home) {
        Some((_, others)) => others.push(found),
        None => parts.push((home, vec![found])),
    }
}

#[cfg(test)]
mod tests {
    use pocket_mqtt_core::{Own, StoreKey};

    use super::*;

    #[test]
    fn every_match_goes_to_its_own_worker() {
        let found = |serial, worker| Match {
            subscriber: SubscriberId { serial, slot: 0, worker, session: None },
            qos: QoS::AtLeastOnce,
            own: Own::Same,
            retain_as_published: false,
            identifiers: Vec::new(),
        };
        let routes = Routes::split(vec![found(1, 0), found(2, 1), found(3, 2), found(4, 1)], 0);
        let serials = |matches: &[Match<SubscriberId>]| matches.iter().map(|m| m.subscriber.serial).collect::<Vec<_>>();
        assert_eq!(serials(&routes.local), [1]);
        let remote: Vec<_> = routes.remote.iter().map(|remote| (remote.worker, serials(&remote.matches))).collect();
        assert_eq!(remote, [(1, vec![2, 4]), (2, vec![3])]);
        let kept = |serial, worker| {
            let other = found(serial, worker);
            Match { subscriber: SubscriberId { session: Some(StoreKey::MIN), ..other.subscriber }, ..other }
        };
        let plain = Match { qos: QoS::AtMostOnce, ..kept(7, 0) };
        let routes = Routes::split(vec![found(5, 0), kept(6, 0), plain, kept(8, 1)], 0);
        let stored: Vec<_> = routes.stored.iter().map(|part| (part.worker, serials(&part.matches))).collect();
        assert_eq!((serials(&routes.local), stored), (vec![5, 7], vec![(0, vec![6]), (1, vec![8])]));
    }
}
