//! What a device said last: all of its messages in order, the later value in place of the earlier.

use std::collections::BTreeMap;

use pocket_domain::{DeviceId, LatestQuery, LatestValue, LatestValues, TenantId};

use crate::state::State;

impl State {
    pub(crate) fn latest(&self, tenant: TenantId, device: DeviceId, query: &LatestQuery) -> LatestValues {
        let mut values = BTreeMap::new();
        let is_wanted = |topic: &str| query.topic.as_ref().is_none_or(|filter| filter.matches(topic));
        for row in self.messages(tenant, device).filter(|row| is_wanted(row.topic.as_str())) {
            for leaf in row.payload.leaves() {
                let (key, topic, timestamp) = (leaf.path.clone(), row.topic.clone(), row.timestamp);
                let value = LatestValue { key, topic, value: leaf.value.json().into(), timestamp };
                values.insert((leaf.path, row.topic.clone()), (row.id.as_key(), value));
            }
        }
        LatestValues::newest(values.into_values().collect(), query.most)
    }
}
