//! What devices and people were refused, told where their owners look: counters by kind, and lines of the log.
//!
//! The log has the first refusal of each kind and each device or address at once, and then one line a minute with how many
//! followed. What is kept for that is bounded; beyond it refusals are counted and summed up by kind.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{PayloadError, Principal, TenantId, TopicName};
use tokio::time::Instant;

use crate::ticks::ticks;

/// Which rule or limit refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The payload is not what the tenant accepts.
    Payload,
    /// The payload is not UTF-8, as its format indicator says.
    NotUtf8,
    /// The payload's own time is no time.
    Time,
    /// The payload's own time is later than it may be; it was stored with that of its arrival.
    Ahead,
    /// The payload has more bytes than messages may have.
    PayloadSize,
    /// The packet has more bytes than packets may have; its connection was closed.
    PacketSize,
    /// An access rule, or the role of a person, does not allow the topic.
    Topic,
    /// The topic is one too many of the device or tenant.
    Topics,
    /// Topics that begin with `$` belong to the broker.
    ReservedTopic,
    /// The message was delivered and not kept: there are too many retained messages.
    RetainedFull,
    /// A log-in that proved nothing.
    Credentials,
    /// A right token of a disabled device.
    Disabled,
    /// A log-in after too many that failed.
    Throttled,
    /// No CONNECT in time.
    NoConnect,
    /// A version of MQTT that is not spoken.
    Version,
    /// A CONNECT, or what came in its place, that is not what the standards allow.
    Malformed,
    /// More connections than there may be.
    Connections,
    /// A will that may not be published.
    Will,
    /// The platform could not judge at the time.
    Unavailable,
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::Payload,
        Self::NotUtf8,
        Self::Time,
        Self::Ahead,
        Self::PayloadSize,
        Self::PacketSize,
        Self::Topic,
        Self::Topics,
        Self::ReservedTopic,
        Self::RetainedFull,
        Self::Credentials,
        Self::Disabled,
        Self::Throttled,
        Self::NoConnect,
        Self::Version,
        Self::Malformed,
        Self::Connections,
        Self::Will,
        Self::Unavailable,
    ];

    /// The kind as counters and the log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::NotUtf8 => "not_utf8",
            Self::Time => "time",
            Self::Ahead => "ahead",
            Self::PayloadSize => "payload_size",
            Self::PacketSize => "packet_size",
            Self::Topic => "topic",
            Self::Topics => "topics",
            Self::ReservedTopic => "reserved_topic",
            Self::RetainedFull => "retained_full",
            Self::Credentials => "credentials",
            Self::Disabled => "disabled",
            Self::Throttled => "throttled",
            Self::NoConnect => "no_connect",
            Self::Version => "version",
            Self::Malformed => "malformed",
            Self::Connections => "connections",
            Self::Will => "will",
            Self::Unavailable => "unavailable",
        }
    }

    /// What an operator changes to have such a thing accepted.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::Payload => Some("payloadPolicy of the tenant"),
            Self::PayloadSize => Some("POCKET_MAX_PAYLOAD"),
            Self::PacketSize => Some("POCKET_MAX_RETAINED_PAYLOAD, POCKET_MAX_PAYLOAD"),
            Self::Ahead => Some("POCKET_MAX_TIMESTAMP_AHEAD"),
            Self::Topic => Some("access rules of the tenant and device"),
            Self::Topics => Some("POCKET_MAX_DEVICE_TOPICS, POCKET_MAX_TENANT_TOPICS"),
            Self::RetainedFull => Some("POCKET_MQTT_MAX_RETAINED, POCKET_MQTT_MAX_RETAINED_BYTES"),
            Self::Throttled => Some("POCKET_DEVICE_FAILURES, POCKET_DEVICE_FAILURES_PER_SOURCE"),
            Self::NoConnect => Some("POCKET_MQTT_CONNECT_TIMEOUT"),
            Self::Connections => Some("POCKET_MQTT_MAX_CONNECTIONS, POCKET_MQTT_MAX_TENANT_CONNECTIONS"),
            _ => None,
        }
    }

    /// The kind of a payload that was not accepted.
    pub fn of_payload(error: &PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } | PayloadError::TooManyReadings { .. } | PayloadError::TooManyKeys { .. } => {
                Self::PayloadSize
            }
            PayloadError::NoTime(_) => Self::Time,
            PayloadError::TooManyTopics(_) => Self::Topics,
            PayloadError::NotUtf8(_) | PayloadError::NotJson(_) => Self::Payload,
        }
    }
}

/// A message that was refused, or accepted only in part.
#[derive(Clone, Copy, Debug)]
pub struct RefusedMessage<'a> {
    /// Which rule or limit it was.
    pub kind: RefusalKind,
    /// Where it was published.
    pub topic: &'a TopicName,
    /// Its payload, or the beginning of it.
    pub payload: &'a [u8],
    /// Bytes of the payload, or of the packet where the payload was not read.
    pub bytes: usize,
    /// What was wrong and what is allowed.
    pub reason: &'a str,
}

/// Whom refusals are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Client(TenantId, Principal),
    Source(IpAddr),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(_, principal) => write!(f, "{principal}"),
            Self::Source(source) => write!(f, "{source}"),
        }
    }
}

struct Window {
    began: Instant,
    /// Refusals after the first.
    more: u64,
    /// What the last of them was about.
    last: String,
}

/// Counts refusals and tells of them.
#[derive(Default)]
pub(crate) struct RefusalLog {
    counts: [AtomicU64; RefusalKind::ALL.len()],
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    told: HashMap<(RefusalKind, Subject), Window>,
    /// Refusals of subjects beyond those, and since when they are counted.
    untold: HashMap<RefusalKind, u64>,
    untold_since: Option<Instant>,
}

impl RefusalLog {
    /// Subjects that are told of by themselves within a minute.
    pub(crate) const MAX_TOLD: usize = 100;
    /// How long refusals are summed up.
    pub(crate) const WINDOW: Duration = Duration::from_secs(60);
    /// The most characters of a line's detail.
    const MAX_DETAIL: usize = 400;

    /// A message of a client was refused.
    pub(crate) fn message(&self, tenant: TenantId, principal: Principal, refused: &RefusedMessage<'_>) {
        let RefusedMessage { kind, topic, bytes, reason, .. } = *refused;
        let detail = || format!("topic {topic}, {bytes} bytes: {reason}");
        self.note(kind, Subject::Client(tenant, principal), detail);
    }

    /// A connection was refused.
    pub(crate) fn connection(&self, source: IpAddr, kind: RefusalKind, detail: impl FnOnce() -> String) {
        self.note(kind, Subject::Source(source), detail);
    }

    /// How many there were of each kind.
    pub(crate) fn counts(&self) -> [(RefusalKind, u64); RefusalKind::ALL.len()] {
        let mut place = 0;
        RefusalKind::ALL.map(|kind| {
            place += 1;
            (kind, self.counts[place - 1].load(Ordering::Relaxed))
        })
    }

    fn note(&self, kind: RefusalKind, subject: Subject, detail: impl FnOnce() -> String) {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut windows = self.lock();
        if let Some(window) = windows.told.get_mut(&(kind, subject)) {
            window.more += 1;
            // The newest is shown with the sum; to write all of them down would cost what the sum saves.
            if window.more.is_power_of_two() {
                window.last = cut(detail());
            }
            return;
        }
        if windows.told.len() >= Self::MAX_TOLD {
            *windows.untold.entry(kind).or_default() += 1;
            windows.untold_since.get_or_insert_with(Instant::now);
            return;
        }
        let detail = cut(detail());
        windows.told.insert((kind, subject), Window { began: Instant::now(), more: 0, last: detail.clone() });
        drop(windows);
        tell(kind, Some(subject), &detail, None);
    }

    /// Tells how many followed where a minute is over.
    pub(crate) fn sum_up(&self) {
        let mut lines = Vec::new();
        let mut windows = self.lock();
        let now = Instant::now();
        windows.told.retain(|(kind, subject), window| {
            if now.duration_since(window.began) < Self::WINDOW {
                return true;
            }
            if window.more == 0 {
                return false;
            }
            lines.push((*kind, Some(*subject), std::mem::take(&mut window.last), window.more));
            (window.began, window.more) = (now, 0);
            true
        });
        if windows.untold_since.is_some_and(|since| now.duration_since(since) >= Self::WINDOW) {
            windows.untold_since = None;
            let untold = std::mem::take(&mut windows.untold);
            lines.extend(untold.into_iter().map(|(kind, more)| (kind, None, String::new(), more)));
        }
        drop(windows);
        for (kind, subject, detail, more) in lines {
            tell(kind, subject, &detail, Some(more));
        }
    }

    /// Sums up for ever.
    pub(crate) async fn run(&self) {
        let mut timer = ticks(Self::WINDOW / 12);
        loop {
            timer.tick().await;
            self.sum_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        // An entry is either there or not.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(detail: String) -> String {
    match detail.char_indices().nth(RefusalLog::MAX_DETAIL) {
        Some((end, _)) => detail[..end].to_owned(),
        None => detail,
    }
}

/// One line of the log. `more`: how many there were after the first one that was told.
fn tell(kind: RefusalKind, subject: Option<Subject>, detail: &str, more: Option<u64>) {
    let (reason, setting) = (kind.as_str(), kind.setting().unwrap_or("none"));
    match (subject, more) {
        (Some(Subject::Client(tenant, principal)), None) => {
            tracing::info!(%tenant, client = %principal, kind = reason, setting, "message refused: {detail}");
        }
        (Some(Subject::Source(source)), None) => {
            tracing::info!(%source, kind = reason, setting, "connection refused: {detail}");
        }
        (Some(subject), Some(more)) => {
            tracing::info!(of = %subject, kind = reason, setting, more, "{more} more refused within a minute, such as: {detail}");
        }
        (None, more) => {
            let more = more.unwrap_or(0);
            tracing::info!(kind = reason, setting, more, "refused within a minute from many others: {more}");
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Timestamp};

    use super::*;

    fn refuse(log: &RefusalLog, device: u8) {
        let topic = TopicName::parse("a/b").unwrap();
        let refused =
            RefusedMessage { kind: RefusalKind::Payload, topic: &topic, payload: b"{", bytes: 1, reason: "no" };
        let device = Principal::Device(DeviceId::new(Timestamp::MIN, [device; 10]));
        log.message(TenantId::new(Timestamp::MIN, [1; 10]), device, &refused);
    }

    fn sizes(log: &RefusalLog) -> (usize, u64) {
        let windows = log.lock();
        (windows.told.len(), windows.untold.values().sum())
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_is_refused_again_and_again_is_told_of_once_a_minute() {
        let log = RefusalLog::default();
        for _ in 0..1_000 {
            refuse(&log, 1);
        }
        assert_eq!(log.counts()[RefusalKind::Payload as usize], (RefusalKind::Payload, 1_000));
        assert_eq!(sizes(&log), (1, 0));
        tokio::time::advance(RefusalLog::WINDOW).await;
        log.sum_up();
        assert_eq!(log.lock().told.values().next().unwrap().more, 0);
        tokio::time::advance(RefusalLog::WINDOW).await;
        log.sum_up();
        assert_eq!(sizes(&log), (0, 0), "what does not come again is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn many_devices_do_not_fill_the_log() {
        let log = RefusalLog::default();
        for device in 0..=255 {
            refuse(&log, device);
        }
        assert_eq!(sizes(&log), (RefusalLog::MAX_TOLD, 256 - RefusalLog::MAX_TOLD as u64));
        tokio::time::advance(RefusalLog::WINDOW).await;
        log.sum_up();
        assert_eq!(sizes(&log), (0, 0));
    }

    #[test]
    fn every_kind_is_counted_at_its_own_place() {
        for (place, kind) in RefusalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.as_str());
        }
    }
}
