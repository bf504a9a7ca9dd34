//! What follows the log into Postgres, a round at a time. It has no thread, no clock and no patience of
//! its own: whoever calls it waits between rounds, and longer after those that fail.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use thiserror::Error;
use warren_core::ids::{Epoch, GroupId, Sequence};

use super::follow::{CopyReason, checksum_of, follow};
use super::merge::Changes;
use super::writer::{Addresses, ExportCursor, Writer};
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
    /// Postgres has not applied so many commits in the time that it has. The next round takes half of
    /// them.
    #[error("{commits} commits: {error}")]
    TooSlow {
        /// How many.
        commits: u64,
        /// What it says, if it says anything.
        error: PostgresError,
    },
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
    /// Whether less may be done where this much was not.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        matches!(self, Self::TooSlow { commits, .. } if *commits > 1)
    }

    /// Whether something is missing in the tables, which only a full copy mends.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_gap(),
            Self::Record { error, .. } => matches!(error, ChangeError::Gap { .. }),
            Self::TooSlow { .. } | Self::Tail(_) | Self::Store(_) | Self::OtherWorld(_) => false,
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
    /// A round takes no more than Postgres has shown to do in time.
    commits_max: u64,
    /// With the bytes that the log has written since, in wrapping numbers, those that are not exported.
    lag_base: u64,
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
        let exporter = Self {
            place,
            source,
            following: None,
            has_gap: false,
            commits_max: u64::MAX,
            lag_base: 0,
        };
        exporter.need(0);
        exporter
    }

    /// Up to where the tables are, as far as this has seen.
    #[must_use]
    pub fn cursor(&self) -> Option<ExportCursor> {
        self.following.as_ref().map(|following| following.cursor)
    }

    /// What has to be added to the bytes that the log counts to have those that are not exported, in
    /// wrapping numbers. They are true but for a commit that is being written.
    #[must_use]
    pub fn lag_base(&self) -> u64 {
        self.lag_base
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
        // Before what is durable: a commit that comes between the two is told too often, not never.
        let written = self.source.progress.bytes.load(Relaxed);
        let durable = self.source.progress.durable_commit();
        let gathered = gather(&mut following, durable, self.commits_max);
        let (changes, to, is_behind) = match gathered {
            Err(ExportError::Tail(TailError::Gone { .. })) => {
                return self.copy(following.writer, CopyReason::LogGone).await;
            }
            gathered => gathered?,
        };
        let Following { writer, cursor, .. } = &mut following;
        let commits = to.commit - cursor.commit;
        if commits == 0 {
            self.lag_base = 0u64.wrapping_sub(written);
            self.following = Some(following);
            return Ok(ExportRound::UpToDate);
        }
        let objects = match writer.apply(&changes, *cursor, to).await {
            Err(error) if error.is_too_slow() => {
                self.commits_max = (commits / 2).max(1);
                return Err(ExportError::TooSlow { commits, error });
            }
            applied => applied?,
        };
        if commits == self.commits_max {
            self.commits_max = commits.saturating_mul(2);
        }
        self.lag_base = self.lag_base.wrapping_sub(changes.log_bytes);
        *cursor = to;
        self.need(to.commit);
        self.following = Some(following);
        Ok(ExportRound::Applied { commits, objects, is_behind })
    }

    /// Makes anew what Postgres keeps for as long as a connection lives: where that is old, the
    /// transactions of the whole cluster cannot be forgotten.
    ///
    /// # Errors
    /// [`ExportError`]; the next round connects.
    pub async fn renew(&mut self) -> Result<(), ExportError> {
        let Some(following) = self.following.take() else { return Ok(()) };
        following.writer.renew().await?;
        self.following = Some(following);
        Ok(())
    }

    /// Connects, and looks whether the log goes on from the cursor.
    async fn begin(&mut self) -> Result<ExportRound, ExportError> {
        let writer = Writer::connect(&self.place).await?;
        let ExportSource { log_folder, progress, .. } = &self.source;
        let reason = match writer.cursor().await? {
            None => CopyReason::CursorMissing,
            Some(cursor) => match follow(log_folder, cursor, progress.durable_commit())? {
                Ok(_) if self.has_gap => CopyReason::Gap,
                Ok(tail) => {
                    writer.tell_addresses(&self.addresses()?, cursor).await?;
                    self.need(cursor.commit);
                    self.measure(&tail)?;
                    self.following = Some(Following { writer, cursor, tail });
                    return Ok(ExportRound::Applied { commits: 0, objects: 0, is_behind: true });
                }
                Err(reason) => reason,
            },
        };
        let has_rows = writer.has_rows().await?;
        if reason.is_other_world() && !self.source.may_replace && has_rows {
            return Err(ExportError::OtherWorld(reason));
        }
        let is_first = reason == CopyReason::CursorMissing && !has_rows;
        self.copy(writer, if is_first { CopyReason::FirstExport } else { reason }).await
    }

    /// What an import has to pass over, so that no address is given twice.
    fn addresses(&self) -> Result<Addresses, StoreError> {
        let store = &self.source.store;
        Ok(Addresses { next: store.all_next_addresses()?, crashes: store.crashes() })
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
        let addresses = self.addresses()?;
        // What is stored is never newer than the log.
        let copied_to = progress.durable_commit();
        let copied_checksum = checksum_of(log_folder, copied_to)?;
        let (commit, checksum) = (first - 1, None);
        let cursor = ExportCursor { log, commit, checksum, copied_to, copied_checksum };
        let objects = copy.finish(&addresses, cursor).await?;
        let tail = LogTail::open(log_folder, first);
        self.measure(&tail)?;
        self.following = Some(Following { writer, cursor, tail });
        self.has_gap = false;
        self.need(cursor.commit);
        Ok(ExportRound::Copied { objects, reason })
    }

    /// Counts the bytes that are behind this place.
    fn measure(&mut self, tail: &LogTail) -> Result<(), TailError> {
        let progress = &self.source.progress;
        let written = progress.bytes.load(Relaxed);
        self.lag_base = tail.bytes_to(progress.durable_commit())?.wrapping_sub(written);
        Ok(())
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
    commits_max: u64,
) -> Result<(Changes, ExportCursor, bool), ExportError> {
    let Following { cursor, tail, .. } = following;
    let (mut changes, mut to) = (Changes::default(), *cursor);
    while changes.objects.len() < ROUND_OBJECTS_MAX
        && changes.bytes < ROUND_BYTES_MAX
        && to.commit - cursor.commit < commits_max
    {
        let Some(commit) = tail.next(durable)? else { return Ok((changes, to, false)) };
        changes.log_bytes += commit.bytes() as u64;
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
        // What comes behind a full copy is held to more, so it is a round of its own.
        if to.commit == to.copied_to {
            break;
        }
    }
    Ok((changes, to, true))
}
