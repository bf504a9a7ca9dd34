//! Relays: for each room with members on this shard, the list of their sessions; and for each
//! watched object, the list of its watchers'. Which connection a session has at a moment is found
//! at delivery, so a session that is resumed stands where it stood.

use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::hearing::Hearing;
use crate::ids::{ConnectionId, ObjectId, SessionId};
use crate::turn::Span;

/// A relay with more members knows the place of each.
const PLACED_MEMBERS_MIN: usize = 64;

/// The sessions of one room or object: dense, since messages want them in a row.
#[derive(Debug, Default)]
struct Relay {
    list: Vec<SessionId>,
    /// Where in the list each session stands, once there are many: so that thousands who leave
    /// in one turn do not each look at thousands.
    places: Option<HashMap<SessionId, u32>>,
}

impl Relay {
    fn push(&mut self, session: SessionId, seed: HashSeed) {
        debug_assert!(self.place_of(session).is_none(), "the home lets a session join once");
        let place = self.list.len() as u32;
        self.list.push(session);
        if let Some(places) = &mut self.places {
            places.insert(session, place);
        } else if self.list.len() > PLACED_MEMBERS_MIN {
            let mut places = HashMap::with_hasher(seed);
            places.extend(self.list.iter().copied().zip(0..));
            self.places = Some(places);
        }
    }

    fn place_of(&self, session: SessionId) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&session).map(|place| *place as usize),
            None => self.list.iter().position(|member| *member == session),
        }
    }

    fn remove(&mut self, session: SessionId) -> bool {
        let Some(place) = self.place_of(session) else { return false };
        self.list.swap_remove(place);
        if self.list.len() <= PLACED_MEMBERS_MIN / 2 {
            self.places = None;
        }
        if let Some(places) = &mut self.places {
            places.remove(&session);
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
    /// The room whose members' connections stand in the turn's outputs last, as they are now.
    listed: Option<(ObjectId, Span)>,
}

impl Relays {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { relays: HashMap::with_hasher(seed), seed, listed: None }
    }

    /// The outputs are empty again, or a session has another connection.
    pub(crate) fn forget_listed(&mut self) {
        self.listed = None;
    }

    /// Tells the sessions of this shard that hear the room, and returns their connections in
    /// `recipients`. These stand there once for all messages of a room that come one after the
    /// other.
    pub(crate) fn tell(
        &mut self,
        room: ObjectId,
        message: &[u8],
        hearing: &mut Hearing,
        recipients: &mut Vec<ConnectionId>,
    ) -> Span {
        let listed = self.listed.filter(|(listed, _)| *listed == room).map(|(_, span)| span);
        if let Some(span) = listed
            && !hearing.is_kept()
        {
            return span;
        }
        let start = recipients.len();
        let Some(relay) = self.relays.get(&room) else { return Span::since(start, recipients) };
        let position = hearing.keep(message);
        if let Some(span) = listed {
            for session in &relay.list {
                hearing.tell(*session, position);
            }
            return span;
        }
        let connections = relay.list.iter().filter_map(|session| hearing.tell(*session, position));
        recipients.extend(connections);
        let span = Span::since(start, recipients);
        self.listed = Some((room, span));
        span
    }

    pub(crate) fn join(&mut self, room: ObjectId, session: SessionId) {
        self.listed = None;
        self.relays.entry(room).or_default().push(session, self.seed);
    }

    /// Takes the session out, if it is in.
    pub(crate) fn leave(&mut self, room: ObjectId, session: SessionId) -> bool {
        self.listed = None;
        let Some(relay) = self.relays.get_mut(&room) else { return false };
        let was_in = relay.remove(session);
        if relay.list.is_empty() {
            self.relays.remove(&room);
        }
        was_in
    }

    /// Takes the whole relay away: of an object that is gone.
    pub(crate) fn take(&mut self, object: ObjectId) -> Vec<SessionId> {
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
