//! The task of one connection: read, decode all that came, act, hand over, read again.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ntex::io::RecvError;
use ntex::time::{Millis, sleep};
use ntex::util::{Either, select};
use pocket_application::{RefusalKind, RefusedMessage};
use pocket_domain::{Excerpt, TopicName};
use pocket_mqtt_core::{
    Action, Closing, Inbound, NewSubscription, Packet, ReasonCode, Reply, SubscribeAck, Subscription, TopicCache,
    UnsubscribeAck,
};

use crate::batch::{Batch, Unsubmitted};
use crate::client::Client;
use crate::fanout::Fanout;
use crate::linger::linger;
use crate::listeners::Arrival;
use crate::router::Routes;
use crate::turn::Turn;
use crate::wire::Frame;
use crate::worker::{Publisher, Worker};
use crate::{Io, echo, handshake, reason};

/// Why a payload that is said to be UTF-8 is refused.
const NOT_UTF8: &str = "payload is not UTF-8, as its format indicator says";

/// Nodes of the tenant's filters that every message may visit. The work beyond is charged to whoever publishes.
const FREE_NODES: usize = 64;
/// The largest number of receivers of a topic that a connection remembers.
const MOST_REMEMBERED: usize = 128;

/// Serves a connection until it is closed.
pub(crate) async fn serve(worker: Rc<Worker>, io: Io, arrival: Arrival) {
    let mut lingers = false;
    // In a box, so that the connection does not keep the room that its beginning takes.
    if let Some(client) = Box::pin(handshake::open(&worker, &io, arrival)).await {
        let mut connection = Connection {
            worker: &worker,
            client: &client,
            topics: TopicCache::default(),
            pause: Duration::ZERO,
            turn: Turn::default(),
            is_flushing: false,
        };
        connection.run(&io).await;
        worker.go_offline(&client);
        worker.counters().traffic(&client.wire.traffic);
        worker.broker.presence.closed(&client, &worker.broker.gateway);
        lingers = client.lingers();
    }
    if lingers {
        Box::pin(linger(&io)).await;
    }
    // Sends what is still in the buffer, as long as the disconnect timeout of the socket allows.
    let _ = Box::pin(io.shutdown()).await;
}

struct Connection<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Rc<Client>,
    topics: TopicCache<Rc<Routes>>,
    /// How long the device is to be held back because it publishes too fast.
    pause: Duration,
    turn: Turn,
    /// The client has to take some of what waits for it before more is read.
    is_flushing: bool,
}

impl Connection<'_> {
    async fn run(&mut self, io: &Io) {
        while self.client.closing().is_none() {
            let first = match poll_fn(|cx| self.poll_receive(io, cx)).await {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(Either::Right(_)) => return,
                Err(Either::Left(reason)) => return self.fail(reason),
            };
            let (mut mail_is_full, unsubmitted) = self.handle(io, first);
            // As long as nothing is read for reasons of the broker, a client's silence is not its own.
            self.client.is_held.set(true);
            if let Some(unsubmitted) = unsubmitted {
                // In a box: each connection would keep the room for what few have to wait for.
                mail_is_full |= Box::pin(unsubmitted.submit(self.worker, self.client)).await;
            }
            if mail_is_full {
                Box::pin(self.worker.mail_room(self.client.owner.tenant_id)).await;
            }
            self.wait_for_acknowledgements().await;
            self.wait_for_rate().await;
            self.turn.end().await;
            self.client.is_held.set(false);
            self.client.last_packet.set(Instant::now());
        }
    }

    /// The next packet; `None` when the connection is closing, or closed.
    ///
    /// `Io::recv` would do, but each connection would keep the room that a packet takes in it.
    fn poll_receive(
        &mut self,
        io: &Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Either<ReasonCode, std::io::Error>>> {
        loop {
            if self.client.closing().is_some() {
                return Poll::Ready(Ok(None));
            }
            if self.is_flushing {
                // Nothing is read while the client takes too little of what it is sent.
                ready!(io.poll_flush(cx, false)).map_err(Either::Right)?;
                self.is_flushing = false;
            }
            return Poll::Ready(match ready!(io.poll_recv(&self.client.wire, cx)) {
                Ok(frame) => Ok(Some(frame)),
                Err(RecvError::WriteBackpressure) => {
                    self.is_flushing = true;
                    continue;
                }
                Err(RecvError::Decoder(reason)) => Err(Either::Left(reason)),
                Err(RecvError::KeepAlive) => Err(Either::Right(std::io::ErrorKind::TimedOut.into())),
                Err(RecvError::PeerGone(Some(error))) => Err(Either::Right(error)),
                Err(RecvError::PeerGone(None)) => Ok(None),
            });
        }
    }

    /// Acts upon the first packet of a read and all that came with it. Tells whether a mailbox is full, and gives back what there
    /// was no room for.
    fn handle(&mut self, io: &Io, first: Frame) -> (bool, Option<Box<Unsubmitted>>) {
        let mut batch = Batch::new(&self.worker.broker.gateway);
        self.client.begin_read();
        self.take_all(io, first, &mut batch);
        self.worker.counters().messages_in(&batch.tally);
        let mail_is_full = self.worker.send_mail();
        match batch.submit(self.worker, self.client) {
            Ok(is_full) => (mail_is_full | is_full, None),
            Err(unsubmitted) => (mail_is_full, Some(unsubmitted)),
        }
    }

    /// Takes the first packet of a read and all that came with it, or as much as the device may publish now.
    fn take_all(&mut self, io: &Io, first: Frame, batch: &mut Batch) {
        let mut next = Ok(Some(first));
        while let Ok(Some(frame)) = &next {
            self.take(frame, batch);
            if self.client.closing().is_some() || !self.pause.is_zero() || self.turn.is_over() {
                return;
            }
            next = io.decode(&self.client.wire);
        }
        if let Err(reason) = next {
            self.fail(reason);
        }
    }

    fn take(&mut self, frame: &Frame, batch: &mut Batch) {
        self.turn.packet();
        let Some(mut packet) = frame.packet() else { return self.fail(ReasonCode::UnspecifiedError) };
        if let Packet::Subscribe(subscribe) = &mut packet
            && self.client.wire.is_bridge()
        {
            // What 5.0 can ask for, and a bridge of 3.1.1 counts on: its own messages do not come back, and retained ones stay so.
            for request in subscribe.requests.iter_mut().filter(|request| !request.filter.starts_with("$share/")) {
                (request.options.no_local, request.options.retain_as_published) = (true, true);
            }
        }
        let action = {
            let access = self.client.access.borrow();
            let authorizer = self.worker.broker.authorizer(&access);
            self.client.connection.borrow_mut().on_packet(packet, &self.topics, &authorizer)
        };
        if matches!(action, Action::Publish(_) | Action::Refuse(_) | Action::Drop(_)) {
            self.pause = self.client.rate.take();
        }
        match action {
            Action::None => {}
            Action::Send(packet) => {
                self.client.send(packet);
            }
            Action::Hold(reply) => batch.hold(reply),
            Action::Publish(inbound) => self.publish(&inbound, batch),
            Action::Refuse(inbound) => self.refuse_topic(&inbound, batch),
            Action::Drop(acknowledgement) => batch.refuse(acknowledgement),
            Action::Subscribe(granted, ack) => self.subscribe(granted, ack, batch),
            Action::Unsubscribe(removed, ack) => self.unsubscribe(&removed, ack, batch),
            Action::Resume(packet) => {
                if let Some(packet) = packet {
                    self.client.send(packet);
                }
                self.worker.send_queued(self.client, batch.now);
            }
            Action::Close(Closing::ByServer(reason)) => self.fail(reason),
            Action::Close(Closing::Silently(reason)) => self.end(Closing::Silently(reason), reason),
            Action::Close(closing) => self.client.close(closing),
        }
    }

    fn publish(&mut self, inbound: &Inbound<'_>, batch: &mut Batch) {
        let (worker, client) = (self.worker, self.client);
        batch.tally.add(inbound.qos, inbound.payload.len());
        self.turn.payload(inbound.payload.len());
        let gateway = &worker.broker.gateway;
        if inbound.is_misdeclared() {
            let refused = refused(inbound, RefusalKind::NotUtf8, NOT_UTF8);
            gateway.note_refusal(&client.access.borrow(), &refused, batch.received_at);
            worker.counters().rejected.add(1);
            return batch.refuse(inbound.refusal(ReasonCode::PayloadFormatInvalid, Some(NOT_UTF8.into())));
        }
        if inbound.topic.levels().count() > worker.broker.limits.topic_levels {
            let words = format!("a topic may have at most {} levels", worker.broker.limits.topic_levels);
            let refused = refused(inbound, RefusalKind::Topic, &words);
            gateway.note_refusal(&client.access.borrow(), &refused, batch.received_at);
            worker.counters().rejected.add(1);
            return batch.refuse(inbound.refusal(ReasonCode::TopicNameInvalid, Some(words.into())));
        }
        let access = client.access.borrow();
        if echo::was_here(gateway, &access, inbound) {
            return batch.refuse(inbound.acknowledgement(None));
        }
        let accepted = gateway.accept(&access, &inbound.topic, inbound.payload, inbound.retain, batch.received_at);
        drop(access);
        match accepted {
            Ok(telemetry) => {
                batch.accept(inbound, telemetry);
                self.route(inbound, batch);
            }
            Err(error) => {
                worker.counters().rejected.add(1);
                batch.refuse(inbound.refusal(reason::of_payload(&error), Some(error.to_string().into())));
            }
        }
    }

    /// The client may not publish there.
    fn refuse_topic(&self, inbound: &Inbound<'_>, batch: &mut Batch) {
        let (kind, reason) = match inbound.topic.is_system() {
            true => (RefusalKind::ReservedTopic, "topics that begin with $ belong to the broker"),
            false => (RefusalKind::Topic, "the topic is not allowed"),
        };
        self.worker.counters().denied.add(1);
        let gateway = &self.worker.broker.gateway;
        gateway.note_refusal(&self.client.access.borrow(), &refused(inbound, kind, reason), batch.received_at);
        // [MQTT-3.3.5-2] of 3.1.1: acknowledged as if all were well, its codec sends no reason
        batch.refuse(inbound.refusal(ReasonCode::NotAuthorized, None));
    }

    fn route(&mut self, inbound: &Inbound<'_>, batch: &mut Batch) {
        let (worker, client) = (self.worker, self.client);
        let fanout = Fanout::of_inbound(self.client.owner.tenant_id, inbound, batch.now);
        if inbound.retain {
            let publisher = Publisher::Client(&client.owner, &client.account);
            if !worker.retain(&client.index, publisher, fanout.message(), &mut batch.queued) {
                let reason = worker.broker.why_retained_is_full(client.owner.tenant_id, &client.index);
                let refused = refused(inbound, RefusalKind::RetainedFull, &reason);
                worker.broker.gateway.note_refusal(&client.access.borrow(), &refused, batch.received_at);
            }
        }
        let routes = self.routes(&inbound.topic);
        self.turn.deliveries(routes.count);
        worker.route(&fanout, &routes, client.id, &mut batch.queued);
    }

    /// Who gets the messages on a topic. What is remembered of it is taken from the account of the device; large results are
    /// looked up each time, which costs less than sending the message to all of them.
    fn routes(&mut self, topic: &TopicName) -> Rc<Routes> {
        let (client, worker) = (self.client, self.worker);
        if let Some((_, routes)) = self.topics.get(topic.as_str(), client.index.generation()) {
            return Rc::clone(routes);
        }
        let (generation, routes) = Routes::find(&client.index, topic, worker.number);
        let visited = routes.visited;
        if visited > FREE_NODES {
            let pause = client.rate.take_matching(visited - FREE_NODES);
            if !pause.is_zero() {
                worker.counters().held_for_matching.add(1);
            }
            self.pause = self.pause.max(pause);
            self.turn.visited(visited);
        }
        let routes = Rc::new(routes);
        if routes.count <= MOST_REMEMBERED {
            let weight = routes.weight() + topic.as_str().len();
            let mut connection = client.connection.borrow_mut();
            if connection.purse().take(weight) {
                let before = self.topics.put(topic.clone(), generation, Rc::clone(&routes));
                let freed = before.map_or(0, |(topic, routes)| routes.weight() + topic.as_str().len());
                connection.purse().give(freed);
            }
        }
        routes
    }

    fn subscribe(&self, mut granted: Vec<NewSubscription>, mut ack: SubscribeAck, batch: &mut Batch) {
        let (client, match_nodes) = (self.client, self.worker.broker.limits.match_nodes);
        let mut reasons = ack.reasons.iter_mut().filter(|reason| !reason.is_error());
        granted.retain(|new| {
            let reason = reasons.next();
            let is_in = client.index.try_subscribe(client.id, &new.subscription, match_nodes).is_ok();
            if !is_in {
                self.worker.counters().filters_refused.add(1);
                client.connection.borrow_mut().session().take_back(&new.subscription);
                reason.into_iter().for_each(|reason| *reason = ReasonCode::QuotaExceeded);
            }
            is_in
        });
        let denied = ack.reasons.iter().filter(|reason| **reason == ReasonCode::NotAuthorized).count();
        self.worker.counters().denied.add(denied as u64);
        if self.client.id.session.is_some() {
            return batch.hold(Reply::Subscribed(granted, ack));
        }
        self.client.send(Packet::SubscribeAck(ack));
        self.worker.send_retained(self.client, &granted);
    }

    fn unsubscribe(&self, removed: &[Subscription], ack: UnsubscribeAck, batch: &mut Batch) {
        for subscription in removed {
            self.client.index.unsubscribe(self.client.id, subscription);
        }
        if self.client.id.session.is_some() {
            return batch.hold(Reply::Send(Packet::UnsubscribeAck(ack)));
        }
        self.client.send(Packet::UnsubscribeAck(ack));
    }

    /// Waits while a client of 3.1.1, which cannot be told a receive maximum, is too far ahead.
    async fn wait_for_acknowledgements(&self) {
        while self.client.closing().is_none() && self.client.connection.borrow().is_at_receive_maximum() {
            self.client.changed.notified().await;
        }
    }

    /// Waits while the device published too fast. What it sends meanwhile stays in its socket.
    async fn wait_for_rate(&mut self) {
        let pause = std::mem::take(&mut self.pause);
        if pause.is_zero() {
            return;
        }
        self.worker.counters().held_for_rate.add(1);
        let closing = async {
            while self.client.closing().is_none() {
                self.client.changed.notified().await;
            }
        };
        let millis = u32::try_from(pause.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        Box::pin(select(sleep(Millis(millis)), closing)).await;
    }

    /// Notes a message that was too large to be read, as far as it was seen.
    fn note_oversized(&self) {
        let Some(oversized) = self.client.wire.take_oversized() else { return };
        let Ok(topic) = TopicName::parse(&oversized.topic) else { return };
        let (bytes, limit) = (oversized.bytes, self.worker.broker.limits.packet_bytes);
        let reason = format!(
            "packet of {bytes} bytes is larger than the {limit} allowed, which are a retained payload and 8 KiB; the connection was closed"
        );
        let payload = &*oversized.beginning;
        let refused = RefusedMessage { kind: RefusalKind::PacketSize, topic: &topic, payload, bytes, reason: &reason };
        let gateway = &self.worker.broker.gateway;
        gateway.note_refusal(&self.client.access.borrow(), &refused, gateway.now());
    }

    /// Closes because of what the client sent.
    fn fail(&self, reason: ReasonCode) {
        if reason == ReasonCode::PacketTooLarge {
            self.note_oversized();
        }
        self.end(Closing::ByServer(reason), reason);
    }

    fn end(&self, closing: Closing, reason: ReasonCode) {
        self.worker.counters().protocol_errors.add(1);
        tracing::debug!(principal = %self.client.owner.principal, client = %Excerpt(self.client.owner.client_id.as_str()), ?reason, "connection closed");
        self.client.close(closing);
    }
}

/// A message of a client as the application is told of its refusal.
fn refused<'a>(inbound: &'a Inbound<'_>, kind: RefusalKind, reason: &'a str) -> RefusedMessage<'a> {
    let (topic, payload) = (&inbound.topic, inbound.payload);
    RefusedMessage { kind, topic, payload, bytes: payload.len(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_takes_little_memory_of_the_broker_while_it_waits() {
        let (task, client) = (size_of_future(serve), size_of::<Client>());
        assert!(task <= 400 && client <= 1_416, "{task} and {client} bytes");
    }
}
