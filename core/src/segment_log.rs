//! A log of bytes in memory, bounded by them: whatever was appended last is there, and the oldest
//! segment goes when something new needs the room. Positions count bytes since the beginning, and
//! only rise.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Segments in which the bound is divided: so much of it may stand empty at most.
const SEGMENTS_MIN: usize = 8;
/// Largest segment.
const SEGMENT_BYTES_MAX: usize = 1 << 20;

/// Records one after the other. Their memory was reserved as a whole.
#[derive(Debug)]
struct Segment {
    /// The position of its first byte.
    start: u64,
    bytes: Vec<u8>,
}

/// The segments, oldest first.
#[derive(Debug)]
pub(crate) struct SegmentLog {
    segments: VecDeque<Segment>,
    bytes_max: usize,
    segment_bytes: usize,
    /// Reserved bytes of all segments.
    reserved_bytes: usize,
    /// The position of what comes next.
    end: u64,
}

impl SegmentLog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let segment_bytes = (bytes_max / SEGMENTS_MIN).min(SEGMENT_BYTES_MAX);
        Self { segments: VecDeque::new(), bytes_max, segment_bytes, reserved_bytes: 0, end: 0 }
    }

    /// The position of what comes next.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory that it takes.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.reserved_bytes
    }

    /// Appends a record of two parts, and says where it stands. One that is longer than the whole
    /// log is not kept, nor anything before it.
    #[inline]
    pub(crate) fn append(&mut self, first: &[u8], second: &[u8]) -> u64 {
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

    /// What stands from this position on in its segment, if it is still there.
    pub(crate) fn bytes_from(&self, position: u64) -> Option<&[u8]> {
        let first = self.segments.front()?;
        if position < first.start || position >= self.end {
            return None;
        }
        let after = self.segments.partition_point(|segment| segment.start <= position);
        let segment = &self.segments[after - 1];
        segment.bytes.get((position - segment.start) as usize..)
    }

    /// Makes a segment with room for so much, out of the oldest if there is no room beside it.
    #[cold]
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
    fn records_are_there_until_the_log_is_full_and_then_the_oldest_go() {
        let mut log = SegmentLog::new(800);
        let mut pushed = Vec::new();
        for number in 0..1000u32 {
            let record = vec![number as u8; 1 + number as usize % 60];
            let (first, second) = record.split_at(record.len() / 2);
            pushed.push((log.append(first, second), record));
            assert!(log.reserved_bytes() <= 800);
            let is_there = |position| log.bytes_from(position).is_some();
            let kept = pushed.iter().filter(|(position, _)| is_there(*position)).count();
            // What is kept is the newest without a gap, and at least a record a segment.
            for (at, (position, record)) in pushed.iter().enumerate() {
                let is_kept = at + kept >= pushed.len();
                let found = log.bytes_from(*position).map(|rest| &rest[..record.len()]);
                assert_eq!(found, is_kept.then_some(record.as_slice()));
            }
            assert!(kept >= 7 || kept == pushed.len(), "{kept}");
        }
        assert_eq!((log.bytes_from(log.end()), log.bytes_from(u64::MAX)), (None, None));
    }

    #[test]
    fn a_record_longer_than_the_log_is_not_kept_nor_anything_before_it() {
        let mut log = SegmentLog::new(80);
        let first = log.append(b"", b"first");
        let whole = log.append(b"", &[1; 80]);
        assert_eq!(log.bytes_from(first), None);
        assert_eq!(log.bytes_from(whole), Some([1; 80].as_slice()));
        let long = log.append(&[2; 80], &[2; 1]);
        let next = log.append(b"ne", b"xt");
        assert_eq!((log.bytes_from(whole), log.bytes_from(long)), (None, None));
        assert_eq!(log.bytes_from(next), Some(b"next".as_slice()));
        let mut none = SegmentLog::new(0);
        let position = none.append(b"", b"x");
        assert_eq!((none.bytes_from(position), none.reserved_bytes()), (None, 0));
    }
}
