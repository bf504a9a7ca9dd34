//! Relays: for each room with members on this shard, the list of their connections; and for each
//! watched object, the list of its watchers'.

use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ConnectionId, ObjectId};

/// The relays of a shard.
#[derive(Debug)]
pub(crate) struct Relays {
    members: HashMap<ObjectId, Vec<ConnectionId>>,
}

impl Relays {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { members: HashMap::with_hasher(seed) }
    }

    /// Connections of this shard that hear the room.
    pub(crate) fn members(&self, room: ObjectId) -> &[ConnectionId] {
        self.members.get(&room).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn join(&mut self, room: ObjectId, connection: ConnectionId) {
        let members = self.members.entry(room).or_default();
        debug_assert!(!members.contains(&connection), "the home lets a session join once");
        members.push(connection);
    }

    /// Takes the connection out, if it is in. Linear in the members on this shard: a join or leave
    /// is rare beside the messages, which want the list dense.
    pub(crate) fn leave(&mut self, room: ObjectId, connection: ConnectionId) -> bool {
        let Some(members) = self.members.get_mut(&room) else { return false };
        let Some(at) = members.iter().position(|member| *member == connection) else {
            return false;
        };
        members.swap_remove(at);
        if members.is_empty() {
            self.members.remove(&room);
        }
        true
    }

    /// Takes the whole relay away: of an object that is gone.
    pub(crate) fn take(&mut self, object: ObjectId) -> Vec<ConnectionId> {
        self.members.remove(&object).unwrap_or_default()
    }

    /// Number of rooms with members, or objects with watchers, here.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }
}
