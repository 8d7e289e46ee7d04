//! Who may publish and subscribe to what.

use pocket_domain::{AccessRules, TopicAction, TopicFilter, TopicName, TopicRights};

use crate::Client;

/// Judges clients by topic. The tenant wall stands before it and needs no judgement.
///
/// Called for every message: an implementation answers from memory and does not block.
pub trait Authorizer: Send + Sync {
    /// Whether the client may publish on the topic.
    fn may_publish(&self, client: &Client, topic: &TopicName) -> bool;

    /// Whether the client may hold a subscription with this filter.
    fn may_subscribe(&self, client: &Client, filter: &TopicFilter) -> bool;

    /// Whether the client may share a subscription with this filter with others, which takes messages away from them. Asked
    /// beside [`may_subscribe`](Self::may_subscribe).
    fn may_share(&self, _client: &Client, _filter: &TopicFilter) -> bool {
        true
    }

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

/// Asks what the client may do at all, then another authorizer, and then the access rules that hold for the client.
///
/// Whatever the others say, nobody publishes on topics that begin with `$`, and those below `$SYS/` are for clients that
/// have the right. They belong to the broker and not to a tenant, so the tenant's rules say nothing about them.
#[derive(Clone, Copy)]
pub struct RuleAuthorizer<'a> {
    first: &'a dyn Authorizer,
    rights: TopicRights,
    rules: Option<&'a AccessRules>,
}

impl<'a> RuleAuthorizer<'a> {
    /// An authorizer for the clients of one device or person.
    pub fn new(first: &'a dyn Authorizer, rights: TopicRights, rules: Option<&'a AccessRules>) -> Self {
        Self { first, rights, rules }
    }

    fn rules_allow(&self, action: TopicAction, client: &Client, topic: &TopicName) -> bool {
        let client_id = Some(client.client_id.as_str());
        self.rules.is_none_or(|rules| rules.on_topic(action, topic.as_str(), client_id).is_allowed())
    }
}

impl Authorizer for RuleAuthorizer<'_> {
    fn may_publish(&self, client: &Client, topic: &TopicName) -> bool {
        self.rights.publish
            && !topic.is_system()
            && self.first.may_publish(client, topic)
            && self.rules_allow(TopicAction::Publish, client, topic)
    }

    fn may_subscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        if filter.is_of_broker() {
            return self.rights.system;
        }
        let client_id = Some(client.client_id.as_str());
        self.rights.subscribe
            && self.first.may_subscribe(client, filter)
            && self.rules.is_none_or(|rules| rules.on_filter(filter, client_id).is_allowed())
    }

    fn may_share(&self, client: &Client, filter: &TopicFilter) -> bool {
        // Who may only read must not take anything away from those who do the work.
        self.rights.publish && self.first.may_share(client, filter)
    }

    fn may_receive(&self, client: &Client, topic: &TopicName) -> bool {
        if topic.is_of_broker() {
            return self.rights.system;
        }
        self.rights.subscribe
            && self.first.may_receive(client, topic)
            && self.rules_allow(TopicAction::Subscribe, client, topic)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{AccessRule, AccessRuleId, Effect, Principal, TenantId, Timestamp, TopicPattern, UserId};

    use super::*;
    use crate::ClientId;

    const VIEWER: TopicRights = TopicRights { publish: false, subscribe: true, system: false };
    const PLATFORM_ADMIN: TopicRights = TopicRights { publish: true, subscribe: true, system: true };

    struct Generous;

    impl Authorizer for Generous {
        fn may_publish(&self, _: &Client, _: &TopicName) -> bool {
            true
        }

        fn may_subscribe(&self, _: &Client, _: &TopicFilter) -> bool {
            true
        }

        fn may_receive(&self, _: &Client, _: &TopicName) -> bool {
            true
        }
    }

    fn person() -> Client {
        Client {
            tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
            principal: Principal::User(UserId::new(Timestamp::MIN, [2; 10])),
            client_id: ClientId::parse("desk").unwrap(),
        }
    }

    fn allowing(topic: &str) -> AccessRules {
        let person = person();
        let rule = AccessRule {
            id: AccessRuleId::new(Timestamp::MIN, [3; 10]),
            tenant_id: person.tenant_id,
            device_id: None,
            effect: Effect::Allow,
            action: TopicAction::Subscribe,
            topic: TopicPattern::parse(topic).unwrap(),
            created_at: Timestamp::MIN,
        };
        AccessRules::new(person.principal, [rule].into(), Vec::new())
    }

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn who_only_listens_publishes_nowhere() {
        let authorizer = RuleAuthorizer::new(&TenantAuthorizer, VIEWER, None);
        assert!(!authorizer.may_publish(&person(), &topic("a")));
        assert!(authorizer.may_subscribe(&person(), &filter("#")) && authorizer.may_receive(&person(), &topic("a")));
        assert!(!authorizer.may_share(&person(), &filter("#")), "what it takes, others do not get");
        assert!(RuleAuthorizer::new(&TenantAuthorizer, PLATFORM_ADMIN, None).may_share(&person(), &filter("#")));
    }

    #[test]
    fn the_topics_of_the_broker_are_for_those_who_have_the_right() {
        for (rights, system) in [(VIEWER, false), (TopicRights::TENANT, false), (PLATFORM_ADMIN, true)] {
            for first in [&TenantAuthorizer as &dyn Authorizer, &Generous] {
                let authorizer = RuleAuthorizer::new(first, rights, None);
                for text in ["$SYS/#", "$SYS/broker/uptime", "$SYS/+/uptime"] {
                    assert_eq!(authorizer.may_subscribe(&person(), &filter(text)), system, "{text}");
                }
                assert_eq!(authorizer.may_receive(&person(), &topic("$SYS/broker/uptime")), system);
                assert!(!authorizer.may_publish(&person(), &topic("$SYS/broker/uptime")));
            }
            let authorizer = RuleAuthorizer::new(&TenantAuthorizer, rights, None);
            for text in ["$SYS", "$other/#", "$SYSTEM/#"] {
                assert!(!authorizer.may_subscribe(&person(), &filter(text)), "{text}");
            }
        }
    }

    #[test]
    fn rules_of_the_tenant_say_nothing_about_the_broker() {
        let rules = allowing("a/#");
        let authorizer = RuleAuthorizer::new(&TenantAuthorizer, PLATFORM_ADMIN, Some(&rules));
        assert!(
            authorizer.may_subscribe(&person(), &filter("a/b")) && !authorizer.may_subscribe(&person(), &filter("b"))
        );
        assert!(authorizer.may_subscribe(&person(), &filter("$SYS/#")));
    }

    #[test]
    fn a_level_for_the_device_matches_nothing_for_a_person() {
        let rules = allowing("devices/%d");
        let authorizer = RuleAuthorizer::new(&TenantAuthorizer, PLATFORM_ADMIN, Some(&rules));
        let Principal::User(id) = person().principal else { panic!("a person") };
        assert!(!authorizer.may_receive(&person(), &topic(&format!("devices/{id}"))));
    }
}
