//! User names and passwords of devices.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "device_logins")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub device: i64,
    pub tenant: i64,
    pub id: Uuid,
    pub username: String,
    pub password_hash: String,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
