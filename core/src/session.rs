//! Connections and sessions of a shard. A connection is a socket; a session is a user's identity,
//! which comes to be at login and, until sessions can be resumed, ends with its connection.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::authorize::Roles;
use crate::ids::{ConnectionId, ObjectId, PartitionId, SessionId, ShardId};
use crate::turn::ConnectionTraits;

/// What a shard knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    generation: u32,
    pub(crate) traits: ConnectionTraits,
    pub(crate) session: Option<SessionId>,
    /// Requests that a partition has not answered yet.
    pub(crate) unanswered: u32,
    /// The client has said all it will say.
    pub(crate) has_ended: bool,
    /// The gateway was told to close it: what still comes in is ignored.
    pub(crate) is_closing: bool,
}

/// Connections by slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Connection>>,
}

impl Connections {
    pub(crate) fn open(&mut self, id: ConnectionId, traits: ConnectionTraits) {
        let index = id.index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        assert!(self.slots[index].is_none(), "a slot has one connection at a time");
        let generation = id.generation;
        self.slots[index] = Some(Connection {
            generation,
            traits,
            session: None,
            unanswered: 0,
            has_ended: false,
            is_closing: false,
        });
    }

    pub(crate) fn close(&mut self, id: ConnectionId) -> Connection {
        let slot = self.slots.get_mut(id.index as usize).expect("a closed connection was opened");
        let connection = slot.take().expect("a closed connection was opened");
        assert!(connection.generation == id.generation);
        connection
    }

    /// The connection, unless it is gone or going.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.slots.get(id.index as usize)?.as_ref()?;
        (connection.generation == id.generation && !connection.is_closing).then_some(connection)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.index as usize)?.as_mut()?;
        (connection.generation == id.generation && !connection.is_closing).then_some(connection)
    }
}

/// How far a session is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its user's partition was asked. Requests that came since wait here, each with its length.
    LoggingIn { parked: Vec<u8> },
    /// The user is here.
    Open,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    pub(crate) user: Box<str>,
    pub(crate) roles: Roles,
    pub(crate) user_partition: PartitionId,
    /// Which of the user's logins made it, once the session is open; 0 before.
    pub(crate) login: u64,
    pub(crate) phase: Phase,
    /// Rooms that it hears.
    pub(crate) rooms: Vec<ObjectId>,
    /// Joins that are under way.
    pub(crate) joins_pending: usize,
    /// Objects that it watches.
    pub(crate) watches: Vec<ObjectId>,
    /// Watches that are under way.
    pub(crate) watches_pending: usize,
    /// Room to join when the login succeeds, as a ConnServer `player` names one.
    pub(crate) first_room: Option<Box<str>>,
}

#[derive(Debug)]
struct Slot {
    generation: u16,
    session: Option<Session>,
}

/// Sessions by slot.
#[derive(Debug)]
pub(crate) struct Sessions {
    shard: ShardId,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Sessions {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self { shard, slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, session: Session) -> SessionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, session: None });
            u32::try_from(self.slots.len() - 1).expect("there are fewer than 2^32 sessions")
        });
        let slot = &mut self.slots[index as usize];
        assert!(slot.session.is_none());
        slot.session = Some(session);
        SessionId { shard: self.shard, generation: slot.generation, index }
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        assert!(id.shard == self.shard, "a session's messages go to its shard");
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.session.as_mut() } else { None }
    }

    /// Every place from that index on, with the session that is in it, if any.
    pub(crate) fn places_from(
        &self,
        from: u32,
    ) -> impl ExactSizeIterator<Item = (SessionId, Option<&Session>)> {
        let from = (from as usize).min(self.slots.len());
        self.slots[from..].iter().enumerate().map(move |(offset, slot)| {
            let index = u32::try_from(from + offset).expect("there are fewer than 2^32 sessions");
            let id = SessionId { shard: self.shard, generation: slot.generation, index };
            (id, slot.session.as_ref())
        })
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        assert!(id.shard == self.shard, "a session's messages go to its shard");
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.session.as_ref() } else { None }
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Session> {
        assert!(id.shard == self.shard, "a session's messages go to its shard");
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let session = slot.session.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(session)
    }
}
