//! What a backup is copied from: state, log and bans as they were at one moment, under names of their own
//! beside them. So a server neither waits for the target nor keeps its log for it.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, DirEntry};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use warren_storage::StateStore;
use warren_storage::delta_log::LinkedLog;
use warren_storage::log_executor::{LogNeeds, LogProgress};

use super::folder::{BackupError, GoesOn, ask, copy_file, failed, write_file};
use crate::bans;
use crate::state::{LOG_FOLDER, STATE_FOLDER};

/// The name of such a folder begins so, and goes on with the process that made it and a number that no
/// other one has. What an operator makes by hand is not called so.
pub(super) const NAME: &str = ".backup-stage-";
/// Digits of that number, which are hexadecimal.
const NUMBER_DIGITS: usize = 16;

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
pub(super) struct StageFolder(PathBuf);

impl StageFolder {
    /// Makes the folder. One that is there already is somebody else's, and stays as it is.
    pub(super) fn make(path: PathBuf) -> Result<Self, BackupError> {
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path))?;
        Ok(Self(path))
    }
}

impl Drop for StageFolder {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            // The next server has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(folder = %self.0.display(), %error, "what a backup was copied from stays");
            }
            Ok(()) => {}
        }
    }
}

impl Stage {
    /// Of the data folder with this store and this log.
    pub(super) fn make(
        data: &Path,
        store: &StateStore,
        (log, needs): (&LogProgress, &std::sync::Arc<LogNeeds>),
    ) -> Result<Self, BackupError> {
        let folder = StageFolder::make(data.join(new_name()))?;
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

fn new_name() -> String {
    let number = RandomState::new().hash_one(());
    format!("{NAME}{}-{number:0NUMBER_DIGITS$x}", std::process::id())
}

/// Whether `new_name` gives such names.
fn is_name(name: &str) -> bool {
    let parts = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(process, number)| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_number = number.len() == NUMBER_DIGITS && number.bytes().all(is_digit);
        is_number && process.parse::<u32>().is_ok_and(|id| id.to_string() == process)
    })
}

/// Removes what backups of a server that did not end by itself have left in its data folder. What else
/// is there stays.
pub(crate) fn remove_left(data: &Path) {
    let left = fs::read_dir(data).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match left {
        Ok(entries) => entries.iter().for_each(remove_if_left),
        Err(error) => tracing::warn!(%error, "what is left of a backup cannot be looked for"),
    }
}

fn remove_if_left(entry: &DirEntry) {
    if !entry.file_name().to_str().is_some_and(is_name) {
        return;
    }
    let (path, folder) = (entry.path(), entry.path().display().to_string());
    match is_stage(entry) {
        Ok(true) => {
            if let Err(error) = fs::remove_dir_all(path) {
                tracing::warn!(folder, %error, "what is left of a backup cannot be removed");
            }
        }
        Ok(false) => tracing::warn!(folder, "this is no backup's, and stays"),
        Err(error) => tracing::warn!(folder, %error, "what is left of a backup cannot be read"),
    }
}

/// Whether it is a folder with nothing but what a stage has.
fn is_stage(entry: &DirEntry) -> io::Result<bool> {
    if !entry.file_type()?.is_dir() {
        return Ok(false);
    }
    for within in fs::read_dir(entry.path())? {
        let within = within?;
        let is_folder = within.file_type()?.is_dir();
        let is_known = match within.file_name().to_str() {
            Some(STATE_FOLDER | LOG_FOLDER) => is_folder,
            Some(bans::FILE) => !is_folder,
            _ => false,
        };
        if !is_known {
            return Ok(false);
        }
    }
    Ok(true)
}
