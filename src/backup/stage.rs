//! What a backup is copied from: state, log and bans as they were at one moment, under names of their own
//! beside them. So a server neither waits for the target nor keeps its log for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use warren_storage::StateStore;
use warren_storage::delta_log::LinkedLog;
use warren_storage::log_executor::{LogNeeds, LogProgress};

use super::folder::{BackupError, GoesOn, ask, copy_file, failed, make_empty, write_file};
use crate::bans;
use crate::state::{LOG_FOLDER, STATE_FOLDER};

/// The name of such a folder begins so, and ends with the backup's number.
const NAME: &str = "backup-";

/// A folder within the data folder, removed with its owner. It takes no room but that of files which the
/// server has removed since.
#[derive(Debug)]
pub(super) struct Stage {
    folder: StageFolder,
    log: LinkedLog,
    /// The last commit that was on the disk.
    pub(super) commit: u64,
}

#[derive(Debug)]
struct StageFolder(PathBuf);

impl Drop for StageFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "what a backup was copied from stays");
        }
    }
}

impl Stage {
    /// Of the data folder with this store and this log, for the backup with this number.
    pub(super) fn make(
        data: &Path,
        number: u64,
        store: &StateStore,
        (log, needs): (&LogProgress, &std::sync::Arc<LogNeeds>),
    ) -> Result<Self, BackupError> {
        let folder = StageFolder(data.join(format!("{NAME}{number}")));
        make_empty(&folder.0)?;
        // From here on the log keeps what the copy of the snapshots does not have.
        let hold = needs.hold();
        store.copy_to(&folder.0.join(STATE_FOLDER))?;
        // What is in a snapshot was durable before.
        let commit = log.durable_commit();
        let links = folder.0.join(LOG_FOLDER);
        fs::create_dir(&links).map_err(failed(&links))?;
        let log = LinkedLog::link(&data.join(LOG_FOLDER), &links)?;
        drop(hold);
        let list = data.join(bans::FILE);
        if list.exists() {
            copy_file(&list, &folder.0.join(bans::FILE), &|| true)?;
        }
        Ok(Self { folder, log, commit })
    }

    /// Copies all of it to this folder, the log up to the commit. Files of the state are shared where both
    /// are on one file system; none of them is ever changed.
    pub(super) fn copy_to(&self, target: &Path, goes_on: GoesOn<'_>) -> Result<(), BackupError> {
        let make = |name: &str| {
            let path = target.join(name);
            fs::create_dir(&path).map_err(failed(&path)).map(|()| path)
        };
        let (state, from) = (make(STATE_FOLDER)?, self.folder.0.join(STATE_FOLDER));
        for entry in fs::read_dir(&from).map_err(failed(&from))? {
            let name = entry.map_err(failed(&from))?.file_name();
            share_or_copy(&from.join(&name), &state.join(&name), goes_on)?;
        }
        let log = make(LOG_FOLDER)?;
        self.log.copy(self.commit, |segment| {
            ask(goes_on)?;
            write_file(&log.join(segment.name), segment.bytes, segment.length, goes_on)
        })?;
        let list = self.folder.0.join(bans::FILE);
        match list.exists() {
            true => share_or_copy(&list, &target.join(bans::FILE), goes_on),
            false => Ok(()),
        }
    }
}

fn share_or_copy(from: &Path, to: &Path, goes_on: GoesOn<'_>) -> Result<(), BackupError> {
    ask(goes_on)?;
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // Another file system, or one without such links. Whatever else it is the copy meets too.
        Err(_) => copy_file(from, to, goes_on).map(drop),
    }
}

/// Removes what backups of a server that did not end by itself have left in its data folder.
pub(crate) fn remove_left(data: &Path) {
    if let Err(error) = remove_all(data) {
        tracing::warn!(%error, "what is left of a backup cannot be removed");
    }
}

fn remove_all(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
