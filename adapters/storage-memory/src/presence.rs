//! What is heard of devices.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use pocket_domain::{
    DeviceConnection, DeviceEvent, DeviceEventCursor, DeviceEventId, DeviceEventKind, DeviceEventPage,
    DeviceEventQuery, DeviceId, NewDeviceEvent, NodeName, TenantId, Timestamp,
};
use pocket_ports::{DeviceActivity, PresenceRepository, StorageError};

use crate::Memory;
use crate::state::State;

/// What was heard of one device.
#[derive(Default)]
pub(crate) struct Heard {
    /// Nodes through which it is online, with the connection it opened last through each.
    nodes: BTreeMap<NodeName, DeviceConnection>,
    /// In the order in which they were recorded.
    events: VecDeque<DeviceEvent>,
    /// Events that were ever recorded.
    recorded: u64,
}

impl Heard {
    /// Through which nodes it is online.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &DeviceConnection)> {
        self.nodes.iter()
    }

    fn add(&mut self, event: NewDeviceEvent) {
        self.recorded += 1;
        self.events.push_back(DeviceEvent { id: DeviceEventId::from_number(self.recorded), event });
    }

    fn keep(&mut self, keep: u32) {
        let surplus = self.events.len().saturating_sub(keep as usize);
        self.events.drain(..surplus);
    }
}

impl State {
    fn record(&mut self, node: &NodeName, activity: &DeviceActivity, keep: u32) {
        let device = self.devices.get_mut(&activity.device_id);
        let Some(device) = device.filter(|device| device.tenant_id == activity.tenant_id) else { return };
        // `None` is less than every time.
        device.last_seen_at = device.last_seen_at.max(activity.seen_at);
        if let Some(rejection) = &activity.rejection {
            device.last_rejection = Some(rejection.clone());
        }
        let heard = self.heard.entry(activity.device_id).or_default();
        if let Some(connection) = &activity.connection {
            heard.nodes.insert(node.clone(), connection.clone());
            let known = device.connection.as_ref().map(|known| known.connected_at);
            if known <= Some(connection.connected_at) {
                device.connection = Some(connection.clone());
            }
        }
        if activity.offline {
            heard.nodes.remove(node);
        }
        device.online = !heard.nodes.is_empty();
        for event in &activity.events {
            heard.add(event.clone());
        }
        if activity.connection.is_some() || activity.offline || !activity.events.is_empty() {
            heard.keep(keep);
        }
    }
}

#[async_trait]
impl PresenceRepository for Memory {
    async fn record(&self, node: &NodeName, activity: &[DeviceActivity], keep: u32) -> Result<(), StorageError> {
        let mut state = self.state();
        for activity in activity {
            state.record(node, activity, keep);
        }
        Ok(())
    }

    async fn restart(&self, node: &NodeName, now: Timestamp, keep: u32) -> Result<(), StorageError> {
        let State { heard, devices, .. } = &mut *self.state();
        for (id, heard) in heard {
            let Some(connection) = heard.nodes.remove(node) else { continue };
            if let Some(device) = devices.get_mut(id) {
                device.online = !heard.nodes.is_empty();
            }
            if keep > 0 {
                let kind = DeviceEventKind::Disconnected(DeviceEventKind::BROKER_RESTART.into());
                heard.add(NewDeviceEvent { at: now, kind, peer: connection.peer });
                heard.keep(keep);
            }
        }
        Ok(())
    }

    async fn events(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &DeviceEventQuery,
    ) -> Result<DeviceEventPage, StorageError> {
        let state = self.state();
        let heard = state.device(tenant, device).and_then(|_| state.heard.get(&device));
        let place = |event: &DeviceEvent| DeviceEventCursor { at: event.event.at, id: event.id };
        let mut events: Vec<DeviceEvent> = heard
            .into_iter()
            .flat_map(|heard| &heard.events)
            .filter(|event| query.cursor.is_none_or(|cursor| place(event) < cursor))
            .cloned()
            .collect();
        events.sort_by_key(|event| Reverse(place(event)));
        Ok(DeviceEventPage::from_events(events, query.page_limit))
    }
}
