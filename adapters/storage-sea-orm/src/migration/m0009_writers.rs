//! The writers of PostgreSQL have a row each.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_writers"
    }
}

// The trait leaves the lifetime out, and async_trait tells the two ways of writing it apart.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let schema = include_str!("m0009_writers.postgres.sql");
        manager.get_connection().execute_unprepared(schema).await.map(|_| ())
    }
}
