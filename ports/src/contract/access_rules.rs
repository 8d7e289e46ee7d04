//! Cases of [`AccessRuleRepository`](crate::AccessRuleRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{
    AccessRule, AccessRuleId, DeviceId, Effect, MAX_ACCESS_RULES, TenantId, TopicAction, TopicPattern,
};

use super::fixture::{at, device, logged, new_device_id, new_tenant_id, page, tenant};
use super::race::both;
use crate::{AccessChange, Conflict, Storage, StorageError};

const FULL: Result<(), StorageError> = Err(StorageError::Conflict(Conflict::AccessRules));

/// An id that no other call gets.
fn new_access_rule_id() -> AccessRuleId {
    AccessRuleId::from_uuid(new_device_id().as_uuid())
}

fn a_rule(tenant_id: TenantId, device_id: Option<DeviceId>) -> AccessRule {
    AccessRule {
        id: new_access_rule_id(),
        tenant_id,
        device_id,
        effect: Effect::Deny,
        action: TopicAction::Publish,
        topic: TopicPattern::parse("devices/%d/#").unwrap(),
        created_at: at(1),
    }
}

pub(super) async fn rule(storage: &Storage, tenant: TenantId, device: Option<DeviceId>) -> AccessRuleId {
    let rule = a_rule(tenant, device);
    storage.access_rules.create(&rule).await.unwrap();
    rule.id
}

async fn ids(storage: &Storage, tenant: TenantId, device: Option<DeviceId>) -> Vec<AccessRuleId> {
    let listed = storage.access_rules.list(tenant, device, page(1_000, 0)).await.unwrap();
    assert_eq!(listed.total, listed.items.len() as u64);
    listed.items.iter().map(|rule| rule.id).collect()
}

pub async fn a_new_rule_comes_back_as_it_was(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let denies = a_rule(acme, None);
    let allows = AccessRule {
        effect: Effect::Allow,
        action: TopicAction::Subscribe,
        topic: TopicPattern::parse("+/%c").unwrap(),
        ..a_rule(acme, Some(boiler))
    };
    for rule in [&denies, &allows] {
        storage.access_rules.create(rule).await.unwrap();
        assert_eq!(storage.access_rules.get(acme, rule.id).await, Ok(Some(rule.clone())));
    }
    assert_eq!(storage.access_rules.of_device(acme, boiler).await, Ok(vec![denies, allows]));
}

pub async fn an_unknown_rule_is_absent(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    assert_eq!(storage.access_rules.get(acme, new_access_rule_id()).await, Ok(None));
    assert_eq!(storage.access_rules.delete(acme, new_access_rule_id()).await, Ok(false));
    assert_eq!(ids(storage, acme, None).await, []);
    assert_eq!(ids(storage, acme, Some(new_device_id())).await, []);
    assert_eq!(storage.access_rules.of_device(acme, new_device_id()).await, Ok(vec![]));
}

pub async fn a_rule_of_an_unknown_tenant_or_device_is_not_found(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let boiler = device(storage, acme, "boiler").await;
    for (tenant, device) in [(new_tenant_id(), None), (acme, Some(new_device_id())), (umbrella, Some(boiler))] {
        assert_eq!(storage.access_rules.create(&a_rule(tenant, device)).await, Err(StorageError::NotFound));
    }
    assert!(logged(storage).await.is_empty());
}

pub async fn rules_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let boiler = device(storage, acme, "boiler").await;
    let (for_all, for_one) = (rule(storage, acme, None).await, rule(storage, acme, Some(boiler)).await);
    for id in [for_all, for_one] {
        assert_eq!(storage.access_rules.get(umbrella, id).await, Ok(None));
        assert_eq!(storage.access_rules.delete(umbrella, id).await, Ok(false));
    }
    assert_eq!(ids(storage, umbrella, None).await, []);
    assert_eq!(ids(storage, umbrella, Some(boiler)).await, []);
    assert_eq!(storage.access_rules.of_device(umbrella, boiler).await, Ok(vec![]));
    assert_eq!(storage.access_rules.of_device(acme, boiler).await.unwrap().len(), 2);
}

pub async fn rules_are_listed_by_id_apart_for_tenant_and_device(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (rules, device) in expected.iter_mut().zip([None, Some(boiler), Some(pump)]) {
            rules.push(rule(storage, acme, device).await);
        }
    }
    for (rules, device) in expected.iter().zip([None, Some(boiler), Some(pump)]) {
        assert_eq!(ids(storage, acme, device).await, *rules);
    }
    let middle = storage.access_rules.list(acme, Some(pump), page(1, 1)).await.unwrap();
    assert_eq!((middle.items[0].id, middle.items.len(), middle.total), (expected[2][1], 1, 3));
    let of_pump = storage.access_rules.of_device(acme, pump).await.unwrap();
    let (for_all, for_one): (Vec<_>, Vec<_>) = of_pump.iter().partition(|rule| rule.device_id.is_none());
    assert_eq!(for_all.iter().map(|rule| rule.id).collect::<Vec<_>>(), expected[0]);
    assert_eq!(for_one.iter().map(|rule| rule.id).collect::<Vec<_>>(), expected[2]);
}

pub async fn a_tenant_and_each_device_have_a_number_of_rules(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    for device in [None, Some(boiler)] {
        let mut last = None;
        for _ in 0..MAX_ACCESS_RULES {
            last = Some(rule(storage, acme, device).await);
        }
        assert_eq!(storage.access_rules.create(&a_rule(acme, device)).await, FULL);
        assert_eq!(storage.access_rules.delete(acme, last.unwrap()).await, Ok(true));
        rule(storage, acme, device).await;
    }
    rule(storage, acme, Some(pump)).await;
}

pub async fn of_two_rules_for_the_last_place_one_is_added(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for _ in 1..MAX_ACCESS_RULES {
        rule(storage, acme, None).await;
    }
    let (first, second) = (a_rule(acme, None), a_rule(acme, None));
    let results = both(storage.access_rules.create(&first), storage.access_rules.create(&second)).await;
    assert!(results == (Ok(()), FULL) || results == (FULL, Ok(())), "{results:?}");
    assert_eq!(ids(storage, acme, None).await.len() as u64, MAX_ACCESS_RULES);
}

pub async fn a_new_rule_and_a_deleted_one_are_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let device_id = device(storage, tenant_id, "boiler").await;
    let for_one = rule(storage, tenant_id, Some(device_id)).await;
    let for_all = rule(storage, tenant_id, None).await;
    assert_eq!(storage.access_rules.delete(tenant_id, for_all).await, Ok(true));
    assert_eq!(storage.access_rules.delete(tenant_id, for_one).await, Ok(true));
    assert_eq!(storage.access_rules.delete(tenant_id, for_one).await, Ok(false));
    let (device, tenant) = (AccessChange::Device { tenant_id, device_id }, AccessChange::Tenant { tenant_id });
    assert_eq!(logged(storage).await, [device, tenant, tenant, device]);
}

pub async fn rules_go_with_their_device_and_their_tenant(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let for_all = rule(storage, acme, None).await;
    let (of_boiler, of_pump) = (rule(storage, acme, Some(boiler)).await, rule(storage, acme, Some(pump)).await);
    storage.devices.delete(acme, boiler).await.unwrap();
    assert_eq!(storage.access_rules.get(acme, of_boiler).await, Ok(None));
    assert_eq!(ids(storage, acme, Some(boiler)).await, []);
    assert_eq!(ids(storage, acme, Some(pump)).await, [of_pump]);
    storage.tenants.delete(acme).await.unwrap();
    for id in [for_all, of_pump] {
        assert_eq!(storage.access_rules.get(acme, id).await, Ok(None));
    }
}
