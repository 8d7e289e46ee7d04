//! What anybody does with the REST API before and after a log-in.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_tests::{Launch, MIB, MemoryProbe, Platform, TwoTenants};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

const LOGIN: &str = "/api/v1/auth/login";

/// A client of another address of this machine.
fn from(address: &str) -> Client {
    let address: IpAddr = address.parse().expect("an address");
    Client::builder().local_address(address).build().expect("a client is made")
}

/// Tries to log in and gives the status.
async fn log_in(client: &Client, platform: &Platform, body: &Value, forwarded: Option<&str>) -> u16 {
    let request = client.post(format!("http://{}{LOGIN}", platform.api_address())).json(body);
    let request = match forwarded {
        Some(source) => request.header("x-forwarded-for", source),
        None => request,
    };
    request.send().await.expect("the API answers").status().as_u16()
}

fn guess(number: usize) -> Value {
    json!({ "username": "admin", "password": format!("guess number {number}") })
}

fn right() -> Value {
    json!({ "username": "admin", "password": Platform::ADMIN_PASSWORD })
}

#[tokio::test]
async fn nobody_is_locked_out_by_failures_from_elsewhere() {
    let platform = Launch::default().start().await;
    for last in 66..96 {
        let guesser = from(&format!("127.0.0.{last}"));
        for number in 0..12 {
            let expected = if number < 10 { [401, 429] } else { [429, 429] };
            let status = log_in(&guesser, &platform, &guess(number), None).await;
            assert!(expected.contains(&status), "guess {number} from {last}: {status}");
        }
    }
    for new in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(log_in(&from(new), &platform, &right(), None).await, 200, "{new}");
    }
}

#[tokio::test]
async fn guesses_in_parallel_are_not_heard_beyond_the_limit() {
    let platform = Launch::default().start().await;
    let client = Client::new();
    let tries: Vec<_> = (0..66)
        .map(|number| {
            let (client, body, address) = (client.clone(), guess(number), platform.api_address());
            tokio::spawn(async move {
                client.post(format!("http://{address}{LOGIN}")).json(&body).send().await.unwrap().status().as_u16()
            })
        })
        .collect();
    let mut heard = 0;
    for one in tries {
        match one.await.unwrap() {
            401 => heard += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert!(heard <= 10, "{heard} guesses were heard");
}

#[tokio::test]
async fn behind_a_trusted_proxy_failures_count_for_who_is_behind_it() {
    let platform = Launch::default().set("api.trusted_proxies", "127.0.0.0/8").start().await;
    let proxy = Client::new();
    for number in 0..60 {
        let invented = json!({ "username": format!("invented{number}"), "password": "x" });
        let status = log_in(&proxy, &platform, &invented, Some("198.51.100.7, 203.0.113.9")).await;
        assert!(if number < 50 { status == 401 } else { status == 429 }, "{number}: {status}");
    }
    assert_eq!(log_in(&proxy, &platform, &right(), Some("203.0.113.9, 192.0.2.5")).await, 200);
    assert_eq!(log_in(&proxy, &platform, &right(), Some("203.0.113.9")).await, 429);
}

#[tokio::test]
async fn no_name_of_a_log_in_begins_a_line_of_the_log() {
    let platform = Launch::default().start().await;
    let name = "x\n2026-01-01T00:00:00Z  INFO pocket_application::users: password changed\u{1b}[31m";
    let body = json!({ "username": name, "password": "x", "tenant": format!("t\r\n{}", "y".repeat(2_000)) });
    assert_eq!(log_in(&Client::new(), &platform, &body, None).await, 401);
    let log = platform.log();
    let line = log.lines().find(|line| line.contains("failed log-in")).unwrap();
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01")) && !log.contains('\u{1b}'), "{line}");
    assert!(line.len() < 512, "{line}");
}

#[tokio::test]
async fn memory_of_log_ins_that_fail_is_bounded() {
    let platform = Launch::default().start().await;
    let before = MemoryProbe::of(&platform);
    for address in 60..66 {
        let client = from(&format!("127.0.0.{address}"));
        for _ in 0..20 {
            let body = json!({ "username": "x".repeat(1 << 20), "password": "x" });
            assert_eq!(log_in(&client, &platform, &body, None).await, 413);
        }
    }
    before.never_grew_by(&platform, 40 * MIB);
    assert!(platform.log().len() < 1 << 20);
}

#[tokio::test]
async fn a_log_in_that_was_ended_stays_ended_after_a_restart() {
    let mut platform = Launch::default().start().await;
    let (ended, other) = (platform.admin().await, platform.admin().await);
    ended.post("/api/v1/auth/logout", Value::Null).await.expect(204);
    ended.get("/api/v1/auth/me").await.expect(401);
    let tokens = [&ended, &other].map(|api| api.token().unwrap().to_owned());
    platform.stop().await;
    platform.start_again().await;
    for (token, expected) in tokens.iter().zip([401, 200]) {
        let me = format!("http://{}/api/v1/auth/me", platform.api_address());
        let status = Client::new().get(me).bearer_auth(token).send().await.unwrap().status();
        assert_eq!(status.as_u16(), expected);
    }
}

#[tokio::test]
async fn metrics_with_a_token_and_those_behind_a_proxy_are_for_nobody_else() {
    let with_token = Launch::default().set("api.metrics_token", "s3cret").start().await;
    let without = Launch::default().start().await;
    let status = async |platform: &Platform, header: Option<(&str, &str)>| {
        let request = Client::new().get(format!("http://{}/metrics", platform.api_address()));
        let request = match header {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(&with_token, None).await, 401);
    assert_eq!(status(&with_token, Some(("authorization", "Bearer s3cret"))).await, 200);
    assert_eq!(status(&without, None).await, 200);
    for header in ["forwarded", "x-forwarded-for", "x-real-ip", "via", "x-forwarded-proto"] {
        assert_eq!(status(&without, Some((header, "for=192.0.2.1"))).await, 403, "{header}");
    }
}

#[tokio::test]
async fn gzip_that_becomes_too_much_is_refused_and_holds_up_nobody() {
    let tenants = TwoTenants::start(Launch::default()).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&[b'\n'; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let attack = (0..4).map(|_| {
        let request = tenants.a.operator.request(Method::POST, "/api/v1/telemetry/import");
        let request = request.header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
        tokio::spawn(request.body(bomb.clone()).send())
    });
    let attack: Vec<_> = attack.collect();
    let began = Instant::now();
    tenants.b.viewer.get("/api/v1/devices").await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for one in attack {
        let status = one.await.unwrap().unwrap().status();
        assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    }
}

#[tokio::test]
async fn exports_that_hardly_read_leave_places_for_another_tenant() {
    let tenants = TwoTenants::start(Launch::default()).await;
    let export = "/api/v1/telemetry/export";
    let payload = json!({ "text": "x".repeat(60_000) });
    for _ in 0..4 {
        let row = json!({ "deviceId": tenants.a.device.id, "topic": "a", "payload": payload });
        let rows: Vec<Value> = (0..200).map(|_| row.clone()).collect();
        tenants.a.operator.post("/api/v1/telemetry", json!(rows)).await.expect(201);
    }
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(tenants.a.viewer.request(Method::GET, export).send().await.unwrap());
    }
    let served = open.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert!((1..=4).contains(&served), "{served} exports of one tenant are served");
    assert!(open.iter().all(|answer| [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status())));
    let other = tenants.b.viewer.request(Method::GET, export).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    drop(open);
}

#[tokio::test]
async fn python_reads_why_a_body_that_is_too_large_is_refused() {
    let platform = Launch::default().start().await;
    let script = r#"
import http.client, sys
for _ in range(5):
    connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
    connection.request("POST", "/api/v1/auth/login", b" " * (20 << 20), {"content-type": "application/json"})
    answer = connection.getresponse()
    print(answer.status, len(answer.read()) > 0)
"#;
    let address = platform.api_address().to_string();
    let Ok(output) = Command::new("python3").args(["-c", script, &address]).output().await else {
        // There is no Python here.
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), ["413 True"; 5].join("\n"), "{}", String::from_utf8_lossy(&output.stderr));
}
