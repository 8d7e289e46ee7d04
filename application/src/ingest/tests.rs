//! The ingest against a store that does as it is told: away, refusing, slow.

use std::collections::VecDeque;
use std::sync::Mutex;

use pocket_domain::{
    AggregateQuery, DeviceId, LatestQuery, LatestValues, NewTelemetry, Payload, Series, TelemetryId, TelemetryPage,
    TelemetryPart, TelemetryQuery, TelemetryScan, TenantId, Timestamp, TopicName, Usage,
};
use pocket_ports::{
    BatchNumber, BrokerChange, BrokerKey, CommittedBatch, Conflict, Fate, Held, Import, IngestError, Pruned,
    StorageError, SystemClock, WriteBatch,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

/// Keeps batches; refuses payloads that say `poison`; fails first with what `failures` holds.
#[derive(Default)]
struct ToldStore {
    batches: Mutex<Vec<Vec<String>>>,
    aside: Mutex<Vec<String>>,
    failures: Mutex<VecDeque<StorageError>>,
    stuck: bool,
    changes: Mutex<Vec<BrokerChange>>,
}

#[async_trait]
impl TelemetryStore for ToldStore {
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError> {
        if self.stuck {
            std::future::pending::<()>().await;
        }
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        let texts: Vec<_> = messages.iter().map(|message| message.payload.as_str().to_owned()).collect();
        if texts.iter().any(|text| text.contains("poison")) {
            return Err(StorageError::Backend("poison".into()));
        }
        let mut batches = self.batches.lock().unwrap();
        let first = batches.iter().map(Vec::len).sum::<usize>() as u64;
        batches.push(texts);
        Ok((0..messages.len() as u64).map(|n| Some(TelemetryId::from_key(first + n))).collect())
    }

    async fn set_aside(&self, message: &NewTelemetry, reason: &str, _: Timestamp) -> Result<(), StorageError> {
        self.aside.lock().unwrap().push(format!("{}: {reason}", message.payload.as_str()));
        Ok(())
    }

    async fn range(&self, _: TenantId, _: &TelemetryQuery) -> Result<TelemetryPage, StorageError> {
        Err(StorageError::Backend("nothing is read here".into()))
    }

    async fn import(&self, _: Arc<[NewTelemetry]>) -> Result<Import, StorageError> {
        Err(StorageError::Backend("nothing is imported here".into()))
    }

    async fn scan(&self, _: TenantId, _: &TelemetryScan) -> Result<TelemetryPart, StorageError> {
        Err(StorageError::Backend("nothing is read here".into()))
    }

    async fn aggregate(&self, _: TenantId, _: &AggregateQuery) -> Result<Vec<Series>, StorageError> {
        Err(StorageError::Backend("nothing is read here".into()))
    }

    async fn latest(&self, _: TenantId, _: DeviceId, _: &LatestQuery) -> Result<LatestValues, StorageError> {
        unreachable!()
    }

    async fn usage(&self, _: TenantId) -> Result<Usage, StorageError> {
        Err(StorageError::Backend("nothing is read here".into()))
    }

    async fn prune_within(&self, _: Timestamp, _: &Held) -> Result<Pruned, StorageError> {
        Err(StorageError::Backend("nothing is removed here".into()))
    }
}

#[async_trait]
impl WriteStore for ToldStore {
    /// Refuses the end of the session with the key 13.
    async fn commit(&self, _: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        if batch.changes.contains(&ended(13)) {
            return Err(StorageError::Backend("thirteen".into()));
        }
        let ids = if batch.messages.is_empty() { Vec::new() } else { self.append(batch.messages).await? };
        self.changes.lock().unwrap().extend_from_slice(&batch.changes);
        Ok(CommittedBatch::new(BatchNumber::MIN, ids))
    }
}

fn ended(session: u64) -> BrokerChange {
    BrokerChange::SessionEnded(BrokerKey::new(session).unwrap())
}

impl ToldStore {
    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }
}

fn ingest(store: &Arc<ToldStore>, options: IngestOptions) -> BatchingIngest {
    let store = IngestStore {
        telemetry: Arc::clone(store) as Arc<dyn TelemetryStore>,
        write: Arc::clone(store) as Arc<dyn WriteStore>,
        node: Some(NodeName::default()),
    };
    BatchingIngest::start(store, Arc::new(SystemClock), options)
}

pub(super) fn message(text: &str) -> NewTelemetry {
    NewTelemetry {
        tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
        device_id: DeviceId::new(Timestamp::MIN, [2; 10]),
        topic: TopicName::parse("t").unwrap(),
        payload: Payload::from_stored(format!("\"{text}\"")),
        timestamp: Timestamp::MIN,
        received_at: Timestamp::MIN,
    }
}

fn unawaited(count: usize) -> Submission {
    Submission {
        tenant: None,
        messages: (0..count).map(|n| message(&n.to_string())).collect(),
        changes: Vec::new(),
        receipt: None,
    }
}

fn awaited(texts: &[&str]) -> (Submission, oneshot::Receiver<Result<Vec<Fate>, IngestError>>) {
    let (sender, receiver) = oneshot::channel();
    let receipt: pocket_ports::Receipt = Box::new(move |result| {
        let _ = sender.send(result.map(|settled| settled.fates.to_vec()));
    });
    let messages = texts.iter().map(|text| message(text)).collect();
    (Submission { tenant: None, messages, changes: Vec::new(), receipt: Some(receipt) }, receiver)
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_written_at_once() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let begin = Instant::now();
    assert!(ingest.submit(unawaited(99)).is_ok());
    assert!(ingest.submit(unawaited(1)).is_ok());
    while store.sizes().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.sizes(), [100]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_the_flush_interval() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    assert!(ingest.submit(unawaited(99)).is_ok());
    tokio::time::sleep(Duration::from_millis(1_999)).await;
    assert!(store.sizes().is_empty());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(store.sizes(), [99]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_somebody_waits_for_takes_the_others_along_at_once() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let begin = Instant::now();
    assert!(ingest.submit(unawaited(3)).is_ok());
    let (submission, receipt) = awaited(&["a", "b"]);
    assert!(ingest.submit(submission).is_ok());
    let fates = receipt.await.unwrap().unwrap();
    assert_eq!(fates, [3, 4].map(|key| Fate::Stored(TelemetryId::from_key(key))));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(ingest.stats().stored, 5);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_is_tried_until_it_is_back() {
    let store = Arc::<ToldStore>::default();
    store.failures.lock().unwrap().extend(vec![StorageError::Unavailable("gone".into()); 5]);
    let ingest = ingest(&store, IngestOptions::default());
    let (submission, receipt) = awaited(&["a"]);
    assert!(ingest.submit(submission).is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ingest.trouble().as_deref(), Some("gone"));
    assert!(matches!(receipt.await.unwrap().unwrap()[..], [Fate::Stored(_)]));
    assert_eq!(ingest.stats().retries, 5);
    assert_eq!(ingest.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_message_is_put_aside_and_the_rest_is_stored_in_order() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let (submission, receipt) = awaited(&["a", "b", "poison", "c", "d"]);
    assert!(ingest.submit(submission).is_ok());
    let fates = receipt.await.unwrap().unwrap();
    assert_eq!(fates.iter().filter(|fate| matches!(fate, Fate::Stored(_))).count(), 4);
    assert_eq!(fates[2], Fate::SetAside);
    assert_eq!(store.batches.lock().unwrap().concat(), ["\"a\"", "\"b\"", "\"c\"", "\"d\""]);
    assert_eq!(*store.aside.lock().unwrap(), ["\"poison\": storage failed: poison"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_hands_the_messages_back_until_there_is_room() {
    let store = Arc::<ToldStore>::default();
    let options = IngestOptions { batch: 1_000, queue: 10, ..IngestOptions::default() };
    let ingest = ingest(&store, options);
    assert!(ingest.submit(unawaited(9)).is_ok());
    assert!(ingest.submit(unawaited(1)).is_ok());
    let Err(Refused::Full(back)) = ingest.submit(unawaited(1)) else { panic!("the queue took more than its bound") };
    assert_eq!(back.messages.len(), 1);
    ingest.room(None).await;
    assert!(ingest.submit(back).is_ok());
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(store.sizes(), [10, 1]);
}

#[tokio::test(start_paused = true)]
async fn draining_writes_what_is_queued_and_takes_no_more() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    assert!(ingest.submit(unawaited(5)).is_ok());
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(store.sizes(), [5]);
    assert!(matches!(ingest.submit(unawaited(1)), Err(Refused::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_drained_in_time_is_counted_and_told_to_those_who_wait() {
    let store = Arc::new(ToldStore { stuck: true, ..ToldStore::default() });
    let ingest = ingest(&store, IngestOptions::default());
    let (first, taken_by_writer) = awaited(&["a"]);
    assert!(ingest.submit(first).is_ok());
    tokio::task::yield_now().await;
    let (second, still_queued) = awaited(&["b", "c"]);
    assert!(ingest.submit(second).is_ok());
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored { messages: 3, changes: 0 });
    assert_eq!(taken_by_writer.await.unwrap(), Err(IngestError::Closed));
    assert_eq!(still_queued.await.unwrap(), Err(IngestError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_a_bound_and_order_is_kept_across_it() {
    let store = Arc::<ToldStore>::default();
    let options = IngestOptions { queue: 100_000, ..IngestOptions::default() };
    let ingest = ingest(&store, options);
    for _ in 0..25 {
        assert!(ingest.submit(unawaited(1_000)).is_ok());
    }
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(store.sizes(), [10_000, 10_000, 5_000]);
}

#[tokio::test(start_paused = true)]
async fn changes_are_committed_with_their_messages() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let (submission, receipt) = awaited(&["a"]);
    assert!(ingest.submit(Submission { changes: vec![ended(1), ended(2)], ..submission }).is_ok());
    assert_eq!(receipt.await.unwrap().unwrap().len(), 1);
    assert_eq!(*store.changes.lock().unwrap(), [ended(1), ended(2)]);
    assert_eq!(ingest.stats().commits, 1);
    // Changes alone are worth a commit, too.
    let (submission, receipt) = awaited(&[]);
    assert!(ingest.submit(Submission { changes: vec![ended(3)], ..submission }).is_ok());
    assert_eq!(receipt.await.unwrap().unwrap(), []);
    assert_eq!(store.changes.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_hinders_neither_the_other_changes_nor_the_messages() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let (submission, receipt) = awaited(&["a", "poison"]);
    let changes = vec![ended(1), ended(13), ended(2)];
    assert!(ingest.submit(Submission { changes, ..submission }).is_ok());
    assert_eq!(receipt.await.unwrap().unwrap()[1], Fate::SetAside);
    assert_eq!(*store.changes.lock().unwrap(), [ended(1), ended(2)]);
    assert_eq!(ingest.stats().changes_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn each_submission_learns_which_of_its_changes_were_given_up() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let submit = |changes: Vec<BrokerChange>| {
        let (sender, receiver) = oneshot::channel();
        let receipt: pocket_ports::Receipt = Box::new(move |settled| {
            let settled = settled.unwrap();
            let _ = sender.send((settled.fates.to_vec(), settled.refused_changes.to_vec()));
        });
        let messages = vec![message("a")];
        assert!(ingest.submit(Submission { tenant: None, messages, changes, receipt: Some(receipt) }).is_ok());
        receiver
    };
    let receipts = [
        submit(vec![ended(1)]),
        submit(vec![ended(2), ended(13), ended(3), ended(13)]),
        submit(vec![]),
        submit(vec![ended(13)]),
    ];
    for (receipt, refused) in receipts.into_iter().zip([vec![], vec![1, 3], vec![], vec![0]]) {
        let (fates, told) = receipt.await.unwrap();
        assert!(matches!(fates[..], [Fate::Stored(_)]) && told == refused, "{fates:?} {told:?}");
    }
    assert_eq!(*store.changes.lock().unwrap(), [ended(1), ended(2), ended(3)]);
    assert_eq!(ingest.stats().changes_refused, 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_once_another_process_has_the_name() {
    let store = Arc::<ToldStore>::default();
    store.failures.lock().unwrap().extend(vec![StorageError::Conflict(Conflict::Node); 100]);
    let ingest = ingest(&store, IngestOptions::default());
    let (submission, receipt) = awaited(&["a"]);
    assert!(ingest.submit(submission).is_ok());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(ingest.trouble().is_some_and(|cause| cause.contains("POCKET_NODE")), "{:?}", ingest.trouble());
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored { messages: 1, changes: 0 });
    assert_eq!(receipt.await.unwrap(), Err(IngestError::Closed));
    assert!(store.aside.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_client_was_told_does_not_wait_for_the_flush_interval() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    let begin = Instant::now();
    let lasting = |change| Submission { tenant: None, messages: Vec::new(), changes: vec![change], receipt: None };
    let key = BrokerKey::MIN;
    assert!(ingest.submit(lasting(BrokerChange::Delivered { delivery: key, message: key })).is_ok());
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(store.changes.lock().unwrap().is_empty());
    assert!(ingest.submit(lasting(ended(1))).is_ok());
    while store.changes.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(begin.elapsed(), Duration::from_millis(1_000));
}

#[tokio::test(start_paused = true)]
async fn changes_count_for_the_bound_of_the_queue() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions { batch: 1_000, queue: 3, ..IngestOptions::default() });
    let changes = || Submission { tenant: None, messages: Vec::new(), changes: vec![ended(1); 3], receipt: None };
    assert!(ingest.submit(changes()).is_ok());
    assert!(matches!(ingest.submit(changes()), Err(Refused::Full(_))));
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(store.changes.lock().unwrap().len(), 3);
}

/// A submission of one message that takes so many bytes.
fn of_bytes(bytes: usize) -> Submission {
    let rest = std::mem::size_of::<NewTelemetry>() + "t".len() + "\"\"".len();
    Submission { tenant: None, messages: vec![message(&"x".repeat(bytes - rest))], changes: Vec::new(), receipt: None }
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_bytes_and_one_submission_may_go_beyond() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions { queue_bytes: 10_000, ..IngestOptions::default() });
    assert!(ingest.submit(of_bytes(9_999)).is_ok());
    assert_eq!((ingest.stats().queued, ingest.stats().queued_bytes), (1, 9_999));
    assert!(ingest.submit(of_bytes(50_000)).is_ok(), "there is a byte of room");
    assert_eq!(ingest.stats().queued_bytes, 59_999);
    let Err(Refused::Full(back)) = ingest.submit(of_bytes(200)) else { panic!("the queue took more than its bound") };
    assert_eq!(ingest.stats().queue_full, 1);
    ingest.room(None).await;
    assert_eq!(ingest.stats().queued_bytes, 0);
    assert!(ingest.submit(back).is_ok());
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(ingest.stats().queued_bytes, 0);
    assert_eq!(store.sizes(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn exactly_the_bound_of_bytes_is_full() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions { queue_bytes: 10_000, ..IngestOptions::default() });
    assert!(ingest.submit(of_bytes(10_000)).is_ok());
    assert!(matches!(ingest.submit(of_bytes(200)), Err(Refused::Full(_))));
}

#[tokio::test(start_paused = true)]
async fn what_the_writer_is_at_counts_for_the_bound_of_bytes() {
    let store = Arc::new(ToldStore { stuck: true, ..ToldStore::default() });
    let ingest = ingest(&store, IngestOptions { batch: 1, queue_bytes: 10_000, ..IngestOptions::default() });
    assert!(ingest.submit(of_bytes(10_000)).is_ok());
    tokio::task::yield_now().await;
    assert!(matches!(ingest.submit(of_bytes(200)), Err(Refused::Full(_))));
    assert_eq!(ingest.stats().queued_bytes, 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_a_bound_of_bytes() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions::default());
    for _ in 0..17 {
        assert!(ingest.submit(of_bytes(1 << 20)).is_ok());
    }
    assert_eq!(ingest.drain(Duration::from_secs(1)).await, NotStored::default());
    assert_eq!(store.sizes(), [8, 8, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_retained_payload_and_the_deliveries_of_a_message_count_in_bytes() {
    let store = Arc::<ToldStore>::default();
    let ingest = ingest(&store, IngestOptions { queue_bytes: 10_000, ..IngestOptions::default() });
    let record = Arc::new(pocket_ports::MessageRecord {
        key: BrokerKey::MIN,
        topic: TopicName::parse("t").unwrap(),
        payload: vec![0; 9_000].into(),
        qos: 1,
        retain: true,
        expires_at: None,
        properties: Some(vec![0; 1_000].into()),
    });
    let change = BrokerChange::Retained(TenantId::new(Timestamp::MIN, [1; 10]), record);
    let submission = || Submission { tenant: None, messages: Vec::new(), changes: vec![change.clone()], receipt: None };
    assert!(ingest.submit(submission()).is_ok());
    assert!(ingest.stats().queued_bytes > 10_000);
    assert!(matches!(ingest.submit(submission()), Err(Refused::Full(_))));
}
