//! From an accepted socket to an accepted client: CONNECT, credentials, take-over, CONNACK.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use ntex::io::types::PeerAddr;
use ntex::time::timeout;
use ntex::util::Either;
use pocket_application::{ClientAccess, ClientCredentials};
use pocket_mqtt_core::{
    Client as Owner, Closing, Connect, ConnectAck, Handshake, Opened, Packet, ProtocolVersion, ReasonCode, Refusal,
};

use crate::access::Subject;
use crate::client::{Client, NewClient, Sent};
use crate::listeners::Arrival;
use crate::tenant_quota::Seat;
use crate::wire::Wire;
use crate::worker::Worker;
use crate::{Io, presence, reason};

/// Errands that may wait while the ingest is full before clients have to wait for their CONNACK: each connection may leave
/// some, and a client may connect again and again.
const MOST_ERRANDS: usize = 1_000;

/// Reads CONNECT and answers it; `None` when the client was refused.
pub(crate) async fn open(worker: &Rc<Worker>, io: &Io, arrival: &Arrival) -> Option<Rc<Client>> {
    let wire = Wire::new(worker.broker.limits.packet_bytes);
    let mut maximum = None;
    let accepted = match read_connect(io, &wire, arrival).await {
        Ok(connect) => {
            maximum = connect.maximum_packet_size;
            authenticate(worker, io, connect).await
        }
        Err(refusal) => Err(refusal),
    };
    match accepted {
        Ok(authenticated) => Some(accept(worker, io, wire, authenticated, arrival).await),
        Err(refusal) => {
            refuse(worker, io, &wire, &refusal, maximum);
            worker.counters().traffic(&wire.traffic);
            None
        }
    }
}

/// A client that proved who it is.
struct Authenticated {
    handshake: Handshake,
    owner: Owner,
    access: ClientAccess,
    seat: Seat,
    /// How often access had changed before the credentials were checked.
    access_changes: u64,
}

async fn read_connect(io: &Io, wire: &Wire, arrival: &Arrival) -> Result<Connect, Refusal> {
    let received = timeout(arrival.patience(), io.recv(wire)).await;
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

async fn authenticate(worker: &Worker, io: &Io, connect: Connect) -> Result<Authenticated, Refusal> {
    if worker.broker.is_stopping() {
        // Of the two codes that fit, CONNACK has this one.
        return Err(Refusal::new(ReasonCode::ServerUnavailable, "the platform is stopping"));
    }
    if worker.broker.is_over_connection_limit() {
        return Err(Refusal::new(ReasonCode::QuotaExceeded, "too many connections"));
    }
    let handshake = Handshake::begin(connect, worker.broker.random())?;
    if let Some(will) = handshake.will()
        && worker.broker.gateway.check_size(&will.message.payload).is_err()
    {
        return Err(Refusal::new(ReasonCode::PacketTooLarge, "the will is larger than a message may be"));
    }
    if worker.broker.errands.load(Ordering::Relaxed) > MOST_ERRANDS {
        worker.broker.gateway.room().await;
    }
    let access_changes = worker.access_changes.get();
    let credentials =
        ClientCredentials { username: handshake.username(), password: handshake.password(), source: source(io) };
    let access = worker.broker.gateway.connect(credentials).await.map_err(|denied| {
        tracing::debug!(source = %source(io), %denied, "connection refused");
        reason::of_access(&denied)
    })?;
    let owner = handshake.client(access.tenant_id, access.principal);
    handshake.authorize(&owner, &worker.broker.authorizer(&access))?;
    let seat = worker.broker.tenant_quota.admit(&owner);
    let seat = seat.ok_or(Refusal::new(ReasonCode::QuotaExceeded, "too many connections of the tenant"))?;
    Ok(Authenticated { handshake, owner, access, seat, access_changes })
}

async fn accept(
    worker: &Rc<Worker>,
    io: &Io,
    wire: Wire,
    authenticated: Authenticated,
    arrival: &Arrival,
) -> Rc<Client> {
    let broker = &worker.broker;
    let Authenticated { handshake, owner, access, seat, access_changes } = authenticated;
    let id = worker.table.borrow_mut().open(worker.number, broker.next_serial());
    let left = worker.take_over(&owner, id, !handshake.clean_start()).await;
    let Opened { mut connection, ack } = handshake.open(owner, left, &broker.limits);
    let index = broker.index.tenant(access.tenant_id);
    let id = worker.store_session(&mut connection, id);
    let peer = presence::peer(io, connection.client(), connection.version());
    let rate = broker.presence.opened(&access, peer.clone(), &broker.gateway);
    let (io, is_layered) = (io.get_ref(), arrival.is_layered);
    let new = NewClient { io, is_layered, wire, connection, access, index, rate, peer, seat };
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
    if worker.access_changes.get() != access_changes {
        // The change may have come between the check of the credentials and the entry into the table.
        ntex::rt::spawn(Rc::clone(worker).recheck(vec![Subject::Client(Rc::clone(&client))])).detach();
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

fn source(io: &Io) -> IpAddr {
    io.query::<PeerAddr>().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.into_inner().ip())
}
