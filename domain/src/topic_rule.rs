//! Rules that give the values of topics keys and labels: `home/+room/+quantity` with the key `{quantity}` makes the key `temp` with
//! the label `room=kitchen` out of what is published at `home/kitchen/temp`.
//!
//! Nothing that is stored depends on rules: they are applied to what is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, LeafPath, TopicFilter};

/// The most rules of a tenant.
pub const MAX_TOPIC_RULES: usize = 100;

/// The most bytes of the name of a level.
const MAX_NAME: usize = 64;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    topic: String,
    key: String,
    filter: TopicFilter,
    /// The name of each level of the filter that has one.
    names: Vec<Option<String>>,
    parts: Vec<Part>,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The level of this number.
    Level(usize),
}

impl TopicRule {
    /// The most bytes of a key, as it is written and as it becomes.
    pub const MAX_KEY: usize = LeafPath::MAX_BYTES;

    /// Parses a rule: a topic filter whose `+` may be followed by a name, and a key in which `{name}` stands for that level.
    ///
    /// # Errors
    /// When the filter or a name is wrong, a name stands twice, or the key is empty, too long, or names no level.
    pub fn parse(topic: &str, key: &str) -> Result<Self, Invalid> {
        let (filter, names) = parse_topic(topic)?;
        let parts = parse_key(key, &names)?;
        Ok(Self { topic: topic.to_owned(), key: key.to_owned(), filter, names, parts })
    }

    /// Checks the topic of a rule.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse) that are about it.
    pub fn check_topic(topic: &str) -> Result<(), Invalid> {
        parse_topic(topic).map(drop)
    }

    /// The filter as it was written.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key as it was written.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the rule makes of a topic; nothing when the topic does not match, or its key would be empty or too long.
    fn name(&self, topic: &str) -> Option<TopicNaming> {
        if !self.filter.matches(topic) {
            return None;
        }
        let levels: Vec<&str> = topic.split('/').collect();
        let mut key = String::new();
        for part in &self.parts {
            key.push_str(match part {
                Part::Text(text) => text,
                Part::Level(at) => levels.get(*at)?,
            });
        }
        if !(1..=Self::MAX_KEY).contains(&key.len()) {
            return None;
        }
        let mut labels = BTreeMap::new();
        for (at, (name, level)) in self.names.iter().zip(levels).enumerate() {
            if let Some(name) = name.as_ref().filter(|_| !self.parts.contains(&Part::Level(at))) {
                labels.insert(name.clone(), level.to_owned());
            }
        }
        Some(TopicNaming { key, labels })
    }
}

fn parse_topic(topic: &str) -> Result<(TopicFilter, Vec<Option<String>>), Invalid> {
    let wrong = |message: String| Err(Invalid::new("topic", message));
    if topic.starts_with('$') {
        return wrong("must not begin with $: what is published there is not stored".to_owned());
    }
    let (mut plain, mut names) = (Vec::new(), Vec::new());
    for level in topic.split('/') {
        let Some(name) = level.strip_prefix('+').filter(|name| !name.is_empty()) else {
            plain.push(level);
            names.push(None);
            continue;
        };
        if name.len() > MAX_NAME || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return wrong(format!("the name behind + must be 1 to {MAX_NAME} letters, digits and _, as in home/+room"));
        }
        if names.iter().flatten().any(|other: &String| other == name) {
            return wrong(format!("the name {name} stands twice; each level needs its own"));
        }
        plain.push("+");
        names.push(Some(name.to_owned()));
    }
    Ok((TopicFilter::parse(&plain.join("/"))?, names))
}

fn parse_key(key: &str, names: &[Option<String>]) -> Result<Vec<Part>, Invalid> {
    let wrong = |message: String| Err(Invalid::new("key", message));
    if !(1..=TopicRule::MAX_KEY).contains(&key.len()) {
        return wrong(format!("must be 1 to {} bytes", TopicRule::MAX_KEY));
    }
    if key.chars().any(char::is_control) {
        return wrong("must not contain control characters".to_owned());
    }
    let mut parts = Vec::new();
    let mut rest = key;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, bracket) = rest.split_at(at);
        let Some((name, after)) = bracket.strip_prefix('{').and_then(|named| named.split_once('}')) else {
            return wrong("has { without }, or } without {; {name} stands for a level".to_owned());
        };
        let Some(level) = names.iter().position(|known| known.as_deref() == Some(name)) else {
            let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
            let known = if known.is_empty() { "has none".to_owned() } else { format!("has {}", known.join(", ")) };
            return wrong(format!("{{{name}}} is no name of a level; the topic {known}"));
        };
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(Part::Level(level));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// How values of a topic are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNaming {
    /// The key of a payload that is no object, and what comes before the keys of an object.
    pub key: String,
    /// Levels of the topic that are not in the key, by their names.
    pub labels: BTreeMap<String, String>,
}

impl TopicNaming {
    /// The key of a value at this path of the payload.
    pub fn key_of(&self, path: &LeafPath) -> String {
        path.member().map_or_else(|| self.key.clone(), |member| format!("{}.{member}", self.key))
    }

    /// The path of the payload whose value has this key.
    pub fn path_of(&self, key: &LeafPath) -> Option<LeafPath> {
        // Keys that are asked for have no `values.` before them.
        let own = LeafPath::unwrapped(&self.key).unwrap_or(&self.key);
        match key.as_str().strip_prefix(own)? {
            "" => Some(LeafPath::of_leaf(LeafPath::ROOT)),
            rest => rest.strip_prefix('.').map(LeafPath::of_member),
        }
    }
}

/// The rules of a tenant in order: the first that makes a name of a topic counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRules(Vec<TopicRule>);

/// A rule as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    topic: String,
    key: String,
}

impl TopicRules {
    /// Takes the rules of a tenant.
    ///
    /// # Errors
    /// When there are more than [`MAX_TOPIC_RULES`].
    pub fn new(rules: Vec<TopicRule>) -> Result<Self, Invalid> {
        if rules.len() > MAX_TOPIC_RULES {
            return Err(Invalid::new("rules", format!("must be at most {MAX_TOPIC_RULES}, not {}", rules.len())));
        }
        Ok(Self(rules))
    }

    /// The rules in order.
    pub fn as_slice(&self) -> &[TopicRule] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the first rule that makes a name of a topic makes of it, and its place.
    pub fn name(&self, topic: &str) -> Option<(usize, TopicNaming)> {
        self.0.iter().enumerate().find_map(|(place, rule)| Some((place, rule.name(topic)?)))
    }

    /// Where the values that `key` asks for are in payloads of a topic: at the path to which the rules give this key, or else at the
    /// key itself. So one topic has one path for a key, and a topic that no rule names has the key.
    pub fn path_in(&self, topic: &str, key: &LeafPath) -> LeafPath {
        self.name(topic).and_then(|(_, naming)| naming.path_of(key)).unwrap_or_else(|| key.clone())
    }

    /// The rules as text, to be stored.
    pub fn to_text(&self) -> String {
        let stored = |rule: &TopicRule| Stored { topic: rule.topic.clone(), key: rule.key.clone() };
        let stored: Vec<Stored> = self.0.iter().map(stored).collect();
        serde_json::to_string(&stored).expect("texts can be written as JSON")
    }

    /// Rules that were stored.
    ///
    /// # Errors
    /// When the text is not what [`to_text`](Self::to_text) makes.
    pub fn from_text(text: &str) -> Result<Self, Invalid> {
        let stored: Vec<Stored> =
            serde_json::from_str(text).map_err(|error| Invalid::new("rules", error.to_string()))?;
        let rules = stored.iter().map(|rule| TopicRule::parse(&rule.topic, &rule.key));
        Self::new(rules.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, &str)]) -> TopicRules {
        TopicRules::new(rules.iter().map(|(topic, key)| TopicRule::parse(topic, key).unwrap()).collect()).unwrap()
    }

    /// The place of the rule, the key and the labels that a topic gets.
    fn named(rules: &TopicRules, topic: &str) -> Option<(usize, String, String)> {
        let (place, naming) = rules.name(topic)?;
        let labels: Vec<String> = naming.labels.iter().map(|(name, level)| format!("{name}={level}")).collect();
        Some((place, naming.key, labels.join(",")))
    }

    fn told(place: usize, key: &str, labels: &str) -> Option<(usize, String, String)> {
        Some((place, key.to_owned(), labels.to_owned()))
    }

    #[test]
    fn levels_become_keys_and_labels() {
        let rules = rules(&[
            ("home/+room/+quantity", "{quantity}"),
            ("N/+portal/+service/+/#", "{service}.power of {portal}"),
            ("esphome/+/state", "state"),
            ("+a/+b/x", "{b}{a}"),
        ]);
        for (topic, expected) in [
            ("home/kitchen/temp", told(0, "temp", "room=kitchen")),
            ("home/küche/temp", told(0, "temp", "room=küche")),
            ("home//temp", told(0, "temp", "room=")),
            ("home/kitchen", None),
            ("home/kitchen/temp/raw", None),
            ("N/c06/battery/258", told(1, "battery.power of c06", "")),
            ("N/c06/battery/258/Soc/Max", told(1, "battery.power of c06", "")),
            ("esphome/door/state", told(2, "state", "")),
            ("1/2/x", told(3, "21", "")),
            ("$SYS/2/x", None),
        ] {
            assert_eq!(named(&rules, topic), expected, "{topic}");
        }
    }

    #[test]
    fn the_first_rule_that_makes_a_key_counts() {
        let rules = rules(&[("home/+q", "{q}"), ("home/#", "other"), ("home/a", "never")]);
        assert_eq!(named(&rules, "home/a"), told(0, "a", ""));
        assert_eq!(named(&rules, "home/"), told(1, "other", ""), "an empty key is none");
        assert_eq!(named(&rules, &format!("home/{}", "x".repeat(255))).unwrap().0, 0);
        assert_eq!(named(&rules, &format!("home/{}", "x".repeat(256))).unwrap().0, 1, "a key has its bound");
        assert_eq!(named(&rules, "home"), told(1, "other", ""));
    }

    #[test]
    fn keys_of_objects_follow_the_key_of_the_topic() {
        let (_, naming) = rules(&[("+room", "room")]).name("kitchen").unwrap();
        for (path, key) in [("$", "room"), ("temp", "room.temp"), ("a.b", "room.a.b"), ("$.$", "room.$")] {
            assert_eq!(naming.key_of(&LeafPath::of_leaf(path)), key);
        }
    }

    #[test]
    fn a_key_that_is_asked_for_has_one_path_in_each_topic() {
        let rules = rules(&[("home/+room/+q", "{q}"), ("z/+", "climate"), ("v/+q", "values.{q}"), ("d", "$")]);
        for (topic, key, path) in [
            ("home/kitchen/temp", "temp", "$"),
            ("home/kitchen/temp", "temp.a.b", "a.b"),
            ("home/kitchen/temp", "temp.$", "$.$"),
            ("home/kitchen/temp", "temp.", ""),
            ("home/kitchen/temp", "temperature", "temperature"),
            ("home/kitchen/temp", "$", "$"),
            ("home/kitchen/hum", "temp", "temp"),
            ("z/attic", "climate.temp", "temp"),
            ("z/attic", "temp", "temp"),
            ("v/temp", "values.temp", "$"),
            ("v/temp", "temp", "$"),
            ("d", "$.temp", "temp"),
            ("boiler", "temp", "temp"),
        ] {
            let found = rules.path_in(topic, &LeafPath::parse(key).unwrap());
            assert_eq!(found.as_str(), path, "{topic} {key}");
        }
        let (_, naming) = rules.name("z/attic").unwrap();
        for path in ["$", "$.$", "temp", "a.b", "", "."] {
            let path = LeafPath::of_leaf(path);
            let key = LeafPath::of_leaf(&naming.key_of(&path));
            assert_eq!(naming.path_of(&key), Some(path));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = "k".repeat(256);
        let long_name = format!("+{}", "n".repeat(65));
        for (topic, key, field, words) in [
            ("", "k", "topic", "1 to 1024 bytes"),
            ("a/#/b", "k", "topic", "# must be the whole last level"),
            ("a/b#", "k", "topic", "# must be the whole last level"),
            ("a+b", "k", "topic", "+ must be a whole level"),
            ("a/+b-c", "k", "topic", "letters, digits and _"),
            ("a/+küche", "k", "topic", "letters, digits and _"),
            ("a/++", "k", "topic", "letters, digits and _"),
            (&long_name, "k", "topic", "1 to 64 letters"),
            ("+a/+a", "{a}", "topic", "a stands twice"),
            ("$SYS/#", "k", "topic", "must not begin with $"),
            ("a\0b", "k", "topic", "U+0000"),
            ("+a", "", "key", "1 to 255 bytes"),
            ("+a", &long, "key", "1 to 255 bytes"),
            ("+a", "a\nb", "key", "control characters"),
            ("+a/+b", "{c}", "key", "{c} is no name of a level; the topic has a, b"),
            ("a/+", "{c}", "key", "the topic has none"),
            ("+a", "{}", "key", "{} is no name of a level"),
            ("+a", "{a", "key", "{ without }"),
            ("+a", "a}", "key", "} without {"),
        ] {
            let refused = TopicRule::parse(topic, key).unwrap_err();
            assert!(refused.field == field && refused.message.contains(words), "{topic} {key}: {refused}");
        }
        let many = vec![TopicRule::parse("a", "b").unwrap(); MAX_TOPIC_RULES + 1];
        assert!(TopicRules::new(many).unwrap_err().message.contains("at most 100"));
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let rules = rules(&[("home/+room/+q/#", "{q}"), ("a\"b", "c\\d")]);
        assert_eq!(TopicRules::from_text(&rules.to_text()), Ok(rules));
        for wrong in ["", "{}", r#"[{"topic":"a"}]"#, r##"[{"topic":"#/a","key":"b"}]"##] {
            assert!(TopicRules::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
