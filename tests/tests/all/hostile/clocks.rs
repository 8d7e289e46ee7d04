//! Clocks that are wrong: years ahead, years behind and back and forth, at the start and while the platform runs. Nothing is
//! removed early, nothing stops, and the log says what was seen.

use std::time::{Duration, SystemTime};

use pocket_tests::{Api, Device, Launch, Platform, PostgresDatabase, Shim};
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
const PATIENCE: Duration = Duration::from_secs(40);

/// Looks at what is kept every second, and seals what has a hundred rows.
fn launch(shim: &Shim) -> Launch {
    shim.under(Launch::default().set("database.prune_every", "1").set("database.seal_rows", "100"))
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn post(api: &Api, device: &str, rows: usize, timestamp: Option<i64>) {
    let entry = |n: usize| match timestamp {
        Some(from) => json!({ "deviceId": device, "topic": "a", "payload": n, "timestamp": from + n as i64 }),
        None => json!({ "deviceId": device, "topic": "a", "payload": n }),
    };
    api.post("/api/v1/telemetry", (0..rows).map(entry).collect()).await.expect(201);
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn tenant(api: &Api) -> String {
    api.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned()
}

async fn usage(api: &Api) -> Value {
    api.get(&format!("/api/v1/tenants/{}/usage", tenant(api).await)).await.expect(200)
}

async fn keep_days(api: &Api, days: i64) {
    let body = json!({ "retention": { "maxAgeSeconds": days * DAY } });
    api.patch(&format!("/api/v1/tenants/{}", tenant(api).await), body).await.expect(200);
}

/// A platform whose history is kept for thirty days, with 300 rows in chunks and 50 in the log.
async fn kept_for_a_month(launch: Launch) -> (Platform, Api, String) {
    let platform = launch.start().await;
    let api = platform.admin().await;
    let (device, _) = api.register_device("boiler").await;
    keep_days(&api, 30).await;
    post(&api, &device, 300, None).await;
    until("the rows are sealed", async || usage(&api).await["chunks"]["rows"] == 300).await;
    post(&api, &device, 50, None).await;
    (platform, api, device)
}

/// Rounds of retention go by: each takes a second.
async fn rounds() {
    sleep(Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_removes_nothing() {
    let shim = Shim::new();
    let (platform, _, device) = kept_for_a_month(launch(&shim)).await;
    let mut rows = 350;
    for clock in [40 * DAY, 0, 10 * YEAR, -10 * YEAR, 10 * YEAR, 0, -YEAR, 40 * DAY, 0] {
        shim.set_clock(clock);
        // What a person shows ends with the time in it.
        let api = platform.admin().await;
        post(&api, &device, 10, None).await;
        rows += 10;
        rounds().await;
        assert_eq!(usage(&api).await["rows"], rows, "with the clock {clock} s ahead");
    }
    let log = platform.log();
    assert!(log.contains("the clock is ahead of the elapsed time"), "{log}");
    assert!(log.contains("the clock is behind the elapsed time"), "{log}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_at_the_start_removes_nothing() {
    let shim = Shim::new();
    let (platform, ..) = kept_for_a_month(launch(&shim)).await;
    wrong_at_the_start(&shim, platform).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_at_the_start_removes_nothing_in_postgresql() {
    let shim = Shim::new();
    let database = PostgresDatabase::create().await;
    let (platform, ..) = kept_for_a_month(launch(&shim).env("DATABASE_URL", &database.url())).await;
    wrong_at_the_start(&shim, platform).await;
}

async fn wrong_at_the_start(shim: &Shim, mut platform: Platform) {
    for (n, clock) in [40 * DAY, 0, 10 * YEAR, -10 * YEAR, 10 * YEAR, 0].into_iter().enumerate() {
        // In turns in order and without a warning.
        match n % 2 {
            0 => platform.kill().await,
            _ => drop(platform.stop().await),
        }
        shim.set_clock(clock);
        platform.start_again().await;
        rounds().await;
        let api = platform.admin().await;
        assert_eq!(usage(&api).await["rows"], 350, "with the clock {clock} s ahead");
    }
}

#[tokio::test]
async fn a_database_that_was_first_opened_with_a_clock_ahead_is_kept_when_that_comes_back() {
    let shim = Shim::new();
    shim.set_clock(10 * YEAR);
    let mut platform = launch(&shim).start().await;
    platform.kill().await;
    shim.set_clock(0);
    platform.start_again().await;
    let api = platform.admin().await;
    let (device, _) = api.register_device("boiler").await;
    keep_days(&api, 30).await;
    post(&api, &device, 300, None).await;
    platform.kill().await;
    shim.set_clock(10 * YEAR);
    platform.start_again().await;
    rounds().await;
    assert_eq!(usage(&platform.admin().await).await["rows"], 300);
}

/// Rows of another device that were received forty days ago, as long as nobody says how long they are kept.
async fn import_old(api: &Api, name: &str) {
    let (device, _) = api.register_device(name).await;
    let path = format!("/api/v1/tenants/{}", tenant(api).await);
    api.patch(&path, json!({ "retention": { "maxAgeSeconds": null } })).await.expect(200);
    let at = now() - 40 * DAY * 1_000;
    let line = |n: i64| {
        let row = json!({ "deviceId": device, "topic": "a", "payload": n, "timestamp": at + n, "receivedAt": at + n });
        format!("{row}\n")
    };
    let import =
        api.request(reqwest::Method::POST, "/api/v1/telemetry/import").header("content-type", "application/x-ndjson");
    let answer = import.body((0..20).map(line).collect::<String>()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(usage(api).await["rows"], 370);
    keep_days(api, 30).await;
}

#[tokio::test]
async fn what_was_received_lately_stays_whatever_time_it_is_about() {
    let platform = Launch::default().set("database.prune_every", "1").set("database.seal_rows", "100").start().await;
    received_lately(&platform).await;
}

#[tokio::test]
async fn what_was_received_lately_stays_whatever_time_it_is_about_in_postgresql() {
    let database = PostgresDatabase::create().await;
    let launch = Launch::default().set("database.prune_every", "1").set("database.seal_rows", "100");
    received_lately(&launch.env("DATABASE_URL", &database.url()).start().await).await;
}

async fn received_lately(platform: &Platform) {
    let api = platform.admin().await;
    let device = Device::register(&api, "boiler").await;
    keep_days(&api, 90).await;
    // One in the log, and three hundred of another device in chunks; by a payload's own time, by a request's, and by an import's.
    let mut client = device.connect(platform, "x").await;
    client.publish([("a".into(), json!({ "ts": now() - 400 * DAY * 1_000, "values": { "c": 1 } }).to_string())]).await;
    let (other, _) = api.register_device("pump").await;
    post(&api, &other, 300, Some(now() - 400 * DAY * 1_000)).await;
    until("the rows are sealed", async || usage(&api).await["chunks"]["rows"].as_u64() >= Some(300)).await;
    let at = now() - 500 * DAY * 1_000;
    let row = json!({ "deviceId": other, "topic": "b", "payload": 1, "timestamp": at, "receivedAt": at });
    let import =
        api.request(reqwest::Method::POST, "/api/v1/telemetry/import").header("content-type", "application/x-ndjson");
    assert_eq!(import.body(row.to_string()).send().await.unwrap().status().as_u16(), 200);
    rounds().await;
    assert_eq!(usage(&api).await["rows"], 302);
}

#[tokio::test]
async fn a_removal_that_the_time_that_passed_does_not_explain_waits_for_a_person() {
    let shim = Shim::new();
    let (platform, ..) = kept_for_a_month(launch(&shim)).await;
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    out_of_proportion(&shim, platform, &url).await;
}

#[tokio::test]
async fn a_removal_that_the_time_that_passed_does_not_explain_waits_for_a_person_in_postgresql() {
    let shim = Shim::new();
    let database = PostgresDatabase::create().await;
    let (platform, ..) = kept_for_a_month(launch(&shim).env("DATABASE_URL", &database.url())).await;
    out_of_proportion(&shim, platform, &database.url()).await;
}

async fn out_of_proportion(shim: &Shim, mut platform: Platform, url: &str) {
    rounds().await;
    platform.stop().await;
    // A leap that nothing tells from the time that passed, as when a disk is moved to a machine whose clock is wrong.
    let server = sea_orm::Database::connect(url).await.unwrap();
    let leap = YEAR * 1_000;
    let sql =
        format!("UPDATE time_marks SET trusted = trusted + {leap}, steady = steady + {leap}, wall = wall + {leap}");
    assert!(server.execute_unprepared(&sql).await.unwrap().rows_affected() > 0);
    server.close().await.unwrap();
    shim.set_clock(YEAR);
    platform.start_again().await;
    rounds().await;
    let api = platform.admin().await;
    assert_eq!(usage(&api).await["rows"], 350);
    assert!(platform.log().contains("the elapsed time does not explain it"), "{}", platform.log());
    assert_eq!(api.metric("pocket_retention_waiting_messages").await, Some(350.0));
    assert_eq!(api.metric("pocket_retention_waiting_tenants").await, Some(1.0));
    let ready = api.get("/ready").await.expect(200);
    assert!(ready["notice"].as_str().unwrap_or_default().contains("350 messages"), "{ready}");
    // Who sets the retention once more, though to the same, has seen it.
    keep_days(&api, 30).await;
    until("what is too old goes", async || usage(&api).await["rows"] == 0).await;
    until("nothing waits", async || api.metric("pocket_retention_waiting_tenants").await == Some(0.0)).await;
}

#[tokio::test]
async fn what_is_too_old_goes_after_the_clock_was_wrong() {
    let shim = Shim::new();
    let (mut platform, api, _) = kept_for_a_month(launch(&shim)).await;
    import_old(&api, "old").await;
    until("old rows go", async || usage(&api).await["rows"] == 350).await;
    shim.set_clock(10 * YEAR);
    rounds().await;
    shim.set_clock(0);
    platform.kill().await;
    platform.start_again().await;
    let api = platform.admin().await;
    import_old(&api, "as-old").await;
    until("old rows go", async || usage(&api).await["rows"] == 350).await;
    assert!(platform.log().contains("expired telemetry removed"));
}

#[tokio::test]
async fn a_process_that_was_killed_while_its_clock_was_ahead_keeps_nobody_from_sealing() {
    let shim = Shim::new();
    shim.set_clock(10 * YEAR);
    let mut platform = launch(&shim).start().await;
    seals(&platform).await;
    for clock in [0, -10 * YEAR, 0] {
        platform.kill().await;
        shim.set_clock(clock);
        platform.start_again().await;
        seals(&platform).await;
    }
    sealing_goes_on(&shim, &platform).await;
}

#[tokio::test]
async fn a_process_that_was_killed_while_its_clock_was_ahead_keeps_nobody_from_sealing_in_postgresql() {
    let shim = Shim::new();
    let database = PostgresDatabase::create().await;
    let launch = launch(&shim).env("DATABASE_URL", &database.url());
    let mut platform = launch.start().await;
    seals(&platform).await;
    sealing_goes_on(&shim, &platform).await;
    platform.kill().await;
    // A lease that the clock of a process gave, as an earlier version did, or a server whose own clock was ahead.
    let server = sea_orm::Database::connect(database.url()).await.unwrap();
    let sql = "UPDATE telemetry_log SET owner = '\\x00', owned_until = 2000000000000000";
    server.execute_unprepared(sql).await.unwrap();
    server.close().await.unwrap();
    platform.start_again().await;
    seals(&platform).await;
}

/// Posts rows, and waits until they are in chunks.
async fn seals(platform: &Platform) {
    let api = platform.admin().await;
    let (device, _) = api.register_device(&format!("device-{}", now())).await;
    let before = usage(&api).await["chunks"]["rows"].as_u64().unwrap();
    post(&api, &device, 300, None).await;
    until("the rows are sealed", async || usage(&api).await["chunks"]["rows"].as_u64().unwrap() >= before + 300).await;
    assert_eq!(api.metric("pocket_history_behind_seconds").await.map(|seconds| seconds < 60.0), Some(true));
}

/// While the platform runs.
async fn sealing_goes_on(shim: &Shim, platform: &Platform) {
    for clock in [10 * YEAR, -10 * YEAR, 0] {
        shim.set_clock(clock);
        seals(platform).await;
    }
}

#[tokio::test]
async fn a_session_with_its_messages_outlasts_a_clock_that_is_wrong() {
    let shim = Shim::new();
    let mut platform = launch(&shim).start().await;
    let api = platform.admin().await;
    let (away, publisher) = (Device::register(&api, "away").await, Device::register(&api, "publisher").await);
    let (client, mut events, _) = kept_session(&platform, &away).await;
    client.subscribe("jobs/#", QoS::AtLeastOnce).await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;
    drop((client, events));
    publisher.connect(&platform, "p").await.publish([("jobs/1".into(), "1".into())]).await;
    for clock in [10 * YEAR, 0, -10 * YEAR, 40 * DAY, 0] {
        shim.set_clock(clock);
        rounds().await;
        platform.kill().await;
        platform.start_again().await;
    }
    let (_client, mut events, is_present) = kept_session(&platform, &away).await;
    assert!(is_present);
    let message = next(&mut events, |packet| matches!(packet, Packet::Publish(_))).await;
    assert!(matches!(message, Packet::Publish(publish) if publish.topic == "jobs/1"));
}

/// A client whose session outlasts its connection, and whether there was one.
async fn kept_session(platform: &Platform, device: &Device) -> (AsyncClient, EventLoop, bool) {
    let mut options = device.options(platform, "kept");
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 10);
    let Packet::ConnAck(ack) = next(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await else {
        unreachable!("it is one")
    };
    (client, events, ack.session_present)
}

async fn next(events: &mut EventLoop, is_meant: impl Fn(&Packet) -> bool) -> Packet {
    let found = async {
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(packet) if is_meant(&packet) => return packet,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the packet comes")
}

#[tokio::test]
async fn a_message_from_the_future_is_dated_at_its_arrival() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = Device::register(&api, "boiler").await;
    let future = now() + 3_600_000;
    let mut client = device.connect(&platform, "x").await;
    for time in [future, 253_402_300_799_999, now() + 60_000] {
        client.publish([("a".into(), json!({ "ts": time, "values": { "c": 1 } }).to_string())]).await;
    }
    let rows = api.telemetry("order=desc").await;
    let arrived: Vec<bool> = rows.iter().map(|row| row["timestamp"] == row["receivedAt"]).collect();
    assert_eq!(arrived.iter().filter(|arrived| **arrived).count(), 2, "{rows:?}");
    let rejection =
        async || api.get(&format!("/api/v1/devices/{}", device.id)).await.expect(200)["lastRejection"].clone();
    until("the device tells of it", async || rejection().await["reason"].is_string()).await;
    let reason = rejection().await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("stored with the time of its arrival") && reason.contains("600 s"), "{reason}");
    // Who posts a time is told at once.
    for (time, status) in [(future, 422), (now() + 60_000, 201)] {
        let body = json!({ "deviceId": device.id, "topic": "a", "payload": 1, "timestamp": time });
        let answer = api.post("/api/v1/telemetry", body).await.expect(status);
        if status == 422 {
            assert!(answer.to_string().contains("timestamp") && answer.to_string().contains("600 s"), "{answer}");
        }
    }
    assert_eq!(api.metric("pocket_messages_dated_at_arrival_total").await, Some(2.0));
}
