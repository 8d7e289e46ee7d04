//! The transports that this process runs. All sockets are taken before anything is served, so that a port that is taken is
//! told before a first start shows a password.
//!
//! Architecture invariant: which transports are compiled in is decided here and nowhere else.

#[cfg(feature = "bridge")]
mod bridges;
#[cfg(feature = "transport-mqtt")]
mod mqtt;

use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "transport-rest")]
use std::sync::OnceLock;
use std::time::Duration;

use pocket_application::Application;
#[cfg(feature = "transport-mqtt")]
use pocket_mqtt_ntex::{BoundBroker, Broker, RunningBroker};
use pocket_ports::BrokerRecords;
#[cfg(feature = "transport-mqtt")]
use pocket_ports::{Conflict, StorageError};
#[cfg(feature = "transport-rest")]
use pocket_rest_ntex::{BodyLimits, Cors, MetricsToken, Rest, RestConfig, RestMeter, RunningRest};

use crate::Failure;
use crate::config::Settings;
use crate::features::is_built_in;
use crate::metrics::Metrics;
#[cfg(feature = "transport-mqtt")]
use crate::serving;

/// How long threads that have nothing left to do may take to end.
#[cfg(feature = "transport-mqtt")]
const END_OF_THREADS: Duration = Duration::from_secs(1);

/// Sockets that are taken; nothing is served yet.
pub(crate) struct Bound {
    #[cfg(feature = "transport-rest")]
    rest: Option<Rest>,
    #[cfg(feature = "transport-mqtt")]
    mqtt: Option<BoundBroker>,
}

/// Transports that serve.
pub(crate) struct Running {
    #[cfg(feature = "transport-rest")]
    rest: Option<RunningRest>,
    #[cfg(feature = "transport-mqtt")]
    mqtt: Option<RunningBroker>,
    #[cfg(feature = "bridge")]
    bridges: Option<Arc<pocket_mqtt_bridge::Bridges>>,
}

/// The mode names a part that this binary does not have, or there is no part at all.
fn check_built_in(settings: &Settings) -> Result<(), Failure> {
    let wanted = [("transport-rest", settings.mode.serves_api()), ("transport-mqtt", settings.mode.serves_mqtt())];
    if wanted.iter().any(|(feature, wanted)| *wanted && is_built_in(feature)) {
        return Ok(());
    }
    let missing: Vec<_> = wanted.iter().filter(|(_, wanted)| *wanted).map(|(feature, _)| *feature).collect();
    Err(Failure::Usage(format!("mode: this binary is built without the feature {}", missing.join(" and "))))
}

/// What reads the state that brokers stored, where a broker is built in.
pub(crate) fn broker_records() -> Option<Arc<dyn BrokerRecords>> {
    #[cfg(feature = "transport-mqtt")]
    return Some(Arc::new(pocket_mqtt_ntex::StoredRecords));
    #[cfg(not(feature = "transport-mqtt"))]
    None
}

impl Bound {
    /// Takes the sockets of the transports that the mode names and that are built in.
    #[allow(unused_mut, unused_variables, reason = "unused where a transport is left out")]
    pub(crate) fn bind(
        settings: &Settings,
        application: &Arc<Application>,
        mut metrics: Metrics,
    ) -> Result<Self, Failure> {
        check_built_in(settings)?;
        #[cfg(feature = "transport-mqtt")]
        let mqtt = settings.mode.serves_mqtt().then(|| mqtt::bind(settings, application, &mut metrics)).transpose()?;
        #[cfg(feature = "transport-rest")]
        let rest = settings.mode.serves_api().then(|| bind_rest(settings, metrics)).transpose()?;
        Ok(Self {
            #[cfg(feature = "transport-rest")]
            rest,
            #[cfg(feature = "transport-mqtt")]
            mqtt,
        })
    }

    /// Where REST listens.
    pub(crate) fn api(&self) -> Option<SocketAddr> {
        #[cfg(feature = "transport-rest")]
        return self.rest.as_ref().and_then(|rest| rest.addresses().first().copied());
        #[cfg(not(feature = "transport-rest"))]
        None
    }

    /// Where MQTT listens, with the scheme of each address.
    pub(crate) fn mqtt(&self) -> Vec<(&'static str, SocketAddr)> {
        #[cfg(feature = "transport-mqtt")]
        return self.mqtt.as_ref().map(mqtt::addresses).unwrap_or_default();
        #[cfg(not(feature = "transport-mqtt"))]
        Vec::new()
    }

    /// Reads what an earlier broker of this node left.
    #[allow(unused_variables, clippy::unused_async, reason = "unused where the transport is left out")]
    pub(crate) async fn restore(&self, settings: &Settings) -> Result<(), Failure> {
        #[cfg(feature = "transport-mqtt")]
        if let Some(bound) = &self.mqtt {
            bound.broker().restore().await.map_err(|error| match error {
                StorageError::Conflict(Conflict::Node) => serving::runs_already(settings),
                error => Failure::while_doing("cannot go on with the sessions of MQTT clients", error),
            })?;
        }
        Ok(())
    }

    /// Serves.
    #[allow(unused_variables, clippy::unused_async, reason = "unused where a transport is left out")]
    pub(crate) async fn serve(self, settings: &Settings, application: &Arc<Application>) -> Result<Running, Failure> {
        // They come in when the broker serves. What is wrong with them is told before.
        #[cfg(feature = "bridge")]
        let bridges = match self.mqtt.as_ref().filter(|_| !settings.bridges.is_empty()) {
            Some(bound) => Some(bridges::start(settings, bound, application).await?),
            None => None,
        };
        Ok(Running {
            #[cfg(feature = "bridge")]
            bridges,
            #[cfg(feature = "transport-mqtt")]
            mqtt: match self.mqtt {
                Some(broker) => Some(broker.start().await.map_err(|e| Failure::while_doing("cannot serve MQTT", e))?),
                None => None,
            },
            #[cfg(feature = "transport-rest")]
            rest: match self.rest {
                Some(rest) => {
                    let running = rest.serve(Arc::clone(application)).await;
                    Some(running.map_err(|error| Failure::Other(error.to_string()))?)
                }
                None => None,
            },
        })
    }
}

impl Running {
    /// Accepts nothing more, lets requests end, and closes the sessions of devices, all of it within a time.
    #[allow(unused_variables, clippy::unused_async, reason = "unused where a transport is left out")]
    pub(crate) async fn stop(self, time: Duration) {
        #[cfg(feature = "bridge")]
        if let Some(bridges) = &self.bridges
            && tokio::time::timeout(time / 2, bridges.stop()).await.is_err()
        {
            tracing::warn!("bridges did not end in time");
        }
        #[cfg(feature = "transport-mqtt")]
        if let Some(broker) = &self.mqtt {
            broker.stop_accepting().await;
        }
        // Both at once: what one waits for, the commit of messages, the other waits for too.
        let rest = async {
            #[cfg(feature = "transport-rest")]
            if let Some(rest) = self.rest
                && tokio::time::timeout(time, rest.stop()).await.is_err()
            {
                tracing::warn!("requests were still being served at the deadline");
            }
        };
        let mqtt = async {
            #[cfg(feature = "transport-mqtt")]
            if let Some(broker) = &self.mqtt {
                let left = broker.close_sessions(time).await;
                if left > 0 {
                    tracing::warn!(left, "connections were still open at the deadline");
                }
            }
        };
        tokio::join!(rest, mqtt);
        #[cfg(feature = "transport-mqtt")]
        if let Some(broker) = self.mqtt
            && tokio::time::timeout(END_OF_THREADS, broker.stop()).await.is_err()
        {
            tracing::warn!("the threads of MQTT did not end in time");
        }
    }
}

#[cfg(feature = "transport-mqtt")]
impl crate::Platform {
    /// The broker, for those who embed the platform and publish or subscribe without a socket: see
    /// [`Broker::client`]. `None` when this process serves no MQTT.
    pub fn broker(&self) -> Option<&Arc<Broker>> {
        self.transports.mqtt.as_ref().map(RunningBroker::broker)
    }
}

#[cfg(feature = "transport-rest")]
fn bind_rest(settings: &Settings, mut metrics: Metrics) -> Result<Rest, Failure> {
    // The text of the metrics tells of the server that serves it, which has no meter before it is bound.
    let meter = Arc::new(OnceLock::<RestMeter>::new());
    let read = Arc::clone(&meter);
    metrics.add(move || read.get().map(|meter| crate::metrics::rest(&meter.read())).unwrap_or_default());
    let token = settings.api.metrics_token.as_ref();
    let config = RestConfig {
        host: settings.api.address.ip().to_string(),
        port: settings.api.address.port(),
        workers: settings.api.workers as usize,
        shutdown_deadline: settings.shutdown_timeout,
        body_limits: BodyLimits { telemetry: settings.api.max_body as usize, ..BodyLimits::default() },
        trusted_proxies: settings.api.trusted_proxies.clone(),
        cors: Cors::new(settings.api.cors_origins.iter().cloned()),
        metrics: pocket_rest_ntex::Metrics {
            text: Arc::new(metrics.into_writer()),
            token: token.and_then(|token| MetricsToken::new(token.expose())),
        },
    };
    let named = "set another port with POCKET_API_PORT, or another address with POCKET_API_HOST";
    let rest = Rest::bind(config).map_err(|error| Failure::Other(format!("{error}; {named}")))?;
    meter.get_or_init(|| rest.meter());
    Ok(rest)
}
