//! A bridge: connects both sides, again after every break, with a pause that grows.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use pocket_ports::{BridgeMonitor, BridgeState, Clock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::config::{BridgeConfig, Version};
use crate::link::{Link, LinkError, WINDOW};
use crate::packet::{self, Incoming};
use crate::status::Status;
use crate::{pump, rules};

/// The pause after the first break, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that lasted so long was none of a row of failures.
const LASTED: Duration = Duration::from_secs(30);

/// The bridges of a process. They end with this value.
pub struct Bridges {
    bridges: Vec<Bridge>,
    stop: watch::Sender<bool>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Bridge {
    config: Arc<BridgeConfig>,
    status: Arc<Status>,
}

impl Bridges {
    /// Starts bridges on the present tokio runtime. The broker of this process must be serving, or begin to soon.
    pub fn start(configs: Vec<BridgeConfig>, clock: &Arc<dyn Clock>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let bridge = |config| Bridge { config: Arc::new(config), status: Arc::new(Status::new(Arc::clone(clock))) };
        let bridges: Vec<Bridge> = configs.into_iter().map(bridge).collect();
        let tasks = bridges.iter().map(|bridge| tokio::spawn(bridge.clone().run(stopping.clone()))).collect();
        Self { bridges, stop, tasks: std::sync::Mutex::new(tasks) }
    }

    /// Ends them. What was not acknowledged comes again at the next start.
    pub async fn stop(&self) {
        // Nobody listens when all of them have ended.
        let _ = self.stop.send(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let _ = task.await;
        }
    }
}

impl BridgeMonitor for Bridges {
    fn bridges(&self) -> Vec<BridgeState> {
        self.bridges.iter().map(|bridge| bridge.status.state(&bridge.config)).collect()
    }
}

impl Drop for Bridges {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            task.abort();
        }
    }
}

impl Bridge {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut attempts = Attempts { says_bridge: true, has_session: false, is_first: true, pause: FIRST_PAUSE };
        while !*stop.borrow() {
            let began = Instant::now();
            let ended = self.once(&mut attempts, &mut stop).await;
            self.status.set_connected(false);
            let name = &self.config.name;
            match ended {
                Ok(()) => return,
                Err(error) if self.status.failed(&error) => tracing::warn!(bridge = %name, %error, "bridge broken"),
                Err(error) => tracing::debug!(bridge = %name, %error, "bridge broken again"),
            }
            if began.elapsed() > LASTED {
                attempts.pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = sleep(attempts.pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            attempts.pause = (attempts.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects both sides and passes messages on until that ends; `Ok` when the bridge is to stop.
    async fn once(&self, attempts: &mut Attempts, stop: &mut watch::Receiver<bool>) -> Result<(), String> {
        let connected = tokio::select! {
            connected = self.connect(attempts) => connected,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let links = connected.map_err(|error| error.to_string())?;
        self.status.set_connected(true);
        tracing::info!(bridge = %self.config.name, remote = %self.config.remote.shown(), "bridge connected");
        // What is retained on this side goes out once for each process: the other broker may be a new one.
        let sends_retained = std::mem::take(&mut attempts.is_first);
        pump::run(&self.config, &self.status, links, sends_retained, stop).await
    }

    /// The other broker first: while it is away, this one keeps the messages for it in the bridge's session.
    async fn connect(&self, attempts: &mut Attempts) -> Result<(Link, Link), LinkError> {
        let remote = Link::remote(&self.config, attempts.says_bridge).await;
        let remote = match remote {
            Ok(remote) => remote,
            Err(error) => {
                if self.config.remote.version == Version::V311 && error.may_be_the_bridge_bit() {
                    attempts.says_bridge = !attempts.says_bridge;
                }
                if !attempts.has_session {
                    self.make_session().await?;
                    attempts.has_session = true;
                }
                return Err(error);
            }
        };
        let local = Link::local(&self.config, WINDOW.min(remote.ack.receive_maximum)).await?;
        attempts.has_session = true;
        Ok((local, remote))
    }

    /// Begins the session on this side, so that messages are kept from the first start on.
    async fn make_session(&self) -> Result<(), LinkError> {
        let filters = rules::local_filters(&self.config.rules);
        if filters.is_empty() {
            return Ok(());
        }
        let mut local = Link::local(&self.config, 1).await?;
        let asked = packet::subscribe(local.version, 1, &filters, false);
        local.exchange(&asked, |packet| matches!(packet, Incoming::SubscribeAck { .. })).await
    }
}

struct Attempts {
    /// Whether the other broker is told, in 3.1.1, that a bridge connects; some do not take that.
    says_bridge: bool,
    has_session: bool,
    is_first: bool,
    pause: Duration,
}
