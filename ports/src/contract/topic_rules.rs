//! Cases of [`TopicRuleRepository`](crate::TopicRuleRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{MAX_TOPIC_RULES, TopicRule, TopicRules};

use super::fixture::{new_tenant_id, tenant};
use super::race::both;
use crate::{Storage, StorageError};

fn rules(rules: &[(&str, &str)]) -> TopicRules {
    TopicRules::new(rules.iter().map(|(topic, key)| TopicRule::parse(topic, key).unwrap()).collect()).unwrap()
}

pub async fn topic_rules_are_read_in_the_order_in_which_they_were_set(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    assert_eq!(storage.topic_rules.get(acme).await, Ok(TopicRules::default()));
    let first = rules(&[("home/+room/+q", "{q}"), ("a/#", "k\u{fc}che \" \\"), ("+x", "x")]);
    storage.topic_rules.set(acme, &first).await.unwrap();
    assert_eq!(storage.topic_rules.get(acme).await, Ok(first));
    let long = TopicRule::parse(&"t".repeat(1_024), &"k".repeat(255)).unwrap();
    let second = TopicRules::new(vec![long; MAX_TOPIC_RULES]).unwrap();
    storage.topic_rules.set(acme, &second).await.unwrap();
    assert_eq!(storage.topic_rules.get(acme).await, Ok(second));
    storage.topic_rules.set(acme, &TopicRules::default()).await.unwrap();
    assert_eq!(storage.topic_rules.get(acme).await, Ok(TopicRules::default()));
    storage.topic_rules.set(acme, &TopicRules::default()).await.unwrap();
}

pub async fn topic_rules_are_those_of_their_tenant_and_go_with_it(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (ours, theirs) = (rules(&[("a", "ours")]), rules(&[("a", "theirs")]));
    storage.topic_rules.set(acme, &ours).await.unwrap();
    storage.topic_rules.set(umbrella, &theirs).await.unwrap();
    assert_eq!(storage.topic_rules.get(acme).await, Ok(ours.clone()));
    storage.tenants.delete(umbrella).await.unwrap();
    assert_eq!(storage.topic_rules.get(umbrella).await, Ok(TopicRules::default()));
    assert_eq!(storage.topic_rules.get(acme).await, Ok(ours.clone()));
    for nobody in [umbrella, new_tenant_id()] {
        assert_eq!(storage.topic_rules.set(nobody, &ours).await, Err(StorageError::NotFound));
        assert_eq!(storage.topic_rules.set(nobody, &TopicRules::default()).await, Err(StorageError::NotFound));
        assert_eq!(storage.topic_rules.get(nobody).await, Ok(TopicRules::default()));
    }
}

pub async fn of_topic_rules_that_are_set_at_once_one_list_stays(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (one, other) = (rules(&[("a", "one")]), rules(&[("a", "other"), ("b", "other")]));
    let (first, second) = both(storage.topic_rules.set(acme, &one), storage.topic_rules.set(acme, &other)).await;
    assert_eq!((first, second), (Ok(()), Ok(())));
    let left = storage.topic_rules.get(acme).await.unwrap();
    assert!(left == one || left == other, "{left:?}");
}
