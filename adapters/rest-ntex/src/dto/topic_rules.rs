//! Rules by which a tenant names what is published at topics, in JSON.

use std::collections::BTreeMap;

use garde::Validate;
use pocket_application::PreviewTopics;
use pocket_domain::{DeviceId, Invalid, MAX_TOPIC_RULES, TopicName, TopicRules};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Parsed;

/// Topics that are told at the most, and where nothing is said.
const MOST_TOPICS: usize = 1_000;
const USUAL_TOPICS: u32 = 100;

/// A rule that makes a key and labels of a topic.
#[derive(Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicRule {
    /// An MQTT filter, not beginning with `$`, whose `+` may be followed by a name of letters, digits and `_`.
    #[garde(custom(is_topic))]
    #[schema(example = "home/+room/+quantity", min_length = 1, max_length = 1024)]
    topic: String,
    /// The key; `{name}` stands for the level of that name. Named levels that are not in the key become labels.
    #[garde(custom(is_key(&self.topic)))]
    #[schema(example = "{quantity}", min_length = 1, max_length = 255)]
    key: String,
}

fn is_topic(topic: &str, (): &()) -> garde::Result {
    pocket_domain::TopicRule::check_topic(topic).map_err(|invalid| garde::Error::new(invalid.message))
}

/// What is wrong with the topic is said of the topic.
fn is_key(topic: &str) -> impl FnOnce(&str, &()) -> garde::Result {
    move |key, ()| match pocket_domain::TopicRule::parse(topic, key) {
        Err(invalid) if invalid.field == "key" => Err(garde::Error::new(invalid.message)),
        _ => Ok(()),
    }
}

fn are_few(rules: &[TopicRule], (): &()) -> garde::Result {
    if rules.len() <= MAX_TOPIC_RULES {
        return Ok(());
    }
    Err(garde::Error::new(format!("must be at most {MAX_TOPIC_RULES} rules, not {}", rules.len())))
}

fn parse(rules: &[TopicRule]) -> Result<TopicRules, Invalid> {
    let rules = rules.iter().map(|rule| pocket_domain::TopicRule::parse(&rule.topic, &rule.key));
    TopicRules::new(rules.collect::<Result<_, _>>()?)
}

/// The rules of a tenant in order. Of those that match a topic the first counts.
#[derive(Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicRuleList {
    /// At most 100.
    #[garde(custom(|rules: &Vec<TopicRule>, context: &()| are_few(rules, context)), dive)]
    #[schema(max_items = 100)]
    rules: Vec<TopicRule>,
}

impl TopicRuleList {
    /// The rules.
    pub(crate) fn parse(&self) -> Result<TopicRules, Invalid> {
        parse(&self.rules)
    }
}

impl From<&TopicRules> for TopicRuleList {
    fn from(rules: &TopicRules) -> Self {
        let rule =
            |rule: &pocket_domain::TopicRule| TopicRule { topic: rule.topic().to_owned(), key: rule.key().to_owned() };
        Self { rules: rules.as_slice().iter().map(rule).collect() }
    }
}

/// Rules to be tried out, and on which topics: those of the body, those of a device's last values, or all of the tenant.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewTopicRules {
    /// At most 100.
    #[garde(custom(|rules: &Vec<TopicRule>, context: &()| are_few(rules, context)), dive)]
    #[schema(max_items = 100)]
    rules: Vec<TopicRule>,
    /// The topics, at most 1,000; not together with `deviceId`.
    #[garde(custom(|topics: &Option<Vec<String>>, (): &()| are_topics(topics.as_deref(), self.device_id.is_some())))]
    #[schema(example = json!(["home/kitchen/temp"]), max_items = 1000)]
    topics: Option<Vec<String>>,
    /// The device whose topics they are; absent: the tenant's.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = "uuid")]
    device_id: Option<Parsed<DeviceId>>,
    /// The most topics that are told.
    #[garde(custom(is_limit))]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

fn are_topics(topics: Option<&[String]>, has_device: bool) -> garde::Result {
    let Some(topics) = topics else { return Ok(()) };
    if has_device {
        return Err(garde::Error::new("must not be given together with deviceId"));
    }
    if topics.len() > MOST_TOPICS {
        return Err(garde::Error::new(format!("must be at most {MOST_TOPICS}, not {}", topics.len())));
    }
    for topic in topics {
        TopicName::parse(topic).map_err(|invalid| garde::Error::new(format!("{topic:?} {}", invalid.message)))?;
    }
    Ok(())
}

fn is_limit(limit: &Option<u32>, (): &()) -> garde::Result {
    match limit {
        Some(limit) if !(1..=MOST_TOPICS).contains(&(*limit as usize)) => {
            Err(garde::Error::new(format!("must be 1 to {MOST_TOPICS}")))
        }
        _ => Ok(()),
    }
}

impl PreviewTopicRules {
    /// The rules.
    pub(crate) fn rules(&self) -> Result<TopicRules, Invalid> {
        parse(&self.rules)
    }

    /// The topics.
    pub(crate) fn topics(&self) -> Result<PreviewTopics, Invalid> {
        Ok(match (&self.topics, self.device_id) {
            (Some(topics), _) => {
                PreviewTopics::Given(topics.iter().map(|topic| TopicName::parse(topic)).collect::<Result<_, _>>()?)
            }
            (None, Some(device)) => PreviewTopics::OfDevice(device.0),
            (None, None) => PreviewTopics::OfTenant,
        })
    }

    /// The most topics that are told.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(self.topics.as_ref().map_or(USUAL_TOPICS, |_| MOST_TOPICS as u32))
    }
}

/// What rules would make of topics.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// The topics: in the order of the body, by name for a device, and in no order for a tenant.
    data: Vec<PreviewedTopic>,
    /// There when there are more topics.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    has_more: bool,
}

/// What rules would make of a topic.
#[derive(Serialize, ToSchema)]
struct PreviewedTopic {
    #[schema(example = "home/kitchen/temp")]
    topic: String,
    /// The place of the rule that counts, from 0; `null`: none.
    #[schema(required)]
    rule: Option<usize>,
    /// The key of a value that is no object; a value within an object has this, `.` and its own key, where a rule counts.
    #[schema(example = "temp")]
    key: String,
    #[schema(example = json!({"room": "kitchen"}))]
    labels: BTreeMap<String, String>,
}

impl From<pocket_application::Preview> for Preview {
    fn from(preview: pocket_application::Preview) -> Self {
        let told = |previewed: pocket_application::PreviewedTopic| {
            let topic = previewed.topic.to_string();
            let unnamed = pocket_domain::LeafPath::ROOT;
            match previewed.named {
                Some((rule, naming)) => {
                    PreviewedTopic { topic, rule: Some(rule), key: naming.key, labels: naming.labels }
                }
                None => PreviewedTopic { topic, rule: None, key: unnamed.to_owned(), labels: BTreeMap::new() },
            }
        };
        Self { data: preview.topics.into_iter().map(told).collect(), has_more: preview.has_more }
    }
}
