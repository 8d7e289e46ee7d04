//! Messages that the database refused, as people see them.

use std::sync::Arc;

use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, Invalid, NewTelemetry, Payload, TelemetryId, TenantId,
};
use pocket_ports::{DeadLetterRepository, DeviceRepository, StorageError};

use crate::policy::Action;
use crate::scope::Scope;
use crate::{Caller, Error};

/// Use cases of dead letters.
pub struct DeadLetterService {
    pub(crate) scope: Scope,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) letters: Arc<dyn DeadLetterRepository>,
}

impl DeadLetterService {
    /// A page of the tenant's dead letters, the newest first.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        query: &DeadLetterQuery,
    ) -> Result<DeadLetterPage, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        if let Some(device) = query.device_id
            && self.devices.get(tenant, device).await?.is_none()
        {
            return Err(Error::NotFound);
        }
        Ok(self.letters.list(tenant, query).await?)
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, caller: &Caller, tenant: Option<TenantId>, id: DeadLetterId) -> Result<(), Error> {
        let tenant = self.scope.enter(caller, tenant, Action::WriteTelemetry).await?;
        if !self.letters.delete(tenant, id).await? {
            return Err(Error::NotFound);
        }
        tracing::info!(letter = %id, %tenant, by = %caller.user_id(), "dead letter removed");
        Ok(())
    }

    /// Tries once more to store the message, in place of the letter. It goes to storage directly: nobody waits behind it, and a
    /// refusal leaves the letter as it is. However often and by how many a letter is tried, its message is stored once.
    ///
    /// # Errors
    /// `NotFound` for the letter or its device; `Invalid(payload)` when the database still refuses the message.
    pub async fn retry(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: DeadLetterId,
    ) -> Result<TelemetryId, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::WriteTelemetry).await?;
        let letter = self.letters.get(tenant, id).await?.ok_or(Error::NotFound)?;
        let message = message(tenant, &letter)?;
        let stored = match self.letters.store(id, &message).await {
            Err(StorageError::Backend(cause)) => {
                tracing::info!(letter = %id, %cause, "dead letter rejected again");
                return Err(still_refused("the database still rejects this message"));
            }
            result => result?.ok_or(Error::NotFound)?,
        };
        tracing::info!(letter = %id, %tenant, by = %caller.user_id(), "dead letter stored");
        Ok(stored)
    }
}

fn still_refused(why: &'static str) -> Error {
    Invalid::new("payload", why).into()
}

/// The message as it was before the database refused it.
fn message(tenant_id: TenantId, letter: &DeadLetter) -> Result<NewTelemetry, Error> {
    let text = letter.text().ok_or_else(|| still_refused("is not text and cannot be stored"))?;
    Ok(NewTelemetry {
        tenant_id,
        device_id: letter.device_id,
        topic: letter.topic.clone(),
        payload: Payload::from_stored(text),
        timestamp: letter.timestamp,
        received_at: letter.received_at,
    })
}
