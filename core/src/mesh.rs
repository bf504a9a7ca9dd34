//! What shards of one node say to each other. A batch is what one shard has for another from one
//! turn: a list of messages and one arena for their bytes. Between two shards batches stay in
//! order, so all that this file carries does.

use alloc::vec::Vec;

use crate::acknowledgement::AckLevel;
use crate::admission::AddressEvent;
use crate::authorize::Roles;
use crate::ids::{ConnectionId, Epoch, ObjectId, PartitionId, SessionId, ShardId};
use crate::peer::PeerAddress;
use crate::reason::Reason;
use crate::turn::Span;
use crate::world::TickHeader;
use crate::world::motion::Motion;

/// Who asked: where the reply goes, and what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session. It names the shard; during `login` it is not open yet.
    pub session: SessionId,
    /// The connection of that shard on which the request came.
    pub connection: ConnectionId,
    /// The reply repeats the request's fields.
    pub echoes_request: bool,
}

impl Origin {
    /// The shard to which the reply goes.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.session.shard
    }
}

/// What a partition is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Run the message's method and reply.
    Request {
        /// When, if it changes something.
        level: AckLevel,
    },
    /// Have the message's method done inline, or make it a task. The reply comes when it is done.
    Task {
        /// When, once it is done.
        level: AckLevel,
    },
    /// The session is gone: take it out of this room. No reply.
    LeaveRoom {
        /// Which room.
        room: ObjectId,
    },
    /// The session is gone: its user is no longer here. No reply.
    LogOut,
    /// The session is gone: it no longer watches this object. No reply.
    EndWatch {
        /// Which object.
        object: ObjectId,
    },
    /// The session that had this task takes none any more: another may have it. No reply.
    LoseTask {
        /// Which.
        task: ObjectId,
    },
    /// The shard has leased this task to itself, since its method is done inline: it does the message, which is
    /// the task's request. No reply but that of the task.
    RunTask {
        /// Which.
        task: ObjectId,
        /// Of which lease.
        token: u64,
    },
    /// An object of the room that the message names has changed: its members hear the message,
    /// with the room's next number. No reply.
    ObjectNotice,
    /// A task of another partition has the scheduled event made that the message, a `new-event`, says. No
    /// reply.
    MakeEvent,
}

/// One input to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// For which partition.
    pub partition: PartitionId,
    /// The epoch of the partition's group by which the sender routed it.
    pub epoch: Epoch,
    /// What to do.
    pub kind: EventKind,
    /// Who asked.
    pub origin: Origin,
    /// The user's partition: where objects go unless the message says otherwise.
    pub user_partition: PartitionId,
    /// Which of the user's logins made the session; 0 before it did. The session of a higher one
    /// has displaced it, whichever reaches a partition first.
    pub login: u64,
    /// What the user may do here.
    pub roles: Roles,
}

/// One message between two shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MeshMessage {
    /// An event for a partition of the receiver.
    Event {
        /// Whose, what, where.
        header: EventHeader,
        /// The user's name.
        user: Span,
        /// The packed request or notice; otherwise empty.
        message: Span,
    },
    /// The answer to a request.
    Reply {
        /// Who asked.
        origin: Origin,
        /// The packed reply.
        message: Span,
    },
    /// The partition knows the session's user as present: the session is open.
    LoggedIn {
        /// Whose.
        origin: Origin,
        /// The user's own object.
        object: ObjectId,
        /// Which of the user's logins this is, from 1.
        login: u64,
        /// The user's name.
        user: Span,
    },
    /// The login was refused: the session does not come to be.
    LoginRefused {
        /// Whose.
        origin: Origin,
        /// Why.
        reason: Reason,
    },
    /// The user logged in elsewhere, or the operator wants the user out: end this session.
    Displace {
        /// Which.
        session: SessionId,
        /// Why: `displaced`, `kicked` or `banned`.
        reason: Reason,
    },
    /// From now on the session hears the room.
    RelayJoin {
        /// Which room.
        room: ObjectId,
        /// Who.
        session: SessionId,
        /// The user's name.
        user: Span,
    },
    /// From now on the session no longer hears the room.
    RelayLeave {
        /// Which room.
        room: ObjectId,
        /// Who.
        session: SessionId,
    },
    /// The join was refused; the session has one join less under way.
    JoinRefused {
        /// Whose.
        session: SessionId,
    },
    /// A room's next message, for all its members on the receiver.
    RoomMessage {
        /// Which room.
        room: ObjectId,
        /// The room's number for it.
        sequence: u64,
        /// The packed message.
        message: Span,
    },
    /// From now on the session hears of the object.
    WatchStarted {
        /// Which object.
        object: ObjectId,
        /// Who.
        session: SessionId,
    },
    /// From now on the session no longer hears of the object.
    WatchEnded {
        /// Which object.
        object: ObjectId,
        /// Who.
        session: SessionId,
    },
    /// The session may no longer read the object: it hears that it is deleted, and no more of it.
    WatchRevoked {
        /// Which object.
        object: ObjectId,
        /// Who.
        session: SessionId,
    },
    /// The watch was refused; the session has one watch less under way.
    WatchRefused {
        /// Whose.
        session: SessionId,
    },
    /// A message for all who watch the object on the receiver.
    ObjectMessage {
        /// Which object.
        object: ObjectId,
        /// The object is gone: nothing follows, and the watches have ended.
        is_last: bool,
        /// The packed message.
        message: Span,
    },
    /// A message for one session.
    Direct {
        /// For which.
        session: SessionId,
        /// The packed message.
        message: Span,
    },
    /// The session takes tasks of these methods.
    Work {
        /// Which.
        session: SessionId,
        /// The packed `work`.
        work: Span,
    },
    /// The session takes no tasks any more: those that it has go to others.
    WorkerGone {
        /// Which.
        session: SessionId,
    },
    /// A connection from an address that the receiver counts.
    AddressEvent {
        /// From where.
        peer: PeerAddress,
        /// Which, on the sender's reactor.
        connection: ConnectionId,
        /// The sender.
        from: ShardId,
        /// What of it.
        event: AddressEvent,
    },
    /// The connection's address has too much: close it.
    ConnectionRefused {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: Reason,
    },
    /// The session has an entity in the world.
    WorldSeat {
        /// Which world.
        world: ObjectId,
        /// Where the sender keeps it.
        slot: u32,
        /// The entity's number.
        entity: u16,
        /// Whose.
        session: SessionId,
        /// The world's name.
        name: Span,
    },
    /// The session has no entity in the world any more.
    WorldUnseat {
        /// Which world.
        world: ObjectId,
        /// Whose.
        session: SessionId,
    },
    /// A member moves its entity.
    WorldMove {
        /// Which world.
        world: ObjectId,
        /// Where the receiver keeps it.
        slot: u32,
        /// Which entity.
        entity: u16,
        /// Whose it is.
        session: SessionId,
        /// How it moves.
        motion: Motion,
    },
    /// A member has missed frames and wants a whole one.
    WorldResync {
        /// Which world.
        world: ObjectId,
        /// Who.
        session: SessionId,
    },
    /// A world's tick, for all its members on the receiver.
    WorldFrames {
        /// What all frames of it begin with.
        header: TickHeader,
        /// What there is to tell.
        sections: Span,
        /// Who is told which of it.
        plan: Span,
    },
    /// The `rooms` request goes from shard to shard and gathers names.
    RoomsPage {
        /// Who asked.
        origin: Origin,
        /// What the user may do here.
        roles: Roles,
        /// Shards not yet visited, after the receiver.
        shards_left: u16,
        /// The packed request.
        request: Span,
        /// The first names so far, as a packed message with a list.
        gathered: Span,
    },
}

/// What one shard has for another from one turn.
#[derive(Debug, Default)]
pub struct MeshBatch {
    /// In order.
    pub list: Vec<MeshMessage>,
    /// Packed messages and names.
    pub bytes: Vec<u8>,
}

impl MeshBatch {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes it holds, its list included: the measure of the staging bound.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.list.len() * size_of::<MeshMessage>()
    }

    /// Copies bytes to the arena.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::since(start, &self.bytes)
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }
}
