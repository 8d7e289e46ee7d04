//! Verification of all that is stored: what is asked for it, and what it tells.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, Invalid, TenantId, Timestamp};

use crate::{MessageRecord, StorageError, StoredSession};

/// Something that is wrong with what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is: a table, or the file.
    pub place: &'static str,
    /// Which entry of it, such as `key 12`.
    pub entry: Option<String>,
    /// Whose it is.
    pub tenant_id: Option<TenantId>,
    /// Of which device it is.
    pub device_id: Option<DeviceId>,
    /// The first and the last moment that it is about.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    /// Something wrong in a place, of which nothing else is known.
    pub fn new(place: &'static str, what: impl Into<String>) -> Self {
        Self { place, entry: None, tenant_id: None, device_id: None, times: None, what: what.into() }
    }
}

/// One line: where, whose, from when to when, and what is wrong.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, entry, tenant_id, device_id, times, what } = self;
        f.write_str(place)?;
        if let Some(entry) = entry {
            write!(f, " {}", one_line(entry))?;
        }
        if let Some(tenant) = tenant_id {
            write!(f, ", tenant {tenant}")?;
        }
        if let Some(device) = device_id {
            write!(f, ", device {device}")?;
        }
        match times {
            Some((from, to)) if from == to => write!(f, ", {from}")?,
            Some((from, to)) => write!(f, ", {from} to {to}")?,
            None => {}
        }
        write!(f, ": {}", one_line(what))
    }
}

/// What is damaged may hold anything.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How much was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Checked {
    /// Chunks of telemetry.
    pub chunks: u64,
    /// Messages, in chunks and by themselves.
    pub messages: u64,
    /// Entries of all other kinds: tenants, people, devices, sessions and so on.
    pub entries: u64,
}

/// Takes what a verification has to say, while it is under way.
pub trait CheckReport: Send + Sync {
    /// Something is wrong.
    fn found(&self, finding: Finding);

    /// So many of about so many entries of a place are verified.
    fn progress(&self, place: &'static str, done: u64, of: u64);
}

/// Whether the broker can go on with what it stored in its own form.
pub trait BrokerRecords: Send + Sync {
    /// A session with its will, its subscriptions and what waits for it.
    ///
    /// # Errors
    /// What is not understood.
    fn session(&self, session: &StoredSession) -> Result<(), Invalid>;

    /// A retained message of a tenant.
    ///
    /// # Errors
    /// What is not understood.
    fn retained(&self, tenant: TenantId, message: &MessageRecord) -> Result<(), Invalid>;
}

/// Verifies what is stored.
#[async_trait]
pub trait StorageCheck: Send + Sync {
    /// Reads all that is stored and tells everything that is wrong with it, while others go on writing. MUST NOT change
    /// anything, MUST NOT tell of what others write meanwhile as wrong, MUST go on behind what cannot be read, and MUST NOT
    /// keep more in memory when more is stored, but for what a single device has. State of a broker is told to be wrong when
    /// `records` does not understand it; without `records`, when storage does not.
    ///
    /// Fails with `Unavailable` when the database goes away, and not for what is wrong with it.
    async fn check(
        &self,
        records: Option<Arc<dyn BrokerRecords>>,
        report: Arc<dyn CheckReport>,
    ) -> Result<Checked, StorageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_all_that_is_known() {
        let bare = Finding::new("users", "the role \"king\nof\" is unknown");
        assert_eq!(bare.to_string(), "users: the role \"king of\" is unknown");
        let (tenant, device) = (TenantId::new(Timestamp::MIN, [1; 10]), DeviceId::new(Timestamp::MIN, [2; 10]));
        let whole = Finding {
            entry: Some("key 7".into()),
            tenant_id: Some(tenant),
            device_id: Some(device),
            times: Some((Timestamp::MIN, Timestamp::MIN.plus(std::time::Duration::from_secs(1)))),
            ..Finding::new("telemetry_chunks", "the checksum is wrong")
        };
        assert_eq!(
            whole.to_string(),
            format!(
                "telemetry_chunks key 7, tenant {tenant}, device {device}, 1970-01-01T00:00:00.000Z to \
                1970-01-01T00:00:01.000Z: the checksum is wrong"
            )
        );
    }
}
