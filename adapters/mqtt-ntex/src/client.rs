//! An accepted connection, as its worker's table holds it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use ntex::io::IoRef;
use ntex::util::BytePages;
use pocket_application::ClientAccess;
use pocket_domain::{Peer, Timestamp};
use pocket_mqtt_core::{
    Account, Ack, Client as Owner, Closing, Connection, Disconnect, Packet, ProtocolVersion, Purse, ReasonCode, Reply,
    TenantIndex,
};
use tokio::sync::Notify;

use crate::pace::Pace;
use crate::presence::SharedRate;
use crate::retained::RetainedQueue;
use crate::subscriber::SubscriberId;
use crate::takeover::HandedOver;
use crate::tenant_quota::Seat;
use crate::wire::Wire;

/// Bytes that may wait for a socket without being counted: one that keeps up has no more.
const FREE_BUFFER: usize = 8 * 1_024;
/// Bytes that are taken at a time for what waits for a socket beyond that.
const BUFFER_STEP: usize = 16 * 1_024;

/// A client that is connected to this worker. Borrows of its cells never last across an `await`.
pub(crate) struct Client {
    pub(crate) id: SubscriberId,
    pub(crate) owner: Owner,
    pub(crate) io: IoRef,
    is_layered: bool,
    pub(crate) wire: Wire,
    pub(crate) connection: RefCell<Connection>,
    pub(crate) account: Arc<Account>,
    pub(crate) access: RefCell<ClientAccess>,
    pub(crate) index: Arc<TenantIndex<SubscriberId>>,
    /// What may wait for its socket.
    buffered: RefCell<Purse>,
    /// Retained messages that are on their way to it.
    pub(crate) retained: RefCell<Option<Box<RetainedQueue>>>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) last_packet: Cell<Instant>,
    pub(crate) pace: Pace,
    pub(crate) rate: SharedRate,
    /// The other end, as people are told of it.
    pub(crate) peer: Peer,
    /// The broker does not read from it at the moment.
    pub(crate) is_held: Cell<bool>,
    /// When the application was last told that the device was heard of.
    pub(crate) last_seen: Cell<Instant>,
    /// Something its task may wait for has happened: an acknowledgement left, or the connection is closing.
    pub(crate) changed: Notify,
    /// When it connected, in whole seconds since 1970: there are many connections.
    connected_at: u32,
    /// People ended its session, and it is closing.
    pub(crate) is_ended: Cell<bool>,
    /// Set when another connection of the same client took the session.
    pub(crate) handed_over: Cell<Option<HandedOver>>,
    closing: Cell<Option<Closing>>,
    /// While packets of a read are taken: what waits for storage and did not come with one of them.
    reading: RefCell<Option<Vec<Reply>>>,
    _seat: Seat,
}

/// What it takes to open a connection.
pub(crate) struct NewClient {
    pub(crate) io: IoRef,
    /// Whether something lies between its packets and the socket.
    pub(crate) is_layered: bool,
    pub(crate) wire: Wire,
    pub(crate) connection: Connection,
    pub(crate) account: Arc<Account>,
    pub(crate) access: ClientAccess,
    pub(crate) index: Arc<TenantIndex<SubscriberId>>,
    pub(crate) rate: SharedRate,
    pub(crate) peer: Peer,
    pub(crate) connected_at: Timestamp,
    pub(crate) seat: Seat,
}

/// What became of a packet that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way, or the connection is closing and it no longer matters.
    Yes,
    /// It is larger than the client accepts.
    TooLarge,
}

impl Client {
    /// When it connected, without the milliseconds.
    pub(crate) fn connected_at(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.connected_at) * 1_000).unwrap_or(Timestamp::MIN)
    }

    pub(crate) fn new(id: SubscriberId, new: NewClient) -> Self {
        let NewClient { io, is_layered, wire, connection, account, access, index, rate, peer, connected_at, seat } =
            new;
        let now = Instant::now();
        Self {
            id,
            owner: connection.client().clone(),
            io,
            is_layered,
            wire,
            maximum_packet_size: connection.maximum_packet_size(),
            connection: RefCell::new(connection),
            buffered: RefCell::new(Purse::of(&account)),
            account,
            access: RefCell::new(access),
            index,
            retained: RefCell::default(),
            last_packet: Cell::new(now),
            pace: Pace::new(now),
            rate,
            peer,
            connected_at: u32::try_from(connected_at.as_millis() / 1_000).unwrap_or_default(),
            is_ended: Cell::new(false),
            is_held: Cell::new(false),
            last_seen: Cell::new(now),
            changed: Notify::new(),
            handed_over: Cell::new(None),
            closing: Cell::new(None),
            reading: RefCell::new(None),
            _seat: seat,
        }
    }

    /// From now on, what its session notes belongs to the batch of a read.
    pub(crate) fn begin_read(&self) {
        self.reading.replace(Some(Vec::new()));
    }

    /// Leaves what the session noted, and replies that wait for it, to the batch of a read. Gives the replies back when
    /// nothing is being read.
    pub(crate) fn leave_to_read(&self, replies: Vec<Reply>) -> Option<Vec<Reply>> {
        match &mut *self.reading.borrow_mut() {
            Some(left) => {
                left.extend(replies);
                None
            }
            None => Some(replies),
        }
    }

    /// The read is over: the replies that were left to its batch.
    pub(crate) fn end_read(&self) -> Vec<Reply> {
        self.reading.take().unwrap_or_default()
    }

    /// Sends a packet.
    pub(crate) fn send(&self, packet: Packet<'_>) -> Sent {
        let Some(maximum) = self.maximum_packet_size else {
            self.write(|pages| self.wire.write(packet, pages));
            return Sent::Yes;
        };
        match self.wire.bytes(packet) {
            // [MQTT-3.1.2-24] never a packet that is larger than the client accepts
            Some(bytes) if bytes.len() > maximum as usize => Sent::TooLarge,
            Some(bytes) => {
                self.write(|pages| pages.append(bytes));
                Sent::Yes
            }
            None => Sent::Yes,
        }
    }

    /// Gives bytes to the socket; `None` when the connection is closing.
    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut BytePages) -> R) -> Option<R> {
        // [MQTT-3.14.4-2] nothing follows a DISCONNECT
        if self.closing.get().is_some() {
            return None;
        }
        let counted = |pages: &mut BytePages| {
            let before = pages.len();
            let result = write(pages);
            let bytes = pages.len() - before;
            self.pace.wrote(bytes);
            self.wire.traffic.sent(bytes);
            result
        };
        self.io.with_write_buf(counted).ok()
    }

    /// Sends an acknowledgement, without its words where they make it too large.
    pub(crate) fn send_ack(&self, packet: Packet<'static>) {
        let brief = self.maximum_packet_size.and_then(|_| match &packet {
            Packet::PublishAck(ack) => Some(Packet::PublishAck(Ack::with(ack.packet_id, ack.reason))),
            Packet::PublishReceived(ack) => Some(Packet::PublishReceived(Ack::with(ack.packet_id, ack.reason))),
            _ => None,
        });
        if self.send(packet) == Sent::TooLarge
            && let Some(brief) = brief
        {
            self.send(brief);
        }
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.io.with_write_buf(|pages| pages.len()).unwrap_or(0) + self.unsent_below()
    }

    /// Those of them that the lowest layer of its transport holds; over plain TCP there is no layer.
    pub(crate) fn unsent_below(&self) -> usize {
        if self.is_layered { self.io.with_write_dst_buf(|pages| pages.len()) } else { 0 }
    }

    /// Whether more messages may wait for its socket when so many bytes do already. What waits is taken from the account of the
    /// device, in steps.
    pub(crate) fn may_buffer(&self, unsent: usize, limit: usize) -> bool {
        let mut buffered = self.buffered.borrow_mut();
        unsent < limit && (unsent < FREE_BUFFER + buffered.used() || buffered.take(BUFFER_STEP))
    }

    /// Gives back what the socket has taken.
    pub(crate) fn trim(&self) {
        let unsent = self.unsent();
        let mut buffered = self.buffered.borrow_mut();
        let spare = buffered.used().saturating_sub(unsent.saturating_sub(FREE_BUFFER).next_multiple_of(BUFFER_STEP));
        buffered.give(spare);
        buffered.trim();
        drop(buffered);
        let mut connection = self.connection.borrow_mut();
        connection.purse().trim();
        connection.session().trim();
    }

    /// Closes the connection, for the first reason given.
    pub(crate) fn close(&self, closing: Closing) {
        if self.closing.get().is_some() {
            return;
        }
        if let Closing::ByServer(reason) = closing {
            self.send(disconnect(reason));
        }
        self.closing.set(Some(closing));
        if self.lingers() {
            self.io.notify_dispatcher();
        } else {
            self.io.close();
        }
        self.changed.notify_one();
    }

    /// Whether its socket stays open for a while: the client was told why it is closed, and is to read it. One that stops
    /// does not wait for its clients.
    pub(crate) fn lingers(&self) -> bool {
        let is_told = self.wire.version() == Some(ProtocolVersion::V5);
        is_told
            && matches!(self.closing.get(), Some(Closing::ByServer(reason)) if reason != ReasonCode::ServerShuttingDown)
    }

    /// Why the connection is closing, if it is.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closing.get()
    }
}

/// DISCONNECT from the server, which only 5.0 has.
pub(crate) fn disconnect(reason: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect { reason, session_expiry: None, reason_string: None })
}
