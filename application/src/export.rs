//! Taking a history somewhere else.

use std::sync::Arc;

use pocket_domain::{Telemetry, TelemetryScan, TenantId};
use pocket_ports::TelemetryStore;

use crate::fair_slots::FairSlots;
use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

/// The rows of a history, a part at a time: device after device, each from its oldest row on. Between two parts nothing is
/// held, so whoever takes the rows may be as slow as they like.
pub struct Exporter {
    store: Arc<dyn TelemetryStore>,
    tenant: TenantId,
    /// Places for reading a part; `None` for whoever has the database in their hands.
    reads: Option<FairSlots>,
    /// What is left; `None` at the end.
    rest: Option<TelemetryScan>,
}

impl Exporter {
    /// Exports without asking who wants it, for whoever has the database in their hands.
    ///
    /// # Errors
    /// `Invalid(from)` when `from` is after `to`.
    pub fn new(store: Arc<dyn TelemetryStore>, tenant: TenantId, scan: TelemetryScan) -> Result<Self, Error> {
        scan.check()?;
        Ok(Self { store, tenant, reads: None, rest: Some(scan) })
    }

    /// The next rows; `None` when all have been given.
    ///
    /// # Errors
    /// Those of storage. What was given before is then not all.
    pub async fn next(&mut self) -> Result<Option<Vec<Telemetry>>, Error> {
        while let Some(scan) = &mut self.rest {
            let place = match &self.reads {
                Some(reads) => Some(reads.go_on(self.tenant).await?),
                None => None,
            };
            let part = self.store.scan(self.tenant, scan).await?;
            drop(place);
            match part.next {
                Some(next) => scan.after = Some(next),
                None => self.rest = None,
            }
            if !part.rows.is_empty() {
                return Ok(Some(part.rows));
            }
        }
        Ok(None)
    }
}

impl TelemetryService {
    /// Begins to export a part of a tenant's history.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have; `Invalid(from)` when `from` is after `to`.
    pub async fn export(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        scan: TelemetryScan,
    ) -> Result<Exporter, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        let exporter = Exporter::new(Arc::clone(&self.store), tenant, scan.clone())?;
        let exporter = Exporter { reads: Some(self.reads.clone()), ..exporter };
        if let Some(device) = scan.device_id
            && self.devices.get(tenant, device).await?.is_none()
        {
            return Err(Error::NotFound);
        }
        Ok(exporter)
    }
}
