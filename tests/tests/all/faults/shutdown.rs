//! SIGTERM while messages come, with a database that takes them and with one that does not.

use std::time::Duration;

use pocket_tests::Launch;
use rumqttc::{AsyncClient, MqttOptions, QoS};
use tokio::time::Instant;

use super::{Locker, PATIENCE, Site};

/// The deadline of the platform under test.
const DEADLINE: Duration = Duration::from_secs(3);

fn launch() -> Launch {
    Launch::default().set("shutdown_timeout", &DEADLINE.as_secs().to_string())
}

#[tokio::test]
async fn a_stop_in_the_middle_of_traffic_stores_what_came_and_is_orderly() {
    let mut site = Site::start(launch()).await;
    for _ in 0..5 {
        site.publish().await;
    }
    assert!(site.platform.stop().await.success(), "{}", site.platform.log());
    // What was still on its way is acknowledged, or sent again to the next process.
    while site.mqtt.take_one().await.is_ok() {}
    site.start_again().await;
    site.goes_on().await;
    site.nothing_acknowledged_is_lost().await;
}

/// Messages of QoS 0, which nobody waits for.
async fn publish_at_qos_0(site: &Site, count: u64) {
    let (id, token) = site.admin.register_device("careless").await;
    let mut options = MqttOptions::new("c", site.platform.mqtt().ip().to_string(), site.platform.mqtt().port());
    options.set_credentials(id, token);
    let (client, mut events) = AsyncClient::new(options, 100);
    for number in 0..count {
        client.publish("careless", QoS::AtMostOnce, false, number.to_string()).await.unwrap();
    }
    client.disconnect().await.unwrap();
    while events.poll().await.is_ok() {}
}

#[tokio::test]
async fn a_stop_without_the_database_ends_in_time_and_tells_how_many_messages_are_not_stored() {
    let mut site = Site::start(launch().set("ingest.flush_ms", "60000").set("ingest.batch", "1000")).await;
    publish_at_qos_0(&site, 20).await;
    let locker = Locker::lock(&site.platform).await;
    let before = site.mqtt.acknowledged.len();
    site.publish().await;
    // A message of QoS 2 counts twice: it is noted in the session.
    let began = Instant::now();
    while site.figure("pocket_ingest_queued").await < 40 + 20 + 20 {
        assert!(began.elapsed() < PATIENCE, "the messages do not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    let status = site.platform.stop().await;
    // The rest is for a machine that has other things to do.
    assert!(began.elapsed() < 2 * DEADLINE + Duration::from_secs(4), "it took {:?}", began.elapsed());
    assert_eq!(status.code(), Some(1));
    let log = site.platform.log();
    assert!(log.contains("60 messages and ") && log.contains("could not be stored within 3 s"), "{log}");
    while site.mqtt.take_one().await.is_ok() {}
    assert_eq!(site.mqtt.acknowledged.len(), before, "something was acknowledged that is not stored");
    locker.let_go().await;
    site.start_again().await;
    site.goes_on().await;
    site.nothing_acknowledged_is_lost().await;
}
