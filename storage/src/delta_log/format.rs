//! The bytes of segments: what is written, and what is believed of what is read. Nothing here reads
//! a file. All lengths are checked before anything behind them is looked at.

use warren_core::ids::{Epoch, GROUP_COUNT, GroupId, Sequence};

use super::{BLOCK_BYTES, COMMIT_BYTES_MAX, RecordHeader};

const SEGMENT_MAGIC: [u8; 8] = *b"WARRENDL";
const COMMIT_MAGIC: [u8; 4] = *b"WDLC";

/// The format that is written.
const FORMAT: u32 = 1;

/// Where a segment's header says its format, its number and its length.
pub(super) const FORMAT_OFFSET: u64 = 8;
pub(super) const SALT_OFFSET: u64 = 12;
pub(super) const SEGMENT_OFFSET: u64 = 16;

const SEGMENT_HEADER_BYTES: usize = 44;
const SEGMENT_CRC_OFFSET: usize = 40;
/// Bytes of a commit before its first record.
pub(super) const COMMIT_HEADER_BYTES: usize = 24;
/// What a commit's CRC covers begins here.
const COMMIT_CRC_END: usize = 8;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 18;

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// With what the checksums of the log's commits begin.
    pub(super) salt: u32,
    /// Its number.
    pub(super) segment: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// The number of the commit that stands first in it.
    pub(super) first_commit: u64,
}

/// Why bytes are no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// It is not there, or not whole.
    Invalid,
    /// It was written by a newer version of Warren.
    FormatUnknown(u32),
}

impl SegmentHeader {
    /// The first block of the segment.
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        block[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        block[12..16].copy_from_slice(&self.salt.to_le_bytes());
        block[16..24].copy_from_slice(&self.segment.to_le_bytes());
        block[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        block[32..40].copy_from_slice(&self.first_commit.to_le_bytes());
        let crc = crc32c::crc32c(&block[..SEGMENT_CRC_OFFSET]);
        block[SEGMENT_CRC_OFFSET..SEGMENT_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads the header at the beginning of a segment's bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let (header, _) =
            bytes.split_at_checked(SEGMENT_HEADER_BYTES).ok_or(HeaderFault::Invalid)?;
        if header[..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Invalid);
        }
        let format = u32_at(header, 8);
        if format != FORMAT {
            return Err(HeaderFault::FormatUnknown(format));
        }
        if u32_at(header, SEGMENT_CRC_OFFSET) != crc32c::crc32c(&header[..SEGMENT_CRC_OFFSET]) {
            return Err(HeaderFault::Invalid);
        }
        Ok(Self {
            salt: u32_at(header, 12),
            segment: u64_at(header, 16),
            bytes: u64_at(header, 24),
            first_commit: u64_at(header, 32),
        })
    }
}

/// A whole commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit<'a> {
    /// Its number.
    pub(super) number: u64,
    /// Its checksum.
    pub(super) crc: u32,
    /// Number of its records.
    pub(super) records: u32,
    /// Its records, one behind the other.
    pub(super) body: &'a [u8],
}

impl<'a> Commit<'a> {
    /// The commit that begins where `bytes` do, if its checksum holds.
    pub(super) fn decode(bytes: &'a [u8], salt: u32) -> Option<Self> {
        let claimed = ClaimedCommit::decode(bytes)?;
        let (covered, _) = bytes.split_at_checked(COMMIT_HEADER_BYTES + claimed.body_bytes)?;
        let crc = crc32c::crc32c_append(salt, &covered[COMMIT_CRC_END..]);
        let body = &covered[COMMIT_HEADER_BYTES..];
        (crc == u32_at(covered, 4)).then_some(Self {
            number: claimed.number,
            crc,
            records: claimed.records,
            body,
        })
    }

    /// Bytes that it takes in a segment.
    pub(super) fn padded_bytes(&self) -> usize {
        (COMMIT_HEADER_BYTES + self.body.len()).next_multiple_of(BLOCK_BYTES)
    }
}

/// What a commit's header says of itself, before its checksum was looked at.
pub(super) struct ClaimedCommit {
    pub(super) number: u64,
    body_bytes: usize,
    records: u32,
}

impl ClaimedCommit {
    /// The header that begins where `bytes` do, if there may be one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_at_checked(COMMIT_HEADER_BYTES)?;
        let body_bytes = u32_at(header, 16) as usize;
        let is_possible = header[..4] == COMMIT_MAGIC && body_bytes <= COMMIT_BYTES_MAX;
        is_possible.then(|| Self {
            number: u64_at(header, 8),
            body_bytes,
            records: u32_at(header, 20),
        })
    }

    /// Bytes of its header and its records.
    pub(super) fn bytes(&self) -> usize {
        COMMIT_HEADER_BYTES + self.body_bytes
    }
}

/// Writes the header of a commit over the place that was kept for it at the beginning of `bytes`,
/// behind which stand its records, and pads it to whole blocks.
pub(super) fn seal_commit(bytes: &mut Vec<u8>, number: u64, records: u32, salt: u32) {
    let body_bytes = bytes.len() - COMMIT_HEADER_BYTES;
    assert!(body_bytes <= COMMIT_BYTES_MAX, "a commit of {body_bytes} bytes");
    bytes[..4].copy_from_slice(&COMMIT_MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..20].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    bytes[20..24].copy_from_slice(&records.to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &bytes[COMMIT_CRC_END..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// The records of a commit that was sealed here, or read.
pub(super) fn sealed_body(bytes: &[u8]) -> &[u8] {
    let body_bytes = u32_at(bytes, 16) as usize;
    &bytes[COMMIT_HEADER_BYTES..COMMIT_HEADER_BYTES + body_bytes]
}

/// Appends a record.
pub(super) fn append_record(bytes: &mut Vec<u8>, header: RecordHeader, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a record is shorter than a commit");
    bytes.extend_from_slice(&header.group.0.to_le_bytes());
    bytes.extend_from_slice(&header.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&header.sequence.0.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
}

/// A commit's records in order, each with its place in the body. One that is not of the format ends
/// them with its place and what was expected there.
pub(super) struct Records<'a> {
    body: &'a [u8],
    at: usize,
}

/// The place in a commit's body, and what was expected there.
pub(super) type RecordFault = (usize, &'static str);

impl<'a> Records<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    fn read(&self) -> Result<(RecordHeader, &'a [u8]), RecordFault> {
        let rest = &self.body[self.at..];
        let (header, rest) =
            rest.split_at_checked(RECORD_HEADER_BYTES).ok_or((self.at, "a record's header"))?;
        let group = u16_at(header, 0);
        if usize::from(group) >= GROUP_COUNT {
            return Err((self.at, "a group that exists"));
        }
        let length = u32_at(header, 14) as usize;
        let payload =
            rest.get(..length).ok_or((self.at + 14, "a payload that ends in its commit"))?;
        let (epoch, sequence) = (Epoch(u32_at(header, 2)), Sequence(u64_at(header, 6)));
        Ok((RecordHeader { group: GroupId(group), epoch, sequence }, payload))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, RecordHeader, &'a [u8]), RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.body.len() {
            return None;
        }
        let (record, place) = (self.read(), self.at);
        self.at = match record {
            Ok((_, payload)) => place + RECORD_HEADER_BYTES + payload.len(),
            Err(_) => self.body.len(),
        };
        Some(record.map(|(header, payload)| (place, header, payload)))
    }
}

// Who calls these has looked at the length.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
