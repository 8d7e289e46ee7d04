//! A connection to one of the two brokers: socket, TLS, CONNECT and its answer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{BridgeConfig, Local, Remote, RemoteTls, Version};
use crate::packet::{self, Connect, ConnectAck, Incoming};

/// How long a connection may take until its CONNACK has come.
const PATIENCE: Duration = Duration::from_secs(20);
/// The keep-alive on this side.
const LOCAL_KEEP_ALIVE: u16 = 60;
/// Messages of QoS 1 on their way to the other side at a time.
pub(crate) const WINDOW: u16 = 100;
/// The header of the PROXY protocol, version 2, of a connection that the proxy makes for itself (command LOCAL).
const PROXY_HEADER: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A connection that is accepted.
pub(crate) struct Link {
    pub(crate) reader: BufReader<ReadHalf<Box<dyn StreamObject>>>,
    pub(crate) writer: WriteHalf<Box<dyn StreamObject>>,
    pub(crate) version: Version,
    pub(crate) keep_alive: Duration,
    pub(crate) ack: ConnectAck,
}

/// Any stream of bytes.
pub(crate) trait StreamObject: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> StreamObject for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error("TLS with {0} failed: {1}")]
    Tls(String, io::Error),
    #[error("{0}")]
    File(String),
    #[error("{0} does not answer: no CONNACK within {seconds} s", seconds = PATIENCE.as_secs())]
    Silent(String),
    #[error("{0} closed the connection instead of answering CONNECT: {1}")]
    Closed(String, io::Error),
    #[error("{0} refuses: {1}")]
    Refused(String, String),
}

impl Link {
    /// Connects to the broker of this process, where the bridge's session is.
    pub(crate) async fn local(config: &BridgeConfig, receive_maximum: u16) -> Result<Self, LinkError> {
        let Local { address, proxy_protocol, username, password, session_expiry } = &config.local;
        let name = "the broker of this process".to_owned();
        let connect = Connect {
            version: Version::V5,
            says_bridge: false,
            client_id: &format!("bridge-{}", config.name),
            username: Some(username),
            password: Some(password.as_bytes()),
            keep_alive: LOCAL_KEEP_ALIVE,
            clean_start: false,
            session_expiry: *session_expiry,
            receive_maximum,
            max_packet: config.max_packet,
        };
        let opening = async {
            let mut socket =
                TcpStream::connect(address).await.map_err(|error| LinkError::Connect(name.clone(), error))?;
            if *proxy_protocol {
                let sent = socket.write_all(&PROXY_HEADER).await;
                sent.map_err(|error| LinkError::Connect(name.clone(), error))?;
            }
            let _ = socket.set_nodelay(true);
            Self::open(Box::new(socket), name.clone(), &connect).await
        };
        timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(LinkError::Silent(name.clone())))
    }

    /// Connects to the other broker.
    pub(crate) async fn remote(config: &BridgeConfig, says_bridge: bool) -> Result<Self, LinkError> {
        let remote = &config.remote;
        let name = remote.shown();
        let connect = Connect {
            version: remote.version,
            says_bridge,
            client_id: &remote.client_id,
            username: remote.username.as_deref(),
            password: remote.password.as_deref(),
            keep_alive: remote.keep_alive,
            clean_start: remote.clean_start,
            session_expiry: if remote.clean_start { 0 } else { config.local.session_expiry },
            receive_maximum: WINDOW,
            max_packet: config.max_packet,
        };
        let opening = async {
            let socket = TcpStream::connect((remote.host.as_str(), remote.port)).await;
            let socket = socket.map_err(|error| LinkError::Connect(name.clone(), error))?;
            let _ = socket.set_nodelay(true);
            let stream: Box<dyn StreamObject> = match &remote.tls {
                None => Box::new(socket),
                Some(tls) => Box::new(encrypt(remote, tls, socket).await?),
            };
            Self::open(stream, name.clone(), &connect).await
        };
        timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(LinkError::Silent(name.clone())))
    }

    async fn open(stream: Box<dyn StreamObject>, name: String, connect: &Connect<'_>) -> Result<Self, LinkError> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        let (version, most) = (connect.version, connect.max_packet as usize);
        let asked = async {
            writer.write_all(&connect.bytes()).await?;
            writer.flush().await?;
            packet::read(&mut reader, version, most).await
        };
        let ack = match asked.await {
            Ok(Incoming::ConnectAck(ack)) => ack,
            Ok(_) => return Err(LinkError::Refused(name, "it answers CONNECT with another packet".to_owned())),
            Err(error) => return Err(LinkError::Closed(name, error)),
        };
        if ack.code != 0 {
            return Err(LinkError::Refused(name, refusal(version, &ack)));
        }
        let keep_alive = Duration::from_secs(ack.keep_alive.unwrap_or(connect.keep_alive).into());
        Ok(Self { reader, writer, version, keep_alive, ack })
    }
}

impl Link {
    /// Sends something, waits for what answers it, and ends the connection in order.
    pub(crate) async fn exchange(
        &mut self,
        bytes: &[u8],
        is_answer: impl Fn(&Incoming) -> bool,
    ) -> Result<(), LinkError> {
        let name = "the broker of this process".to_owned();
        let exchange = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await?;
            while !is_answer(&packet::read(&mut self.reader, self.version, usize::MAX).await?) {}
            self.writer.write_all(&packet::DISCONNECT).await?;
            self.writer.shutdown().await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(done) => done.map_err(|error| LinkError::Closed(name, error)),
            Err(_) => Err(LinkError::Silent(name)),
        }
    }
}

impl LinkError {
    /// Whether the other broker may not know the bit by which a bridge of 3.1.1 says what it is.
    pub(crate) fn may_be_the_bridge_bit(&self) -> bool {
        match self {
            Self::Closed(..) => true,
            Self::Refused(_, words) => words.contains("version of MQTT"),
            _ => false,
        }
    }
}

/// What CONNACK says, in words.
fn refusal(version: Version, ack: &ConnectAck) -> String {
    let meaning = match (version, ack.code) {
        (Version::V311, 1) | (Version::V5, 0x84 | 1) => {
            "it does not speak this version of MQTT; set version in the bridge"
        }
        (Version::V311, 2) | (Version::V5, 0x85) => "it does not accept the client id",
        (Version::V311, 3) | (Version::V5, 0x88 | 0x89) => "it is not available at present",
        (Version::V311, 4) | (Version::V5, 0x86) => "the user name or password is wrong",
        (Version::V311, 5) | (Version::V5, 0x87) => "not authorised: the user name or password may be wrong",
        (Version::V5, 0x8a) => "it has banned this client",
        (Version::V5, 0x97) => "it has no room for this client",
        _ => "it does not say why",
    };
    let words = ack.words.as_ref().map_or(String::new(), |words| format!(": {words}"));
    format!("{meaning} (code {}){words}", ack.code)
}

async fn encrypt(
    remote: &Remote,
    tls: &RemoteTls,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, LinkError> {
    let client = client_config(tls)?;
    let name = ServerName::try_from(remote.host.clone())
        .map_err(|_| LinkError::File(format!("{:?} is no name that a certificate can have", remote.host)))?;
    let connected = TlsConnector::from(Arc::new(client)).connect(name, socket).await;
    connected.map_err(|error| LinkError::Tls(remote.shown(), error))
}

fn client_config(tls: &RemoteTls) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in certificates("ca", file)? {
                roots.add(certificate).map_err(|error| of_file("ca", file, error))?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| LinkError::File(error.to_string()))?;
    let builder = builder.with_root_certificates(roots);
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("cert", certificate)?;
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| of_file("key", key, error))?;
            builder.with_client_auth_cert(chain, key_der).map_err(|error| of_file("cert", certificate, error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| of_file(setting, file, error))?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| of_file(setting, file, error))?;
    if read.is_empty() { Err(of_file(setting, file, "it has no certificate")) } else { Ok(read) }
}

fn of_file(setting: &str, file: &Path, error: impl std::fmt::Display) -> LinkError {
    LinkError::File(format!("{setting}={}: {error}", file.display()))
}
