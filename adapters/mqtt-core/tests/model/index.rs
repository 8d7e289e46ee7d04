//! The subscription index against a list of subscriptions that is read from the beginning for every message.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use pocket_domain::{TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{
    Match, Matches, Member, Own, QoS, RetainHandling, SharedGroup, Subscription, SubscriptionIndex,
    SubscriptionOptions, TenantIndex, TopicCache,
};

use crate::literal;
use crate::opening::subscription;
use crate::seed::{self, Random, Trace};

/// Steps of one seed.
const STEPS: usize = 400;
/// Levels of topics and filters; few, so that they meet.
const LEVELS: [&str; 5] = ["a", "b", "", "$x", "ab"];

/// One subscription.
struct Held {
    subscriber: u32,
    filter: String,
    subscription: Subscription,
    is_away: bool,
}

impl Held {
    fn group(&self) -> Option<&str> {
        self.subscription.group.as_ref().map(|group| group.as_str())
    }
}

/// Who gets a message, in an order that does not depend on how it was found.
#[derive(Clone, Debug, PartialEq)]
struct Receivers {
    direct: Vec<Match<u32>>,
    groups: Vec<(String, Vec<Member<u32>>)>,
}

impl Receivers {
    fn of(matches: Matches<u32>) -> Self {
        assert!(matches.direct.is_sorted_by(|a, b| a.subscriber < b.subscriber), "{matches:?}");
        let group = |group: &SharedGroup<u32>| (group.name.as_str().to_owned(), group.members.clone());
        Self { groups: matches.groups.iter().map(group).collect(), direct: matches.direct }.in_order()
    }

    fn in_order(mut self) -> Self {
        self.direct.sort_by_key(|found| found.subscriber);
        for found in &mut self.direct {
            found.identifiers.sort_unstable();
            if let Own::Less(less) = &mut found.own {
                less.identifiers.sort_unstable();
            }
        }
        for (_, members) in &mut self.groups {
            members.sort_by_key(|member| member.found.subscriber);
        }
        self.groups.sort_by_key(|group| format!("{group:?}"));
        self
    }
}

/// One tenant: the list, and the index as a connection of the tenant sees it.
#[derive(Default)]
struct Tenant {
    held: Vec<Held>,
    connection: Option<(Arc<TenantIndex<u32>>, TopicCache<Receivers>)>,
}

impl Tenant {
    fn place(&self, subscriber: u32, filter: &str) -> Option<usize> {
        self.held.iter().position(|held| held.subscriber == subscriber && held.filter == filter)
    }

    /// Who gets a message, by reading the list.
    fn receivers(&self, topic: &str) -> Receivers {
        let mut receivers = Receivers { direct: Vec::new(), groups: Vec::new() };
        let mut seen: Vec<&str> = Vec::new();
        let mut direct: BTreeMap<u32, Vec<&Held>> = BTreeMap::new();
        for held in &self.held {
            let plain = literal::shared(&held.filter).map_or(&*held.filter, |(_, filter)| filter);
            if !literal::matches(plain, topic) {
                continue;
            }
            let Some(group) = held.group() else {
                direct.entry(held.subscriber).or_default().push(held);
                continue;
            };
            // The same name with another filter is another group.
            if !seen.contains(&&*held.filter) {
                seen.push(&held.filter);
                let others = self.held.iter().filter(|other| other.filter == held.filter);
                let member = |other: &Held| Some(Member { found: found_by(&[other])?, is_away: other.is_away });
                receivers.groups.push((group.to_owned(), others.filter_map(member).collect()));
            }
        }
        receivers.direct = direct.values().filter_map(|held| found_by(held)).collect();
        receivers.in_order()
    }
}

/// [MQTT-3.3.4-2] one copy for all subscriptions of a subscriber that match.
fn merged(held: &[&Held]) -> Option<Match<u32>> {
    let first = held.first()?;
    let mut identifiers: Vec<_> = held.iter().filter_map(|held| held.subscription.identifier).collect();
    identifiers.sort_unstable();
    Some(Match {
        subscriber: first.subscriber,
        qos: held.iter().map(|held| held.subscription.options.qos).max()?,
        own: Own::Same,
        retain_as_published: held.iter().any(|held| held.subscription.options.retain_as_published),
        identifiers,
    })
}

/// [MQTT-3.8.3-3] of its own messages, a subscriber gets what its other subscriptions want.
fn found_by(held: &[&Held]) -> Option<Match<u32>> {
    let others: Vec<&Held> = held.iter().copied().filter(|held| !held.subscription.options.no_local).collect();
    let own = match merged(&others) {
        _ if others.len() == held.len() => Own::Same,
        None => Own::Nothing,
        Some(less) => Own::Less(Box::new(less)),
    };
    Some(Match { own, ..merged(held)? })
}

struct World<'a> {
    random: &'a mut Random,
    trace: &'a mut Trace,
    index: SubscriptionIndex<u32>,
    tenants: Vec<(TenantId, Tenant)>,
    next_subscriber: u32,
}

impl<'a> World<'a> {
    fn new(random: &'a mut Random, trace: &'a mut Trace) -> Self {
        let tenant = |number| (TenantId::new(Timestamp::MIN, [number; 10]), Tenant::default());
        let tenants = (1..=3).map(tenant).collect();
        Self { random, trace, index: SubscriptionIndex::default(), tenants, next_subscriber: 8 }
    }

    fn step(&mut self) {
        let which = self.random.below(self.tenants.len());
        match self.random.below(20) {
            0..6 => self.subscribe(which),
            6..8 => self.unsubscribe(which),
            8 => self.hand_over(which),
            9 => self.set_away(which),
            10 => self.end(which),
            11 => self.disconnect_all(which),
            12..14 => self.choose(which),
            _ => self.look_up(which),
        }
        let all: usize = self.tenants.iter().map(|(_, tenant)| tenant.held.len()).sum();
        assert_eq!(self.index.count(), all);
        let (id, tenant) = &self.tenants[which];
        assert_eq!(self.index.tenant(*id).count(), tenant.held.len());
    }

    fn levels(&mut self, wildcards: bool) -> String {
        let count = 1 + self.random.below(4);
        let mut levels: Vec<&str> = (0..count).map(|_| *self.random.one_of(&LEVELS)).collect();
        for level in &mut levels {
            if wildcards && self.random.one_in(4) {
                *level = "+";
            }
        }
        if wildcards && self.random.one_in(4) {
            levels.pop();
            levels.push("#");
        }
        levels.join("/")
    }

    /// A filter, or one that a group shares.
    fn filter(&mut self) -> String {
        let filter = loop {
            let filter = self.levels(true);
            if !filter.is_empty() {
                break filter;
            }
        };
        match self.random.below(6) {
            0 => format!("$share/g/{filter}"),
            1 => format!("$share/h/{filter}"),
            _ => filter,
        }
    }

    fn topic(&mut self) -> TopicName {
        loop {
            if let Ok(topic) = TopicName::parse(&self.levels(false)) {
                return topic;
            }
        }
    }

    fn subscriber(&mut self) -> u32 {
        let span = usize::try_from(self.next_subscriber).unwrap();
        u32::try_from(self.random.below(span)).unwrap()
    }

    fn subscribe(&mut self, which: usize) {
        let (filter, subscriber) = (self.filter(), self.subscriber());
        let options = SubscriptionOptions {
            qos: *self.random.one_of(&QoS::ALL),
            // [MQTT-3.8.3-4] a group and no-local do not mix
            no_local: !filter.starts_with("$share/") && self.random.one_in(3),
            retain_as_published: self.random.one_in(3),
            retain_handling: RetainHandling::AtSubscribe,
        };
        let identifier = NonZeroU32::new(u32::try_from(self.random.below(4)).unwrap());
        let subscription = subscription(&filter, options, identifier);
        self.trace.step(|| format!("{which}: {subscriber} subscribes to {filter} {options:?} {identifier:?}"));
        let (id, tenant) = &mut self.tenants[which];
        let is_new = self.index.tenant(*id).subscribe(subscriber, &subscription);
        let place = tenant.place(subscriber, &filter);
        assert_eq!(is_new, place.is_none());
        let held = Held { subscriber, filter, subscription, is_away: false };
        match place {
            // [MQTT-3.8.4-3]
            Some(place) => tenant.held[place] = held,
            None => tenant.held.push(held),
        }
    }

    fn unsubscribe(&mut self, which: usize) {
        let held: Vec<String> = self.tenants[which].1.held.iter().map(|held| held.filter.clone()).collect();
        let filter =
            if held.is_empty() || self.random.one_in(3) { self.filter() } else { self.random.one_of(&held).clone() };
        let subscriber = self.subscriber();
        self.trace.step(|| format!("{which}: {subscriber} unsubscribes from {filter}"));
        let (id, tenant) = &mut self.tenants[which];
        let subscription = subscription(&filter, SubscriptionOptions::default(), None);
        let removed = self.index.tenant(*id).unsubscribe(subscriber, &subscription);
        let place = tenant.place(subscriber, &filter);
        assert_eq!(removed, place.is_some());
        if let Some(place) = place {
            tenant.held.remove(place);
        }
    }

    /// A session goes on at another connection, which has a number of its own.
    fn hand_over(&mut self, which: usize) {
        let (from, to) = (self.subscriber(), self.next_subscriber);
        self.next_subscriber += 1;
        self.trace.step(|| format!("{which}: {from} goes on as {to}"));
        let (id, tenant) = &mut self.tenants[which];
        let handed = tenant.held.iter().filter(|held| held.subscriber == from).map(|held| &held.subscription);
        self.index.tenant(*id).hand_over(from, to, handed);
        for held in tenant.held.iter_mut().filter(|held| held.subscriber == from) {
            (held.subscriber, held.is_away) = (to, false);
        }
    }

    fn set_away(&mut self, which: usize) {
        let (subscriber, is_away) = (self.subscriber(), !self.random.one_in(3));
        self.trace.step(|| format!("{which}: {subscriber} is away: {is_away}"));
        let (id, tenant) = &mut self.tenants[which];
        let index = self.index.tenant(*id);
        for held in tenant.held.iter_mut().filter(|held| held.subscriber == subscriber) {
            index.set_away(subscriber, &held.subscription, is_away);
            // Only groups care.
            held.is_away = held.group().is_some() && is_away;
        }
    }

    /// A session ends.
    fn end(&mut self, which: usize) {
        let subscriber = self.subscriber();
        self.trace.step(|| format!("{which}: {subscriber} ends"));
        let (id, tenant) = &mut self.tenants[which];
        let index = self.index.tenant(*id);
        for held in tenant.held.extract_if(.., |held| held.subscriber == subscriber) {
            assert!(index.unsubscribe(subscriber, &held.subscription));
        }
    }

    /// All connections of a tenant go, and with them whatever holds on to its index.
    fn disconnect_all(&mut self, which: usize) {
        self.trace.step(|| format!("{which}: nobody is connected"));
        self.tenants[which].1.connection = None;
    }

    /// Members take turns, those that are away only when all are.
    fn choose(&mut self, which: usize) {
        let topic = self.topic();
        let (id, tenant) = &self.tenants[which];
        self.trace.step(|| format!("{which}: a message for groups on {topic}"));
        for group in self.index.tenant(*id).matches(&topic).1.groups {
            let is_away = |member: &&Member<u32>| member.is_away;
            let mut expected: Vec<u32> =
                group.members.iter().filter(|m| !is_away(m)).map(|m| m.found.subscriber).collect();
            if expected.is_empty() {
                expected = group.members.iter().map(|member| member.found.subscriber).collect();
            }
            let mut chosen: Vec<u32> = expected.iter().map(|_| group.choose().unwrap().subscriber).collect();
            chosen.sort_unstable();
            assert_eq!(chosen, expected, "{group:?}");
        }
        for held in tenant.held.iter().filter(|held| held.group().is_some()) {
            let group = self.index.tenant(*id).group(&held.subscription).expect("it has a member");
            let members = tenant.held.iter().filter(|other| other.filter == held.filter).count();
            assert_eq!(group.members.len(), members);
        }
    }

    fn look_up(&mut self, which: usize) {
        let topic = self.topic();
        let (id, tenant) = &mut self.tenants[which];
        let expected = tenant.receivers(topic.as_str());
        self.trace.step(|| format!("{which}: {topic} is for {expected:?}"));
        let (index, cache) = tenant.connection.get_or_insert_with(|| (self.index.tenant(*id), TopicCache::default()));
        // What is cached holds as long as its generation.
        if let Some((_, cached)) = cache.get(topic.as_str(), index.generation()) {
            assert_eq!(*cached, expected, "cached for {topic}");
        }
        let (generation, matches) = index.matches(&topic);
        let found = Receivers::of(matches);
        assert_eq!(found, expected, "{topic}");
        cache.put(topic, generation, found);
    }
}

fn run(random: &mut Random, trace: &mut Trace) {
    let mut world = World::new(random, trace);
    for _ in 0..STEPS {
        world.step();
    }
    for which in 0..world.tenants.len() {
        for subscriber in 0..world.next_subscriber {
            let (id, tenant) = &mut world.tenants[which];
            for held in tenant.held.extract_if(.., |held| held.subscriber == subscriber) {
                assert!(world.index.tenant(*id).unsubscribe(subscriber, &held.subscription));
            }
        }
    }
    assert_eq!(world.index.count(), 0);
}

#[test]
fn the_index_finds_whom_a_list_finds() {
    seed::run("index::the_index_finds_whom_a_list_finds", 200, run);
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    seed::run_twice(run);
}
