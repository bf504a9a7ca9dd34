//! Copies a log that is being written: what is durable of it, and nothing behind that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{Commit, SegmentHeader};
use super::recovery::{Folder, segment_numbers};
use super::{BLOCK_BYTES, SegmentSource, TailError, segment_file_name};

/// The segments of a log as they were found, under second names: their bytes stay when the log removes
/// them. The folder with these names is the owner's to remove.
#[derive(Debug)]
pub struct LinkedLog {
    log: PathBuf,
    links: PathBuf,
}

/// A segment up to the last commit that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct CutSegment<'a> {
    /// The name of its file.
    pub name: &'a str,
    /// Its beginning, up to the end of that commit.
    pub bytes: &'a [u8],
    /// Bytes of its file: zeros behind the beginning.
    pub length: u64,
}

impl LinkedLog {
    /// Gives the segments of the folder `log` names in the folder `links`, which is empty and on the same
    /// file system. What snapshots do not have has to stay meanwhile, by a
    /// [`LogHold`](crate::log_executor::LogHold), and only meanwhile.
    ///
    /// # Errors
    /// [`TailError::Unreadable`].
    pub fn link(log: &Path, links: &Path) -> Result<Self, TailError> {
        Self::link_these(log, links, segment_numbers(log).map_err(unreadable)?)
    }

    /// The same of those that were listed a moment ago.
    pub(super) fn link_these(
        log: &Path,
        links: &Path,
        listed: Vec<u64>,
    ) -> Result<Self, TailError> {
        for segment in listed {
            let path = log.join(segment_file_name(segment));
            match fs::hard_link(&path, links.join(segment_file_name(segment))) {
                // Its removal had begun before anybody held it, or the disk fails and it is made anew.
                // What it would have to have is missed when it is copied.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                linked => linked.map_err(|error| unreadable((path, error)))?,
            }
        }
        Ok(Self { log: log.to_owned(), links: links.to_owned() })
    }

    /// Hands each segment over to `write`, up to the commit `durable`, which was so when the links were
    /// made, and looks at every commit on the way. Memory: one segment.
    ///
    /// # Errors
    /// [`TailError`], with the log's own path: a segment cannot be read or is damaged; or that of `write`.
    pub fn copy<E: From<TailError>>(
        &self,
        durable: u64,
        mut write: impl FnMut(CutSegment<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        // The commit that is due, in which segment, and where it would be; none before the first segment.
        let mut due: Option<(u64, PathBuf, u64)> = None;
        for segment in segment_numbers(&self.links).map_err(unreadable)? {
            let name = segment_file_name(segment);
            let path = self.log.join(&name);
            let loaded = Folder(&self.links).load(segment, &mut bytes);
            loaded.map_err(|error| unreadable((path.clone(), error)))?;
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
                    return Err(TailError::Damaged { wanted, path, offset: 0 }.into());
                }
            };
            write(CutSegment { name: &name, bytes: &bytes[..end], length: bytes.len() as u64 })?;
        }
        if due.is_none() && durable > 0 {
            return Err(TailError::Empty { wanted: durable, path: self.log.clone() }.into());
        }
        Ok(check_joins(due, durable + 1)?)
    }
}

fn unreadable((path, error): (PathBuf, io::Error)) -> TailError {
    TailError::Unreadable { path, error }
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
