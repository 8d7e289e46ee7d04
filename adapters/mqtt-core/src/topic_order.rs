//! The order of topics in a map, and how a filter is looked up in that order.
//!
//! Topics are ordered level by level: `/` comes before every other character, so all topics below `a` follow `a` at once,
//! and `a b` comes after them. A filter either matches a topic, or tells the next place where one may match.

use std::cmp::Ordering;
use std::sync::Arc;

use pocket_domain::TopicName;

/// A topic, or a place between topics, in the order of levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicKey(Text);

/// A topic is shared with its message; a place has a text of its own.
#[derive(Clone, Debug)]
enum Text {
    Topic(TopicName),
    Place(Arc<str>),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Place(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl TopicKey {
    /// That of a topic.
    pub(crate) fn of(topic: &TopicName) -> Self {
        Self(Text::Topic(topic.clone()))
    }

    /// The first place where a topic may match a filter with these levels.
    pub(crate) fn first(levels: &[&str]) -> Self {
        let literal: Vec<&str> = levels.iter().copied().take_while(|level| !matches!(*level, "+" | "#")).collect();
        Self::place(literal.join("/"))
    }

    fn place(text: String) -> Self {
        Self(Text::Place(text.into()))
    }

    fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Ord for TopicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // U+0000 does not occur in a topic, so `/` can take its place in the order.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        let (one, other) = (self.as_str().as_bytes(), other.as_str().as_bytes());
        match one.iter().zip(other).find(|(a, b)| a != b) {
            Some((a, b)) => rank(*a).cmp(&rank(*b)),
            None => one.len().cmp(&other.len()),
        }
    }
}

impl PartialOrd for TopicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How a look-up goes on behind a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The topic matches; on to the next.
    Matches,
    /// It does not; on to the next.
    Next,
    /// It does not, and none before this place does.
    Seek(TopicKey),
    /// It does not, and none behind it does.
    End,
}

/// What a topic is to a filter with these levels.
pub(crate) fn step(levels: &[&str], key: &TopicKey) -> Step {
    let text = key.as_str();
    // Where the present level of the topic begins.
    let mut start = 0;
    for (place, wanted) in levels.iter().enumerate() {
        if start > text.len() {
            // The topic has fewer levels. `a/#` matches `a`.
            return if *wanted == "#" { Step::Matches } else { below(text, wanted) };
        }
        let end = text[start..].find('/').map_or(text.len(), |len| start + len);
        let level = &text[start..end];
        match *wanted {
            // [MQTT-4.7.2-1] wildcards at the first level do not match topics that begin with $
            "+" | "#" if place == 0 && level.starts_with('$') => return behind(level),
            "#" => return Step::Matches,
            "+" => {}
            wanted if wanted == level => {}
            wanted => {
                let parent = &text[..start];
                let sought = TopicKey::place(format!("{parent}{wanted}"));
                return if sought > *key { Step::Seek(sought) } else { behind_parent(parent) };
            }
        }
        start = end + 1;
    }
    if start > text.len() { Step::Matches } else { behind(&text[..start - 1]) }
}

/// To the topics below one that is too short for a filter which goes on with this level.
fn below(text: &str, wanted: &str) -> Step {
    if wanted == "+" { Step::Next } else { Step::Seek(TopicKey::place(format!("{text}/{wanted}"))) }
}

/// Behind a topic and all that are below it.
fn behind(text: &str) -> Step {
    Step::Seek(TopicKey::place(format!("{text}\u{1}")))
}

/// Behind all that begin with this text, which ends with a slash; at the first level there is nothing behind.
fn behind_parent(parent: &str) -> Step {
    parent.strip_suffix('/').map_or(Step::End, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> TopicKey {
        TopicKey::place(text.to_owned())
    }

    #[test]
    fn all_below_a_topic_follow_it_at_once() {
        let ordered = ["/", "a", "a/", "a//b", "a/b", "a/b/c", "a/b c", "a\u{1}", "a b", "a-b", "aa", "b"];
        for pair in ordered.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_filter_leaps_over_what_cannot_match() {
        let step = |filter: &str, topic: &str| step(&filter.split('/').collect::<Vec<_>>(), &key(topic));
        assert_eq!(step("a/+/c", "a/b/c"), Step::Matches);
        assert_eq!(step("a/+/c", "a/b/a/x"), Step::Seek(key("a/b/c")));
        assert_eq!(step("a/+/c", "a/b/d"), Step::Seek(key("a/b\u{1}")));
        assert_eq!(step("a/+/c", "a/b"), Step::Seek(key("a/b/c")));
        assert_eq!(step("a/+", "a/b/c"), Step::Seek(key("a/b\u{1}")));
        assert_eq!(step("a/+/+", "a/b"), Step::Next);
        assert_eq!(step("a/#", "a"), Step::Matches);
        assert_eq!(step("a/#", "b"), Step::End);
        assert_eq!(step("#", "$x/y"), Step::Seek(key("$x\u{1}")));
        assert_eq!(step("+/a", "$x/a"), Step::Seek(key("$x\u{1}")));
        assert_eq!(step("a/b", "a/c"), Step::Seek(key("a\u{1}")));
    }
}
