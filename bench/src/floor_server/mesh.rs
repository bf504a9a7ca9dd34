//! What the floor's threads have for each other: only where one room is on several of them. A turn
//! takes one lock and one wake for each other thread at most.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::ring::Ring;

/// What one thread tells another of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// To the home: the room has members on this thread.
    Here {
        /// The room.
        room: u32,
        /// The thread.
        shard: usize,
    },
    /// To the home: somebody says this.
    Say {
        /// The room.
        room: u32,
        /// How long the frame for the members is.
        heard_bytes: u16,
        /// The text.
        text: String,
    },
    /// From the home: the room's members hear this.
    Heard {
        /// The room.
        room: u32,
        /// The whole frame.
        frame: Vec<u8>,
    },
}

/// One thread's inbox, and the ring that is woken when something comes.
#[derive(Default)]
struct Inbox {
    words: Mutex<Vec<Word>>,
    ring: OnceLock<RawFd>,
}

impl Inbox {
    fn words(&self) -> MutexGuard<'_, Vec<Word>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of all threads.
pub(super) struct Mesh(Vec<Inbox>);

impl Mesh {
    pub(super) fn new(shard_count: usize) -> Self {
        Self((0..shard_count).map(|_| Inbox::default()).collect())
    }

    /// From now on this ring is woken for the thread. A thread has one.
    pub(super) fn enter(&self, shard: usize, ring: &Ring) {
        let known = self.0[shard].ring.set(ring.descriptor());
        assert_eq!(known, Ok(()), "a thread enters once");
    }

    /// Takes what has come for a thread.
    pub(super) fn take(&self, shard: usize, out: &mut Vec<Word>) {
        out.append(&mut self.0[shard].words());
    }

    /// Hands over what this turn had for others, by the ring of the calling thread.
    pub(super) fn publish(&self, staged: &mut [Vec<Word>], ring: &mut Ring) {
        for (inbox, words) in self.0.iter().zip(staged).filter(|(_, words)| !words.is_empty()) {
            inbox.words().append(words);
            // A thread that has not come so far looks before its first wait.
            if let Some(peer) = inbox.ring.get() {
                ring.wake_peer(*peer);
            }
        }
    }
}
