//! The listening socket and the threads behind it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ntex::io::IoConfig;
use ntex::server::Server;
use ntex::{SharedCfg, fn_service};
use pocket_mqtt_core::ReasonCode;
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::connection;
use crate::mailbox::Letter;
use crate::worker::Worker;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 2_048;
/// Unsent bytes, beyond those that deliveries may make, from which on a connection is not read until its client takes
/// some: a client that asks and asks and never reads the answers.
const UNSENT_ANSWERS: usize = 64 * 1024;
/// How often it is looked whether everything was handed to storage before the broker stops.
const ERRANDS_PERIOD: Duration = Duration::from_millis(20);
/// How long a closing connection may take to send its last packet.
const LAST_PACKET_SECONDS: u16 = 1;

/// The port could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for MQTT on {address}: {}", explain(.source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// A broker with its port, not yet serving.
pub struct BoundBroker {
    broker: Arc<Broker>,
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundBroker {
    pub(crate) fn bind(broker: Arc<Broker>) -> Result<Self, BindError> {
        let address = broker.config.address;
        let bound = || {
            let listener = ntex::server::create_tcp_listener(address, BACKLOG)?;
            let local = listener.local_addr()?;
            Ok((listener, local))
        };
        let (listener, address) = bound().map_err(|source| BindError { address, source })?;
        Ok(Self { broker, listener, address })
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where it listens; with the port that was found when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts the threads and serves: one thread `mqtt` for the ntex system, and the workers.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn start(self) -> io::Result<RunningBroker> {
        let (broker, address) = (Arc::clone(&self.broker), self.address);
        let (started, starting) = oneshot::channel();
        let (ending, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("mqtt".to_owned()).spawn(move || {
            let system = ntex::rt::System::build().name("mqtt").ping_interval(0).build(ntex::rt::DefaultRuntime);
            system.block_on(async move {
                match self.serve() {
                    Ok(server) => {
                        // Nobody listens when the caller gave up meanwhile; the server then stops below.
                        let _ = started.send(Ok(server.clone()));
                        let _ = server.await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
            drop(ending);
        })?;
        let server = starting.await.map_err(|_| io::Error::other("the MQTT server ended while it started"))??;
        Ok(RunningBroker { broker, address, server, ended })
    }

    fn serve(self) -> io::Result<Server> {
        let broker = self.broker;
        let sockets = IoConfig::new()
            .set_write_buf(broker.limits.unsent_bytes.saturating_add(UNSENT_ANSWERS), 1024, 128)
            .set_disconnect_timeout(ntex::time::Seconds(LAST_PACKET_SECONDS));
        let connections = broker.limits.connections.saturating_mul(2);
        let server = ntex::server::build()
            .name("mqtt")
            .workers(broker.mailboxes.len())
            .disable_signals()
            .maxconn(connections)
            .listen("mqtt", self.listener, async move |_| {
                let broker = Arc::clone(&broker);
                let number = broker.claim_worker().expect("ntex starts as many workers as it was told");
                let worker = Worker::start(broker, number);
                fn_service(move |io| {
                    let worker = Rc::clone(&worker);
                    async move {
                        connection::serve(worker, io).await;
                        Ok::<_, io::Error>(())
                    }
                })
            })?
            .config("mqtt", SharedCfg::new("mqtt").add(sockets));
        Ok(server.run())
    }
}

/// A broker that serves. Stops in steps, so that what is still to be acknowledged can be stored in between.
pub struct RunningBroker {
    broker: Arc<Broker>,
    address: SocketAddr,
    server: Server,
    ended: oneshot::Receiver<()>,
}

impl RunningBroker {
    /// The broker itself, for clients inside the process.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections. Those that are open stay.
    pub async fn stop_accepting(&self) {
        self.broker.begin_stopping();
        self.server.pause().await;
    }

    /// Tells all clients that the server is stopping, and closes. Returns how many connections are left at the deadline.
    /// Must be awaited on a tokio runtime with timers.
    pub async fn close_sessions(&self, deadline: Duration) -> usize {
        self.broker.begin_stopping();
        self.broker.post_to_all(|| Letter::CloseAll(ReasonCode::ServerShuttingDown));
        let gone = async {
            loop {
                let all_gone = self.broker.all_gone.notified();
                if self.broker.open_connections() == 0 {
                    return;
                }
                all_gone.await;
            }
        };
        let stored = async {
            while self.broker.errands.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(ERRANDS_PERIOD).await;
            }
        };
        let gone = async {
            gone.await;
            stored.await;
        };
        let _ = tokio::time::timeout(deadline, gone).await;
        self.broker.open_connections()
    }

    /// Ends the threads, with whatever is still open.
    pub async fn stop(self) {
        self.broker.begin_stopping();
        self.server.stop(false).await;
        // The sender is dropped when the thread ends.
        let _ = self.ended.await;
        self.broker.local.close();
    }
}
