//! What only shows on a socket.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::platform::{LIMITS, PASSWORD, Platform};
use crate::config::RestConfig;
use crate::server::{Rest, RestError, RunningRest};

const DEADLINE: Duration = Duration::from_secs(3);

pub(super) async fn serve() -> (Platform, RunningRest, SocketAddr) {
    let platform = Platform::start().await;
    let rest = Rest::bind(config(&platform, "127.0.0.1", 0)).unwrap();
    let address = rest.addresses()[0];
    let running = rest.serve(platform.application.clone()).await.unwrap();
    (platform, running, address)
}

fn config(platform: &Platform, host: &str, port: u16) -> RestConfig {
    RestConfig {
        host: host.to_owned(),
        port,
        // One thread reads in the order in which was sent.
        workers: 1,
        shutdown_deadline: DEADLINE,
        body_limits: LIMITS,
        metrics: platform.shared.metrics.clone(),
        trusted_proxies: Vec::new(),
        cors: crate::Cors::default(),
    }
}

/// Sends text on a connection of its own and gives what came back until the server closed it.
pub(super) async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn requests_are_served_on_a_socket() {
    let (_platform, running, address) = serve().await;
    let get = exchange(address, "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n") && get.ends_with("\r\n\r\n{\"status\":\"ok\"}"), "{get}");
    let head = exchange(address, "HEAD /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-length: 15\r\n"), "{head}");
    let metrics = exchange(address, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(metrics.contains("pocket_up 1"), "{metrics}");
    running.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let (_platform, running, address) = serve().await;
    let request = "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let announced = exchange(address, &format!("{request}content-length: {}\r\n\r\n", LIMITS.other + 1)).await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    assert!(announced.contains("\"code\":\"PAYLOAD_TOO_LARGE\""), "{announced}");
    let chunk = format!("{:x}\r\n{}\r\n", LIMITS.other + 1, " ".repeat(LIMITS.other + 1));
    let chunked = exchange(address, &format!("{request}transfer-encoding: chunked\r\n\r\n{chunk}")).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_http_does_no_harm() {
    let (_platform, running, address) = serve().await;
    for garbage in
        ["\u{10}\u{c}\0\u{4}MQTT\u{4}\u{2}\0\u{3c}\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n"]
    {
        let answer = exchange(address, garbage).await;
        assert!(answer.is_empty() || answer.contains("\"code\":\"BAD_REQUEST\""), "{garbage:?}: {answer}");
    }
    let get = exchange(address, "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
    running.stop().await;
}

#[tokio::test]
async fn the_head_of_a_request_has_limits() {
    let (_platform, running, address) = serve().await;
    let head = |fields: &str| format!("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
    let long = |length: usize| format!("x: {}\r\n", "y".repeat(length));
    assert!(exchange(address, &head(&long(60_000))).await.starts_with("HTTP/1.1 200 "));
    let refused = exchange(address, &head(&long(80_000))).await;
    assert!(refused.starts_with("HTTP/1.1 431 ") && refused.contains("\"code\":\"HEAD_TOO_LARGE\""), "{refused}");
    assert!(refused.contains("x-request-id: ") && refused.contains("application/problem+json"), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (_platform, running, address) = serve().await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1_024];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    let began = Instant::now();
    running.stop().await;
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert_eq!(idle.read(&mut buffer).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_request_that_is_being_served_is_answered_before_the_end() {
    let (_platform, running, address) = serve().await;
    let health = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // A connection that was closed before is what makes ntex forget those that are open.
    assert!(exchange(address, health).await.starts_with("HTTP/1.1 200 "));
    let body = format!("{{\"username\":\"admin\",\"password\":\"{PASSWORD}\"}}");
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let begun = format!("{head}content-length: {}\r\n\r\n{}", body.len(), &body[..5]);
    slow.write_all(begun.as_bytes()).await.unwrap();
    // The server has read that far when it answers one that came later.
    assert!(exchange(address, health).await.starts_with("HTTP/1.1 200 "));
    let stopping = tokio::spawn(running.stop());
    while exchange(address, health).await.starts_with("HTTP/1.1 200 ") {}
    slow.write_all(&body.as_bytes()[5..]).await.unwrap();
    let mut answer = [0; 64];
    assert!(slow.read(&mut answer).await.unwrap() > 0);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_holds_up_the_end_until_the_deadline() {
    let (_platform, running, address) = serve().await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let begun =
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    slow.write_all(begun.as_bytes()).await.unwrap();
    let began = Instant::now();
    running.stop().await;
    assert!(began.elapsed() < DEADLINE + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let platform = Platform::start().await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let error = Rest::bind(config(&platform, "127.0.0.1", port)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port} for REST: ")), "{error}");
    for nowhere in ["no host", "203.0.113.1"] {
        assert!(matches!(Rest::bind(config(&platform, nowhere, 0)), Err(RestError::Bind { .. })), "{nowhere}");
    }
}

#[tokio::test]
async fn a_name_may_stand_for_several_addresses() {
    let platform = Platform::start().await;
    let rest = Rest::bind(config(&platform, "localhost", 0)).unwrap();
    let ports: Vec<u16> = rest.addresses().iter().map(SocketAddr::port).collect();
    assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}
