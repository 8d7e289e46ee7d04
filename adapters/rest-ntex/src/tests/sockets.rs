//! What clients that mean no good, or that are merely simple, do on a socket.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as Blocking};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{exchange, serve};

const LOGIN: &str = "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";

/// Sends all of a request before anything is read, as Python's `http.client` does, and reads until the server closes.
fn write_all_then_read(address: SocketAddr, head: &str, body: usize) -> std::io::Result<String> {
    let mut stream = Blocking::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(head.as_bytes())?;
    for _ in 0..body.div_ceil(1 << 16) {
        stream.write_all(&[b' '; 1 << 16])?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test]
async fn who_sends_a_whole_body_first_can_read_why_it_is_refused() {
    let (platform, running, address) = serve().await;
    let admin = platform.admin().await;
    let megabytes = 24 << 20;
    let length = format!("content-length: {megabytes}\r\n\r\n");
    let telemetry = "POST /api/v1/telemetry HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    for (head, status) in [
        (LOGIN.to_owned(), "413"),
        (telemetry.to_owned(), "401"),
        (format!("{telemetry}authorization: Bearer {admin}\r\n"), "413"),
        (format!("PUT /api/v1/nothing HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {admin}\r\n"), "404"),
        ("POST /health HTTP/1.1\r\nhost: a\r\n".to_owned(), "405"),
        (format!("{}authorization: Bearer {admin}\r\n", telemetry.replace("application/json", "text/plain")), "415"),
    ] {
        for _ in 0..3 {
            let request = format!("{head}{length}");
            let answer = tokio::task::spawn_blocking(move || write_all_then_read(address, &request, megabytes));
            let answer = answer.await.unwrap().unwrap_or_else(|error| error.to_string());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_refused_before_it_and_told_to_go_on_only_when_it_is_read() {
    let (platform, running, address) = serve().await;
    let admin = platform.admin().await;
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let tenant = serde_json::json!({ "id": me["tenantId"], "name": "default" });
    let viewer = platform.user(&admin, &tenant, "viewer").await;
    let json = "host: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n";
    let telemetry = format!("POST /api/v1/telemetry HTTP/1.1\r\n{json}");
    let import = format!("POST /api/v1/telemetry/import HTTP/1.1\r\n{}", json.replace("/json", "/x-ndjson"));
    let known = |head: &str, token: &str| format!("{head}authorization: Bearer {token}\r\n");
    for (head, length, status) in [
        (telemetry.clone(), 2_u64, "401"),
        (known(&telemetry, "x"), 2, "401"),
        (known(&telemetry, &viewer), 2, "403"),
        (known(&import, &viewer), 1 << 40, "403"),
        (import.clone(), 2, "401"),
        (known(&telemetry, &admin), 1 << 30, "413"),
        (format!("POST /api/v1/auth/login HTTP/1.1\r\n{json}"), 5_000, "413"),
        (known(&format!("POST /api/v1/nothing HTTP/1.1\r\n{json}"), &admin), 2, "404"),
        (format!("POST /health HTTP/1.1\r\n{json}"), 2, "405"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}content-length: {length}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Nothing of the body is sent, and the connection ends with the answer.
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await;
        assert!(read.is_ok_and(|read| read.is_ok()), "{head}: {answer}");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("x-request-id"),
            "{head}: {answer}"
        );
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = known(&telemetry, &admin);
    stream.write_all(format!("{head}connection: close\r\ncontent-length: 2\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"[]").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_nobody_read() {
    let (_platform, running, address) = serve().await;
    let body = " ".repeat(100_000);
    let health = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let both = format!("POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}{health}", body.len());
    let answers = exchange(address, &both).await;
    assert!(answers.starts_with("HTTP/1.1 404 ") && answers.contains("HTTP/1.1 200 OK"), "{answers}");
    running.stop().await;
}

#[tokio::test]
async fn lines_that_end_in_a_bare_line_feed_and_requests_without_a_host_are_refused() {
    let (_platform, running, address) = serve().await;
    for wrong in [
        "GET /health HTTP/1.1\nhost: a\nconnection: close\n\n",
        "GET /health HTTP/1.1\r\nhost: a\nconnection: close\r\n\r\n",
        "GET /health HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    ] {
        let answer = exchange(address, wrong).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("BAD_REQUEST"), "{wrong:?}: {answer}");
    }
    for right in ["GET /health HTTP/1.0\r\n\r\n", "GET /health HTTP/1.0\r\nhost: a\r\n\r\n"] {
        let answer = exchange(address, right).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("{\"status\":\"ok\"}"), "{right:?}: {answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn requests_that_strangers_leave_open_shut_out_nobody() {
    let (platform, running, address) = serve().await;
    let admin = platform.admin().await;
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{LOGIN}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
        open.push(stream);
    }
    let health = exchange(address, "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let me = "GET /api/v1/auth/me HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let known = exchange(address, &format!("{me}authorization: Bearer {admin}\r\n\r\n")).await;
    assert!(known.starts_with("HTTP/1.1 200 "), "{known}");
    let body = "{\"username\":\"admin\",\"password\":\"wrong\"}";
    let login = format!("{LOGIN}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let login = exchange(address, &login).await;
    assert!(login.starts_with("HTTP/1.1 401 "), "{login}");
    // The first ones made room.
    let mut answer = [0; 1];
    let first = tokio::time::timeout(Duration::from_secs(5), open[0].read(&mut answer)).await;
    assert!(matches!(first, Ok(Ok(0) | Err(_))), "{first:?}");
    drop(open);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_hardly_comes_ends_after_seconds() {
    let (_platform, running, address) = serve().await;
    let began = std::time::Instant::now();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(format!("{LOGIN}content-length: 100\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = loop {
        // A byte a second is not enough.
        match tokio::time::timeout(Duration::from_secs(1), slow.read(&mut answer)).await {
            Ok(read) => break read.unwrap(),
            Err(_) => slow.write_all(b" ").await.unwrap(),
        }
    };
    assert!(answer[..read].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    running.stop().await;
}
