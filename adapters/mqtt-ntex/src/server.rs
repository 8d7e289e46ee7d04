//! The listening sockets and the threads behind them. Every worker serves all of them.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ntex::io::IoConfig;
use ntex::server::{Server, ServiceConfig, ServiceRuntime};
use ntex::{SharedCfg, fn_service};
use pocket_mqtt_core::ReasonCode;
use tokio::sync::oneshot;

use crate::bind::{BindError, Socket};
use crate::broker::Broker;
use crate::listeners::{self, Layers};
use crate::mailbox::Letter;
use crate::tls::{Tls, Watch};
use crate::transport::Transport;
use crate::websocket;
use crate::worker::Worker;

/// Unsent bytes, beyond those that deliveries may make, from which on a connection is not read until its client takes
/// some: a client that asks and asks and never reads the answers.
const UNSENT_ANSWERS: usize = 64 * 1024;
/// How often it is looked whether everything was handed to storage before the broker stops.
const ERRANDS_PERIOD: Duration = Duration::from_millis(20);
/// How long a closing connection may take to send its last packet.
const LAST_PACKET_SECONDS: u16 = 1;

/// A broker with its ports, not yet serving.
pub struct BoundBroker {
    broker: Arc<Broker>,
    sockets: Vec<Socket>,
    addresses: Vec<(Transport, SocketAddr)>,
    tls: Option<(Arc<Tls>, Watch)>,
}

impl BoundBroker {
    pub(crate) fn bind(broker: Arc<Broker>) -> Result<Self, BindError> {
        let tls = crate::bind::load_tls(&broker.config)?;
        let sockets = crate::bind::bind(&broker.config)?;
        let addresses = sockets.iter().map(|socket| (socket.transport, socket.address)).collect();
        Ok(Self { broker, sockets, addresses, tls })
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where its first listener is: that for TCP, where there is one.
    pub fn local_addr(&self) -> SocketAddr {
        first(&self.addresses)
    }

    /// Where it listens, in the order of [`Transport::ALL`]; with the ports that were found where 0 was asked for.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// Starts the threads and serves: one thread `mqtt` for the ntex system, and the workers.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn start(self) -> io::Result<RunningBroker> {
        let (broker, addresses) = (Arc::clone(&self.broker), self.addresses.clone());
        let (started, starting) = oneshot::channel();
        let (ending, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("mqtt".to_owned()).spawn(move || {
            let system = ntex::rt::System::build().name("mqtt").ping_interval(0).build(ntex::rt::DefaultRuntime);
            system.block_on(async move {
                match self.serve().await {
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
        Ok(RunningBroker { broker, addresses, server, ended })
    }

    async fn serve(self) -> io::Result<Server> {
        let Self { broker, sockets, tls, .. } = self;
        let (tls, watch) = tls.unzip();
        if let Some((tls, watch)) = tls.clone().zip(watch) {
            let broker = Arc::clone(&broker);
            ntex::rt::spawn(async move { tls.watch(watch, &broker.tls_reloads).await }).detach();
        }
        let settings = socket_settings(&broker);
        let server = ntex::server::build().name("mqtt").workers(broker.mailboxes.len()).disable_signals();
        let layers: Vec<_> =
            sockets.iter().map(|socket| Layers::new(&broker, socket.transport, tls.as_ref())).collect();
        let start = async move |runtime: ServiceRuntime| {
            let number = broker.claim_worker()?;
            let worker = Worker::start(Arc::clone(&broker), number);
            layers.iter().for_each(|layers| serve_listener(&runtime, &worker, layers.clone()));
            Ok::<_, io::Error>(())
        };
        let configured = server.configure(async |listeners: ServiceConfig| {
            for Socket { transport, listener, .. } in &sockets {
                let name = transport.scheme();
                listeners.listen(name, listener.try_clone()?).config(name, settings.clone());
            }
            listeners.on_worker_start(start.clone());
            Ok(())
        });
        Ok(configured.await?.run())
    }
}

/// What is set for the sockets of all listeners.
fn socket_settings(broker: &Broker) -> SharedCfg {
    let sockets = IoConfig::new()
        .set_write_buf(broker.limits.unsent_bytes.saturating_add(UNSENT_ANSWERS), 1024, 128)
        .set_disconnect_timeout(ntex::time::Seconds(LAST_PACKET_SECONDS));
    websocket::configure(SharedCfg::new("mqtt").add(sockets)).into()
}

/// Serves the connections of one listener that a worker is given.
fn serve_listener(runtime: &ServiceRuntime, worker: &Rc<Worker>, layers: Layers) {
    let name = layers.transport.scheme();
    let (worker, layers) = (Rc::clone(worker), Rc::new(layers));
    let service = move |io| {
        // In a task of its own: that of the listener has layers around it, a third as large again, which would stay as long as
        // the connection does.
        ntex::rt::spawn(listeners::accept(Rc::clone(&worker), Rc::clone(&layers), io)).detach();
        std::future::ready(Ok::<_, io::Error>(()))
    };
    runtime.service(name, fn_service(service));
}

/// The address of the first listener; [`bind`](crate::bind::bind) takes at least one.
fn first(addresses: &[(Transport, SocketAddr)]) -> SocketAddr {
    addresses[0].1
}

/// A broker that serves. Stops in steps, so that what is still to be acknowledged can be stored in between.
pub struct RunningBroker {
    broker: Arc<Broker>,
    addresses: Vec<(Transport, SocketAddr)>,
    server: Server,
    ended: oneshot::Receiver<()>,
}

impl RunningBroker {
    /// The broker itself, for clients inside the process.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where its first listener is: that for TCP, where there is one.
    pub fn local_addr(&self) -> SocketAddr {
        first(&self.addresses)
    }

    /// Where it listens, in the order of [`Transport::ALL`].
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
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
