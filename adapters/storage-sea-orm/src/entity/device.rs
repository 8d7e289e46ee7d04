//! Devices, with what was last heard of them.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub key: i64,
    pub id: Uuid,
    pub tenant: i64,
    pub name: String,
    /// A JSON array of strings, in the order given.
    pub labels: String,
    pub notes: String,
    pub enabled: bool,
    pub token_expires_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub online: bool,
    pub last_seen_at: Option<i64>,
    pub rejected_at: Option<i64>,
    pub rejected_topic: Option<String>,
    pub rejected_reason: Option<String>,
    /// Invisible; the purge removes what is left of it.
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
