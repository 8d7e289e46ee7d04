//! Packets of MQTT.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Scene, Way, Worst};
use crate::wire::{connect, connect_with, publish, subscribe};

const QOS0: u8 = 0x30;
const QOS1: u8 = 0x32;
const QOS2: u8 = 0x34;
const RETAIN: u8 = 0x01;

pub(super) const ALL: &[Worst] = &[
    packets("PUBLISH, QoS 0, 60 kB", |_, n| publish(4, QOS0, &format!("w/{}", n % 10), 0, &[], &large(60_000))),
    packets("PUBLISH, QoS 1, small", |_, n| publish(4, QOS1, "w/s", id(n), &[], b"1")),
    packets("PUBLISH, QoS 2, never released", |_, n| publish(4, QOS2, "w/2", id(n), &[], b"1")),
    packets("PUBLISH, retained, new topics", |_, n| publish(4, QOS1 | RETAIN, &format!("r/{n}"), id(n), &[], b"1")),
    packets("PUBLISH, new topics", |_, n| publish(4, QOS1, &format!("n/{n}"), id(n), &[], b"1")),
    packets("PUBLISH, topics of many levels", |_, n| publish(4, QOS1 | RETAIN, &deep(n), id(n), &[], b"1")),
    packets("PUBLISH, new keys", |_, n| publish(4, QOS1, "w/k", id(n), &[], &keys(n, 500))),
    packets("PUBLISH, payload that is no JSON", |_, n| publish(4, QOS1, "w/m", id(n), &[], b"{\"a\":")),
    packets("PUBLISH, nested as deep as may be", |_, n| publish(4, QOS1, "w/d", id(n), &[], &nested(120))),
    packets5("PUBLISH, 5.0, 50 kB of user properties", |_, n| {
        publish(5, QOS1, "w/p", id(n), &user_properties(50_000), b"1")
    }),
    packets("SUBSCRIBE to wildcards, and PUBLISH that matches", wildcards),
    packets("SUBSCRIBE to all that is retained, again and again", |_, n| subscribe(4, id(n), &["#"], 1)),
    packets("SUBSCRIBE to new filters", |_, n| subscribe(4, id(n), &[&format!("f/{n}/+/#")], 1)),
    packets("PINGREQ", |_, _| [0xc0, 0].repeat(1_000)),
    connections("CONNECT with a kept session, and away", |scene, n| {
        let mut said = connect_with(4, 0xc0, &[], &format!("s{n}"), &scene.device.id, &scene.device.token);
        said.extend(subscribe(4, 1, &["w/#"], 1));
        said
    }),
    connections("CONNECT in place of the same client", |scene, _| {
        connect(4, "same", &scene.device.id, &scene.device.token)
    }),
    connections("CONNECT with a wrong token", |scene, n| {
        connect(4, &format!("x{n}"), &scene.device.id, "0000-0000-0000")
    }),
    connections("CONNECT that is cut off", |scene, _| {
        connect(4, "half", &scene.device.id, &scene.device.token)[..20].to_vec()
    }),
];

const fn packets(name: &'static str, of: fn(&Scene, u64) -> Vec<u8>) -> Worst {
    Worst { name, way: Way::Packets(4, of) }
}

const fn packets5(name: &'static str, of: fn(&Scene, u64) -> Vec<u8>) -> Worst {
    Worst { name, way: Way::Packets(5, of) }
}

const fn connections(name: &'static str, of: fn(&Scene, u64) -> Vec<u8>) -> Worst {
    Worst { name, way: Way::Connections(of) }
}

fn id(number: u64) -> u16 {
    (number % 60_000) as u16 + 1
}

fn large(bytes: usize) -> Vec<u8> {
    vec![b'1'; bytes]
}

/// A topic of so many levels as 1,024 bytes have, others each time.
fn deep(number: u64) -> String {
    format!("{number}{}", "/a".repeat(500))
}

/// An object of so many keys that no other has.
fn keys(number: u64, count: u64) -> Vec<u8> {
    let keys: Vec<String> = (0..count).map(|key| format!("\"k{number}-{key}\":1")).collect();
    format!("{{{}}}", keys.join(",")).into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
}

/// User properties of so many bytes at the least.
fn user_properties(bytes: usize) -> Vec<u8> {
    [0x26, 0, 1, b'a', 0, 1, b'b'].repeat(bytes / 7)
}

/// Filters of every mixture of a level and `+`, and a message that all match.
fn wildcards(_: &Scene, number: u64) -> Vec<u8> {
    if number % 200 >= 100 {
        return publish(4, QOS0, &vec!["a"; 30].join("/"), 0, &[], b"1");
    }
    let filters: Vec<String> = (0..10)
        .map(|filter| {
            let bits = number.wrapping_mul(10).wrapping_add(filter).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let levels: Vec<&str> = (0..30).map(|level| if bits >> level & 1 == 1 { "+" } else { "a" }).collect();
            levels.join("/")
        })
        .collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    subscribe(4, id(number), &filters, 0)
}

impl Scene {
    /// Says packets on a connection until the other side ends it.
    pub(super) async fn say(&self, version: u8, worker: u64, number: u64, of: fn(&Self, u64) -> Vec<u8>) {
        let Ok(stream) = TcpStream::connect(self.mqtt).await else { return };
        let (mut read, mut write) = stream.into_split();
        let hello = connect(version, &format!("worst{worker}"), &self.device.id, &self.device.token);
        let reading = async {
            let mut answers = vec![0; 64 * 1_024];
            while read.read(&mut answers).await.is_ok_and(|length| length > 0) {}
        };
        let writing = async {
            let mut said = write.write_all(&hello).await;
            let mut number = number;
            while said.is_ok() {
                said = write.write_all(&of(self, number)).await;
                number += super::AT_ONCE as u64;
                // The runtime of the test has one thread, on which the probe runs as well.
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
        // One that is refused at once does not come back as fast as it can: the machine has few ports.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Connects, says this, hears the first answer and goes.
pub(super) async fn say_once(address: SocketAddr, said: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    if stream.write_all(said).await.is_ok() {
        let mut answer = [0; 4];
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await;
    }
}
