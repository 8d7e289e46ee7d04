use proptest::prelude::*;

use super::*;
use crate::MAX_TOPIC_BYTES;

const NOBODY: Subject<'static> = Subject { device: Some("d1"), client: Some("c1") };

fn device() -> DeviceId {
    DeviceId::new(Timestamp::MIN, [3; 10])
}

fn rule(effect: Effect, action: TopicAction, topic: &str) -> AccessRule {
    AccessRule {
        id: AccessRuleId::new(Timestamp::MIN, [1; 10]),
        tenant_id: TenantId::new(Timestamp::MIN, [2; 10]),
        device_id: None,
        effect,
        action,
        topic: TopicPattern::parse(topic).unwrap(),
        created_at: Timestamp::MIN,
    }
}

fn rules(tenant: &[(Effect, &str)], own: &[(Effect, &str)]) -> AccessRules {
    let all = |rules: &[(Effect, &str)]| {
        rules.iter().map(|(effect, topic)| rule(*effect, TopicAction::Publish, topic)).collect::<Vec<_>>()
    };
    AccessRules::new(Principal::Device(device()), all(tenant).into(), all(own))
}

fn publish(rules: &AccessRules, topic: &str) -> bool {
    rules.on_topic(TopicAction::Publish, topic, Some("pump")).is_allowed()
}

fn covers(pattern: &str, wanted: &str) -> bool {
    TopicPattern::parse(pattern).unwrap().covers(NOBODY, wanted)
}

#[test]
fn without_rules_everything_is_allowed() {
    assert_eq!(rules(&[], &[]).on_topic(TopicAction::Publish, "a", None), Verdict::Unruled);
}

#[test]
fn a_deny_rule_wins_wherever_it_stands() {
    for (tenant, own) in [
        (&[(Effect::Deny, "a/#")][..], &[(Effect::Allow, "a/b")][..]),
        (&[(Effect::Allow, "a/b")], &[(Effect::Deny, "a/#")]),
        (&[(Effect::Allow, "a/b"), (Effect::Deny, "a/+")], &[]),
    ] {
        assert!(!publish(&rules(tenant, own), "a/b"));
    }
    assert!(publish(&rules(&[(Effect::Deny, "a/#")], &[]), "b"));
}

#[test]
fn allow_rules_are_the_whole_list_for_their_action() {
    let rules = rules(&[(Effect::Allow, "a/#")], &[(Effect::Allow, "b")]);
    assert!(publish(&rules, "a/x") && publish(&rules, "b") && !publish(&rules, "c"));
    assert_eq!(rules.on_topic(TopicAction::Publish, "c", None), Verdict::NotListed);
    assert_eq!(rules.on_topic(TopicAction::Subscribe, "c", None), Verdict::Unruled);
}

#[test]
fn the_rule_that_decided_is_told() {
    let rules = rules(&[(Effect::Allow, "a/#")], &[(Effect::Deny, "a/b")]);
    let decided = |topic| match rules.on_topic(TopicAction::Publish, topic, None) {
        Verdict::AllowedBy(rule) | Verdict::DeniedBy(rule) => rule.topic.as_str(),
        _ => "",
    };
    assert_eq!((decided("a/b"), decided("a/c"), decided("z")), ("a/b", "a/#", ""));
}

#[test]
fn a_device_is_held_to_its_own_id() {
    let rules = rules(&[(Effect::Allow, "devices/%d/#"), (Effect::Allow, "clients/%c")], &[]);
    assert!(publish(&rules, &format!("devices/{}/up", device())));
    assert!(publish(&rules, "clients/pump"));
    assert!(!publish(&rules, "devices/other/up") && !publish(&rules, "clients/other"));
    assert!(!publish(&rules, "devices/%d/up") && !publish(&rules, "clients/%c"));
}

#[test]
fn an_id_with_wildcards_in_it_gives_nothing() {
    let mine = vec![rule(Effect::Allow, TopicAction::Subscribe, "clients/%c")];
    let rules = AccessRules::new(Principal::Device(device()), mine.into(), vec![]);
    for id in ["+", "#", "a/b"] {
        let filter = TopicFilter::parse(&format!("clients/{id}")).unwrap();
        assert_eq!(rules.on_filter(&filter, Some(id)), Verdict::NotListed, "{id}");
    }
    assert!(!rules.on_filter(&TopicFilter::parse("clients/a").unwrap(), None).is_allowed());
}

#[test]
fn a_subscription_is_judged_by_its_whole_filter() {
    for (pattern, filter, is_covered) in [
        ("a/#", "a/#", true),
        ("a/#", "a", true),
        ("a/#", "a/+/b", true),
        ("a/+", "a/#", false),
        ("a/b", "a/+", false),
        ("a/b", "#", false),
        ("+/#", "#", true),
        ("#", "+/#", true),
        ("+", "#", false),
        ("a/+", "a/+", true),
        ("#", "$x/a", false),
    ] {
        assert_eq!(covers(pattern, filter), is_covered, "{pattern} {filter}");
    }
}

#[test]
fn a_pattern_is_a_filter_with_placeholders_as_whole_levels() {
    let longest = "a".repeat(MAX_TOPIC_BYTES);
    for right in ["#", "%d", "a/%c/+/#", "100%", "a/%x", &longest] {
        assert_eq!(TopicPattern::parse(right).unwrap().as_str(), right);
    }
    let too_long = "a".repeat(MAX_TOPIC_BYTES + 1);
    for wrong in ["", "a#", "$SYS/#", "dev-%d", "a/%c1", "%d%c", &too_long] {
        assert_eq!(TopicPattern::parse(wrong).unwrap_err().field, "topic", "{wrong}");
    }
}

#[test]
fn words_are_read_back() {
    for effect in [Effect::Allow, Effect::Deny] {
        assert_eq!(effect.as_str().parse(), Ok(effect));
    }
    for action in [TopicAction::Publish, TopicAction::Subscribe] {
        assert_eq!(action.as_str().parse(), Ok(action));
    }
    assert!("Allow".parse::<Effect>().is_err() && "read".parse::<TopicAction>().is_err());
}

/// Every topic of up to four levels of a few names, among them one that no filter has.
fn topics() -> Vec<String> {
    let names = ["a", "b", "", "z", "$s"];
    let mut all: Vec<String> = names.map(str::to_owned).to_vec();
    for start in [0, 5, 30] {
        let longer: Vec<_> =
            all[start..].iter().flat_map(|topic| names.map(|name| format!("{topic}/{name}"))).collect();
        all.extend(longer);
    }
    all.retain(|topic| !topic.is_empty());
    all
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just("+"), Just("$s"), Just("")];
    (prop::collection::vec(level, 0..3), any::<bool>()).prop_filter_map("no filter", |(mut levels, open)| {
        if open {
            levels.push("#");
        }
        let text = levels.join("/");
        TopicFilter::parse(&text).is_ok().then_some(text)
    })
}

#[test]
fn no_topic_is_above_the_first_level() {
    assert!(covers("+/#", "#") && covers("#", "+/#"));
    assert!(covers("+/+/#", "/#") && covers("/+/#", "/#") && covers("/#", "/#"));
    assert!(!covers("+/+", "/#") && !covers("+", "#") && !covers("+/+/#", "+/#"));
}

proptest! {
    #[test]
    fn covering_means_matching_every_topic(pattern in filter(), wanted in filter()) {
        prop_assume!(!pattern.starts_with('$'));
        let (all, some) = (TopicFilter::parse(&pattern).unwrap(), TopicFilter::parse(&wanted).unwrap());
        let naive = topics().iter().all(|topic| !some.matches(topic) || all.matches(topic));
        prop_assert_eq!(covers(&pattern, &wanted), naive, "{} {}", pattern, wanted);
    }

    #[test]
    fn a_verdict_is_what_a_naive_reading_says(
        written in prop::collection::vec((any::<bool>(), filter()), 0..6),
        split in 0usize..6,
        topic in 0usize..155,
    ) {
        let topic = &topics()[topic];
        let written: Vec<_> = written.into_iter().filter(|(_, filter)| !filter.starts_with('$')).collect();
        let all: Vec<_> = written
            .iter()
            .map(|(deny, filter)| (if *deny { Effect::Deny } else { Effect::Allow }, filter.as_str()))
            .collect();
        let (tenant, own) = all.split_at(split.min(all.len()));
        let matching = |effect| {
            all.iter().any(|(kind, filter)| *kind == effect && TopicFilter::parse(filter).unwrap().matches(topic))
        };
        let has_list = all.iter().any(|(effect, _)| *effect == Effect::Allow);
        let naive = !matching(Effect::Deny) && (!has_list || matching(Effect::Allow));
        prop_assert_eq!(publish(&rules(tenant, own), topic), naive);
    }
}
