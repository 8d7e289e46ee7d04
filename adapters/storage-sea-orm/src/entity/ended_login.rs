//! Log-ins of people that were ended before their tokens expire.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "ended_logins")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_key: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub login: Uuid,
    pub until: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
