//! A PostgreSQL server of a test's own, which it may kill.
//!
//! The programs are looked for where `tests/with-postgres.sh` finds or installs them. PostgreSQL does not run as root, so
//! a test that does runs it as `postgres`. What was committed survives the death of the server's processes, not that of the
//! machine: nothing is synced, unless the server is started with the settings that it has by default.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbBackend, Statement};
use tempfile::TempDir;

/// How long a start may take; the processes of the one before may still be there.
const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: &str = "-c listen_addresses=127.0.0.1 -c max_connections=60";
/// Without these, a commit takes as long as the disk does, and there is time to kill the server in the middle of one.
const UNSYNCED: &str = "-c fsync=off -c full_page_writes=off";

/// A running server, which ends with this value.
pub struct PostgresServer {
    directory: TempDir,
    programs: PathBuf,
    owner: Option<&'static str>,
    port: u16,
    /// Whether it has the settings of durability that it has by default.
    is_durable: bool,
}

impl PostgresServer {
    /// Starts an empty server on a free port.
    ///
    /// # Panics
    /// When PostgreSQL is not there or does not start.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// Starts an empty server that waits for the disk, as servers do unless they are told otherwise.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_durable() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_durable: bool) -> Self {
        // Short, because the path of a Unix socket is limited; in /tmp, because the owner must be able to reach it.
        let directory = tempfile::Builder::new().prefix("pocket-pg.").tempdir_in("/tmp").expect("a directory");
        let owner = (run(Command::new("id").arg("-u")).stdout == b"0\n").then_some("postgres");
        if let Some(owner) = owner {
            let mine = run(Command::new("chown").arg(owner).arg(directory.path()));
            assert!(mine.status.success(), "the directory is given to {owner}: {mine:?}");
        }
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).expect("a mode");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let server = Self { directory, programs: programs(), owner, port, is_durable };
        let data = server.data();
        let options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
        let made = run(server.program("initdb").arg("-D").arg(data).args(options));
        assert!(made.status.success(), "initdb: {made:?}");
        server.start_again().await;
        server
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program of PostgreSQL, to be run as its user.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.owner {
            Some(owner) => {
                let mut command = Command::new("runuser");
                command.args(["-u", owner, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        // The owner may not be allowed to stand where the caller stands.
        command.current_dir(self.directory.path());
        command
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user that its processes belong to, where that is not the one who runs the test.
    pub fn owner(&self) -> Option<&'static str> {
        self.owner
    }

    /// Puts a file into its directory of data that it alone may read.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn put(&self, name: &str, text: &str) {
        let file = self.data().join(name);
        std::fs::write(&file, text).expect("the file is written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
        if let Some(owner) = self.owner {
            assert!(run(Command::new("chown").arg(owner).arg(&file)).status.success(), "the file is given to {owner}");
        }
    }

    /// Encrypts connections with this certificate from now on, and lets in whom these lines of `pg_hba.conf` do. A client's certificate
    /// is verified by this authority.
    ///
    /// # Panics
    /// When it does not take them.
    pub async fn encrypt(&self, certificate: &str, key: &str, authority: &str, access: &str) {
        self.put("server.crt", certificate);
        self.put("server.key", key);
        self.put("root.crt", authority);
        self.put("postgresql.auto.conf", "ssl = on\nssl_ca_file = 'root.crt'\n");
        self.put("pg_hba.conf", &format!("local all all trust\n{access}\n"));
        let began = Instant::now();
        while self.over_socket("SHOW ssl") != "on" {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the server does not encrypt; it logged:\n{log}");
            let reloaded = run(self.program("pg_ctl").args(["reload", "-s", "-D"]).arg(self.data()));
            assert!(reloaded.status.success(), "{reloaded:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a query gives that `psql` asks over the server's socket.
    ///
    /// # Panics
    /// When `psql` cannot be run.
    pub fn over_socket(&self, sql: &str) -> String {
        // The directory of initdb may have no psql; the client is in PATH.
        let mut psql = match self.owner {
            Some(owner) => {
                let mut command = Command::new("runuser");
                command.args(["-u", owner, "--", "psql"]);
                command
            }
            None => Command::new("psql"),
        };
        psql.current_dir(self.directory.path());
        psql.arg("-h").arg(self.directory.path()).args(["-p", &self.port.to_string(), "-U", "postgres", "-Atc", sql]);
        let output = run(&mut psql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&self) {
        let (began, log) = (Instant::now(), self.directory.path().join("log"));
        let options =
            format!("-p {} -c unix_socket_directories={} {SETTINGS}", self.port, self.directory.path().display());
        let options = if self.is_durable { options } else { format!("{options} {UNSYNCED}") };
        loop {
            let mut command = self.program("pg_ctl");
            command
                .arg("start")
                .arg("-D")
                .arg(self.data())
                .arg("-l")
                .arg(&log)
                .args(["-s", "-w", "-t", "60", "-o", &options]);
            // The server inherits these, and a pipe would stay open as long as it runs.
            let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if started.is_ok_and(|status| status.success()) {
                return;
            }
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the server does not start; it logged:\n{told}");
            // Processes of the one that was killed hold its memory until they notice.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The number of its first process.
    fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        file.lines().next().and_then(|line| line.trim().parse().ok()).expect("the file begins with a number")
    }

    /// Ends its first process without a warning, as when the machine has no memory left, and waits until the others have
    /// noticed: until then they commit what they have begun.
    ///
    /// # Panics
    /// When they do not notice.
    pub async fn kill(&self) {
        let (began, family) = (Instant::now(), family(self.pid()));
        signal("KILL", &family[..1]);
        while family[1..].iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            assert!(began.elapsed() < PATIENCE, "processes of the server outlive it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as fast as it can be asked to, without a checkpoint.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_at_once(&self) {
        let stopped = run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data()));
        assert!(stopped.status.success(), "{stopped:?}");
    }

    /// Keeps a copy of its data, as a replica that lags behind or a backup is one. The server must not run.
    ///
    /// # Panics
    /// When the data cannot be copied.
    pub fn keep_copy(&self) {
        let copied = run(Command::new("cp").arg("-a").arg(self.data()).arg(self.copy()));
        assert!(copied.status.success(), "{copied:?}");
    }

    /// Puts the copy in the place of its data, as when that replica takes over. The server must not run.
    ///
    /// # Panics
    /// When there is no copy.
    pub fn take_over_from_copy(&self) {
        std::fs::remove_dir_all(self.data()).expect("the data are removed");
        let moved = run(Command::new("cp").arg("-a").arg(self.copy()).arg(self.data()));
        assert!(moved.status.success(), "{moved:?}");
    }

    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy")
    }

    /// Lets all its processes stand still, as a machine that hangs; [`thaw`](Self::thaw) lets them go on.
    pub fn freeze(&self) {
        signal("STOP", &family(self.pid()));
    }

    /// Lets its processes go on.
    pub fn thaw(&self) {
        signal("CONT", &family(self.pid()));
    }

    /// Cuts all connections of the platform.
    pub async fn cut_connections(&self) {
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pocket-iot'")
            .await;
    }

    /// Runs a statement.
    ///
    /// # Panics
    /// When it fails.
    pub async fn execute(&self, sql: &str) {
        self.execute_all(&[sql]).await;
    }

    /// Runs statements one after the other on one connection.
    ///
    /// # Panics
    /// When one fails.
    pub async fn execute_all(&self, statements: &[&str]) {
        let mut options = ConnectOptions::new(self.url());
        let connection = Database::connect(options.max_connections(1).to_owned()).await.expect("the server is there");
        for sql in statements {
            connection.execute_unprepared(sql).await.expect("the statement is right");
        }
        connection.close().await.expect("it closes");
    }

    /// The number that a query gives.
    ///
    /// # Panics
    /// When it gives none.
    pub async fn number(&self, sql: &str) -> i64 {
        let connection = Database::connect(self.url()).await.expect("the server is there");
        let row =
            connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.expect("it is right");
        connection.close().await.expect("it closes");
        row.expect("there is a row").try_get_by_index(0).expect("it is a number")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Ok(file) = std::fs::read_to_string(self.data().join("postmaster.pid"))
            && let Some(pid) = file.lines().next().and_then(|line| line.trim().parse().ok())
        {
            // One that stands still would not hear of its end.
            signal("CONT", &family(pid));
            run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data()));
        }
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program is there")
}

fn signal(name: &str, pids: &[u32]) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).args(pids.iter().map(u32::to_string));
    // One of them may have ended by itself.
    run(&mut kill);
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = run(Command::new("pgrep").args(["-P", &pid.to_string()])).stdout;
    let children = String::from_utf8_lossy(&children).lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>();
    std::iter::once(pid).chain(children).collect()
}

/// The directory of initdb and pg_ctl.
fn programs() -> PathBuf {
    let in_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut of_debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    of_debian.sort();
    let has_both =
        |directory: &&PathBuf| ["initdb", "pg_ctl"].iter().all(|name| Path::new(directory).join(name).exists());
    let found = in_path.iter().chain(of_debian.iter().rev()).find(has_both).cloned();
    found.expect("PostgreSQL is installed: run `just test`, or install Debian's package postgresql")
}
