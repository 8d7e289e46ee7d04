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
    pub last_seen_at: Option<i64>,
    pub rejected_at: Option<i64>,
    pub rejected_topic: Option<String>,
    pub rejected_reason: Option<String>,
    /// When it opened the connection that it opened last; the next three columns are about it too.
    pub connected_at: Option<i64>,
    pub client_id: Option<String>,
    pub remote_address: Option<String>,
    pub protocol: Option<String>,
    /// The number of its last event; 0 when there was none.
    pub events: i64,
    /// Invisible; the purge removes what is left of it.
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
