//! The writer: gathers records, writes them as commits, begins segments and removes old ones.

use std::collections::VecDeque;
use std::{io, mem};

use super::format::{
    COMMIT_HEADER_BYTES, Records, SegmentHeader, append_record, seal_commit, sealed_body,
};
use super::recovery::{GroupEnds, KeptSegment, LogEnd};
use super::{
    BLOCK_BYTES, DiskCall, LogDisk, LogError, LogSettings, RecordHeader, Retention,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};

/// A commit on its way: room for its header, and its records.
struct Gathering {
    bytes: Vec<u8>,
    records: u32,
}

impl Gathering {
    fn new() -> Self {
        Self { bytes: vec![0; COMMIT_HEADER_BYTES], records: 0 }
    }
}

/// The segment that is written to.
struct OpenSegment<F> {
    number: u64,
    file: F,
    bytes: u64,
    /// Where the next commit begins.
    offset: u64,
}

/// The log of a node.
pub struct DeltaLog<D: LogDisk> {
    disk: D,
    segment_bytes: u64,
    salt: u32,
    gathering: Gathering,
    /// A whole commit that is not durable yet; empty: none. Here it stays until it is.
    sealed: Vec<u8>,
    /// The number of that commit, or of the next.
    next_commit: u64,
    /// None before the first commit, and after a call has failed or was given up half-way.
    open: Option<OpenSegment<D::File>>,
    /// The number of the next segment. A number counts as used when the first commit in its segment
    /// is durable: until then the segment is made anew, and failures leave no heap of them.
    next_segment: u64,
    /// Segments with what is durable in them, the oldest first.
    kept: VecDeque<KeptSegment>,
    /// Bytes of all of them.
    kept_bytes: u64,
    /// So many of the oldest are known to be in the snapshots.
    stored_segments: usize,
    /// Snapshots have every commit below this one.
    first_unstored: u64,
    ends: GroupEnds,
}

impl<D: LogDisk> DeltaLog<D> {
    /// Goes on behind what [`recover`](super::recover) found, in a new segment. All that was found is durable when
    /// this has returned, and can be told to be. So is a segment of this log: one that begins has one before
    /// its first commit.
    ///
    /// # Errors
    /// [`LogError`]: the disk has failed. Nothing is lost, and another start may try again.
    ///
    /// # Panics
    /// When the settings are not what [`LogSettings`] says.
    pub async fn begin(disk: D, settings: LogSettings, end: LogEnd) -> Result<Self, LogError> {
        let LogSettings { segment_bytes } = settings;
        let is_whole = segment_bytes.is_multiple_of(BLOCK_BYTES as u64);
        let is_allowed = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes);
        assert!(is_whole && is_allowed, "segments of {segment_bytes} bytes");
        let mut log = Self {
            disk,
            segment_bytes,
            salt: end.salt,
            kept_bytes: end.kept.iter().map(|segment| segment.bytes).sum(),
            stored_segments: 0,
            first_unstored: end.first_commit(),
            gathering: Gathering::new(),
            next_commit: end.next_commit - u64::from(!end.last_commit.is_empty()),
            sealed: end.last_commit,
            open: None,
            next_segment: end.next_segment,
            kept: end.kept.into(),
            ends: end.ends,
        };
        if log.sealed.is_empty() {
            let open = log.begin_segment(0).await?;
            // Its number is used: what says that there is a log is not made anew.
            log.keep(open.number, open.bytes);
            log.open = Some(open);
        } else {
            // Nobody knows whether the last commit was synced before the process ended.
            log.commit().await?;
        }
        Ok(log)
    }

    /// Adds a record to the commit that is gathered.
    ///
    /// # Panics
    /// When the group's last record is not the one before this, or has a higher epoch: what is
    /// written so could not be read again.
    pub fn push(&mut self, header: RecordHeader, payload: &[u8]) {
        if let Err(expected) = self.ends.note(header) {
            panic!("{header:?}; expected: {expected}");
        }
        append_record(&mut self.gathering.bytes, header, payload);
        self.gathering.records += 1;
    }

    /// Bytes of what was pushed and is not durable yet. Whoever pushes bounds them, below
    /// [`COMMIT_BYTES_MAX`](super::COMMIT_BYTES_MAX).
    #[must_use]
    pub fn gathered_bytes(&self) -> usize {
        self.sealed.len() + self.gathering.bytes.len() - COMMIT_HEADER_BYTES
    }

    /// Writes what was gathered, and syncs it. When it has returned `Ok`, all that was pushed before
    /// is durable.
    ///
    /// # Errors
    /// [`LogError`]: nothing of what was gathered counts as durable. Nothing is lost either: the
    /// next call writes it again to a new segment, and then what was pushed meanwhile.
    pub async fn commit(&mut self) -> Result<(), LogError> {
        self.write_sealed().await?;
        if self.gathering.records > 0 {
            let Gathering { bytes, records } = &mut self.gathering;
            seal_commit(bytes, self.next_commit, *records, self.salt);
            mem::swap(bytes, &mut self.sealed);
            bytes.clear();
            bytes.resize(COMMIT_HEADER_BYTES, 0);
            *records = 0;
            self.write_sealed().await?;
        }
        Ok(())
    }

    /// Makes the sealed commit durable, if there is one.
    async fn write_sealed(&mut self) -> Result<(), LogError> {
        if self.sealed.is_empty() {
            return Ok(());
        }
        let length = self.sealed.len() as u64;
        // It comes back when all went well: also not when this future is dropped half-way.
        let mut open = match self.open.take() {
            Some(open) if open.bytes - open.offset >= length => open,
            _ => self.begin_segment(length).await?,
        };
        let segment = open.number;
        let failed = |call| move |error| LogError { call, segment, error };
        let written = self.disk.write(&open.file, open.offset, &self.sealed).await;
        written.map_err(failed(DiskCall::Write))?;
        self.disk.sync(&open.file).await.map_err(failed(DiskCall::Sync))?;
        open.offset += length;
        self.note_durable(segment, open.bytes);
        self.open = Some(open);
        Ok(())
    }

    /// Makes a segment with room for a commit of this length, up to its synced header.
    async fn begin_segment(&mut self, length: u64) -> Result<OpenSegment<D::File>, LogError> {
        let bytes = self.segment_bytes.max(BLOCK_BYTES as u64 + length);
        let segment = self.next_segment;
        let failed = |call| move |error: io::Error| LogError { call, segment, error };
        let created = self.disk.create(segment, bytes).await;
        let file = created.map_err(failed(DiskCall::Create))?;
        let header =
            SegmentHeader { salt: self.salt, segment, bytes, first_commit: self.next_commit };
        let written = self.disk.write(&file, 0, &header.encode()).await;
        written.map_err(failed(DiskCall::Write))?;
        // Without this sync a power cut could leave a commit that is whole, and no header.
        self.disk.sync(&file).await.map_err(failed(DiskCall::Sync))?;
        Ok(OpenSegment { number: segment, file, bytes, offset: BLOCK_BYTES as u64 })
    }

    /// The newest segment has come to stay.
    fn keep(&mut self, segment: u64, bytes: u64) {
        self.next_segment = segment + 1;
        self.kept.push_back(KeptSegment::new(segment, bytes));
        self.kept_bytes += bytes;
    }

    /// The sealed commit is durable, in this segment.
    fn note_durable(&mut self, segment: u64, bytes: u64) {
        if segment == self.next_segment {
            self.keep(segment, bytes);
        }
        let kept = self.kept.back_mut().expect("the open segment is kept");
        assert_eq!(kept.number, segment, "commits go to the newest segment");
        for record in Records::new(sealed_body(&self.sealed)) {
            let (_, header, _) = record.expect("it was pushed here, or read");
            kept.note(self.next_commit, header);
        }
        self.next_commit += 1;
        self.sealed.clear();
    }

    /// The number of the last commit that is durable; zero: there is none.
    #[must_use]
    pub fn durable_commit(&self) -> u64 {
        self.next_commit - 1
    }

    /// Segments, the newest one too.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.kept.len()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// The number of a commit below which snapshots have all: as many whole segments as they have from the
    /// oldest on, but for the newest. It never falls.
    pub fn first_unstored(&mut self, retention: &impl Retention) -> u64 {
        // What was stored once is.
        while self.stored_segments + 1 < self.kept.len()
            && self.kept[self.stored_segments].is_stored(retention)
        {
            let stored = &self.kept[self.stored_segments];
            self.first_unstored = self.first_unstored.max(stored.last_commit + 1);
            self.stored_segments += 1;
        }
        self.first_unstored
    }

    /// Removes the oldest segment, if nobody needs what is in it. The newest stays. Says whether one went.
    ///
    /// # Errors
    /// [`LogError`]: the disk could not remove it; the next call tries again.
    pub async fn release(&mut self, retention: &impl Retention) -> Result<bool, LogError> {
        self.first_unstored(retention);
        let Some(oldest) = self.kept.front().filter(|_| self.stored_segments > 0) else {
            return Ok(false);
        };
        if !retention.lets_go(oldest.last_commit, self.kept_bytes) {
            return Ok(false);
        }
        let (segment, bytes) = (oldest.number, oldest.bytes);
        match self.disk.remove(segment).await {
            // A call before this one may have come half-way.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError { call: DiskCall::Remove, segment, error });
            }
            _ => {}
        }
        self.kept.pop_front();
        self.stored_segments -= 1;
        self.kept_bytes -= bytes;
        Ok(true)
    }
}
