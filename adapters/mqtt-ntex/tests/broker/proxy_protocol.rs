//! Connections that come through a proxy.

use std::net::SocketAddr;
use std::time::Duration;

use pocket_mqtt_ntex::{MqttConfig, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certificates::{Authority, Files, handshake};
use crate::packets::{connect3, connect3_with};
use crate::platform::{PATIENCE, Platform, Socket, tcp};
use crate::websocket::turn_on;
use crate::websocket_client::WebSocket;

fn behind_a_proxy(config: &mut MqttConfig) {
    config.proxy_protocol = true;
}

/// A header of the PROXY protocol, with some extensions.
fn header(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let ports = [source.port().to_be_bytes(), 1883u16.to_be_bytes()].concat();
    let (family, addresses) = match source {
        SocketAddr::V4(source) => (0x11, [source.ip().octets().as_slice(), &[10, 0, 0, 1]].concat()),
        SocketAddr::V6(source) => (0x21, [source.ip().octets().as_slice(), &[1; 16]].concat()),
    };
    let block = [addresses, ports, b"\x04\0\x03abc".to_vec()].concat();
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &[family], &len, &block].concat()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn open(platform: &Platform, header: &[u8]) -> Socket {
    let mut socket = platform.socket().await;
    socket.send(header).await;
    socket
}

/// A CONNECT with a token that is wrong.
fn wrong() -> Vec<u8> {
    connect3_with(0x82, 0, "x", &[b"0000-0000-0000"])
}

/// Sends it, and returns what the broker says.
async fn fail(platform: &Platform, header: &[u8]) -> u8 {
    let mut socket = open(platform, header).await;
    socket.send(&wrong()).await;
    socket.packet().await[3]
}

/// Fails until the address of the header is not heard any more.
async fn exhaust(platform: &Platform, header: &[u8]) {
    for _ in 0..2_000 {
        if fail(platform, header).await == 3 {
            return;
        }
    }
    panic!("attempts are not counted");
}

#[tokio::test]
async fn failed_attempts_are_counted_for_the_address_in_the_header() {
    let platform = Platform::start_with(behind_a_proxy).await;
    exhaust(&platform, &header("192.0.2.7:4711")).await;
    // Another port of the same address; then others, of both families; then the proxy itself.
    assert_eq!(fail(&platform, &header("192.0.2.7:1")).await, 3);
    assert_eq!(fail(&platform, &header("[::ffff:192.0.2.7]:1")).await, 3);
    assert_eq!(fail(&platform, &header("192.0.2.8:4711")).await, 4);
    assert_eq!(fail(&platform, &header("[2001:db8::7]:4711")).await, 4);
    assert_eq!(fail(&platform, LOCAL).await, 4);
}

#[tokio::test]
async fn a_device_connects_behind_a_proxy() {
    let platform = Platform::start_with(behind_a_proxy).await;
    let device = platform.device("a").await;
    // The header byte by byte; then header and packet in one piece; then a connection of the proxy itself.
    let mut socket = platform.socket().await;
    for byte in header("192.0.2.7:4711") {
        socket.send(&[byte]).await;
    }
    socket.connect3(&device, "x").await;
    let mut socket = open(&platform, &[header("192.0.2.7:4711"), connect3(&device, "y")].concat()).await;
    socket.expect(b"\x20\x02\0\0").await;
    let mut socket = open(&platform, LOCAL).await;
    socket.connect3(&device, "z").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn what_does_not_begin_with_a_header_is_closed() {
    let platform = Platform::start_with(|config| {
        behind_a_proxy(config);
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let device = platform.device("a").await;
    let right = header("192.0.2.7:4711");
    for bytes in [
        connect3(&device, "x"),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n".to_vec(),
        // Longer than is read, and cut off: the rest never comes.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        right[..20].to_vec(),
        Vec::new(),
    ] {
        let mut socket = open(&platform, &bytes).await;
        socket.expect_closed().await;
    }
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    assert_eq!(platform.broker.stats().connects_refused_at, [5, 0, 0]);
}

#[tokio::test]
async fn the_header_comes_before_tls_and_before_http() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        behind_a_proxy(config);
        turn_on(config);
        files.use_in(config);
        config.secure_websocket_address = config.address;
    })
    .await;
    exhaust(&platform, &header("192.0.2.7:4711")).await;
    let stream = |transport| proxied(&platform, transport, "192.0.2.7:4711");
    // On every transport the address that failed too often is known.
    let tls = handshake(stream(Transport::Tls).await, authority.any_client()).await.unwrap();
    let mut tls = Socket::over(tls);
    tls.send(&wrong()).await;
    tls.expect(b"\x20\x02\0\x03").await;
    let secure = handshake(stream(Transport::SecureWebSocket).await, authority.any_client()).await.unwrap();
    for mut socket in [WebSocket::over(stream(Transport::WebSocket).await).await, WebSocket::over(secure).await] {
        socket.send(&wrong()).await;
        socket.expect(b"\x20\x02\0\x03").await;
    }
}

async fn proxied(platform: &Platform, transport: Transport, source: &str) -> TcpStream {
    let mut stream = tcp(platform.address(transport)).await;
    stream.write_all(&header(source)).await.unwrap();
    stream
}

#[tokio::test]
async fn the_first_bytes_of_tls_may_come_with_the_header() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        behind_a_proxy(config);
        files.use_in(config);
    })
    .await;
    let device = platform.device("a").await;
    // A proxy of the test's own, which puts the header before the first bytes of its client.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (front, back) = (listener.local_addr().unwrap(), platform.address(Transport::Tls));
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let read = client.read(&mut hello).await.unwrap();
        let mut server = tcp(back).await;
        server.write_all(&[&header("192.0.2.7:4711"), &hello[..read]].concat()).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    let client = handshake(tcp(front).await, authority.any_client());
    let mut socket = Socket::over(tokio::time::timeout(PATIENCE, client).await.unwrap().unwrap());
    socket.connect3(&device, "x").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn without_the_setting_a_header_is_no_mqtt() {
    let platform = Platform::start().await;
    let mut socket = open(&platform, &header("192.0.2.7:4711")).await;
    socket.expect_closed().await;
}
