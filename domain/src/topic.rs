//! Topic names and topic filters of MQTT, chapter 4.7 of both specifications.
//!
//! Names and filters are 1 to 1,024 bytes of UTF-8 without U+0000. `$share/…` is a form of SUBSCRIBE, not of a filter,
//! and is taken apart by the broker.

use std::fmt;
use std::sync::Arc;

use crate::Invalid;

/// The most bytes of a topic name or filter.
pub const MAX_TOPIC_BYTES: usize = 1_024;

/// How the topics begin on which the broker tells of itself.
const SYSTEM_PREFIX: &str = "$SYS/";

/// Where a message is published: no wildcards. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Parses a topic name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a wildcard or U+0000.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        // [MQTT-3.3.2-2] the topic name of a PUBLISH has no wildcard characters
        if text.contains(['+', '#']) {
            return Err(Invalid::new("topic", "must not contain the wildcards + and #"));
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes; at least one, each may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether the broker tells of itself there: it begins with `$SYS/`.
    pub fn is_of_broker(&self) -> bool {
        self.0.starts_with(SYSTEM_PREFIX)
    }

    /// Whether another broker tells there how its bridge to this one stands, as Mosquitto does.
    pub fn is_of_a_bridge(&self) -> bool {
        self.0.starts_with("$SYS/broker/connection/")
    }

    /// Whether it begins with `$`: the broker's own topics, which are neither telemetry nor matched by `#` and `+/…`.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Which topics are meant: `+` stands for one level, `#` for the rest. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Parses a topic filter.
    ///
    /// # Errors
    /// When it is empty, too long, has U+0000, or a wildcard that is not a level of its own (`#`: the last level).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if !has_wildcards_in_place(text) {
            return Err(Invalid::new("topic", "+ must be a whole level, # must be the whole last level"));
        }
        Ok(Self(text.into()))
    }

    /// Whether a text is a filter by the standard, which has no bound for its length but that of any text.
    pub fn is_well_formed(text: &str) -> bool {
        !text.is_empty() && !text.contains('\0') && has_wildcards_in_place(text)
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it asks for what the broker tells of itself: it begins with `$SYS/`.
    pub fn is_of_broker(&self) -> bool {
        self.0.starts_with(SYSTEM_PREFIX)
    }

    /// Whether it has `+` or `#`; without, it means exactly the topic of the same text.
    pub fn has_wildcards(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// The text before the first wildcard. Every topic that matches begins with it, but for the last slash where the
    /// wildcard is `#` (`a/#` matches `a`), which is therefore left out.
    pub fn literal_prefix(&self) -> &str {
        let text: &str = &self.0;
        match text.find(['+', '#']) {
            None => text,
            Some(at) if text.as_bytes()[at] == b'#' => text[..at].strip_suffix('/').unwrap_or(&text[..at]),
            Some(at) => &text[..at],
        }
    }

    /// Whether a topic is meant by this filter.
    pub fn matches(&self, topic: &str) -> bool {
        Self::text_matches(&self.0, topic)
    }

    /// Whether a topic is meant by a filter that is only text: what stands behind a prefix may be empty, as no filter may.
    pub fn text_matches(filter: &str, topic: &str) -> bool {
        // [MQTT-4.7.2-1] a wildcard at the beginning does not match a topic that begins with $
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in filter.split('/') {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                (_, None) => return false,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn has_wildcards_in_place(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        // [MQTT-4.7.1-1] # is a level of its own and the last one
        let misplaced_hash = level.contains('#') && (level != "#" || levels.peek().is_some());
        // [MQTT-4.7.1-2] + is a level of its own
        let misplaced_plus = level.contains('+') && level != "+";
        if misplaced_hash || misplaced_plus {
            return false;
        }
    }
    true
}

fn check_text(text: &str) -> Result<(), Invalid> {
    // [MQTT-4.7.3-1] at least one character
    if !(1..=MAX_TOPIC_BYTES).contains(&text.len()) {
        return Err(Invalid::new("topic", format!("must be 1 to {MAX_TOPIC_BYTES} bytes")));
    }
    // [MQTT-4.7.3-2] no null character
    if text.contains('\0') {
        return Err(Invalid::new("topic", "must not contain U+0000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn the_examples_of_the_specification_hold() {
        for topic in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"] {
            assert!(matches("sport/tennis/player1/#", topic));
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("#", "anything/at/all"));
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance") && matches("/+", "/finance") && !matches("+", "/finance"));
        assert!(!matches("#", "$SYS/broker") && !matches("+/broker", "$SYS/broker"));
        assert!(matches("$SYS/#", "$SYS/broker") && matches("$SYS/+", "$SYS/broker"));
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for wrong in ["", "a#", "a/b#", "#/a", "a/#/b", "a+", "+a/b", "a/b+/c", "a\0b"] {
            assert!(TopicFilter::parse(wrong).is_err(), "{wrong:?}");
            assert!(!TopicFilter::is_well_formed(wrong), "{wrong:?}");
        }
        for wrong in ["", "a/+", "#", "a\0b"] {
            assert!(TopicName::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn length_has_two_bounds() {
        assert!(TopicName::parse(&"a".repeat(MAX_TOPIC_BYTES)).is_ok());
        assert!(TopicName::parse(&"a".repeat(MAX_TOPIC_BYTES + 1)).is_err());
        assert!(TopicFilter::parse(&"a".repeat(MAX_TOPIC_BYTES + 1)).is_err());
        assert!(TopicFilter::is_well_formed(&"a".repeat(MAX_TOPIC_BYTES + 1)));
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof!["[abc]{0,2}", Just("$x".to_owned())]
    }

    proptest! {
        #[test]
        fn a_topic_matches_itself_and_its_parents(levels in prop::collection::vec(level(), 1..5), keep in 0usize..5) {
            let topic = levels.join("/");
            prop_assume!(!topic.is_empty());
            prop_assert!(matches(&topic, &topic));
            let kept = &levels[..keep.min(levels.len())];
            let filter = kept.iter().map(String::as_str).chain(["#"]).collect::<Vec<_>>().join("/");
            prop_assert_eq!(matches(&filter, &topic), keep > 0 || !topic.starts_with('$'));
        }

        #[test]
        fn what_matches_begins_with_the_literal_prefix(filter in "[ab+#/]{1,8}", topic in "[ab/]{1,8}") {
            if let Ok(filter) = TopicFilter::parse(&filter)
                && filter.matches(&topic)
            {
                prop_assert!(topic.starts_with(filter.literal_prefix()), "{} {}", filter, topic);
            }
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = (TopicName::parse(&text), TopicFilter::parse(&text).map(|filter| filter.matches(&text)));
        }
    }
}
