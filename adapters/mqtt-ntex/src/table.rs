//! The sessions of one worker, by slot.
//!
//! A slot is taken when a client begins to connect, and keeps its id while the session lives: connected, or waiting for
//! its client to come back. When the session goes on at another slot, letters that were already under way are sent after
//! it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::ClientAccess;
use pocket_domain::Timestamp;
use pocket_mqtt_core::{Client as Owner, Delivery, Session, StoreKey, TenantIndex, Will};

use crate::client::Client;
use crate::mailbox::Letter;
use crate::subscriber::SubscriberId;

/// What a slot holds.
pub(crate) enum Place {
    /// A client that is just connecting; what comes for it waits.
    Opening(Vec<Pending>),
    /// A connected client.
    Online(Rc<Client>),
    /// A session that waits for its client.
    Offline(Box<Sleeper>),
    /// The session went on elsewhere, at this moment.
    Moved(SubscriberId, Instant),
}

/// What came for a client that was just connecting.
pub(crate) enum Pending {
    Delivery(Delivery),
    Letter(Letter),
}

/// A session without a connection.
pub(crate) struct Sleeper {
    pub(crate) owner: Owner,
    pub(crate) access: ClientAccess,
    pub(crate) index: Arc<TenantIndex<SubscriberId>>,
    pub(crate) session: Session,
    /// When the client left.
    pub(crate) left_at: Timestamp,
    /// How long the session lives from then on.
    pub(crate) expiry: Duration,
    pub(crate) ends_at: Instant,
    /// The will and when it is to be published.
    pub(crate) will: Option<(Will, Instant)>,
}

/// Where letters for an id are to go.
pub(crate) enum Destination {
    Online(Rc<Client>),
    /// The place itself must be asked: it is opening or offline.
    Waiting,
    Moved(SubscriberId),
    Nobody,
}

/// All slots.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Option<(SubscriberId, Place)>>,
    free: Vec<u32>,
}

impl Table {
    /// With sessions that an earlier process left, the first in slot 0, the next in slot 1, and so on.
    pub(crate) fn with(restored: Vec<(SubscriberId, Sleeper)>) -> Self {
        let place = |(id, sleeper)| Some((id, Place::Offline(Box::new(sleeper))));
        Self { slots: restored.into_iter().map(place).collect(), free: Vec::new() }
    }

    /// The id of the session that [`with`](Self::with) puts at a place.
    pub(crate) fn restored_id(place: usize, worker: u16, serial: u64, session: StoreKey) -> SubscriberId {
        let slot = u32::try_from(place).expect("a process has far fewer than 2^32 sessions");
        SubscriberId { serial, slot, worker, session: Some(session) }
    }

    /// Takes a slot for a client that is connecting.
    pub(crate) fn open(&mut self, worker: u16, serial: u64) -> SubscriberId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a process has far fewer than 2^32 sessions")
        });
        let id = SubscriberId { serial, slot, worker, session: None };
        self.slots[slot as usize] = Some((id, Place::Opening(Vec::new())));
        id
    }

    /// Puts something else into a slot and returns what was there; `None` when the id is not there any more.
    pub(crate) fn replace(&mut self, id: SubscriberId, place: Place) -> Option<Place> {
        self.get_mut(id).map(|present| std::mem::replace(present, place))
    }

    /// Gives a slot up and returns what was there.
    pub(crate) fn remove(&mut self, id: SubscriberId) -> Option<Place> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        let (_, place) = slot.take_if(|(present, _)| *present == id)?;
        self.free.push(id.slot);
        Some(place)
    }

    /// The same when something holds for what is there.
    pub(crate) fn remove_if(&mut self, id: SubscriberId, is_meant: impl Fn(&Place) -> bool) -> Option<Place> {
        self.get_mut(id).is_some_and(|place| is_meant(place)).then(|| self.remove(id)).flatten()
    }

    /// What the id's slot holds.
    pub(crate) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut Place> {
        match self.slots.get_mut(id.slot as usize) {
            Some(Some((present, place))) if *present == id => Some(place),
            _ => None,
        }
    }

    /// Where letters for the id are to go.
    pub(crate) fn destination(&self, id: SubscriberId) -> Destination {
        match self.slots.get(id.slot as usize) {
            Some(Some((present, place))) if *present == id => match place {
                Place::Online(client) => Destination::Online(Rc::clone(client)),
                Place::Opening(_) | Place::Offline(_) => Destination::Waiting,
                Place::Moved(to, _) => Destination::Moved(*to),
            },
            _ => Destination::Nobody,
        }
    }

    /// All connected clients.
    pub(crate) fn clients(&self) -> Vec<Rc<Client>> {
        let clients = self.slots.iter().flatten().filter_map(|(_, place)| match place {
            Place::Online(client) => Some(Rc::clone(client)),
            _ => None,
        });
        clients.collect()
    }

    /// The ids of places for which something holds.
    pub(crate) fn ids(&self, is_meant: impl Fn(&Place) -> bool) -> Vec<SubscriberId> {
        self.slots.iter().flatten().filter(|(_, place)| is_meant(place)).map(|(id, _)| *id).collect()
    }

    /// Sessions that wait for their clients.
    pub(crate) fn sleepers_mut(&mut self) -> impl Iterator<Item = (SubscriberId, &mut Sleeper)> {
        self.slots.iter_mut().flatten().filter_map(|(id, place)| match place {
            Place::Offline(sleeper) => Some((*id, &mut **sleeper)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_used_again() {
        let mut table = Table::default();
        let first = table.open(0, 0);
        assert!(matches!(table.destination(first), Destination::Waiting));
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        let second = table.open(0, 1);
        assert_eq!(first.slot, second.slot);
        assert_ne!(first, second);
        assert!(table.replace(first, Place::Opening(Vec::new())).is_none());
        assert!(matches!(table.destination(first), Destination::Nobody));
        table.replace(second, Place::Moved(first, Instant::now()));
        assert!(matches!(table.destination(second), Destination::Moved(to) if to == first));
    }
}
