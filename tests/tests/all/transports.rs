//! MQTT over TLS, over WebSocket and behind a proxy, with the real binary.
//!
//! The stock client speaks over TCP to a tunnel of the test, which puts below it what a transport needs.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pocket_tests::{Launch, Platform};
use reqwest::Method;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(30);
const NAME: &str = "broker.test";

/// A certificate in its files, and a client that trusts it and no other.
fn new_certificate(dir: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn tls(address: SocketAddr, client: Arc<ClientConfig>) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(client).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

/// Where a tunnel begins that ends in this stream. It serves one connection.
async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        copy_bidirectional(&mut near, &mut stream).await
    });
    address
}

/// Where a tunnel begins that ends in a WebSocket of a library of others.
async fn websocket_tunnel(address: SocketAddr) -> SocketAddr {
    let mut request = format!("ws://{address}/mqtt").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    let (far, mut near) = tokio::io::duplex(4_096);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4_096];
        loop {
            tokio::select! {
                read = near.read(&mut buffer) => match read {
                    Ok(1..) => socket.send(Message::binary(buffer[..read.unwrap()].to_vec())).await.unwrap(),
                    _ => return,
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => near.write_all(&bytes).await.unwrap(),
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    });
    tunnel(far).await
}

/// A device that is connected, and publishes.
struct Device {
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    async fn connect(platform: &Platform, name: &str, address: SocketAddr) -> Self {
        let (id, token) = platform.admin().await.register_device(name).await;
        let mut options = MqttOptions::new(name, address.ip().to_string(), address.port());
        options.set_credentials(id, token);
        let (client, events) = AsyncClient::new(options, 10);
        let mut device = Self { client, events };
        device.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
        device
    }

    /// Publishes the number and waits until it is stored.
    async fn publish(&mut self, number: u32) {
        self.client.publish("t", QoS::AtLeastOnce, false, number.to_string()).await.unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    }

    async fn until(&mut self, is_meant: impl Fn(&Packet) -> bool) {
        let next = async {
            while !matches!(self.events.poll().await.expect("the connection holds"), Event::Incoming(packet) if is_meant(&packet))
            {
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the packet comes");
    }
}

async fn eventually(what: impl AsyncFn() -> bool) {
    let began = tokio::time::Instant::now();
    while !what().await {
        assert!(began.elapsed() < PATIENCE, "it never happened");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn metrics(platform: &Platform) -> String {
    platform.api().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn devices_publish_over_tls_and_websocket_and_a_certificate_is_exchanged_meanwhile() {
    let files = tempfile::tempdir().unwrap();
    let old = new_certificate(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let platform = Launch::default()
        .set("mqtt.tls_port", "0")
        .set("mqtt.tls_cert", &path("cert.pem"))
        .set("mqtt.tls_key", &path("key.pem"))
        .set("mqtt.ws_port", "0")
        .start()
        .await;
    let secure = platform.mqtt_over("mqtts");
    let stream = tls(secure, Arc::clone(&old)).await.unwrap();
    let mut early = Device::connect(&platform, "early", tunnel(stream).await).await;
    early.publish(1).await;
    let mut websocket = Device::connect(&platform, "websocket", websocket_tunnel(platform.mqtt_over("ws")).await).await;
    websocket.publish(2).await;
    let new = new_certificate(files.path());
    eventually(async || metrics(&platform).await.contains("pocket_mqtt_tls_reloads_total{result=\"done\"} 1")).await;
    assert!(tls(secure, old).await.is_err(), "the old certificate is still shown");
    let stream = tls(secure, new).await.unwrap();
    let mut late = Device::connect(&platform, "late", tunnel(stream).await).await;
    late.publish(3).await;
    early.publish(4).await;
    let figures = metrics(&platform).await;
    for line in ["{transport=\"tcp\"} 0", "{transport=\"tls\"} 2", "{transport=\"ws\"} 1"] {
        assert!(figures.contains(&format!("pocket_mqtt_transport_connections{line}\n")), "{figures}");
    }
    let rows = platform.admin().await.telemetry("order=asc").await;
    assert_eq!(rows.iter().map(|row| row["payload"].as_u64()).collect::<Vec<_>>(), [1, 2, 3, 4].map(Some));
}

#[tokio::test]
async fn a_device_publishes_through_a_proxy_and_only_through_it() {
    let platform = Launch::default().set("mqtt.proxy_protocol", "true").start().await;
    let mut stream = TcpStream::connect(platform.mqtt()).await.unwrap();
    // From 192.0.2.7, port 4711, to 192.0.2.1, port 1883.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x07\x5b";
    stream.write_all(header).await.unwrap();
    Device::connect(&platform, "proxied", tunnel(stream).await).await.publish(1).await;
    let admin = platform.admin().await;
    eventually(async || {
        let devices = admin.get("/api/v1/devices").await.expect(200);
        devices["data"][0]["remoteAddress"] == "192.0.2.7:4711"
    })
    .await;
    let address = platform.mqtt();
    let (_client, mut events) = AsyncClient::new(MqttOptions::new("x", address.ip().to_string(), address.port()), 1);
    assert!(events.poll().await.is_err());
}
