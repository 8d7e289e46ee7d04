//! The time of day jumps, by hours and back: nothing stalls, nothing is lost, and nobody is disconnected.

use std::time::Duration;

use pocket_tests::{Launch, Shim};
use rumqttc::{Event, Packet, QoS};
use tokio::time::Instant;

use super::{PATIENCE, Site};
use crate::mqtt::Device;

/// Longer than the keep-alive of a client that does nothing but its pings.
const JUMPS: [i64; 5] = [6 * 3_600, -6 * 3_600, 30, -26 * 3_600, 0];

#[tokio::test]
async fn a_clock_that_jumps_stalls_nothing_and_disconnects_nobody() {
    let shim = Shim::new();
    let launch = shim.under(Launch::default().set("ingest.flush_ms", "500"));
    let mut site = Site::start(launch).await;
    // A client that only pings, so that its connection is there as long as the broker's timers are right.
    let idle = Device::register(&site.admin, "idle").await;
    let mut options = idle.options(&site.platform, "idle");
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    client.subscribe("idle/#", QoS::AtMostOnce).await.unwrap();
    let (ended, mut is_ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut connects = 0;
        while let Ok(event) = events.poll().await {
            connects += u32::from(matches!(event, Event::Incoming(Packet::ConnAck(_))));
        }
        let _ = ended.send(connects);
    });
    for (round, jump) in JUMPS.into_iter().enumerate() {
        shim.set_clock(jump);
        // A person's log-in ends with the time in its token, so each round has its own.
        site.admin = site.platform.admin().await;
        let began = Instant::now();
        site.goes_on().await;
        assert!(began.elapsed() < PATIENCE / 2, "round {round} took {:?}", began.elapsed());
        // Nobody waits for these: they are written when the flush interval is over, whatever the time of day is.
        client.publish(format!("idle/{round}"), QoS::AtMostOnce, false, round.to_string()).await.unwrap();
        let query = format!("topic=idle/{round}");
        while site.admin.telemetry(&query).await.is_empty() {
            assert!(began.elapsed() < PATIENCE, "a message of QoS 0 is never written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Two of its pings are due, and one and a half keep-alives are over, while the clock has not gone on at all.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(is_ended.try_recv().is_err(), "the client was disconnected");
    let shown = site.platform.admin().await.get(&format!("/api/v1/devices/{}", idle.id)).await.expect(200);
    assert_eq!(shown["online"], true);
    site.all_is_stored_once().await;
}
