//! Relays: for each room with members on this shard, the list of their connections; and for each
//! watched object, the list of its watchers'.

use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ConnectionId, ObjectId};
use crate::turn::Span;

/// A relay with more members knows the place of each.
const PLACED_MEMBERS_MIN: usize = 64;

/// The connections of one room or object: dense, since messages want them in a row.
#[derive(Debug, Default)]
struct Relay {
    list: Vec<ConnectionId>,
    /// Where in the list each connection stands, once there are many: so that thousands who leave
    /// in one turn do not each look at thousands.
    places: Option<HashMap<ConnectionId, u32>>,
}

impl Relay {
    fn push(&mut self, connection: ConnectionId, seed: HashSeed) {
        debug_assert!(self.place_of(connection).is_none(), "the home lets a session join once");
        let place = self.list.len() as u32;
        self.list.push(connection);
        if let Some(places) = &mut self.places {
            places.insert(connection, place);
        } else if self.list.len() > PLACED_MEMBERS_MIN {
            let mut places = HashMap::with_hasher(seed);
            places.extend(self.list.iter().copied().zip(0..));
            self.places = Some(places);
        }
    }

    fn place_of(&self, connection: ConnectionId) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&connection).map(|place| *place as usize),
            None => self.list.iter().position(|member| *member == connection),
        }
    }

    fn remove(&mut self, connection: ConnectionId) -> bool {
        let Some(place) = self.place_of(connection) else { return false };
        self.list.swap_remove(place);
        if self.list.len() <= PLACED_MEMBERS_MIN / 2 {
            self.places = None;
        }
        if let Some(places) = &mut self.places {
            places.remove(&connection);
            if let Some(moved) = self.list.get(place) {
                places.insert(*moved, place as u32);
            }
        }
        true
    }
}

/// The relays of a shard.
#[derive(Debug)]
pub(crate) struct Relays {
    relays: HashMap<ObjectId, Relay>,
    seed: HashSeed,
    /// The room whose members stand in the turn's outputs last, as they are now.
    listed: Option<(ObjectId, Span)>,
}

impl Relays {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { relays: HashMap::with_hasher(seed), seed, listed: None }
    }

    /// The outputs are empty again.
    pub(crate) fn start_turn(&mut self) {
        self.listed = None;
    }

    /// Connections of this shard that hear the room, in `recipients`. They stand there once for all
    /// messages of a room that come one after the other.
    pub(crate) fn list(&mut self, room: ObjectId, recipients: &mut Vec<ConnectionId>) -> Span {
        if let Some((listed, span)) = self.listed
            && listed == room
        {
            return span;
        }
        let start = recipients.len();
        recipients.extend_from_slice(self.relays.get(&room).map_or(&[], |relay| &relay.list));
        let span = Span::since(start, recipients);
        self.listed = Some((room, span));
        span
    }

    pub(crate) fn join(&mut self, room: ObjectId, connection: ConnectionId) {
        self.listed = None;
        self.relays.entry(room).or_default().push(connection, self.seed);
    }

    /// Takes the connection out, if it is in.
    pub(crate) fn leave(&mut self, room: ObjectId, connection: ConnectionId) -> bool {
        self.listed = None;
        let Some(relay) = self.relays.get_mut(&room) else { return false };
        let was_in = relay.remove(connection);
        if relay.list.is_empty() {
            self.relays.remove(&room);
        }
        was_in
    }

    /// Takes the whole relay away: of an object that is gone.
    pub(crate) fn take(&mut self, object: ObjectId) -> Vec<ConnectionId> {
        self.listed = None;
        self.relays.remove(&object).unwrap_or_default().list
    }

    /// Number of rooms with members, or objects with watchers, here.
    pub(crate) fn count(&self) -> usize {
        self.relays.len()
    }
}

#[cfg(test)]
mod tests;
