//! What a submission is called while it is under way, and what its completion says.

use io_uring::cqueue;

use super::buffers::BufferId;

/// Generations have 24 bits: this mask takes a counter to what fits beside a slot.
pub const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const GENERATION_BITS: u32 = 24;

/// What a submission does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationKind {
    /// Accept connections into free slots, until it fails.
    Accept = 1,
    /// Receive into provided buffers, until it fails or the peer closes.
    Receive,
    /// Send from borrowed memory what the socket takes at once. Completes only when that is less
    /// than all.
    Send,
    /// Send a buffer of the ring's own, waiting for room.
    SendQueued,
    /// Shut down one or both directions.
    Shutdown,
    /// Close a slot. Completes only when it fails.
    Close,
    /// Cancel another operation. Completes only when it fails.
    Cancel,
    /// Read the counter by which other threads wake this ring.
    WakeRead,
    /// Wake another ring. Completes only when it fails.
    PeerWake,
    /// Nothing was submitted here: another ring woke this one.
    PeerWoken,
    /// Put a connected socket into a free slot. Its index is a number of its own, no slot.
    Enter,
    /// Make a descriptor for the socket in a slot.
    Install,
}

impl OperationKind {
    const ALL: [Self; 12] = [
        Self::Accept,
        Self::Receive,
        Self::Send,
        Self::SendQueued,
        Self::Shutdown,
        Self::Close,
        Self::Cancel,
        Self::WakeRead,
        Self::PeerWake,
        Self::PeerWoken,
        Self::Enter,
        Self::Install,
    ];
}

/// The name of a submission: kind (8 bits) << 56 | generation (24 bits) << 32 | index (32 bits).
/// The index is the slot it works on, and the generation says which user of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserData(u64);

impl UserData {
    /// A name. Only the low 24 bits of the generation are kept.
    #[must_use]
    pub const fn new(kind: OperationKind, generation: u32, index: u32) -> Self {
        let generation = (generation & GENERATION_MASK) as u64;
        Self((kind as u64) << 56 | generation << 32 | index as u64)
    }

    /// The name as the kernel keeps it.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The kind, or `None` when the name was not made here.
    #[must_use]
    pub fn kind(self) -> Option<OperationKind> {
        let kind = (self.0 >> 56) as usize;
        OperationKind::ALL.get(kind.checked_sub(1)?).copied()
    }

    /// Which user of the slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MASK
    }

    /// The slot.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// How an operation ended, or what a lasting one yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: bytes moved, or the slot of an accepted socket or of one that has entered. A receive
    /// of 0 bytes is the end.
    Done(u32),
    /// The socket takes nothing now.
    WouldBlock,
    /// No receive buffer was free: receive again when some are.
    BuffersExhausted,
    /// The file table is full; the socket that was to be accepted is closed.
    TableFull,
    /// Cancelled.
    Cancelled,
    /// Failed with this error number.
    Failed(i32),
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The submission's name.
    pub user_data: UserData,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the operation is still under way and will complete again.
    pub more: bool,
    /// The buffer that holds the received bytes; it is the caller's until it is given back.
    pub buffer: Option<BufferId>,
}

impl Completion {
    pub(super) fn from_entry(entry: &cqueue::Entry) -> Self {
        let flags = entry.flags();
        Self {
            user_data: UserData(entry.user_data()),
            outcome: outcome(entry.result()),
            more: cqueue::more(flags),
            buffer: cqueue::buffer_select(flags).map(BufferId),
        }
    }
}

fn outcome(result: i32) -> Outcome {
    if let Ok(done) = u32::try_from(result) {
        return Outcome::Done(done);
    }
    match -result {
        libc::EAGAIN => Outcome::WouldBlock,
        libc::ENOBUFS => Outcome::BuffersExhausted,
        libc::ENFILE => Outcome::TableFull,
        libc::ECANCELED => Outcome::Cancelled,
        errno => Outcome::Failed(errno),
    }
}
