//! Cases of [`BrokerStore`](crate::BrokerStore): retained messages, and what nodes see of each other.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::sync::Arc;

use pocket_domain::{NodeName, TenantId, TopicName};

use super::broker::{a_message, a_session, commit, kept, key, loaded, node, queued, waiting};
use super::fixture::{at, device, new_tenant_id, tenant};
use crate::{BrokerChange, MessageRecord, Storage, WriteBatch};

fn other_node() -> NodeName {
    NodeName::parse("other").unwrap()
}

fn retained(tenant: TenantId, number: u64, topic: &str) -> BrokerChange {
    BrokerChange::Retained(tenant, Arc::new(MessageRecord { retain: true, ..a_message(number, topic) }))
}

fn cleared(tenant_id: TenantId, number: u64, topic: &str) -> BrokerChange {
    BrokerChange::Cleared { tenant_id, topic: TopicName::parse(topic).unwrap(), key: key(number) }
}

/// The topics of retained messages with the keys of the messages.
async fn retained_topics(storage: &Storage) -> Option<Vec<(String, u64)>> {
    let state = loaded(storage).await?;
    Some(state.retained.iter().map(|(_, message)| (message.topic.to_string(), message.key.get())).collect())
}

pub async fn a_deleted_tenant_takes_its_retained_messages_along(storage: &Storage) {
    let (gone, stays) = (tenant(storage, "gone").await, tenant(storage, "stays").await);
    let boiler = device(storage, gone, "boiler").await;
    let changes = vec![
        kept(&a_session(1, gone, boiler)),
        retained(gone, 2, "a"),
        retained(stays, 3, "a"),
        retained(new_tenant_id(), 4, "a"),
    ];
    commit(storage, changes).await;
    storage.tenants.delete(gone).await.unwrap();
    let Some(state) = loaded(storage).await else { return };
    assert!(state.sessions.is_empty());
    assert_eq!(
        state.retained.iter().map(|(tenant, message)| (*tenant, message.key)).collect::<Vec<_>>(),
        [(stays, key(3))]
    );
}

pub async fn a_topic_has_the_newest_retained_message(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let full = MessageRecord {
        qos: 2,
        retain: true,
        expires_at: Some(at(1)),
        properties: Some(Box::from(&b"p"[..])),
        ..a_message(5, "a")
    };
    commit(storage, vec![retained(acme, 1, "a"), retained(acme, 2, "b"), retained(acme, 3, "c")]).await;
    let newer = BrokerChange::Retained(acme, Arc::new(full.clone()));
    commit(storage, vec![newer, retained(acme, 4, "a"), cleared(acme, 6, "b"), cleared(acme, 1, "c")]).await;
    // Written late: what was retained before the topic was cleared does not come back.
    commit(storage, vec![retained(acme, 4, "a"), retained(acme, 5, "b"), cleared(acme, 7, "never")]).await;
    assert!(retained_topics(storage).await.is_none_or(|topics| topics == [("c".to_owned(), 3), ("a".to_owned(), 5)]));
    let Some(state) = loaded(storage).await else { return };
    assert_eq!(state.retained[1], (acme, full));
}

pub async fn a_retained_message_that_expired_is_not_loaded(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let until = |number, second| {
        let message =
            MessageRecord { retain: true, expires_at: Some(at(second)), ..a_message(number, &format!("t{number}")) };
        BrokerChange::Retained(acme, Arc::new(message))
    };
    commit(storage, vec![until(1, 5), until(2, 6)]).await;
    let Some(broker) = &storage.broker else { return };
    let state = broker.load(&node(), at(5)).await.unwrap();
    assert_eq!(state.retained.iter().map(|(_, message)| message.key).collect::<Vec<_>>(), [key(2)]);
}

pub async fn nodes_do_not_see_each_other(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let Some(broker) = &storage.broker else { return };
    for node in [node(), other_node()] {
        let changes = vec![kept(&a_session(1, acme, boiler)), queued(2, &[(3, 1)]), retained(acme, 4, "a")];
        storage.write.commit(Some(&node), WriteBatch::default().with_changes(changes)).await.unwrap();
    }
    for change in [BrokerChange::SessionEnded(key(1)), cleared(acme, 5, "a")] {
        storage.write.commit(Some(&other_node()), WriteBatch::default().with_changes([change])).await.unwrap();
    }
    assert!(waiting(storage).await.is_none_or(|waiting| waiting == [[3]]));
    assert!(retained_topics(storage).await.is_none_or(|topics| topics.len() == 1));
    assert!(broker.load(&other_node(), at(0)).await.unwrap().sessions.is_empty());
}
