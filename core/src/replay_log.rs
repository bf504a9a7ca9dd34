//! What sessions were told of late: every message once, however many sessions heard it. A session
//! keeps the positions of its messages (`hearing.rs`), and the bytes are here. The log is bounded
//! by its bytes; its oldest segment goes when a new message needs the room.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Segments in which the bound is divided: so much of it may stand empty at most.
const SEGMENTS_MIN: usize = 8;
/// Largest segment.
const SEGMENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of the length before each message.
const LENGTH_BYTES: usize = 4;

/// Messages one after the other. Their memory was reserved as a whole.
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
    /// The position of the next message.
    end: u64,
}

impl ReplayLog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let segment_bytes = (bytes_max / SEGMENTS_MIN).min(SEGMENT_BYTES_MAX);
        Self { segments: VecDeque::new(), bytes_max, segment_bytes, reserved_bytes: 0, end: 0 }
    }

    /// The position of the next message. Positions only rise.
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
        let needed = LENGTH_BYTES + message.len();
        let has_room = |segment: &Segment| segment.bytes.capacity() - segment.bytes.len() >= needed;
        if !self.segments.back().is_some_and(has_room) {
            self.add_segment(needed);
        }
        let position = self.end;
        self.end += needed as u64;
        if let Some(segment) = self.segments.back_mut() {
            let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
            segment.bytes.extend_from_slice(&length.to_le_bytes());
            segment.bytes.extend_from_slice(message);
        }
        position
    }

    /// Whether the message at this position is still there.
    pub(crate) fn has(&self, position: u64) -> bool {
        self.segments.front().is_some_and(|first| first.start <= position) && position < self.end
    }

    /// The message at this position, if it is still there.
    pub(crate) fn get(&self, position: u64) -> Option<&[u8]> {
        if !self.has(position) {
            return None;
        }
        let after = self.segments.partition_point(|segment| segment.start <= position);
        let segment = &self.segments[after - 1];
        let rest = &segment.bytes[(position - segment.start) as usize..];
        let (length, rest) = rest.split_first_chunk().expect("a message has a length");
        Some(&rest[..u32::from_le_bytes(*length) as usize])
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
            let kept = pushed.iter().filter(|(position, _)| log.has(*position)).count();
            // What is kept is the newest without a gap, and at least a message a segment.
            for (at, (position, message)) in pushed.iter().enumerate() {
                let is_kept = at + kept >= pushed.len();
                assert_eq!(log.get(*position), is_kept.then_some(message.as_slice()));
            }
            assert!(kept >= 7 || kept == pushed.len(), "{kept}");
        }
        assert!(!log.has(log.end()));
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
