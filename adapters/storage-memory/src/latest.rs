//! What a device said last: all of its messages in order, the later value in place of the earlier.

use std::collections::BTreeMap;

use pocket_domain::{DeviceId, LatestValue, MAX_DEVICE_KEYS, TenantId};

use crate::state::State;

impl State {
    pub(crate) fn latest(&self, tenant: TenantId, device: DeviceId) -> Vec<LatestValue> {
        let mut values = BTreeMap::new();
        for row in self.messages(tenant, device) {
            for leaf in row.payload.leaves() {
                let (value, timestamp) = (leaf.value.json().into(), row.timestamp);
                values.insert(leaf.path.clone(), LatestValue { key: leaf.path, value, timestamp });
            }
        }
        values.into_values().take(MAX_DEVICE_KEYS).collect()
    }
}
