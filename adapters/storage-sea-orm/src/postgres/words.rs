//! Why a PostgreSQL server is not connected to, in words that say what to change.

use std::io::ErrorKind;
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::postgres::PgSslMode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;

/// What an attempt failed with.
pub(super) fn of_error(address: &Address, error: &SqlxError) -> String {
    let server = address.shown();
    match error {
        SqlxError::Tls(cause) => of_tls(address, &cause.to_string()),
        // So comes what is wrong with a certificate.
        SqlxError::Io(cause) if cause.kind() == ErrorKind::InvalidData => of_tls(address, &cause.to_string()),
        SqlxError::Io(cause) => format!("the PostgreSQL server at {server} cannot be reached: {cause}"),
        SqlxError::Database(refusal) => {
            let code = refusal.code();
            let hint = match code.as_deref() {
                // Authentication, or a line of pg_hba.conf.
                Some("28000")
                    if refusal.message().contains("no encryption") || refusal.message().contains("SSL off") =>
                {
                    "; it takes encrypted connections only: leave sslmode out, or set it to require or more"
                }
                Some("08P01") if refusal.message().contains("startup parameter") => {
                    "; a pooler before the server does not know it: name it in ignore_startup_parameters of PgBouncer"
                }
                _ => "",
            };
            format!("the PostgreSQL server at {server} refuses: {}{hint}", refusal.message())
        }
        other => other.to_string(),
    }
}

fn of_tls(address: &Address, cause: &str) -> String {
    format!("the PostgreSQL server at {}: TLS failed: {cause}{}", address.shown(), hint(address, cause))
}

fn hint(address: &Address, cause: &str) -> String {
    let lower = cause.to_ascii_lowercase();
    let words = if lower.contains("does not support tls") {
        "; sslmode asks for an encrypted connection, and the server has `ssl = off`"
    } else if lower.contains("unknownissuer") {
        "; its certificate leads to no authority that is trusted: name the PEM file of the right one with sslrootcert"
    } else if lower.contains("caused as endentity") || lower.contains("causedasendentity") {
        "; its certificate is that of an authority, which cannot be a server's own: have the authority sign one for the server"
    } else if lower.contains("notvalidforname") || lower.contains("not valid for name") {
        "; its certificate is for another name (a subject alternative name is needed): connect by that name, or use sslmode=verify-ca"
    } else if lower.contains("expired") {
        "; its certificate has expired, or the clock of this machine is wrong"
    } else if lower.contains("certificaterequired") || lower.contains("certificate required") {
        "; the server asks for a certificate: name it with sslcert and its key with sslkey"
    } else {
        ""
    };
    let verifies = matches!(address.mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if words.is_empty() && verifies { "; sslmode verifies its certificate".to_owned() } else { words.to_owned() }
}

/// The pool tries again until its time is over and then only says so; one more attempt tells the reason.
pub(super) async fn of_silence(address: &Address, waited: Duration) -> String {
    let (server, seconds) = (address.shown(), waited.as_secs());
    let Some(place) = address.host() else {
        return format!("the PostgreSQL server at {server} does not answer: no answer within {seconds} s");
    };
    match timeout(waited, TcpStream::connect(place)).await {
        Ok(Err(refused)) => format!("the PostgreSQL server at {server} cannot be reached: {refused}"),
        Ok(Ok(_)) => format!(
            "the PostgreSQL server at {server} does not answer: no answer within {seconds} s; a pooler that stands there may have no \
             connection left"
        ),
        Err(_) => format!("the PostgreSQL server at {server} cannot be reached: no answer within {seconds} s"),
    }
}
