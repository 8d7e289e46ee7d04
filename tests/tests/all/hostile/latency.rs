//! Acknowledgements of one tenant while another does its worst.

use std::time::{Duration, Instant};

use pocket_tests::wire::{RawClient, publish, subscribe};
use pocket_tests::{AckProbe, Attacker, Launch, TwoTenants, Worst, many};
use serde_json::json;

/// How long an acknowledgement may take with a debug build on a machine that has other things to do. What a release build does
/// alone is measured by `just bench hostile`.
const MOST: Duration = Duration::from_secs(5);
/// How long the tenant does each.
const EACH: Duration = Duration::from_millis(400);

async fn others_are_acknowledged(is_meant: impl Fn(&Worst) -> bool) {
    let tenants = TwoTenants::start(Worst::launch(Launch::default()).set("log.filter", "warn")).await;
    let attacker = Attacker::prepare(&tenants).await;
    let each = EACH * u32::try_from(many(1)).unwrap();
    let mut slow = Vec::new();
    for worst in Worst::all().into_iter().filter(is_meant) {
        let attack = attacker.does(worst, each);
        let (times, ()) = AckProbe::during(tenants.platform.mqtt(), &tenants.b.device, attack).await;
        if times.max() > MOST || times.count() == 0 {
            slow.push(format!("{}: {times}", worst.name));
        }
    }
    assert!(slow.is_empty(), "a message of another tenant waited for more than {MOST:?}: {slow:#?}");
    // And those that were there all the time are answered.
    tenants.b.viewer.get("/api/v1/telemetry?limit=1").await.expect(200);
}

fn is_call(worst: &Worst) -> bool {
    ["GET ", "POST ", "PATCH "].iter().any(|method| worst.name.starts_with(method))
}

#[tokio::test]
async fn no_call_of_one_tenant_holds_up_the_acknowledgements_of_another() {
    others_are_acknowledged(is_call).await;
}

#[tokio::test]
async fn no_packet_of_one_tenant_holds_up_the_acknowledgements_of_another() {
    others_are_acknowledged(|worst| !is_call(worst)).await;
}

/// The ways that fill the queue of what is to be stored.
const FLOODS: [&str; 4] =
    ["PUBLISH, QoS 0, 60 kB", "PUBLISH, QoS 1, small", "POST /telemetry", "POST /telemetry/import, rows"];
/// Subscribers of the tenant that read nothing.
const SLOW: usize = 10;

#[tokio::test]
async fn a_tenant_that_floods_the_queue_in_every_way_at_once_holds_up_no_message_of_another() {
    let tenants = TwoTenants::start(Worst::launch(Launch::default()).set("log.filter", "warn")).await;
    let TwoTenants { platform, a, b, .. } = &tenants;
    let attacker = Attacker::prepare(&tenants).await;
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut client = RawClient::connect(platform.mqtt(), 4, &format!("slow-{number}"), &a.device).await;
        client.send(&subscribe(4, 1, &["w/#"], (number % 2) as u8)).await;
        client.until(0x90).await;
        slow.push(client);
    }
    let mut reader = RawClient::connect(platform.mqtt(), 4, "reader", &b.device).await;
    reader.send(&subscribe(4, 1, &["heard"], 0)).await;
    reader.until(0x90).await;
    let until = Instant::now() + Duration::from_secs(4) * u32::try_from(many(1)).unwrap();
    let mut attacks = tokio::task::JoinSet::new();
    for worst in Worst::all().into_iter().filter(|worst| FLOODS.contains(&worst.name)) {
        let attacker = attacker.clone();
        attacks.spawn(async move { attacker.does(worst, until.saturating_duration_since(Instant::now())).await });
    }
    let posts = async {
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let began = Instant::now();
            let row = json!({ "deviceId": b.device.id, "topic": "posted", "payload": 1 });
            b.operator.post("/api/v1/telemetry", row).await.expect(201);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (times, slowest) = AckProbe::during(platform.mqtt(), &b.device, posts).await;
    times.none_took_longer_than(MOST);
    assert!(slowest <= MOST, "a POST of another tenant took {slowest:?}");
    // Nor does what waits for its slow subscribers.
    let mut writer = RawClient::connect(platform.mqtt(), 4, "writer", &b.device).await;
    writer.send(&publish(4, 0x30, "heard", 0, &[], b"1")).await;
    reader.until(0x30).await;
    attacks.join_all().await;
}
