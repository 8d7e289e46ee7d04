//! Deliveries are written in the order of their keys alone.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0029_deliveries_in_order"
    }
}

// The trait leaves the lifetime out, and async_trait tells the two ways of writing it apart.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let schema = match manager.get_database_backend() {
            DbBackend::Postgres => include_str!("m0029_deliveries_in_order.postgres.sql"),
            _ => include_str!("m0029_deliveries_in_order.sqlite.sql"),
        };
        manager.get_connection().execute_unprepared(schema).await.map(|_| ())
    }
}
