//! What sessions were told of late: every message once, however many sessions heard it, and for each
//! of them a link, which leads to the message and to the link before it of that session. So whoever
//! knows a session's last link (`hearing.rs`) finds all that it was told, newest first.
//!
//! Messages and links stand in two logs, so that a crowd's many links push out no messages. Each is
//! bounded; the oldest go.

use crate::limits::REPLAY_LINK_BYTES;
use crate::segment_log::SegmentLog;

/// The position of what is not there.
pub(crate) const NOWHERE: u64 = u64::MAX;
/// Bytes before each message: its length.
const LENGTH_BYTES: usize = 4;

/// What one session was told: a message, and the link before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The message's position.
    pub(crate) message: u64,
    /// The position of the session's link before; nowhere if there is none.
    pub(crate) previous: u64,
}

/// The messages of a shard's sessions, and who heard them.
#[derive(Debug)]
pub(crate) struct ReplayLog {
    messages: SegmentLog,
    links: SegmentLog,
}

impl ReplayLog {
    /// A log that keeps so many bytes of messages, and so many links.
    pub(crate) fn new(bytes_max: usize, links_max: usize) -> Self {
        let links = SegmentLog::new(links_max * REPLAY_LINK_BYTES);
        Self { messages: SegmentLog::new(bytes_max), links }
    }

    /// The bytes that a message takes.
    pub(crate) fn bytes_of(message: &[u8]) -> usize {
        LENGTH_BYTES + message.len()
    }

    /// The position of the next message. Positions only rise.
    pub(crate) fn end(&self) -> u64 {
        self.messages.end()
    }

    /// Bytes of memory that messages take.
    pub(crate) fn message_bytes(&self) -> usize {
        self.messages.reserved_bytes()
    }

    /// Bytes of memory that links take.
    pub(crate) fn link_bytes(&self) -> usize {
        self.links.reserved_bytes()
    }

    /// Keeps a message, and says where. One that is longer than the whole log is not kept, nor
    /// anything before it.
    pub(crate) fn push(&mut self, message: &[u8]) -> u64 {
        let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
        self.messages.append(&length.to_le_bytes(), message)
    }

    /// The message at this position, if it is still there.
    pub(crate) fn message_at(&self, position: u64) -> Option<&[u8]> {
        let (length, rest) = self.messages.bytes_from(position)?.split_first_chunk()?;
        Some(&rest[..u32::from_le_bytes(*length) as usize])
    }

    /// Keeps a link, and says where.
    #[inline]
    pub(crate) fn link(&mut self, link: Link) -> u64 {
        let mut bytes = [0; REPLAY_LINK_BYTES];
        let (message, previous) = bytes.split_at_mut(8);
        message.copy_from_slice(&link.message.to_le_bytes());
        previous.copy_from_slice(&link.previous.to_le_bytes());
        self.links.append(&bytes, &[])
    }

    /// The link at this position, if it is still there.
    pub(crate) fn link_at(&self, position: u64) -> Option<Link> {
        let (message, rest) = self.links.bytes_from(position)?.split_first_chunk()?;
        let (previous, _) = rest.split_first_chunk()?;
        let [message, previous] = [message, previous].map(|place| u64::from_le_bytes(*place));
        Some(Link { message, previous })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The first bytes of what a session was told, the oldest first.
    fn told(log: &ReplayLog, last: u64) -> Vec<u8> {
        let mut told = Vec::new();
        let mut at = last;
        while let Some(link) = log.link_at(at)
            && let Some(message) = log.message_at(link.message)
        {
            told.push(message[0]);
            at = link.previous;
        }
        told.reverse();
        told
    }

    /// Tells a session 200 messages, and another each of them too.
    #[track_caller]
    fn check(bytes_max: usize, links_max: usize, least: usize) {
        let mut log = ReplayLog::new(bytes_max, links_max);
        let mut last = NOWHERE;
        for number in 0..200u8 {
            let message = log.push(&[number; 9]);
            log.link(Link { message, previous: NOWHERE });
            last = log.link(Link { message, previous: last });
            let heard = told(&log, last);
            let count = usize::from(number) + 1;
            assert!(heard.len() >= least.min(count), "{} of {count}", heard.len());
            assert_eq!(heard, (0..=number).skip(count - heard.len()).collect::<Vec<_>>());
            assert!(log.message_bytes() <= bytes_max);
            assert!(log.link_bytes() <= links_max * REPLAY_LINK_BYTES);
        }
        assert!(told(&log, last).len() < 200);
    }

    #[test]
    fn a_session_finds_what_it_was_told_as_far_as_messages_and_links_are_there() {
        // 13 bytes a message, two links each; of either, the newest segments.
        check(130, 10_000, 8);
        check(100_000, 20, 8);
    }

    #[test]
    fn links_push_out_no_messages() {
        let mut log = ReplayLog::new(1024, 64);
        let message = log.push(b"said to a crowd");
        for _ in 0..10_000 {
            log.link(Link { message, previous: NOWHERE });
        }
        assert_eq!(log.message_at(message), Some(&b"said to a crowd"[..]));
    }

    #[test]
    fn a_message_takes_its_length_besides() {
        let mut log = ReplayLog::new(1024, 1);
        log.push(b"four");
        assert_eq!(log.end(), ReplayLog::bytes_of(b"four") as u64);
    }
}
