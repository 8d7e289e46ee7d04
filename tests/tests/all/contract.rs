//! The contract suite of the storage ports on every adapter: memory, SQLite in a file, and a real PostgreSQL; these also
//! while all that is written becomes chunks at once.

use std::ops::Deref;
use std::time::Duration;

use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use pocket_tests::PostgresDatabase;
use tempfile::TempDir;

/// A storage, and what must live as long as it does.
struct Made<T> {
    storage: Storage,
    _kept: T,
}

impl<T> Deref for Made<T> {
    type Target = Storage;

    fn deref(&self) -> &Storage {
        &self.storage
    }
}

async fn sqlite(sealing: Sealing) -> Made<TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display());
    Made { storage: open(Options { sealing, ..Options::new(url) }).await.unwrap(), _kept: directory }
}

async fn postgres(sealing: Sealing) -> Made<PostgresDatabase> {
    let database = PostgresDatabase::create().await;
    let options = Options { pool: 4, sealing, ..Options::new(database.url()) };
    Made { storage: open(options).await.unwrap(), _kept: database }
}

/// All stays in the log for a while.
fn in_the_log() -> Sealing {
    Sealing::default()
}

/// All that is in the log becomes chunks, as fast as it can.
fn at_once() -> Sealing {
    Sealing { rows: 1, per_device: 0, every: Duration::from_millis(1), ..in_the_log() }
}

mod memory {
    async fn make() -> pocket_ports::Storage {
        pocket_storage_memory::storage()
    }

    pocket_ports::storage_contract!(make);
}

mod sqlite_log {
    async fn make() -> impl std::ops::Deref<Target = pocket_ports::Storage> {
        super::sqlite(super::in_the_log()).await
    }

    pocket_ports::storage_contract!(make);
}

mod sqlite_chunks {
    async fn make() -> impl std::ops::Deref<Target = pocket_ports::Storage> {
        super::sqlite(super::at_once()).await
    }

    pocket_ports::storage_contract!(history of make);
}

mod postgres_log {
    async fn make() -> impl std::ops::Deref<Target = pocket_ports::Storage> {
        super::postgres(super::in_the_log()).await
    }

    pocket_ports::storage_contract!(make);
}

mod postgres_chunks {
    async fn make() -> impl std::ops::Deref<Target = pocket_ports::Storage> {
        super::postgres(super::at_once()).await
    }

    pocket_ports::storage_contract!(history of make);
}
