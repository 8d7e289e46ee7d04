//! MQTT over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use pocket_mqtt_ntex::{BindError, Broker, MqttConfig, TenantAuthorizer, TlsFile, Transport};
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::certificates::{Authority, Files, connect, handshake};
use crate::packets::{connect3_with, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{PATIENCE, Platform, Socket, tcp};

async fn start(authority: &Authority) -> Platform {
    let files = Files::of(&authority.sign());
    Platform::start_with(|config| files.use_in(config)).await
}

/// The server closes a connection, whatever it says before.
async fn expect_end(stream: &mut (impl AsyncReadExt + Unpin)) {
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    let _ = read.expect("the connection is closed");
}

#[tokio::test]
async fn a_device_connects_publishes_and_subscribes_over_tls_1_2_and_1_3() {
    let authority = Authority::new();
    let platform = start(&authority).await;
    let device = platform.device("a").await;
    let address = platform.address(Transport::Tls);
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let stream = handshake(tcp(address).await, authority.client(&[version], None)).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let mut subscriber = Socket::over(stream);
        subscriber.connect5(&device, "s").await;
        subscriber.send(&subscribe5(1, b"", &[("t", 1)])).await;
        subscriber.expect(b"\x90\x04\0\x01\0\x01").await;
        let mut publisher = connect(address, &authority.client(&[version], None)).await;
        publisher.connect3(&device, "p").await;
        publisher.send(&publish3(1, "t", 7, b"21.5")).await;
        publisher.expect(b"\x40\x02\0\x07").await;
        subscriber.expect(&publish5(1, "t", 1, b"", b"21.5")).await;
    }
    assert_eq!(platform.stored(&device, 2).await.len(), 2);
}

#[tokio::test]
async fn packets_of_any_size_pass_over_tls() {
    let authority = Authority::new();
    let platform = start(&authority).await;
    let device = platform.device("a").await;
    let mut socket = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    socket.connect3(&device, "x").await;
    socket.send(&subscribe3(1, &[("#", 0)])).await;
    socket.packet().await;
    let payload = format!("\"{}\"", "x".repeat(65_534));
    for id in 1..=20 {
        socket.send(&publish3(1, "t", id, payload.as_bytes())).await;
    }
    let (mut messages, mut acknowledgements) = (0, 0);
    while messages < 20 || acknowledgements < 20 {
        match socket.packet().await {
            packet if packet[0] == 0x40 => acknowledgements += 1,
            packet => {
                assert_eq!(packet, publish3(0, "t", 0, payload.as_bytes()));
                messages += 1;
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_1_2_or_1_3_is_closed_and_harms_nobody() {
    let authority = Authority::new();
    let platform = start(&authority).await;
    let device = platform.device("a").await;
    let address = platform.address(Transport::Tls);
    let mut other = connect(address, &authority.any_client()).await;
    other.connect3(&device, "x").await;
    // A client hello of TLS 1.1 with one cipher suite.
    let hello = [b"\x03\x02".as_slice(), &[7; 32], b"\0\0\x02\0\x2f\x01\0"].concat();
    let len = u8::try_from(hello.len()).unwrap();
    let tls11 = [b"\x16\x03\x01\0".as_slice(), &[len + 4, 1, 0, 0, len], &hello].concat();
    for bytes in [tls11.as_slice(), b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 600]] {
        let mut stream = tcp(address).await;
        stream.write_all(bytes).await.unwrap();
        expect_end(&mut stream).await;
    }
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    assert_eq!(platform.broker.stats().connects_refused_at, [0, 4, 0]);
    assert_eq!(platform.broker.stats().connects_refused, 4);
    other.expect_nothing().await;
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_by_the_connect_timeout() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let address = platform.address(Transport::Tls);
    let mut silent = tcp(address).await;
    let mut slow = tcp(address).await;
    slow.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await.unwrap();
    // The handshake is done, CONNECT does not come.
    let mut idle = handshake(tcp(address).await, authority.any_client()).await.unwrap();
    expect_end(&mut silent).await;
    expect_end(&mut slow).await;
    expect_end(&mut idle).await;
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    assert_eq!(platform.broker.stats().connects_refused_at, [0, 2, 0]);
    assert_eq!(platform.broker.stats().connects_refused, 3);
}

#[tokio::test]
async fn a_client_must_show_a_certificate_where_it_is_demanded() {
    let (authority, devices, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::of(&authority.sign());
    files.write("devices.pem", &devices.pem());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.tls.as_mut().unwrap().client_ca = Some(files.path("devices.pem"));
    })
    .await;
    let device = platform.device("a").await;
    let address = platform.address(Transport::Tls);
    for version in [&TLS12, &TLS13] {
        for identity in [None, Some(strangers.sign())] {
            let client = authority.client(&[version], identity.as_ref());
            // A client of TLS 1.3 has done its part before it is refused.
            if let Ok(mut stream) = handshake(tcp(address).await, client).await {
                expect_end(&mut stream).await;
            }
        }
        let mut socket = connect(address, &authority.client(&[version], Some(&devices.sign()))).await;
        socket.connect3(&device, "x").await;
        socket.expect_nothing().await;
    }
    platform.eventually(|platform| platform.broker.stats().connects_refused_at == [0, 4, 0]).await;
}

#[tokio::test]
async fn a_certificate_does_not_replace_the_token() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    files.write("devices.pem", &authority.pem());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.tls.as_mut().unwrap().client_ca = Some(files.path("devices.pem"));
    })
    .await;
    let client = authority.client(&[&TLS13], Some(&authority.sign()));
    let mut socket = connect(platform.address(Transport::Tls), &client).await;
    socket.send(&connect3_with(0x02, 0, "x", &[])).await;
    socket.expect(b"\x20\x02\0\x04").await;
    socket.expect_closed().await;
}

#[tokio::test]
async fn a_connection_that_the_broker_ends_is_closed_as_tls_demands() {
    let authority = Authority::new();
    let platform = start(&authority).await;
    for version in [&TLS12, &TLS13] {
        let client = authority.client(&[version], None);
        let mut stream = handshake(tcp(platform.address(Transport::Tls)).await, client).await.unwrap();
        stream.write_all(&connect3_with(0x02, 0, "x", &[])).await.unwrap();
        // Without the last message of TLS this would be an error: somebody may have cut the connection.
        let mut received = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await;
        assert!(read.expect("the connection is closed").is_ok());
        assert_eq!(received, b"\x20\x02\0\x04");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_over_tls_loses_qos_0_and_is_disconnected() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.limits.unsent_bytes = 64 * 1024;
        config.limits.slow_consumer_seconds = 1;
    })
    .await;
    let device = platform.device("a").await;
    let mut sleeper = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    sleeper.connect3(&device, "s").await;
    sleeper.send(&subscribe3(1, &[("t", 0)])).await;
    sleeper.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    let payload = format!("\"{}\"", "x".repeat(32 * 1024));
    // The sockets' own buffers take some megabytes first.
    while platform.broker.stats().dropped_unsent == 0 {
        publisher.send(&publish3(1, "t", 1, payload.as_bytes())).await;
        publisher.expect(b"\x40\x02\0\x01").await;
        assert!(platform.broker.stats().messages_in[1] < 5_000, "nothing was dropped");
    }
    platform.eventually(|platform| platform.broker.stats().slow_consumers == 1).await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn what_tls_has_taken_and_the_socket_has_not_is_unsent() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.limits.unsent_bytes = 64 * 1024 * 1024;
        config.limits.slow_consumer_seconds = 1;
    })
    .await;
    let device = platform.device("a").await;
    let mut publisher = platform.v3(&device, "p").await;
    let payload = format!("\"{}\"", "x".repeat(64_000));
    for id in 1..=200 {
        let mut retained = publish3(1, &format!("t/{id}"), id, payload.as_bytes());
        retained[0] |= 1;
        publisher.send(&retained).await;
        publisher.packet().await;
    }
    // All of them are given to TLS at once, far more than the sockets' own buffers hold; then nothing more comes.
    let mut sleeper = connect(platform.address(Transport::Tls), &authority.any_client()).await;
    sleeper.connect3(&device, "s").await;
    sleeper.send(&subscribe3(1, &[("t/#", 0)])).await;
    platform.eventually(|platform| platform.broker.stats().slow_consumers == 1).await;
    assert_eq!(platform.broker.stats().dropped_unsent, 0);
}

/// What a broker says of its files.
async fn refused(adjust: impl FnOnce(&mut MqttConfig)) -> BindError {
    let platform = Platform::start().await;
    let mut config = MqttConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    adjust(&mut config);
    let gateway = platform.application.gateway.clone();
    Broker::new(config, gateway, std::sync::Arc::new(TenantAuthorizer)).bind().err().expect("it is refused")
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_problem() {
    let pair = Authority::new().sign();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let cut = pair.certificate.split_once("-----END").unwrap().0;
    for (name, text, file, problem) in [
        ("cert.pem", "", TlsFile::Certificate, "there is no certificate in it that is PEM".to_owned()),
        ("cert.pem", &*pair.key, TlsFile::Certificate, "there is no certificate in it that is PEM".to_owned()),
        ("cert.pem", cut, TlsFile::Certificate, "is not PEM: a part of it has no END line".to_owned()),
        ("key.pem", "", TlsFile::Key, "there is no private key in it that is PEM and needs no pass phrase".to_owned()),
        ("key.pem", &*other, TlsFile::Key, "does not belong to the certificate in CERT".to_owned()),
        ("ca.pem", "no", TlsFile::ClientCa, "there is no certificate in it that is PEM".to_owned()),
    ] {
        let files = Files::of(&pair);
        files.write("ca.pem", &pair.certificate);
        files.write(name, text);
        let refused = refused(|config| {
            files.use_in(config);
            config.tls.as_mut().unwrap().client_ca = Some(files.path("ca.pem"));
        })
        .await;
        let BindError::Tls(error) = refused else { panic!("{refused}") };
        let problem = problem.replace("CERT", &files.path("cert.pem").display().to_string());
        assert_eq!((error.file, &error.path, &error.problem), (file, &files.path(name), &problem));
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_named() {
    let files = Files::of(&Authority::new().sign());
    std::fs::remove_file(files.path("key.pem")).unwrap();
    let error = refused(|config| files.use_in(config)).await.to_string();
    let expected = format!("{}: cannot be read: No such file or directory", files.path("key.pem").display());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_listener_for_tls_needs_a_certificate_and_a_broker_a_listener() {
    let without_certificate = refused(|config| config.tls_address = config.address).await;
    assert!(matches!(without_certificate, BindError::NoCertificate), "{without_certificate}");
    let without_address = refused(|config| config.address = None).await;
    assert!(matches!(without_address, BindError::NoAddress), "{without_address}");
}
