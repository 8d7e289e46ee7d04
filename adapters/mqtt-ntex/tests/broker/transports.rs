//! Several listeners of one broker.

use pocket_mqtt_ntex::Transport;

use crate::certificates::{Authority, Files, connect, handshake};
use crate::packets::{connect3, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Platform, Socket, tcp};
use crate::websocket::turn_on;
use crate::websocket_client::WebSocket;

/// A platform on all transports, with this many connections.
async fn start(authority: &Authority, connections: usize) -> Platform {
    let files = Files::of(&authority.sign());
    Platform::start_with(|config| {
        files.use_in(config);
        turn_on(config);
        config.secure_websocket_address = config.address;
        config.limits.connections = connections;
    })
    .await
}

async fn secure_websocket(platform: &Platform, authority: &Authority) -> WebSocket {
    let stream = tcp(platform.address(Transport::SecureWebSocket)).await;
    WebSocket::over(handshake(stream, authority.any_client()).await.unwrap()).await
}

#[tokio::test]
async fn a_message_passes_from_each_transport_to_all() {
    let authority = Authority::new();
    let platform = start(&authority, 100).await;
    let device = platform.device("a").await;
    let mut sockets =
        [platform.socket().await, connect(platform.address(Transport::Tls), &authority.any_client()).await];
    let mut websockets = [WebSocket::open(&platform).await, secure_websocket(&platform, &authority).await];
    for (name, socket) in ["tcp", "tls"].into_iter().zip(&mut sockets) {
        socket.connect3(&device, name).await;
        socket.send(&subscribe3(1, &[("t", 0)])).await;
        socket.packet().await;
    }
    for (name, socket) in ["ws", "wss"].into_iter().zip(&mut websockets) {
        socket.send(&connect3(&device, name)).await;
        socket.expect(b"\x20\x02\0\0").await;
        socket.send(&subscribe3(1, &[("t", 0)])).await;
        socket.packet().await;
    }
    for number in 0..4u8 {
        let message = publish3(0, "t", 0, &[b'0' + number]);
        match number {
            0 | 1 => sockets[usize::from(number)].send(&message).await,
            _ => websockets[usize::from(number) - 2].send(&message).await,
        }
        for socket in &mut sockets {
            socket.expect(&message).await;
        }
        for socket in &mut websockets {
            socket.expect(&message).await;
        }
    }
    assert_eq!(platform.broker.stats().connections_by_transport, [1, 1, 1, 1]);
    drop((sockets, websockets));
    platform.eventually(|platform| platform.broker.stats().connections_by_transport == [0; 4]).await;
}

#[tokio::test]
async fn a_session_goes_on_over_another_transport() {
    let authority = Authority::new();
    let platform = start(&authority, 100).await;
    let device = platform.device("a").await;
    let (mut tcp, _) = platform.v5_kept(&device, "x", 60).await;
    tcp.send(&subscribe5(1, b"", &[("t", 1)])).await;
    tcp.packet().await;
    let credentials = [device.id.to_string(), device.token.clone()].map(|text| crate::packets::field(text.as_bytes()));
    let connect5 = crate::packets::connect5_with(0xc0, 0, b"\x11\0\0\0\x3c", "x", &credentials[0], &credentials[1]);
    let mut publisher = platform.v3(&device, "p").await;
    let publish = publish3(1, "t", 1, b"1");
    let mut tls = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    tls.send(&connect5).await;
    assert_eq!(tls.packet().await[2..4], [1, 0], "the session is present");
    tcp.expect_disconnect(0x8e).await;
    publisher.send(&publish).await;
    tls.expect(&publish5(1, "t", 1, b"", b"1")).await;
    let mut websocket = secure_websocket(&platform, &authority).await;
    websocket.send(&connect5).await;
    assert_eq!(websocket.packet().await[2..4], [1, 0], "the session is present");
    tls.expect_disconnect(0x8e).await;
    // What was not acknowledged comes again.
    let mut again = publish5(1, "t", 1, b"", b"1");
    again[0] |= 8;
    websocket.expect(&again).await;
}

#[tokio::test]
async fn the_limit_of_connections_holds_for_all_listeners_together() {
    let authority = Authority::new();
    let platform = start(&authority, 2).await;
    let device = platform.device("a").await;
    let _tcp = platform.v3(&device, "tcp").await;
    let mut tls = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    tls.connect3(&device, "tls").await;
    let mut websocket = WebSocket::open(&platform).await;
    websocket.send(&connect3(&device, "ws")).await;
    websocket.expect(b"\x20\x02\0\x03").await;
    websocket.expect_close(1000).await;
    let mut plain = platform.socket().await;
    plain.send(&connect3(&device, "y")).await;
    plain.expect(b"\x20\x02\0\x03").await;
    drop(tls);
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    WebSocket::v3(&platform, &device, "ws").await;
}

#[tokio::test]
async fn plain_tcp_may_be_left_out() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.address = None;
    })
    .await;
    assert_eq!(platform.running.addresses(), [(Transport::Tls, platform.running.local_addr())]);
    let device = platform.device("a").await;
    connect(platform.running.local_addr(), &authority.any_client()).await.connect3(&device, "x").await;
}

#[tokio::test]
async fn a_server_that_stops_says_so_on_every_transport() {
    let authority = Authority::new();
    let platform = start(&authority, 100).await;
    let device = platform.device("a").await;
    let mut tls: Socket = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    tls.connect5(&device, "tls").await;
    let mut websocket = WebSocket::v5(&platform, &device, "ws").await;
    platform.running.stop_accepting().await;
    assert_eq!(platform.running.close_sessions(std::time::Duration::from_secs(5)).await, 0);
    tls.expect_disconnect(0x8b).await;
    let disconnect = websocket.packet().await;
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x8b));
    websocket.expect_close(1000).await;
    platform.running.stop().await;
}
