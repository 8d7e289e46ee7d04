//! Calls about the rules by which a tenant names what is published at topics.

use pocket_domain::TopicRules;

use crate::answer::{Answer, no_content, ok};
use crate::body::Json;
use crate::dto::page::TenantParameters;
use crate::dto::topic_rules::{Preview, PreviewTopicRules, TopicRuleList};
use crate::extract::{App, User};
use crate::query::Query;

/// Show the rules by which the tenant names what is published at topics
#[utoipa::path(get, path = "/topic-rules", tag = "topic-rules", operation_id = "getTopicRules",
    params(TenantParameters),
    responses((status = 200, description = "The rules in order.", body = TopicRuleList)))]
pub(crate) async fn get(app: App, user: User, query: Query<TenantParameters>) -> Answer {
    ok(&TopicRuleList::from(&app.topic_rules.get(&user, query.tenant()).await?))
}

/// Set the rules of the tenant in place of those it has
///
/// They are applied to what is read, so they hold for what was stored before. They name values in the last values and keys of devices.
#[utoipa::path(put, path = "/topic-rules", tag = "topic-rules", operation_id = "setTopicRules",
    params(TenantParameters),
    request_body = TopicRuleList,
    responses((status = 200, description = "The rules in order.", body = TopicRuleList)))]
pub(crate) async fn set(app: App, user: User, query: Query<TenantParameters>, body: Json<TopicRuleList>) -> Answer {
    let rules = body.0.parse()?;
    app.topic_rules.set(&user, query.tenant(), &rules).await?;
    ok(&TopicRuleList::from(&rules))
}

/// Remove all rules of the tenant
#[utoipa::path(delete, path = "/topic-rules", tag = "topic-rules", operation_id = "deleteTopicRules",
    params(TenantParameters),
    responses((status = 204, description = "The tenant has no rules.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<TenantParameters>) -> Answer {
    app.topic_rules.set(&user, query.tenant(), &TopicRules::default()).await?;
    no_content()
}

/// Show what rules would make of topics, and store nothing
#[utoipa::path(post, path = "/topic-rules/preview", tag = "topic-rules", operation_id = "previewTopicRules",
    params(TenantParameters),
    request_body = PreviewTopicRules,
    responses((status = 200, description = "The keys and labels.", body = Preview)))]
pub(crate) async fn preview(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    body: Json<PreviewTopicRules>,
) -> Answer {
    let (rules, topics) = (body.0.rules()?, body.0.topics()?);
    ok(&Preview::from(app.topic_rules.preview(&user, query.tenant(), &rules, topics, body.0.limit()).await?))
}
