//! Reading behind the one who writes: commits one after the other, each when it is durable. The log's
//! thread is not asked for anything, and does not know who reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::{COMMIT_HEADER_BYTES, ClaimedCommit, Commit, Records, SegmentHeader};
use super::recovery::segment_numbers;
use super::{BLOCK_BYTES, RecordHeader, segment_file_name};

/// Bytes of a commit that are kept for the next; the room for a longer one is given back.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// Why the next commit cannot be read.
#[derive(Debug, Error)]
pub enum TailError {
    /// It was removed: whoever reads was too far behind.
    #[error("commit {wanted} of the delta log is gone; it begins with commit {first}")]
    Gone {
        /// Which.
        wanted: u64,
        /// The first commit that is there.
        first: u64,
    },
    /// It is durable, and is not where it has to be.
    #[error("{path}: commit {wanted} is not whole at byte {offset}", path = path.display())]
    Damaged {
        /// The commit's number.
        wanted: u64,
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// There is no segment with a header, in a log that was begun.
    #[error("{path}: there is no segment to read commit {wanted} from", path = path.display())]
    Empty {
        /// The commit's number.
        wanted: u64,
        /// The folder.
        path: PathBuf,
    },
    /// The system refuses the folder or a file.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// The folder, or the file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A commit as it is read.
#[derive(Debug)]
pub struct TailCommit<'a> {
    /// Its number.
    pub number: u64,
    /// Its checksum. Two histories of one log that have a commit of this number differ in it.
    pub crc: u32,
    /// The log's salt. Another log has another.
    pub salt: u32,
    body: &'a [u8],
}

impl<'a> TailCommit<'a> {
    /// Its records in order, each a `DeltaBatch` in its encoded form.
    pub fn records(&self) -> impl Iterator<Item = (RecordHeader, &'a [u8])> {
        // Those who write and those who read at a start look at every record.
        Records::new(self.body).map_while(Result::ok).map(|(_, header, payload)| (header, payload))
    }

    /// Bytes of its records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// A segment that is read.
#[derive(Debug)]
struct Place {
    file: File,
    segment: u64,
    salt: u32,
    /// Where the next commit begins.
    offset: u64,
}

/// A place in a log that may be written at the same time.
#[derive(Debug)]
pub struct LogTail {
    folder: PathBuf,
    next: u64,
    /// None before the first commit.
    place: Option<Place>,
    /// The last commit that was read.
    bytes: Vec<u8>,
}

impl LogTail {
    /// Before the commit with this number, from 1, in the log of this folder.
    #[must_use]
    pub fn open(folder: &Path, next: u64) -> Self {
        Self { folder: folder.to_owned(), next, place: None, bytes: Vec::new() }
    }

    /// The number of the first commit that is there. None: there is none yet.
    ///
    /// # Errors
    /// [`TailError::Unreadable`].
    pub fn first_commit(folder: &Path) -> Result<Option<u64>, TailError> {
        for segment in numbers(folder)? {
            if let Some((_, header)) = open_segment(folder, segment)? {
                return Ok(Some(header.first_commit));
            }
        }
        Ok(None)
    }

    /// The log's salt, by which it is told from others. None: it was never begun.
    ///
    /// # Errors
    /// [`TailError::Unreadable`].
    pub fn salt(folder: &Path) -> Result<Option<u32>, TailError> {
        for segment in numbers(folder)? {
            if let Some((_, header)) = open_segment(folder, segment)? {
                return Ok(Some(header.salt));
            }
        }
        Ok(None)
    }

    /// The number of the next commit.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Bytes of its buffer.
    #[cfg(test)]
    pub(super) fn spare_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The next commit, if it is among the durable ones, up to this number.
    ///
    /// # Errors
    /// [`TailError`]; the next call tries again.
    pub fn next(&mut self, durable: u64) -> Result<Option<TailCommit<'_>>, TailError> {
        if self.next > durable {
            return Ok(None);
        }
        if !self.read_here()? {
            // It stands in a later segment. Where it stands in two, they are equal.
            self.place = Some(self.find()?);
            if !self.read_here()? {
                return Err(self.damaged());
            }
        }
        let place = self.place.as_mut().expect("a commit was read there");
        let salt = place.salt;
        let commit = Commit::decode(&self.bytes, salt).expect("its checksum was looked at");
        place.offset += commit.padded_bytes() as u64;
        self.next += 1;
        Ok(Some(TailCommit { number: commit.number, crc: commit.crc, salt, body: commit.body }))
    }

    /// Bytes of the records from here up to this durable commit, as their headers say.
    ///
    /// # Errors
    /// [`TailError`].
    pub fn bytes_to(&self, durable: u64) -> Result<u64, TailError> {
        let mut walk = Self::open(&self.folder, self.next);
        let mut bytes = 0;
        while walk.next <= durable {
            let claimed = match walk.claimed_here()? {
                Some(claimed) => claimed,
                None => {
                    walk.place = Some(walk.find()?);
                    walk.claimed_here()?.ok_or_else(|| walk.damaged())?
                }
            };
            bytes += (claimed.bytes() - COMMIT_HEADER_BYTES) as u64;
            let place = walk.place.as_mut().expect("a commit was seen there");
            place.offset += claimed.bytes().next_multiple_of(BLOCK_BYTES) as u64;
            walk.next += 1;
        }
        Ok(bytes)
    }

    /// What the header of the next commit says, if it is where the last one ended.
    fn claimed_here(&self) -> Result<Option<ClaimedCommit>, TailError> {
        let Some(Place { file, segment, offset, .. }) = &self.place else { return Ok(None) };
        let claimed = claimed_at(file, *offset);
        let claimed = claimed.map_err(|error| unreadable(&self.folder, *segment, error))?;
        Ok(claimed.filter(|claimed| claimed.number == self.next))
    }

    /// Reads the next commit from where the last one ended. False: it is not there.
    fn read_here(&mut self) -> Result<bool, TailError> {
        let Some(place) = &self.place else { return Ok(false) };
        let Place { file, segment, salt, offset } = place;
        let unreadable = |error| unreadable(&self.folder, *segment, error);
        let claimed = claimed_at(file, *offset).map_err(unreadable)?;
        let Some(claimed) = claimed.filter(|claimed| claimed.number == self.next) else {
            return Ok(false);
        };
        // Its checksum is not looked at yet, so nothing longer than the file is believed.
        let end = offset.saturating_add(claimed.bytes() as u64);
        if end > file.metadata().map_err(unreadable)?.len() {
            return Ok(false);
        }
        self.bytes.resize(claimed.bytes(), 0);
        self.bytes.shrink_to(SPARE_BYTES_MAX);
        if !read_exact_at(file, *offset, &mut self.bytes).map_err(unreadable)? {
            return Ok(false);
        }
        Ok(Commit::decode(&self.bytes, *salt).is_some())
    }

    /// The newest segment that may have the next commit, and where in it.
    fn find(&self) -> Result<Place, TailError> {
        let mut first = None;
        for segment in numbers(&self.folder)?.into_iter().rev() {
            let Some((file, header)) = open_segment(&self.folder, segment)? else { continue };
            first = Some(header.first_commit);
            if header.first_commit > self.next {
                continue;
            }
            let mut offset = BLOCK_BYTES as u64;
            let unreadable = |error| unreadable(&self.folder, segment, error);
            while let Some(claimed) = claimed_at(&file, offset).map_err(unreadable)? {
                if claimed.number >= self.next {
                    break;
                }
                offset += claimed.bytes().next_multiple_of(BLOCK_BYTES) as u64;
            }
            return Ok(Place { file, segment, salt: header.salt, offset });
        }
        let wanted = self.next;
        Err(match first {
            Some(first) => TailError::Gone { wanted, first },
            None => TailError::Empty { wanted, path: self.folder.clone() },
        })
    }

    fn damaged(&self) -> TailError {
        let place = self.place.as_ref().expect("a segment was found");
        let path = self.folder.join(segment_file_name(place.segment));
        TailError::Damaged { wanted: self.next, path, offset: place.offset }
    }
}

fn numbers(folder: &Path) -> Result<Vec<u64>, TailError> {
    segment_numbers(folder).map_err(|(path, error)| TailError::Unreadable { path, error })
}

fn unreadable(folder: &Path, segment: u64, error: io::Error) -> TailError {
    TailError::Unreadable { path: folder.join(segment_file_name(segment)), error }
}

/// A segment with a header. None: it has none yet, or was removed since it was listed.
fn open_segment(folder: &Path, segment: u64) -> Result<Option<(File, SegmentHeader)>, TailError> {
    let unreadable = |error| unreadable(folder, segment, error);
    let file = match File::open(folder.join(segment_file_name(segment))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    let mut block = [0; BLOCK_BYTES];
    let is_there = read_exact_at(&file, 0, &mut block).map_err(unreadable)?;
    let header = is_there.then(|| SegmentHeader::decode(&block).ok()).flatten();
    Ok(header.map(|header| (file, header)))
}

/// What a commit's header at this place says of itself, if there may be one.
fn claimed_at(file: &File, offset: u64) -> io::Result<Option<ClaimedCommit>> {
    let mut header = [0; COMMIT_HEADER_BYTES];
    let is_there = read_exact_at(file, offset, &mut header)?;
    Ok(is_there.then(|| ClaimedCommit::decode(&header)).flatten())
}

/// Fills `bytes`. False: the file ends before.
fn read_exact_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}
