//! Sockets whose CONNECT has not come yet: nobody knows whose they are.
//!
//! They are bounded by source address (IPv6: by /64 network) and in all, and have no part in the places of clients that
//! proved who they are. At a bound the newcomer is let in and the oldest of the address that has most has to go: a client
//! says CONNECT in milliseconds, and who says nothing only loses what it did not use. What they send before is bounded, too:
//! a CONNECT that is larger than usual needs room in a pool of bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_mqtt_core::Limits;
use tokio::sync::Notify;

/// Bytes of a CONNECT for which no room is asked.
pub(crate) const SMALL_CONNECT: usize = 4 * 1_024;
/// Bytes that larger CONNECTs may take together while they arrive.
const LARGE_CONNECTS: usize = 32 * 1_024 * 1_024;
/// Those of one address.
const LARGE_CONNECTS_OF_ADDRESS: usize = LARGE_CONNECTS / 4;

/// All sockets whose CONNECT has not come yet.
#[derive(Debug)]
pub(crate) struct PendingSockets {
    limit: usize,
    per_address: usize,
    state: Mutex<State>,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By age.
    waiting: BTreeMap<u64, (Origin, Arc<Notify>)>,
    by_origin: HashMap<Origin, Crowd>,
    /// By how many there are.
    crowds: BTreeSet<(usize, Origin)>,
    bytes: usize,
}

/// The sockets of one address.
#[derive(Debug, Default)]
struct Crowd {
    numbers: BTreeSet<u64>,
    bytes: usize,
}

/// An address, or the network that stands for it; `None` while a proxy has not said it.
type Origin = Option<IpAddr>;

/// The place of one socket; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    sockets: Arc<PendingSockets>,
    number: u64,
    bytes: Mutex<usize>,
    leave: Arc<Notify>,
}

impl PendingSockets {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            limit: limits.pending_connections.max(1),
            per_address: limits.pending_per_address.max(1),
            state: Mutex::default(),
            evicted: AtomicU64::new(0),
        })
    }

    /// A socket was accepted.
    pub(crate) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Ticket {
        let (origin, leave) = (address.map(network_of), Arc::<Notify>::default());
        let mut state = self.lock();
        let is_full = state.waiting.len() >= self.limit;
        // All that came through a proxy look the same until it said where they are from.
        let is_crowded = origin.is_some() && state.crowd_of(origin) >= self.per_address;
        if is_crowded {
            self.evict(&mut state, origin);
        } else if is_full && let Some((_, crowd)) = state.crowds.last().copied() {
            self.evict(&mut state, crowd);
        }
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, (origin, Arc::clone(&leave)));
        state.join(origin, number, 0);
        drop(state);
        Ticket { sockets: Arc::clone(self), number, bytes: Mutex::default(), leave }
    }

    fn evict(&self, state: &mut State, origin: Origin) {
        let oldest = state.by_origin.get(&origin).and_then(|crowd| crowd.numbers.first().copied());
        if let Some((_, leave)) = oldest.and_then(|number| state.remove(number, 0)) {
            leave.notify_one();
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many had to make room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn crowd_of(&self, origin: Origin) -> usize {
        self.by_origin.get(&origin).map_or(0, |crowd| crowd.numbers.len())
    }

    fn join(&mut self, origin: Origin, number: u64, bytes: usize) {
        let crowd = self.by_origin.entry(origin).or_default();
        self.crowds.remove(&(crowd.numbers.len(), origin));
        crowd.numbers.insert(number);
        crowd.bytes += bytes;
        self.crowds.insert((crowd.numbers.len(), origin));
    }

    fn part(&mut self, origin: Origin, number: u64, bytes: usize) {
        let Some(crowd) = self.by_origin.get_mut(&origin) else { return };
        self.crowds.remove(&(crowd.numbers.len(), origin));
        crowd.numbers.remove(&number);
        crowd.bytes -= bytes.min(crowd.bytes);
        if crowd.numbers.is_empty() {
            self.by_origin.remove(&origin);
        } else {
            self.crowds.insert((crowd.numbers.len(), origin));
        }
    }

    fn remove(&mut self, number: u64, bytes: usize) -> Option<(Origin, Arc<Notify>)> {
        let (origin, leave) = self.waiting.remove(&number)?;
        self.part(origin, number, bytes);
        Some((origin, leave))
    }
}

impl Ticket {
    /// Waits until the socket has to make room for another.
    pub(crate) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    /// The proxy said where the connection is from.
    pub(crate) fn came_from(&self, address: IpAddr) {
        let origin = Some(network_of(address));
        let mut state = self.sockets.lock();
        let Some((before, _)) = state.waiting.get(&self.number).cloned() else { return };
        if state.crowd_of(origin) >= self.sockets.per_address {
            self.sockets.evict(&mut state, origin);
        }
        state.part(before, self.number, 0);
        state.join(origin, self.number, 0);
        if let Some((place, _)) = state.waiting.get_mut(&self.number) {
            *place = origin;
        }
    }

    /// Takes room for a CONNECT of this size; `false` when there is none.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let mut state = self.sockets.lock();
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let more = bytes.saturating_sub(*held);
        let Some((origin, _)) = state.waiting.get(&self.number) else { return false };
        let origin = *origin;
        let of_all = state.bytes + more;
        let Some(crowd) = state.by_origin.get_mut(&origin) else { return false };
        // One alone may be as large as a packet may be.
        let is_too_much = |before: usize, limit: usize| before > 0 && before + more > limit;
        if is_too_much(crowd.bytes, LARGE_CONNECTS_OF_ADDRESS) || is_too_much(of_all - more, LARGE_CONNECTS) {
            return false;
        }
        crowd.bytes += more;
        state.bytes = of_all;
        *held += more;
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let bytes = *self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.sockets.lock();
        state.bytes -= bytes.min(state.bytes);
        state.remove(self.number, bytes);
    }
}

/// One customer usually has a whole /64 of IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(limit: usize, per_address: usize) -> Arc<PendingSockets> {
        let limits = Limits { pending_connections: limit, pending_per_address: per_address, ..Limits::default() };
        PendingSockets::new(&limits)
    }

    fn address(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, number]))
    }

    fn has_to_leave(ticket: &Ticket) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        Box::pin(ticket.has_to_leave()).as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn the_oldest_of_an_address_makes_room_for_its_newest() {
        let sockets = sockets(100, 2);
        let tickets: Vec<Ticket> = (0..3).map(|_| sockets.enter(address(1))).collect();
        let other = sockets.enter(address(2));
        assert_eq!(tickets.iter().map(has_to_leave).collect::<Vec<_>>(), [true, false, false]);
        assert!(!has_to_leave(&other));
        assert_eq!((sockets.count(), sockets.evicted()), (3, 1));
        drop(tickets);
        assert_eq!(sockets.count(), 1);
    }

    #[test]
    fn the_address_that_has_most_makes_room_for_all() {
        let sockets = sockets(4, 100);
        let few = sockets.enter(address(1));
        let many: Vec<Ticket> = (0..3).map(|_| sockets.enter(address(2))).collect();
        let new = sockets.enter(address(3));
        assert!(has_to_leave(&many[0]) && !has_to_leave(&few) && !has_to_leave(&new));
        assert_eq!(sockets.count(), 4);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let sockets = sockets(100, 1);
        let one = sockets.enter(Some("2001:db8::1".parse().unwrap()));
        let _other = sockets.enter(Some("2001:db8:0:1::1".parse().unwrap()));
        assert!(!has_to_leave(&one));
        let _same = sockets.enter(Some("2001:db8::2".parse().unwrap()));
        assert!(has_to_leave(&one));
    }

    #[test]
    fn what_a_proxy_says_counts_and_not_the_address_of_the_proxy() {
        let sockets = sockets(100, 1);
        let tickets: Vec<Ticket> = (0..3).map(|_| sockets.enter(None)).collect();
        for (ticket, number) in tickets.iter().zip([1, 2, 1]) {
            ticket.came_from(IpAddr::from([10, 0, 0, number]));
        }
        assert_eq!(tickets.iter().map(has_to_leave).collect::<Vec<_>>(), [true, false, false]);
        drop(tickets);
        assert!(sockets.lock().crowds.is_empty() && sockets.lock().by_origin.is_empty());
    }

    #[test]
    fn large_connects_have_room_by_address_and_in_all() {
        let sockets = sockets(100, 100);
        let (one, two) = (sockets.enter(address(1)), sockets.enter(address(1)));
        assert!(one.has_room_for(LARGE_CONNECTS_OF_ADDRESS) && !two.has_room_for(SMALL_CONNECT));
        let others: Vec<Ticket> = (2..6).map(|number| sockets.enter(address(number))).collect();
        let room: Vec<bool> = others.iter().map(|ticket| ticket.has_room_for(LARGE_CONNECTS_OF_ADDRESS)).collect();
        assert_eq!(room, [true, true, true, false]);
        drop(one);
        assert!(two.has_room_for(SMALL_CONNECT));
        drop((two, others));
        assert_eq!(sockets.lock().bytes, 0);
    }
}
