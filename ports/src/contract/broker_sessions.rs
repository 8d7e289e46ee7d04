//! Cases of [`SessionRepository`](crate::SessionRepository). A storage that keeps no state of brokers passes them.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceConnection, DeviceId, Peer, TenantId};

use super::broker::{a_session, commit, kept, key, loaded, node, queued};
use super::fixture::{at, device, logged, new_device_id, tenant};
use crate::{
    AccessChange, BrokerChange, ClientDigest, DeviceActivity, DeviceSession, SessionContent, SessionRecord,
    SessionSubscription, Storage, StorageError, SubscriptionRecord,
};

async fn sessions(storage: &Storage, tenant: TenantId, device: DeviceId) -> Option<Vec<DeviceSession>> {
    let mut sessions = storage.sessions.as_ref()?.sessions_of(tenant, device, None).await.unwrap();
    sessions.sort_by(|one, other| one.client_id.cmp(&other.client_id));
    Some(sessions)
}

fn subscribed(session: u64, filter: &str, group: Option<&str>, options: u8) -> BrokerChange {
    let (filter, group) = (filter.into(), group.map(Into::into));
    BrokerChange::Subscribed(key(session), SubscriptionRecord { filter, group, options, identifier: None })
}

fn plain(client_id: &str) -> DeviceSession {
    DeviceSession {
        node: node(),
        client_id: client_id.into(),
        is_connected: true,
        since: None,
        protocol: None,
        content: Some(SessionContent { expiry_seconds: u32::MAX, ..SessionContent::default() }),
    }
}

pub async fn sessions_of_a_device_are_told_with_what_they_hold(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let away = SessionRecord {
        client_id: "Gr\u{fc}\u{df}e '%/\\".into(),
        expiry_seconds: 60,
        left_at: Some(at(9)),
        ..a_session(2, acme, boiler)
    };
    commit(storage, vec![kept(&a_session(1, acme, boiler)), kept(&away), kept(&a_session(3, acme, pump))]).await;
    let many = (0..SessionContent::MOST_SUBSCRIPTIONS + 5).map(|n| subscribed(2, &format!("f/{n:03}"), None, 1));
    let own = [subscribed(1, "a/#", None, 0b10_1110), subscribed(1, "a/#", Some("g"), 0), subscribed(3, "b", None, 1)];
    commit(storage, many.chain(own).collect()).await;
    commit(storage, vec![queued(10, &[(20, 2), (21, 2), (22, 3)]), queued(11, &[(23, 2)])]).await;
    let Some(found) = sessions(storage, acme, boiler).await else { return };
    let held = |filter: &str, group: Option<&str>, qos| SessionSubscription {
        filter: filter.into(),
        group: group.map(Into::into),
        qos,
        identifier: None,
    };
    let mut content = SessionContent { expiry_seconds: 60, queued_messages: 3, ..SessionContent::default() };
    content.queued_bytes = 3 * b"\0\xff {}".len() as u64;
    content.set_subscriptions((0..105).map(|n| held(&format!("f/{n:03}"), None, 1)).collect());
    let sleeping = DeviceSession {
        client_id: away.client_id.clone(),
        is_connected: false,
        since: Some(at(9)),
        content: Some(content),
        ..plain("")
    };
    let mut first = plain("client-1");
    if let Some(content) = &mut first.content {
        content.set_subscriptions(vec![held("a/#", None, 2), held("a/#", Some("g"), 0)]);
    }
    assert_eq!(found, [sleeping, first]);
    for (tenant, device) in [(umbrella, boiler), (acme, new_device_id())] {
        assert_eq!(sessions(storage, tenant, device).await, Some(vec![]));
    }
    let stored = storage.sessions.as_ref().unwrap();
    assert_eq!(stored.sessions_of(acme, boiler, Some(&node())).await, Ok(vec![]));
    let other = pocket_domain::NodeName::parse("other").unwrap();
    assert_eq!(stored.sessions_of(acme, boiler, Some(&other)).await.map(|found| found.len()), Ok(2));
}

pub async fn what_a_device_connected_with_is_told_where_no_session_is_stored(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    commit(storage, vec![kept(&a_session(1, acme, boiler))]).await;
    let came = |client: &str| DeviceActivity {
        connection: Some(DeviceConnection {
            connected_at: at(3),
            peer: Peer { client_id: client.into(), address: None, protocol: "MQTT 5.0".into() },
        }),
        ..DeviceActivity::nothing(acme, boiler)
    };
    storage.presence.record(&node(), &[came("client-1")], 9).await.unwrap();
    let protocol = Some("MQTT 5.0".into());
    let with_session = DeviceSession { protocol: protocol.clone(), ..plain("client-1") };
    let Some(found) = sessions(storage, acme, boiler).await else { return };
    assert_eq!(found, std::slice::from_ref(&with_session));
    storage.presence.record(&node(), &[came("clean")], 9).await.unwrap();
    let without = DeviceSession { protocol, content: None, ..plain("clean") };
    assert_eq!(sessions(storage, acme, boiler).await, Some(vec![without, plain("client-1")]));
    let gone = DeviceActivity { offline: true, ..DeviceActivity::nothing(acme, boiler) };
    storage.presence.record(&node(), &[gone], 9).await.unwrap();
    assert_eq!(sessions(storage, acme, boiler).await, Some(vec![plain("client-1")]));
}

pub async fn a_session_that_people_end_is_forgotten_and_logged(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let named = |number, device| SessionRecord { client_id: "a/ \u{fc}".into(), ..a_session(number, acme, device) };
    commit(storage, vec![kept(&named(1, boiler)), kept(&named(2, pump)), kept(&a_session(3, acme, boiler))]).await;
    commit(storage, vec![subscribed(1, "a", None, 1), queued(10, &[(20, 1), (21, 3)])]).await;
    let Some(sessions_of) = storage.sessions.as_ref() else { return };
    for (tenant, device) in [(umbrella, boiler), (acme, new_device_id())] {
        assert_eq!(sessions_of.end_session(tenant, device, "a/ \u{fc}").await, Err(StorageError::NotFound));
    }
    assert_eq!(logged(storage).await, []);
    sessions_of.end_session(acme, boiler, "a/ \u{fc}").await.unwrap();
    sessions_of.end_session(acme, boiler, "unknown").await.unwrap();
    let change =
        |client: &str| AccessChange::Session { tenant_id: acme, device_id: boiler, client: ClientDigest::of(client) };
    assert_eq!(logged(storage).await, [change("a/ \u{fc}"), change("unknown")]);
    let ids = |found: Option<Vec<DeviceSession>>| {
        found.unwrap().into_iter().map(|session| session.client_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(sessions(storage, acme, boiler).await), ["client-3".into()]);
    assert_eq!(ids(sessions(storage, acme, pump).await), ["a/ \u{fc}".into()]);
    // Its broker ends it later, whatever it wrote meanwhile.
    commit(storage, vec![queued(11, &[(22, 1)]), BrokerChange::SessionEnded(key(1))]).await;
    let state = loaded(storage).await.unwrap();
    let deliveries = |session: &crate::StoredSession| session.deliveries.len();
    assert_eq!(state.sessions.iter().map(deliveries).collect::<Vec<_>>(), [0, 1]);
}

pub async fn digests_of_client_ids_stay_what_they_are(_: &Storage) {
    // Those of FNV-1a, 64 bits.
    for (client_id, digest) in
        [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
    {
        assert_eq!(ClientDigest::of(client_id).bits(), digest);
        assert_eq!(ClientDigest::from_bits(digest), ClientDigest::of(client_id));
    }
}
