//! What a start reads: all segments in order, every record once, and where the log goes on. What
//! can be left by a power cut is told from damage here.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};

use thiserror::Error;
use warren_core::ids::{Epoch, GROUP_COUNT, GroupId, Sequence};

use super::format::{
    COMMIT_HEADER_BYTES, ClaimedCommit, Commit, FORMAT_OFFSET, HeaderFault, Records, SALT_OFFSET,
    SEGMENT_OFFSET, SegmentHeader,
};
use super::{
    BLOCK_BYTES, Record, RecordHeader, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    segment_file_name,
};

/// Far more commits than there will be, so that their numbers never overflow.
const COMMIT_NUMBER_MAX: u64 = u64::MAX / 2;

/// A log that cannot be read, or must not be gone on with.
#[derive(Debug, Error)]
pub enum RecoverError<E> {
    /// The system refuses the folder or a file.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// The folder, or the file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A segment is not as it was written, or one is missing, and no power cut explains it.
    #[error("{path}: damaged at byte {offset}; expected there: {expected}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What should be there.
        expected: String,
    },
    /// It was written by a newer version of Warren.
    #[error("{path}: its format at byte {offset} is {found}, which this version does not read", path = path.display())]
    FormatUnknown {
        /// The file.
        path: PathBuf,
        /// Where it says so.
        offset: u64,
        /// The format it has.
        found: u32,
    },
    /// Whoever asked for the records refuses one.
    #[error("{path}: the record at byte {offset}: {error}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Why.
        error: E,
    },
}

/// What was found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSummary {
    /// Segments, the empty ones too.
    pub segments: u64,
    /// Commits; one that is in two segments counts once.
    pub commits: u64,
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Remains of a commit that did not become whole. It was never acknowledged.
    pub torn: Option<TornTail>,
}

/// Where the remains of a commit begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// In which segment.
    pub segment: u64,
    /// Where in its file, in bytes.
    pub offset: u64,
}

/// The end of a log that was read: where [`DeltaLog::begin`](super::DeltaLog::begin) goes on.
#[derive(Clone, Debug)]
pub struct LogEnd {
    pub(super) salt: u32,
    /// A segment says the salt.
    is_begun: bool,
    first_commit: u64,
    pub(super) next_segment: u64,
    pub(super) next_commit: u64,
    /// The last commit, as it was written; empty: there is none.
    pub(super) last_commit: Vec<u8>,
    pub(super) kept: Vec<KeptSegment>,
    pub(super) ends: GroupEnds,
    summary: LogSummary,
}

impl LogEnd {
    /// What was found, in numbers.
    #[must_use]
    pub fn summary(&self) -> LogSummary {
        self.summary
    }

    /// Whether there is a log: a segment with a header.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// The salt of the log that is there, or of the one that [`DeltaLog::begin`](super::DeltaLog::begin)
    /// begins. Another log has another.
    #[must_use]
    pub fn salt(&self) -> u32 {
        self.salt
    }

    /// The number of the first commit that is there, or of the one that is due when there is none.
    #[must_use]
    pub fn first_commit(&self) -> u64 {
        self.first_commit
    }

    /// The number of the last commit; zero: there is none.
    #[must_use]
    pub fn last_commit(&self) -> u64 {
        self.next_commit - 1
    }

    /// Epoch and sequence of the group's last record; none: there is no record of it. The next one
    /// that is pushed has to follow it.
    #[must_use]
    pub fn last_of(&self, group: GroupId) -> Option<(Epoch, Sequence)> {
        self.ends.last[usize::from(group.0)]
    }
}

/// The last record of each group.
#[derive(Clone, Debug)]
pub(super) struct GroupEnds {
    last: Vec<Option<(Epoch, Sequence)>>,
}

impl GroupEnds {
    fn new() -> Self {
        Self { last: vec![None; GROUP_COUNT] }
    }

    /// Takes the group's next record, or says what was expected.
    pub(super) fn note(&mut self, header: RecordHeader) -> Result<(), String> {
        let RecordHeader { group, epoch, sequence } = header;
        let last = &mut self.last[usize::from(group.0)];
        let (epoch_min, is_next) = match *last {
            None => (Epoch(0), sequence > Sequence(0)),
            Some((epoch, last)) => (epoch, last.0.checked_add(1) == Some(sequence.0)),
        };
        if !is_next {
            let next = last.map_or(1, |(_, last)| last.0.saturating_add(1));
            return Err(format!("sequence {next} of group {}, not {}", group.0, sequence.0));
        }
        if epoch < epoch_min {
            let (lowest, group) = (epoch_min.0, group.0);
            return Err(format!("epoch {lowest} or higher of group {group}, not {}", epoch.0));
        }
        *last = Some((epoch, sequence));
        Ok(())
    }
}

/// A segment that is there, and how far it goes.
#[derive(Clone, Debug)]
pub(super) struct KeptSegment {
    pub(super) number: u64,
    /// Bytes of its file.
    pub(super) bytes: u64,
    /// The last commit in it; zero: none.
    pub(super) last_commit: u64,
    /// By group: its highest sequence in the segment; zero: nothing.
    highest: Vec<Sequence>,
}

impl KeptSegment {
    pub(super) fn new(number: u64, bytes: u64) -> Self {
        Self { number, bytes, last_commit: 0, highest: vec![Sequence(0); GROUP_COUNT] }
    }

    pub(super) fn note(&mut self, commit: u64, header: RecordHeader) {
        self.last_commit = commit;
        self.highest[usize::from(header.group.0)] = header.sequence;
    }

    /// Whether something of the segment is beyond these positions, by group; none: of no interest.
    pub(super) fn reaches_beyond(&self, positions: &[Option<Sequence>]) -> bool {
        let mut groups = self.highest.iter().zip(positions);
        groups.any(|(highest, position)| position.is_some_and(|position| *highest > position))
    }

    /// Whether snapshots have all that is in the segment.
    pub(super) fn is_stored(&self, retention: &impl Retention) -> bool {
        let mut groups = (0..).zip(&self.highest).filter(|(_, highest)| highest.0 > 0);
        groups.all(|(group, highest)| retention.stored(GroupId(group)) >= *highest)
    }
}

/// Where segments are read from.
pub trait SegmentSource {
    /// The numbers of all segments, ascending.
    ///
    /// # Errors
    /// The name that cannot be read or is of no segment, and why.
    fn segments(&mut self) -> Result<Vec<u64>, (PathBuf, io::Error)>;

    /// Replaces `bytes` by the segment's.
    ///
    /// # Errors
    /// Why it cannot be read. One longer than [`SEGMENT_BYTES_MAX`] is refused.
    fn load(&mut self, segment: u64, bytes: &mut Vec<u8>) -> io::Result<()>;

    /// What the segment is called, for those who have to look at it.
    fn path(&self, segment: u64) -> PathBuf;
}

/// The segments of a folder.
pub(super) struct Folder<'a>(pub(super) &'a Path);

impl SegmentSource for Folder<'_> {
    fn segments(&mut self) -> Result<Vec<u64>, (PathBuf, io::Error)> {
        segment_numbers(self.0)
    }

    fn load(&mut self, segment: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        let file = File::open(self.path(segment))?;
        let length = file.metadata()?.len();
        if length > SEGMENT_BYTES_MAX {
            return Err(io::Error::other("it is longer than a segment can be"));
        }
        bytes.clear();
        bytes.reserve_exact(length as usize);
        file.take(length).read_to_end(bytes)?;
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.0.join(segment_file_name(segment))
    }
}

/// The numbers of all segments in a folder, ascending.
///
/// # Errors
/// The name that cannot be read or is of no segment, and why.
pub(super) fn segment_numbers(folder: &Path) -> Result<Vec<u64>, (PathBuf, io::Error)> {
    let unreadable = |error| (folder.to_owned(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse().ok());
        let number = number.filter(|number| path.ends_with(segment_file_name(*number)));
        match number.filter(|number| (1..u64::MAX).contains(number)) {
            Some(number) => found.push(number),
            None => return Err((path, io::Error::other("this is no name of a segment"))),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads all segments of a folder in order, hands every record to `visit`, and says where to go on.
/// It changes nothing. The records of the last commit may not be durable before
/// [`DeltaLog::begin`](super::DeltaLog::begin) has returned. Memory: two segments.
///
/// # Errors
/// [`RecoverError`]. Records before the place that it names may have been handed over already.
pub fn recover<E>(
    folder: &Path,
    visit: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<LogEnd, RecoverError<E>> {
    recover_from(&mut Folder(folder), visit)
}

/// As [`recover`], from wherever segments are.
///
/// # Errors
/// [`RecoverError`].
pub fn recover_from<E>(
    source: &mut dyn SegmentSource,
    visit: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<LogEnd, RecoverError<E>> {
    let numbers =
        source.segments().map_err(|(path, error)| RecoverError::Unreadable { path, error })?;
    let mut recovery = Recovery {
        source,
        visit,
        salt: None,
        first_commit: None,
        next_commit: 1,
        last_commit: Vec::new(),
        kept: Vec::new(),
        ends: GroupEnds::new(),
        summary: LogSummary::default(),
    };
    recovery.read_all(&numbers)?;
    // A new log's salt has to be one that nobody can guess.
    let is_begun = recovery.salt.is_some();
    let salt = recovery.salt.unwrap_or_else(|| RandomState::new().build_hasher().finish() as u32);
    let next_segment = numbers.last().map_or(1, |last| last + 1);
    let Recovery { first_commit, next_commit, last_commit, kept, ends, summary, .. } = recovery;
    let first_commit = first_commit.unwrap_or(next_commit);
    Ok(LogEnd {
        salt,
        is_begun,
        first_commit,
        next_segment,
        next_commit,
        last_commit,
        kept,
        ends,
        summary,
    })
}

/// A segment in memory.
#[derive(Default)]
struct Loaded {
    number: u64,
    bytes: Vec<u8>,
    /// None where a power cut came before it was whole.
    header: Option<SegmentHeader>,
    /// Its first commit is whole.
    is_begun: bool,
}

struct Recovery<'a, V> {
    source: &'a mut dyn SegmentSource,
    visit: V,
    /// None before the first header.
    salt: Option<u32>,
    /// None before the first whole commit.
    first_commit: Option<u64>,
    /// The number that is expected.
    next_commit: u64,
    last_commit: Vec<u8>,
    kept: Vec<KeptSegment>,
    ends: GroupEnds,
    summary: LogSummary,
}

impl<E, V: FnMut(Record<'_>) -> Result<(), E>> Recovery<'_, V> {
    fn read_all(&mut self, numbers: &[u64]) -> Result<(), RecoverError<E>> {
        let mut before: Option<u64> = None;
        // The first segment that there ever was is here, so the first commit has to be.
        let is_from_the_beginning = numbers.first() == Some(&1);
        // A segment is read when it is known with which commit the next goes on.
        let mut current = Loaded::default();
        let mut next = Loaded::default();
        for &number in numbers {
            if let Some(missing) = before.map(|before| before + 1).filter(|next| *next != number) {
                return Err(self.damaged(missing, 0, "this segment, which is missing"));
            }
            before = Some(number);
            let is_numbered = self.salt.is_some();
            self.load(number, &mut next)?;
            self.summary.segments += 1;
            self.kept.push(KeptSegment::new(number, next.bytes.len() as u64));
            let first_commit = next.header.map_or(self.next_commit, |header| header.first_commit);
            if current.is_begun && next.is_begun {
                self.read(&current, Some((number, first_commit)))?;
            } else if !current.is_begun {
                // Also a segment without a commit says how far the log had come: those behind it begin
                // there, or with the commit before.
                if is_numbered && first_commit > self.next_commit {
                    let expected = format!("commit {}, not {first_commit}", self.next_commit);
                    return Err(self.damaged(number, BLOCK_BYTES, &expected));
                }
                self.next_commit = first_commit;
                if is_from_the_beginning && first_commit != 1 {
                    return Err(self.damaged(1, BLOCK_BYTES, "commit 1"));
                }
            }
            if next.is_begun {
                mem::swap(&mut current, &mut next);
            }
        }
        if current.is_begun {
            self.read(&current, None)?;
        }
        Ok(())
    }

    /// Loads a segment, and looks whether there are commits in it.
    fn load(&mut self, number: u64, into: &mut Loaded) -> Result<(), RecoverError<E>> {
        into.number = number;
        into.is_begun = false;
        let loaded = self.source.load(number, &mut into.bytes);
        loaded
            .map_err(|error| RecoverError::Unreadable { path: self.source.path(number), error })?;
        let bytes = &into.bytes;
        into.header = self.header(number, bytes)?;
        let Some(SegmentHeader { salt, first_commit, .. }) = into.header else { return Ok(()) };
        match Commit::decode(&bytes[BLOCK_BYTES..], salt) {
            Some(commit) if commit.number == first_commit => into.is_begun = true,
            Some(_) => {
                return Err(self.damaged(number, BLOCK_BYTES, &format!("commit {first_commit}")));
            }
            None => self.check_tail(number, bytes, BLOCK_BYTES, first_commit)?,
        }
        Ok(())
    }

    /// The segment's header; none where a power cut came before it was whole.
    fn header(
        &mut self,
        number: u64,
        bytes: &[u8],
    ) -> Result<Option<SegmentHeader>, RecoverError<E>> {
        let header = match SegmentHeader::decode(bytes) {
            Ok(header) => header,
            Err(HeaderFault::FormatUnknown(found)) => {
                let path = self.source.path(number);
                return Err(RecoverError::FormatUnknown { path, offset: FORMAT_OFFSET, found });
            }
            Err(HeaderFault::Invalid) => {
                // Commits come when the header is synced, and the header when the length is.
                let commits = bytes.get(BLOCK_BYTES..).unwrap_or(bytes);
                return match commits.iter().all(|byte| *byte == 0) {
                    true => Ok(None),
                    false => Err(self.damaged(number, 0, "the header of a segment")),
                };
            }
        };
        if header.segment != number {
            let expected = format!("segment {number}, not {}", header.segment);
            return Err(self.damaged(number, SEGMENT_OFFSET as usize, &expected));
        }
        if header.bytes != bytes.len() as u64 {
            let expected = format!("the end, at {} bytes", header.bytes);
            return Err(self.damaged(number, bytes.len(), &expected));
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.bytes)
            || !header.bytes.is_multiple_of(BLOCK_BYTES as u64)
            || !(1..=COMMIT_NUMBER_MAX).contains(&header.first_commit)
        {
            return Err(self.damaged(number, 0, "the header of a segment"));
        }
        if *self.salt.get_or_insert(header.salt) != header.salt {
            return Err(self.damaged(
                number,
                SALT_OFFSET as usize,
                "the salt of the other segments",
            ));
        }
        Ok(Some(header))
    }

    /// Hands over the segment's records, up to the commit with which a later one goes on.
    fn read(&mut self, segment: &Loaded, later: Option<(u64, u64)>) -> Result<(), RecoverError<E>> {
        let salt = self.salt.expect("a segment with commits has a header");
        let Loaded { number, ref bytes, .. } = *segment;
        let mut offset = BLOCK_BYTES;
        let mut last = 0..0;
        while later.is_none_or(|(_, until)| self.next_commit != until) {
            let Some(commit) = Commit::decode(&bytes[offset..], salt) else { break };
            if commit.number != self.next_commit {
                let expected = format!("commit {}, not {}", self.next_commit, commit.number);
                return Err(self.damaged(number, offset, &expected));
            }
            self.hand_over(number, offset, &commit)?;
            last = offset..offset + commit.padded_bytes();
            offset = last.end;
            self.next_commit += 1;
        }
        match later {
            Some((_, until)) if self.next_commit == until => {}
            Some((later, until)) => {
                let expected = self.next_commit;
                let words = format!("commit {expected}, since segment {later} begins with {until}");
                return Err(self.damaged(number, offset, &words));
            }
            None => {
                self.check_tail(number, bytes, offset, self.next_commit)?;
                self.last_commit.extend_from_slice(&bytes[last]);
            }
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        segment: u64,
        offset: usize,
        commit: &Commit<'_>,
    ) -> Result<(), RecoverError<E>> {
        let body_offset = offset + COMMIT_HEADER_BYTES;
        self.first_commit.get_or_insert(commit.number);
        let mut records = 0;
        for record in Records::new(commit.body) {
            let (place, header, payload) = record.map_err(|(place, expected)| {
                self.damaged(segment, body_offset + place, expected)
            })?;
            let place = body_offset + place;
            self.ends.note(header).map_err(|expected| self.damaged(segment, place, &expected))?;
            let offset = place as u64;
            let record = Record { header, payload, commit: commit.number, segment, offset };
            (self.visit)(record).map_err(|error| RecoverError::Refused {
                path: self.source.path(segment),
                offset,
                error,
            })?;
            // The segment was loaded after the one that is read now, so it is not the last.
            let kept = self.kept.iter_mut().rfind(|kept| kept.number == segment);
            kept.expect("it was loaded").note(commit.number, header);
            self.summary.payload_bytes += payload.len() as u64;
            records += 1;
        }
        if records != commit.records {
            let expected = format!("{} records, not {records}", commit.records);
            return Err(self.damaged(segment, offset, &expected));
        }
        self.summary.records += u64::from(records);
        self.summary.commits += 1;
        Ok(())
    }

    /// What stands from `offset` on is no whole commit. It may be what a power cut left of the
    /// commit that is expected there, but not if a later one is whole.
    fn check_tail(
        &mut self,
        segment: u64,
        bytes: &[u8],
        offset: usize,
        expected: u64,
    ) -> Result<(), RecoverError<E>> {
        let salt = self.salt.expect("the segment has a header");
        for (distance, place) in (offset..bytes.len()).step_by(BLOCK_BYTES).enumerate().skip(1) {
            // Each commit between takes a block, so what claims more is not looked into.
            let numbers = expected + 1..=expected.saturating_add(distance as u64);
            let claimed = ClaimedCommit::decode(&bytes[place..]);
            let is_possible = claimed.is_some_and(|claimed| numbers.contains(&claimed.number));
            if is_possible && let Some(commit) = Commit::decode(&bytes[place..], salt) {
                let found = commit.number;
                let words = format!("commit {expected}, since commit {found} is at byte {place}");
                return Err(self.damaged(segment, offset, &words));
            }
        }
        if bytes[offset..].iter().any(|byte| *byte != 0) {
            self.summary.torn = Some(TornTail { segment, offset: offset as u64 });
        }
        Ok(())
    }

    fn damaged(&self, segment: u64, offset: usize, expected: &str) -> RecoverError<E> {
        let (path, expected) = (self.source.path(segment), expected.to_owned());
        RecoverError::Damaged { path, offset: offset as u64, expected }
    }
}
