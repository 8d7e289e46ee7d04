//! How tenants name what is published at topics.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{TenantId, TopicRules};
use pocket_ports::{StorageError, TopicRuleRepository};
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};

use crate::database::Database;
use crate::entity::{corrupt, topic_rule};
use crate::error::Error;
use crate::tenants;

/// The rules of a database.
pub(crate) struct TopicRuleLists(pub(crate) Arc<Database>);

/// Removes the rules of a tenant.
pub(crate) async fn delete_of_tenant(transaction: &DatabaseTransaction, tenant: i64) -> Result<(), Error> {
    topic_rule::Entity::delete_by_id(tenant).exec(transaction).await?;
    Ok(())
}

pub(crate) fn from_row(row: &topic_rule::Model) -> Result<TopicRules, StorageError> {
    TopicRules::from_text(&row.rules).map_err(corrupt)
}

#[async_trait]
impl TopicRuleRepository for TopicRuleLists {
    async fn get(&self, tenant: TenantId) -> Result<TopicRules, StorageError> {
        let query =
            topic_rule::Entity::find().filter(topic_rule::Column::Tenant.into_expr().eq(tenants::key_of(tenant)));
        let row = self.0.ask(move |db| async move { Ok(query.one(db.reader()).await?) }).await?;
        row.map_or_else(|| Ok(TopicRules::default()), |row| from_row(&row))
    }

    async fn set(&self, tenant: TenantId, rules: &TopicRules) -> Result<(), StorageError> {
        let rules = (!rules.is_empty()).then(|| rules.to_text());
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let tenant = tenants::require(&transaction, tenant).await?;
                match rules {
                    None => delete_of_tenant(&transaction, tenant).await?,
                    Some(rules) => {
                        let row = topic_rule::ActiveModel { tenant: Set(tenant), rules: Set(rules) };
                        let replace = OnConflict::column(topic_rule::Column::Tenant)
                            .update_column(topic_rule::Column::Rules)
                            .to_owned();
                        let insert = topic_rule::Entity::insert(row).on_conflict(replace);
                        insert.exec_without_returning(&transaction).await?;
                    }
                }
                Ok(transaction.commit().await?)
            })
            .await
    }
}
