//! What outlives the process: opened and loaded at the start, and told in the log so that an
//! operator sees what is there and from when.

use std::fs::File;
use std::io;
use std::iter::Sum;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use warren_core::ids::{Epoch, GROUP_COUNT, GroupId};
use warren_core::routing::RoutingTable;
use warren_core::shard::Shard;
use warren_core::turn::Now;
use warren_storage::delta_log::{LogEnd, LogMark};
use warren_storage::log_executor::LogNeeds;
use warren_storage::{StateOpened, StateStore, StoreError};

use crate::backup;
use crate::delta_log;
use crate::fatal::{Fatal, FatalReason};

/// The store's folder in the data folder.
pub(crate) const STATE_FOLDER: &str = "state";
/// The delta log's folder in the data folder.
pub(crate) const LOG_FOLDER: &str = "log";
/// There while a backup is being restored.
pub(crate) const RESTORE_FOLDER: &str = "restoring";

/// The store's folder while a world is being imported.
pub(crate) const IMPORT_FOLDER: &str = "state.importing";

/// How much state there is, and its digest: equal for equal objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateSummary {
    pub(crate) objects: u64,
    pub(crate) rooms: u64,
    pub(crate) digest: u64,
}

impl StateSummary {
    pub(crate) fn of(shard: &Shard) -> Self {
        let counters = shard.counters();
        Self { objects: counters.objects, rooms: counters.rooms, digest: shard.objects_digest() }
    }

    /// Writes a line to the log.
    pub(crate) fn log(self, message: &str) {
        let Self { objects, rooms, digest } = self;
        tracing::info!(objects, rooms, digest = format_args!("{digest:016x}"), "{message}");
    }
}

impl AddAssign for StateSummary {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.rooms += other.rooms;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

impl Sum for StateSummary {
    fn sum<I: Iterator<Item = Self>>(summaries: I) -> Self {
        summaries.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// The state of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder {
    pub(crate) store: Arc<StateStore>,
    /// Of all groups, until the next start.
    pub(crate) epoch: Epoch,
    /// The delta log's folder.
    pub(crate) log_folder: PathBuf,
}

impl StateFolder {
    /// Opens the store, and says in the log from when it is.
    pub(crate) fn open(folder: &Path) -> Result<Self, Fatal> {
        let all =
            [(RESTORE_FOLDER, "a restore", "restore"), (IMPORT_FOLDER, "an import", "import")];
        for (unfinished, what, command) in all {
            let unfinished = folder.join(unfinished);
            if unfinished.exists() {
                let detail = format!(
                    "{}: {what} was not finished; give `warren {command}` again, which begins anew",
                    unfinished.display()
                );
                return Err(Fatal::new(FatalReason::StateUnusable, detail));
            }
        }
        make_folders(folder).map_err(|error| {
            let detail = format_args!("{}: {error}", folder.display());
            Fatal::new(FatalReason::DataFolderUnusable, detail)
        })?;
        let (store, opened) = StateStore::open(&folder.join(STATE_FOLDER)).map_err(unusable)?;
        // Nobody else has the store open, so nobody copies from them.
        backup::remove_left(folder);
        let epoch = u32::try_from(opened.start).map(Epoch).map_err(|_| {
            Fatal::new(FatalReason::StateUnusable, "the store was opened 2^32 times")
        })?;
        log_age(&opened);
        Ok(Self { store: Arc::new(store), epoch, log_folder: folder.join(LOG_FOLDER) })
    }

    /// The server begins to change the state: all that can fail at a start has not failed. From now on the
    /// store says which log belongs to it: the one that was found, which has begun by now.
    pub(crate) fn begin(&self, log_end: &LogEnd, needs: &LogNeeds) -> Result<(), Fatal> {
        self.store.begin().map_err(not_stored)?;
        let mark = LogMark::of(log_end, self.store.log_mark().map_err(unusable)?);
        self.store.write_log_mark(mark).and_then(|()| self.store.sync()).map_err(not_stored)?;
        needs.marked(mark.first_needed);
        Ok(())
    }

    /// All shards have ended well, and what they handed over is on the disk: the state is complete.
    pub(crate) fn close(self) -> Result<(), Fatal> {
        self.store.close().map_err(|error| Fatal::new(FatalReason::StateNotStored, error))
    }

    /// Says how far the snapshots go: what the delta log has before that can go.
    pub(crate) fn tell_positions(&self, needs: &LogNeeds) -> Result<(), Fatal> {
        for group in (0..GROUP_COUNT as u16).map(GroupId) {
            if let Some(position) = self.store.position(group).map_err(unusable)? {
                needs.stored(group, position);
            }
        }
        Ok(())
    }

    /// Loads the shard's groups, and of the log that was found what they do not have yet.
    pub(crate) fn load(
        &self,
        shard: &mut Shard,
        routing: &RoutingTable,
        log_end: &LogEnd,
        now: Now,
    ) -> Result<(), Fatal> {
        let groups = routing.groups_of(shard.id());
        self.store.restore(shard, groups, now).map_err(unusable)?;
        delta_log::replay(&self.log_folder, shard, routing, log_end, now)?;
        self.store.finish(shard).map_err(unusable)
    }
}

/// Makes the folders of store and log, if they are not there: that they are survives a power cut, also
/// that the data folder is.
fn make_folders(folder: &Path) -> io::Result<()> {
    let mut is_new = false;
    for name in [STATE_FOLDER, LOG_FOLDER] {
        let made = std::fs::create_dir(folder.join(name));
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                is_new = true;
            }
        }
    }
    if is_new {
        File::open(folder)?.sync_all()?;
        let whole = std::path::absolute(folder)?;
        whole.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
    }
    Ok(())
}

pub(crate) fn unusable(error: StoreError) -> Fatal {
    let reason = match error {
        StoreError::Locked { .. } => FatalReason::DataFolderLocked,
        // Opening it writes. RocksDB has no kind for it.
        StoreError::Failed { ref error, .. } if error.contains("No space left on device") => {
            FatalReason::StateNotStored
        }
        _ => FatalReason::StateUnusable,
    };
    Fatal::new(reason, error)
}

/// What was read well cannot be written: another start may find room on the disk.
fn not_stored(error: StoreError) -> Fatal {
    match error {
        StoreError::Failed { .. } => Fatal::new(FatalReason::StateNotStored, error),
        _ => unusable(error),
    }
}

fn log_age(opened: &StateOpened) {
    let StateOpened { start, is_complete, taken_ms } = *opened;
    let Some(taken_ms) = taken_ms else {
        tracing::info!(start, "no state is stored yet");
        return;
    };
    let from = UNIX_EPOCH + Duration::from_millis(taken_ms);
    let from = humantime::format_rfc3339_millis(from);
    if is_complete {
        tracing::info!(start, %from, "the state is complete: the last server stored all it had");
    } else {
        tracing::warn!(
            start,
            %from,
            "the last server did not stop by itself: the newest snapshot is from then, and what changed \
             since is taken from the delta log"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_no_damage() {
        for (error, opened, written) in [
            ("IO error: No space left on device: While appending to file: 8.sst", 74, 74),
            ("IO error: No such file or directory: While open a file: 8.sst", 65, 74),
        ] {
            let failed = || StoreError::Failed { path: "state".into(), error: error.to_owned() };
            assert_eq!(unusable(failed()).reason.exit_status(), opened, "{error}");
            assert_eq!(not_stored(failed()).reason.exit_status(), written, "{error}");
        }
        let damaged = || StoreError::FormatUnknown { path: "state".into(), found: 9 };
        assert_eq!(not_stored(damaged()).reason.exit_status(), 65);
    }
}
