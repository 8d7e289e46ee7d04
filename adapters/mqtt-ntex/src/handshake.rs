//! From an accepted socket to an accepted client: CONNECT, credentials, take-over, CONNACK.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use ntex::io::types::PeerAddr;
use ntex::time::timeout;
use ntex::util::Either;
use pocket_application::{DeviceAccess, DeviceCredentials};
use pocket_mqtt_core::{
    Client as Owner, Closing, Connect, Handshake, Opened, Packet, ProtocolVersion, ReasonCode, Refusal,
};

use crate::access::Subject;
use crate::client::{Client, NewClient, Sent};
use crate::listeners::Arrival;
use crate::tenant_quota::Seat;
use crate::wire::Wire;
use crate::worker::Worker;
use crate::{Io, reason};

/// Reads CONNECT and answers it; `None` when the client was refused.
pub(crate) async fn open(worker: &Rc<Worker>, io: &Io, arrival: &Arrival) -> Option<Rc<Client>> {
    let wire = Wire::new(worker.broker.limits.packet_bytes);
    let accepted = match read_connect(io, &wire, arrival).await {
        Ok(connect) => authenticate(worker, io, connect).await,
        Err(refusal) => Err(refusal),
    };
    match accepted {
        Ok(authenticated) => Some(accept(worker, io, wire, authenticated, arrival).await),
        Err(refusal) => {
            refuse(worker, io, &wire, &refusal);
            None
        }
    }
}

/// A client that proved who it is.
struct Authenticated {
    handshake: Handshake,
    owner: Owner,
    access: DeviceAccess,
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
        return Err(Refusal::new(ReasonCode::ServerShuttingDown, "the platform is stopping"));
    }
    if worker.broker.is_over_connection_limit() {
        return Err(Refusal::new(ReasonCode::QuotaExceeded, "too many connections"));
    }
    let handshake = Handshake::begin(connect, worker.broker.random())?;
    let access_changes = worker.access_changes.get();
    let credentials =
        DeviceCredentials { username: handshake.username(), password: handshake.password(), source: source(io) };
    let access = worker.broker.gateway.connect(credentials).await.map_err(|denied| {
        tracing::debug!(source = %source(io), %denied, "connection refused");
        reason::of_access(&denied)
    })?;
    let owner = handshake.client(access.tenant_id, access.device_id);
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
    let id = worker.table.borrow_mut().open(worker.number);
    let left = worker.take_over(&owner, id, !handshake.clean_start()).await;
    let Opened { connection, ack } = handshake.open(owner, left, &broker.limits);
    let index = broker.index.tenant(access.tenant_id);
    let rate = broker.presence.opened(&access, &broker.gateway);
    let (io, is_layered) = (io.get_ref(), arrival.is_layered);
    let client = Rc::new(Client::new(id, NewClient { io, is_layered, wire, connection, access, index, rate, seat }));
    worker.counters().connects_accepted.add(1);
    if client.send(Packet::ConnectAck(Box::new(ack))) == Sent::TooLarge {
        // Not even the answer fits: there is nothing to talk about.
        client.close(Closing::ByServer(ReasonCode::PacketTooLarge));
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

fn refuse(worker: &Worker, io: &Io, wire: &Wire, refusal: &Refusal) {
    worker.counters().connects_refused.add(1);
    // A CONNECT of an unknown version is answered as 3.1.1 demands. [MQTT-3.1.2-2]
    let version = wire
        .version()
        .or_else(|| (refusal.reason == ReasonCode::UnsupportedProtocolVersion).then_some(ProtocolVersion::V311));
    if let Some(ack) = version.and_then(|version| refusal.packet(version)) {
        // An error means that the connection is already gone.
        let _ = io.with_write_buf(|pages| wire.write(Packet::ConnectAck(Box::new(ack)), pages));
    }
}

fn source(io: &Io) -> IpAddr {
    io.query::<PeerAddr>().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.into_inner().ip())
}
