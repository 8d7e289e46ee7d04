//! How much a history takes, and which of it goes: one message at a time, the oldest first.

use pocket_domain::{Telemetry, TenantId, Timestamp, Usage, UsagePart};
use pocket_ports::Pruned;

use crate::state::State;

/// Messages that go in one step.
const STEP: u64 = 5_000;

fn bytes_of(row: &Telemetry) -> u64 {
    row.payload.as_str().len() as u64 + UsagePart::LOG_ROW_BYTES
}

impl State {
    /// Nothing is compressed: all is the log.
    pub(crate) fn usage(&self, tenant: TenantId) -> Usage {
        let rows = self.telemetry.get(&tenant).into_iter().flat_map(|history| history.values());
        let part = |row: &Telemetry| {
            let at = Some(row.timestamp);
            UsagePart { rows: 1, bytes: bytes_of(row), oldest: at, newest: at }
        };
        let log = rows.map(part).fold(UsagePart::default(), UsagePart::and);
        Usage { log, ..Usage::default() }
    }

    pub(crate) fn prune(&mut self, now: Timestamp) -> Pruned {
        let mut pruned = Pruned { rows: 0, is_done: true };
        let limited: Vec<_> = self.tenants.values().map(|tenant| (tenant.id, tenant.retention)).collect();
        for (tenant, retention) in limited.into_iter().filter(|(_, retention)| !retention.keeps_everything()) {
            let mut bytes = self.usage(tenant).total().bytes;
            let Some(history) = self.telemetry.get_mut(&tenant) else { continue };
            while let Some(oldest) = history.first_entry() {
                let is_old = retention.kept_from(now).is_some_and(|from| oldest.get().timestamp < from);
                if !is_old && retention.max_bytes.is_none_or(|most| bytes <= most.get()) {
                    break;
                }
                if pruned.rows == STEP {
                    pruned.is_done = false;
                    return pruned;
                }
                bytes -= bytes_of(&oldest.remove());
                pruned.rows += 1;
            }
        }
        pruned
    }
}
