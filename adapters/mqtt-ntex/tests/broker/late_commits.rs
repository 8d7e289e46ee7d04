//! Storage that takes its time with the broker's state: nobody is told of what is not committed, and nothing of it is lost.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_application::IngestOptions;
use pocket_domain::NodeName;
use pocket_ports::{CommittedBatch, Storage, StorageError, WriteBatch, WriteStore};
use tokio::sync::RwLock;

use crate::packets::{publish3, subscribe3};
use crate::platform::{Platform, Socket, rules};

/// Storage that commits nothing while somebody holds the lock.
struct Held {
    inner: Arc<dyn WriteStore>,
    lock: Arc<RwLock<()>>,
}

#[async_trait]
impl WriteStore for Held {
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        let _free = self.lock.read().await;
        self.inner.commit(node, batch).await
    }
}

/// A platform, and the lock that holds its commits up.
async fn held(ingest: IngestOptions) -> (Platform, Arc<RwLock<()>>) {
    let lock = Arc::<RwLock<()>>::default();
    let storage = pocket_storage_memory::storage();
    let write = Arc::new(Held { inner: Arc::clone(&storage.write), lock: Arc::clone(&lock) });
    (Platform::start_on(Storage { write, ..storage }, |_| {}, rules(&[]), ingest).await, lock)
}

/// Sends messages of QoS 2 to a subscriber, which gets them as packets 1, 2, ….
async fn bring(publisher: &mut Socket, subscriber: &mut Socket, count: u16) {
    for id in 1..=count {
        publisher.send(&publish3(2, "t", id, b"x")).await;
        assert_eq!(publisher.packet().await[0], 0x50);
        subscriber.expect(&publish3(2, "t", id, b"x")).await;
    }
}

#[tokio::test]
async fn an_answer_waits_for_its_commit_whatever_came_in_the_same_read() {
    let (platform, lock) = held(IngestOptions::default()).await;
    let device = platform.device("a").await;
    let mut publisher = platform.v3(&device, "p").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 2)])).await;
    socket.packet().await;
    bring(&mut publisher, &mut socket, 3).await;
    socket.send(b"\x50\x02\0\x01\x50\x02\0\x03").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x03").await;
    let holding = lock.write().await;
    // PUBREC and SUBSCRIBE, each before a PUBCOMP, with which the broker looks for more to send.
    socket
        .send(
            &[b"\x50\x02\0\x02\x70\x02\0\x01".to_vec(), subscribe3(2, &[("u", 1)]), b"\x70\x02\0\x03".to_vec()]
                .concat(),
        )
        .await;
    // Twice: the first ping may come in the same read, and is answered before its end.
    socket.expect_nothing().await;
    socket.expect_nothing().await;
    drop(holding);
    socket.expect(b"\x62\x02\0\x02").await;
    socket.expect(b"\x90\x03\0\x02\x01").await;
}

#[tokio::test]
async fn what_a_session_noted_is_stored_when_its_connection_is_taken_over_before_there_is_room() {
    let (platform, lock) = held(IngestOptions { queue: 1, batch: 1, ..Default::default() }).await;
    let device = platform.device("a").await;
    let (mut first, _) = platform.v3_kept(&device, "s").await;
    platform.eventually_stored(|state| !state.sessions.is_empty()).await;
    let holding = lock.write().await;
    // Each in a read of its own: the first fills the queue, the second waits for room.
    for (id, filter) in [(1, "t/1"), (2, "t/2")] {
        first.send(&subscribe3(id, &[(filter, 1)])).await;
        platform.eventually(|platform| platform.broker.stats().subscriptions == u64::from(id)).await;
    }
    let (second, present) = platform.v3_kept(&device, "s").await;
    assert!(present);
    first.expect_closed().await;
    drop(holding);
    platform
        .eventually_stored(|state| {
            state.sessions.iter().any(|session| {
                let filters: Vec<&str> = session.subscriptions.iter().map(|held| &*held.filter).collect();
                ["t/1", "t/2"].iter().all(|filter| filters.contains(filter))
            })
        })
        .await;
    drop(second);
}
