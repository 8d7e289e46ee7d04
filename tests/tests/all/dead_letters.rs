//! A message that the database refuses: alone it is put aside, told to who posted it, listed, and stored when what was in
//! its way is gone. A rule in the table stands for whatever a database may have against a message.

use pocket_tests::{Launch, Platform, PostgresDatabase};
use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/dead-letters";

async fn execute(url: &str, sql: &str) {
    let mut options = ConnectOptions::new(url);
    let connection = Database::connect(options.max_connections(1).to_owned()).await.unwrap();
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
}

async fn a_message_is_put_aside_and_stored_later(platform: &Platform, url: &str, rule: &str, no_rule: &str) {
    execute(url, rule).await;
    let admin = platform.admin().await;
    let (device, _) = admin.register_device("boiler").await;
    let entry = |payload: &str| json!({ "deviceId": device, "topic": "a/b", "payload": payload });
    let body = Value::from(["good", "poison", "better"].map(entry).to_vec());
    let refused = admin.post("/api/v1/telemetry", body).await.expect(422);
    assert_eq!(refused["errors"][0]["field"], "[1].payload", "{refused}");
    let stored = async || {
        let rows = admin.telemetry("order=asc").await;
        rows.into_iter().map(|row| row["payload"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stored().await, ["good", "better"], "the others are stored");

    let letters = admin.get(&format!("{PATH}?deviceId={device}")).await.expect(200)["data"].clone();
    assert_eq!(letters.as_array().unwrap().len(), 1);
    assert_eq!((&letters[0]["payload"], &letters[0]["topic"]), (&json!("\"poison\""), &json!("a/b")));
    assert!(letters[0]["reason"].as_str().unwrap().contains("no_poison"), "{letters}");
    let metrics = admin.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pocket_ingest_messages_total{fate=\"set_aside\"} 1\n"), "{metrics}");

    let letter = format!("{PATH}/{}", letters[0]["id"].as_str().unwrap());
    admin.post(&format!("{letter}/retry"), Value::Null).await.expect(422);
    assert_eq!(admin.get(PATH).await.expect(200)["data"], letters, "a letter that is refused again stays as it was");
    execute(url, no_rule).await;
    admin.post(&format!("{letter}/retry"), Value::Null).await.expect(201);
    assert_eq!(admin.get(PATH).await.expect(200)["data"], json!([]));
    let mut all = stored().await;
    all.sort();
    assert_eq!(all, ["better", "good", "poison"]);
    admin.delete(&letter).await.expect(404);
}

#[tokio::test]
async fn a_message_that_sqlite_refuses_is_put_aside_and_stored_later() {
    let platform = Launch::default().start().await;
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    let rule = "CREATE TRIGGER no_poison BEFORE INSERT ON telemetry WHEN NEW.payload LIKE '%poison%' \
        BEGIN SELECT RAISE(ABORT, 'no_poison'); END";
    a_message_is_put_aside_and_stored_later(&platform, &url, rule, "DROP TRIGGER no_poison").await;
}

#[tokio::test]
async fn a_message_that_postgresql_refuses_is_put_aside_and_stored_later() {
    let database = PostgresDatabase::create().await;
    let platform = Launch::default().set("database.url", &database.url()).start().await;
    let rule = "ALTER TABLE telemetry ADD CONSTRAINT no_poison CHECK (payload NOT LIKE '%poison%')";
    let no_rule = "ALTER TABLE telemetry DROP CONSTRAINT no_poison";
    a_message_is_put_aside_and_stored_later(&platform, &database.url(), rule, no_rule).await;
}
