//! A server that was met: which of the ways to encrypt it takes is known, and so is whether a pooler stands before it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::{Connection, PgConnection};
use sea_orm::{ConnectOptions, SqlxError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::{pooler, words};
use crate::OpenError;

/// How long a server is waited for that refuses connections, and how long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// When it is tried again meanwhile.
const AGAIN: Duration = Duration::from_millis(200);
/// The question of a client whether the server encrypts (PostgreSQL, "Message Formats", SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];

/// A server that was connected to.
pub(super) struct Server {
    address: Address,
    options: PgConnectOptions,
    mode: PgSslMode,
}

impl Server {
    /// Connects in the first of the ways that the address allows and the server takes.
    ///
    /// # Errors
    /// Why it cannot be connected to.
    pub(super) async fn meet(url: &str) -> Result<(Self, PgConnection), OpenError> {
        let address = Address::parse(url)?;
        let mut first_failure = None;
        for mode in address.attempts() {
            let options = address.with_mode(*mode);
            match connect(&options).await {
                Ok(connection) => return Ok((Self { address, options, mode: *mode }, connection)),
                Err(Failure::Silence) => {
                    return Err(OpenError::Unavailable(words::of_silence(&address, PATIENCE).await));
                }
                Err(Failure::Error(error)) => {
                    let may_try_another = is_about_encryption(&error);
                    let told = words::of_error(&address, &error);
                    // The preferred way tells most.
                    let told = first_failure.get_or_insert(told);
                    if !may_try_another {
                        return Err(OpenError::Unavailable(told.clone()));
                    }
                }
            }
        }
        Err(OpenError::Unavailable(first_failure.unwrap_or_default()))
    }

    /// The server of an address, without its first connection.
    ///
    /// # Errors
    /// As [`meet`](Self::meet), and when a pooler stands there that keeps no sessions.
    pub(super) async fn with_sessions(url: &str) -> Result<Self, OpenError> {
        let (server, connection) = Self::meet(url).await?;
        pooler::check_sessions(&server.address, &server.options, connection).await?;
        Ok(server)
    }

    /// The server of an address that is to have so many connections.
    ///
    /// # Errors
    /// As [`meet`](Self::meet), and when a pooler stands there that lets in fewer.
    pub(super) async fn with_room(url: &str, pool: u32) -> Result<Self, OpenError> {
        let (server, connection) = Self::meet(url).await?;
        pooler::check_room(&server.address, &server.options, connection, pool).await?;
        server.tell().await;
        Ok(server)
    }

    /// What sea-orm is told of it. The URL of the settings is not for it: its messages would repeat the password.
    pub(super) fn connect_options(&self) -> ConnectOptions {
        let mut connect = ConnectOptions::new("postgres://server-of-the-options");
        let options = self.options.clone();
        connect.sqlx_logging(false).record_stmt_in_spans(false).map_sqlx_postgres_opts(move |_| options.clone());
        connect
    }

    /// What a pool that got no connection is told of.
    pub(super) async fn why_silent(&self, waited: Duration) -> String {
        words::of_silence(&self.address, waited).await
    }

    /// Says in the log whether connections are encrypted, where the address leaves it open.
    async fn tell(&self) {
        if !matches!(self.address.mode(), PgSslMode::Allow | PgSslMode::Prefer) || self.address.host().is_none() {
            return;
        }
        let server = self.address.shown();
        let is_encrypted = match self.mode {
            PgSslMode::Disable => false,
            PgSslMode::Prefer => self.offers_encryption().await,
            _ => true,
        };
        if is_encrypted {
            tracing::info!(%server, "connected to PostgreSQL, encrypted; sslmode=verify-full also verifies whose server it is");
        } else {
            tracing::info!(%server, "connected to PostgreSQL, not encrypted; sslmode=require refuses that");
        }
    }

    async fn offers_encryption(&self) -> bool {
        let Some(place) = self.address.host() else { return false };
        let ask = async {
            let mut socket = TcpStream::connect(place).await?;
            socket.write_all(&SSL_REQUEST).await?;
            socket.read_u8().await
        };
        timeout(PATIENCE, ask).await.is_ok_and(|answer| answer.is_ok_and(|answer| answer == b'S'))
    }
}

enum Failure {
    Error(SqlxError),
    Silence,
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    let began = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        match timeout(left.max(AGAIN), PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if is_transient(&error) && began.elapsed() + AGAIN < PATIENCE => sleep(AGAIN).await,
            Ok(Err(error)) => return Err(Failure::Error(error)),
            Err(_) => return Err(Failure::Silence),
        }
    }
}

/// A server that just starts, or has too many clients at the moment.
fn is_transient(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(cause) => {
            matches!(
                cause.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
            )
        }
        SqlxError::Database(refusal) => matches!(refusal.code().as_deref(), Some("53300" | "57P03")),
        _ => false,
    }
}

/// Whether the server may take a connection that is encrypted in another way.
fn is_about_encryption(error: &SqlxError) -> bool {
    match error {
        SqlxError::Tls(_) => true,
        // A line of pg_hba.conf, or a password for one of them.
        SqlxError::Database(refusal) => refusal.code().is_some_and(|code| code.starts_with("28")),
        // Some servers close a connection on which TLS fails.
        SqlxError::Io(cause) => matches!(cause.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData),
        _ => false,
    }
}

/// Closes a connection in order; that it fails changes nothing.
pub(super) async fn end(connection: PgConnection) {
    let _ = connection.close().await;
}
