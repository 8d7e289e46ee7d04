//! Messages that the database refused, as bytes because their text may be the reason.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub key: i64,
    pub tenant: Uuid,
    pub device: Uuid,
    pub topic: String,
    pub payload: Vec<u8>,
    pub timestamp: i64,
    pub received_at: i64,
    pub reason: String,
    pub at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
