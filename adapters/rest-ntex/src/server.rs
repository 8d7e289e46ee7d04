//! The server: its sockets, its threads and its end.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ntex::SharedCfg;
use ntex::http::{HttpService, HttpServiceConfig};
use ntex::io::Io;
use ntex::rt::System;
use ntex::service::{chain_factory, fn_service};
use ntex::time::Seconds;
use pocket_application::Application;
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::oneshot;

use crate::app::app;
use crate::config::RestConfig;
use crate::connections::Connections;
use crate::extract::Shared;
use crate::gate::Gate;
use crate::protocol::control;
use crate::stats::RestMeter;
use crate::trusted::TrustedProxies;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// How long an idle connection is kept for the client's next request.
const KEEP_ALIVE: Seconds = Seconds(75);
/// How long a client may take for the head of a request: it must make progress in each step.
const HEAD_STEP: Seconds = Seconds(5);
const HEAD_MAX: Seconds = Seconds(30);
/// How long connections may take to end when all requests are answered.
const CONNECTIONS_END: Seconds = Seconds(1);
/// What the end takes beside waiting for requests: the above, and a quarter of a second that ntex takes in any case.
const AFTER_REQUESTS: Duration = Duration::from_millis(1_500);
/// How long the last answers get to be written: ntex writes an answer after the request has left the gate.
const LAST_ANSWERS: Duration = Duration::from_millis(50);
/// When a silent connection is probed first, and how often then.
const TCP_IDLE: Duration = Duration::from_secs(60);
const TCP_PROBE: Duration = Duration::from_secs(15);
/// Bytes that count as progress in a step.
const PROGRESS: u32 = 256;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for REST: {}", explain(.error))]
    Bind {
        /// The host and port of the configuration.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// A thread could not be started, or the server ended before it served.
    #[error("cannot start the REST server: {0}")]
    Start(String),
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// A server that has its sockets but does not serve yet.
#[derive(Debug)]
pub struct Rest {
    config: RestConfig,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    meter: RestMeter,
}

impl Rest {
    /// Takes the sockets of the configured address.
    ///
    /// # Errors
    /// `Bind` when the host is unknown or one of its addresses cannot be listened on.
    pub fn bind(config: RestConfig) -> Result<Self, RestError> {
        let (listeners, addresses) = listen(&config.host, config.port)
            .map_err(|error| RestError::Bind { address: format!("{}:{}", config.host, config.port), error })?;
        Ok(Self { config, listeners, addresses, meter: RestMeter::new(Gate::new(Gate::REQUESTS)) })
    }

    /// The addresses that are listened on, with the port that was found when any was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What reads the figures of this server, from now on and after it has stopped.
    pub fn meter(&self) -> RestMeter {
        self.meter.clone()
    }

    /// Starts to serve, on threads of its own. Returns when requests are accepted.
    ///
    /// # Errors
    /// `Start` when a thread cannot be started.
    pub async fn serve(self, application: Arc<Application>) -> Result<RunningRest, RestError> {
        let (started, running) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let (gate, deadline) = (self.meter.gate().clone(), self.config.shutdown_deadline);
        thread::Builder::new()
            .name("rest".into())
            .spawn(move || {
                let result = run(self, application, started);
                if let Err(error) = &result {
                    tracing::error!(%error, "the REST server ended");
                }
                // Nobody listens when the handle was dropped.
                let _ = ended.send(());
            })
            .map_err(|error| RestError::Start(error.to_string()))?;
        let server = running.await.map_err(|_| RestError::Start("it ended at once; the log says why".into()))?;
        Ok(RunningRest { server, gate, deadline, end })
    }
}

fn listen(host: &str, port: u16) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let (mut listeners, mut addresses) = (Vec::<TcpListener>::new(), Vec::<SocketAddr>::new());
    for mut address in (host, port).to_socket_addrs()? {
        // With port 0 the first address chooses, and the others take the same.
        if let (0, Some(first)) = (port, addresses.first()) {
            address.set_port(first.port());
        }
        let listener = match ntex::server::create_tcp_listener(address, BACKLOG) {
            Ok(listener) => listener,
            // `localhost` also names ::1 on machines that have no IPv6.
            Err(error) if missing_here(&error) && host.parse::<IpAddr>().is_err() => continue,
            Err(error) => return Err(error),
        };
        keep_alive(&listener)?;
        addresses.push(listener.local_addr()?);
        listeners.push(listener);
    }
    if listeners.is_empty() { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok((listeners, addresses)) }
}

/// Accepted sockets inherit it: a client that is gone without a word is noticed.
fn keep_alive(listener: &TcpListener) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(TCP_IDLE).with_interval(TCP_PROBE);
    SockRef::from(listener).set_tcp_keepalive(&probes)
}

/// Whether the machine does not have such an address; the number is `EAFNOSUPPORT` of Linux.
fn missing_here(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

type Server = ntex::server::Server;

fn run(rest: Rest, application: Arc<Application>, started: oneshot::Sender<Server>) -> io::Result<()> {
    let Rest { config, listeners, meter, .. } = rest;
    // No pings between its threads: they would wake a process at rest.
    let system = System::build().name("rest").ping_interval(0).build(ntex::rt::DefaultRuntime);
    system.block_on(async move {
        let trusted = TrustedProxies::new(&config.trusted_proxies);
        let shared = Shared {
            cors: config.cors,
            ..Shared::new(application, config.body_limits, config.metrics, trusted, &meter)
        };
        let mut server =
            ntex::server::build().workers(config.workers.max(1)).shutdown_timeout(CONNECTIONS_END).disable_signals();
        for listener in listeners {
            let (shared, meter) = (shared.clone(), meter.clone());
            server = server.listen("rest", listener, async move |service| {
                service.config(SharedCfg::new("rest").add(http_config()));
                let connections = Connections::default();
                ntex::rt::spawn(connections.clone().watch_over());
                let trusted = shared.trusted.clone();
                let counted = fn_service(async move |io: Io| Ok(connections.open(io, &trusted)));
                let (of_control, figures) = (shared.clone(), meter.clone());
                let control = fn_service(async move |event| control(event, &of_control, &figures).await);
                let http = HttpService::h1(app(shared.clone(), meter.clone())).control(control);
                chain_factory(counted).and_then(http)
            })?;
        }
        let server = server.run();
        // Without a handle nobody could stop the server.
        if started.send(server.clone()).is_err() {
            return Ok(());
        }
        server.await
    })
}

fn http_config() -> HttpServiceConfig {
    HttpServiceConfig::new()
        .set_keepalive(KEEP_ALIVE)
        // Whoever reads a body knows how long it may take; ntex's own limit would end one that takes longer than a step.
        .set_headers_read_rate(HEAD_STEP, HEAD_MAX, PROGRESS)
}

/// A server that serves.
#[derive(Debug)]
pub struct RunningRest {
    server: Server,
    gate: Gate,
    deadline: Duration,
    end: oneshot::Receiver<()>,
}

impl RunningRest {
    /// Answers new requests with 503, lets those that are being served end, and closes all connections, all within the
    /// configured deadline. To be awaited on a tokio runtime.
    pub async fn stop(self) {
        self.gate.close(self.deadline.saturating_sub(AFTER_REQUESTS)).await;
        tokio::time::sleep(LAST_ANSWERS).await;
        self.server.stop(true).await;
        // The sender goes with the thread, however that ends.
        let _ = self.end.await;
    }
}
