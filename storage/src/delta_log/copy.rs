//! Copies a log that is being written: what is durable of it, and nothing behind that.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::format::{Commit, SegmentHeader};
use super::recovery::{Folder, segment_numbers};
use super::{BLOCK_BYTES, SegmentSource, TailError, segment_file_name};

/// Copies the segments of one folder to another, up to the commit `durable`. What snapshots do not have
/// has to stay meanwhile, by a [`LogHold`](crate::log_executor::LogHold). Memory: one segment.
///
/// # Errors
/// [`TailError`]: a segment cannot be read, or the copy cannot be written.
pub fn copy_log(from: &Path, to: &Path, durable: u64) -> Result<(), TailError> {
    let unreadable = |(path, error)| TailError::Unreadable { path, error };
    let numbers = segment_numbers(from).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut copied = false;
    for segment in numbers {
        let mut source = Folder(from);
        match source.load(segment, &mut bytes) {
            // Its removal had begun before anybody held it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !copied => continue,
            loaded => loaded.map_err(|error| unreadable((source.path(segment), error)))?,
        }
        let header = SegmentHeader::decode(&bytes).ok();
        if header.is_some_and(|header| header.first_commit > durable) {
            break;
        }
        let end = header.map_or(0, |header| durable_end(&bytes, &header, durable));
        let path = to.join(segment_file_name(segment));
        write_cut(&path, &bytes, end).map_err(|error| unreadable((path, error)))?;
        copied = true;
    }
    Ok(())
}

/// Where the last commit ends that is no later than this one.
fn durable_end(bytes: &[u8], header: &SegmentHeader, durable: u64) -> usize {
    let mut end = BLOCK_BYTES;
    while let Some(rest) = bytes.get(end..)
        && let Some(commit) = Commit::decode(rest, header.salt)
        && commit.number <= durable
    {
        end += commit.padded_bytes();
    }
    end
}

/// Writes a file as long as these bytes, with zeros from `end` on.
fn write_cut(path: &Path, bytes: &[u8], end: usize) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(&bytes[..end])?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}
