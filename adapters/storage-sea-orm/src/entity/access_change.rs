//! The log of changes of access. It has ids and not keys, because it outlives what it speaks of.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "access_changes")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub sequence: i64,
    pub tenant: Uuid,
    pub device: Option<Uuid>,
    pub person: Option<Uuid>,
    pub client: Option<i64>,
    pub at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
