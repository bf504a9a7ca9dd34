//! Makes a backup of the data folder of a server that goes on serving: a copy of the snapshots, and then
//! of the log, which has everything that they have, and what came later.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use warren_storage::StateStore;
use warren_storage::delta_log::copy_log;
use warren_storage::log_executor::{LogNeeds, LogProgress};

use super::folder::{BackupError, Manifest, clear, copy_file, failed, make_empty};
use crate::bans;
use crate::state::{LOG_FOLDER, STATE_FOLDER};

/// What a backup is made of.
#[derive(Debug)]
pub(crate) struct BackupSource {
    pub(crate) data: PathBuf,
    pub(crate) store: Arc<StateStore>,
    pub(crate) log: Arc<LogProgress>,
    pub(crate) needs: Arc<LogNeeds>,
}

/// How the last backup went.
#[derive(Clone, Debug)]
pub(crate) enum BackupState {
    /// There was none since the server started.
    None,
    Running,
    /// In this folder.
    Done(PathBuf, Arc<Manifest>),
    Failed(String),
}

/// Why no backup was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// The server has no data folder.
    NothingStored,
    /// One is being made, or the server is on its way out.
    Busy,
}

/// The backups of a server: one at a time.
#[derive(Debug)]
pub(crate) struct Backups {
    /// None: nothing is stored, or the server is on its way out.
    source: Mutex<Option<Arc<BackupSource>>>,
    pub(super) state: watch::Sender<BackupState>,
    is_closed: Arc<AtomicBool>,
}

impl Backups {
    pub(crate) fn new(source: Option<BackupSource>) -> Self {
        let state = watch::Sender::new(BackupState::None);
        let source = Mutex::new(source.map(Arc::new));
        Self { source, state, is_closed: Arc::default() }
    }

    /// Begins a backup in this folder, on a thread of its own.
    pub(crate) fn begin(&self, folder: PathBuf, taken_ms: u64) -> Result<(), NotBegun> {
        if self.is_closed.load(Relaxed) {
            return Err(NotBegun::Busy);
        }
        let source = self.source().clone().ok_or(NotBegun::NothingStored)?;
        let is_free = self.state.send_if_modified(|state| {
            let is_free = !matches!(state, BackupState::Running) && !self.is_closed.load(Relaxed);
            if is_free {
                *state = BackupState::Running;
            }
            is_free
        });
        if !is_free {
            return Err(NotBegun::Busy);
        }
        let (state, is_closed) = (self.state.clone(), Arc::clone(&self.is_closed));
        tokio::task::spawn_blocking(move || {
            let ending = Ending(Some(state));
            let made = source.copy_to(&folder, taken_ms, || !is_closed.load(Relaxed));
            drop(source);
            let made = match made {
                Ok(manifest) => {
                    let (files, bytes) = (manifest.files.len(), manifest.bytes());
                    tracing::info!(folder = %folder.display(), files, bytes, "a backup is made");
                    BackupState::Done(folder, Arc::new(manifest))
                }
                Err(error) => {
                    tracing::error!(folder = %folder.display(), %error, "the backup failed");
                    BackupState::Failed(error.to_string())
                }
            };
            ending.tell(made);
        });
        Ok(())
    }

    fn source(&self) -> MutexGuard<'_, Option<Arc<BackupSource>>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the last one went, once it has ended.
    pub(crate) async fn end(&self) -> BackupState {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| !matches!(state, BackupState::Running)).await;
        ended.expect("the sender is here").clone()
    }

    /// Begins none any more, lets the store go, and waits until the one that is under way has given up.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Relaxed);
        *self.source() = None;
        self.end().await;
    }
}

/// However its thread ends, a backup is not under way for ever.
struct Ending(Option<watch::Sender<BackupState>>);

impl Ending {
    /// After this the next backup may be under way.
    fn tell(mut self, end: BackupState) {
        self.0.take().expect("it is told once").send_replace(end);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            state.send_replace(BackupState::Failed("its thread ended by itself".to_owned()));
        }
    }
}

impl BackupSource {
    /// Makes the backup. What it has made of one that fails it removes.
    fn copy_to(
        &self,
        folder: &Path,
        taken_ms: u64,
        goes_on: impl Fn() -> bool,
    ) -> Result<Manifest, BackupError> {
        if folder.starts_with(&self.data) {
            return Err(BackupError::WithinData { path: folder.to_owned() });
        }
        make_empty(folder)?;
        let made = self.fill(folder, taken_ms, goes_on);
        if made.is_err() {
            clear(folder);
        }
        made
    }

    fn fill(
        &self,
        folder: &Path,
        taken_ms: u64,
        goes_on: impl Fn() -> bool,
    ) -> Result<Manifest, BackupError> {
        let unreadable = |error: &dyn std::fmt::Display| BackupError::Unreadable(error.to_string());
        // From here on the log keeps what the copy of the snapshots does not have.
        let hold = self.needs.hold();
        self.store.copy_to(&folder.join(STATE_FOLDER)).map_err(|error| unreadable(&error))?;
        // What is in a snapshot was durable before.
        let commit = self.log.durable_commit();
        let log = folder.join(LOG_FOLDER);
        std::fs::create_dir(&log).map_err(failed(&log))?;
        copy_log(&self.data.join(LOG_FOLDER), &log, commit).map_err(|error| unreadable(&error))?;
        drop(hold);
        let list = self.data.join(bans::FILE);
        if list.exists() {
            copy_file(&list, &folder.join(bans::FILE))?;
        }
        Manifest::finish(folder, (taken_ms, commit), goes_on)
    }
}
