//! Pages of other addresses, old HTTP, load balancers, peers that are gone, and messages that are larger than readings are.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use pocket_tests::{Launch, binary};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stage::{Connect, Stage};

const PATIENCE: Duration = Duration::from_secs(30);

/// What comes back until the server closes.
async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_answers_and_no_others() {
    let stage = Stage::of(Launch::default().set("api.cors_origins", "https://a.example, http://localhost:5173/")).await;
    let preflight = |origin: &'static str| {
        let request = stage.platform.api().request(Method::OPTIONS, "/api/v1/telemetry").header("origin", origin);
        let asked = request.header("access-control-request-method", "GET");
        asked.header("access-control-request-headers", "authorization").send()
    };
    for origin in ["https://a.example", "http://localhost:5173"] {
        let answer = preflight(origin).await.unwrap();
        assert_eq!(answer.status(), 204);
        let said = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!(said("access-control-allow-origin"), origin);
        assert_eq!(said("access-control-allow-headers"), "authorization");
        assert!(said("access-control-allow-methods").contains("PATCH"));
        assert!(said("vary").to_lowercase().contains("origin") || answer.headers().get_all("vary").iter().count() > 1);
    }
    let foreign = preflight("https://b.example").await.unwrap();
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
    // Errors of every kind carry it too, and nothing ever allows credentials of the browser.
    for (admin, path, status) in [
        (true, "/api/v1/devices", 200),
        (false, "/api/v1/devices", 401),
        (true, "/api/v1/nothing", 404),
        (true, "/api/v1/devices?limit=many", 422),
    ] {
        let api = if admin { stage.admin.clone() } else { stage.platform.api() };
        let answer = api.request(Method::GET, path).header("origin", "https://a.example").send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example", "{path}");
        assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("x-request-id"));
        assert!(!answer.headers().contains_key("access-control-allow-credentials"), "{path}");
    }
}

#[tokio::test]
async fn without_the_setting_no_page_of_another_address_is_allowed() {
    let stage = Stage::start().await;
    let request = stage.admin.request(Method::OPTIONS, "/api/v1/telemetry").header("origin", "https://a.example");
    let answer = request.header("access-control-request-method", "GET").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert!(!answer.headers().contains_key("access-control-allow-origin") && !answer.headers().contains_key("vary"));
    let all = Stage::of(Launch::default().env("POCKET_API_CORS_ORIGINS", "*")).await;
    let answer = all.admin.request(Method::GET, "/health").header("origin", "null").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn a_plus_in_a_time_may_come_unencoded_in_every_query() {
    let stage = Stage::start().await;
    stage.connected().await.publish("a", b"{\"t\":1}").await;
    let (from, to) = ("2020-11-23T00:00:00+01:00", "2099-11-23T00:00:00.5+05:30");
    let times = format!("from={from}&to={to}");
    assert_eq!(stage.admin.get(&format!("/api/v1/telemetry?{times}")).await.expect(200)["data"][0]["topic"], "a");
    let id = &stage.device.id;
    stage
        .admin
        .get(&format!("/api/v1/telemetry/aggregate?deviceId={id}&key=t&agg=avg&interval=90d&{times}"))
        .await
        .expect(200);
    let export = stage.admin.request(Method::GET, &format!("/api/v1/telemetry/export?{times}")).send().await.unwrap();
    assert_eq!(export.status(), 200);
    assert!(export.text().await.unwrap().contains("\"topic\":\"a\""));
    // As it is written rightly, and what is no time.
    stage.admin.get("/api/v1/telemetry?from=2020-11-23T00:00:00%2B01:00").await.expect(200);
    stage.admin.get("/api/v1/telemetry?from=2020-11-23+01:00").await.expect(422);
}

#[tokio::test]
async fn clients_of_http_1_0_are_answered_without_chunks() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    for n in 0..50 {
        assert!(wire.publish("a", format!("{{\"t\":{n}}}").as_bytes()).await);
    }
    let address = stage.platform.api_address();
    let token = stage.admin.token().unwrap();
    for keep in ["", "connection: keep-alive\r\n"] {
        let request = format!("GET /api/v1/telemetry/export HTTP/1.0\r\nauthorization: Bearer {token}\r\n{keep}\r\n");
        let answer = exchange(address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200") && !head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert_eq!(body.lines().count(), 50, "{body}");
        assert!(body.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{body}");
    }
    for (request, begin) in [
        ("OPTIONS / HTTP/1.0\r\n\r\n", "HTTP/1.0 204"),
        ("OPTIONS * HTTP/1.0\r\n\r\n", "HTTP/1.0 204"),
        ("OPTIONS / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "HTTP/1.1 204"),
        ("OPTIONS /health HTTP/1.0\r\n\r\n", "HTTP/1.0 204"),
        ("GET /health HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        ("HEAD /ready HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        ("GET /nothing HTTP/1.0\r\n\r\n", "HTTP/1.0 404"),
    ] {
        let answer = exchange(address, request).await;
        assert!(answer.starts_with(begin), "{request}: {answer}");
        assert!(!answer.to_lowercase().contains("transfer-encoding"), "{request}: {answer}");
    }
    let head = exchange(address, "HEAD /health HTTP/1.0\r\n\r\n").await;
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn websockets_are_at_mqtt_with_or_without_a_slash() {
    let stage = Stage::of(Launch::default().set("mqtt.ws_port", "0")).await;
    let address = stage.platform.mqtt_over("ws");
    let upgrade = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqtt\r\n\r\n"
        )
    };
    for (path, status) in [("/mqtt", "101"), ("/mqtt/", "101"), ("/mqtt/?x=1", "101"), ("/other", "404"), ("/", "404")]
    {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(upgrade(path).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer[9..], status.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn the_command_health_tells_by_its_exit_code() {
    let stage = Stage::start().await;
    let port = stage.platform.api_address().port().to_string();
    let health = async |port: &str, more: &[&str]| {
        let mut command = tokio::process::Command::new(binary());
        command.arg("health").args(["--set", "api.host=0.0.0.0", "--set", &format!("api.port={port}")]).args(more);
        let output = command.env_clear().stdin(Stdio::null()).output().await.unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    assert_eq!(health(&port, &[]).await.0, Some(0));
    assert_eq!(health(&port, &["--alive"]).await.0, Some(0));
    let (code, told) = health("1", &[]).await;
    assert!(code == Some(1) && told.contains("127.0.0.1:1"), "{told}");
    assert_eq!(health(&port, &["--mode", "broker"]).await.0, Some(2));
    let mqtt = stage.platform.mqtt().port().to_string();
    assert_eq!(health(&mqtt, &["--timeout", "1"]).await.0, Some(1));
}

/// Whether the kernel has a timer for a socket that the platform accepted from this port.
#[cfg(target_os = "linux")]
fn has_keep_alive(server: SocketAddr, client: SocketAddr) -> Option<bool> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let is_it = |fields: &Vec<&str>| port(fields[1]) == Some(server.port()) && port(fields[2]) == Some(client.port());
    let row = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).find(is_it)?;
    Some(row[5].starts_with("02:"))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_accepted_socket_is_watched_by_tcp() {
    let stage = Stage::of(Launch::default().set("mqtt.ws_port", "0")).await;
    for server in [stage.platform.api_address(), stage.platform.mqtt(), stage.platform.mqtt_over("ws")] {
        let socket = TcpStream::connect(server).await.unwrap();
        let client = socket.local_addr().unwrap();
        let watched = async {
            // For a moment there may be another timer, or the socket not be accepted yet.
            while has_keep_alive(server, client) != Some(true) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), watched).await.unwrap_or_else(|_| panic!("{server} is not watched"));
        drop(socket);
    }
}

/// A list of devices as a gateway of many retains it.
fn device_list(bytes: usize) -> Vec<u8> {
    let mut list = String::from("[");
    while list.len() < bytes - 200 {
        let n = list.len();
        list +=
            &format!("{{\"ieee_address\":\"0x00158d{n:010x}\",\"friendly_name\":\"sensor {n}\",\"definition\":null}},");
    }
    list += "{\"x\":\"";
    let missing = bytes - list.len() - 3;
    list += &"x".repeat(missing);
    list += "\"}]";
    assert_eq!(list.len(), bytes);
    list.into_bytes()
}

#[tokio::test]
async fn a_gateway_may_retain_the_list_of_its_devices() {
    let stage = Stage::start().await;
    let list = device_list(184_380);
    for level in [4, 5] {
        for qos in [0_u8, 1] {
            let client_id = format!("z2m-{level}-{qos}");
            let connect = Connect { client_id, level, ..Connect::of(&stage.device.id, &stage.device.token) };
            let mut wire = stage.accepted(&connect).await;
            let base = format!("zigbee2mqtt{level}{qos}");
            let topic = |name: &str| format!("{base}/{name}");
            let first = 0x31 | qos << 1;
            match level {
                4 => {
                    for (name, payload) in [("bridge/state", &b"{\"state\":\"online\"}"[..]), ("bridge/devices", &list)]
                    {
                        assert!(wire.publish_with(first, &topic(name), payload).await, "{level} {qos}");
                    }
                    assert!(wire.publish(&topic("kitchen"), b"{\"temperature\":21.5}").await);
                }
                _ if qos == 0 => {
                    wire.retain5(&topic("bridge/state"), b"{\"state\":\"online\"}").await;
                    wire.retain5(&topic("bridge/devices"), &list).await;
                    assert_eq!(wire.publish5(&topic("kitchen"), b"{\"temperature\":21.5}").await, 0);
                }
                _ => {
                    assert_eq!(wire.publish5_with(0x33, &topic("bridge/state"), b"{\"state\":\"online\"}").await, 0);
                    assert_eq!(wire.publish5_with(0x33, &topic("bridge/devices"), &list).await, 0);
                    assert_eq!(wire.publish5(&topic("kitchen"), b"{\"temperature\":21.5}").await, 0);
                }
            }
            let late = Connect { client_id: "late".into(), ..Connect::of(&stage.device.id, &stage.device.token) };
            let mut late = stage.accepted(&late).await;
            late.subscribe(&topic("bridge/devices")).await;
            let (retained, _, payload) = late.message().await;
            assert!(retained && payload == list, "{level} {qos}");
            late.subscribe(&topic("bridge/state")).await;
            assert_eq!(late.message().await.2, b"{\"state\":\"online\"}");
        }
    }
    // Readings are stored, and what is too large for the history says so.
    let kitchen = stage.rows().await.iter().filter(|row| row["payload"]["temperature"] == json!(21.5)).count();
    assert_eq!(kitchen, 4);
    let rejection = stage.rejection("not stored in the history").await;
    assert!(rejection["topic"].as_str().unwrap().ends_with("bridge/devices"), "{rejection}");
    stage.log_has("POCKET_MAX_PAYLOAD").await;
}

#[tokio::test]
async fn a_large_list_is_still_there_after_a_restart() {
    let mut stage = Stage::start().await;
    let list = device_list(300_000);
    assert!(stage.connected().await.publish_with(0x33, "zigbee2mqtt/bridge/devices", &list).await);
    stage.platform.stop().await;
    stage.platform.start_again().await;
    let mut late = stage.connected().await;
    late.subscribe("zigbee2mqtt/bridge/#").await;
    assert_eq!(late.message().await.2, list);
}

#[tokio::test]
async fn large_messages_have_a_bound_and_are_judged() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // Broken JSON stays broken, however large; a large reading is no configuration.
    let mut broken = device_list(100_000);
    broken.truncate(99_000);
    assert!(wire.publish_with(0x33, "gateway/list", &broken).await);
    assert_eq!(stage.rejection("not JSON").await["topic"], "gateway/list");
    assert!(wire.publish("gateway/reading", &device_list(100_000)).await);
    assert_eq!(stage.rejection("payload of 100000 bytes is larger than the 65536").await["topic"], "gateway/reading");
    assert!(wire.publish_with(0x33, "gateway/largest", &device_list(1 << 20)).await);
    assert_eq!(stage.rejection("payload of 1048576 bytes").await["topic"], "gateway/largest");
    assert!(!wire.publish_with(0x33, "gateway/larger", &device_list(2 << 20)).await);
    assert_eq!(stage.rejection("packet of 2097").await["topic"], "gateway/larger");
    stage.log_has("POCKET_MAX_RETAINED_PAYLOAD").await;
    assert_eq!(stage.rows().await.len(), 0);
}
