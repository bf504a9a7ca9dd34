//! What each session hears: on which connection, how many messages so far, and which of them could
//! still be told again. This is what delivery touches for every recipient of every message, so it
//! stands beside the sessions in a table of its own, half a cache line for each.
//!
//! A message is counted when it is handed to a session, whether or not the session has a
//! connection then. The client counts the same messages; what it has not heard when its connection
//! broke are those between its count and ours.

use alloc::vec::Vec;

use crate::ids::{ConnectionId, SessionId};
use crate::reason::Reason;
use crate::replay_log::{Link, NOWHERE, ReplayLog};

/// The place of a connection where there is none.
const NOBODY: ConnectionId = ConnectionId { index: u32::MAX, generation: 0 };

/// Methods of the messages that are not counted, in either direction of time: they belong to a
/// connection.
const UNCOUNTED: [&str; 8] =
    ["hello", "login", "resume", "ping", "pong", "error", "closed", "frame"];

/// Whether a message of this method is counted.
pub(crate) fn is_counted(method: &str) -> bool {
    !UNCOUNTED.contains(&method)
}

/// One session's hearing, never across two cache lines.
#[derive(Clone, Debug)]
#[repr(align(32))]
struct Hearer {
    connection: ConnectionId,
    /// Counted messages so far.
    told_count: u64,
    /// The link in the log to the newest of them; nowhere if that is not kept.
    last: u64,
    /// Which session of the slot it is.
    generation: u16,
    /// It waits for a whole frame of some world.
    has_frame_gap: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameWay {
    /// It goes to this connection.
    To(ConnectionId),
    /// The session has missed frames, or has no connection.
    Behind,
    /// There is no such session.
    Gone,
}

impl Hearer {
    const NOBODY: Self = Self {
        connection: NOBODY,
        told_count: 0,
        last: NOWHERE,
        generation: 0,
        has_frame_gap: false,
    };
}

const _: () = assert!(size_of::<Hearer>() == 32);

/// The hearing of all sessions of a shard, by their slots.
#[derive(Debug)]
pub(crate) struct Hearing {
    hearers: Vec<Hearer>,
    log: ReplayLog,
    /// Most messages that one session is told again; none: nothing is counted or kept.
    messages_max: Option<usize>,
    /// Most bytes that one session is told again at once.
    missed_bytes_max: usize,
}

impl Hearing {
    /// Hearing that keeps nothing.
    pub(crate) fn unkept() -> Self {
        let log = ReplayLog::new(0, 0);
        Self { hearers: Vec::new(), log, messages_max: None, missed_bytes_max: 0 }
    }

    /// Hearing that keeps this log for all sessions, and tells one up to so many messages and bytes
    /// again.
    pub(crate) fn kept(log: ReplayLog, messages_max: usize, missed_bytes_max: usize) -> Self {
        assert!(messages_max > 0);
        let messages_max = Some(messages_max);
        Self { hearers: Vec::new(), log, messages_max, missed_bytes_max }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.messages_max.is_some()
    }

    /// The log of what was told.
    pub(crate) fn log(&self) -> &ReplayLog {
        &self.log
    }

    /// A session has come to be.
    pub(crate) fn begin(&mut self, session: SessionId, connection: ConnectionId) {
        let index = session.index as usize;
        if self.hearers.len() <= index {
            self.hearers.resize(index + 1, Hearer::NOBODY);
        }
        let hearer = &mut self.hearers[index];
        hearer.connection = connection;
        hearer.generation = session.generation;
        hearer.has_frame_gap = false;
    }

    /// A session is gone. Returns the connection that it had.
    pub(crate) fn end(&mut self, session: SessionId) -> Option<ConnectionId> {
        let hearer = &mut self.hearers[session.index as usize];
        let connection = core::mem::replace(hearer, Hearer::NOBODY).connection;
        (connection != NOBODY).then_some(connection)
    }

    /// The session's connection, unless it is detached.
    pub(crate) fn connection(&self, session: SessionId) -> Option<ConnectionId> {
        let connection = self.hearers[session.index as usize].connection;
        (connection != NOBODY).then_some(connection)
    }

    /// Whereto a frame for the session goes.
    #[inline]
    pub(crate) fn frame_way(&self, session: SessionId) -> FrameWay {
        match self.hearers.get(session.index as usize) {
            Some(hearer) if hearer.generation == session.generation => {
                if hearer.has_frame_gap || hearer.connection == NOBODY {
                    FrameWay::Behind
                } else {
                    FrameWay::To(hearer.connection)
                }
            }
            _ => FrameWay::Gone,
        }
    }

    /// Notes whether the session waits for a whole frame of some world.
    pub(crate) fn set_frame_gap(&mut self, session: SessionId, has_gap: bool) {
        self.hearers[session.index as usize].has_frame_gap = has_gap;
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
        self.messages_max.map(|_| self.log.push(message))
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
        if self.messages_max.is_some() {
            hearer.told_count += 1;
            hearer.last = match position {
                Some(message) => self.log.link(Link { message, previous: hearer.last }),
                None => NOWHERE,
            };
        }
        (hearer.connection != NOBODY).then_some(hearer.connection)
    }

    /// How many counted messages a client that has heard so many has not heard.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it was not told so many.
    pub(crate) fn missed_count(&self, session: SessionId, heard_count: u64) -> Result<u64, Reason> {
        let told_count = self.hearers[session.index as usize].told_count;
        told_count.checked_sub(heard_count).ok_or(Reason::FieldInvalid)
    }

    /// Where in the log the messages are that a client that has heard so many has missed, the oldest
    /// first.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it was not told so many, [`Reason::ResumeTooOld`] when not all
    /// of those it missed can be told again.
    pub(crate) fn missed(&self, session: SessionId, heard_count: u64) -> Result<Vec<u64>, Reason> {
        let count = self.missed_count(session, heard_count)?;
        let most = self.messages_max.unwrap_or(0);
        let count = usize::try_from(count).ok().filter(|count| *count <= most);
        let count = count.ok_or(Reason::ResumeTooOld)?;
        let mut positions = Vec::new();
        let mut bytes = 0;
        let mut at = self.hearers[session.index as usize].last;
        for _ in 0..count {
            let link = self.log.link_at(at).ok_or(Reason::ResumeTooOld)?;
            bytes += self.log.message_at(link.message).ok_or(Reason::ResumeTooOld)?.len();
            if bytes > self.missed_bytes_max {
                return Err(Reason::ResumeTooOld);
            }
            positions.push(link.message);
            at = link.previous;
        }
        positions.reverse();
        Ok(positions)
    }
}

#[cfg(test)]
mod tests;
