//! Subscriptions of a tenant in great numbers, and what matching them costs others.

use std::time::{Duration, Instant};

use pocket_tests::wire::{RawClient, publish, subscribe};
use pocket_tests::{AckProbe, Launch, TwoTenants, many};

/// An acknowledgement of somebody else may take this long at most; a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_millis(1_500);
/// How long the end of the harm is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The reasons of SUBACK.
async fn subscribed(client: &mut RawClient, filters: &[&str]) -> Vec<u8> {
    client.send(&subscribe(5, 7, filters, 0)).await;
    let body = client.until(0x90).await;
    body[body.len() - filters.len()..].to_vec()
}

#[tokio::test]
async fn a_tenant_at_its_limit_of_subscriptions_is_told_and_leaves_another_its_own() {
    let launch = Launch::default().set("mqtt.max_tenant_subscriptions", "5").set("workers", "1");
    let TwoTenants { platform, root, a, b } = TwoTenants::start(launch).await;
    let mut one = RawClient::connect(platform.mqtt(), 5, "one", &a.device).await;
    let mut other = RawClient::connect(platform.mqtt(), 5, "other", &a.device).await;
    assert_eq!(subscribed(&mut one, &["+/1", "+/2", "+/3"]).await, [0, 0, 0]);
    assert_eq!(subscribed(&mut other, &["#", "+/+", "a/+/b"]).await, [0, 0, 0x97]);
    // One that is there already is changed, and takes no more.
    assert_eq!(subscribed(&mut one, &["+/1", "+/4"]).await, [0, 0x97]);
    let mut old = RawClient::connect(platform.mqtt(), 4, "old", &a.device).await;
    old.send(&subscribe(4, 7, &["x"], 0)).await;
    assert_eq!(old.until(0x90).await.last(), Some(&0x80));
    let refused = r#"pocket_mqtt_refused_of_tenant_total{limit="subscriptions"}"#;
    assert_eq!(root.metric(refused).await, Some(3.0));
    let mut stranger = RawClient::connect(platform.mqtt(), 5, "s", &b.device).await;
    assert_eq!(subscribed(&mut stranger, &["+/1", "#"]).await, [0, 0]);
    drop(one);
    let began = Instant::now();
    while subscribed(&mut other, &["a/+/b"]).await != [0] {
        assert!(began.elapsed() < PATIENCE, "what a session had is free when it ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Subscribes four clients of a device to filters, and lets another publish.
async fn harm(launch: Launch, filter: impl Fn(usize) -> String) {
    let TwoTenants { platform, a, b, root: _root } = TwoTenants::start(launch).await;
    let mut holders = Vec::new();
    for client in 0..4 {
        let mut holder = RawClient::connect(platform.mqtt(), 5, &format!("h{client}"), &a.device).await;
        let filters: Vec<String> = (0..900).map(|number| filter(client * 900 + number)).collect();
        for some in filters.chunks(100) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            subscribed(&mut holder, &some).await;
        }
        holders.push(holder);
    }
    let mut publisher = RawClient::connect(platform.mqtt(), 5, "p", &a.device).await;
    let harm = async {
        for number in 0..many(100) {
            // Another topic each time, so that nothing of the last look-up helps.
            let topic = format!("a/b/c/d/e/x{number}");
            publisher.send(&publish(5, 0x30, &topic, 0, &[], b"1")).await;
        }
        publisher.send(&publish(5, 0x32, "end", 1, &[], b"1")).await;
        tokio::time::timeout(PATIENCE, publisher.until(0x40)).await.expect("the publisher is served");
    };
    let (times, ()) = AckProbe::during(platform.mqtt(), &b.device, harm).await;
    times.none_took_longer_than(SOON);
}

#[tokio::test]
async fn filters_of_wildcards_alone_slow_no_other_tenant_latency() {
    // Each with a `+` at other levels, and all of them match.
    harm(Launch::default().set("workers", "1"), |number| {
        let level = |place: usize, name: &str| if number >> place & 1 == 0 { "+".to_owned() } else { name.to_owned() };
        let levels: Vec<String> =
            ["a", "b", "c", "d", "e"].iter().enumerate().map(|(at, name)| level(at, name)).collect();
        format!("{}/+", levels.join("/"))
    })
    .await;
}

#[tokio::test]
async fn thousands_of_shared_groups_on_one_filter_slow_no_other_tenant_latency() {
    harm(Launch::default().set("workers", "1"), |number| format!("$share/g{number}/#")).await;
}
