//! Cases of the tokens in [`DeviceRepository`](crate::DeviceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceId, DeviceUpdate, PayloadPolicy, TenantId, Timestamp, TokenHash};

use super::fixture::{a_device, at, device_with_token, logged, new_device_id, new_token, tenant};
use crate::{AccessChange, DeviceCredential, Storage, StorageError, TenantUpdate, TokenReplacement};

fn replacement(expires_at: Option<Timestamp>, grace_until: Option<Timestamp>) -> TokenReplacement {
    TokenReplacement { hash: new_token(), expires_at, grace_until, now: at(10) }
}

/// Gives the device a new token and returns its hash.
async fn replace(storage: &Storage, tenant: TenantId, id: DeviceId, grace_until: Option<Timestamp>) -> TokenHash {
    let replacement = replacement(None, grace_until);
    storage.devices.replace_token(tenant, id, replacement.clone()).await.unwrap();
    replacement.hash
}

async fn credential(storage: &Storage, token: TokenHash) -> Option<DeviceCredential> {
    storage.devices.credential(token).await.unwrap()
}

async fn expiry(storage: &Storage, token: TokenHash) -> Option<Timestamp> {
    credential(storage, token).await.unwrap().expires_at
}

pub async fn a_token_gives_access_to_its_device(storage: &Storage) {
    for (name, token_expires_at) in [("acme", None), ("other", Some(at(1_000)))] {
        let tenant_id = tenant(storage, name).await;
        let (mut device, token) = (a_device(tenant_id, "boiler"), new_token());
        device.token_expires_at = token_expires_at;
        storage.devices.create(&device, token).await.unwrap();
        let expected = DeviceCredential {
            tenant_id,
            device_id: device.id,
            enabled: true,
            expires_at: token_expires_at,
            payload_policy: PayloadPolicy::Json,
            is_ruled: false,
        };
        assert_eq!(credential(storage, token).await, Some(expected));
    }
}

pub async fn a_credential_tells_the_policy_of_its_tenant_and_whether_rules_hold(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, token) = device_with_token(storage, acme, "boiler").await;
    let (_, of_pump) = device_with_token(storage, acme, "pump").await;
    let (_, of_theirs) = device_with_token(storage, umbrella, "boiler").await;
    let update = TenantUpdate { payload_policy: Some(PayloadPolicy::Any), ..TenantUpdate::default() };
    storage.tenants.update(acme, update).await.unwrap();
    let policies = [(token, PayloadPolicy::Any), (of_theirs, PayloadPolicy::Json)];
    for (token, policy) in policies {
        assert_eq!(credential(storage, token).await.unwrap().payload_policy, policy);
    }
    let ruled = async || {
        let mut ruled = Vec::new();
        for token in [token, of_pump, of_theirs] {
            ruled.push(credential(storage, token).await.unwrap().is_ruled);
        }
        ruled
    };
    assert_eq!(ruled().await, [false, false, false]);
    let own = super::access_rules::rule(storage, acme, Some(boiler)).await;
    assert_eq!(ruled().await, [true, false, false]);
    super::access_rules::rule(storage, acme, None).await;
    assert_eq!(storage.access_rules.delete(acme, own).await, Ok(true));
    assert_eq!(ruled().await, [true, true, false]);
}

pub async fn an_unknown_token_gives_access_to_nothing(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    device_with_token(storage, acme, "boiler").await;
    assert_eq!(credential(storage, new_token()).await, None);
}

pub async fn the_switch_of_the_device_shows_in_its_credential(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, token) = device_with_token(storage, acme, "boiler").await;
    for enabled in [false, true] {
        let update = DeviceUpdate { enabled: Some(enabled), ..Default::default() };
        storage.devices.update(acme, id, update, at(1)).await.unwrap();
        assert_eq!(credential(storage, token).await.unwrap().enabled, enabled);
    }
}

pub async fn a_new_expiry_holds_for_the_present_token(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, token) = device_with_token(storage, acme, "boiler").await;
    for expires_at in [Some(at(1_000)), Some(at(2_000)), None] {
        let update = DeviceUpdate { token_expires_at: Some(expires_at), ..Default::default() };
        storage.devices.update(acme, id, update, at(1)).await.unwrap();
        assert_eq!(expiry(storage, token).await, expires_at);
    }
}

pub async fn a_replaced_token_stops_at_once_without_a_grace(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, old) = device_with_token(storage, acme, "boiler").await;
    let mut expected = storage.devices.get(acme, id).await.unwrap().unwrap();
    let replacement = replacement(Some(at(1_000)), None);
    (expected.token_expires_at, expected.updated_at) = (Some(at(1_000)), at(10));
    let replaced = storage.devices.replace_token(acme, id, replacement.clone()).await;
    assert_eq!(replaced, Ok(expected.clone()));
    assert_eq!(storage.devices.get(acme, id).await, Ok(Some(expected)));
    assert_eq!(credential(storage, old).await, None);
    assert_eq!(expiry(storage, replacement.hash).await, Some(at(1_000)));
}

pub async fn a_replaced_token_works_until_the_end_of_its_grace(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, old) = device_with_token(storage, acme, "boiler").await;
    let new = replace(storage, acme, id, Some(at(60))).await;
    assert_eq!(expiry(storage, old).await, Some(at(60)));
    assert_eq!(credential(storage, old).await.unwrap().device_id, id);
    assert_eq!(expiry(storage, new).await, None);
    assert_eq!(storage.devices.get(acme, id).await.unwrap().unwrap().token_expires_at, None);
}

pub async fn a_grace_does_not_outlast_the_tokens_own_expiry(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for (name, own, grace, expected) in [("early", 40, 60, 40), ("late", 80, 60, 60)] {
        let (mut device, old) = (a_device(acme, name), new_token());
        device.token_expires_at = Some(at(own));
        storage.devices.create(&device, old).await.unwrap();
        replace(storage, acme, device.id, Some(at(grace))).await;
        assert_eq!(expiry(storage, old).await, Some(at(expected)));
    }
}

pub async fn a_new_expiry_does_not_prolong_a_grace(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, old) = device_with_token(storage, acme, "boiler").await;
    let new = replace(storage, acme, id, Some(at(60))).await;
    let update = DeviceUpdate { token_expires_at: Some(Some(at(1_000))), ..Default::default() };
    storage.devices.update(acme, id, update, at(11)).await.unwrap();
    assert_eq!(expiry(storage, old).await, Some(at(60)));
    assert_eq!(expiry(storage, new).await, Some(at(1_000)));
}

pub async fn a_grace_does_not_outlast_a_new_expiry_of_the_present_token(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, old) = device_with_token(storage, acme, "boiler").await;
    let new = replace(storage, acme, id, Some(at(60))).await;
    let update = DeviceUpdate { token_expires_at: Some(Some(at(5))), ..Default::default() };
    storage.devices.update(acme, id, update, at(20)).await.unwrap();
    assert_eq!(expiry(storage, old).await, Some(at(5)));
    assert_eq!(expiry(storage, new).await, Some(at(5)));
}

pub async fn tokens_before_the_present_one_stop_in_any_case(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, first) = device_with_token(storage, acme, "boiler").await;
    let (_, of_another) = device_with_token(storage, acme, "pump").await;
    let second = replace(storage, acme, id, Some(at(60))).await;
    let third = replace(storage, acme, id, Some(at(90))).await;
    assert_eq!(credential(storage, first).await, None);
    assert_eq!(expiry(storage, second).await, Some(at(90)));
    assert_eq!(expiry(storage, third).await, None);
    replace(storage, acme, id, None).await;
    for token in [first, second, third] {
        assert_eq!(credential(storage, token).await, None);
    }
    assert!(credential(storage, of_another).await.is_some());
}

pub async fn replacing_the_token_of_an_unknown_device_is_not_found(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let replacement = replacement(None, None);
    let result = storage.devices.replace_token(acme, new_device_id(), replacement.clone()).await;
    assert_eq!(result, Err(StorageError::NotFound));
    assert_eq!(credential(storage, replacement.hash).await, None);
}

pub async fn a_replaced_token_is_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let (device_id, _) = device_with_token(storage, tenant_id, "boiler").await;
    replace(storage, tenant_id, device_id, None).await;
    assert_eq!(logged(storage).await, [AccessChange::Device { tenant_id, device_id }]);
}

pub async fn a_deleted_device_leaves_no_credential(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, old) = device_with_token(storage, acme, "boiler").await;
    let new = replace(storage, acme, id, Some(at(60))).await;
    storage.devices.delete(acme, id).await.unwrap();
    assert_eq!(credential(storage, old).await, None);
    assert_eq!(credential(storage, new).await, None);
}
