//! `pocket-iot check` and what a damaged database can still do, with the real binary.

use std::process::Output;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase, binary};
use rumqttc::{Packet, QoS};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, Value as SqlValue};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::mqtt::Device;

/// The time of the first message, in milliseconds since 1970.
const BEGIN: i64 = 1_700_000_000_000;
/// Messages of each device in each of two chunks.
const CHUNK: i64 = 70;
/// Messages of each device that are still in the log.
const LEFT: i64 = 5;

/// A platform with traffic behind it, in one of the databases.
struct Stage {
    platform: Platform,
    postgres: Option<PostgresDatabase>,
    boiler: Device,
    pump: Device,
}

fn launch() -> Launch {
    // A post is one batch, and two devices are sealed together.
    Launch::default().set("POCKET_INGEST_BATCH", "1000").set("POCKET_SEAL_ROWS", "100")
}

async fn post(api: &Api, devices: [&Device; 2], numbers: std::ops::Range<i64>) {
    let entry = |device: &Device, n: i64| {
        let payload = json!({ "n": n, "t": 20.5, "state": "on" });
        json!({ "deviceId": device.id, "topic": "a/b", "payload": payload, "timestamp": BEGIN + n * 1_000 })
    };
    let entries: Vec<Value> =
        devices.into_iter().flat_map(|device| numbers.clone().map(move |n| entry(device, n))).collect();
    api.post("/api/v1/telemetry", entries.into()).await.expect(201);
}

impl Stage {
    async fn in_sqlite() -> Self {
        Self::with_traffic(launch(), None).await
    }

    async fn in_postgresql() -> Self {
        let database = PostgresDatabase::create().await;
        Self::with_traffic(launch().env("DATABASE_URL", &database.url()), Some(database)).await
    }

    /// Two devices with two chunks each and some rows in the log; a person; a session for which a message waits; a retained
    /// message.
    async fn with_traffic(launch: Launch, postgres: Option<PostgresDatabase>) -> Self {
        let platform = launch.start().await;
        let api = platform.admin().await;
        let user = json!({ "username": "eve", "password": "correct horse battery", "role": "viewer" });
        api.post("/api/v1/users", user).await.expect(201);
        let (boiler, pump) = (Device::register(&api, "boiler").await, Device::register(&api, "pump").await);
        let stage = Self { platform, postgres, boiler, pump };
        for chunk in 0..2 {
            post(&api, [&stage.boiler, &stage.pump], chunk * CHUNK..(chunk + 1) * CHUNK).await;
            stage.sealed(chunk + 1).await;
        }
        post(&api, [&stage.boiler, &stage.pump], 2 * CHUNK..2 * CHUNK + LEFT).await;
        let mut options = stage.pump.options(&stage.platform, "sleeper");
        options.set_clean_session(false);
        let (client, events) = rumqttc::AsyncClient::new(options, 10);
        let mut sleeper = crate::mqtt::Client { client, events };
        sleeper.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        sleeper.subscribe("$share/g/sleep/#", QoS::AtLeastOnce).await;
        sleeper.subscribe("sleep/#", QoS::AtLeastOnce).await;
        drop(sleeper);
        let mut publisher = stage.boiler.connect(&stage.platform, "publisher").await;
        for retain in [false, true] {
            publisher.client.publish("sleep/1", QoS::AtLeastOnce, retain, "1").await.unwrap();
            publisher.until(|packet| matches!(packet, Packet::PubAck(_))).await;
        }
        stage
    }

    /// Waits until the keeper has made so many chunks of each device, and the log is empty.
    async fn sealed(&self, chunks: i64) {
        let database = self.database().await;
        let left = "SELECT count(*) FROM telemetry WHERE id > (SELECT sealed FROM telemetry_log)";
        while number(&database, left).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(number(&database, "SELECT count(*) FROM telemetry_chunks").await, 2 * chunks);
        database.close().await.unwrap();
    }

    async fn database(&self) -> DatabaseConnection {
        let url = match &self.postgres {
            Some(database) => database.url(),
            None => format!("sqlite://{}", self.file().display()),
        };
        Database::connect(url).await.unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.platform.data_dir().join("pocket.db")
    }

    async fn execute(&self, statements: &[&str]) {
        let database = self.database().await;
        for sql in statements {
            let done = database.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(done.rows_affected() > 0, "{sql} finds nothing");
        }
        database.close().await.unwrap();
    }

    /// Turns one bit of the first chunk of a device.
    async fn turn_a_bit(&self, device: &str) {
        let database = self.database().await;
        let sql = format!("SELECT key, content FROM telemetry_chunks WHERE device = {} ORDER BY key", of(device));
        let row = database.query_one_raw(statement(&database, &sql, [])).await.unwrap().unwrap();
        let (key, mut content): (i64, Vec<u8>) = (row.try_get("", "key").unwrap(), row.try_get("", "content").unwrap());
        let middle = content.len() / 2;
        content[middle] ^= 1;
        let [first, second] = if self.postgres.is_some() { ["$1", "$2"] } else { ["?", "?"] };
        let sql = format!("UPDATE telemetry_chunks SET content = {first} WHERE key = {second}");
        database.execute_raw(statement(&database, &sql, [content.into(), key.into()])).await.unwrap();
        database.close().await.unwrap();
    }

    async fn check(&self) -> Checked {
        let mut command = Command::new(binary());
        command.arg("--data-dir").arg(self.platform.data_dir()).arg("check").env_clear();
        if let Some(database) = &self.postgres {
            command.env("DATABASE_URL", database.url());
        }
        Checked::of(&command.output().await.expect("the binary starts"))
    }
}

/// What the command said.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    found: Vec<String>,
    summary: String,
    error: String,
}

impl Checked {
    fn of(output: &Output) -> Self {
        let mut found: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        let summary = found.pop().unwrap_or_default();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), found, summary, error }
    }

    #[track_caller]
    fn is_sound(&self) {
        assert_eq!((self.code, &self.found[..]), (Some(0), &[][..]), "{self:?}");
        assert!(self.summary.ends_with(": nothing is wrong"), "{self:?}");
    }
}

fn statement<const N: usize>(database: &DatabaseConnection, sql: &str, values: [SqlValue; N]) -> Statement {
    Statement::from_sql_and_values(database.get_database_backend(), sql, values)
}

async fn number(database: &DatabaseConnection, sql: &str) -> i64 {
    let row = database.query_one_raw(statement(database, sql, [])).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// The key of a device, as SQL.
fn of(device: &str) -> String {
    format!("(SELECT key FROM devices WHERE name = '{device}')")
}

fn time(n: i64) -> String {
    pocket_domain::Timestamp::from_millis(BEGIN + n * 1_000).unwrap().to_string()
}

#[tokio::test]
async fn damage_is_named_and_everything_else_stays_readable_in_sqlite() {
    damage_is_named_and_everything_else_stays_readable(Stage::in_sqlite().await).await;
}

#[tokio::test]
async fn damage_is_named_and_everything_else_stays_readable_in_postgresql() {
    damage_is_named_and_everything_else_stays_readable(Stage::in_postgresql().await).await;
}

async fn damage_is_named_and_everything_else_stays_readable(mut stage: Stage) {
    let sound = stage.check().await;
    sound.is_sound();
    // Two messages of MQTT are telemetry, too.
    let messages = 4 * CHUNK + 2 * LEFT + 2;
    assert!(sound.summary.starts_with(&format!("checked 4 chunks, {messages} messages, ")), "{sound:?}");
    assert!(stage.platform.stop().await.success());
    stage.check().await.is_sound();

    do_damage(&stage).await;
    let checked = stage.check().await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let (boiler, pump) = (&stage.boiler.id, &stage.pump.id);
    let (first, second) = (format!("{} to {}", time(0), time(69)), format!("{} to {}", time(70), time(139)));
    let expected = [
        format!("telemetry_chunks key 1, tenant TENANT, device {boiler}, {first}: the checksum is wrong"),
        format!(
            "telemetry_chunks key 2, tenant TENANT, device {pump}, {first}: row_count is 71, and 70 in its content"
        ),
        format!(
            "telemetry_chunks key 4, tenant TENANT, device {pump}, {second}: 70 of its rows are in the chunk of key 5 too, \
            the first is 211"
        ),
        format!("telemetry id 281, tenant TENANT, device {boiler}, {}: payload is not JSON: ", time(140)),
        format!("telemetry id 282, tenant TENANT, device {boiler}, {}: its topic of key 999 is not one of", time(141)),
        "users key 2, tenant TENANT: role: must be".to_owned(),
        format!("broker_sessions key 1 (client \"sleeper\"), tenant TENANT, device {pump}: topic: "),
        "broker_retained \"sleep/1\", tenant TENANT: broker state: is from another version".to_owned(),
        format!("device_tokens of the device of key 2, tenant TENANT, device {pump}: the token's"),
        format!("telemetry_chunks key 3, tenant TENANT, device {boiler}, {second}: its key \"state\" is not among"),
    ];
    let tenant = stage.tenant().await;
    for expected in expected.iter().map(|line| line.replace("TENANT", &tenant)) {
        assert!(checked.found.iter().any(|line| line.starts_with(&expected)), "{expected} is missing in {checked:#?}");
    }
    assert_eq!(checked.found.len(), expected.len(), "{checked:#?}");
    assert!(checked.summary.ends_with(": 10 things are wrong"), "{checked:?}");
    assert!(checked.error.contains("error: 10 things are wrong with "), "{checked:?}");

    stage.platform.start_again().await;
    the_rest_is_readable(&stage).await;
    assert_eq!(stage.check().await.code, Some(1));
}

impl Stage {
    async fn tenant(&self) -> String {
        let database = self.database().await;
        let row = database.query_one_raw(statement(&database, "SELECT id FROM tenants", [])).await.unwrap().unwrap();
        let id: sea_orm::prelude::Uuid = row.try_get("", "id").unwrap();
        database.close().await.unwrap();
        id.to_string()
    }
}

async fn do_damage(stage: &Stage) {
    stage.turn_a_bit("boiler").await;
    let columns = "tenant, device, batch, first_at, last_at, row_count, bytes, content";
    let pump = of("pump");
    let hash = if stage.postgres.is_some() { "'\\x00'::bytea" } else { "x'00'" };
    stage
        .execute(&[
            &format!("UPDATE telemetry_chunks SET row_count = 71 WHERE device = {pump} AND first_at = {BEGIN}"),
            &format!(
                "INSERT INTO telemetry_chunks ({columns}) SELECT {columns} FROM telemetry_chunks
                WHERE device = {pump} AND first_at > {BEGIN}"
            ),
            "UPDATE telemetry SET payload = '{\"n\":' WHERE id = 281",
            "UPDATE telemetry SET topic = 999 WHERE id = 282",
            "UPDATE users SET role = 'king' WHERE username = 'eve'",
            "UPDATE broker_subscriptions SET filter = 'a/#/b' WHERE share_group = ''",
            &format!("UPDATE broker_retained SET properties = {hash}"),
            &format!("UPDATE device_tokens SET hash = {hash} WHERE device = {pump}"),
            &format!("DELETE FROM telemetry_keys WHERE path = 'state' AND device = {}", of("boiler")),
        ])
        .await;
}

/// All but the first chunk of the boiler, and the row that is no JSON.
async fn the_rest_is_readable(stage: &Stage) {
    let api = stage.platform.admin().await;
    let numbers =
        |rows: Vec<Value>| -> Vec<i64> { rows.iter().filter_map(|row| row["payload"]["n"].as_i64()).collect() };
    let expected: Vec<i64> = (CHUNK..2 * CHUNK).chain(2 * CHUNK + 2..2 * CHUNK + LEFT).collect();
    for order in ["asc", "desc"] {
        let query = format!("deviceId={}&limit=50&order={order}&topic=a/%2B", stage.boiler.id);
        let mut found = numbers(api.telemetry(&query).await);
        found.sort_unstable();
        assert_eq!(found, expected, "{order}");
    }
    let from = |n: i64| format!("from={}&to={}", BEGIN + n * 1_000, BEGIN + 10_000_000);
    let query = format!("deviceId={}&key=n&agg=count&interval=1d&{}", stage.boiler.id, from(0));
    let series = api.get(&format!("/api/v1/telemetry/aggregate?{query}")).await.expect(200);
    let counts = series["data"][0]["buckets"].as_array().unwrap_or_else(|| panic!("{series}"));
    // A chunk, and the rows of the log but one: that of a topic that is gone has numbers all the same.
    assert_eq!(
        counts.iter().map(|bucket| bucket["count"].as_i64().unwrap()).sum::<i64>(),
        CHUNK + LEFT - 1,
        "{series}"
    );
    let latest = api.get(&format!("/api/v1/devices/{}/latest", stage.boiler.id)).await.expect(200);
    assert!(latest.to_string().contains("144"), "{latest}");
    let keys = api.get(&format!("/api/v1/devices/{}/keys", stage.boiler.id)).await.expect(200);
    assert!(keys.to_string().contains("\"n\""), "{keys}");

    let metrics = stage.platform.api().request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.lines().any(|line| line == "pocket_telemetry_damaged_chunks 1"), "{metrics}");
    let log = stage.platform.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("a chunk of telemetry is damaged")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let tenant = stage.tenant().await;
    for part in [&stage.boiler.id, &tenant, &time(0), &time(69)] {
        assert!(told[0].contains(part.as_str()), "{part} is missing in {told:?}");
    }
}

#[tokio::test]
async fn a_damaged_page_of_a_file_is_told_and_the_rest_goes_on() {
    let mut stage = Stage::in_sqlite().await;
    assert!(stage.platform.stop().await.success());
    let database = stage.database().await;
    let page =
        number(&database, "SELECT pageno FROM dbstat WHERE name = 'device_events' ORDER BY pageno LIMIT 1").await;
    let bytes = number(&database, "SELECT page_size FROM pragma_page_size").await;
    database.close().await.unwrap();
    let mut file = std::fs::read(stage.file()).unwrap();
    let begin = usize::try_from((page - 1) * bytes).unwrap();
    file[begin..begin + 100].fill(0xa5);
    std::fs::write(stage.file(), &file).unwrap();
    let checked = stage.check().await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.found.iter().any(|line| line.starts_with("the file: ")), "{checked:#?}");
    let unreadable = "device_events: not all of it can be read: ";
    assert!(checked.found.iter().any(|line| line.starts_with(unreadable)), "{checked:#?}");
    assert!(checked.summary.starts_with("checked 4 chunks, 292 messages, "), "{checked:?}");
    assert_eq!(std::fs::read(stage.file()).unwrap(), file, "the check changes nothing");

    stage.platform.start_again().await;
    let api = stage.platform.admin().await;
    for device in [&stage.boiler, &stage.pump] {
        let rows = api.telemetry(&format!("deviceId={}&limit=1000&topic=a/b", device.id)).await;
        assert_eq!(rows.len() as i64, 2 * CHUNK + LEFT);
    }
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_not_changed() {
    let mut stage = Stage::in_sqlite().await;
    assert!(stage.platform.stop().await.success());
    stage.execute(&["INSERT INTO seaql_migrations VALUES ('m9999_later', 0)"]).await;
    let checked = stage.check().await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.error.contains("newer than this program: it has the migration m9999_later"), "{checked:?}");
    stage.execute(&["DELETE FROM seaql_migrations WHERE version >= 'm0007'"]).await;
    let checked = stage.check().await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.error.contains("older than this program: it has no migration m0007_retention"), "{checked:?}");
    assert!(checked.error.contains("`pocket-iot migrate`"), "{checked:?}");
    let database = stage.database().await;
    let found = number(&database, "SELECT count(*) FROM seaql_migrations WHERE version >= 'm0007'").await;
    database.close().await.unwrap();
    assert_eq!(found, 0);
    std::fs::remove_file(stage.file()).unwrap();
    let checked = stage.check().await;
    assert_eq!((checked.code, checked.error.contains("pocket.db does not exist")), (Some(1), true), "{checked:?}");
    assert!(!stage.file().exists());
}

#[tokio::test]
async fn a_check_finds_nothing_wrong_while_messages_are_stored_sealed_merged_and_deleted() {
    for stage in [Stage::in_sqlite().await, Stage::in_postgresql().await] {
        let api = stage.platform.admin().await;
        let traffic = async {
            for n in 10..40 {
                let other = Device::register(&api, &format!("other {n}")).await;
                post(&api, [&stage.boiler, &other], n * CHUNK..(n + 1) * CHUNK).await;
                if n % 3 == 0 {
                    api.delete(&format!("/api/v1/devices/{}", other.id)).await.expect(204);
                }
            }
        };
        let checks = async {
            for _ in 0..6 {
                stage.check().await.is_sound();
            }
        };
        tokio::join!(traffic, checks);
        stage.check().await.is_sound();
    }
}
