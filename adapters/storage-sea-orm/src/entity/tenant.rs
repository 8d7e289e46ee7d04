//! Tenants.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub key: i64,
    pub id: Uuid,
    pub name: String,
    pub payload_policy: String,
    pub created_at: i64,
    pub max_age_seconds: Option<i64>,
    pub max_bytes: Option<i64>,
    /// Invisible; the purge removes what is left of it.
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
