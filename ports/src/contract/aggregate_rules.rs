//! Cases of [`TelemetryStore::aggregate`](crate::TelemetryStore::aggregate) with keys that rules make of topics.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{Aggregate, AggregateQuery, GroupBy, NewTelemetry, TopicFilter, TopicRule, TopicRules};

use super::aggregate::{by_topic, keys, of, on};
use super::fixture::{device, tenant};
use super::reading::append;
use crate::Storage;

fn rules(rules: &[(&str, &str)]) -> TopicRules {
    TopicRules::new(rules.iter().map(|(topic, key)| TopicRule::parse(topic, key).unwrap()).collect()).unwrap()
}

/// Many messages of one device, so that older ones are kept in another form: 300 of each kind.
async fn home(storage: &Storage) -> (pocket_domain::TenantId, AggregateQuery) {
    let acme = tenant(storage, "acme").await;
    let gateway = device(storage, acme, "gateway").await;
    let message = |n: u64| -> NewTelemetry {
        let (topic, payload) = match n % 6 {
            0 => ("home/attic/temp", "15"),
            1 => ("home/kitchen/temp", "21"),
            2 => ("home/kitchen/hum", "60"),
            3 => ("zigbee/attic", r#"{"temp":9,"hum":70}"#),
            4 => ("home/kitchen/door", "true"),
            _ => ("boiler", "7"),
        };
        on(acme, gateway, n % 600, topic, payload)
    };
    append(storage, (0..1_800).map(message).collect()).await;
    let query = AggregateQuery { interval: "1h".parse().unwrap(), ..of(gateway, Aggregate::Avg) };
    (acme, query)
}

pub async fn keys_of_rules_stand_for_values_of_topics(storage: &Storage) {
    let (acme, query) = home(storage).await;
    let named = rules(&[("home/+room/+quantity", "{quantity}"), ("zigbee/+place", "climate")]);
    let ask = async |asked: &[&str], group_by, topic: Option<&str>, rules: &TopicRules| {
        let query = AggregateQuery {
            keys: keys(asked),
            group_by,
            topic: topic.map(|topic| TopicFilter::parse(topic).unwrap()),
            rules: rules.clone(),
            ..query.clone()
        };
        by_topic(storage, acme, &query).await
    };
    let together = async |asked: &[&str], rules| ask(asked, GroupBy::Device, None, rules).await;
    // What is stored under the key itself counts as well, and the number of topics says that they are several.
    assert_eq!(together(&["temp"], &named).await, ["- 3 temp 900x15"]);
    assert_eq!(
        together(&["hum", "climate.hum", "door"], &named).await,
        ["- 2 hum 600x65", "- 1 climate.hum 300x70", "- 1 door 300x1"]
    );
    let none = TopicRules::default();
    assert_eq!(together(&["temp"], &none).await, ["- 1 temp 300x9"]);
    // Keys as they are stored go on to be understood.
    assert_eq!(together(&["$", "temp.$"], &named).await[0], "- 5 $ 1500x20.8");
    let apart = ask(&["temp", "climate.temp"], GroupBy::Topic, None, &named).await;
    assert_eq!(
        apart,
        [
            "home/attic/temp 1 temp 300x15",
            "home/kitchen/temp 1 temp 300x21",
            "zigbee/attic 1 temp 300x9",
            "zigbee/attic 1 climate.temp 300x9"
        ]
    );
    let kitchen = Some("home/kitchen/#");
    assert_eq!(ask(&["temp", "hum"], GroupBy::Device, kitchen, &named).await, ["- 1 temp 300x21", "- 1 hum 300x60"]);
    assert_eq!(ask(&["temp"], GroupBy::Device, Some("home/#"), &named).await, ["- 2 temp 600x18"]);
    assert_eq!(ask(&["temp"], GroupBy::Topic, kitchen, &named).await, ["home/kitchen/temp 1 temp 300x21"]);
    assert_eq!(ask(&["temp"], GroupBy::Device, Some("none"), &named).await, ["- 0 temp "]);
}

pub async fn of_one_topic_a_key_of_rules_stands_for_one_path(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let room = device(storage, acme, "room").await;
    let text = |n: u64| match n % 3 {
        0 => "5".to_owned(),
        1 => r#"{"temp":1000}"#.to_owned(),
        _ => format!(r#"{{"ts":{n},"values":{{"t":{{"x":3}}}}}}"#),
    };
    append(storage, (0..1_500).map(|n| on(acme, room, n % 300, "room/climate", &text(n))).collect()).await;
    let query = AggregateQuery {
        keys: keys(&["temp", "temp.temp", "temp.t.x", "t.x", "none"]),
        interval: "1h".parse().unwrap(),
        rules: rules(&[("+room/climate", "temp")]),
        ..of(room, Aggregate::Sum)
    };
    assert_eq!(
        by_topic(storage, acme, &query).await,
        ["- 1 temp 500x2500", "- 1 temp.temp 500x500000", "- 1 temp.t.x 500x1500", "- 1 t.x 500x1500", "- 0 none "]
    );
    let plain = AggregateQuery { rules: TopicRules::default(), ..query };
    assert_eq!(by_topic(storage, acme, &plain).await[0], "- 1 temp 500x500000");
}
