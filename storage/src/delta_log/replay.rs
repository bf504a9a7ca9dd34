//! The second look at a log that was read whole: only at segments in which something is left that
//! snapshots do not have.

use std::path::Path;

use warren_core::ids::{GROUP_COUNT, GroupId, Sequence};

use super::format::{COMMIT_HEADER_BYTES, Commit, Records, SegmentHeader};
use super::recovery::{Folder, KeptSegment};
use super::{BLOCK_BYTES, LogEnd, Record, RecoverError, SegmentSource};

impl LogEnd {
    /// Hands every record beyond its group's position to `visit`, in order; groups without a position are
    /// left out. Segments without such a record are not read. Memory: one segment.
    ///
    /// # Errors
    /// [`RecoverError`]: also when what was there is there no more.
    pub fn replay<E>(
        &self,
        folder: &Path,
        position: impl Fn(GroupId) -> Option<Sequence>,
        visit: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), RecoverError<E>> {
        self.replay_from(&mut Folder(folder), position, visit)
    }

    /// As [`replay`](Self::replay), from wherever segments are.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn replay_from<E>(
        &self,
        source: &mut dyn SegmentSource,
        position: impl Fn(GroupId) -> Option<Sequence>,
        mut visit: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), RecoverError<E>> {
        let positions: Vec<_> = (0..GROUP_COUNT as u16).map(GroupId).map(position).collect();
        let mut bytes = Vec::new();
        for segment in self.kept.iter().filter(|segment| segment.reaches_beyond(&positions)) {
            let number = segment.number;
            source
                .load(number, &mut bytes)
                .map_err(|error| RecoverError::Unreadable { path: source.path(number), error })?;
            replay_segment(segment, &bytes, &positions, &mut visit).map_err(|fault| {
                let path = source.path(number);
                match fault {
                    Fault::Changed { offset, commit } => {
                        let expected = format!("commit {commit}, which was there before");
                        RecoverError::Damaged { path, offset, expected }
                    }
                    Fault::Refused { offset, error } => {
                        RecoverError::Refused { path, offset, error }
                    }
                }
            })?;
        }
        Ok(())
    }
}

enum Fault<E> {
    Changed { offset: u64, commit: u64 },
    Refused { offset: u64, error: E },
}

/// The commits of a segment up to the last that counts there.
fn replay_segment<E>(
    segment: &KeptSegment,
    bytes: &[u8],
    positions: &[Option<Sequence>],
    visit: &mut impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<(), Fault<E>> {
    let header = SegmentHeader::decode(bytes);
    let header = header.map_err(|_| Fault::Changed { offset: 0, commit: segment.last_commit })?;
    let mut offset = BLOCK_BYTES;
    for number in header.first_commit..=segment.last_commit {
        let changed = || Fault::Changed { offset: offset as u64, commit: number };
        let commit = bytes.get(offset..).and_then(|rest| Commit::decode(rest, header.salt));
        let commit = commit.filter(|commit| commit.number == number).ok_or_else(changed)?;
        for record in Records::new(commit.body) {
            let (place, header, payload) = record.map_err(|_| changed())?;
            let position = positions[usize::from(header.group.0)];
            if position.is_none_or(|position| header.sequence <= position) {
                continue;
            }
            let offset = (offset + COMMIT_HEADER_BYTES + place) as u64;
            let record =
                Record { header, payload, commit: number, segment: segment.number, offset };
            visit(record).map_err(|error| Fault::Refused { offset, error })?;
        }
        offset += commit.padded_bytes();
    }
    Ok(())
}
