//! Messages that are stored unless they are there.

use std::ops::Bound;

use pocket_domain::{NewTelemetry, TelemetryCursor, TelemetryId};
use pocket_ports::{Import, Imported};

use crate::state::State;

impl State {
    pub(crate) fn import(&mut self, messages: &[NewTelemetry]) -> Import {
        let is_gone = |message: &NewTelemetry| self.device(message.tenant_id, message.device_id).is_none();
        if let Some(index) = messages.iter().position(is_gone) {
            return Import::DeviceGone(index);
        }
        let import = |message: &NewTelemetry| match self.has(message) {
            true => None,
            false => self.append(message),
        };
        let ids: Vec<Option<TelemetryId>> = messages.iter().map(import).collect();
        Import::Done(ids.into_iter().map(|id| id.map_or(Imported::Present, Imported::Stored)).collect())
    }

    fn has(&self, message: &NewTelemetry) -> bool {
        let place = |key| TelemetryCursor { timestamp: message.timestamp, id: TelemetryId::from_key(key) };
        let moment = (Bound::Included(place(0)), Bound::Included(place(u64::MAX)));
        let mut rows = self.telemetry.get(&message.tenant_id).into_iter().flat_map(|history| history.range(moment));
        rows.any(|(_, row)| {
            row.device_id == message.device_id && row.topic == message.topic && row.payload == message.payload
        })
    }
}
