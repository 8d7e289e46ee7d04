//! Clients that mean harm: connections that never say CONNECT or say it slowly, floods of connections, packets that are
//! announced and do not come. The real binary keeps its bounds, and a client that behaves notices nothing.
//!
//! `POCKET_TORTURE=n` makes all of it `n` times as large; `just torture` does.

use std::time::{Duration, Instant};

use pocket_tests::{Device, Launch, MIB, MemoryProbe, Platform, many, wire};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long something may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// The connect timeout of these tests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that a connection takes, with what it said; the allocator keeps some of them for the next.
const KEPT: u64 = 32 * 1_024;

async fn start(launch: Launch) -> (Platform, Device) {
    let timeout = CONNECT_TIMEOUT.as_secs().to_string();
    let platform = launch.set("mqtt.connect_timeout", &timeout).start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    (platform, device)
}

/// Waits until so many sockets are open.
async fn until_connected(platform: &Platform, count: usize) {
    let (began, line) = (Instant::now(), format!("pocket_mqtt_connections {count}"));
    loop {
        let answer = platform.api().request(Method::GET, "/metrics").send().await.expect("the API answers");
        if answer.text().await.expect("the answer is complete").lines().any(|other| other == line) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "there are still others than {count} connections");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// CONNECT of 3.1.1 with a clean session and no keep-alive.
fn connect(device: &Device, client_id: &str) -> Vec<u8> {
    wire::connect(4, client_id, &device.id, &device.token)
}

async fn open(platform: &Platform) -> TcpStream {
    TcpStream::connect(platform.mqtt()).await.expect("the port is open")
}

/// A connection of the device.
async fn connected(platform: &Platform, device: &Device, client_id: &str) -> TcpStream {
    let mut stream = open(platform).await;
    stream.write_all(&connect(device, client_id)).await.unwrap();
    let mut ack = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut ack)).await.expect("CONNACK comes").unwrap();
    assert_eq!(ack, [0x20, 2, 0, 0]);
    stream
}

/// Waits until the other side closes; returns when it did, and what it said.
async fn closed(mut stream: TcpStream) -> (Instant, Vec<u8>) {
    let mut said = Vec::new();
    // A reset closes as well.
    let end = stream.read_to_end(&mut said);
    let _ = tokio::time::timeout(PATIENCE, end).await.expect("the connection is closed");
    (Instant::now(), said)
}

/// A client that publishes at QoS 1, one message after the other, while others do harm.
struct Neighbour {
    task: JoinHandle<(usize, Duration)>,
    stop: watch::Sender<bool>,
}

impl Neighbour {
    async fn start(platform: &Platform, device: &Device) -> Self {
        let mut stream = connected(platform, device, "neighbour").await;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while !*stopped.borrow() {
                let began = Instant::now();
                stream.write_all(b"\x32\x07\0\x01n\0\x01{}").await.unwrap();
                let mut ack = [0; 4];
                tokio::time::timeout(PATIENCE, stream.read_exact(&mut ack)).await.expect("PUBACK comes").unwrap();
                assert_eq!(ack, [0x40, 2, 0, 1]);
                count += 1;
                slowest = slowest.max(began.elapsed());
            }
            (count, slowest)
        });
        Self { task, stop }
    }

    /// It noticed nothing: no message took long.
    async fn stays_unharmed(self) {
        self.stop.send(true).expect("it is still there");
        let (count, slowest) = self.task.await.expect("nothing went wrong");
        assert!(count > 0 && slowest < Duration::from_secs(5), "{count} messages, the slowest took {slowest:?}");
    }
}

#[tokio::test]
async fn half_open_connections_are_closed_in_time_and_others_work_meanwhile() {
    let (platform, device) = start(Launch::default()).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let before = MemoryProbe::of(&platform);
    let whole = connect(&device, "x");
    let beginnings: [&[u8]; 4] = [b"", b"\x10", &whole[..7], &whole[..whole.len() - 1]];
    let (count, mut closing) = (many(400), JoinSet::new());
    for number in 0..count {
        let mut stream = open(&platform).await;
        stream.write_all(beginnings[number % beginnings.len()]).await.unwrap();
        closing.spawn(async move { closed(stream).await.1 });
    }
    for said in closing.join_all().await {
        assert!(said.is_empty(), "a client that never said who it is was told {said:?}");
    }
    neighbour.stays_unharmed().await;
    before.never_grew_by(&platform, 16 * MIB + count as u64 * KEPT);
    before.returns_to(&platform, 24 * MIB + count as u64 * KEPT / 2).await;
}

#[tokio::test]
async fn half_open_connections_leave_files_for_the_rest() {
    let (platform, device) = start(Launch::default().set("mqtt.max_connections", "5000").open_files(320)).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(open(&platform).await);
    }
    for _ in 0..10 {
        let began = Instant::now();
        platform.api().get("/health").await.expect(200);
        assert!(began.elapsed() < CONNECT_TIMEOUT / 2, "the API had to wait for {:?}", began.elapsed());
    }
    neighbour.stays_unharmed().await;
    assert!(platform.log().contains("fewer connections are accepted than POCKET_MQTT_MAX_CONNECTIONS says"));
}

#[tokio::test]
async fn a_connect_that_comes_byte_by_byte_is_cut_off_at_the_time_out() {
    let (platform, device) = start(Launch::default()).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let bytes = connect(&device, "x");
    let pause = 2 * CONNECT_TIMEOUT / u32::try_from(bytes.len()).unwrap();
    let mut slow = JoinSet::new();
    for _ in 0..many(20) {
        let (stream, bytes) = (open(&platform).await, bytes.clone());
        slow.spawn(async move {
            let began = Instant::now();
            let (reader, mut writer) = stream.into_split();
            let writing = tokio::spawn(async move {
                for byte in bytes {
                    tokio::time::sleep(pause).await;
                    if writer.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            });
            let mut reader = reader;
            let mut said = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut said)).await.expect("it is cut off");
            writing.abort();
            (began.elapsed(), said)
        });
    }
    for (after, said) in slow.join_all().await {
        // All of CONNECT would have taken twice the timeout.
        assert!(said.is_empty() && after >= CONNECT_TIMEOUT - Duration::from_millis(200), "after {after:?}: {said:?}");
    }
    neighbour.stays_unharmed().await;
}

#[tokio::test]
async fn a_flood_of_connections_is_refused_beyond_the_limit_while_others_work() {
    let limit = many(50);
    let (platform, device) = start(Launch::default().set("mqtt.max_connections", &limit.to_string())).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let before = MemoryProbe::of(&platform);
    let mut flood = JoinSet::new();
    for number in 0..many(300) {
        let mut stream = open(&platform).await;
        let packet = connect(&device, &format!("flood-{number}"));
        flood.spawn(async move {
            // A connection that is refused may be reset before it is written to.
            let _ = stream.write_all(&packet).await;
            let mut ack = [0; 4];
            let answered = tokio::time::timeout(PATIENCE, stream.read_exact(&mut ack)).await.expect("an answer comes");
            (answered.is_ok().then_some(ack[3]), stream)
        });
    }
    let answers = flood.join_all().await;
    let accepted = answers.iter().filter(|(code, _)| *code == Some(0)).count();
    assert!((1..limit).contains(&accepted), "{accepted} were accepted beside the one that was there, of {limit}");
    assert!(answers.iter().all(|(code, _)| matches!(code, None | Some(0 | 3))));
    neighbour.stays_unharmed().await;
    before.never_grew_by(&platform, 16 * MIB + many(300) as u64 * KEPT);
    drop(answers);
    before.returns_to(&platform, 24 * MIB + many(300) as u64 * KEPT / 2).await;
    // There is room again.
    let began = Instant::now();
    loop {
        let mut stream = open(&platform).await;
        stream.write_all(&connect(&device, "late")).await.unwrap();
        let mut ack = [0; 4];
        if stream.read_exact(&mut ack).await.is_ok() && ack[3] == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nobody can connect any more");
    }
}

#[tokio::test]
async fn connections_that_come_and_go_leave_nothing() {
    let (platform, device) = start(Launch::default()).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let before = MemoryProbe::of(&platform);
    let (packet, count) = (connect(&device, "x"), many(300));
    for _ in 0..10 {
        for number in 0..count {
            let mut stream = open(&platform).await;
            stream.write_all(&packet[..packet.len() * (number % 5) / 4]).await.unwrap();
        }
        until_connected(&platform, 1).await;
    }
    // The allocator keeps what as many connections took as were there at a time, however many came.
    before.returns_to(&platform, 24 * MIB + count as u64 * KEPT).await;
    neighbour.stays_unharmed().await;
}

/// The largest payload of the tests below, and with it the largest packet, without its header of five bytes.
const PAYLOAD: u32 = 16 * 1_024 * 1_024;
const LARGEST: u32 = PAYLOAD + 8 * 1_024 - 5;

#[tokio::test]
async fn a_packet_takes_memory_as_it_comes_and_not_as_it_is_announced() {
    let (platform, device) = start(Launch::default().set("ingest.max_payload", &PAYLOAD.to_string())).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let before = MemoryProbe::of(&platform);
    let (count, begun) = (many(50), [b'1'; 1_024]);
    let mut streams = Vec::new();
    for number in 0..count {
        let mut stream = connected(&platform, &device, &format!("p{number}")).await;
        stream.write_all(&wire::header(0x30, LARGEST)).await.unwrap();
        // Of one device only so many may be under way as its share has room for; the others are cut off at once.
        let _ = stream.write_all(b"\0\x01t").await;
        let _ = stream.write_all(&begun).await;
        streams.push(stream);
        // One that did not even say who it is. Of one address, too, only so many have room.
        let mut stream = open(&platform).await;
        stream.write_all(&wire::header(0x10, LARGEST)).await.unwrap();
        let _ = stream.write_all(b"\0\x04MQTT\x04\x02\0\0\xff\xff").await;
        let _ = stream.write_all(&begun).await;
        streams.push(stream);
    }
    // 1.6 GB are announced.
    neighbour.stays_unharmed().await;
    before.never_grew_by(&platform, 16 * MIB + streams.len() as u64 * 64 * 1_024);
    let count = streams.len() as u64;
    drop(streams);
    before.returns_to(&platform, 24 * MIB + count * KEPT / 2).await;
}

#[tokio::test]
async fn a_packet_above_the_limit_is_cut_off_at_its_header() {
    let (platform, device) = start(Launch::default().set("ingest.max_payload", &PAYLOAD.to_string())).await;
    let before = MemoryProbe::of(&platform);
    for remaining in [LARGEST + 1, 268_435_455] {
        for number in 0..many(10) {
            let mut stream = connected(&platform, &device, &format!("p{number}")).await;
            stream.write_all(&wire::header(0x30, remaining)).await.unwrap();
            closed(stream).await;
            let mut stream = open(&platform).await;
            stream.write_all(&wire::header(0x10, remaining)).await.unwrap();
            closed(stream).await;
        }
    }
    before.returns_to(&platform, 16 * MIB).await;
}

#[tokio::test]
async fn bodies_that_come_slowly_take_what_came_and_give_it_back() {
    let (platform, device) = start(Launch::default().set("ingest.max_payload", &PAYLOAD.to_string())).await;
    let neighbour = Neighbour::start(&platform, &device).await;
    let before = MemoryProbe::of(&platform);
    let (count, piece, pieces) = (many(8), vec![b'1'; 64 * 1_024], 64);
    let mut streams = Vec::new();
    for number in 0..count {
        let mut stream = connected(&platform, &device, &format!("p{number}")).await;
        stream.write_all(&wire::header(0x30, LARGEST)).await.unwrap();
        stream.write_all(b"\0\x01t").await.unwrap();
        streams.push(stream);
    }
    for _ in 0..pieces {
        for stream in &mut streams {
            stream.write_all(&piece).await.unwrap();
        }
    }
    neighbour.stays_unharmed().await;
    let received = (count * piece.len() * pieces) as u64;
    // A buffer grows by doubling, and its last copy may be there yet.
    before.never_grew_by(&platform, 3 * received + 16 * MIB);
    drop(streams);
    before.returns_to(&platform, 32 * MIB).await;
}
