//! Segments of a delta log: files of the server's own, as a disk that fails may give them back.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use warren_storage::delta_log::{
    BLOCK_BYTES, Record, RecoverError, SegmentSource, recover_from, segment_file_name,
};

use super::{Behaviour, Target};
use crate::heap::heap_of;
use crate::prng::Prng;

/// Heap of a start: tables by group, for the log and for each segment, and what is copied.
const HEAP_FACTOR: u64 = 4;
const HEAP_BYTES: u64 = 128 * 1024;

pub(crate) const TARGET: Target = Target {
    name: "delta-log",
    words: &[
        b"WARRENDL",
        b"WDLC",
        b"\x01\0\0\0\0\0\0\0",
        b"\x02\0\0\0\0\0\0\0",
        b"\0\x30\0\0\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x40",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ],
    seeds: Vec::new,
    check,
    inputs: 20_000,
};

/// The bytes, cut into segments.
struct Cut<'a> {
    first: u64,
    segments: Vec<&'a [u8]>,
}

impl SegmentSource for Cut<'_> {
    fn segments(&mut self) -> Result<Vec<u64>, (PathBuf, io::Error)> {
        Ok((self.first..).take(self.segments.len()).collect())
    }

    fn load(&mut self, segment: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        bytes.extend_from_slice(self.segments[(segment - self.first) as usize]);
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        segment_file_name(segment).into()
    }
}

fn check(bytes: &[u8], prng: &mut Prng) -> Behaviour {
    let first = prng.between(1, 2);
    let blocks = bytes.len() / BLOCK_BYTES;
    let (head, tail) = bytes.split_at(prng.index(blocks + 1) * BLOCK_BYTES);
    let segments = if prng.chance(50) { vec![bytes] } else { vec![head, tail] };
    let mut source = Cut { first, segments };
    let (mut records, mut payload_bytes) = (0, 0);
    let mut end = None;
    let (peak, _) = heap_of(|| {
        end = Some(recover_from(&mut source, |record: Record<'_>| {
            records += 1;
            payload_bytes += record.payload.len() as u64;
            Ok::<(), Infallible>(())
        }));
    });
    let allowed = HEAP_FACTOR * bytes.len() as u64 + HEAP_BYTES;
    assert!(peak <= allowed, "{peak} bytes of heap for {}", bytes.len());
    match end.expect("it was tried") {
        Ok(end) => {
            let summary = end.summary();
            assert_eq!((summary.records, summary.payload_bytes), (records, payload_bytes));
            assert!(payload_bytes <= bytes.len() as u64);
            Behaviour::of((0, summary.commits, records, summary.torn.is_some()))
        }
        Err(RecoverError::Damaged { path, offset, expected }) => {
            assert!(offset <= bytes.len() as u64, "{}: {offset}", path.display());
            let kind: String = expected.chars().filter(|letter| !letter.is_numeric()).collect();
            Behaviour::of((1, kind, records))
        }
        Err(RecoverError::FormatUnknown { .. }) => Behaviour::of(2),
        Err(error) => panic!("{error}"),
    }
}
