//! The connection to PostgreSQL breaks after COMMIT was sent: nobody is told whether it was done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pocket_tests::{Launch, PostgresServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Site;

/// COMMIT as a simple query: the type, the length, the text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// What becomes of a COMMIT.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It reaches the server, whose answer does not come back.
    Done,
    /// It does not reach the server.
    NotDone,
}

/// Stands between the platform and the server.
struct Proxy {
    address: SocketAddr,
    /// How many of the next commits are cut off.
    armed: Arc<AtomicU32>,
}

impl Proxy {
    async fn start(server: String, fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), armed: Arc::default() };
        let armed = Arc::clone(&proxy.armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(relay(client, upstream, Arc::clone(&armed), fate));
            }
        });
        proxy
    }
}

async fn relay(client: TcpStream, server: TcpStream, armed: Arc<AtomicU32>, fate: Fate) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        let is_commit = bytes[..count].windows(COMMIT.len()).any(|window| window == COMMIT);
        let is_cut =
            is_commit && armed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_cut {
            // The answer goes nowhere from here on.
            back.abort();
            let _ = (&mut back).await;
        }
        if (!is_cut || fate == Fate::Done) && to_server.write_all(&bytes[..count]).await.is_err() {
            break;
        }
        if is_cut {
            return;
        }
    }
    back.abort();
}

async fn commits_are_cut(fate: Fate) {
    let server = PostgresServer::start().await;
    let (_, address) = server.url().split_once('@').map(|(user, rest)| (user.to_owned(), rest.to_owned())).unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let proxy = Proxy::start(address.to_owned(), fate).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address);
    let mut site = Site::start(Launch::default().set("database.url", &url)).await;
    for _ in 0..3 {
        proxy.armed.store(2, Ordering::SeqCst);
        site.goes_on().await;
    }
    assert_eq!(proxy.armed.load(Ordering::SeqCst), 0, "no commit was cut off");
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_commit_that_was_done_and_not_answered_is_not_done_again() {
    commits_are_cut(Fate::Done).await;
}

#[tokio::test]
async fn a_commit_that_did_not_reach_the_server_is_done_once() {
    commits_are_cut(Fate::NotDone).await;
}
