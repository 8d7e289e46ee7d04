//! What is kept, and the rules that several methods share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use pocket_domain::{
    AccessRule, AccessRuleId, DeadLetter, DeadLetterId, Device, DeviceId, LoginId, NodeName, Page, PageRequest,
    PasswordHash, Telemetry, TelemetryCursor, Tenant, TenantId, TimeMark, Timestamp, TokenKeyFingerprint, TopicRules,
    User, UserId,
};
use pocket_ports::{AccessChange, DeviceCredential, LoggedChange, NewDeviceLogin, StorageError};

use crate::broker::Node;
use crate::presence::Heard;

/// How long an entry of the access log is kept at least.
const LOG_KEPT: Duration = Duration::from_secs(3_600);

/// A token's hash stands for a device until it expires.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) device_id: DeviceId,
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether it is the present one, or one in its grace.
    pub(crate) present: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) users: BTreeMap<UserId, (User, PasswordHash)>,
    /// Log-ins that were ended, and until when that matters.
    pub(crate) ended_logins: HashMap<UserId, Vec<(LoginId, Timestamp)>>,
    pub(crate) devices: BTreeMap<DeviceId, Device>,
    pub(crate) heard: HashMap<DeviceId, Heard>,
    pub(crate) access_rules: BTreeMap<AccessRuleId, AccessRule>,
    pub(crate) topic_rules: HashMap<TenantId, TopicRules>,
    pub(crate) tokens: HashMap<[u8; 32], Token>,
    pub(crate) device_logins: BTreeMap<DeviceId, NewDeviceLogin>,
    pub(crate) token_key: Option<TokenKeyFingerprint>,
    /// How far tenants are pruned.
    pub(crate) pruned_to: HashMap<TenantId, Timestamp>,
    pub(crate) telemetry: HashMap<TenantId, BTreeMap<TelemetryCursor, Telemetry>>,
    pub(crate) last_telemetry_key: u64,
    pub(crate) dead_letters: BTreeMap<DeadLetterId, (TenantId, DeadLetter)>,
    pub(crate) last_letter_key: u64,
    pub(crate) log: VecDeque<(Instant, LoggedChange)>,
    pub(crate) last_sequence: u64,
    pub(crate) brokers: HashMap<NodeName, Node>,
    pub(crate) time_marks: HashMap<NodeName, TimeMark>,
    /// How many batches each writer committed; without a name, those of no broker.
    pub(crate) batches: HashMap<Option<NodeName>, u64>,
}

impl State {
    /// Whether a tenant of this id is there.
    pub(crate) fn require_tenant(&self, id: TenantId) -> Result<(), StorageError> {
        if self.tenants.contains_key(&id) { Ok(()) } else { Err(StorageError::NotFound) }
    }

    /// The device, if it belongs to the tenant.
    pub(crate) fn device(&self, tenant: TenantId, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id).filter(|device| device.tenant_id == tenant)
    }

    /// What a credential of a device gives access to.
    pub(crate) fn credential_of(&self, device: &Device, expires_at: Option<Timestamp>) -> Option<DeviceCredential> {
        Some(DeviceCredential {
            tenant_id: device.tenant_id,
            device_id: device.id,
            enabled: device.enabled,
            expires_at,
            payload_policy: self.tenants.get(&device.tenant_id)?.payload_policy,
            is_ruled: self.rules_of(device.tenant_id, None).next().is_some()
                || self.rules_of(device.tenant_id, Some(device.id)).next().is_some(),
        })
    }

    /// Takes a device away with its tokens, its rules, its messages and what was heard of it.
    pub(crate) fn remove_device(&mut self, tenant: TenantId, id: DeviceId) {
        self.devices.remove(&id);
        self.heard.remove(&id);
        self.device_logins.remove(&id);
        self.tokens.retain(|_, token| token.device_id != id);
        self.access_rules.retain(|_, rule| rule.device_id != Some(id));
        self.dead_letters.retain(|_, (_, letter)| letter.device_id != id);
        if let Some(history) = self.telemetry.get_mut(&tenant) {
            history.retain(|_, row| row.device_id != id);
        }
    }

    /// Writes an entry of the access log and drops those that are too old.
    pub(crate) fn log(&mut self, change: AccessChange) {
        self.log.retain(|(at, _)| at.elapsed() <= LOG_KEPT);
        self.last_sequence += 1;
        self.log.push_back((Instant::now(), LoggedChange { sequence: self.last_sequence, change }));
    }
}

/// The part of the entries that is asked for, and how many there are.
pub(crate) fn page_of<'a, T: Clone + 'a>(entries: impl Iterator<Item = &'a T>, page: PageRequest) -> Page<T> {
    let first = page.offset();
    let end = first.saturating_add(u64::from(page.limit()));
    let (mut items, mut total) = (Vec::new(), 0);
    for entry in entries {
        if (first..end).contains(&total) {
            items.push(entry.clone());
        }
        total += 1;
    }
    Page { items, total }
}
