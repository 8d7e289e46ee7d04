//! Why a message is not kept, and who fills the room.
//!
//! Finding out takes a walk through all retained messages of a tenant, so what was found is told for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_domain::TenantId;

use crate::broker::Broker;

/// How long an answer is told again.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// The most tenants whose answers are remembered.
const MOST_TENANTS: usize = 1_000;

/// Answers that are not too old.
#[derive(Debug, Default)]
pub(crate) struct RetainedFull(Mutex<HashMap<TenantId, (Instant, String)>>);

impl Broker {
    /// Why there is no room for one more retained message of a tenant, in words for its people.
    pub(crate) fn why_retained_is_full(&self, tenant: TenantId, index: &crate::Index) -> String {
        let now = Instant::now();
        let mut answers = self.retained_full.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = answers.get(&tenant).filter(|(since, _)| now.duration_since(*since) < TOLD_FOR) {
            return answer.clone();
        }
        let store = index.retained();
        let (count, bytes) = (store.count(), store.bytes());
        let most = match store.fullest() {
            Some((owner, held)) => format!("; {} has most of them: {held}", owner.principal),
            None => String::new(),
        };
        let answer = format!(
            "delivered, but not kept: the tenant has {count} retained messages of {} allowed and {bytes} bytes of {}{most}",
            self.limits.retained_messages, self.limits.retained_bytes
        );
        if answers.len() >= MOST_TENANTS {
            answers.retain(|_, (since, _)| now.duration_since(*since) < TOLD_FOR);
        }
        if answers.len() < MOST_TENANTS {
            answers.insert(tenant, (now, answer.clone()));
        }
        answer
    }
}
