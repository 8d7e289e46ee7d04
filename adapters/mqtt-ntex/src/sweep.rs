//! What happens by the clock: silent and slow clients, access and sessions that are over, wills that are due, and word of those
//! that are alive.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ntex::time::{Millis, sleep};
use pocket_domain::Excerpt;
use pocket_mqtt_core::{Closing, ReasonCode};

use crate::client::Client;
use crate::table::Place;
use crate::takeover::FORWARD_FOR;
use crate::worker::Worker;

/// How often all clients of a worker are looked at.
const PERIOD: Millis = Millis(500);
/// How often the application is told that a device was heard of.
const SEEN_PERIOD: Duration = Duration::from_secs(5);

impl Worker {
    /// Looks at all clients, again and again.
    pub(crate) async fn sweep(self: Rc<Self>) {
        loop {
            sleep(PERIOD).await;
            let now = Instant::now();
            let today = self.broker.gateway.now();
            let clients = self.table.borrow().clients();
            for client in clients {
                self.counters().traffic(&client.wire.traffic);
                if client.closing().is_none() {
                    self.end_if_silent(&client, now);
                    self.end_if_over(&client, today);
                    self.end_if_behind(&client, now);
                    self.report_if_heard(&client, now);
                    client.trim();
                }
            }
            self.look_after_sleepers(now);
            self.forget_moved(now);
            self.broker.full.forget_old(now);
            self.tell_of_limits(now);
            self.run_errands();
        }
    }

    /// Ends sessions whose clients did not come back in time, and publishes wills that are due.
    fn look_after_sleepers(&self, now: Instant) {
        let (mut over, mut due) = (Vec::new(), Vec::new());
        for (id, sleeper) in self.table.borrow_mut().sleepers_mut() {
            if sleeper.ends_at <= now {
                over.push(id);
            } else if let Some((will, _)) = sleeper.will.take_if(|(_, due)| *due <= now) {
                self.note_sleeper(sleeper);
                due.push((id, sleeper.owner.clone(), sleeper.access.clone(), Arc::clone(&sleeper.index), will));
            }
        }
        self.counters().sessions_expired.add(over.len() as u64);
        for id in over {
            self.end_sleeper(id);
        }
        for (id, owner, access, index, will) in due {
            self.publish_will(id, &owner, &access, &index, will);
        }
    }

    /// Frees the slots of sessions that went on elsewhere.
    fn forget_moved(&self, now: Instant) {
        let is_old =
            |place: &Place| matches!(place, Place::Moved(_, at) if now.saturating_duration_since(*at) > FORWARD_FOR);
        let mut table = self.table.borrow_mut();
        for id in table.ids(is_old) {
            table.remove(id);
        }
    }

    fn end_if_silent(&self, client: &Client, now: Instant) {
        if !client.is_held.get() && client.connection.borrow().keep_alive().is_over(client.last_packet.get(), now) {
            self.counters().keep_alive_timeouts.add(1);
            client.close(Closing::ByServer(ReasonCode::KeepAliveTimeout));
        }
    }

    fn end_if_behind(&self, client: &Client, now: Instant) {
        let limit = Duration::from_secs(self.broker.limits.slow_consumer_seconds.into());
        let has_recovered = client.connection.borrow_mut().session().is_queue_half_empty();
        if client.pace.is_behind(client.unsent(), has_recovered, now, limit) && !limit.is_zero() {
            tracing::info!(principal = %client.owner.principal, client = %Excerpt(client.owner.client_id.as_str()), "slow consumer disconnected");
            self.counters().slow_consumers.add(1);
            client.close(Closing::ByServer(ReasonCode::QuotaExceeded));
        }
    }

    fn report_if_heard(&self, client: &Client, now: Instant) {
        let last_seen = client.last_seen.get();
        if client.last_packet.get() > last_seen && now.saturating_duration_since(last_seen) >= SEEN_PERIOD {
            client.last_seen.set(now);
            self.broker.gateway.seen(&client.access.borrow());
        }
    }
}
