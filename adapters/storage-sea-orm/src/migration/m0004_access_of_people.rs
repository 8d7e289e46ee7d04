//! Entries of the access log that are about a person.
//!
//! A program of an older version on the same database, as there is while several are replaced one after the other, takes
//! such an entry for one about the whole tenant, and judges a few connections more than it needs to.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_access_of_people"
    }
}

// The trait leaves the lifetime out, and async_trait tells the two ways of writing it apart.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = match manager.get_database_backend() {
            DbBackend::Postgres => "ALTER TABLE access_changes ADD COLUMN person UUID",
            _ => "ALTER TABLE access_changes ADD COLUMN person BLOB",
        };
        manager.get_connection().execute_unprepared(add).await.map(|_| ())
    }
}
