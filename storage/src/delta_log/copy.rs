//! Copies a log that is being written: what is durable of it, and nothing behind that.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::format::{Commit, SegmentHeader};
use super::recovery::{Folder, segment_numbers};
use super::{BLOCK_BYTES, SegmentSource, TailError, segment_file_name};

/// Copies the segments of one folder to another, up to the commit `durable`, and looks at every commit on
/// the way. What snapshots do not have has to stay meanwhile, by a
/// [`LogHold`](crate::log_executor::LogHold). Memory: one segment.
///
/// # Errors
/// [`TailError`]: a segment cannot be read or is damaged, or the copy cannot be written. Then it is none.
pub fn copy_log(from: &Path, to: &Path, durable: u64) -> Result<(), TailError> {
    let unreadable = |(path, error)| TailError::Unreadable { path, error };
    let mut bytes = Vec::new();
    // The commit that is due, in which segment, and where it would be; none before the first segment.
    let mut due: Option<(u64, PathBuf, u64)> = None;
    for segment in segment_numbers(from).map_err(unreadable)? {
        let mut source = Folder(from);
        let path = source.path(segment);
        match source.load(segment, &mut bytes) {
            // Its removal had begun before anybody held it, or the disk fails and it is made anew. What it
            // would have to have is missed below.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            loaded => loaded.map_err(|error| unreadable((path.clone(), error)))?,
        }
        let end = match SegmentHeader::decode(&bytes) {
            // The first one stays, also without a commit: it says which log this is.
            Ok(header) if header.first_commit > durable && due.is_some() => break,
            Ok(header) => {
                check_joins(due, header.first_commit)?;
                let (next, end) = durable_end(&bytes, &header, durable);
                due = Some((next, path, end as u64));
                end
            }
            // It is being made, or a power cut came while it was.
            Err(_) if bytes.iter().all(|byte| *byte == 0) => 0,
            Err(_) => {
                let wanted = due.map_or(1, |(next, _, _)| next);
                return Err(TailError::Damaged { wanted, path, offset: 0 });
            }
        };
        let path = to.join(segment_file_name(segment));
        write_cut(&path, &bytes, end).map_err(|error| unreadable((path, error)))?;
    }
    if due.is_none() && durable > 0 {
        return Err(TailError::Empty { wanted: durable, path: from.to_owned() });
    }
    check_joins(due, durable + 1)
}

/// What was read goes on with this commit. A segment repeats what a failed write has left in the one
/// before.
fn check_joins(due: Option<(u64, PathBuf, u64)>, first_commit: u64) -> Result<(), TailError> {
    match due {
        Some((wanted, path, offset)) if wanted < first_commit => {
            Err(TailError::Damaged { wanted, path, offset })
        }
        _ => Ok(()),
    }
}

/// The number behind that of the last whole commit up to `durable`, and where that commit ends.
fn durable_end(bytes: &[u8], header: &SegmentHeader, durable: u64) -> (u64, usize) {
    let (mut next, mut end) = (header.first_commit, BLOCK_BYTES);
    while let Some(rest) = bytes.get(end..)
        && let Some(commit) = Commit::decode(rest, header.salt)
        && commit.number == next
        && commit.number <= durable
    {
        end += commit.padded_bytes();
        next += 1;
    }
    (next, end)
}

/// Writes a file as long as these bytes, with zeros from `end` on.
fn write_cut(path: &Path, bytes: &[u8], end: usize) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(&bytes[..end])?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}
