//! Cases of the key of token hashes in [`DeviceRepository`](crate::DeviceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::TokenKeyFingerprint;

use super::fixture::{device_with_token, tenant};
use super::race::both;
use crate::{KnownTokenKey, Storage};

fn key(byte: u8) -> TokenKeyFingerprint {
    TokenKeyFingerprint::from_bytes([byte; TokenKeyFingerprint::BYTES])
}

async fn known(storage: &Storage) -> KnownTokenKey {
    storage.devices.token_key().await.unwrap()
}

pub async fn of_a_new_storage_nothing_is_known(storage: &Storage) {
    assert_eq!(known(storage).await, KnownTokenKey { fingerprint: None, has_tokens: false });
}

pub async fn the_first_key_that_claims_is_remembered(storage: &Storage) {
    for claimed in [1, 2, 1] {
        assert_eq!(storage.devices.claim_token_key(key(claimed)).await, Ok(key(1)));
        assert_eq!(known(storage).await.fingerprint, Some(key(1)));
    }
}

pub async fn of_two_keys_that_claim_at_once_both_hear_of_the_same(storage: &Storage) {
    let devices = &storage.devices;
    let (one, other) = both(devices.claim_token_key(key(1)), devices.claim_token_key(key(2))).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one, known(storage).await.fingerprint), (other, Some(one)));
}

pub async fn a_replaced_key_is_the_one_that_is_remembered(storage: &Storage) {
    for replaced in [1, 2] {
        storage.devices.replace_token_key(key(replaced)).await.unwrap();
        assert_eq!(storage.devices.claim_token_key(key(3)).await, Ok(key(replaced)));
    }
}

pub async fn a_token_of_any_tenant_is_known_of(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    device_with_token(storage, acme, "boiler").await;
    assert!(known(storage).await.has_tokens);
}
