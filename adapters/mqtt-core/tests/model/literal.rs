//! Topic names and filters by the letter of chapter 4.7, without a thought for speed.
//!
//! Used by the model and, through its path, by the fuzz target `topics`: it may use nothing but the standard library.

/// The most bytes; a limit of this broker, the specifications allow 65,535.
const MAX_BYTES: usize = 1_024;

/// Whether a text is a topic name.
pub(crate) fn is_topic_name(text: &str) -> bool {
    is_topic(text) && text.chars().all(|character| character != '+' && character != '#')
}

/// Whether a text is a topic filter.
pub(crate) fn is_topic_filter(text: &str) -> bool {
    is_topic(text) && is_well_formed(text)
}

/// Whether a text is a topic filter, if it is not too long.
pub(crate) fn is_well_formed(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    !text.is_empty()
        && !text.contains('\0')
        && levels.iter().enumerate().all(|(place, level)| match *level {
            "+" => true,
            "#" => place == last,
            other => !other.contains('+') && !other.contains('#'),
        })
}

/// Whether a text is `$share/group/filter`, if the filter is not too long. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
pub(crate) fn shared(text: &str) -> Option<(&str, &str)> {
    let (group, filter) = text.strip_prefix("$share/")?.split_once('/')?;
    let is_group = !group.is_empty() && group.chars().all(|character| !['+', '#', '\0'].contains(&character));
    (is_group && is_well_formed(filter)).then_some((group, filter))
}

/// Whether a filter matches a topic name; both are right.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    if filter == ["#"] {
        // The level above too: `sport/#` matches `sport`.
        return true;
    }
    if filter.is_empty() || topic.is_empty() {
        return filter.is_empty() && topic.is_empty();
    }
    (filter[0] == "+" || filter[0] == topic[0]) && levels_match(&filter[1..], &topic[1..])
}

fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_BYTES && text.chars().all(|character| character != '\0')
}

#[test]
fn the_examples_of_the_specification_hold() {
    for (filter, topic, expected) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/x", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/x", true),
    ] {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
    }
}
