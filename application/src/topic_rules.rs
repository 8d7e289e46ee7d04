//! Rules by which a tenant names what is published at topics: set by administrators, tried out by operators, seen by everybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use pocket_domain::{DeviceId, LatestQuery, TenantId, TopicName, TopicNaming, TopicRules};
use pocket_ports::{DeviceRepository, TelemetryStore};

use crate::policy::Action;
use crate::rules_of_topics::RulesOfTopics;
use crate::scope::Scope;
use crate::{Caller, Error};

/// For which topics rules are tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewTopics {
    /// These.
    Given(Vec<TopicName>),
    /// Those at which a device's last values are.
    OfDevice(DeviceId),
    /// Those at which something is stored of the tenant.
    OfTenant,
}

/// What rules make of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedTopic {
    /// The topic.
    pub topic: TopicName,
    /// The place of the rule that names it, from 0, and the name; nothing when no rule does.
    pub named: Option<(usize, TopicNaming)>,
}

/// What rules make of some topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The topics.
    pub topics: Vec<PreviewedTopic>,
    /// Whether there are more topics.
    pub has_more: bool,
}

/// Use cases of rules for topics.
pub struct TopicRuleService {
    pub(crate) scope: Scope,
    pub(crate) rules: Arc<RulesOfTopics>,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) telemetry: Arc<dyn TelemetryStore>,
}

impl TopicRuleService {
    /// The rules of the tenant in order.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn get(&self, caller: &Caller, tenant: Option<TenantId>) -> Result<TopicRules, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        Ok(self.rules.stored(tenant).await?)
    }

    /// Sets the rules of the tenant in place of those it has. They hold for what is stored already, since they are applied to what is
    /// read.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn set(&self, caller: &Caller, tenant: Option<TenantId>, rules: &TopicRules) -> Result<(), Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageTopicRules).await?;
        self.rules.set(tenant, rules).await?;
        let count = rules.as_slice().len();
        tracing::info!(%tenant, rules = count, by = %caller.user_id(), "rules for topics set");
        Ok(())
    }

    /// What rules would make of topics, at most `limit` of them. Nothing is stored.
    ///
    /// # Errors
    /// `NotFound` when the tenant has no such device.
    pub async fn preview(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        rules: &TopicRules,
        topics: PreviewTopics,
        limit: u32,
    ) -> Result<Preview, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::PreviewTopicRules).await?;
        let (mut topics, mut has_more) = self.topics(tenant, topics, limit).await?;
        has_more |= topics.len() > limit as usize;
        topics.truncate(limit as usize);
        let previewed = |topic: TopicName| PreviewedTopic { named: rules.name(topic.as_str()), topic };
        Ok(Preview { topics: topics.into_iter().map(previewed).collect(), has_more })
    }

    /// The topics, and whether there are more.
    async fn topics(
        &self,
        tenant: TenantId,
        which: PreviewTopics,
        limit: u32,
    ) -> Result<(Vec<TopicName>, bool), Error> {
        match which {
            PreviewTopics::Given(topics) => Ok((topics, false)),
            PreviewTopics::OfTenant => {
                // One more tells whether there are more.
                Ok((self.telemetry.topics(tenant, 0, limit.saturating_add(1)).await?.names, false))
            }
            PreviewTopics::OfDevice(device) => {
                if self.devices.get(tenant, device).await?.is_none() {
                    return Err(Error::NotFound);
                }
                let latest = self.telemetry.latest(tenant, device, &LatestQuery::default()).await?;
                let known: BTreeSet<TopicName> = latest.values.into_iter().map(|value| value.topic).collect();
                Ok((known.into_iter().collect(), latest.has_more))
            }
        }
    }
}
