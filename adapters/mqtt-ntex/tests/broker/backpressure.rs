//! Storage that is slow or away: nothing is acknowledged too early, nothing is lost, nobody is punished.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pocket_application::IngestOptions;
use pocket_domain::NodeName;
use pocket_ports::{CommittedBatch, Storage, StorageError, WriteBatch, WriteStore};
use tokio::sync::Semaphore;

use crate::packets::{connect3, connect3_with, publish3};
use crate::platform::{Platform, rules};

/// Storage that commits a batch with messages when a permit is given.
struct Gated {
    inner: Arc<dyn WriteStore>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl WriteStore for Gated {
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        if !batch.messages.is_empty() {
            self.gate.acquire().await.unwrap().forget();
        }
        self.inner.commit(node, batch).await
    }
}

/// A platform whose storage commits when a permit is given.
pub(crate) async fn gated(ingest: IngestOptions) -> (Platform, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let storage = pocket_storage_memory::storage();
    let write = Arc::new(Gated { inner: Arc::clone(&storage.write), gate: Arc::clone(&gate) });
    (Platform::start_on(Storage { write, ..storage }, |_| {}, rules(&["#"]), ingest).await, gate)
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_commit() {
    let (platform, gate) = gated(IngestOptions::default()).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&publish3(1, "t", 1, b"1")).await;
    socket.expect_nothing().await;
    socket.send(&publish3(2, "t", 2, b"2")).await;
    // The retransmission of a message that is still being stored is not answered either.
    socket.send(&publish3(2, "t", 2, b"2")).await;
    socket.expect_nothing().await;
    gate.add_permits(10);
    socket.expect(b"\x40\x02\0\x01").await;
    socket.expect(b"\x50\x02\0\x02").await;
    platform.stored(&device, 2).await;
}

#[tokio::test]
async fn a_full_queue_holds_the_client_back_and_loses_nothing() {
    let (platform, gate) = gated(IngestOptions { queue: 3, batch: 1, ..Default::default() }).await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    let id = device.id.to_string();
    // A keep-alive of one second: being held back is not silence.
    socket.send(&connect3_with(0xc2, 1, "x", &[id.as_bytes(), device.token.as_bytes()])).await;
    socket.expect(b"\x20\x02\0\0").await;
    for id in 1..=20 {
        socket.send(&publish3(1, "t", id, id.to_string().as_bytes())).await;
        // Each in a read of its own, as far as the broker still reads.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(platform.broker.stats().messages_in[1] < 20, "{:?}", platform.broker.stats());
    gate.add_permits(100);
    for id in 1..=20 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
    platform.stored(&device, 20).await;
}

#[tokio::test]
async fn a_client_that_is_held_back_can_still_be_taken_over() {
    let (platform, gate) = gated(IngestOptions { queue: 1, batch: 1, ..Default::default() }).await;
    let device = platform.device("a").await;
    let mut first = platform.v3(&device, "x").await;
    for id in 1..=10 {
        first.send(&publish3(1, "t", id, b"1")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut second = platform.socket().await;
    second.send(&connect3(&device, "x")).await;
    second.expect(b"\x20\x02\0\0").await;
    first.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    gate.add_permits(100);
}

#[tokio::test]
async fn what_a_client_said_before_it_left_is_stored_when_there_is_room() {
    let (platform, gate) = gated(IngestOptions { queue: 1, batch: 1, ..Default::default() }).await;
    let device = platform.device("a").await;
    let mut first = platform.v3(&device, "x").await;
    for id in 1..=3 {
        first.send(&publish3(1, "t", id, b"1")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut leaving = platform.v3(&device, "y").await;
    leaving.send(&[publish3(0, "t", 0, b"2"), b"\xe0\0".to_vec()].concat()).await;
    leaving.break_off();
    gate.add_permits(100);
    platform.stored(&device, 4).await;
    assert_eq!(platform.broker.stats().dropped_not_stored, 0);
}
