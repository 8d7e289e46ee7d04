//! Last values and keys of devices whose rows have many shapes, and other reads whose work grows with what is stored.

use std::time::Duration;

use pocket_domain::{Device, DeviceId, DeviceName, NewTelemetry, Payload, PayloadPolicy, Retention, Tenant};
use pocket_domain::{TenantId, TenantName, Timestamp, TokenHash, TopicName};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use pocket_tests::{AckProbe, Api, Launch, PostgresDatabase, TwoTenants, many};
use serde_json::{Value, json};

/// How long an acknowledgement may take with a debug build on a machine that has other things to do.
const MOST: Duration = Duration::from_secs(3);
/// How long what should happen soon is waited for.
const SOON: Duration = Duration::from_secs(60);

/// Everything becomes chunks after a second.
fn launch() -> Launch {
    Launch::default().set("database.seal_after", "1")
}

/// A gateway that reports devices around it by their addresses: each message has a key of its own.
async fn post_shapes(api: &Api, device: &str, count: u64) {
    let at = Timestamp::from_millis(1_768_464_000_000).unwrap().as_millis();
    let entry = |n: u64| {
        let payload = json!({ format!("{:012x}", n * 7_919 % count): n, "rssi": n % 90 });
        json!({ "deviceId": device, "topic": "site/gateway", "payload": payload, "timestamp": at + n.cast_signed() })
    };
    for part in (0..count).collect::<Vec<_>>().chunks(1_000) {
        api.post("/api/v1/telemetry", part.iter().map(|n| entry(*n)).collect()).await.expect(201);
    }
}

/// Waits until the log of a tenant is sealed.
async fn sealed(root: &Api, tenant: &str) {
    let usage = format!("/api/v1/tenants/{tenant}/usage");
    let is_sealed = async {
        while root.get(&usage).await.expect(200)["log"]["rows"].as_u64() != Some(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, is_sealed).await.expect("the log is sealed");
}

/// Waits until a figure of `/metrics` is what it should be.
async fn until(api: &Api, name: &str, is_right: impl Fn(f64) -> bool) {
    let waiting = async {
        while !api.metric(name).await.is_some_and(&is_right) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(SOON, waiting).await;
    assert!(waited.is_ok(), "{name} is {:?}", api.metric(name).await);
}

/// What a viewer can ask of a device, the worst first.
fn questions(device: &str) -> Vec<String> {
    let from = "from=1768464000000&to=1768464100000";
    vec![
        format!("devices/{device}/latest"),
        format!("devices/{device}/keys"),
        format!("telemetry/aggregate?deviceId={device}&key=rssi&agg=avg&interval=1s&{from}"),
        format!("telemetry/export?deviceId={device}&format=ndjson"),
        format!("telemetry?deviceId={device}&limit=1&order=asc"),
        "telemetry?limit=1000&topic=site%2F%23".to_owned(),
    ]
}

/// Asks all at once, and tells the statuses.
async fn ask_all(api: &Api, paths: &[String]) -> Vec<u16> {
    let mut asking = tokio::task::JoinSet::new();
    for path in paths {
        let request = api.request(reqwest::Method::GET, &format!("/api/v1/{path}"));
        asking.spawn(async move {
            let answer = request.send().await.expect("the API answers");
            let status = answer.status().as_u16();
            answer.bytes().await.expect("the answer is complete");
            status
        });
    }
    asking.join_all().await
}

#[tokio::test]
async fn acknowledgement_latency_while_a_viewer_asks_a_device_of_thousands_of_shapes() {
    let TwoTenants { mut platform, root, a, b } = TwoTenants::start(launch()).await;
    post_shapes(&a.operator, &a.device.id, many(4_100) as u64).await;
    sealed(&root, &a.id).await;
    let paths: Vec<String> = (0..3).flat_map(|_| questions(&a.device.id)).collect();
    let viewer = &a.viewer;
    let asked = async {
        let mut statuses = Vec::new();
        for _ in 0..2 {
            statuses.extend(ask_all(viewer, &paths).await);
        }
        statuses
    };
    let (times, statuses) = AckProbe::during(platform.mqtt(), &b.device, asked).await;
    // What cannot be answered in time is told to come again.
    assert!(statuses.iter().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 200).count() > 12, "{statuses:?}");
    times.none_took_longer_than(MOST);
    // They are known after a restart as before.
    let path = format!("/api/v1/devices/{}/latest", a.device.id);
    let before = a.viewer.get(&path).await.expect(200);
    assert_eq!(before["data"].as_array().map(Vec::len), Some(1_000));
    platform.stop().await;
    platform.start_again().await;
    let viewer = platform.api().log_in_to("a", "viewer", pocket_tests::Tenant::PASSWORD).await;
    assert_eq!(viewer.get(&path).await.expect(200), before);
}

#[tokio::test]
async fn another_tenant_is_served_between_the_requests_of_a_crowd() {
    let TwoTenants { root, a, b, platform: _platform } = TwoTenants::start(launch()).await;
    post_shapes(&a.operator, &a.device.id, 3_000).await;
    post_shapes(&b.operator, &b.device.id, 100).await;
    sealed(&root, &a.id).await;
    let crowd = vec![questions(&a.device.id)[2].clone(); 60];
    let (viewer_of_a, viewer_of_b) = (a.viewer.clone(), b.viewer.clone());
    let crowd = tokio::spawn(async move { ask_all(&viewer_of_a, &crowd).await });
    until(&root, "pocket_reads_waiting", |waiting| waiting > 10.0).await;
    let answer = viewer_of_b.get(&format!("/api/v1/{}", questions(&b.device.id)[2])).await;
    let waiting = root.metric("pocket_reads_waiting").await;
    answer.expect(200);
    assert!(waiting.is_some_and(|waiting| waiting > 0.0), "the crowd is served first: {waiting:?}");
    let statuses = crowd.await.unwrap();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
}

/// A tenant and a device in a database that two processes have open.
async fn two_processes(url: &str) -> (Storage, Storage, TenantId, DeviceId) {
    // The rows were received in 1970, and stay in the log.
    let sealing = Sealing { rows: 1_000_000, after: Duration::from_secs(1 << 32), ..Sealing::default() };
    let options = Options { pool: 4, sealing, ..Options::new(url) };
    let one = open(options.clone()).await.unwrap();
    let other = open(options).await.unwrap();
    let now = Timestamp::MIN;
    let tenant = Tenant {
        id: TenantId::new(now, [1; 10]),
        name: TenantName::default_tenant(),
        payload_policy: PayloadPolicy::Json,
        retention: Retention::default(),
        created_at: now,
    };
    one.tenants.create(&tenant).await.unwrap();
    let device = Device::new(DeviceId::new(now, [2; 10]), tenant.id, DeviceName::parse("boiler").unwrap(), now);
    one.devices.create(&device, TokenHash::from_bytes([3; 32])).await.unwrap();
    (one, other, tenant.id, device.id)
}

async fn append(storage: &Storage, tenant_id: TenantId, device_id: DeviceId, at: i64, payload: &str) {
    let timestamp = Timestamp::from_millis(at).unwrap();
    let message = NewTelemetry {
        tenant_id,
        device_id,
        topic: TopicName::parse("a/b").unwrap(),
        payload: Payload::from_stored(payload),
        timestamp,
        received_at: timestamp,
    };
    assert!(storage.telemetry.append([message].into()).await.unwrap()[0].is_some());
}

async fn told(storage: &Storage, tenant: TenantId, device: DeviceId) -> Value {
    let values = storage.telemetry.latest(tenant, device, &pocket_domain::LatestQuery::default()).await.unwrap().values;
    values
        .iter()
        .map(|value| (value.key.to_string(), Value::from(&*value.value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn each_process_on_a_postgresql_database_tells_what_the_other_stored() {
    let database = PostgresDatabase::create().await;
    let (one, other, tenant, device) = two_processes(&database.url()).await;
    for n in 0..20_i64 {
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        append(writer, tenant, device, 1_000 + n, &format!(r#"{{"t":{n},"n{}":{n}}}"#, n % 3)).await;
        for storage in [reader, writer] {
            let told = told(storage, tenant, device).await;
            assert_eq!((&told["t"], &told[format!("n{}", n % 3)]), (&json!(n.to_string()), &json!(n.to_string())));
        }
    }
    // What one removes from the log, the other tells no more, though it remembers the log.
    append(&one, tenant, device, 10, r#"{"old":1}"#).await;
    assert_eq!(told(&other, tenant, device).await["old"], "1");
    let max_age = Some(Some(pocket_domain::MaxAge::parse(3_600).unwrap()));
    let retention = pocket_domain::RetentionUpdate { max_age, max_bytes: None };
    let update = pocket_ports::TenantUpdate { retention, ..Default::default() };
    one.tenants.update(tenant, update).await.unwrap();
    let now = Timestamp::from_millis(3_600_000 + 500).unwrap();
    let pruned = async {
        while !one.telemetry.prune(now).await.unwrap().is_done {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, pruned).await.expect("it comes to an end");
    for storage in [&one, &other] {
        let told = told(storage, tenant, device).await;
        assert_eq!((told.get("old"), &told["t"]), (None, &json!("19")));
    }
}
