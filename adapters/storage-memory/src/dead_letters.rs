//! Messages that were put aside. This storage refuses none by itself; a caller may still have a reason.

use std::collections::HashSet;

use async_trait::async_trait;
use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, MAX_DEAD_LETTERS, MAX_DEAD_LETTERS_IN_ALL, NewTelemetry,
    TelemetryId, TenantId, Timestamp,
};
use pocket_ports::{DeadLetterRepository, StorageError};

use crate::Memory;
use crate::state::State;

impl State {
    pub(crate) fn set_aside(&mut self, message: &NewTelemetry, reason: &str, now: Timestamp) {
        self.last_letter_key += 1;
        let letter = DeadLetter {
            id: DeadLetterId::from_key(self.last_letter_key),
            device_id: message.device_id,
            topic: message.topic.clone(),
            payload: message.payload.as_str().as_bytes().to_vec(),
            timestamp: message.timestamp,
            received_at: message.received_at,
            reason: reason.to_owned(),
            at: now,
        };
        self.dead_letters.insert(letter.id, (message.tenant_id, letter));
        if self.letters_of(message.tenant_id) > MAX_DEAD_LETTERS {
            self.drop_oldest(message.tenant_id);
        }
        if self.dead_letters.len() as u64 > MAX_DEAD_LETTERS_IN_ALL {
            let tenants: HashSet<TenantId> = self.dead_letters.values().map(|(owner, _)| *owner).collect();
            if let Some(largest) = tenants.into_iter().max_by_key(|tenant| self.letters_of(*tenant)) {
                self.drop_oldest(largest);
            }
        }
    }

    fn letters_of(&self, tenant: TenantId) -> u64 {
        self.dead_letters.values().filter(|(owner, _)| *owner == tenant).count() as u64
    }

    fn drop_oldest(&mut self, tenant: TenantId) {
        let oldest = self.dead_letters.iter().find(|(_, (owner, _))| *owner == tenant).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.dead_letters.remove(&oldest);
        }
    }

    fn letter(&self, tenant: TenantId, id: DeadLetterId) -> Option<&DeadLetter> {
        self.dead_letters.get(&id).filter(|(owner, _)| *owner == tenant).map(|(_, letter)| letter)
    }
}

#[async_trait]
impl DeadLetterRepository for Memory {
    async fn list(&self, tenant: TenantId, query: &DeadLetterQuery) -> Result<DeadLetterPage, StorageError> {
        let state = self.state();
        let letters = state.dead_letters.values().rev().filter(|(owner, _)| *owner == tenant).map(|(_, letter)| letter);
        let wanted = letters
            .filter(|letter| query.cursor.is_none_or(|cursor| letter.id < cursor))
            .filter(|letter| query.device_id.is_none_or(|device| letter.device_id == device));
        let letters = wanted.take(query.page_limit.get() as usize + 1).cloned().collect();
        Ok(DeadLetterPage::from_letters(letters, query.page_limit))
    }

    async fn get(&self, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, StorageError> {
        Ok(self.state().letter(tenant, id).cloned())
    }

    async fn store(&self, id: DeadLetterId, message: &NewTelemetry) -> Result<Option<TelemetryId>, StorageError> {
        let mut state = self.state();
        if state.letter(message.tenant_id, id).is_none() {
            return Ok(None);
        }
        let stored = state.append(message);
        if stored.is_some() {
            state.dead_letters.remove(&id);
            *state.batches.entry(None).or_default() += 1;
        }
        Ok(stored)
    }

    async fn delete(&self, tenant: TenantId, id: DeadLetterId) -> Result<bool, StorageError> {
        let mut state = self.state();
        if state.letter(tenant, id).is_none() {
            return Ok(false);
        }
        state.dead_letters.remove(&id);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Payload, TopicName};

    use super::*;

    #[test]
    fn the_latest_are_kept_up_to_a_bound() {
        let mut state = State::default();
        let message = NewTelemetry {
            tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
            device_id: DeviceId::new(Timestamp::MIN, [2; 10]),
            topic: TopicName::parse("t").unwrap(),
            payload: Payload::from_stored("1"),
            timestamp: Timestamp::MIN,
            received_at: Timestamp::MIN,
        };
        for n in 0..=MAX_DEAD_LETTERS {
            state.set_aside(&message, &n.to_string(), Timestamp::MIN);
        }
        assert_eq!(state.dead_letters.len() as u64, MAX_DEAD_LETTERS);
        assert_eq!(state.dead_letters.values().next().unwrap().1.reason, "1");
    }
}
