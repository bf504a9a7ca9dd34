//! Connections and sessions of a shard. A connection is a socket; a session is a user's identity,
//! which comes to be at login and outlives its connection for a while: it is detached then, until
//! its client resumes it on another. Which connection a session has, stands with what it hears
//! (`hearing.rs`).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::authorize::Roles;
use crate::ids::{ConnectionId, ObjectId, PartitionId, SessionId, ShardId};
use crate::parked::Parked;
use crate::rate::Meter;
use crate::remembered::RememberedRequests;
use crate::token::Token;
use crate::turn::ConnectionTraits;

/// What a shard knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    generation: u32,
    pub(crate) traits: ConnectionTraits,
    pub(crate) session: Option<SessionId>,
    /// Requests that a partition has not answered yet.
    pub(crate) unanswered: u32,
    /// Its place among those whose login waits for a later turn.
    pub(crate) waiting: Option<u64>,
    /// How often a `login` or `resume` was refused on it.
    pub(crate) refused_logins: u8,
    /// The client has said all it will say.
    pub(crate) has_ended: bool,
    /// The gateway was told to close it: what still comes in is ignored.
    pub(crate) is_closing: bool,
    /// The shard that keeps the session which it resumes: all that it sends is passed on there.
    pub(crate) moving_to: Option<ShardId>,
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
            waiting: None,
            refused_logins: 0,
            has_ended: false,
            is_closing: false,
            moving_to: None,
        });
    }

    pub(crate) fn close(&mut self, id: ConnectionId) -> Connection {
        let slot = self.slots.get_mut(id.index as usize).expect("a closed connection was opened");
        let connection = slot.take().expect("a closed connection was opened");
        assert!(connection.generation == id.generation);
        connection
    }

    /// The connection has no session any more.
    pub(crate) fn unlink(&mut self, id: ConnectionId) {
        let slot = self.slots.get_mut(id.index as usize).and_then(Option::as_mut);
        if let Some(connection) = slot.filter(|slot| slot.generation == id.generation) {
            connection.session = None;
        }
    }

    /// Whether its protocol is known, and it is not gone; it may be going.
    pub(crate) fn is_known(&self, id: ConnectionId) -> bool {
        let slot = self.slots.get(id.index as usize).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.generation == id.generation)
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
    /// Its user's partition was asked. Requests that came since wait here.
    LoggingIn { parked: Parked },
    /// The user is here.
    Open,
}

/// By which tokens a session may be resumed. None before its login was granted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tokens {
    latest: Option<Token>,
    /// The one before, until the client shows by a message that it may have heard of the latest.
    before: Option<Token>,
}

impl Tokens {
    /// Whether this one is valid. Both are looked at, whichever fits.
    pub(crate) fn accept(&self, shown: Token) -> bool {
        let fits = |token: Option<Token>| token.is_some_and(|token| token.is(shown));
        fits(self.latest) | fits(self.before)
    }

    /// The session begins with its first token.
    pub(crate) fn begin(&mut self, first: Token) {
        self.latest = Some(first);
    }

    /// The session was resumed with a token: that one stays valid for a while, beside the next.
    pub(crate) fn rotate(&mut self, shown: Token, next: Token) {
        *self = Self { latest: Some(next), before: Some(shown) };
    }

    /// The token before the latest is void.
    pub(crate) fn confirm(&mut self) {
        // Asked for at every request: what is cold is not written to for nothing.
        if self.before.is_some() {
            self.before = None;
        }
    }
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
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
    /// It takes tasks.
    pub(crate) is_worker: bool,
    pub(crate) tokens: Tokens,
    /// What was kept of messages for it alone.
    pub(crate) kept_alone: Meter,
    /// Which of its connections it has or had last, counted from 0.
    pub(crate) connection_number: u32,
    pub(crate) requests: RememberedRequests,
    /// Its place among the detached sessions, while it is one of them.
    pub(crate) detached: Option<u64>,
    /// What concerns worlds; none while it is in none and its connection takes frames.
    pub(crate) seated: Option<Box<Seated>>,
}

/// What concerns worlds of a session: apart, since most sessions are in none.
#[derive(Debug, Default)]
pub(crate) struct Seated {
    /// Its entities, one in each world that it is in.
    pub(crate) seats: Vec<Seat>,
    /// Since when its connection takes no frames; none while it takes them.
    pub(crate) frames_stalled_ns: Option<u64>,
}

/// A session's entity in a world.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) world: ObjectId,
    /// Where the world's home keeps it.
    pub(crate) slot: u32,
    pub(crate) entity: u16,
    /// Its user may use `move`.
    pub(crate) may_move: bool,
    /// It has missed frames: the next one of this world has to be a whole one.
    pub(crate) awaits_whole: bool,
    /// The world's.
    pub(crate) name: Box<str>,
}

impl Session {
    /// A session whose user's partition is being asked.
    pub(crate) fn logging_in(user: Box<str>, roles: Roles, first_room: Option<&str>) -> Self {
        Self {
            user_partition: PartitionId::of_name(&user),
            user,
            roles,
            login: 0,
            phase: Phase::LoggingIn { parked: Parked::default() },
            rooms: Vec::new(),
            joins_pending: 0,
            watches: Vec::new(),
            watches_pending: 0,
            first_room: first_room.map(Box::from),
            is_worker: false,
            tokens: Tokens::default(),
            kept_alone: Meter::default(),
            connection_number: 0,
            requests: RememberedRequests::default(),
            detached: None,
            seated: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Its entities, one in each world that it is in.
    pub(crate) fn seats(&self) -> &[Seat] {
        self.seated.as_ref().map_or(&[], |seated| &seated.seats)
    }
}

/// The detached sessions of a shard, in the order in which their grace times end. All have the
/// same, so it is the order in which they were detached.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// By a number that rises, with the end of its grace time.
    sessions: BTreeMap<u64, (u64, SessionId)>,
    next: u64,
}

impl Detached {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Adds a session, and says at which place.
    pub(crate) fn insert(&mut self, due_ns: u64, session: SessionId) -> u64 {
        let place = self.next;
        self.next += 1;
        self.sessions.insert(place, (due_ns, session));
        place
    }

    pub(crate) fn remove(&mut self, place: u64) {
        assert!(self.sessions.remove(&place).is_some(), "a detached session has its place");
    }

    /// Whether the grace time of the one at this place is over.
    pub(crate) fn is_overdue(&self, place: u64, now_ns: u64) -> bool {
        self.sessions[&place].0 <= now_ns
    }

    /// The one whose grace time has been over for longest.
    pub(crate) fn first_overdue(&self, now_ns: u64) -> Option<SessionId> {
        self.first().filter(|(due_ns, _)| *due_ns <= now_ns).map(|(_, session)| session)
    }

    /// The one whose grace time ends first, and when.
    pub(crate) fn first(&self) -> Option<(u64, SessionId)> {
        self.sessions.first_key_value().map(|(_, first)| *first)
    }
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
