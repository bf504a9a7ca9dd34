//! What follows the log into Postgres, a round at a time. It has no thread, no clock and no patience of
//! its own: whoever calls it waits between rounds, and longer after those that fail.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use warren_core::ids::{Epoch, GroupId, Sequence};

use super::merge::Changes;
use super::writer::{ExportCursor, Writer};
use super::{ChangeError, PostgresError, PostgresPlace};
use crate::StateStore;
use crate::delta_log::{LogTail, TailError};
use crate::log_executor::{LogNeeds, LogProgress};
use crate::state_store::StoreError;

/// A round takes no more commits once their changes concern so many objects,
const ROUND_OBJECTS_MAX: usize = 16_384;
/// or once they have so many bytes. One commit more may be in memory.
const ROUND_BYTES_MAX: usize = 8 << 20;
/// Objects that a full copy reads at once.
const COPY_OBJECTS: usize = 1024;
/// Bytes of objects that it reads at once.
const COPY_BYTES: usize = 1 << 20;

/// Why a round has failed. The next one connects anew, and goes on where the cursor is.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The log cannot be read.
    #[error("log-unreadable: {0}")]
    Tail(#[from] TailError),
    /// A record of the log cannot be exported.
    #[error("commit {commit}, group {group}, epoch {epoch}, sequence {sequence}: {error}", group = group.0, epoch = epoch.0, sequence = sequence.0)]
    Record {
        /// In which commit.
        commit: u64,
        /// Of which group.
        group: GroupId,
        /// Its epoch.
        epoch: Epoch,
        /// Its sequence.
        sequence: Sequence,
        /// Why.
        error: ChangeError,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tables hold what does not come from this log, and may be the only copy of it.
    #[error(
        "export-other-world: {}: the tables hold another world, and only export.replace replaces it",
        .0.word()
    )]
    OtherWorld(CopyReason),
}

impl ExportError {
    /// Whether something is missing in the tables, which only a full copy mends.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        matches!(
            self,
            Self::Postgres(PostgresError::Gap { .. })
                | Self::Record { error: ChangeError::Gap { .. }, .. }
        )
    }
}

/// Why everything is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// The tables were never filled.
    FirstExport,
    /// Commits that are not in the tables are gone from the log.
    LogGone,
    /// The tables are of another log.
    OtherLog,
    /// The tables have more than the log: it was put back to an older state.
    CursorAhead,
    /// The log has another commit of the cursor's number: it was put back, and went on otherwise.
    OtherHistory,
    /// An object in the tables is not what the log goes on from.
    Gap,
}

impl CopyReason {
    /// Whether the tables may hold a world that is nowhere else.
    const fn is_other_world(self) -> bool {
        matches!(self, Self::OtherLog | Self::CursorAhead | Self::OtherHistory)
    }

    /// The word in the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FirstExport => "first-export",
            Self::LogGone => "log-gone",
            Self::OtherLog => "other-log",
            Self::CursorAhead => "cursor-ahead",
            Self::OtherHistory => "other-history",
            Self::Gap => "export-gap",
        }
    }
}

/// What a round has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportRound {
    /// The tables have all that is durable.
    UpToDate,
    /// These commits were applied; there may be more.
    Applied {
        /// How many.
        commits: u64,
        /// Objects that they have changed.
        objects: u64,
        /// There was more than one round takes.
        is_behind: bool,
    },
    /// Everything was copied.
    Copied {
        /// How many objects.
        objects: u64,
        /// Why.
        reason: CopyReason,
    },
}

/// The log that is followed, and the store beside it.
#[derive(Clone, Debug)]
pub struct ExportSource {
    /// All objects.
    pub store: Arc<StateStore>,
    /// The log's folder.
    pub log_folder: PathBuf,
    /// Where the log says what is durable.
    pub progress: Arc<LogProgress>,
    /// Where the log is told what is needed.
    pub needs: Arc<LogNeeds>,
    /// Above so many bytes the log waits for nobody.
    pub log_bytes_max: u64,
    /// Whether it may replace what another world has left in the tables.
    pub may_replace: bool,
}

/// Follows a log into Postgres.
pub struct Exporter {
    place: PostgresPlace,
    source: ExportSource,
    following: Option<Following>,
    /// The tables lack something.
    has_gap: bool,
}

/// A connection, and where it goes on.
struct Following {
    writer: Writer,
    cursor: ExportCursor,
    tail: LogTail,
}

impl Exporter {
    /// One that is not connected yet. From now on the log keeps everything.
    #[must_use]
    pub fn new(place: PostgresPlace, source: ExportSource) -> Self {
        let exporter = Self { place, source, following: None, has_gap: false };
        exporter.need(0);
        exporter
    }

    /// Up to where the tables are, as far as this has seen.
    #[must_use]
    pub fn cursor(&self) -> Option<ExportCursor> {
        self.following.as_ref().map(|following| following.cursor)
    }

    /// Connects if need be, and applies some commits, or copies everything where there is nothing to
    /// follow.
    ///
    /// # Errors
    /// [`ExportError`]. What it was about to do is undone.
    pub async fn round(&mut self) -> Result<ExportRound, ExportError> {
        let result = self.try_round().await;
        if let Err(error) = &result {
            self.following = None;
            self.has_gap |= error.is_gap();
        }
        result
    }

    async fn try_round(&mut self) -> Result<ExportRound, ExportError> {
        let Some(mut following) = self.following.take() else { return self.begin().await };
        let durable = self.source.progress.durable_commit();
        let gathered = gather(&mut following, durable);
        let (changes, to, is_behind) = match gathered {
            Err(ExportError::Tail(TailError::Gone { .. })) => {
                return self.copy(following.writer, CopyReason::LogGone).await;
            }
            gathered => gathered?,
        };
        let Following { writer, cursor, .. } = &mut following;
        let commits = to.commit - cursor.commit;
        if commits == 0 {
            self.following = Some(following);
            return Ok(ExportRound::UpToDate);
        }
        let objects = writer.apply(&changes, *cursor, to).await?;
        *cursor = to;
        self.need(to.commit);
        self.following = Some(following);
        Ok(ExportRound::Applied { commits, objects, is_behind })
    }

    /// Connects, and looks whether the log goes on from the cursor.
    async fn begin(&mut self) -> Result<ExportRound, ExportError> {
        let writer = Writer::connect(&self.place).await?;
        let reason = match writer.cursor().await? {
            None => CopyReason::FirstExport,
            Some(cursor) => match self.follow(cursor)? {
                Ok(_) if self.has_gap => CopyReason::Gap,
                Ok(tail) => {
                    self.need(cursor.commit);
                    self.following = Some(Following { writer, cursor, tail });
                    return Ok(ExportRound::Applied { commits: 0, objects: 0, is_behind: true });
                }
                Err(reason) => reason,
            },
        };
        if reason.is_other_world() && !self.source.may_replace && writer.has_rows().await? {
            return Err(ExportError::OtherWorld(reason));
        }
        self.copy(writer, reason).await
    }

    /// The log behind the cursor, or why it does not go on from there.
    fn follow(&self, cursor: ExportCursor) -> Result<Result<LogTail, CopyReason>, TailError> {
        let folder = &self.source.log_folder;
        let durable = self.source.progress.durable_commit();
        // Of a world without a log nothing says whether it was this one.
        let Some(log) = cursor.log else { return Ok(Err(CopyReason::FirstExport)) };
        if LogTail::salt(folder)? != Some(log) {
            return Ok(Err(CopyReason::OtherLog));
        }
        if cursor.commit > durable {
            return Ok(Err(CopyReason::CursorAhead));
        }
        // Right behind a full copy the cursor knows no commit.
        let Some(checksum) = cursor.checksum else {
            return Ok(Ok(LogTail::open(folder, cursor.commit + 1)));
        };
        let mut tail = LogTail::open(folder, cursor.commit);
        let known = match tail.next(durable) {
            Ok(commit) => commit.expect("it is not beyond the durable ones"),
            Err(TailError::Gone { .. }) => return Ok(Err(CopyReason::LogGone)),
            Err(error) => return Err(error),
        };
        let is_known = known.crc == checksum;
        Ok(if is_known { Ok(tail) } else { Err(CopyReason::OtherHistory) })
    }

    /// Copies all objects as the store has them now, each as of its own moment. The log from its oldest
    /// commit on takes every one of them to where it ends: versions say what a row has already, and what
    /// a change does not find was deleted later.
    async fn copy(
        &mut self,
        writer: Writer,
        reason: CopyReason,
    ) -> Result<ExportRound, ExportError> {
        self.need(0);
        let ExportSource { store, log_folder, progress, .. } = &self.source;
        // Before the first row is read: all rows have what is below. So segments that snapshots have are not
        // waited for, and one that follows at once does not take away what the copy begins with.
        let there = LogTail::first_commit(log_folder)?.unwrap_or(1);
        let first = progress.first_unstored().max(there);
        self.need(first - 1);
        let log = LogTail::salt(log_folder)?;
        let mut copy = writer.begin_copy().await?;
        let mut after = None;
        loop {
            let objects = store.objects_after(after, COPY_OBJECTS, COPY_BYTES)?;
            let Some(last) = objects.last() else { break };
            after = Some(last.id);
            for object in &objects {
                copy.take(object).await?;
            }
        }
        let next_addresses = store.all_next_addresses()?;
        // What is stored is never newer than the log.
        let copied_to = progress.durable_commit();
        let cursor = ExportCursor { log, commit: first - 1, checksum: None, copied_to };
        let objects = copy.finish(&next_addresses, cursor).await?;
        let tail = LogTail::open(log_folder, first);
        self.following = Some(Following { writer, cursor, tail });
        self.has_gap = false;
        self.need(cursor.commit);
        Ok(ExportRound::Copied { objects, reason })
    }

    /// Tells the log that this commit and what comes after it is to be kept.
    fn need(&self, commit: u64) {
        self.source.needs.exported(commit, self.source.log_bytes_max);
    }
}

/// Commits behind the cursor as far as one round goes, and where the cursor is then.
fn gather(
    following: &mut Following,
    durable: u64,
) -> Result<(Changes, ExportCursor, bool), ExportError> {
    let Following { cursor, tail, .. } = following;
    let (mut changes, mut to) = (Changes::default(), *cursor);
    while changes.objects.len() < ROUND_OBJECTS_MAX && changes.bytes < ROUND_BYTES_MAX {
        let Some(commit) = tail.next(durable)? else { return Ok((changes, to, false)) };
        for (header, payload) in commit.records() {
            let at = |error| ExportError::Record {
                commit: commit.number,
                group: header.group,
                epoch: header.epoch,
                sequence: header.sequence,
                error,
            };
            changes.take(payload).map_err(at)?;
        }
        to.log = Some(commit.salt);
        to.commit = commit.number;
        to.checksum = Some(commit.crc);
    }
    Ok((changes, to, true))
}
