//! Which messages go to the other side, and under which topic.

use pocket_domain::TopicFilter;

use crate::config::{Direction, Rule};

impl Rule {
    /// Whether messages go out by it.
    fn is_out(&self) -> bool {
        self.direction != Direction::In
    }

    /// Whether messages come in by it.
    fn is_in(&self) -> bool {
        self.direction != Direction::Out
    }
}

/// What is subscribed to on this side.
pub(crate) fn local_filters(rules: &[Rule]) -> Vec<(String, u8)> {
    let wanted = rules.iter().filter(|rule| rule.is_out());
    wanted.map(|rule| (format!("{}{}", rule.local_prefix, rule.filter), rule.qos)).collect()
}

/// What is subscribed to on the other side.
pub(crate) fn remote_filters(rules: &[Rule]) -> Vec<(String, u8)> {
    let wanted = rules.iter().filter(|rule| rule.is_in());
    wanted.map(|rule| (format!("{}{}", rule.remote_prefix, rule.filter), rule.qos)).collect()
}

/// The topic on the other side of a message of this side, and its highest QoS.
pub(crate) fn outward(rules: &[Rule], topic: &str) -> Option<(String, u8)> {
    let rules = rules.iter().filter(|rule| rule.is_out());
    translate(rules, topic, |rule| (&rule.local_prefix, &rule.remote_prefix))
}

/// The topic on this side of a message of the other side, and its highest QoS.
pub(crate) fn inward(rules: &[Rule], topic: &str) -> Option<(String, u8)> {
    let rules = rules.iter().filter(|rule| rule.is_in());
    translate(rules, topic, |rule| (&rule.remote_prefix, &rule.local_prefix))
}

/// By the first rule that fits.
fn translate<'a>(
    mut rules: impl Iterator<Item = &'a Rule>,
    topic: &str,
    prefixes: impl Fn(&'a Rule) -> (&'a String, &'a String),
) -> Option<(String, u8)> {
    rules.find_map(|rule| {
        let (from, to) = prefixes(rule);
        let below = topic.strip_prefix(from.as_str())?;
        TopicFilter::text_matches(&rule.filter, below).then(|| (format!("{to}{below}"), rule.qos))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: &str, direction: Direction, local: &str, remote: &str) -> Rule {
        let (local_prefix, remote_prefix) = (local.to_owned(), remote.to_owned());
        Rule { filter: filter.to_owned(), direction, local_prefix, remote_prefix, qos: 1 }
    }

    #[test]
    fn prefixes_are_exchanged() {
        let rules = [
            rule("sensors/#", Direction::Out, "", "site-1/"),
            rule("#", Direction::In, "head-office/", "to/site-1/"),
            rule("shared/+/state", Direction::Both, "", ""),
        ];
        let of = |found: Option<(String, u8)>| found.map(|(topic, _)| topic);
        assert_eq!(of(outward(&rules, "sensors/a/b")).as_deref(), Some("site-1/sensors/a/b"));
        assert_eq!(of(outward(&rules, "shared/x/state")).as_deref(), Some("shared/x/state"));
        assert_eq!(of(outward(&rules, "head-office/a")), None);
        assert_eq!(of(inward(&rules, "to/site-1/cmd")).as_deref(), Some("head-office/cmd"));
        assert_eq!(of(inward(&rules, "site-1/sensors/a")), None);
        assert_eq!(local_filters(&rules).len(), 2);
        assert_eq!(remote_filters(&rules)[0].0, "to/site-1/#");
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, fits) in [
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("+/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("a//b", "a//b", true),
        ] {
            assert_eq!(TopicFilter::text_matches(filter, topic), fits, "{filter} {topic}");
        }
    }
}
