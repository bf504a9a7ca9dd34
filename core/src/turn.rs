//! What goes into a turn of a shard and what comes out: closed enums, with the bytes of their
//! messages in one arena per batch, so that a warm turn allocates nothing.

use alloc::vec::Vec;

use crate::control::{Answer, Command};
use crate::delta::DeltaBatch;
use crate::ids::{ConnectionId, GroupId, Sequence, ShardId};
use crate::limits::ARENA_BYTES_KEPT_MAX;
use crate::mesh::MeshBatch;
use crate::message::Message;
use crate::peer::PeerAddress;
use crate::reason::Reason;

/// A range of a batch's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte (or element).
    pub start: u32,
    /// Number of bytes (or elements).
    pub length: u32,
}

impl Span {
    /// The range from `start` to the arena's present end.
    ///
    /// # Panics
    /// When the arena has grown beyond 4 GiB, or is shorter than `start`.
    #[must_use]
    pub fn since<T>(start: usize, arena: &[T]) -> Self {
        let length = arena.len().checked_sub(start).expect("an arena only grows");
        Self {
            start: u32::try_from(start).expect("arenas stay below 4 GiB"),
            length: u32::try_from(length).expect("arenas stay below 4 GiB"),
        }
    }

    /// The range itself.
    #[must_use]
    pub fn of<T>(self, arena: &[T]) -> &[T] {
        let start = self.start as usize;
        &arena[start..start + self.length as usize]
    }
}

/// Time as a value: read once a turn by the caller, never here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Nanoseconds since some fixed moment before the start; never goes back.
    pub monotonic_ns: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z, for clients; may jump.
    pub wall_ms: u64,
}

/// How a connection's protocol wants to be answered, and how it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTraits {
    /// A reply repeats the request's fields, overlaid by its own.
    pub echoes_request: bool,
    /// An unknown method closes the connection.
    pub closes_on_unknown_method: bool,
    /// Another shard handed it over. It goes no further.
    pub has_moved: bool,
}

/// What the gateway tells the shard. Of one connection: one `Accepted`; if its protocol becomes
/// known, one `Opened`, any number of `Message` and `Refused`, perhaps one `Ended`, perhaps
/// `Banned`, one `Closed`; one `Departed`. Where nobody says where connections come from, `Accepted`
/// and `Departed` are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardInput {
    /// A connection is there, and may stay as far as this reactor goes.
    Accepted {
        /// Which.
        connection: ConnectionId,
        /// From where.
        peer: PeerAddress,
        /// Another shard accepted it and handed it over, with a `resume`.
        has_moved: bool,
    },
    /// The end of an accepted connection is decided, or it is another shard's from now on.
    Departed {
        /// Which.
        connection: ConnectionId,
        /// It is another shard's.
        has_moved: bool,
    },
    /// A connection that another shard accepted was lost on the way here.
    Lost {
        /// From where it was.
        peer: PeerAddress,
    },
    /// A connection's protocol is known.
    Opened {
        /// Which.
        connection: ConnectionId,
        /// How it wants to be answered, and how it came.
        traits: ConnectionTraits,
    },
    /// A checked message.
    Message {
        /// From which.
        connection: ConnectionId,
        /// The packed message in the batch's bytes.
        message: Span,
    },
    /// A checked message that is not to be run, because too many came. It is answered by the shard
    /// all the same: the answer counts as any other reply of the session does.
    Refused {
        /// From which.
        connection: ConnectionId,
        /// The packed message in the batch's bytes.
        message: Span,
        /// Why.
        reason: Reason,
    },
    /// A move in the fixed layout.
    Move {
        /// From which.
        connection: ConnectionId,
        /// The world and the motion in the batch's bytes.
        motion: Span,
    },
    /// The connection could not take a frame: none is sent to it until it can.
    FramesStalled {
        /// Which.
        connection: ConnectionId,
    },
    /// The connection can take frames again.
    FramesFlow {
        /// Which.
        connection: ConnectionId,
    },
    /// The client has said all it will say, and still listens. The shard asks for the close when
    /// it has answered.
    Ended {
        /// Which.
        connection: ConnectionId,
    },
    /// From where the client is nobody is let in any more. Its session ends at once, and the shard
    /// asks for the close.
    Banned {
        /// Which.
        connection: ConnectionId,
    },
    /// The connection is gone. Its id is used no more.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
}

/// The inputs of one turn.
#[derive(Debug, Default)]
pub struct ShardInputs {
    /// In the order in which they came.
    pub list: Vec<ShardInput>,
    /// Packed messages.
    pub bytes: Vec<u8>,
    /// Batches of other shards, each with its sender, in order per sender.
    pub mesh: Vec<(ShardId, MeshBatch)>,
    /// The operator's.
    pub commands: Vec<Command>,
    /// What the log has: up to which sequence of a group every delta batch is durable. A turn takes
    /// these before all else.
    pub durable: Vec<(GroupId, Sequence)>,
    /// How the log is, if that is known anew.
    pub log: Option<LogCondition>,
}

/// How a log takes what its shard makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCondition {
    /// It takes nothing, and nothing becomes durable.
    pub fails: bool,
    /// So much waits for it that clients are to change nothing more.
    pub is_behind: bool,
}

impl ShardInputs {
    /// Adds the message that stands in `bytes` from `start` to the end.
    pub fn push_message(&mut self, connection: ConnectionId, start: usize) {
        let message = Span::since(start, &self.bytes);
        self.list.push(ShardInput::Message { connection, message });
    }

    /// Adds the move that stands in `bytes` from `start` to the end.
    pub fn push_move(&mut self, connection: ConnectionId, start: usize) {
        let motion = Span::since(start, &self.bytes);
        self.list.push(ShardInput::Move { connection, motion });
    }

    /// Adds a message that is not to be run.
    pub fn push_refused(&mut self, connection: ConnectionId, start: usize, reason: Reason) {
        let message = Span::since(start, &self.bytes);
        self.list.push(ShardInput::Refused { connection, message, reason });
    }

    /// Empties what came from clients, the operator and the log, and keeps its memory; the mesh batches
    /// go back to where they came from.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        self.commands.clear();
        self.durable.clear();
        self.log = None;
    }
}

/// What the shard tells the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardOutput {
    /// A message for one connection.
    Send {
        /// For which.
        connection: ConnectionId,
        /// The packed message in the batch's bytes.
        message: Span,
    },
    /// A message for many connections.
    SendMany {
        /// For which, in the batch's `recipients`.
        recipients: Span,
        /// The packed message in the batch's bytes.
        message: Span,
    },
    /// A frame of a world for some connections, each of which may leave it out.
    Frame {
        /// For which, in the batch's `recipients`.
        recipients: Span,
        /// In the batch's bytes: the world's name with its length in one byte, and the frame in the
        /// layout of the binary protocol.
        frame: Span,
    },
    /// Close the connection when what was sent before has left.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: Reason,
    },
    /// A session is open on the connection: its client is no stranger any more.
    Admit {
        /// Which.
        connection: ConnectionId,
        /// It has the role `worker`, and may say more.
        is_worker: bool,
    },
    /// The connection goes to another shard, with this message and whatever was not read yet. One
    /// for each message of it that the shard has taken since the first; then comes its `Closed`.
    HandOver {
        /// Which.
        connection: ConnectionId,
        /// To which shard.
        to: ShardId,
        /// The packed message in the batch's bytes.
        message: Span,
        /// Why it is not to be run there, if it is not.
        refused: Option<Reason>,
    },
}

/// The outputs of one turn.
#[derive(Debug, Default)]
pub struct ShardOutputs {
    /// For the gateway, in order.
    pub list: Vec<ShardOutput>,
    /// Packed messages.
    pub bytes: Vec<u8>,
    /// Recipients of `SendMany`.
    pub recipients: Vec<ConnectionId>,
    /// For the other shards: one batch each, by shard number; our own stays empty.
    pub mesh: Vec<MeshBatch>,
    /// Changes of state, in order of their sequences per group.
    pub deltas: Vec<DeltaBatch>,
    /// For the operator: one to each command of the turn, in order.
    pub answers: Vec<Answer>,
}

impl ShardOutputs {
    /// Outputs of a shard that has `shard_count - 1` peers.
    #[must_use]
    pub fn new(shard_count: usize) -> Self {
        let mut outputs = Self::default();
        outputs.mesh.resize_with(shard_count, MeshBatch::default);
        outputs
    }

    /// The packed message of a `Send` or `SendMany`.
    #[must_use]
    pub fn message(&self, span: Span) -> Message<'_> {
        Message::from_checked(span.of(&self.bytes))
    }

    /// The world's name and the frame of a `Frame`.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn frame(&self, span: Span) -> (&str, &[u8]) {
        let (length, rest) = span.of(&self.bytes).split_first().expect("a name has a length");
        let (name, frame) = rest.split_at(usize::from(*length));
        (core::str::from_utf8(name).expect("names are ASCII"), frame)
    }

    /// Bytes that it holds for clients and other shards.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let recipients = self.recipients.len() * size_of::<ConnectionId>();
        let mesh: usize = self.mesh.iter().map(MeshBatch::size_bytes).sum();
        self.bytes.len() + recipients + mesh
    }

    /// Empties what the gateway and the log have taken, and keeps its memory unless a burst has
    /// made it large; the mesh batches are the mesh's to empty.
    pub fn clear(&mut self) {
        if self.size_bytes() > ARENA_BYTES_KEPT_MAX {
            self.list = Vec::new();
            self.bytes = Vec::new();
            self.recipients = Vec::new();
        }
        self.list.clear();
        self.bytes.clear();
        self.recipients.clear();
        self.deltas.clear();
        self.answers.clear();
    }
}
