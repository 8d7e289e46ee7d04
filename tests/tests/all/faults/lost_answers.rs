//! The connection to PostgreSQL breaks after COMMIT was sent: nobody is told whether it was done. Or it breaks and nobody is told
//! even that.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pocket_ports::{Clock, SystemClock};
use pocket_tests::{Launch, PostgresServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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

/// What the platform notices of a connection's end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It is closed.
    Closed,
    /// Nothing: a network forgot it.
    Silent,
}

/// Stands between the platform and the server.
struct Proxy {
    address: SocketAddr,
    /// How many of the next commits are cut off.
    armed: Arc<AtomicU32>,
    /// Whether no connection is let through.
    shut: Arc<AtomicBool>,
    /// Ends all connections that are there, in silence.
    forget: watch::Sender<()>,
}

impl Proxy {
    async fn start(server: &PostgresServer, fate: Fate, end: End) -> Self {
        let url = server.url();
        let address = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).unwrap().0.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            armed: Arc::default(),
            shut: Arc::default(),
            forget: watch::Sender::default(),
        };
        let (armed, shut, forget) = (Arc::clone(&proxy.armed), Arc::clone(&proxy.shut), proxy.forget.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shut.load(Ordering::SeqCst) {
                    continue;
                }
                // A server that is away takes no connection.
                let Ok(upstream) = TcpStream::connect(&address).await else { continue };
                tokio::spawn(relay(client, upstream, Arc::clone(&armed), fate, end, forget.subscribe()));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }
}

/// Relays until one side closes, a commit is cut off, or the connection is forgotten: then the platform's side stays open.
async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    armed: Arc<AtomicU32>,
    fate: Fate,
    end: End,
    mut forget: watch::Receiver<()>,
) {
    let is_silent = tokio::select! {
        is_cut = forward(&mut client, &mut server, &armed, fate) => is_cut && end == End::Silent,
        _ = forget.changed() => true,
    };
    drop(server);
    if is_silent {
        std::future::pending::<()>().await;
    }
}

/// Whether a commit was cut off.
async fn forward(client: &mut TcpStream, server: &mut TcpStream, armed: &AtomicU32, fate: Fate) -> bool {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let mut back = pin!(tokio::io::copy(&mut from_server, &mut to_client));
    let mut bytes = vec![0; 65_536];
    loop {
        let count = tokio::select! {
            read = from_client.read(&mut bytes) => read.unwrap_or(0),
            _ = &mut back => 0,
        };
        if count == 0 {
            return false;
        }
        let is_commit = bytes[..count].windows(COMMIT.len()).any(|window| window == COMMIT);
        let is_cut =
            is_commit && armed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if (!is_cut || fate == Fate::Done) && to_server.write_all(&bytes[..count]).await.is_err() {
            return false;
        }
        if is_cut {
            return true;
        }
    }
}

/// A platform behind a proxy.
async fn site_behind(server: &PostgresServer, fate: Fate, end: End) -> (Proxy, Site) {
    let proxy = Proxy::start(server, fate, end).await;
    let site = Site::start(Launch::default().set("database.url", &proxy.url())).await;
    (proxy, site)
}

/// So many commits are cut off, again and again.
async fn commits_are_cut(fate: Fate, end: End, counts: &[u32]) {
    let server = PostgresServer::start().await;
    let (proxy, mut site) = site_behind(&server, fate, end).await;
    for count in counts {
        proxy.armed.store(*count, Ordering::SeqCst);
        site.goes_on().await;
    }
    assert_eq!(proxy.armed.load(Ordering::SeqCst), 0, "no commit was cut off");
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_commit_that_was_done_and_not_answered_is_not_done_again() {
    commits_are_cut(Fate::Done, End::Closed, &[2, 2, 2]).await;
}

#[tokio::test]
async fn a_commit_that_did_not_reach_the_server_is_done_once() {
    commits_are_cut(Fate::NotDone, End::Closed, &[2, 2, 2]).await;
}

#[tokio::test]
async fn connections_that_a_network_forgot_are_given_up() {
    let server = PostgresServer::start().await;
    let (proxy, mut site) = site_behind(&server, Fate::Done, End::Silent).await;
    proxy.forget.send(()).unwrap();
    site.goes_on().await;
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_commit_that_was_done_on_a_connection_that_a_network_forgot_is_not_done_again() {
    commits_are_cut(Fate::Done, End::Silent, &[1]).await;
}

#[tokio::test]
async fn a_commit_that_was_not_done_on_a_connection_that_a_network_forgot_is_done_once() {
    commits_are_cut(Fate::NotDone, End::Silent, &[1]).await;
}

/// The server crashes with a commit that is cut off, and is started on what it had on its disk, which is as if that had never been;
/// other transactions get the numbers of those that are lost.
async fn an_older_copy_takes_over(fate: Fate, are_batches_lost: bool) {
    for _ in 0..5 {
        if an_older_copy_takes_over_in_time(fate, are_batches_lost).await {
            return;
        }
    }
    panic!("each time the platform had asked what became of the commit before the copy took over");
}

/// `false`: the platform asked the server that is gone, so what that had committed was rightly acknowledged.
async fn an_older_copy_takes_over_in_time(fate: Fate, are_batches_lost: bool) -> bool {
    let server = PostgresServer::start().await;
    let (proxy, mut site) = site_behind(&server, fate, End::Closed).await;
    server.stop_at_once();
    server.keep_copy();
    server.start_again().await;
    let first = site.numbers.start;
    if are_batches_lost {
        site.goes_on().await;
    }
    let lost = first..site.numbers.start;
    let told = "a commit was not answered";
    let before = site.platform.log().matches(told).count();
    let known_before = site.platform.log().matches(KNOWN).count();
    proxy.armed.store(u32::MAX, Ordering::SeqCst);
    site.publish().await;
    let in_doubt = lost.end..site.numbers.start;
    wait_for("a commit of messages is cut off", || site.platform.log().matches(told).count() > before).await;
    proxy.shut.store(true, Ordering::SeqCst);
    server.stop_at_once();
    proxy.armed.store(0, Ordering::SeqCst);
    server.take_over_from_copy();
    let taken_over = SystemClock.now().to_string();
    server.start_again().await;
    let transaction = "SELECT txid_current()";
    server.execute_all(&[transaction; 200]).await;
    proxy.shut.store(false, Ordering::SeqCst);
    site.goes_on().await;
    let log = site.platform.log();
    let mut known = log.lines().filter(|line| line.contains(KNOWN)).skip(known_before);
    // A platform that had to wait for the processor logs late what it was told in time; the copy never has the commit.
    let is_asked_before = known.any(|line| is_before(line, &taken_over) || line.contains("is_done=true"));
    if is_asked_before && !are_batches_lost {
        return false;
    }
    // What the server that is gone had committed by then was rightly acknowledged, and is lost with it.
    let rows = site.rows().await;
    for (_, payload) in &site.mqtt.acknowledged {
        let (number, count) = (payload.parse().unwrap(), rows.get(payload).copied().unwrap_or_default());
        if lost.contains(&number) {
            assert_eq!(count, 0, "{payload} was on the server that is gone");
        } else if is_asked_before && in_doubt.contains(&number) {
            assert!(count <= 1, "{payload} is there {count} times");
        } else {
            assert_eq!(count, 1, "{payload} was acknowledged after the copy took over, or is in it");
        }
    }
    let told = site.platform.log().contains("the database is an older copy");
    assert_eq!(told, are_batches_lost, "{}", site.platform.log());
    true
}

/// What the platform says when it was answered.
const KNOWN: &str = "outcome of the commit known";

/// Whether a line of the log, which begins with its time, is from before a time.
fn is_before(line: &str, time: &str) -> bool {
    let milliseconds = "2026-01-01T00:00:00.000".len();
    line.get(..milliseconds) < time.get(..milliseconds)
}

async fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = tokio::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < super::PATIENCE, "{what}: never");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_commit_that_a_server_forgot_is_not_taken_for_another_that_has_its_number() {
    an_older_copy_takes_over(Fate::Done, false).await;
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_not_taken_for_another_that_has_its_number() {
    an_older_copy_takes_over(Fate::NotDone, false).await;
}

#[tokio::test]
async fn batches_that_an_older_copy_does_not_have_are_told_and_all_goes_on() {
    an_older_copy_takes_over(Fate::Done, true).await;
}
