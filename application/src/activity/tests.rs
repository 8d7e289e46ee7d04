//! The recorder on a repository that can be away.

use std::sync::atomic::AtomicBool;

use pocket_domain::{DeviceEventPage, DeviceEventQuery, Peer, TopicName};
use pocket_ports::async_trait;

use super::*;

/// Remembers what was recorded.
#[derive(Default)]
struct Records {
    is_away: AtomicBool,
    batches: Mutex<Vec<Vec<DeviceActivity>>>,
}

impl Records {
    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn taken(&self) -> Vec<Vec<DeviceActivity>> {
        std::mem::take(&mut self.batches.lock().unwrap())
    }
}

#[async_trait]
impl PresenceRepository for Records {
    async fn record(&self, _: &NodeName, activity: &[DeviceActivity], _: u32) -> Result<(), StorageError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StorageError::Unavailable("away".into()));
        }
        self.batches.lock().unwrap().push(activity.to_vec());
        Ok(())
    }

    async fn restart(&self, _: &NodeName, _: Timestamp, _: u32) -> Result<(), StorageError> {
        Ok(())
    }

    async fn events(&self, _: TenantId, _: DeviceId, _: &DeviceEventQuery) -> Result<DeviceEventPage, StorageError> {
        Ok(DeviceEventPage { events: Vec::new(), next: None })
    }
}

fn recorder(kept_events: u32) -> (Arc<Records>, ActivityRecorder) {
    let records = Arc::<Records>::default();
    let options = ActivityOptions { kept_events };
    (Arc::clone(&records), ActivityRecorder::new(records, NodeName::default(), options))
}

fn at(second: u64) -> Timestamp {
    Timestamp::MIN.plus(Duration::from_secs(second))
}

fn tenant() -> TenantId {
    TenantId::new(at(0), [1; 10])
}

fn device(n: usize) -> DeviceId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    DeviceId::new(at(0), random)
}

fn peer() -> Peer {
    Peer { client_id: "x".into(), address: None, protocol: "MQTT 5.0".into() }
}

fn connect(recorder: &ActivityRecorder, n: usize, second: u64) {
    recorder.connected(tenant(), device(n), DeviceConnection { connected_at: at(second), peer: peer() });
}

fn disconnect(recorder: &ActivityRecorder, n: usize, is_last: bool, second: u64) {
    let kind = DeviceEventKind::Disconnected("connection_lost".into());
    let event = NewDeviceEvent { at: at(second), kind, peer: peer() };
    recorder.disconnected(tenant(), device(n), event, is_last);
}

fn rejection(second: u64) -> Rejection {
    Rejection::new(at(second), TopicName::parse("a").unwrap(), "no")
}

/// The only entry of the only batch.
fn only(records: &Records) -> DeviceActivity {
    let mut batches = records.taken();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    batches.pop().and_then(|mut batch| batch.pop()).unwrap()
}

fn seconds(activity: &DeviceActivity) -> Vec<u64> {
    activity.events.iter().map(|event| event.at.since(at(0)).as_secs()).collect()
}

#[tokio::test]
async fn a_device_is_recorded_once_however_often_it_is_heard_of() {
    let (records, recorder) = recorder(10);
    connect(&recorder, 1, 1);
    recorder.seen(tenant(), device(1), at(2));
    recorder.rejected(tenant(), device(1), rejection(3));
    connect(&recorder, 1, 4);
    disconnect(&recorder, 1, false, 5);
    recorder.flush().await;
    let recorded = only(&records);
    assert_eq!((recorded.seen_at, recorded.rejection.clone()), (Some(at(5)), Some(rejection(3))));
    assert_eq!(recorded.connection.as_ref().map(|connection| connection.connected_at), Some(at(4)));
    assert_eq!((recorded.offline, seconds(&recorded)), (false, vec![1, 4, 5]));
    disconnect(&recorder, 1, true, 6);
    recorder.flush().await;
    let recorded = only(&records);
    assert_eq!((recorded.offline, recorded.connection, recorded.seen_at), (true, None, Some(at(6))));
    recorder.flush().await;
    assert!(records.taken().is_empty());
}

#[tokio::test]
async fn what_could_not_be_recorded_comes_before_what_came_in_meanwhile() {
    let (records, recorder) = recorder(10);
    records.set_away(true);
    connect(&recorder, 1, 1);
    recorder.rejected(tenant(), device(1), rejection(2));
    recorder.flush().await;
    disconnect(&recorder, 1, true, 3);
    recorder.flush().await;
    connect(&recorder, 1, 4);
    assert_eq!(recorder.stats().waiting, 1);
    records.set_away(false);
    recorder.flush().await;
    let recorded = only(&records);
    assert_eq!((recorded.offline, recorded.rejection.clone()), (false, Some(rejection(2))));
    assert_eq!(recorded.connection.as_ref().map(|connection| connection.connected_at), Some(at(4)));
    assert_eq!(seconds(&recorded), [1, 3, 4]);
    assert_eq!(recorder.stats(), ActivityStats::default());
}

#[tokio::test]
async fn without_events_presence_is_still_recorded() {
    let (records, recorder) = recorder(0);
    connect(&recorder, 1, 1);
    disconnect(&recorder, 1, true, 2);
    recorder.flush().await;
    let recorded = only(&records);
    assert!(recorded.connection.is_some() && recorded.offline && recorded.events.is_empty());
}

#[tokio::test]
async fn many_devices_are_recorded_in_few_batches_each_once() {
    let (records, recorder) = recorder(10);
    for n in 0..10_000 {
        connect(&recorder, n, 1);
    }
    recorder.flush().await;
    let batches = records.taken();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1_000; 10]);
    let ids: Vec<DeviceId> = batches.iter().flatten().map(|activity| activity.device_id).collect();
    assert!(ids.is_sorted() && ids.first() == Some(&device(0)) && ids.last() == Some(&device(9_999)));
}

#[tokio::test]
async fn a_batch_has_few_events_too() {
    let (records, recorder) = recorder(3_000);
    for n in 0..3 {
        for second in 0..3_000 {
            disconnect(&recorder, n, false, second);
        }
    }
    recorder.flush().await;
    assert_eq!(records.taken().iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn events_that_wait_have_a_bound_and_presence_has_none() {
    let (records, recorder) = recorder(10);
    records.set_away(true);
    for n in 0..ActivityRecorder::MAX_EVENTS {
        connect(&recorder, n, 1);
    }
    assert_eq!(recorder.stats().events_dropped, 0);
    connect(&recorder, ActivityRecorder::MAX_EVENTS, 1);
    disconnect(&recorder, 0, true, 2);
    assert_eq!(recorder.stats().events_dropped, 2);
    assert_eq!(recorder.stats().waiting, ActivityRecorder::MAX_EVENTS as u64 + 1);
    // A batch that comes back leaves its events room.
    recorder.flush().await;
    assert_eq!(recorder.stats().events_dropped, 2);
    records.set_away(false);
    recorder.flush().await;
    let recorded: Vec<DeviceActivity> = records.taken().into_iter().flatten().collect();
    assert_eq!(recorded.iter().map(|activity| activity.events.len()).sum::<usize>(), ActivityRecorder::MAX_EVENTS);
    assert!(recorded[0].offline && recorded.iter().all(|activity| activity.connection.is_some()));
}

#[tokio::test]
async fn notes_of_too_many_devices_are_dropped_and_counted() {
    let (_, recorder) = recorder(0);
    for n in 0..=ActivityRecorder::MAX_PENDING {
        recorder.seen(tenant(), device(n), at(1));
    }
    recorder.seen(tenant(), device(0), at(2));
    connect(&recorder, ActivityRecorder::MAX_PENDING + 1, 1);
    let stats = recorder.stats();
    assert_eq!((stats.notes_dropped, stats.waiting), (1, ActivityRecorder::MAX_PENDING as u64 + 1));
}
