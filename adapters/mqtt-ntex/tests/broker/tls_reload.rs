//! Certificates that change while the broker serves.

use pocket_mqtt_ntex::Transport;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::certificates::{Authority, Files, connect, handshake};
use crate::platform::{Platform, tcp};

async fn is_trusted(platform: &Platform, authority: &Authority) -> bool {
    handshake(tcp(platform.address(Transport::Tls)).await, authority.any_client()).await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::of(&old.sign());
    let platform = Platform::start_with(|config| files.use_in(config)).await;
    let device = platform.device("a").await;
    let mut early = connect(platform.address(Transport::Tls), &old.any_client()).await;
    early.connect3(&device, "early").await;
    assert!(!is_trusted(&platform, &new).await);
    let pair = new.sign();
    files.write("cert.pem", &pair.certificate);
    files.write("key.pem", &pair.key);
    platform.eventually(|platform| platform.broker.stats().tls_reloads == 1).await;
    let mut late = connect(platform.address(Transport::Tls), &new.any_client()).await;
    late.connect3(&device, "late").await;
    assert!(!is_trusted(&platform, &old).await);
    early.expect_nothing().await;
    late.expect_nothing().await;
}

#[tokio::test]
async fn links_that_point_to_another_directory_are_followed() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::of(&old.sign());
    for (directory, pair) in [("1", old.sign()), ("2", new.sign())] {
        std::fs::create_dir(files.path(directory)).unwrap();
        files.write(&format!("{directory}/tls.crt"), &pair.certificate);
        files.write(&format!("{directory}/tls.key"), &pair.key);
    }
    let link_to = |directory| {
        std::os::unix::fs::symlink(directory, files.path("next")).unwrap();
        std::fs::rename(files.path("next"), files.path("present")).unwrap();
    };
    link_to("1");
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        let tls = config.tls.as_mut().unwrap();
        (tls.certificate, tls.key) = (files.path("present/tls.crt"), files.path("present/tls.key"));
    })
    .await;
    assert!(is_trusted(&platform, &old).await);
    link_to("2");
    platform.eventually(|platform| platform.broker.stats().tls_reloads == 1).await;
    assert!(is_trusted(&platform, &new).await);
}

#[tokio::test]
async fn a_broken_certificate_leaves_the_old_one_in_use() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| files.use_in(config)).await;
    let failures = |count| platform.eventually(move |platform| platform.broker.stats().tls_reloads_failed == count);
    let other = authority.sign();
    // A certificate without its key, one that is cut off, none.
    files.write("cert.pem", &other.certificate);
    failures(1).await;
    files.write("cert.pem", &other.certificate[..100]);
    failures(2).await;
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    failures(3).await;
    assert!(is_trusted(&platform, &authority).await);
    assert_eq!(platform.broker.stats().tls_reloads, 0);
    files.write("cert.pem", &other.certificate);
    files.write("key.pem", &other.key);
    platform.eventually(|platform| platform.broker.stats().tls_reloads == 1).await;
    assert!(is_trusted(&platform, &authority).await);
}

#[tokio::test]
async fn other_certificates_are_demanded_of_clients_after_a_change() {
    let (authority, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::of(&authority.sign());
    files.write("ca.pem", &old.pem());
    let platform = Platform::start_with(|config| {
        files.use_in(config);
        config.tls.as_mut().unwrap().client_ca = Some(files.path("ca.pem"));
    })
    .await;
    let device = platform.device("a").await;
    let address = platform.address(Transport::Tls);
    // The same client comes back: what it kept of its first session does not help.
    let client = authority.client(&[&TLS13, &TLS12], Some(&old.sign()));
    let mut early = connect(address, &client).await;
    early.connect3(&device, "early").await;
    files.write("ca.pem", &new.pem());
    platform.eventually(|platform| platform.broker.stats().tls_reloads == 1).await;
    let before = platform.broker.stats().connects_refused;
    drop(handshake(tcp(address).await, client).await);
    platform.eventually(|platform| platform.broker.stats().connects_refused == before + 1).await;
    let mut late = connect(address, &authority.client(&[&TLS13], Some(&new.sign()))).await;
    late.connect3(&device, "late").await;
    early.expect_nothing().await;
}
