//! Access rules: written by administrators for a tenant and by operators for a device, explained to everybody of the tenant.

use std::sync::Arc;

use pocket_domain::{
    AccessRule, AccessRuleId, AccessRules, DeviceId, Effect, Page, PageRequest, Principal, TenantId, TopicAction,
    TopicFilter, TopicName, TopicPattern, Verdict,
};
use pocket_ports::{AccessChange, AccessRuleRepository, Clock, DeviceRepository, Entropy};

use crate::access_watch::AccessWatch;
use crate::policy::{self, Action};
use crate::scope::Scope;
use crate::{Caller, Error};

/// What a new rule says.
#[derive(Clone, Debug)]
pub struct NewAccessRule {
    /// The device it is for; `None`: all devices of the tenant.
    pub device_id: Option<DeviceId>,
    /// Whether it gives or takes.
    pub effect: Effect,
    /// What it is about.
    pub action: TopicAction,
    /// Which topics it is about.
    pub topic: TopicPattern,
}

/// What somebody asks about: may a client of the device do this?
#[derive(Clone, Debug)]
pub enum AccessQuestion {
    /// Publish on a topic.
    Publish(TopicName),
    /// Subscribe with a filter; one without wildcards stands for receiving from that topic as well.
    Subscribe(TopicFilter),
}

/// The answer, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessExplanation {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, in words.
    pub reason: &'static str,
    /// The rule that decided, if one did.
    pub rule: Option<AccessRule>,
}

/// Use cases of access rules.
pub struct AccessRuleService {
    pub(crate) scope: Scope,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) rules: Arc<dyn AccessRuleRepository>,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The right that it takes to write a rule.
fn right_to_write(device: Option<DeviceId>) -> Action {
    if device.is_some() { Action::ManageDevices } else { Action::ManageTenantRules }
}

impl AccessRuleService {
    /// Adds a rule. It holds for connected devices at once.
    ///
    /// # Errors
    /// `NotFound` when the tenant has no such device; `Conflict(AccessRules)` when there are too many.
    pub async fn create(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        new: NewAccessRule,
    ) -> Result<AccessRule, Error> {
        let tenant = self.scope.enter(caller, tenant, right_to_write(new.device_id)).await?;
        let now = self.clock.now();
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let rule = AccessRule {
            id: AccessRuleId::new(now, random),
            tenant_id: tenant,
            device_id: new.device_id,
            effect: new.effect,
            action: new.action,
            topic: new.topic,
            created_at: now,
        };
        self.rules.create(&rule).await?;
        self.announce(&rule);
        tracing::info!(rule = %rule.id, tenant = %tenant, by = %caller.user_id(), "access rule added");
        Ok(rule)
    }

    /// The rules of a device, or those that the tenant has for all, a page at a time.
    ///
    /// # Errors
    /// `NotFound` when the tenant has no such device.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: Option<DeviceId>,
        page: PageRequest,
    ) -> Result<Page<AccessRule>, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        if let Some(device) = device {
            self.require_device(tenant, device).await?;
        }
        Ok(self.rules.list(tenant, device, page).await?)
    }

    /// One rule.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, tenant: Option<TenantId>, id: AccessRuleId) -> Result<AccessRule, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        self.rules.get(tenant, id).await?.ok_or(Error::NotFound)
    }

    /// Removes a rule. Connected devices are judged without it at once.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for an operator when the rule is the tenant's.
    pub async fn delete(&self, caller: &Caller, tenant: Option<TenantId>, id: AccessRuleId) -> Result<(), Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        let rule = self.rules.get(tenant, id).await?.ok_or(Error::NotFound)?;
        policy::permit(caller, right_to_write(rule.device_id))?;
        if !self.rules.delete(tenant, id).await? {
            return Err(Error::NotFound);
        }
        self.announce(&rule);
        tracing::info!(rule = %id, tenant = %tenant, by = %caller.user_id(), "access rule removed");
        Ok(())
    }

    /// Judges what a client of a device would do, as the broker would, and says why. Without a client id, `%c` matches
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` when the tenant has no such device.
    pub async fn explain(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        question: &AccessQuestion,
        client_id: Option<&str>,
    ) -> Result<AccessExplanation, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        self.require_device(tenant, device).await?;
        let text = match question {
            AccessQuestion::Publish(topic) => topic.as_str(),
            AccessQuestion::Subscribe(filter) => filter.as_str(),
        };
        if text.starts_with('$') {
            let reason = "topics that begin with $ belong to the broker";
            return Ok(AccessExplanation { allowed: false, reason, rule: None });
        }
        let own = self.rules.of_device(tenant, device).await?;
        let rules = AccessRules::new(Principal::Device(device), Arc::default(), own);
        let verdict = match question {
            AccessQuestion::Publish(_) => rules.on_topic(TopicAction::Publish, text, client_id),
            AccessQuestion::Subscribe(filter) => rules.on_filter(filter, client_id),
        };
        Ok(explanation(verdict))
    }

    async fn require_device(&self, tenant: TenantId, id: DeviceId) -> Result<(), Error> {
        self.devices.get(tenant, id).await?.map(drop).ok_or(Error::NotFound)
    }

    fn announce(&self, rule: &AccessRule) {
        let tenant_id = rule.tenant_id;
        self.watch.announce(match rule.device_id {
            Some(device_id) => AccessChange::Device { tenant_id, device_id },
            None => AccessChange::Tenant { tenant_id },
        });
    }
}

fn explanation(verdict: Verdict<'_>) -> AccessExplanation {
    let (reason, rule) = match verdict {
        Verdict::Unruled => ("no rule matches, and there is no allow rule for the action", None),
        Verdict::AllowedBy(rule) => ("an allow rule matches, and no deny rule", Some(rule.clone())),
        Verdict::DeniedBy(rule) => ("a deny rule matches", Some(rule.clone())),
        Verdict::NotListed => ("there are allow rules for the action, and none matches", None),
    };
    AccessExplanation { allowed: verdict.is_allowed(), reason, rule }
}
