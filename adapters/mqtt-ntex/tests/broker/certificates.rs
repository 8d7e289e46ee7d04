//! Certificates made for one test, and clients that know them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pocket_mqtt_ntex::{MqttConfig, TlsFiles};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::platform::{Socket, tcp};

/// The name in the server's certificates.
const NAME: &str = "broker.test";

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that it signed.
    pub(crate) fn sign(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that trusts what it signed, with these versions of TLS and a certificate of its own.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Pair>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Arc::new(config)
    }

    /// A client that trusts what it signed.
    pub(crate) fn any_client(&self) -> Arc<ClientConfig> {
        self.client(&[&TLS13, &TLS12], None)
    }
}

/// The files of a broker.
pub(crate) struct Files {
    dir: TempDir,
}

impl Files {
    /// With this certificate.
    pub(crate) fn of(pair: &Pair) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.write("cert.pem", &pair.certificate);
        files.write("key.pem", &pair.key);
        files
    }

    /// Writes one of them.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The path of one of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As a broker is told; looked at often.
    pub(crate) fn tls(&self) -> TlsFiles {
        let look_every = Duration::from_millis(20);
        TlsFiles { look_every, ..TlsFiles::new(self.path("cert.pem"), self.path("key.pem")) }
    }

    /// Turns TLS on.
    pub(crate) fn use_in(&self, config: &mut MqttConfig) {
        config.tls = Some(self.tls());
        config.tls_address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    }
}

/// Does the handshake over a stream.
pub(crate) async fn handshake(stream: TcpStream, client: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NAME).unwrap();
    tokio_rustls::TlsConnector::from(client).connect(name, stream).await
}

/// A connection over TLS that nothing was said on.
pub(crate) async fn connect(address: SocketAddr, client: &Arc<ClientConfig>) -> Socket {
    Socket::over(handshake(tcp(address).await, Arc::clone(client)).await.unwrap())
}
