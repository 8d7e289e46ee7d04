//! The connections of a worker: how many there may be of one source without a bearer token, and of one tenant with one, and which of
//! them take nothing of what is sent to them.
//!
//! A connection too many is always let in, and another one of the same party is closed for it: the one that was opened first. So whoever
//! opens many closes their own.
//!
//! A connection is its source's until a request on it shows a bearer token of this platform; then it is the tenant's.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ntex::io::types::PeerAddr;
use ntex::io::{FilterBuf, FilterLayer, Io, IoRef, Layer};
use pocket_application::network_of;

use crate::gate::Party;
use crate::head_watch::HeadWatch;
use crate::trusted::TrustedProxies;

/// Connections of one source, and of all, that showed no bearer token; and of one tenant.
const OF_SOURCE: usize = 256;
const OF_STRANGERS: usize = 4_096;
const OF_TENANT: usize = 4_096;
/// How long a client may take nothing of an answer, and how often that is looked at.
const STALLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(5);

/// The connections of a worker. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Connections(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Entry>,
    parties: HashMap<Party, usize>,
    strangers: usize,
}

struct Entry {
    io: IoRef,
    /// `None`: it comes from a trusted proxy and stands for many.
    party: Option<Party>,
    is_proxied: bool,
    /// What was not taken when it was last looked at, and since when nothing of it was.
    unsent: usize,
    since: Instant,
    /// Whether its client may pause: an export.
    may_pause: bool,
}

/// A connection, as a layer above its socket. It is counted until it is dropped.
pub(crate) struct Connection {
    id: u64,
    connections: Connections,
    watch: RefCell<HeadWatch>,
    /// Whether it ends, and what still comes is passed over.
    is_ending: Cell<bool>,
}

/// Finds a connection from its requests.
#[derive(Clone)]
struct Handle(u64, Connections);

impl Connections {
    /// Counts a connection, and puts over it what reads along.
    pub(crate) fn open(&self, io: Io, trusted: &TrustedProxies) -> Io<Layer<Connection>> {
        let peer = io.query::<PeerAddr>().get().map(|peer| peer.0.ip().to_canonical());
        let is_proxied = peer.is_some_and(|peer| trusted.has(peer));
        let party = peer.filter(|_| !is_proxied).map(|peer| Party::Stranger(network_of(peer)));
        let (id, victim) = {
            let mut state = self.0.borrow_mut();
            state.next += 1;
            let id = state.next;
            let (io, since) = (io.get_ref(), Instant::now());
            state.open.insert(id, Entry { io, party, is_proxied, unsent: 0, since, may_pause: false });
            state.count(party);
            (id, state.make_room(party, id))
        };
        // Not while the state is borrowed: what ends with a connection comes here.
        if let Some(victim) = victim {
            victim.terminate();
        }
        io.add_filter(Connection {
            id,
            connections: self.clone(),
            watch: RefCell::default(),
            is_ending: Cell::new(false),
        })
    }

    /// Closes what takes nothing, for ever.
    pub(crate) async fn watch_over(self) {
        loop {
            ntex::time::sleep(LOOK).await;
            for stalled in self.stalled(Instant::now()) {
                tracing::info!(target: "pocket_rest_ntex::access", "a client read nothing of its response for a minute");
                stalled.terminate();
            }
        }
    }

    fn stalled(&self, now: Instant) -> Vec<IoRef> {
        let mut stalled = Vec::new();
        for entry in self.0.borrow_mut().open.values_mut() {
            let unsent = entry.io.with_write_dst_buf(|pages| pages.len());
            if unsent == 0 || unsent < entry.unsent || entry.may_pause {
                entry.since = now;
            } else if now.duration_since(entry.since) >= STALLED {
                stalled.push(entry.io.clone());
            }
            entry.unsent = unsent;
        }
        stalled
    }
}

impl State {
    fn count(&mut self, party: Option<Party>) {
        let Some(party) = party else { return };
        *self.parties.entry(party).or_default() += 1;
        self.strangers += usize::from(matches!(party, Party::Stranger(_)));
    }

    fn uncount(&mut self, party: Option<Party>) {
        let Some(party) = party else { return };
        self.strangers -= usize::from(matches!(party, Party::Stranger(_)));
        if let Some(count) = self.parties.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(&party);
            }
        }
    }

    /// Takes out the first of a party that has too many, or the first of all strangers when these are too many; never the newest.
    fn make_room(&mut self, party: Option<Party>, newest: u64) -> Option<IoRef> {
        let party = party?;
        let most = if matches!(party, Party::Stranger(_)) { OF_SOURCE } else { OF_TENANT };
        let of_party = self.parties.get(&party).is_some_and(|count| *count > most);
        let of_strangers = self.strangers > OF_STRANGERS;
        let is_victim = |entry: &Entry| {
            of_party && entry.party == Some(party)
                || !of_party && of_strangers && matches!(entry.party, Some(Party::Stranger(_)))
        };
        let victim = self.open.iter().find(|(id, entry)| **id != newest && is_victim(entry));
        let id = *victim?.0;
        let entry = self.open.remove(&id)?;
        self.uncount(entry.party);
        Some(entry.io)
    }

    fn become_of(&mut self, id: u64, party: Party) -> Option<IoRef> {
        let entry = self.open.get_mut(&id)?;
        entry.may_pause = false;
        let before = entry.party;
        if before == Some(party) || entry.is_proxied {
            return None;
        }
        entry.party = Some(party);
        self.uncount(before);
        self.count(Some(party));
        self.make_room(Some(party), id)
    }
}

/// Names whose connection it is, from a request on it.
pub(crate) fn belongs_to(io: Option<&IoRef>, party: Party) {
    if let Some(Handle(id, connections)) = io.and_then(handle) {
        let victim = connections.0.borrow_mut().become_of(id, party);
        if let Some(victim) = victim {
            victim.terminate();
        }
    }
}

/// Lets the client of a request pause while it takes the answer.
pub(crate) fn may_pause(io: Option<&IoRef>) {
    if let Some(Handle(id, connections)) = io.and_then(handle)
        && let Some(entry) = connections.0.borrow_mut().open.get_mut(&id)
    {
        entry.may_pause = true;
    }
}

fn handle(io: &IoRef) -> Option<Handle> {
    io.query::<Handle>().as_ref().cloned()
}

impl FilterLayer for Connection {
    fn query(&self, id: TypeId) -> Option<Box<dyn Any>> {
        (id == TypeId::of::<Handle>()).then(|| Box::new(Handle(self.id, self.connections.clone())) as Box<dyn Any>)
    }

    fn process_read_buf(&self, buf: &FilterBuf<'_>) -> io::Result<()> {
        buf.with_read_buffers(|below, above| {
            let Some(below) = below else { return };
            let read = self.watch.borrow_mut().read(below);
            if self.is_ending.get() {
                below.clear();
                return;
            }
            if above.is_empty() {
                std::mem::swap(below, above);
            } else {
                above.extend_from_slice(below);
            }
            below.clear();
            if read.is_err() {
                // No parser takes this for a request, so it is answered with 400.
                above.clear();
                above.extend_from_slice(b"\0\r\n\r\n");
            }
        });
        Ok(())
    }

    fn process_write_buf(&self, buf: &FilterBuf<'_>) -> io::Result<()> {
        buf.with_write_buffers(|pages, below| {
            pages.move_to(below);
        });
        Ok(())
    }

    /// A connection on which a request is not whole ends a moment later, so that its client can read why: ntex waits for as long as its
    /// `disconnect_timeout`, a second.
    fn shutdown(&self, _: &FilterBuf<'_>) -> io::Result<Poll<()>> {
        self.is_ending.set(true);
        Ok(if self.watch.borrow().is_between() { Poll::Ready(()) } else { Poll::Pending })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.connections.0.borrow_mut();
        if let Some(entry) = state.open.remove(&self.id) {
            state.uncount(entry.party);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}
