//! Many connections with large messages while the database is away: memory stays within the bounds of the queue.

use std::time::Duration;

use pocket_tests::{Launch, StrictClient};
use rumqttc::QoS;
use tokio::time::Instant;

use super::{Locker, PATIENCE, figure};

const MIB: u64 = 1 << 20;
const CONNECTIONS: usize = 50;
const PAYLOAD: usize = 60_000;
/// What one read of a connection may bring.
const READ: u64 = 256 * 1_024;

/// Publishes large messages as fast as they are taken, until it is stopped. Returns how many.
async fn flood(mut client: StrictClient, until: Instant) -> (StrictClient, usize) {
    let payload = format!("\"{}\"", "x".repeat(PAYLOAD));
    let mut count = 0;
    loop {
        let published = client.publish("flood/t", QoS::AtLeastOnce, payload.clone());
        match tokio::time::timeout_at(until, published).await {
            Ok(sent) => sent.unwrap(),
            // The rest of the message waits in the socket, and nothing follows it on this connection.
            Err(_) => return (client, count),
        }
        count += 1;
    }
}

#[tokio::test]
async fn large_messages_of_many_connections_take_no_more_memory_than_the_queue_may() {
    let bound = 8 * MIB;
    let launch = Launch::default().set("ingest.queue_bytes", &bound.to_string());
    let platform = launch.start().await;
    let admin = platform.admin().await;
    let (id, token) = admin.register_device("boiler").await;
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        let mut client = StrictClient::new(&format!("p{number}"), &id, &token);
        client.connect(platform.mqtt()).await.unwrap();
        clients.push(client);
    }
    let locker = Locker::lock(&platform).await;
    let before = platform.memory();
    let until = Instant::now() + Duration::from_secs(4);
    let floods: Vec<_> = clients.into_iter().map(|client| tokio::spawn(flood(client, until))).collect();
    let mut published = 0;
    for flood in floods {
        published += flood.await.unwrap().1;
    }
    assert!((published * PAYLOAD) as u64 > 2 * bound, "{published} messages are no flood");
    let queued = figure(&platform.api(), "pocket_ingest_queued_bytes").await;
    // One tenant may have a share of it.
    assert!(queued >= bound / 100 * 80, "the queue has room: {queued}");
    assert!(queued <= bound + READ, "{queued} bytes are queued, {bound} were allowed");
    assert!(figure(&platform.api(), "pocket_ingest_queue_full_total").await >= CONNECTIONS as u64 / 2);
    // What is queued, what a transaction has of it beside, and what each connection holds back and has in its buffers.
    let allowed = 2 * bound + 2 * CONNECTIONS as u64 * READ;
    let grown = platform.memory().peak.saturating_sub(before.now);
    assert!(grown <= allowed, "{} MiB were taken, {} were allowed", grown / MIB, allowed / MIB);
    locker.let_go().await;
    let began = Instant::now();
    while figure(&platform.api(), "pocket_ingest_queued_bytes").await > 0 {
        assert!(began.elapsed() < PATIENCE, "the queue is not written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
