//! Strangers who guess at the tokens of devices over MQTT.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pocket_tests::wire::{RawClient, connect};
use pocket_tests::{Device, Launch, Platform};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// A log-in may take this long at most; a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_secs(2);
/// Guesses under way at a time.
const AT_ONCE: u64 = 40;
/// Failures that are heard in the window.
const FAILURES: u64 = 30;

/// Reasons of CONNACK.
const ACCEPTED: u8 = 0;
const WRONG: u8 = 0x86;
const NOT_HEARD: u8 = 0x97;

/// An address of this machine.
fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Connects from an address; the client and the reason of CONNACK.
async fn log_in(broker: SocketAddr, source: IpAddr, name: &str, token: &str) -> (RawClient, u8) {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.bind(SocketAddr::new(source, 0)).expect("loopback has the address");
    let mut client = RawClient { stream: socket.connect(broker).await.expect("the port is open") };
    client.send(&connect(5, "device", name, token)).await;
    let (first, body) = client.next().await.expect("CONNACK comes");
    assert_eq!(first, 0x20);
    (client, body[1])
}

/// A token that has the form of the right one, `xxxx-yyyy-zzzz`, and differs from it.
fn guess(right: &str, number: u64) -> String {
    let wrong = format!("{}-{:04}-{:04}", &right[..4], number / 10_000, number % 10_000);
    if wrong == right { guess(right, number + 1) } else { wrong }
}

/// A stranger who guesses at a device until told to stop.
struct Stranger {
    tasks: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    not_heard: Arc<AtomicU64>,
}

impl Stranger {
    fn guesses(broker: SocketAddr, source: IpAddr, device: &Device) -> Self {
        let (is_over, heard, not_heard) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        let number = Arc::<AtomicU64>::default();
        for _ in 0..AT_ONCE {
            let (id, token, number) = (device.id.clone(), device.token.clone(), Arc::clone(&number));
            let (is_over, heard, not_heard) = (Arc::clone(&is_over), Arc::clone(&heard), Arc::clone(&not_heard));
            tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let wrong = guess(&token, number.fetch_add(1, Ordering::Relaxed));
                    let counter: &AtomicU64 = match log_in(broker, source, &id, &wrong).await.1 {
                        WRONG => &heard,
                        NOT_HEARD => &not_heard,
                        other => panic!("a guess is answered with {other:#x}"),
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, is_over, heard, not_heard }
    }

    /// Waits until some guesses were not heard.
    async fn is_held_up(&self) {
        let began = Instant::now();
        while self.not_heard.load(Ordering::Relaxed) < AT_ONCE {
            assert!(began.elapsed() < Duration::from_secs(30), "all guesses are heard");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends; guesses that were heard, and those that were not.
    async fn stop(self) -> (u64, u64) {
        self.is_over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        (self.heard.load(Ordering::Relaxed), self.not_heard.load(Ordering::Relaxed))
    }
}

async fn start() -> (Platform, Device) {
    // A window that does not end within the test.
    let platform = Launch::default().set("auth.login_window", "3600").set("log.filter", "warn").start().await;
    let device = Device::register(&platform.admin().await, "device").await;
    (platform, device)
}

/// The device is let in ten times, and each time soon.
async fn is_let_in(broker: SocketAddr, source: IpAddr, device: &Device) {
    for name in [&device.id, &device.token] {
        for _ in 0..5 {
            let began = Instant::now();
            let (_client, reason) = log_in(broker, source, name, &device.token).await;
            assert_eq!(reason, ACCEPTED, "from {source}");
            assert!(began.elapsed() < SOON, "{:?} from {source}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_device_gets_in_while_a_stranger_guesses_at_its_token_latency() {
    let (platform, device) = start().await;
    let broker = platform.mqtt();
    let stranger = Stranger::guesses(broker, loopback(66), &device);
    stranger.is_held_up().await;
    // From another address that was never here, and from that of the stranger.
    for last in [1, 66] {
        is_let_in(broker, loopback(last), &device).await;
    }
    let (heard, not_heard) = stranger.stop().await;
    assert!(not_heard > 0 && heard > 0, "{heard} guesses were heard, {not_heard} not");
}

#[tokio::test]
async fn guesses_at_the_token_of_a_device_in_parallel_are_bounded() {
    let (platform, device) = start().await;
    let stranger = Stranger::guesses(platform.mqtt(), loopback(66), &device);
    stranger.is_held_up().await;
    // Those that were under way when the last failure was counted are heard as well.
    let (heard, _) = stranger.stop().await;
    assert!((1..FAILURES + AT_ONCE).contains(&heard), "{heard} guesses were heard");
    for number in 0..5 {
        let wrong = guess(&device.token, 1_000_000 + number);
        assert_eq!(log_in(platform.mqtt(), loopback(66), &device.id, &wrong).await.1, NOT_HEARD);
    }
}

#[tokio::test]
async fn guesses_at_many_devices_from_one_address_are_bounded_and_others_there_get_in() {
    let (platform, device) = start().await;
    let broker = platform.mqtt();
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let token = device.token.clone();
        tasks.spawn(async move {
            let mut heard = 0_u64;
            for number in 0..30 {
                let number = task * 30 + number;
                let name = format!("00000000-0000-7000-8000-{number:012x}");
                heard += u64::from(log_in(broker, loopback(66), &name, &guess(&token, number)).await.1 == WRONG);
            }
            heard
        });
    }
    let heard: u64 = tasks.join_all().await.into_iter().sum();
    // Failures from one source that are heard in the window.
    assert!((1..1_000 + AT_ONCE).contains(&heard), "{heard} guesses were heard");
    is_let_in(broker, loopback(66), &device).await;
}

/// Guesses that are under way before the right token comes.
const CROWD: u64 = 1_000;

#[tokio::test]
async fn a_right_token_waits_for_no_crowd_of_guesses_from_another_address_latency() {
    let (platform, device) = start().await;
    let broker = platform.mqtt();
    // Neither address is heard any more but for right tokens.
    for source in [loopback(66), loopback(67)] {
        for number in 0..=FAILURES {
            log_in(broker, source, &device.id, &guess(&device.token, number)).await;
        }
    }
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.bind(SocketAddr::new(loopback(66), 0)).expect("loopback has the address");
        let mut client = RawClient { stream: socket.connect(broker).await.expect("the port is open") };
        client.send(&connect(5, "device", &device.id, &guess(&device.token, number))).await;
        crowd.push(client);
    }
    is_let_in(broker, loopback(67), &device).await;
    for mut client in crowd {
        let (_, body) = client.next().await.expect("CONNACK comes");
        assert_eq!(body[1], NOT_HEARD);
    }
}
