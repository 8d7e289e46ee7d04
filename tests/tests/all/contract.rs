//! The contract suite of the storage ports on every adapter: memory, SQLite in a file, and a real PostgreSQL.

use std::ops::Deref;

use pocket_ports::Storage;

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

mod memory {
    async fn make() -> pocket_ports::Storage {
        pocket_storage_memory::storage()
    }

    pocket_ports::storage_contract!(make);
}

mod sqlite {
    use pocket_storage_sea_orm::{Options, open};
    use tempfile::TempDir;

    use super::Made;

    async fn make() -> Made<TempDir> {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display());
        Made { storage: open(Options::new(url)).await.unwrap(), _kept: directory }
    }

    pocket_ports::storage_contract!(make);
}

mod postgres {
    use pocket_storage_sea_orm::{Options, open};
    use pocket_tests::PostgresDatabase;

    use super::Made;

    async fn make() -> Made<PostgresDatabase> {
        let database = PostgresDatabase::create().await;
        let options = Options { pool: 4, ..Options::new(database.url()) };
        Made { storage: open(options).await.unwrap(), _kept: database }
    }

    pocket_ports::storage_contract!(make);
}
