//! Access rules in JSON.

use garde::Validate;
use pocket_application::{AccessExplanation, AccessQuestion, NewAccessRule};
use pocket_domain::{
    DeviceId, Effect, Invalid, PageRequest, TenantId, TopicAction, TopicFilter, TopicName, TopicPattern,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::page;
use super::parses;
use super::text::{Moment, Parsed, Whole};

/// An effect, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = Effect)]
#[expect(dead_code, reason = "only its description is used")]
enum EffectText {
    Allow,
    Deny,
}

/// An action, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = TopicAction)]
#[expect(dead_code, reason = "only its description is used")]
enum ActionText {
    Publish,
    Subscribe,
}

/// Which topics the devices of a tenant, or one device, may use. Rules do not change: one is removed and another added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessRule {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "uuid")]
    tenant_id: String,
    /// The device it is for; `null`: all devices of the tenant.
    #[schema(format = "uuid", required)]
    device_id: Option<String>,
    #[schema(value_type = EffectText)]
    effect: &'static str,
    #[schema(value_type = ActionText)]
    action: &'static str,
    #[schema(example = "devices/%d/#")]
    topic: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Moment,
}

impl AccessRule {
    /// Its path.
    pub(crate) fn location(&self) -> String {
        format!("/api/v1/access-rules/{}", self.id)
    }
}

impl From<pocket_domain::AccessRule> for AccessRule {
    fn from(rule: pocket_domain::AccessRule) -> Self {
        Self {
            id: rule.id.to_string(),
            tenant_id: rule.tenant_id.to_string(),
            device_id: rule.device_id.map(|id| id.to_string()),
            effect: rule.effect.as_str(),
            action: rule.action.as_str(),
            topic: rule.topic.to_string(),
            created_at: rule.created_at.into(),
        }
    }
}

/// A rule to be added.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateAccessRule {
    /// The device it is for; absent or `null`: all devices of the tenant.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = "uuid")]
    device_id: Option<Parsed<DeviceId>>,
    #[garde(skip)]
    #[schema(value_type = EffectText)]
    effect: Parsed<Effect>,
    #[garde(skip)]
    #[schema(value_type = ActionText)]
    action: Parsed<TopicAction>,
    /// A topic filter, not beginning with `$`, in which the level `%d` stands for the device's id and `%c` for the client id.
    #[garde(custom(parses(TopicPattern::parse)))]
    #[schema(example = "devices/%d/#", min_length = 1, max_length = 1024)]
    topic: String,
}

impl CreateAccessRule {
    /// What the rule says.
    pub(crate) fn parse(&self) -> Result<NewAccessRule, Invalid> {
        Ok(NewAccessRule {
            device_id: self.device_id.map(|id| id.0),
            effect: self.effect.0,
            action: self.action.0,
            topic: TopicPattern::parse(&self.topic)?,
        })
    }
}

/// Which rules to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccessRuleParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// The rules of this device; absent: those that the tenant has for all.
    #[param(value_type = Option<String>, format = "uuid")]
    device_id: Option<Parsed<DeviceId>>,
    /// Entries per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// Entries to skip.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9223372036854775807_u64, default = 0)]
    offset: Option<Whole>,
}

impl AccessRuleParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The device whose rules are asked for.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        self.device_id.map(|id| id.0)
    }

    /// The page that is asked for.
    pub(crate) fn page(&self) -> Result<PageRequest, Invalid> {
        page(self.limit, self.offset)
    }
}

/// What is to be explained.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccessParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// The action.
    #[param(value_type = ActionText, inline)]
    action: Parsed<TopicAction>,
    /// The topic; for `subscribe` a topic filter.
    #[param(min_length = 1, max_length = 1024, example = "boiler/temperature")]
    topic: String,
    /// The client id that `%c` stands for; absent: `%c` matches nothing.
    client_id: Option<String>,
}

impl AccessParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The action.
    pub(crate) fn question(&self) -> Result<AccessQuestion, Invalid> {
        Ok(match self.action.0 {
            TopicAction::Publish => AccessQuestion::Publish(TopicName::parse(&self.topic)?),
            TopicAction::Subscribe => AccessQuestion::Subscribe(TopicFilter::parse(&self.topic)?),
        })
    }

    /// The client id of the device's client.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }
}

/// Whether a device is allowed to do something, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccessVerdict {
    allowed: bool,
    /// Why, in words.
    #[schema(example = "a deny rule matches")]
    reason: &'static str,
    /// The rule that decided; `null` when none did.
    #[schema(required)]
    rule: Option<AccessRule>,
}

impl From<AccessExplanation> for AccessVerdict {
    fn from(explained: AccessExplanation) -> Self {
        Self { allowed: explained.allowed, reason: explained.reason, rule: explained.rule.map(Into::into) }
    }
}
