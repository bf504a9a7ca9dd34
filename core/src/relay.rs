//! Relays: for each room with members on this shard, the list of their connections; and for each
//! watched object, the list of its watchers'.

use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ConnectionId, ObjectId};
use crate::turn::Span;

/// The relays of a shard.
#[derive(Debug)]
pub(crate) struct Relays {
    members: HashMap<ObjectId, Vec<ConnectionId>>,
    /// The room whose members stand in the turn's outputs last, as they are now.
    listed: Option<(ObjectId, Span)>,
}

impl Relays {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { members: HashMap::with_hasher(seed), listed: None }
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
        recipients.extend_from_slice(self.members.get(&room).map_or(&[], Vec::as_slice));
        let span = Span::since(start, recipients);
        self.listed = Some((room, span));
        span
    }

    pub(crate) fn join(&mut self, room: ObjectId, connection: ConnectionId) {
        self.listed = None;
        let members = self.members.entry(room).or_default();
        debug_assert!(!members.contains(&connection), "the home lets a session join once");
        members.push(connection);
    }

    /// Takes the connection out, if it is in. Linear in the members on this shard: a join or leave
    /// is rare beside the messages, which want the list dense. That 5,000 leave at once looks at 100
    /// MB at most, a few milliseconds; a position kept by each connection and room would cost every
    /// join a map entry.
    pub(crate) fn leave(&mut self, room: ObjectId, connection: ConnectionId) -> bool {
        self.listed = None;
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
        self.listed = None;
        self.members.remove(&object).unwrap_or_default()
    }

    /// Number of rooms with members, or objects with watchers, here.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }
}
