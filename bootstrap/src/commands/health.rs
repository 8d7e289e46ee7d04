//! `health`: whether the platform of this configuration serves, asked through its API. The exit code is 0 when it does and 1 when it
//! does not, so a container or a script needs no other program.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::HealthOptions;
use crate::config::Settings;
use crate::reachable::reachable;
use crate::{Failure, console};

/// The most bytes of an answer that are read.
const MOST_BYTES: u64 = 64 * 1_024;

/// Asks, and writes what was answered.
///
/// # Errors
/// When nobody answers in time, or the answer says that it does not serve.
pub(super) async fn run(settings: &Settings, options: HealthOptions) -> Result<(), Failure> {
    if !settings.mode.serves_api() {
        return Err(Failure::Usage("mode=broker: there is no API to ask; ask a process of mode all or api".into()));
    }
    if settings.api.address.port() == 0 {
        return Err(Failure::Usage(
            "POCKET_API_PORT=0: name the port that the platform was given, with --set api.port=PORT".into(),
        ));
    }
    let address = reachable(settings.api.address);
    let path = if options.alive { "/health" } else { "/ready" };
    let answered = timeout(Duration::from_secs(options.timeout), ask(address, path)).await;
    let answer = match answered {
        Err(_) => {
            return Err(Failure::Other(format!("http://{address}{path}: no answer within {} s", options.timeout)));
        }
        Ok(Err(error)) => return Err(Failure::Other(format!("http://{address}{path}: {error}"))),
        Ok(Ok(answer)) => answer,
    };
    let (status, body) = read(&answer);
    match status {
        Some(200..=299) => console::finish(format_args!("{body}\n")),
        Some(status) => Err(Failure::Other(format!("http://{address}{path}: {status}: {body}"))),
        None => Err(Failure::Other(format!("http://{address}{path}: what answers there is no HTTP server"))),
    }
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status and body of an answer.
fn read(answer: &str) -> (Option<u16>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|status| status.parse().ok());
    (status, body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), (Some(200), "{}"));
        assert_eq!(read("HTTP/1.1 503 Service Unavailable\r\n\r\n"), (Some(503), ""));
        for other in ["", "SSH-2.0-OpenSSH_9.6", "HTTP/1.1 \r\n\r\n", "220 mail ESMTP"] {
            assert_eq!(read(other).0, None, "{other}");
        }
    }
}
