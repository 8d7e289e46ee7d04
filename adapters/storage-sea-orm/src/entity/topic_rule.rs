//! How tenants name what is published at topics.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "topic_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: i64,
    /// The list, as JSON.
    pub rules: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
