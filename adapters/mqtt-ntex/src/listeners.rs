//! From an accepted socket to the stream of packets: what the transport of its listener puts below.
//!
//! A header of the PROXY protocol, the handshake of TLS, the request of a WebSocket and CONNECT have to come within the
//! connect timeout together. A connection that does not get so far counts as refused.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ntex::io::types::PeerAddr;
use ntex::io::{Io, IoBoxed};
use ntex::time::{Millis, timeout};
use ntex::util::{Either, select};

use crate::broker::Broker;
use crate::pending::Ticket;
use crate::proxy_protocol::{HeaderDecoder, Proxied};
use crate::stats::Step;
use crate::tls::Tls;
use crate::transport::Transport;
use crate::worker::Worker;
use crate::{connection, websocket};

/// What all connections of a listener have in common.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) transport: Transport,
    proxy_protocol: bool,
    tls: Option<Arc<Tls>>,
}

/// How a connection came.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// When its CONNECT must have come.
    pub(crate) deadline: Instant,
    /// Whether something lies between its packets and the socket.
    pub(crate) is_layered: bool,
    /// Its place among those whose CONNECT has not come yet.
    pub(crate) ticket: Rc<Ticket>,
}

impl Arrival {
    /// What is left of the connect timeout.
    fn patience(&self) -> Millis {
        patience(self.deadline)
    }
}

/// The time until a deadline.
pub(crate) fn patience(deadline: Instant) -> Millis {
    // A timer of 0 never ends.
    Millis::from(deadline.saturating_duration_since(Instant::now())).max(Millis(1))
}

/// Serves a socket of a listener until it is closed.
pub(crate) async fn accept(worker: Rc<Worker>, layers: Rc<Layers>, io: Io) {
    let Some(_guard) = worker.broker.count_connection(layers.transport) else { return };
    let address = if layers.proxy_protocol { None } else { Some(source(&io)) };
    let arrival = Arrival {
        deadline: Instant::now() + worker.broker.config.connect_timeout,
        is_layered: layers.transport != Transport::Tcp,
        ticket: Rc::new(worker.broker.pending.enter(address)),
    };
    let io = if layers.transport == Transport::Tcp && !layers.proxy_protocol {
        io.boxed()
    } else {
        let step = Cell::new(Step::Proxy);
        // In a box, so that a connection does not keep the room that its beginning takes.
        let laid = timeout(arrival.patience(), Box::pin(layers.lay(&worker, &arrival, io, &step)));
        let Either::Left(Ok(Some(io))) = select(laid, arrival.ticket.has_to_leave()).await else {
            worker.counters().connects_refused.add(1);
            worker.counters().refused_at(step.get()).add(1);
            return;
        };
        io
    };
    connection::serve(worker, io, arrival).await;
}

impl Layers {
    /// Those of a transport.
    pub(crate) fn new(broker: &Broker, transport: Transport, tls: Option<&Arc<Tls>>) -> Self {
        let tls = tls.filter(|_| transport.has_tls()).cloned();
        Self { transport, proxy_protocol: broker.config.proxy_protocol, tls }
    }

    /// Puts the layers over a socket. `step` is that which is under way, or failed.
    async fn lay(&self, worker: &Worker, arrival: &Arrival, io: Io, step: &Cell<Step>) -> Option<IoBoxed> {
        let source = if self.proxy_protocol { read_source(&io).await? } else { None };
        if self.proxy_protocol {
            arrival.ticket.came_from(source.map_or_else(|| crate::listeners::source(&io), |source| source.ip()));
        }
        let io = io.map_filter(|socket| Proxied::new(socket, source));
        let mut io = match &self.tls {
            Some(tls) => {
                step.set(Step::Tls);
                let accepted = tls.accept(io, arrival.patience()).await;
                accepted.inspect_err(|error| tracing::debug!(%error, "TLS handshake failed")).ok()?
            }
            None => io.boxed(),
        };
        if self.transport.has_websocket() {
            step.set(Step::WebSocket);
            io = websocket::open(io, worker.broker.limits.packet_bytes).await?;
        }
        Some(io)
    }
}

/// The address at the other end, as its lowest layer knows it.
pub(crate) fn source<F>(io: &Io<F>) -> IpAddr {
    io.query::<PeerAddr>().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.into_inner().ip())
}

/// Reads the header that the proxy sends first, and the source in it, if there is one.
async fn read_source(io: &Io) -> Option<Option<SocketAddr>> {
    match io.recv(&HeaderDecoder).await {
        Ok(Some(source)) => Some(source),
        Ok(None) | Err(Either::Right(_)) => None,
        Err(Either::Left(malformed)) => {
            tracing::debug!(error = %malformed, "connection closed");
            None
        }
    }
}
