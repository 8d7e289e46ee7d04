//! The figures of `/metrics`: read from the parts of the platform when somebody asks, written as OpenMetrics text.
//!
//! The parts count for themselves and know nothing of this format. Names follow
//! <https://prometheus.io/docs/practices/naming/>; counters get their suffix `_total` from the encoder.

use std::borrow::Cow;
use std::fmt;

use pocket_application::{ActivityStats, DeviceGateway, IngestStats, RefusalKind, RetentionStats, SlotStats};
use pocket_ports::{BridgeState, StorageHealth, Upkeep};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// One figure, or several that a label tells apart.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    values: Vec<(Option<Label>, u64)>,
}

type Label = (&'static str, Cow<'static, str>);

impl Figure {
    /// Something that only grows.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: MetricType::Counter, values: vec![(None, value)] }
    }

    /// Something that only grows, with a label.
    pub(crate) fn counters<const N: usize>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [(&'static str, u64); N],
    ) -> Self {
        let values = values.map(|(text, value)| (Some((label, text.into())), value)).into();
        Self { name, help, kind: MetricType::Counter, values }
    }

    /// Something that goes up and down.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: MetricType::Gauge, values: vec![(None, value)] }
    }

    /// Something that goes up and down, with a label.
    pub(crate) fn gauges<const N: usize>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [(&'static str, u64); N],
    ) -> Self {
        Self { kind: MetricType::Gauge, ..Self::counters(name, help, label, values) }
    }

    /// Something of each of several things that are known when it is asked for.
    fn of_each(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        kind: MetricType,
        values: impl Iterator<Item = (String, u64)>,
    ) -> Self {
        Self { name, help, kind, values: values.map(|(text, value)| (Some((label, text.into())), value)).collect() }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (label, value) in &self.values {
            match label {
                Some(label) => self.encode_value(*value, metric.encode_family(&[(label.0, &*label.1)])?)?,
                None => return self.encode_value(*value, metric),
            }
        }
        Ok(())
    }

    fn encode_value(&self, value: u64, sample: MetricEncoder<'_>) -> fmt::Result {
        match self.kind {
            MetricType::Counter => ConstCounter::new(value).encode(sample),
            _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(sample),
        }
    }
}

type Source = Box<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// The parts that are asked, in the order of the text.
#[derive(Default)]
pub(crate) struct Metrics(Vec<Source>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics of {} sources", self.0.len())
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().flat_map(|source| source()).try_for_each(|figure| figure.encode(&mut encoder))
    }
}

impl Metrics {
    /// Also asks this part.
    pub(crate) fn add(&mut self, source: impl Fn() -> Vec<Figure> + Send + Sync + 'static) {
        self.0.push(Box::new(source));
    }

    /// What writes the text.
    #[allow(dead_code, reason = "only REST asks for the text")]
    pub(crate) fn into_writer(self) -> impl Fn() -> String + Send + Sync {
        let mut registry = Registry::with_prefix("pocket");
        registry.register_collector(Box::new(self));
        move || {
            let mut written = String::with_capacity(4_096);
            // Writing into a string does not fail.
            let _ = text::encode(&mut written, &registry);
            written
        }
    }
}

/// The figures of the process itself.
pub(crate) fn process() -> Vec<Figure> {
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    let mut figures =
        vec![Figure::gauges("build", "Version of the program, as a label; the value is always 1", "version", version)];
    if let Some(bytes) = resident_bytes() {
        figures.push(Figure::gauge("resident_memory_bytes", "Resident memory of the process", bytes));
    }
    figures
}

/// Resident memory as Linux tells it; absent elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// The figures of the ingest.
pub(crate) fn ingest(stats: IngestStats) -> Vec<Figure> {
    let fates = [
        ("stored", stats.stored),
        ("device_gone", stats.device_gone),
        ("set_aside", stats.set_aside),
        ("lost", stats.lost),
    ];
    vec![
        Figure::gauge("ingest_queued", "Messages waiting to be stored", stats.queued),
        Figure::gauge("ingest_queued_bytes", "Memory used by the messages in the ingest queue", stats.queued_bytes),
        Figure::counters("ingest_messages", "Messages by outcome", "fate", fates),
        Figure::counter("ingest_commits", "Transactions committed by the ingest", stats.commits),
        Figure::counter(
            "ingest_retries",
            "Commits that failed because the database was unavailable, and were retried",
            stats.retries,
        ),
        Figure::counter("ingest_queue_full", "Submissions rejected because the queue was full", stats.queue_full),
    ]
}

/// The figures of reads whose work grows with what is stored.
pub(crate) fn reads(stats: SlotStats) -> Vec<Figure> {
    let fates = [("served", stats.served), ("refused", stats.refused), ("gone", stats.gone)];
    vec![
        Figure::gauge("reads_under_way", "Expensive reads in progress", stats.taken),
        Figure::gauge("reads_waiting", "Expensive reads waiting for a slot", stats.waiting),
        Figure::counters("reads", "Expensive reads by outcome", "fate", fates),
    ]
}

/// The figures of what waits to be removed.
pub(crate) fn retention(stats: &RetentionStats) -> Vec<Figure> {
    let tenants = "Tenants with a removal by age on hold, because the elapsed time does not explain it";
    let rows = "Messages that removals on hold would remove";
    vec![
        Figure::gauge("retention_waiting_tenants", tenants, stats.waiting_tenants()),
        Figure::gauge("retention_waiting_messages", rows, stats.waiting_rows()),
    ]
}

/// The figures of storage.
pub(crate) fn storage(health: &dyn StorageHealth) -> Vec<Figure> {
    let help = "Chunks of telemetry found damaged since the start";
    let decoding = health.decoding();
    let fates = [("done", decoding.done), ("given_up", decoding.given_up)];
    let Upkeep { behind, dead_letters_dropped, topics_removed, without_leaves, set_aside } = health.upkeep();
    let dropped = "Dead letters removed because there were too many";
    let without = "Messages stored without an index of their values because of a limit";
    let aside = "Stored messages moved to the dead letters because they could not be compressed";
    vec![
        Figure::gauge("telemetry_damaged_chunks", help, health.damaged_chunks()),
        Figure::gauge(
            "history_behind_seconds",
            "Seconds since compression and removal of telemetry last succeeded although they were due",
            behind.as_secs(),
        ),
        Figure::counter("dead_letters_dropped", dropped, dead_letters_dropped),
        Figure::counter("topics_removed", "Topics removed with their last message", topics_removed),
        Figure::counter("telemetry_without_leaves", without, without_leaves),
        Figure::counter("telemetry_set_aside", aside, set_aside),
        Figure::gauge(
            "decoding_under_way",
            "Decoding tasks of stored telemetry, waiting or running",
            decoding.under_way,
        ),
        Figure::counters("decoding", "Decoding tasks of stored telemetry by outcome", "fate", fates),
    ]
}

/// The figures of the door for devices.
pub(crate) fn door(gateway: &DeviceGateway) -> Vec<Figure> {
    let lookups = gateway.lookups();
    let from = [("cache", lookups.from_cache), ("storage", lookups.from_storage)];
    let dated = "Messages with a timestamp too far in the future, stored with the time of their arrival";
    vec![
        Figure::counters("credential_lookups", "Lookups of device credentials by source", "from", from),
        Figure::counter("messages_dated_at_arrival", dated, gateway.dated_at_arrival()),
        Figure::counter(
            "messages_refused_topics",
            "Messages refused because the device or tenant has too many topics",
            gateway.topics_refused(),
        ),
    ]
}

/// The figures of bridges.
pub(crate) fn bridges(states: &[BridgeState]) -> Vec<Figure> {
    if states.is_empty() {
        return Vec::new();
    }
    let of = |value: fn(&BridgeState) -> u64| states.iter().map(move |state| (state.name.clone(), value(state)));
    vec![
        Figure::of_each(
            "bridge_connected",
            "Whether the bridge is connected",
            "bridge",
            MetricType::Gauge,
            of(|s| s.is_connected.into()),
        ),
        Figure::of_each(
            "bridge_messages_in",
            "Messages received from the other broker",
            "bridge",
            MetricType::Counter,
            of(|s| s.messages_in),
        ),
        Figure::of_each(
            "bridge_messages_out",
            "Messages sent to the other broker",
            "bridge",
            MetricType::Counter,
            of(|s| s.messages_out),
        ),
        Figure::of_each(
            "bridge_dropped",
            "Messages dropped by the bridge",
            "bridge",
            MetricType::Counter,
            of(|s| s.dropped),
        ),
    ]
}

/// The figures of what was refused.
pub(crate) fn refusals(counts: [(RefusalKind, u64); RefusalKind::ALL.len()]) -> Vec<Figure> {
    let by_kind = counts.map(|(kind, count)| (kind.as_str(), count));
    vec![Figure::counters("mqtt_refusals", "Messages and connections refused, by rule or limit", "kind", by_kind)]
}

/// The figures of what is heard of devices.
pub(crate) fn activity(stats: ActivityStats) -> Vec<Figure> {
    let dropped = [("event", stats.events_dropped), ("note", stats.notes_dropped)];
    vec![
        Figure::gauge("device_activity_waiting", "Devices with activity waiting to be recorded", stats.waiting),
        Figure::counters("device_activity_dropped", "Activity of devices that was not recorded", "kind", dropped),
    ]
}

/// The figures of the broker.
#[cfg(feature = "transport-mqtt")]
pub(crate) fn broker(stats: &pocket_mqtt_ntex::BrokerStats) -> Vec<Figure> {
    let by_qos = |counts: [u64; 3]| [("0", counts[0]), ("1", counts[1]), ("2", counts[2])];
    let connects = [("accepted", stats.connects_accepted), ("refused", stats.connects_refused)];
    let [tcp, tls, ws, wss] = stats.connections_by_transport;
    let open = [("tcp", tcp), ("tls", tls), ("ws", ws), ("wss", wss)];
    let [proxy, tls, websocket] = stats.connects_refused_at;
    let refused_at = [("proxy_protocol", proxy), ("tls", tls), ("websocket", websocket)];
    let reloads = [("done", stats.tls_reloads), ("failed", stats.tls_reloads_failed)];
    let dropped = [
        ("unsent", stats.dropped_unsent),
        ("queue_full", stats.dropped_queue_full),
        ("mailbox_full", stats.dropped_mailbox_full),
        ("not_stored", stats.dropped_not_stored),
        ("retained_full", stats.dropped_retained_full),
        ("too_large", stats.dropped_too_large),
    ];
    let of_level = |level: usize| {
        let [bytes, sessions, connections, subscriptions] = stats.refused_at_limits.map(|levels| levels[level]);
        [("bytes", bytes), ("sessions", sessions), ("connections", connections), ("subscriptions", subscriptions)]
    };
    let packets = [("received", stats.packets_in), ("sent", stats.packets_out)];
    let bytes = [("received", stats.bytes_in), ("sent", stats.bytes_out)];
    let closed = [
        ("protocol_error", stats.protocol_errors),
        ("keep_alive", stats.keep_alive_timeouts),
        ("slow_consumer", stats.slow_consumers),
        ("takeover", stats.takeovers),
        ("revoked", stats.revocations),
    ];
    vec![
        Figure::gauge("mqtt_connections", "Open connections", stats.connections),
        Figure::gauges("mqtt_transport_connections", "Open connections by transport", "transport", open),
        Figure::gauge("mqtt_clients", "Clients connected", stats.clients),
        Figure::gauge("mqtt_sleeping_sessions", "Persistent sessions without a connection", stats.sleeping_sessions),
        Figure::gauge("mqtt_retained_messages", "Retained messages", stats.retained_messages),
        Figure::gauge("mqtt_subscriptions", "Subscriptions", stats.subscriptions),
        Figure::counters("mqtt_connects", "CONNECT packets by result", "result", connects),
        Figure::counters("mqtt_transport_refused", "Connections that ended before CONNECT", "step", refused_at),
        Figure::counters("mqtt_tls_reloads", "Reloads of TLS certificates", "result", reloads),
        Figure::counters("mqtt_packets", "Packets of any kind", "direction", packets),
        Figure::counters("mqtt_bytes", "Bytes of MQTT packets", "direction", bytes),
        Figure::counters("mqtt_received", "Messages from clients", "qos", by_qos(stats.messages_in)),
        Figure::counters("mqtt_sent", "Messages to clients", "qos", by_qos(stats.messages_out)),
        Figure::counter("mqtt_received_payload_bytes", "Payload bytes from clients", stats.payload_bytes_in),
        Figure::counter("mqtt_sent_payload_bytes", "Payload bytes to clients", stats.payload_bytes_out),
        Figure::counter("mqtt_rejected", "Messages refused for their payload", stats.rejected),
        Figure::counter("mqtt_denied", "Messages and subscriptions refused as not authorised", stats.denied),
        Figure::counter(
            "mqtt_held_for_rate",
            "Pauses of devices that exceeded their publish rate",
            stats.held_for_rate,
        ),
        Figure::counters("mqtt_dropped", "Messages dropped because of a limit", "limit", dropped),
        Figure::counters("mqtt_closed", "Connections that the broker closed", "reason", closed),
        Figure::gauge("mqtt_kept_bytes", "Memory used for sessions, queues and retained messages", stats.kept_bytes),
        Figure::gauge("mqtt_kept_sessions", "Persistent sessions", stats.kept_sessions),
        Figure::gauge("mqtt_retained_bytes", "Bytes of retained messages", stats.retained_bytes),
        Figure::gauge("mqtt_pending", "Connections waiting for CONNECT", stats.pending_connections),
        Figure::counter(
            "mqtt_pending_evicted",
            "Connections waiting for CONNECT that were closed to make room for others",
            stats.pending_evicted,
        ),
        Figure::counters("mqtt_refused_of_device", "Operations refused at a limit per device", "limit", of_level(0)),
        Figure::counters("mqtt_refused_of_tenant", "Operations refused at the share of a tenant", "limit", of_level(1)),
        Figure::counters(
            "mqtt_refused_of_process",
            "Operations refused at a limit of the process",
            "limit",
            of_level(2),
        ),
        Figure::counter(
            "mqtt_sessions_not_kept",
            "Clients refused a persistent session because of a limit",
            stats.sessions_not_kept,
        ),
        Figure::counter(
            "mqtt_filters_refused",
            "Subscriptions refused because filters overlap too much",
            stats.filters_refused,
        ),
        Figure::counter(
            "mqtt_held_for_matching",
            "Pauses of clients whose messages match too many filters",
            stats.held_for_matching,
        ),
    ]
}

/// The figures of REST.
#[cfg(feature = "transport-rest")]
pub(crate) fn rest(stats: &pocket_rest_ntex::RestStats) -> Vec<Figure> {
    let answered = [("succeeded", stats.succeeded), ("refused", stats.refused), ("failed", stats.failed)];
    vec![
        Figure::gauge("http_in_flight", "Requests in progress", stats.in_flight),
        Figure::counters("http_requests", "Requests served", "result", answered),
        Figure::counter("http_turned_away", "Requests refused at the limit of concurrent requests", stats.turned_away),
        Figure::counter(
            "http_transfers_refused",
            "Exports and imports refused at the limit of concurrent ones",
            stats.transfers_refused,
        ),
        Figure::counter("http_request_micros", "Total time to serve requests, in microseconds", stats.total_micros),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_open_metrics_text() {
        let mut metrics = Metrics::default();
        metrics.add(process);
        metrics.add(|| ingest(IngestStats { queued: 3, stored: 7, ..IngestStats::default() }));
        let text = metrics.into_writer()();
        for line in [
            concat!("pocket_build{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE pocket_ingest_queued gauge",
            "pocket_ingest_queued 3",
            "# TYPE pocket_ingest_messages counter",
            "pocket_ingest_messages_total{fate=\"stored\"} 7",
            "pocket_ingest_messages_total{fate=\"lost\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
        }
    }
}
