//! The queue by itself.

use std::sync::atomic::AtomicUsize;

use pocket_domain::{TenantShare, Timestamp};
use pocket_ports::{Fate, Settled};

use super::super::tests::message;
use super::*;

fn submission(given: &Arc<AtomicUsize>) -> Submission {
    let given = Arc::clone(given);
    let receipt: pocket_ports::Receipt = Box::new(move |settled| {
        assert_eq!(settled, Ok(Settled::new(&[Fate::DeviceGone])));
        given.fetch_add(1, Ordering::SeqCst);
    });
    Submission { tenant: None, messages: vec![message("1")], changes: Vec::new(), receipt: Some(receipt) }
}

/// Submits without a pause until the queue is closed; how many were taken.
fn submit_until_closed(queue: &Queue, given: &Arc<AtomicUsize>) -> usize {
    let mut taken = 0;
    loop {
        match queue.push(submission(given)) {
            Ok(()) => taken += 1,
            Err(Refused::Full(_)) => std::thread::yield_now(),
            // Whoever gets it back has the receipt too; it must not be called.
            Err(Refused::Closed(submission)) => {
                assert!(submission.receipt.is_some());
                return taken;
            }
        }
    }
}

#[tokio::test]
async fn what_was_taken_while_the_queue_is_closed_is_written_to_the_last() {
    for round in 0..50 {
        let (queue, mut intake) = Queue::new(IngestOptions { queue: 100, ..IngestOptions::default() });
        let given = Arc::new(AtomicUsize::new(0));
        let submit = || {
            let (queue, given) = (Arc::clone(&queue), Arc::clone(&given));
            std::thread::spawn(move || submit_until_closed(&queue, &given))
        };
        let threads = [submit(), submit(), submit()];
        let mut written = 0;
        while let Some(batch) = intake.next().await {
            written += batch.messages.len();
            for Awaited { messages, receipt, .. } in batch.receipts {
                receipt.give(Settled::new(&vec![Fate::DeviceGone; messages]));
            }
            queue.written(batch.owners);
            if written > round * 20 {
                queue.close();
            }
        }
        let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!((taken, given.load(Ordering::SeqCst), queue.held()), (written, written, Weight::default()));
    }
}

fn tenant(number: u8) -> TenantId {
    TenantId::new(Timestamp::MIN, [number; 10])
}

fn of_tenant(number: u8, texts: &[String]) -> Submission {
    let messages = texts.iter().map(|text| message(text)).collect();
    Submission { tenant: Some(tenant(number)), messages, changes: Vec::new(), receipt: None }
}

/// Submits messages `1.0`, `1.1`, … until there is no room; how many there was room for.
fn fill(queue: &Queue, number: u8, each: usize) -> usize {
    let mut taken = 0;
    loop {
        let texts: Vec<String> = (taken..taken + each).map(|place| format!("{number}.{place}")).collect();
        match queue.push(of_tenant(number, &texts)) {
            Ok(()) => taken += each,
            Err(_) => return taken,
        }
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.messages.iter().map(|message| message.payload.as_str().trim_matches('"').to_owned()).collect()
}

#[tokio::test]
async fn a_tenant_that_fills_its_share_leaves_room_for_others() {
    let options = IngestOptions { queue: 1_000, ..IngestOptions::default() };
    let (queue, mut intake) = Queue::new(options);
    assert_eq!([fill(&queue, 1, 1), fill(&queue, 2, 1), fill(&queue, 1, 1)], [800, 160, 0]);
    queue.room(Some(tenant(3))).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.room(Some(tenant(1))).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    while queue.held() != Weight::default() {
        let batch = intake.next().await.unwrap();
        queue.written(batch.owners);
    }
    waiting.await.unwrap();
}

#[tokio::test]
async fn bytes_are_shared_too() {
    let options = IngestOptions { queue_bytes: 100_000, ..IngestOptions::default() };
    let (queue, _intake) = Queue::new(options);
    let large = || of_tenant(1, &["x".repeat(1_000)]);
    let count = std::iter::repeat_with(large).take_while(|_| queue.push(large()).is_ok()).count();
    assert!((60..80).contains(&count), "{count}");
    assert!(queue.push(of_tenant(2, &["x".repeat(1_000)])).is_ok());
}

#[tokio::test]
async fn batches_take_from_tenants_in_turn_and_keep_the_order_of_each() {
    let options = IngestOptions { queue: 100_000, share: TenantShare::of_percent(100), ..IngestOptions::default() };
    let (queue, mut intake) = Queue::new(options);
    let flood: Vec<String> = (0..40_000).map(|place| format!("1.{place}")).collect();
    for texts in flood.chunks(100) {
        assert!(queue.push(of_tenant(1, texts)).is_ok());
    }
    for place in 0..3 {
        assert!(queue.push(of_tenant(2, &[format!("2.{place}")])).is_ok());
    }
    // What came first fills the first batch; the one after it has all of the other tenant.
    let first = intake.next().await.unwrap();
    assert_eq!(texts(&first), flood[..first.messages.len()]);
    let second = intake.next().await.unwrap();
    let of_other = texts(&second).into_iter().filter(|text| text.starts_with("2.")).collect::<Vec<_>>();
    assert_eq!(of_other, ["2.0", "2.1", "2.2"]);
    assert!(second.messages.len() <= Batch::MOST_SHARED + Intake::TURN, "{}", second.messages.len());
    let mut all = texts(&first);
    all.extend(texts(&second));
    while all.len() < flood.len() + 3 {
        all.extend(texts(&intake.next().await.unwrap()));
    }
    all.retain(|text| text.starts_with("1."));
    assert_eq!(all, flood);
}

#[tokio::test]
async fn a_tenant_that_is_alone_has_batches_as_large_as_there_may_be() {
    let (queue, mut intake) = Queue::new(IngestOptions { queue: 100_000, ..IngestOptions::default() });
    fill(&queue, 1, 100);
    assert_eq!(intake.next().await.unwrap().messages.len(), Batch::MOST);
}
