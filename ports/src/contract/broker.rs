//! Cases of [`BrokerStore`](crate::BrokerStore). A storage that keeps no state of brokers passes them.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{DeviceId, NodeName, TenantId, TopicName};

use super::fixture::{at, device, message, new_device_id, tenant};
use super::reading::{TOPIC, oldest_first, seconds};
use crate::{
    BrokerChange, BrokerKey, BrokerState, DeliveryRecord, MessageRecord, Progress, SessionRecord, Storage,
    StoredSession, SubscriptionRecord, WriteBatch,
};

pub(super) fn node() -> NodeName {
    NodeName::default()
}

pub(super) fn key(number: u64) -> BrokerKey {
    BrokerKey::new(number).unwrap()
}

pub(super) fn a_session(number: u64, tenant: TenantId, device: DeviceId) -> SessionRecord {
    SessionRecord {
        key: key(number),
        tenant_id: tenant,
        device_id: device,
        client_id: format!("client-{number}").into(),
        expiry_seconds: u32::MAX,
        left_at: None,
        will: None,
    }
}

pub(super) fn kept(session: &SessionRecord) -> BrokerChange {
    BrokerChange::SessionKept(Arc::new(session.clone()))
}

fn a_subscription(filter: &str, group: Option<&str>) -> SubscriptionRecord {
    SubscriptionRecord { filter: filter.into(), group: group.map(Into::into), options: 1, identifier: None }
}

pub(super) fn a_message(number: u64, topic: &str) -> MessageRecord {
    MessageRecord {
        key: key(number),
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::from_static(b"\0\xff {}"),
        qos: 1,
        retain: false,
        expires_at: None,
        properties: None,
    }
}

fn a_delivery(number: u64, session: u64) -> DeliveryRecord {
    DeliveryRecord {
        key: key(number),
        session: key(session),
        qos: 1,
        retain: false,
        identifiers: Vec::new(),
        group: None,
    }
}

pub(super) fn queued(content: u64, deliveries: &[(u64, u64)]) -> BrokerChange {
    let deliveries = deliveries.iter().map(|(number, session)| a_delivery(*number, *session)).collect();
    BrokerChange::Queued(Arc::new(a_message(content, "a/b")), deliveries)
}

fn delivered(delivery: u64, content: u64) -> BrokerChange {
    BrokerChange::Delivered { delivery: key(delivery), message: key(content) }
}

pub(super) async fn commit(storage: &Storage, changes: Vec<BrokerChange>) {
    if storage.broker.is_some() {
        let batch = WriteBatch::default().with_changes(changes);
        assert_eq!(storage.write.commit(Some(&node()), batch).await.unwrap().ids, []);
    }
}

/// What the node stored; `None` for a storage that keeps no such state.
pub(super) async fn loaded(storage: &Storage) -> Option<BrokerState> {
    let broker = storage.broker.as_ref()?;
    let mut state = broker.load(&node(), at(0)).await.unwrap();
    state.retained.sort_by_key(|(_, message)| message.key);
    for session in &mut state.sessions {
        session.subscriptions.sort_by(|one, other| (&one.filter, &one.group).cmp(&(&other.filter, &other.group)));
    }
    Some(state)
}

/// The keys of the deliveries of each session.
pub(super) async fn waiting(storage: &Storage) -> Option<Vec<Vec<u64>>> {
    let keys = |session: &StoredSession| session.deliveries.iter().map(|(delivery, ..)| delivery.key.get()).collect();
    Some(loaded(storage).await?.sessions.iter().map(keys).collect())
}

pub async fn nothing_is_stored_at_first(storage: &Storage) {
    assert!(loaded(storage).await.is_none_or(|state| state == BrokerState::default()));
}

pub async fn a_session_comes_back_as_it_was(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let full = SessionRecord {
        client_id: "Grüße '%\\".into(),
        expiry_seconds: 3,
        left_at: Some(at(9)),
        will: Some(Box::from(&b"\0will\xff"[..])),
        ..a_session(2, acme, boiler)
    };
    let identified = SubscriptionRecord {
        options: 0b10_1101,
        identifier: NonZeroU32::new(268_435_455),
        ..a_subscription("a/+/#", Some("g"))
    };
    commit(
        storage,
        vec![
            kept(&a_session(1, acme, boiler)),
            kept(&full),
            BrokerChange::Subscribed(key(2), a_subscription("a/+/#", None)),
            BrokerChange::Subscribed(key(2), identified.clone()),
            BrokerChange::Received(key(2), 65_535),
            BrokerChange::Received(key(2), 1),
        ],
    )
    .await;
    let Some(state) = loaded(storage).await else { return };
    let bare = |session| StoredSession { session, subscriptions: vec![], received: vec![], deliveries: vec![] };
    let with_all = StoredSession {
        subscriptions: vec![a_subscription("a/+/#", None), identified],
        received: vec![1, 65_535],
        ..bare(full)
    };
    assert_eq!(state.sessions, [bare(a_session(1, acme, boiler)), with_all]);
    assert!(state.last_key >= 2);
}

pub async fn a_session_is_written_in_place_of_what_was_known(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let first = SessionRecord { will: Some(Box::from(&b"w"[..])), ..a_session(1, acme, boiler) };
    commit(storage, vec![kept(&first), BrokerChange::Subscribed(key(1), a_subscription("a", None))]).await;
    let later = SessionRecord { left_at: Some(at(5)), expiry_seconds: 60, will: None, ..first };
    let changed = SubscriptionRecord { options: 2, ..a_subscription("a", None) };
    commit(storage, vec![kept(&later), BrokerChange::Subscribed(key(1), changed.clone())]).await;
    let Some(state) = loaded(storage).await else { return };
    assert_eq!(state.sessions[0].session, later);
    assert_eq!(state.sessions[0].subscriptions, [changed]);
}

pub async fn a_session_that_ended_is_gone_with_all_that_was_its_own(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let fill = |session| {
        vec![
            kept(&a_session(session, acme, boiler)),
            BrokerChange::Subscribed(key(session), a_subscription("a", None)),
            BrokerChange::Received(key(session), 7),
        ]
    };
    commit(storage, [fill(1), fill(2), vec![queued(3, &[(4, 1), (5, 2)]), queued(6, &[(7, 1)])]].concat()).await;
    commit(storage, vec![BrokerChange::SessionEnded(key(1))]).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [[5]]));
    // Within one commit, too; and one that was never there.
    commit(storage, [fill(8), vec![BrokerChange::SessionEnded(key(8)), BrokerChange::SessionEnded(key(99))]].concat())
        .await;
    let Some(state) = loaded(storage).await else { return };
    assert_eq!(state.sessions.iter().map(|stored| stored.session.key).collect::<Vec<_>>(), [key(2)]);
    assert_eq!((state.sessions[0].subscriptions.len(), state.sessions[0].received.len()), (1, 1));
}

/// More than one statement takes.
pub async fn very_many_sessions_may_end_at_once(storage: &Storage) {
    const COUNT: u64 = 1_100;
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let begun = (1..=COUNT).flat_map(|session| {
        let subscribed = |filter| BrokerChange::Subscribed(key(session), a_subscription(filter, None));
        let received = BrokerChange::Received(key(session), 7);
        [kept(&a_session(session, acme, boiler)), subscribed("a"), subscribed("b"), received]
    });
    // All wait for one message, and the last for one more.
    let waiting_for: Vec<(u64, u64)> = (1..=COUNT).map(|session| (10_000 + session, session)).collect();
    let messages = [queued(5_000, &waiting_for), queued(5_001, &[(20_000, COUNT)])];
    commit(storage, begun.chain(messages).collect()).await;
    let ended = (1..COUNT).map(|session| BrokerChange::SessionEnded(key(session)));
    let unsubscribed = BrokerChange::Unsubscribed(key(COUNT), "b".into(), None);
    commit(storage, ended.chain([unsubscribed]).collect()).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [[10_000 + COUNT, 20_000]]));
    let Some(state) = loaded(storage).await else { return };
    let [left] = &state.sessions[..] else { panic!("{} sessions", state.sessions.len()) };
    assert_eq!((left.session.key, left.subscriptions.len(), left.received.len()), (key(COUNT), 1, 1));
    commit(storage, vec![BrokerChange::SessionEnded(key(COUNT))]).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting.is_empty()));
}

pub async fn what_a_client_gave_up_does_not_come_back(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let subscribed = |filter, group| BrokerChange::Subscribed(key(1), a_subscription(filter, group));
    commit(
        storage,
        vec![
            kept(&a_session(1, acme, boiler)),
            subscribed("a", None),
            subscribed("a", Some("g")),
            subscribed("b", None),
            BrokerChange::Received(key(1), 1),
            BrokerChange::Received(key(1), 2),
        ],
    )
    .await;
    let unsubscribed =
        |filter: &str, group: Option<&str>| BrokerChange::Unsubscribed(key(1), filter.into(), group.map(Into::into));
    commit(
        storage,
        vec![
            unsubscribed("a", Some("g")),
            unsubscribed("b", None),
            unsubscribed("never", None),
            BrokerChange::Completed(key(1), 1),
            BrokerChange::Completed(key(1), 9),
        ],
    )
    .await;
    let Some(state) = loaded(storage).await else { return };
    assert_eq!(state.sessions[0].subscriptions, [a_subscription("a", None)]);
    assert_eq!(state.sessions[0].received, [2]);
}

pub async fn messages_wait_in_the_order_of_their_deliveries(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let content = MessageRecord {
        qos: 2,
        retain: true,
        expires_at: Some(at(77)),
        properties: Some(Box::from(&b"{}\0"[..])),
        payload: Bytes::new(),
        ..a_message(3, "Grüße/x")
    };
    let first = DeliveryRecord {
        qos: 2,
        retain: true,
        identifiers: vec![NonZeroU32::new(1).unwrap(), NonZeroU32::new(77).unwrap()],
        group: Some("g".into()),
        ..a_delivery(4, 1)
    };
    let changes = vec![
        kept(&a_session(1, acme, boiler)),
        kept(&a_session(2, acme, boiler)),
        queued(5, &[(6, 1)]),
        BrokerChange::Queued(Arc::new(content.clone()), vec![first.clone(), a_delivery(7, 2)]),
        BrokerChange::Progressed(key(4), Progress { packet_id: 9, released: false }),
    ];
    commit(storage, changes).await;
    let released = Progress { packet_id: 9, released: true };
    commit(storage, vec![BrokerChange::Progressed(key(4), released)]).await;
    let Some(state) = loaded(storage).await else { return };
    let expected =
        [(first, Arc::new(content), Some(released)), (a_delivery(6, 1), Arc::new(a_message(5, "a/b")), None)];
    assert_eq!(state.sessions[0].deliveries, expected);
    assert_eq!(state.sessions[1].deliveries.len(), 1);
    assert!(state.last_key >= 7);
}

pub async fn a_message_goes_with_its_last_delivery(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let changes = vec![
        kept(&a_session(1, acme, boiler)),
        kept(&a_session(2, acme, boiler)),
        queued(3, &[(4, 1), (5, 2)]),
        queued(6, &[(7, 1)]),
    ];
    commit(storage, changes).await;
    commit(storage, vec![delivered(4, 3), delivered(7, 6), delivered(99, 98)]).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [vec![], vec![5]]));
    // Handed on to another session and taken from the first in one commit.
    commit(storage, vec![queued(3, &[(8, 1)]), delivered(5, 3)]).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [vec![8], vec![]]));
    // Queued and delivered within one commit.
    let progress = Progress { packet_id: 1, released: false };
    commit(storage, vec![queued(9, &[(10, 2)]), BrokerChange::Progressed(key(10), progress), delivered(10, 9)]).await;
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [vec![8], vec![]]));
}

pub async fn thousands_of_changes_are_committed(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let mut changes = vec![kept(&a_session(1, acme, boiler))];
    changes.extend((1..=5_000).map(|n| queued(2 * n, &[(2 * n + 1, 1)])));
    changes.extend((1..=2_000).map(|n| BrokerChange::Received(key(1), n)));
    commit(storage, changes).await;
    let even = (1..=5_000).filter(|n| n % 2 == 0);
    let mut ended: Vec<BrokerChange> = even.map(|n| delivered(2 * n + 1, 2 * n)).collect();
    ended.extend((1..=1_999).map(|n| BrokerChange::Completed(key(1), n)));
    commit(storage, ended).await;
    let Some(state) = loaded(storage).await else { return };
    let left: Vec<u64> = state.sessions[0].deliveries.iter().map(|(delivery, ..)| delivery.key.get()).collect();
    assert_eq!(left, (1..=5_000).filter(|n| n % 2 == 1).map(|n| 2 * n + 1).collect::<Vec<u64>>());
    assert_eq!(state.sessions[0].received, [2_000]);
}

pub async fn messages_are_stored_with_the_changes(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    if storage.broker.is_none() {
        return;
    }
    let messages = [message(acme, boiler, TOPIC, 1), message(acme, new_device_id(), TOPIC, 2)];
    let batch = WriteBatch::of_messages(messages).with_changes([kept(&a_session(1, acme, boiler))]);
    let ids = storage.write.commit(Some(&node()), batch).await.unwrap().ids;
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [1]);
    assert!(loaded(storage).await.is_some_and(|state| state.sessions.len() == 1));
}

pub async fn a_session_of_an_unknown_device_is_passed_over(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let boiler = device(storage, acme, "boiler").await;
    let changes = vec![
        kept(&a_session(1, acme, new_device_id())),
        kept(&a_session(2, other, boiler)),
        BrokerChange::Subscribed(key(1), a_subscription("a", None)),
        queued(3, &[(4, 1)]),
        kept(&a_session(5, acme, boiler)),
    ];
    commit(storage, changes).await;
    let Some(state) = loaded(storage).await else { return };
    assert_eq!(state.sessions.iter().map(|stored| stored.session.key).collect::<Vec<_>>(), [key(5)]);
}

pub async fn a_deleted_device_takes_its_sessions_along(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (gone, stays) = (device(storage, acme, "gone").await, device(storage, acme, "stays").await);
    let changes = vec![
        kept(&a_session(1, acme, gone)),
        kept(&a_session(2, acme, stays)),
        BrokerChange::Subscribed(key(1), a_subscription("a", None)),
        queued(3, &[(4, 1), (5, 2)]),
    ];
    commit(storage, changes).await;
    storage.devices.delete(acme, gone).await.unwrap();
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [[5]]));
}
