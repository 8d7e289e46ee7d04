//! Cases of [`WriteStore`](crate::WriteStore): the numbers of batches, and the order of ids across them.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceId, NodeName, Payload, TelemetryId, TenantId};

use super::fixture::{device, message, tenant};
use super::race::both;
use super::reading::{TOPIC, oldest_first, seconds};
use crate::{CommittedBatch, Storage, StorageError, WriteBatch};

fn node(name: &str) -> Option<NodeName> {
    Some(NodeName::parse(name).unwrap())
}

/// A batch of messages about these moments.
fn batch(tenant: TenantId, device: DeviceId, seconds: std::ops::Range<u64>) -> WriteBatch {
    WriteBatch::of_messages(seconds.map(|second| message(tenant, device, TOPIC, second)).collect::<Vec<_>>())
}

async fn commit(storage: &Storage, node: Option<&NodeName>, batch: WriteBatch) -> CommittedBatch {
    storage.write.commit(node, batch).await.unwrap()
}

fn ids(batch: &CommittedBatch) -> Vec<TelemetryId> {
    batch.ids.iter().copied().flatten().collect()
}

pub async fn batches_are_numbered_in_the_order_of_their_commits(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    for name in [node("main"), None] {
        for number in 1..=5 {
            let committed = commit(storage, name.as_ref(), batch(acme, boiler, number..number + 2)).await;
            assert_eq!((committed.number.get(), committed.ids.len()), (number, 2));
        }
    }
    assert_eq!(seconds(storage, acme, &oldest_first()).await.len(), 20);
}

pub async fn a_batch_without_anything_has_a_number(storage: &Storage) {
    for number in 1..=2 {
        let committed = commit(storage, node("main").as_ref(), WriteBatch::default()).await;
        assert_eq!((committed.number.get(), committed.ids), (number, vec![]));
    }
}

pub async fn the_batches_of_each_writer_are_numbered_by_themselves(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let names = [node("main"), node("other"), None];
    for number in 1..=3 {
        for name in &names {
            let committed = commit(storage, name.as_ref(), batch(acme, boiler, 1..2)).await;
            assert_eq!(committed.number.get(), number, "{name:?}");
        }
    }
}

pub async fn ids_grow_in_the_order_of_the_batches(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let mut all = Vec::new();
    for round in 0..4 {
        all.extend(ids(&commit(storage, node("main").as_ref(), batch(acme, boiler, 0..700)).await));
        // Others draw ids in between.
        commit(storage, node("other").as_ref(), batch(acme, boiler, 0..3)).await;
        storage.telemetry.append([message(acme, boiler, TOPIC, round)].into()).await.unwrap();
    }
    assert!(all.len() == 2_800 && all.is_sorted_by(|earlier, later| earlier < later));
}

pub async fn batches_that_are_handed_over_at_once_are_numbered_as_their_ids_grow(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let name = node("main");
    let mut all = Vec::new();
    for _ in 0..5 {
        let one = || commit(storage, name.as_ref(), batch(acme, boiler, 0..50));
        let ((first, second), third) = both(both(one(), one()), one()).await;
        all.extend([first, second, third]);
    }
    all.sort_by_key(|batch| batch.number);
    assert!(all.iter().map(|batch| batch.number.get()).eq(1..=15), "{all:?}");
    let ids: Vec<TelemetryId> = all.iter().flat_map(ids).collect();
    assert!(ids.len() == 750 && ids.is_sorted_by(|earlier, later| earlier < later));
}

pub async fn a_batch_that_is_refused_leaves_no_hole(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let name = node("main");
    let mut last = commit(storage, name.as_ref(), batch(acme, boiler, 0..1)).await.number.get();
    let mut poison = message(acme, boiler, TOPIC, 1);
    // Not every database refuses this.
    poison.payload = Payload::from_stored("\"\0\"");
    match storage.write.commit(name.as_ref(), WriteBatch::of_messages([poison])).await {
        Ok(committed) => last = committed.number.get(),
        Err(refusal) => assert!(matches!(refusal, StorageError::Backend(_)), "{refusal:?}"),
    }
    assert_eq!(commit(storage, name.as_ref(), batch(acme, boiler, 2..3)).await.number.get(), last + 1);
}
