//! Who may publish and subscribe to what.

use pocket_domain::{AccessRules, TopicAction, TopicFilter, TopicName};

use crate::Client;

/// Judges clients by topic. The tenant wall stands before it and needs no judgement.
///
/// Called for every message: an implementation answers from memory and does not block.
pub trait Authorizer: Send + Sync {
    /// Whether the client may publish on the topic.
    fn may_publish(&self, client: &Client, topic: &TopicName) -> bool;

    /// Whether the client may hold a subscription with this filter.
    fn may_subscribe(&self, client: &Client, filter: &TopicFilter) -> bool;

    /// Whether a message on the topic may be delivered to the client, which holds a subscription that matches.
    fn may_receive(&self, client: &Client, topic: &TopicName) -> bool;
}

/// Allows all topics within the tenant, except those that begin with `$`, which belong to the broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantAuthorizer;

impl Authorizer for TenantAuthorizer {
    fn may_publish(&self, _: &Client, topic: &TopicName) -> bool {
        !topic.is_system()
    }

    fn may_subscribe(&self, _: &Client, filter: &TopicFilter) -> bool {
        !filter.as_str().starts_with('$')
    }

    fn may_receive(&self, _: &Client, topic: &TopicName) -> bool {
        !topic.is_system()
    }
}

/// Asks another authorizer, and then the access rules of the client's device.
#[derive(Clone, Copy)]
pub struct RuleAuthorizer<'a> {
    first: &'a dyn Authorizer,
    rules: Option<&'a AccessRules>,
}

impl<'a> RuleAuthorizer<'a> {
    /// An authorizer for the clients of one device; without rules it is the other one.
    pub fn new(first: &'a dyn Authorizer, rules: Option<&'a AccessRules>) -> Self {
        Self { first, rules }
    }

    fn rules_allow(&self, action: TopicAction, client: &Client, topic: &TopicName) -> bool {
        let client_id = Some(client.client_id.as_str());
        self.rules.is_none_or(|rules| rules.on_topic(action, topic.as_str(), client_id).is_allowed())
    }
}

impl Authorizer for RuleAuthorizer<'_> {
    fn may_publish(&self, client: &Client, topic: &TopicName) -> bool {
        self.first.may_publish(client, topic) && self.rules_allow(TopicAction::Publish, client, topic)
    }

    fn may_subscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        let client_id = Some(client.client_id.as_str());
        self.first.may_subscribe(client, filter)
            && self.rules.is_none_or(|rules| rules.on_filter(filter, client_id).is_allowed())
    }

    fn may_receive(&self, client: &Client, topic: &TopicName) -> bool {
        self.first.may_receive(client, topic) && self.rules_allow(TopicAction::Subscribe, client, topic)
    }
}
