//! What the operator asks of a shard, and what it answers: closed enums that come in and go out with
//! a turn, like all else. A command is answered in the turn that takes it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bans::Bans;
use crate::ids::{ConnectionId, GroupId, ObjectId, PartitionId, SessionId};
use crate::inline::InlineTable;
use crate::reason::Reason;

mod queues;

pub use queues::{
    DeadOrder, DeadRow, DeadTasks, PartitionRow, QueueRow, SettledRow, TaskCounts, TaskTotals,
};

/// Most rows of one answer.
pub const ROWS_MAX: usize = 250;
/// Most places that one answer looks at, empty ones too: it then says where to go on, so that no
/// turn becomes long.
pub const PLACES_MAX: usize = 4096;
/// An answer that has read so many bytes of records reads no more, for the same reason.
pub const DIGEST_BYTES_MAX: usize = 1 << 20;

/// What a shard is to do or to tell.
#[derive(Clone, Debug)]
pub enum Command {
    /// Tell of sessions of this shard, by their index from `from` on, at most `count`.
    ListSessions {
        /// The first index.
        from: u32,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell of sessions of this shard that do tasks, by their index from `from` on, at most `count`.
    ListWorkers {
        /// The first index.
        from: u32,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell how many tasks of this shard these sessions have, which may be of any.
    CountLeases {
        /// At most [`ROWS_MAX`].
        sessions: Arc<[SessionId]>,
    },
    /// Tell of rooms whose home is here, by their ids from `from` on, at most `count`.
    ListRooms {
        /// The first id.
        from: ObjectId,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell digests of the objects of this shard, by their ids from `from` on, of at most `count` groups.
    DigestObjects {
        /// The first id.
        from: ObjectId,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell by which session a user is here whose name lives in a partition of this shard.
    FindUser {
        /// The user's name.
        user: Box<str>,
    },
    /// End the session of a user whose name lives in a partition of this shard.
    EndSession {
        /// The user's name.
        user: Box<str>,
        /// Why: `kicked` or `banned`.
        reason: Reason,
    },
    /// From now on these are not let in.
    SetBans(Arc<Bans>),
    /// Tell how the tasks of each method stand here, by the methods' numbers from `from` on, of at most
    /// `count` methods.
    ListQueues {
        /// The first number.
        from: u32,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell which partitions have most tasks, of at most [`PLACES_MAX`] from `from` on.
    DeepestPartitions {
        /// The first partition.
        from: PartitionId,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
    },
    /// Tell of dead tasks of this shard, by their ids from `from` on, at most `count`.
    ListDead {
        /// The first id.
        from: ObjectId,
        /// At most [`ROWS_MAX`] are told.
        count: usize,
        /// Those of this method alone.
        method: Option<Box<str>>,
    },
    /// Tell all of a dead task.
    ShowDead(ObjectId),
    /// Try dead tasks again, or remove them.
    SettleDead {
        /// Which of the two.
        order: DeadOrder,
        /// Which tasks.
        tasks: DeadTasks,
    },
    /// From this turn on these methods are done inline, and no others; and NPCs are moved by these
    /// behaviours, besides the server's own.
    SetInline(InlineTable),
}

/// What comes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `ListSessions`.
    Sessions(Page<SessionRow, u32>),
    /// To `ListWorkers`.
    Workers(Page<WorkerRow, u32>),
    /// To `CountLeases`: of each, in order.
    Leases(Vec<Leases>),
    /// To `ListRooms`.
    Rooms(Page<RoomRow, ObjectId>),
    /// To `DigestObjects`.
    Digests(Page<DigestRow, ObjectId>),
    /// To `FindUser` and `EndSession`: the session by which the user is here, if any.
    Session(Option<SessionId>),
    /// To `SetBans`.
    BansSet,
    /// To `ListQueues`.
    Queues(Page<QueueRow, u32>),
    /// To `DeepestPartitions`: the deepest first.
    Partitions(Page<PartitionRow, PartitionId>),
    /// To `ListDead`.
    Dead(Page<DeadRow, ObjectId>),
    /// To `ShowDead`: the task, if it is dead.
    DeadTask(Option<Box<DeadRow>>),
    /// To `SettleDead`.
    DeadSettled(Page<SettledRow, ObjectId>),
    /// To `SetInline`.
    InlineSet,
}

/// Some rows, and where the next ones begin, if there may be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<Row, Place> {
    /// In order.
    pub rows: Vec<Row>,
    /// What to ask for next.
    pub next: Option<Place>,
}

/// What is told of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// Its user's name.
    pub user: Box<str>,
    /// The connection that it has now, if any.
    pub connection: Option<ConnectionId>,
    /// Its user's partition was asked, and has not agreed yet.
    pub is_logging_in: bool,
    /// Rooms that it is in.
    pub rooms: usize,
    /// Objects that it watches.
    pub watches: usize,
}

/// What is told of a session that does tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its id.
    pub session: SessionId,
    /// Its user's name.
    pub user: Box<str>,
    /// What does its methods and behaviours, as it says itself.
    pub plugins: Vec<Box<str>>,
    /// What it does.
    pub methods: Vec<Box<str>>,
    /// Whose NPCs it moves.
    pub behaviours: Vec<Box<str>>,
    /// Tasks that it takes at a time from each shard.
    pub credits: usize,
}

/// What a session has of the tasks of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Number of tasks.
    pub count: usize,
    /// For how long it has had the oldest, in milliseconds.
    pub oldest_ms: u64,
    /// Questions of NPCs that it has not answered.
    pub thinks: usize,
    /// For how long it has been silent since a lease of it ended by its time, or since it was asked in vain for
    /// NPCs, in milliseconds. Until it says something it gets no tasks, or is asked nothing.
    pub silent_ms: Option<u64>,
}

/// What is told of a group's objects, or of some of them: a page may end within a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestRow {
    /// Which group.
    pub group: GroupId,
    /// Number of objects.
    pub objects: u64,
    /// Equal for equal objects, in whatever order. Those of parts are added, modulo 2^64.
    pub digest: u64,
}

/// What is told of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Its object.
    pub object: ObjectId,
    /// Its name.
    pub name: Box<str>,
    /// Number of members.
    pub members: usize,
    /// The number of its last message; 0 when there was none.
    pub last_sequence: u64,
    /// Not listed to strangers.
    pub is_secret: bool,
    /// Goes when it has been empty for a while.
    pub is_transient: bool,
}
