//! Access rules: which topics the devices of a tenant, or one device, may publish and subscribe to.
//!
//! Without rules everything is allowed. A deny rule that matches decides, wherever it stands. As soon as a device has an
//! allow rule for an action, its tenant's or its own, those rules are the whole list of what it may: a topic that none of
//! them matches is denied.
//!
//! A subscription is granted or refused as a whole: it is refused when one deny rule matches every topic of its filter, and
//! where there are allow rules, unless one of them does. What a granted filter matches beside that is judged message by
//! message, so nothing that is denied is delivered.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{AccessRuleId, DeviceId, Invalid, Principal, TenantId, Timestamp, TopicFilter};

/// The most rules of a tenant, and of each device beside them.
pub const MAX_ACCESS_RULES: u64 = 100;

/// Whether a rule gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// What matches is on the list of what is allowed.
    Allow,
    /// What matches is denied, whatever other rules say.
    Deny,
}

impl Effect {
    /// The word for it in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for Effect {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(Invalid::new("effect", "must be allow or deny")),
        }
    }
}

/// What a device does with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicAction {
    /// It publishes there, or its will does.
    Publish,
    /// It subscribes, and receives what others publish there.
    Subscribe,
}

impl TopicAction {
    /// The word for it in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

impl FromStr for TopicAction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "publish" => Ok(Self::Publish),
            "subscribe" => Ok(Self::Subscribe),
            _ => Err(Invalid::new("action", "must be publish or subscribe")),
        }
    }
}

/// The topics of a rule: a topic filter in which the level `%d` stands for the device's id and `%c` for the client id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern(TopicFilter);

/// Who is meant by `%d` and `%c`.
#[derive(Clone, Copy, Debug)]
struct Subject<'a> {
    device: Option<&'a str>,
    client: Option<&'a str>,
}

impl TopicPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When it is no topic filter, begins with `$`, or has `%d` or `%c` as a part of a level.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let filter = TopicFilter::parse(text)?;
        if text.starts_with('$') {
            return Err(Invalid::new("topic", "must not begin with $: those topics belong to the broker"));
        }
        let is_part = |level: &str| level.len() > 2 && (level.contains("%d") || level.contains("%c"));
        if filter.levels().any(is_part) {
            return Err(Invalid::new("topic", "%d and %c must be whole levels"));
        }
        Ok(Self(filter))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the pattern matches every topic that `wanted` matches. A topic is a filter that matches itself alone.
    fn covers(&self, subject: Subject<'_>, wanted: &str) -> bool {
        let pattern = self.0.as_str();
        // [MQTT-4.7.2-1] a wildcard at the beginning does not match a topic that begins with $
        if wanted.starts_with('$') && pattern.starts_with(['+', '#']) {
            return false;
        }
        // `#` also stands for the level above it; where that would be a topic without a character, there is none.
        let wanted = match wanted {
            "#" => "+/#",
            "/#" => "/+/#",
            other => other,
        };
        let mut levels = wanted.split('/');
        for allowed in pattern.split('/') {
            match (allowed, levels.next()) {
                ("#", _) => return true,
                (_, None | Some("#")) => return false,
                ("+", Some(_)) => {}
                (_, Some("+")) => return false,
                // An id that has a separator or wildcards in it equals no level.
                ("%d", Some(level)) if subject.device == Some(level) => {}
                ("%c", Some(level)) if subject.client == Some(level) => {}
                ("%d" | "%c", _) => return false,
                (allowed, Some(level)) if allowed == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A rule of a tenant or of one of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Its id.
    pub id: AccessRuleId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// The device it is for; `None`: all devices of the tenant.
    pub device_id: Option<DeviceId>,
    /// Whether it gives or takes.
    pub effect: Effect,
    /// What it is about.
    pub action: TopicAction,
    /// Which topics it is about.
    pub topic: TopicPattern,
    /// When it was made. Rules do not change.
    pub created_at: Timestamp,
}

/// What rules say, with the rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No rule is against it, and there are no allow rules for the action.
    Unruled,
    /// An allow rule matches, and no deny rule.
    AllowedBy(&'a AccessRule),
    /// A deny rule matches.
    DeniedBy(&'a AccessRule),
    /// There are allow rules for the action and none of them matches.
    NotListed,
}

impl Verdict<'_> {
    /// Whether it may be done.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Unruled | Self::AllowedBy(_))
    }
}

/// All rules that hold for one device or person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// `None` for a person: `%d` matches nothing.
    device: Option<Box<str>>,
    /// Shared by all of the tenant.
    tenant: Arc<[AccessRule]>,
    own: Box<[AccessRule]>,
}

impl AccessRules {
    /// The rules of a tenant and those of one of its devices; people have none of their own.
    pub fn new(principal: Principal, tenant: Arc<[AccessRule]>, own: Vec<AccessRule>) -> Self {
        Self { device: principal.device().map(|device| device.to_string().into()), tenant, own: own.into() }
    }

    /// Judges a client that publishes on a topic or receives from it. Without a client id, `%c` matches
    /// nothing.
    pub fn on_topic(&self, action: TopicAction, topic: &str, client_id: Option<&str>) -> Verdict<'_> {
        self.judge(action, topic, client_id)
    }

    /// Judges a client that subscribes with a filter.
    pub fn on_filter(&self, filter: &TopicFilter, client_id: Option<&str>) -> Verdict<'_> {
        self.judge(TopicAction::Subscribe, filter.as_str(), client_id)
    }

    fn judge(&self, action: TopicAction, wanted: &str, client: Option<&str>) -> Verdict<'_> {
        let subject = Subject { device: self.device.as_deref(), client };
        let mut verdict = Verdict::Unruled;
        for rule in self.tenant.iter().chain(&self.own).filter(|rule| rule.action == action) {
            match (rule.effect, rule.topic.covers(subject, wanted)) {
                (Effect::Deny, true) => return Verdict::DeniedBy(rule),
                (Effect::Deny, false) => {}
                (Effect::Allow, true) if !matches!(verdict, Verdict::AllowedBy(_)) => {
                    verdict = Verdict::AllowedBy(rule);
                }
                (Effect::Allow, false) if verdict == Verdict::Unruled => verdict = Verdict::NotListed,
                (Effect::Allow, _) => {}
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
