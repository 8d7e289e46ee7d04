//! How much a history takes, and which of it goes: one message at a time, the oldest first.

use pocket_domain::{Telemetry, TelemetryCursor, Tenant, TenantId, Timestamp, Usage, UsagePart};
use pocket_ports::{Expired, Held, Pruned, PrunedTenant, removed_before};

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

    pub(crate) fn prune(&mut self, now: Timestamp, held: &Held) -> Pruned {
        let mut pruned = Pruned { rows: 0, is_done: true };
        let limited: Vec<_> = self.tenants.values().map(|tenant| (tenant.id, tenant.retention)).collect();
        for (tenant, retention) in limited.into_iter().filter(|(_, retention)| !retention.keeps_everything()) {
            let mut bytes = self.usage(tenant).total().bytes;
            let Some(history) = self.telemetry.get_mut(&tenant) else { continue };
            let from = retention.kept_from(now).map(|from| removed_before(held, tenant, from));
            let old: Vec<TelemetryCursor> = history
                .iter()
                .take_while(|(_, row)| from.is_some_and(|from| row.timestamp < from))
                .filter(|(_, row)| from.is_some_and(|from| row.ages_from() < from))
                .map(|(place, _)| *place)
                .collect();
            for place in old {
                if pruned.rows == STEP {
                    pruned.is_done = false;
                    return pruned;
                }
                bytes -= history.remove(&place).as_ref().map_or(0, bytes_of);
                pruned.rows += 1;
            }
            while retention.max_bytes.is_some_and(|most| bytes > most.get())
                && let Some(oldest) = history.first_entry()
            {
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

    pub(crate) fn expired(&self, tenant: TenantId, before: Timestamp) -> Expired {
        let rows = self.telemetry.get(&tenant).into_iter().flat_map(|history| history.values());
        rows.fold(Expired::default(), |sum, row| Expired {
            rows: sum.rows + u64::from(row.ages_from() < before),
            of: sum.of + 1,
        })
    }

    pub(crate) fn pruned_tenants(&self) -> Vec<PrunedTenant> {
        let limited = self.tenants.values().filter(|tenant| tenant.retention.max_age.is_some());
        let of = |tenant: &Tenant| PrunedTenant {
            id: tenant.id,
            retention: tenant.retention,
            to: self.pruned_to.get(&tenant.id).copied(),
        };
        limited.map(of).collect()
    }
}
