//! Broker processes that are gone without having said so.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0031_broker_absences"
    }
}

// The trait leaves the lifetime out, and async_trait tells the two ways of writing it apart.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let schema = match manager.get_database_backend() {
            DbBackend::Postgres => include_str!("m0031_broker_absences.postgres.sql"),
            _ => include_str!("m0031_broker_absences.sqlite.sql"),
        };
        manager.get_connection().execute_unprepared(schema).await.map(|_| ())
    }
}
