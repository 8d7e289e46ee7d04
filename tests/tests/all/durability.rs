//! What a broker promised survives its death: sessions, subscriptions, retained messages, and messages of QoS 1 and 2 for
//! clients that are away or in the middle of an exchange.
//!
//! `POCKET_CRASH_ROUNDS` sets how often the platform is killed in the middle of traffic; see `just crashes`.

use std::collections::BTreeMap;
use std::time::Duration;

use pocket_tests::{Launch, Platform, PostgresDatabase, StrictClient, binary};
use rumqttc::QoS;
use tokio::time::Instant;

const SILENCE: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that the publisher has under way at a time.
const WINDOW: usize = 200;

fn rounds() -> u64 {
    std::env::var("POCKET_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

/// A platform, a publisher and a subscriber of two devices; the subscriber has subscribed and left.
async fn prepared(launch: Launch) -> (Platform, StrictClient, StrictClient) {
    let platform = launch.start().await;
    let admin = platform.admin().await;
    let (id, token) = admin.register_device("publisher").await;
    let mut publisher = StrictClient::new("p", &id, &token);
    let (id, token) = admin.register_device("subscriber").await;
    let mut subscriber = StrictClient::new("s", &id, &token);
    assert!(!subscriber.connect(platform.mqtt()).await.unwrap());
    subscriber.subscribe("torture/#", QoS::ExactlyOnce).await.unwrap();
    subscriber.break_off();
    publisher.connect(platform.mqtt()).await.unwrap();
    (platform, publisher, subscriber)
}

/// Publishes numbers at QoS 1 and 2 in turn until the moment, with the window always full.
async fn publish_until(publisher: &mut StrictClient, numbers: &mut impl Iterator<Item = u64>, until: Instant) {
    while Instant::now() < until {
        while publisher.unacknowledged() < WINDOW {
            let number = numbers.next().unwrap();
            let qos = if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish(&format!("torture/{}", number % 7), qos, number.to_string()).await.unwrap();
        }
        publisher.take_one().await.unwrap();
    }
}

async fn finish(publisher: &mut StrictClient) {
    let until = Instant::now() + PATIENCE;
    while publisher.unacknowledged() > 0 {
        assert!(Instant::now() < until, "{} messages are never acknowledged", publisher.unacknowledged());
        publisher.take_one().await.unwrap();
    }
}

/// Takes until all that was acknowledged is there, and then what comes besides.
async fn take_all(publisher: &StrictClient, subscriber: &mut StrictClient) {
    let until = Instant::now() + PATIENCE;
    let is_missing = |subscriber: &StrictClient| {
        publisher.acknowledged.iter().any(|(_, payload)| !subscriber.received.contains_key(payload))
    };
    while is_missing(subscriber) && Instant::now() < until {
        subscriber.take_all(SILENCE).await.unwrap();
    }
    subscriber.take_all(SILENCE).await.unwrap();
}

/// All that was acknowledged arrived, at QoS 2 once.
fn check_received(publisher: &StrictClient, subscriber: &StrictClient) {
    for (qos, payload) in &publisher.acknowledged {
        match subscriber.received.get(payload) {
            None => panic!("{payload} was acknowledged at {qos:?} and never arrived"),
            Some((QoS::ExactlyOnce, count)) => assert_eq!(*count, 1, "{payload} arrived {count} times at QoS 2"),
            Some(_) => {}
        }
    }
}

/// All that was acknowledged is a row, at QoS 2 one row.
async fn check_rows(platform: &Platform, publisher: &StrictClient) {
    let mut rows: BTreeMap<String, u32> = BTreeMap::new();
    for row in platform.admin().await.telemetry("topic=torture/%23&limit=1000").await {
        *rows.entry(row["payload"].to_string()).or_default() += 1;
    }
    for (qos, payload) in &publisher.acknowledged {
        let count = rows.get(payload).copied().unwrap_or_default();
        let is_right = if *qos == QoS::ExactlyOnce { count == 1 } else { count >= 1 };
        assert!(is_right, "{payload}, acknowledged at {qos:?}, has {count} rows");
    }
}

/// Kills the platform in the middle of traffic, again and again. `is_there` tells whether the subscriber is connected
/// during a round.
async fn kill_in_the_middle(launch: Launch, is_there: impl Fn(u64) -> bool) {
    let (mut platform, mut publisher, mut subscriber) = prepared(launch).await;
    let mut numbers = 0..;
    for round in 0..rounds() {
        let until = Instant::now() + Duration::from_millis(200 + 137 * (round % 5));
        if is_there(round) {
            assert!(subscriber.connect(platform.mqtt()).await.unwrap());
            let (publishing, reading) = (publish_until(&mut publisher, &mut numbers, until), async {
                while Instant::now() < until {
                    let _ = tokio::time::timeout_at(until, subscriber.take_one()).await;
                }
            });
            tokio::join!(publishing, reading);
        } else {
            publish_until(&mut publisher, &mut numbers, until).await;
        }
        platform.kill().await;
        publisher.break_off();
        subscriber.break_off();
        platform.start_again().await;
        assert!(publisher.connect(platform.mqtt()).await.unwrap(), "the publisher's session is gone");
    }
    finish(&mut publisher).await;
    assert!(subscriber.connect(platform.mqtt()).await.unwrap(), "the subscriber's session is gone");
    take_all(&publisher, &mut subscriber).await;
    check_received(&publisher, &subscriber);
    check_rows(&platform, &publisher).await;
}

/// A subscriber that is away gets more than its queue holds by default.
fn roomy() -> Launch {
    Launch::default().set("mqtt.max_queued", "1000000").set("mqtt.max_queued_bytes", "1000000000")
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_platform_is_killed_while_the_subscriber_is_away() {
    kill_in_the_middle(roomy(), |_| false).await;
}

#[tokio::test]
async fn nothing_arrives_twice_at_qos_2_when_the_platform_is_killed_in_the_middle_of_deliveries() {
    kill_in_the_middle(roomy(), |_| true).await;
}

#[tokio::test]
async fn the_same_holds_on_postgresql() {
    let database = PostgresDatabase::create().await;
    kill_in_the_middle(roomy().set("database.url", &database.url()), |round| round.is_multiple_of(2)).await;
}

#[tokio::test]
async fn an_orderly_stop_keeps_sessions_and_what_is_in_flight() {
    let (mut platform, mut publisher, mut subscriber) = prepared(roomy()).await;
    for number in 0..50 {
        publisher.publish("torture/x", QoS::ExactlyOnce, number.to_string()).await.unwrap();
    }
    finish(&mut publisher).await;
    subscriber.connect(platform.mqtt()).await.unwrap();
    for _ in 0..60 {
        subscriber.take_one().await.unwrap();
    }
    assert!(platform.stop().await.success());
    platform.start_again().await;
    assert!(subscriber.connect(platform.mqtt()).await.unwrap());
    take_all(&publisher, &mut subscriber).await;
    assert_eq!(subscriber.received.len(), 50);
    check_received(&publisher, &subscriber);
}

#[tokio::test]
async fn retained_messages_survive_and_cleared_ones_do_not() {
    let platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let (id, token) = admin.register_device("boiler").await;
    let mut platform = platform;
    let options = |platform: &Platform, name: &str| {
        let mut options = rumqttc::MqttOptions::new(name, platform.mqtt().ip().to_string(), platform.mqtt().port());
        options.set_credentials(&id, &token);
        options
    };
    let (client, mut events) = rumqttc::AsyncClient::new(options(&platform, "p"), 10);
    for (topic, payload) in [("keep/1", "1"), ("keep/2", "2"), ("keep/1", "3"), ("keep/2", "")] {
        client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < 4 {
        let event = tokio::time::timeout(PATIENCE, events.poll()).await.expect("an acknowledgement comes").unwrap();
        acknowledged += u32::from(matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))));
    }
    platform.kill().await;
    platform.start_again().await;
    let (client, mut events) = rumqttc::AsyncClient::new(options(&platform, "s"), 10);
    client.subscribe("keep/#", QoS::AtLeastOnce).await.unwrap();
    let mut found = Vec::new();
    while let Ok(event) = tokio::time::timeout(SILENCE, events.poll()).await {
        if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) = event.unwrap() {
            found.push((publish.topic.clone(), publish.retain, publish.payload.clone()));
        }
    }
    assert_eq!(found, [("keep/1".to_owned(), true, "3".into())]);
}

#[tokio::test]
async fn two_brokers_of_one_name_do_not_share_a_database() {
    let database = PostgresDatabase::create().await;
    let key = "0123456789abcdef0123456789abcdef";
    let launch = || Launch::default().set("database.url", &database.url()).set("auth.token_key", key);
    let first = launch().start().await;
    let directory = tempfile::tempdir().unwrap();
    let url = format!("database.url={}", database.url());
    let mut second = tokio::process::Command::new(binary());
    second.args(["--mode", "broker", "--set", "mqtt.port=0", "--set", &url]).env_clear().env("POCKET_TOKEN_KEY", key);
    second.arg("--data-dir").arg(directory.path()).kill_on_drop(true);
    let refused = tokio::time::timeout(PATIENCE, second.output()).await.expect("it ends").unwrap();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("POCKET_NODE"), "{error}");
    let mut other = launch().set("node", "other").start().await;
    assert!(other.stop().await.success());
    drop(first);
}
