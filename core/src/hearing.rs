//! What each session hears: on which connection, how many messages so far, and which of them could
//! still be told again. This is what delivery touches for every recipient of every message, so it
//! stands beside the sessions in a table of its own, a cache line for each.
//!
//! A message is counted when it is handed to a session, whether or not the session has a
//! connection then. The client counts the same messages; what it has not heard when its connection
//! broke are those between its count and ours.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::ids::{ConnectionId, SessionId};
use crate::reason::Reason;
use crate::replay_log::ReplayLog;

/// The place of a connection where there is none.
const NOBODY: ConnectionId = ConnectionId { index: u32::MAX, generation: 0 };
/// Least room of a list of positions, once there is one.
const POSITIONS_MIN: usize = 8;
/// A list of positions that has grown beyond this is freed when the client has heard them all.
const POSITIONS_KEPT_MAX: usize = 64;

/// Methods of the messages that are not counted, in either direction of time: they belong to a
/// connection.
const UNCOUNTED: [&str; 7] = ["hello", "login", "resume", "ping", "pong", "error", "closed"];

/// Whether a message of this method is counted.
pub(crate) fn is_counted(method: &str) -> bool {
    !UNCOUNTED.contains(&method)
}

/// One session's hearing, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Hearer {
    connection: ConnectionId,
    /// Counted messages so far.
    told_count: u64,
    /// Where the newest of them are in the log.
    positions: VecDeque<u64>,
}

/// The hearing of all sessions of a shard, by their slots.
#[derive(Debug)]
pub(crate) struct Hearing {
    hearers: Vec<Hearer>,
    log: ReplayLog,
    /// Most positions of one session; none: nothing is counted or kept.
    positions_max: Option<usize>,
    /// Most bytes that one session is told again at once.
    missed_bytes_max: usize,
}

impl Hearing {
    /// Hearing that keeps nothing.
    pub(crate) fn unkept() -> Self {
        let log = ReplayLog::new(0);
        Self { hearers: Vec::new(), log, positions_max: None, missed_bytes_max: 0 }
    }

    /// Hearing that keeps up to so many messages for each session and so many bytes for all, and
    /// tells one session up to so many bytes again.
    pub(crate) fn kept(positions_max: usize, bytes_max: usize, missed_bytes_max: usize) -> Self {
        assert!(positions_max > 0);
        let log = ReplayLog::new(bytes_max);
        let positions_max = Some(positions_max);
        Self { hearers: Vec::new(), log, positions_max, missed_bytes_max }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.positions_max.is_some()
    }

    /// The log of what was told.
    pub(crate) fn log(&self) -> &ReplayLog {
        &self.log
    }

    /// A session has come to be.
    pub(crate) fn begin(&mut self, session: SessionId, connection: ConnectionId) {
        let index = session.index as usize;
        if self.hearers.len() <= index {
            let nobody =
                || Hearer { connection: NOBODY, told_count: 0, positions: VecDeque::new() };
            self.hearers.resize_with(index + 1, nobody);
        }
        self.hearers[index].connection = connection;
    }

    /// A session is gone. Returns the connection that it had.
    pub(crate) fn end(&mut self, session: SessionId) -> Option<ConnectionId> {
        let hearer = &mut self.hearers[session.index as usize];
        let connection = core::mem::replace(&mut hearer.connection, NOBODY);
        hearer.told_count = 0;
        hearer.positions = VecDeque::new();
        (connection != NOBODY).then_some(connection)
    }

    /// The session's connection, unless it is detached.
    pub(crate) fn connection(&self, session: SessionId) -> Option<ConnectionId> {
        let connection = self.hearers[session.index as usize].connection;
        (connection != NOBODY).then_some(connection)
    }

    /// Gives the session another connection, or none. Returns the one before.
    pub(crate) fn set_connection(
        &mut self,
        session: SessionId,
        connection: Option<ConnectionId>,
    ) -> Option<ConnectionId> {
        let hearer = &mut self.hearers[session.index as usize];
        let before = core::mem::replace(&mut hearer.connection, connection.unwrap_or(NOBODY));
        (before != NOBODY).then_some(before)
    }

    /// Keeps a message that is about to be told.
    pub(crate) fn keep(&mut self, message: &[u8]) -> Option<u64> {
        self.positions_max.map(|_| self.log.push(message))
    }

    /// Tells a session of the message at this position, or of one that is not kept: then nothing up
    /// to it can be told again. Returns the connection to which it goes.
    #[inline]
    pub(crate) fn tell(
        &mut self,
        session: SessionId,
        position: Option<u64>,
    ) -> Option<ConnectionId> {
        let hearer = &mut self.hearers[session.index as usize];
        if let Some(most) = self.positions_max {
            hearer.told_count += 1;
            match position {
                Some(position) => {
                    if hearer.positions.len() >= most {
                        hearer.positions.pop_front();
                    } else if hearer.positions.len() == hearer.positions.capacity() {
                        make_room(&mut hearer.positions, &self.log);
                    }
                    hearer.positions.push_back(position);
                }
                None => hearer.positions.clear(),
            }
        }
        (hearer.connection != NOBODY).then_some(hearer.connection)
    }

    /// The client has heard so many messages: they are not told again.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it was not told so many.
    pub(crate) fn forget(&mut self, session: SessionId, heard_count: u64) -> Result<(), Reason> {
        let hearer = &mut self.hearers[session.index as usize];
        let missed = hearer.told_count.checked_sub(heard_count).ok_or(Reason::FieldInvalid)?;
        let heard = (hearer.positions.len() as u64).saturating_sub(missed);
        hearer.positions.drain(..heard as usize);
        if hearer.positions.is_empty() && hearer.positions.capacity() > POSITIONS_KEPT_MAX {
            hearer.positions = VecDeque::new();
        }
        Ok(())
    }

    /// How many messages a client that has heard so many has missed.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it was not told so many, [`Reason::ResumeTooOld`] when not all
    /// of those it missed can be told again.
    pub(crate) fn missed_count(
        &self,
        session: SessionId,
        heard_count: u64,
    ) -> Result<usize, Reason> {
        let hearer = &self.hearers[session.index as usize];
        let missed = hearer.told_count.checked_sub(heard_count).ok_or(Reason::FieldInvalid)?;
        if missed > hearer.positions.len() as u64 {
            return Err(Reason::ResumeTooOld);
        }
        let mut bytes = 0;
        // The oldest first: it is the one that is gone, if one is.
        for position in hearer.positions.range(hearer.positions.len() - missed as usize..) {
            bytes += self.log.get(*position).ok_or(Reason::ResumeTooOld)?.len();
        }
        if bytes > self.missed_bytes_max {
            return Err(Reason::ResumeTooOld);
        }
        Ok(missed as usize)
    }

    /// The last so many messages of a session, which are all there.
    pub(crate) fn last(&self, session: SessionId, count: usize) -> impl Iterator<Item = &[u8]> {
        let positions = &self.hearers[session.index as usize].positions;
        let last = positions.range(positions.len() - count..);
        last.map(|position| self.log.get(*position).expect("it was looked at before"))
    }

    /// The position of the session's oldest message that could be told again.
    pub(crate) fn first_position(&self, session: SessionId) -> Option<u64> {
        self.hearers[session.index as usize].positions.front().copied()
    }
}

/// Makes room for one more position: of those that are no longer in the log, or by a longer list.
#[cold]
fn make_room(positions: &mut VecDeque<u64>, log: &ReplayLog) {
    let gone = positions.partition_point(|position| !log.has(*position));
    positions.drain(..gone);
    if gone == 0 {
        positions.reserve_exact(positions.len().max(POSITIONS_MIN));
    }
}

#[cfg(test)]
mod tests;
