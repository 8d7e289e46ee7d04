//! From an accepted socket to an accepted client: CONNECT, credentials, take-over, CONNACK.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ntex::time::timeout;
use ntex::util::{Either, select};
use pocket_application::{ClientAccess, ClientCredentials};
use pocket_domain::DeviceToken;
use pocket_mqtt_core::{
    Account, Client as Owner, Closing, Connect, ConnectAck, Handshake, Level, Opened, Packet, ProtocolVersion,
    ReasonCode, Refusal,
};

use crate::client::{Client, NewClient, Sent};
use crate::listeners::Arrival;
use crate::pending::{SMALL_CONNECT, Ticket};
use crate::subscriber::SubscriberId;
use crate::tenant_quota::Seat;
use crate::wire::Wire;
use crate::worker::Worker;
use crate::{Io, listeners, presence, reason};

/// Errands of a tenant that may wait at a worker before its clients have to wait for their CONNACK: each connection may leave
/// some, and a client may connect again and again.
const MOST_ERRANDS: usize = 1_000;

/// Reads CONNECT and answers it; `None` when the client was refused.
pub(crate) async fn open(worker: &Rc<Worker>, io: &Io, arrival: Arrival) -> Option<Rc<Client>> {
    let wire = Wire::new(&worker.broker.limits);
    let mut maximum = None;
    let mut who = String::new();
    let Arrival { deadline, is_layered, ticket } = arrival;
    let accepted = match read_connect(io, &wire, deadline, ticket).await {
        Ok(connect) => {
            maximum = connect.maximum_packet_size;
            who = shown_by(&connect);
            authenticate(worker, io, connect).await
        }
        Err(refusal) => Err(refusal),
    };
    let opened = match accepted {
        Ok(authenticated) => begin_session(worker, authenticated).await,
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok(begun) => Some(accept(worker, io, wire, begun, is_layered)),
        Err(refusal) => {
            refuse(worker, io, &wire, &refusal, maximum);
            if let Some(kind) = reason::refusal_kind(&refusal) {
                let detail = || format!("{}{who}", refusal.explanation);
                worker.broker.gateway.note_refused_connection(listeners::source(io), kind, detail);
            }
            worker.counters().traffic(&wire.traffic);
            None
        }
    }
}

/// A client that proved who it is.
struct Authenticated {
    handshake: Handshake,
    owner: Owner,
    account: Arc<Account>,
    access: ClientAccess,
    seat: Seat,
    /// How often access had changed before the credentials were checked.
    access_changes: u64,
}

/// A client that has its session.
struct Begun {
    opened: Opened,
    id: SubscriberId,
    account: Arc<Account>,
    access: ClientAccess,
    seat: Seat,
    access_changes: u64,
}

async fn read_connect(io: &Io, wire: &Wire, deadline: Instant, ticket: Rc<Ticket>) -> Result<Connect, Refusal> {
    let room = Rc::clone(&ticket);
    wire.ask_for_room(Some(Box::new(move |bytes| bytes <= SMALL_CONNECT || room.has_room_for(bytes))));
    let received = select(timeout(listeners::patience(deadline), io.recv(wire)), ticket.has_to_leave()).await;
    wire.ask_for_room(None);
    let Either::Left(received) = received else {
        return Err(Refusal::new(ReasonCode::ServerBusy, "closed to make room for another connection"));
    };
    let frame = match received {
        Err(()) => return Err(Refusal::new(ReasonCode::KeepAliveTimeout, "no CONNECT in time")),
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None) | Err(Either::Right(_))) => {
            return Err(Refusal::new(ReasonCode::UnspecifiedError, "the connection broke before CONNECT"));
        }
        Ok(Err(Either::Left(reason))) => return Err(Refusal::new(reason, "the CONNECT packet is not acceptable")),
    };
    match frame.packet() {
        Some(Packet::Connect(connect)) => Ok(*connect),
        _ => Err(Refusal::new(ReasonCode::ProtocolError, "the first packet is not CONNECT")),
    }
}

/// Who a client says that it is, for the log. A user name that may be a secret is not shown: a token, or one without a password
/// beside it, which was to be the proof.
fn shown_by(connect: &Connect) -> String {
    let has_password = connect.password.as_ref().is_some_and(|password| !password.is_empty());
    let is_plain = |name: &&String| has_password && !name.is_empty() && DeviceToken::parse(name).is_err();
    let client_id = &connect.client_id;
    match connect.username.as_ref().filter(is_plain) {
        Some(username) => format!(" (client id {client_id:.64?}, user name {username:.64?})"),
        None => format!(" (client id {client_id:.64?})"),
    }
}

async fn authenticate(worker: &Worker, io: &Io, connect: Connect) -> Result<Authenticated, Refusal> {
    if worker.broker.is_stopping() {
        // Of the two codes that fit, CONNACK has this one.
        return Err(Refusal::new(ReasonCode::ServerUnavailable, "the platform is stopping"));
    }
    let handshake = Handshake::begin(connect, worker.broker.random())?;
    let levels = worker.broker.limits.topic_levels;
    if handshake.will().is_some_and(|will| will.message.topic.levels().count() > levels) {
        return Err(Refusal::new(ReasonCode::TopicNameInvalid, "the topic of the will has too many levels"));
    }
    if let Some(will) = handshake.will()
        && worker.broker.gateway.check_size(&will.message.payload).is_err()
    {
        return Err(Refusal::new(ReasonCode::PacketTooLarge, "the will is larger than a message may be"));
    }
    let access_changes = worker.access_changes();
    let credentials = ClientCredentials {
        username: handshake.username(),
        password: handshake.password(),
        source: listeners::source(io),
    };
    let access = worker.broker.gateway.connect(credentials).await.map_err(|denied| reason::of_access(&denied))?;
    let owner = handshake.client(access.tenant_id, access.principal);
    handshake.authorize(&owner, &worker.broker.authorizer(&access))?;
    let account = worker.broker.account(&owner);
    let seat = worker.broker.tenant_quota.admit(&owner, &account).map_err(|level| {
        let words = match level {
            Level::Principal => "too many connections of the device",
            Level::Tenant => "too many connections of the tenant",
            Level::Process => "too many connections",
        };
        Refusal::new(ReasonCode::QuotaExceeded, words)
    })?;
    if worker.errands.borrow().count(access.tenant_id) > MOST_ERRANDS {
        worker.broker.gateway.room(Some(access.tenant_id)).await;
    }
    Ok(Authenticated { handshake, owner, account, access, seat, access_changes })
}

/// Takes the session that the client left, or begins one, with a place of its own when it is to outlive the connection.
async fn begin_session(worker: &Rc<Worker>, authenticated: Authenticated) -> Result<Begun, Refusal> {
    let broker = &worker.broker;
    let Authenticated { handshake, owner, account, access, seat, access_changes } = authenticated;
    let id = worker.table.borrow_mut().open(worker.number, broker.next_serial());
    let left = worker.take_over(&owner, id, !handshake.clean_start()).await;
    let version = handshake.version();
    let mut opened = handshake.open(owner.clone(), left, &broker.limits);
    opened.connection.charge_to(&account);
    let is_kept = opened.connection.session_expiry().is_zero() || has_place(worker, &owner, &mut opened).await;
    let will = opened.connection.will().cloned();
    let refused = if !is_kept && version == ProtocolVersion::V311 {
        Some("the limit of persistent sessions is reached; connect with a clean session")
    } else if !opened.connection.session().keep_will(will.as_ref()) {
        Some("there is no room for the will")
    } else {
        None
    };
    if let Some(words) = refused {
        worker.abandon(&owner, id, &mut opened.connection);
        return Err(Refusal::new(ReasonCode::QuotaExceeded, words));
    }
    if !is_kept {
        worker.counters().sessions_not_kept.add(1);
        opened.refuse_to_keep_session();
    }
    Ok(Begun { opened, id, account, access, seat, access_changes })
}

/// Takes a place for a session that outlives its connection. When there is none, the session of the same device that has waited
/// longest makes room.
async fn has_place(worker: &Rc<Worker>, owner: &Owner, opened: &mut Opened) -> bool {
    loop {
        if opened.connection.session().take_place().is_ok() {
            return true;
        }
        if !worker.end_oldest_session(owner).await {
            return false;
        }
    }
}

fn accept(worker: &Rc<Worker>, io: &Io, wire: Wire, begun: Begun, is_layered: bool) -> Rc<Client> {
    let broker = &worker.broker;
    let Begun { opened: Opened { mut connection, ack }, id, account, access, seat, access_changes } = begun;
    let index = broker.index.tenant(access.tenant_id);
    let id = worker.store_session(&mut connection, id);
    let peer = presence::peer(io, connection.client(), connection.version());
    let rate = broker.presence.opened(&access, peer.clone(), &broker.gateway);
    let io = io.get_ref();
    wire.charge_to(&account);
    let connected_at = broker.gateway.now();
    let new = NewClient { io, is_layered, wire, connection, account, access, index, rate, peer, connected_at, seat };
    let client = Rc::new(Client::new(id, new));
    worker.counters().connects_accepted.add(1);
    if client.send(Packet::ConnectAck(Box::new(ack))) == Sent::TooLarge {
        // Not even the answer fits: there is nothing to talk about. [MQTT-3.14.0-1] And no DISCONNECT without CONNACK.
        client.close(Closing::Silently(ReasonCode::PacketTooLarge));
    }
    worker.go_online(&client);
    if broker.is_stopping() {
        client.close(Closing::ByServer(ReasonCode::ServerShuttingDown));
    }
    if worker.access_changed_since(access_changes, &client.owner) {
        // The change may have come between the check of the credentials and the entry into the table.
        worker.recheck_later(client.owner.tenant_id, client.owner.principal);
    }
    client
}

/// Says why, as far as the version has words for it and the client takes a packet of that size.
fn refuse(worker: &Worker, io: &Io, wire: &Wire, refusal: &Refusal, maximum: Option<u32>) {
    worker.counters().connects_refused.add(1);
    // A CONNECT of an unknown version is answered as 3.1.1 demands. [MQTT-3.1.2-2]
    let version = wire
        .version()
        .or_else(|| (refusal.reason == ReasonCode::UnsupportedProtocolVersion).then_some(ProtocolVersion::V311));
    let Some(ack) = version.and_then(|version| refusal.packet(version)) else { return };
    let fitting = |ack| {
        let bytes = wire.bytes(Packet::ConnectAck(Box::new(ack)));
        bytes.filter(|bytes| maximum.is_none_or(|maximum| bytes.len() <= maximum as usize))
    };
    // [MQTT-3.2.2-19] without the words where they make it too large
    let bytes = fitting(ack.clone()).or_else(|| fitting(ConnectAck { reason_string: None, ..ack }));
    if let Some(bytes) = bytes {
        wire.traffic.sent(bytes.len());
        // An error means that the connection is already gone.
        let _ = io.with_write_buf(|pages| pages.append(bytes));
    }
}
