//! Keys within an object `values` are named as if they stood beside it. Chunks keep payloads as they were published; only the
//! list of keys names them anew.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0018_keys_without_wrapper"
    }
}

// The trait leaves the lifetime out, and async_trait tells the two ways of writing it apart.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let schema = include_str!("m0018_keys_without_wrapper.sql");
        manager.get_connection().execute_unprepared(schema).await.map(|_| ())
    }
}
