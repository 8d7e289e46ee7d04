//! Messages on their last way: from this worker to its clients.

use std::sync::Arc;
use std::time::Instant;

use ntex::util::{BytePages, Bytes};
use pocket_domain::{TenantId, Timestamp};
use pocket_mqtt_core::{
    Ack, Delivery, GroupName, Match, Offer, OutgoingPacket, Own, Packet, Publish, QoS, Reply, StoredAs,
};
use pocket_ports::{BrokerChange, MessageRecord};

use crate::batch::Queued;
use crate::client::{Client, Sent};
use crate::fanout::{self, Fanout};
use crate::mailbox::{Letter, StoredAt};
use crate::records;
use crate::router::Remote;
use crate::stats::Tally;
use crate::subscriber::SubscriberId;
use crate::table::{Destination, Pending, Place};
use crate::worker::Worker;

type Found = Match<SubscriberId>;

/// What a message weighs at the most for which every session has room that is not full.
const SMALL: usize = 1_024;

impl Worker {
    /// Delivers a message to sessions of this worker; `group` is the one for which they were chosen, if they were, and
    /// `stored` how the deliveries are stored, if they are.
    pub(crate) fn deliver(
        &self,
        fanout: &Fanout<'_>,
        matches: &[Found],
        publisher: Option<SubscriberId>,
        group: Option<&GroupName>,
        stored: Option<StoredAt>,
    ) {
        let mut tally = Tally::default();
        let is_only_one = matches.len() == 1;
        for (place, found) in matches.iter().enumerate() {
            let stored = stored.map(|stored| stored.of(place));
            // [MQTT-3.8.3-3] to the publisher itself only what it wants of its own
            let wanted = if Some(found.subscriber) == publisher { found.of_own() } else { Some(found) };
            let Some(found) = wanted else { continue };
            let destination = self.table.borrow().destination(found.subscriber);
            match destination {
                Destination::Online(client)
                    if !self.may_receive(&client.owner, &client.access.borrow(), fanout.topic()) =>
                {
                    self.forget(fanout.tenant(), stored);
                }
                Destination::Online(client) if fanout.qos_for(found) > QoS::AtMostOnce => {
                    self.queue(&client, fanout, fanout.delivery(found, group, stored));
                }
                Destination::Online(client) => {
                    let bytes = if is_only_one { None } else { fanout.shared_bytes(&client, found) };
                    if self.send_plain(&client, fanout, found, bytes) {
                        tally.add(QoS::AtMostOnce, fanout.payload_len());
                    }
                }
                Destination::Waiting if fanout.qos_for(found) > QoS::AtMostOnce => {
                    self.keep(fanout, found.subscriber, fanout.delivery(found, group, stored));
                }
                Destination::Moved(to) => self.forward(fanout, found, to, group, stored),
                Destination::Waiting | Destination::Nobody => self.forget(fanout.tenant(), stored),
            }
        }
        self.counters().messages_out(&tally);
    }

    /// Queues a message of QoS 1 or 2 and sends what there is room for.
    fn queue(&self, client: &Client, fanout: &Fanout<'_>, delivery: Delivery) {
        let stored = delivery.stored;
        if client.connection.borrow_mut().session().offer(delivery) == Offer::Queued {
            self.send_queued(client, fanout.now());
        } else {
            client.pace.overflowed();
            self.counters().dropped_queue_full.add(1);
            self.forget(fanout.tenant(), stored);
        }
    }

    /// Keeps a message for a client that is away or just connecting.
    fn keep(&self, fanout: &Fanout<'_>, id: SubscriberId, delivery: Delivery) {
        if delivery.message.is_passing(fanout.now()) {
            return self.forget(fanout.tenant(), delivery.stored);
        }
        let limit = self.broker.limits.queued_messages;
        let stored = delivery.stored;
        let mut table = self.table.borrow_mut();
        let offer = match table.get_mut(id) {
            Some(Place::Offline(sleeper)) => {
                if !self.may_receive(&sleeper.owner, &sleeper.access, &delivery.message.topic) {
                    return self.forget(fanout.tenant(), stored);
                }
                let is_small = delivery.message.weight() <= SMALL;
                let offer = sleeper.session.offer(delivery);
                sleeper.session.trim();
                if offer == Offer::Dropped && is_small {
                    self.broker.full.insert(id, Instant::now());
                }
                offer
            }
            Some(Place::Opening(pending)) if pending.len() < limit => {
                pending.push(Pending::Delivery(delivery));
                Offer::Queued
            }
            _ => Offer::Dropped,
        };
        if offer == Offer::Dropped {
            self.counters().dropped_queue_full.add(1);
            self.forget(fanout.tenant(), stored);
        }
    }

    /// A stored delivery will not be made.
    pub(crate) fn forget(&self, tenant: TenantId, stored: Option<StoredAs>) {
        if let Some(stored) = stored {
            self.note(tenant, records::delivered(stored));
        }
    }

    /// Has a message stored for sessions of one worker, which get it by mail. `record` is the message, once it is made.
    pub(crate) fn queue_stored(
        &self,
        fanout: &Fanout<'_>,
        part: &Remote,
        group: Option<&GroupName>,
        publisher: Option<SubscriberId>,
        record: &mut Option<Arc<MessageRecord>>,
        queued: &mut Queued,
    ) {
        let differs = |found: &Found| found.own != Own::Same && Some(found.subscriber) == publisher;
        let matches = match part.matches.iter().find(|found| differs(found)) {
            Some(own) => {
                // [MQTT-3.8.3-3] to the publisher itself only what it wants of its own
                let wanted = own.of_own().cloned();
                let (stored, plain) = wanted.into_iter().partition(|own: &Found| own.qos > QoS::AtMostOnce);
                let plain: Vec<Found> = plain;
                self.deliver(fanout, &plain, None, None, None);
                part.matches.iter().filter(|found| !differs(found)).cloned().chain::<Vec<Found>>(stored).collect()
            }
            None => Arc::clone(&part.matches),
        };
        // One of a group is chosen because it may have room.
        let matches = if group.is_none() { self.with_room(matches) } else { matches };
        if matches.is_empty() {
            return;
        }
        let keys = &self.broker.keys;
        let record = record.get_or_insert_with(|| Arc::new(records::message_record(keys.take(1), fanout.message())));
        let stored = StoredAt { message: record.key, first: keys.take(matches.len()) };
        let delivery = |(place, found): (usize, &Found)| {
            let delivery = fanout.delivery(found, group, Some(stored.of(place)));
            records::delivery_record(found.subscriber.session?, &delivery)
        };
        let deliveries = matches.iter().enumerate().filter_map(delivery).collect();
        queued.changes.push(BrokerChange::Queued(Arc::clone(record), deliveries));
        let (message, group) = (Arc::clone(fanout.message()), group.cloned());
        let (tenant, stored) = (fanout.tenant(), Some(stored));
        queued.letters.push((part.worker, Letter::Deliver { tenant, message, matches, group, stored }));
    }

    /// Without sessions that just had no room, for which the message is dropped.
    fn with_room(&self, matches: Arc<[Found]>) -> Arc<[Found]> {
        let Some(full) = self.broker.full.among(matches.iter().map(|found| found.subscriber)) else { return matches };
        let dropped = full.iter().filter(|is_full| **is_full).count();
        self.counters().dropped_queue_full.add(dropped as u64);
        matches.iter().zip(full).filter(|(_, is_full)| !is_full).map(|(found, _)| found.clone()).collect()
    }

    /// Sends a message after a session that went on elsewhere.
    fn forward(
        &self,
        fanout: &Fanout<'_>,
        found: &Found,
        to: SubscriberId,
        group: Option<&GroupName>,
        stored: Option<StoredAs>,
    ) {
        let matches = Arc::new([Match { subscriber: to, ..found.clone() }]);
        let stored = stored.map(|stored| StoredAt { message: stored.message, first: stored.delivery });
        let (tenant, message, group) = (fanout.tenant(), Arc::clone(fanout.message()), group.cloned());
        let letter = Letter::Deliver { tenant, message, matches, group, stored };
        self.broker.mailboxes[usize::from(to.worker)].post(letter);
    }

    /// Sends a message of QoS 0, unless the client's socket does not keep up; `bytes` is the packet where others share it.
    fn send_plain(&self, client: &Client, fanout: &Fanout<'_>, found: &Found, bytes: Option<Bytes>) -> bool {
        let limit = self.broker.limits.unsent_bytes;
        // What is shared goes out as it is: an alias would need a packet of its own for each subscriber.
        let is_aliased = bytes.is_none() && client.connection.borrow_mut().outgoing_aliases().is_offered();
        if client.maximum_packet_size.is_some() || is_aliased {
            let has_room = client.may_buffer(client.unsent(), limit);
            let sent = has_room.then(|| send_alone(client, fanout.plain_for(found)));
            match sent {
                Some(Sent::Yes) => return true,
                Some(Sent::TooLarge) => self.counters().dropped_too_large.add(1),
                None => self.counters().dropped_unsent.add(1),
            }
            return false;
        }
        let below = client.unsent_below();
        let write = |pages: &mut BytePages| {
            let has_room = client.may_buffer(pages.len() + below, limit);
            match bytes {
                _ if !has_room => {}
                Some(bytes) => pages.append(bytes),
                None => drop(client.wire.write(Packet::Publish(fanout.plain_for(found)), pages)),
            }
            has_room
        };
        match client.write(write) {
            Some(true) => true,
            Some(false) => {
                self.counters().dropped_unsent.add(1);
                false
            }
            // The connection is closing.
            None => false,
        }
    }

    /// Sends what is queued for a client, as far as its window and its socket have room.
    pub(crate) fn send_queued(&self, client: &Client, now: Timestamp) {
        let mut tally = Tally::default();
        let mut recorded = Vec::new();
        let is_ruled = client.access.borrow().rules.is_some();
        while client.closing().is_none() {
            // While an acknowledgement is to come, the packet that brings it is the next chance.
            let is_waited_for = !client.connection.borrow_mut().session().is_idle();
            if is_waited_for && !client.may_buffer(client.unsent(), self.broker.limits.unsent_bytes) {
                break;
            }
            let Some(next) = client.connection.borrow_mut().session().next(now) else { break };
            let (packet_id, delivery, dup) = match next {
                OutgoingPacket::Publish { packet_id, delivery, dup } => (packet_id, delivery, dup),
                OutgoingPacket::Release(packet_id) => {
                    client.send(Packet::PublishRelease(Ack::success(packet_id)));
                    continue;
                }
                OutgoingPacket::Record(packet_id) => {
                    recorded.push(Reply::Recorded(packet_id));
                    continue;
                }
            };
            // What was queued before a rule came is not sent. What was sent before is a delivery that has begun.
            if is_ruled && !dup && !self.may_receive(&client.owner, &client.access.borrow(), &delivery.message.topic) {
                client.connection.borrow_mut().session().discard(packet_id);
                continue;
            }
            let publish = Publish {
                dup,
                qos: delivery.qos,
                retain: delivery.retain,
                packet_id: Some(packet_id),
                subscription_ids: &delivery.identifiers,
                ..fanout::publish(&delivery.message, now)
            };
            match send_alone(client, publish) {
                Sent::Yes => tally.add(delivery.qos, delivery.message.payload.len()),
                Sent::TooLarge => {
                    // [MQTT-3.1.2-25] as if it had been delivered
                    client.connection.borrow_mut().session().discard(packet_id);
                    self.counters().dropped_too_large.add(1);
                }
            }
        }
        self.counters().messages_out(&tally);
        self.note_session(client, recorded);
    }
}

/// Sends a message to one client, with an alias for its topic where the client accepts one.
fn send_alone(client: &Client, publish: Publish<'_>) -> Sent {
    let aliased = client.connection.borrow_mut().outgoing_aliases().apply(publish.clone());
    let (topic, alias) = (aliased.topic, aliased.topic_alias);
    let sent = client.send(Packet::Publish(aliased));
    if sent == Sent::TooLarge && alias.is_some() && !topic.is_empty() {
        // Without the new alias it may just fit.
        return client.send(Packet::Publish(publish));
    }
    if sent == Sent::Yes {
        client.connection.borrow_mut().outgoing_aliases().was_sent(topic, alias);
    }
    sent
}
