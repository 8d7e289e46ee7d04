//! Cases of [`DeadLetterRepository`](crate::DeadLetterRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterQuery, DeviceId, NewTelemetry, PageLimit, Payload, TenantId, TopicName,
};

use super::fixture::{at, device, message, tenant};
use super::race::both;
use super::reading::{oldest_first, rows, seconds};
use crate::Storage;

/// Puts aside a message of the device about the moment `second`.
async fn put_aside(storage: &Storage, tenant: TenantId, device: DeviceId, second: u64) -> NewTelemetry {
    let message = message(tenant, device, "a/b", second);
    storage.telemetry.set_aside(&message, &format!("reason {second}"), at(second + 2)).await.unwrap();
    message
}

/// All letters that the query finds, through pages of `limit`.
async fn paged(storage: &Storage, tenant: TenantId, query: DeadLetterQuery, limit: u64) -> Vec<DeadLetter> {
    let mut query = DeadLetterQuery { page_limit: PageLimit::parse(Some(limit)).unwrap(), ..query };
    let mut letters = Vec::new();
    loop {
        let page = storage.dead_letters.list(tenant, &query).await.unwrap();
        assert!(page.letters.len() as u64 <= limit);
        letters.extend(page.letters);
        let Some(next) = page.next else { return letters };
        query.cursor = Some(next);
    }
}

async fn reasons(storage: &Storage, tenant: TenantId, query: DeadLetterQuery) -> Vec<String> {
    paged(storage, tenant, query, 2).await.into_iter().map(|letter| letter.reason).collect()
}

pub async fn a_dead_letter_comes_back_as_it_was_the_newest_first(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let sent: Vec<NewTelemetry> = (0..)
        .zip(["\"\0\"", "{\"t\":21.50}", "no JSON: Grüße 🌡"])
        .map(|(second, text)| NewTelemetry {
            payload: Payload::from_stored(text),
            topic: TopicName::parse(&format!("plant/{second}/Grüße 'x' %")).unwrap(),
            ..message(acme, boiler, "t", second)
        })
        .collect();
    for message in &sent {
        storage.telemetry.set_aside(message, "invalid byte: Grüße", at(9)).await.unwrap();
    }
    let letters = paged(storage, acme, DeadLetterQuery::default(), 100).await;
    assert!(letters.is_sorted_by(|newer, older| newer.id > older.id));
    let expected: Vec<DeadLetter> = sent
        .into_iter()
        .rev()
        .zip(&letters)
        .map(|(message, letter)| DeadLetter {
            id: letter.id,
            device_id: boiler,
            topic: message.topic,
            payload: message.payload.as_str().as_bytes().to_vec(),
            timestamp: message.timestamp,
            received_at: message.received_at,
            reason: "invalid byte: Grüße".to_owned(),
            at: at(9),
        })
        .collect();
    assert_eq!(letters, expected);
    assert_eq!(letters.len(), 3);
    for letter in letters {
        assert_eq!(storage.dead_letters.get(acme, letter.id).await, Ok(Some(letter)));
    }
    // A reason that the database cannot keep as it is hinders nothing.
    storage.telemetry.set_aside(&message(acme, boiler, "t", 1), "bad \0 byte", at(9)).await.unwrap();
    let reason = paged(storage, acme, DeadLetterQuery::default(), 1).await.remove(0).reason;
    assert!(reason.starts_with("bad ") && reason.ends_with(" byte"), "{reason:?}");
}

pub async fn dead_letters_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (ours, theirs) = (device(storage, acme, "boiler").await, device(storage, umbrella, "boiler").await);
    put_aside(storage, acme, ours, 1).await;
    put_aside(storage, umbrella, theirs, 2).await;
    assert_eq!(reasons(storage, acme, DeadLetterQuery::default()).await, ["reason 1"]);
    let of_theirs = DeadLetterQuery { device_id: Some(theirs), ..DeadLetterQuery::default() };
    assert!(reasons(storage, acme, of_theirs).await.is_empty());
    let letter = paged(storage, umbrella, DeadLetterQuery::default(), 1).await.remove(0);
    assert_eq!(storage.dead_letters.get(acme, letter.id).await, Ok(None));
    assert_eq!(storage.dead_letters.delete(acme, letter.id).await, Ok(false));
    assert_eq!(storage.dead_letters.get(umbrella, letter.id).await, Ok(Some(letter)));
}

pub async fn only_dead_letters_of_the_device_asked_for_are_listed(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    for second in 0..6 {
        put_aside(storage, acme, if second % 2 == 0 { boiler } else { pump }, second).await;
    }
    let of = |device| DeadLetterQuery { device_id: Some(device), ..DeadLetterQuery::default() };
    assert_eq!(reasons(storage, acme, of(boiler)).await, ["reason 4", "reason 2", "reason 0"]);
    assert_eq!(reasons(storage, acme, of(pump)).await, ["reason 5", "reason 3", "reason 1"]);
    assert_eq!(reasons(storage, acme, DeadLetterQuery::default()).await.len(), 6);
}

pub async fn pages_give_every_letter_once_while_letters_are_added(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    for second in 0..5 {
        put_aside(storage, acme, boiler, second).await;
    }
    let mut query = DeadLetterQuery { page_limit: PageLimit::parse(Some(2)).unwrap(), ..DeadLetterQuery::default() };
    let mut read = Vec::new();
    loop {
        let page = storage.dead_letters.list(acme, &query).await.unwrap();
        read.extend(page.letters.into_iter().map(|letter| letter.reason));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
        put_aside(storage, acme, boiler, 9).await;
    }
    assert_eq!(read, ["reason 4", "reason 3", "reason 2", "reason 1", "reason 0"]);
    assert_eq!(paged(storage, acme, DeadLetterQuery::default(), 7).await.len(), 7);
    let first = DeadLetterQuery { cursor: Some(DeadLetterId::from_key(0)), ..DeadLetterQuery::default() };
    assert!(paged(storage, acme, first, 2).await.is_empty());
}

pub async fn a_deleted_letter_is_gone_and_others_stay(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    for second in 0..3 {
        put_aside(storage, acme, boiler, second).await;
    }
    let second = paged(storage, acme, DeadLetterQuery::default(), 100).await.remove(1).id;
    assert_eq!(storage.dead_letters.delete(acme, second).await, Ok(true));
    assert_eq!(storage.dead_letters.delete(acme, second).await, Ok(false));
    assert_eq!(storage.dead_letters.get(acme, second).await, Ok(None));
    assert_eq!(reasons(storage, acme, DeadLetterQuery::default()).await, ["reason 2", "reason 0"]);
}

pub async fn dead_letters_go_with_their_device_and_their_tenant(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let theirs = device(storage, umbrella, "boiler").await;
    for (second, tenant, device) in [(1, acme, boiler), (2, acme, pump), (3, umbrella, theirs)] {
        put_aside(storage, tenant, device, second).await;
    }
    assert_eq!(storage.devices.delete(acme, boiler).await, Ok(true));
    assert_eq!(reasons(storage, acme, DeadLetterQuery::default()).await, ["reason 2"]);
    assert_eq!(storage.tenants.delete(acme).await, Ok(true));
    assert!(reasons(storage, acme, DeadLetterQuery::default()).await.is_empty());
    assert_eq!(reasons(storage, umbrella, DeadLetterQuery::default()).await, ["reason 3"]);
}

pub async fn a_message_is_stored_in_place_of_its_letter(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    for second in [1, 2] {
        put_aside(storage, acme, boiler, second).await;
    }
    let letters = paged(storage, acme, DeadLetterQuery::default(), 10).await;
    let (newer, older) = (letters[0].id, letters[1].id);
    // A letter of another tenant is the same as none.
    assert_eq!(storage.dead_letters.store(older, &message(other, pump, "a/b", 1)).await, Ok(None));
    assert!(storage.dead_letters.store(older, &message(acme, boiler, "a/b", 1)).await.unwrap().is_some());
    assert_eq!(storage.dead_letters.store(older, &message(acme, boiler, "a/b", 1)).await, Ok(None));
    // Without its device a message is not stored, and the letter stays.
    assert_eq!(storage.dead_letters.store(newer, &message(acme, pump, "a/b", 2)).await, Ok(None));
    assert_eq!(reasons(storage, acme, DeadLetterQuery::default()).await, ["reason 2"]);
    assert_eq!(seconds(storage, acme, &oldest_first()).await, [1]);
    assert!(rows(storage, other, &oldest_first()).await.is_empty());
}

pub async fn of_several_who_store_a_letter_one_does(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let sent = put_aside(storage, acme, boiler, 1).await;
    let id = paged(storage, acme, DeadLetterQuery::default(), 10).await[0].id;
    let store = || storage.dead_letters.store(id, &sent);
    let ((first, second), (third, fourth)) = both(both(store(), store()), both(store(), store())).await;
    let stored = [first, second, third, fourth].into_iter().filter(|stored| stored.as_ref().unwrap().is_some()).count();
    assert_eq!((stored, seconds(storage, acme, &oldest_first()).await), (1, vec![1]));
}
