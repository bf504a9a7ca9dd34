//! What sessions were told of late: every message once, however many sessions heard it, and behind it
//! a link for each of them, which leads to the message and to the link before it of that session. So
//! whoever knows a session's last link (`hearing.rs`) finds all that it was told, newest first. The
//! log is bounded by its bytes; its oldest segment goes when something new needs the room.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Segments in which the bound is divided: so much of it may stand empty at most.
const SEGMENTS_MIN: usize = 8;
/// Largest segment.
const SEGMENT_BYTES_MAX: usize = 1 << 20;
/// The position of what is not there.
pub(crate) const NOWHERE: u64 = u64::MAX;

/// What one session was told: a message, and the link before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The message's position; nowhere if it is too far back.
    pub(crate) message: u64,
    /// The position of the session's link before; nowhere if there is none.
    pub(crate) previous: u64,
}

/// Messages and links one after the other. Their memory was reserved as a whole.
#[derive(Debug)]
struct Segment {
    /// The position of its first byte.
    start: u64,
    bytes: Vec<u8>,
}

/// The messages of a shard's sessions, oldest first.
#[derive(Debug)]
pub(crate) struct ReplayLog {
    segments: VecDeque<Segment>,
    bytes_max: usize,
    segment_bytes: usize,
    /// Reserved bytes of all segments.
    reserved_bytes: usize,
    /// The position of what comes next.
    end: u64,
}

impl ReplayLog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let segment_bytes = (bytes_max / SEGMENTS_MIN).min(SEGMENT_BYTES_MAX);
        Self { segments: VecDeque::new(), bytes_max, segment_bytes, reserved_bytes: 0, end: 0 }
    }

    /// The position of what comes next. Positions only rise.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory that it takes.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.reserved_bytes
    }

    /// Keeps a message, and says where. One that is longer than the whole log is not kept, nor
    /// anything before it.
    pub(crate) fn push(&mut self, message: &[u8]) -> u64 {
        let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
        self.append(&length.to_le_bytes(), message)
    }

    /// Links a session to the message at this position, behind its link before. Returns where the
    /// link is.
    pub(crate) fn link(&mut self, link: Link) -> u64 {
        // From the link back; 0 leads nowhere. What is further back than 4 GiB is gone anyway.
        let back = |to: u64| match to {
            NOWHERE => 0,
            to => u32::try_from(self.end - to).unwrap_or(0),
        };
        let (message, previous) = (back(link.message), back(link.previous));
        self.append(&message.to_le_bytes(), &previous.to_le_bytes())
    }

    /// The link at this position, if it is still there.
    pub(crate) fn linked(&self, position: u64) -> Option<Link> {
        let (message, rest) = self.bytes_from(position)?.split_first_chunk()?;
        let (previous, _) = rest.split_first_chunk()?;
        let to = |back: &[u8; 4]| match u32::from_le_bytes(*back) {
            0 => NOWHERE,
            back => position - u64::from(back),
        };
        Some(Link { message: to(message), previous: to(previous) })
    }

    fn append(&mut self, first: &[u8], second: &[u8]) -> u64 {
        let needed = first.len() + second.len();
        let has_room = |segment: &Segment| segment.bytes.capacity() - segment.bytes.len() >= needed;
        if !self.segments.back().is_some_and(has_room) {
            self.add_segment(needed);
        }
        let position = self.end;
        self.end += needed as u64;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes.extend_from_slice(first);
            segment.bytes.extend_from_slice(second);
        }
        position
    }

    /// The message at this position, if it is still there.
    pub(crate) fn get(&self, position: u64) -> Option<&[u8]> {
        let (length, rest) = self.bytes_from(position)?.split_first_chunk()?;
        Some(&rest[..u32::from_le_bytes(*length) as usize])
    }

    /// What stands from this position on in its segment, if it is still there.
    fn bytes_from(&self, position: u64) -> Option<&[u8]> {
        let first = self.segments.front()?;
        if position < first.start || position >= self.end {
            return None;
        }
        let after = self.segments.partition_point(|segment| segment.start <= position);
        let segment = &self.segments[after - 1];
        segment.bytes.get((position - segment.start) as usize..)
    }

    /// Makes a segment with room for so much, out of the oldest if there is no room beside it.
    fn add_segment(&mut self, needed: usize) {
        let capacity = self.segment_bytes.max(needed);
        let mut reused = None;
        while self.reserved_bytes + capacity > self.bytes_max
            && let Some(oldest) = self.segments.pop_front()
        {
            self.reserved_bytes -= oldest.bytes.capacity();
            reused = Some(oldest.bytes).filter(|bytes| bytes.capacity() == capacity);
        }
        if capacity > self.bytes_max {
            return;
        }
        let mut bytes = reused.unwrap_or_else(|| Vec::with_capacity(capacity));
        bytes.clear();
        self.reserved_bytes += bytes.capacity();
        self.segments.push_back(Segment { start: self.end, bytes });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn messages_are_there_until_the_log_is_full_and_then_the_oldest_go() {
        let mut log = ReplayLog::new(800);
        let mut pushed = Vec::new();
        for number in 0..1000u32 {
            let message = vec![number as u8; number as usize % 60];
            pushed.push((log.push(&message), message));
            assert!(log.reserved_bytes() <= 800);
            let kept = pushed.iter().filter(|(position, _)| log.get(*position).is_some()).count();
            // What is kept is the newest without a gap, and at least a message a segment.
            for (at, (position, message)) in pushed.iter().enumerate() {
                let is_kept = at + kept >= pushed.len();
                assert_eq!(log.get(*position), is_kept.then_some(message.as_slice()));
            }
            assert!(kept >= 7 || kept == pushed.len(), "{kept}");
        }
        assert_eq!((log.get(log.end()), log.get(NOWHERE)), (None, None));
    }

    #[test]
    fn links_lead_to_messages_and_to_the_links_before() {
        let mut log = ReplayLog::new(800);
        let mut last = NOWHERE;
        let mut told = Vec::new();
        for number in 0..200u8 {
            let message = log.push(&[number; 9]);
            // Another session's, between.
            log.link(Link { message, previous: NOWHERE });
            last = log.link(Link { message, previous: last });
            told.push(number);
            let mut at = last;
            let mut heard = Vec::new();
            while let Some(link) = log.linked(at)
                && let Some(message) = log.get(link.message)
            {
                heard.push(message[0]);
                at = link.previous;
            }
            heard.reverse();
            assert!(heard.len() >= 20 || heard.len() == told.len(), "{}", heard.len());
            assert_eq!(heard, told[told.len() - heard.len()..]);
        }
    }

    #[test]
    fn a_message_longer_than_the_log_is_not_kept_nor_anything_before_it() {
        let mut log = ReplayLog::new(80);
        let first = log.push(b"first");
        let whole = log.push(&[1; 76]);
        assert_eq!(log.get(first), None);
        assert_eq!(log.get(whole), Some([1; 76].as_slice()));
        let long = log.push(&[2; 77]);
        let next = log.push(b"next");
        assert_eq!((log.get(whole), log.get(long)), (None, None));
        assert_eq!(log.get(next), Some(b"next".as_slice()));
        let mut none = ReplayLog::new(0);
        let position = none.push(b"x");
        assert_eq!((none.get(position), none.reserved_bytes()), (None, 0));
    }
}
