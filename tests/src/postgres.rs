//! Databases of the PostgreSQL server that `tests/with-postgres.sh` starts.

use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::{ConnectionTrait, Database};

/// Where the server is: an address with the right to create databases.
const VARIABLE: &str = "POCKET_TEST_POSTGRES";

/// An empty database of its own for one test, which is dropped with this value.
pub struct PostgresDatabase {
    server: String,
    name: String,
}

impl PostgresDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    /// When there is no server; a test that is passed over silently would be worth nothing.
    pub async fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} names no server: run `just test`, or tests/with-postgres.sh COMMAND")
        });
        let name = format!("pocket_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Self { server, name }
    }

    /// Its address.
    ///
    /// # Panics
    /// When the server's address does not end with the name of a database.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("the address ends with the name of a database");
        format!("{server}/{}", self.name)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread of its own, because the test's runtime is busy with the test.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(run(&server, &sql));
        });
        // A panic here would hide that of the test.
        let _ = dropped.join();
    }
}

async fn run(server: &str, sql: &str) {
    let connection = Database::connect(server).await.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
    connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
}
