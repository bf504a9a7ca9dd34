//! What the snapshots' store says of the log that belongs to it: so a log that is gone, or is another
//! one, is told from one that never was.

use thiserror::Error;

use super::LogEnd;

/// The log without which the stored state is not all of it. It is on the disk before anything is
/// acknowledged, and before any commit goes that a mark before it needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMark {
    /// The log's salt.
    pub salt: u32,
    /// The first commit that a start needs: those below may be gone.
    pub first_needed: u64,
    /// A commit that is on the disk, like all before it; zero: none.
    pub reached: u64,
}

/// The log that is there is not the one that the store needs.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LogLost {
    /// There is none.
    #[error(
        "the delta log is gone; commits from {first_needed} on are needed, and {reached} was on the disk"
    )]
    Gone {
        /// The first commit that a start needs.
        first_needed: u64,
        /// A commit that was on the disk.
        reached: u64,
    },
    /// It is of another world, or of this one after its log was given up.
    #[error(
        "this is another delta log: its salt is {found:08x}, and the state's log has {salt:08x}"
    )]
    OtherLog {
        /// The salt of the log that is needed.
        salt: u32,
        /// The salt of the one that is there.
        found: u32,
    },
    /// Its oldest segments are gone.
    #[error("the delta log begins with commit {first}; commits from {first_needed} on are needed")]
    BeginsLater {
        /// The first commit that is there.
        first: u64,
        /// The first commit that a start needs.
        first_needed: u64,
    },
    /// Its newest segments are gone, or it was put back to an older state.
    #[error(
        "the delta log ends with commit {last}, and commit {reached} was on the disk: state and log are of different moments"
    )]
    EndsEarlier {
        /// The last commit that is there.
        last: u64,
        /// A commit that was on the disk.
        reached: u64,
    },
}

impl LogMark {
    /// Of a log that was found beside a store without a mark, or whose mark it fits.
    #[must_use]
    pub fn of(end: &LogEnd, before: Option<Self>) -> Self {
        let first_needed = before.map_or(end.first_commit(), |before| before.first_needed);
        Self { salt: end.salt(), first_needed, reached: end.last_commit() }
    }

    /// Looks whether the log that was found has all that a start needs.
    ///
    /// # Errors
    /// [`LogLost`].
    pub fn check(&self, end: &LogEnd) -> Result<(), LogLost> {
        let Self { salt, first_needed, reached } = *self;
        if !end.is_begun() {
            return Err(LogLost::Gone { first_needed, reached });
        }
        if end.salt() != salt {
            return Err(LogLost::OtherLog { salt, found: end.salt() });
        }
        if end.first_commit() > first_needed {
            return Err(LogLost::BeginsLater { first: end.first_commit(), first_needed });
        }
        if end.last_commit() < reached {
            return Err(LogLost::EndsEarlier { last: end.last_commit(), reached });
        }
        Ok(())
    }
}
