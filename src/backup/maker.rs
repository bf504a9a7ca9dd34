//! Makes a backup of the data folder of a server that goes on serving: a copy of the snapshots, and then
//! of the log, which has everything that they have, and what came later.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use warren_storage::StateStore;
use warren_storage::log_executor::{LogNeeds, LogProgress};

use super::folder::{BackupError, GoesOn, Manifest, clear, make_empty};
use super::stage::Stage;

/// The priority of the thread that makes one: below that of shards, as that of the snapshots' writer.
const NICENESS: i32 = 10;
/// Of so many backups the server remembers how they ended.
const ENDS_MAX: usize = 16;

/// What a backup is made of.
#[derive(Debug)]
pub(crate) struct BackupSource {
    pub(crate) data: PathBuf,
    pub(crate) store: Arc<StateStore>,
    pub(crate) log: Arc<LogProgress>,
    pub(crate) needs: Arc<LogNeeds>,
}

/// How a backup has ended: what is told of it, or why there is none.
pub(crate) type BackupEnd = Result<Value, String>;

/// How a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackupState {
    /// There is none with this number, or none at all, or it is forgotten.
    Unknown,
    Running(u64),
    Ended(BackupEnd),
}

/// Why no backup was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// The server has no data folder.
    NothingStored,
    /// One is being made, or the server is on its way out.
    Busy,
}

/// What is known of all backups.
#[derive(Debug, Default)]
struct History {
    /// The number of the last one that was begun; zero: there was none.
    last: u64,
    is_running: bool,
    /// How the last ones ended, the newest last, each with its number.
    ends: VecDeque<(u64, BackupEnd)>,
}

impl History {
    /// Of the backup with this number, or of the last one.
    fn state(&self, number: Option<u64>) -> BackupState {
        let number = number.unwrap_or(self.last);
        if self.is_running && number == self.last {
            return BackupState::Running(number);
        }
        let ended = self.ends.iter().find(|(of, _)| *of == number);
        ended.map_or(BackupState::Unknown, |(_, end)| BackupState::Ended(end.clone()))
    }

    fn end(&mut self, end: BackupEnd) {
        self.is_running = false;
        self.ends.push_back((self.last, end));
        if self.ends.len() > ENDS_MAX {
            self.ends.pop_front();
        }
    }
}

/// The backups of a server: one at a time, numbered from 1.
#[derive(Debug)]
pub(crate) struct Backups {
    /// None: nothing is stored, or the server is on its way out.
    source: Mutex<Option<Arc<BackupSource>>>,
    history: watch::Sender<History>,
    is_closed: Arc<AtomicBool>,
}

impl Backups {
    pub(crate) fn new(source: Option<BackupSource>) -> Self {
        let history = watch::Sender::new(History::default());
        let source = Mutex::new(source.map(Arc::new));
        Self { source, history, is_closed: Arc::default() }
    }

    /// Begins a backup in this folder, on a thread of its own, and tells its number.
    pub(crate) fn begin(&self, folder: PathBuf, taken_ms: u64) -> Result<u64, NotBegun> {
        if self.is_closed.load(Relaxed) {
            return Err(NotBegun::Busy);
        }
        let source = self.source().clone().ok_or(NotBegun::NothingStored)?;
        let number = self.begin_next().ok_or(NotBegun::Busy)?;
        let is_closed = Arc::clone(&self.is_closed);
        let ending = self.ending();
        let body = move || {
            // It may share a core with a shard, which goes first. Where that is refused it still works.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let end = match source.back_up(&folder, taken_ms, &|| !is_closed.load(Relaxed)) {
                Ok(manifest) => {
                    let (files, bytes) = (manifest.files.len(), manifest.bytes());
                    tracing::info!(number, folder = %folder.display(), files, bytes, "a backup is made");
                    Ok(manifest.answer(number, &folder))
                }
                Err(error) => {
                    tracing::error!(number, folder = %folder.display(), %error, "the backup failed");
                    Err(error.to_string())
                }
            };
            ending.tell(end);
        };
        // Where there is no thread the body is dropped, which says that it has ended.
        if let Err(error) = std::thread::Builder::new().name("backup".to_owned()).spawn(body) {
            tracing::error!(number, %error, "there is no thread for a backup");
        }
        Ok(number)
    }

    /// The number of the next one; none while one is being made, or when there are to be no more.
    pub(super) fn begin_next(&self) -> Option<u64> {
        let mut number = None;
        self.history.send_if_modified(|history| {
            let is_free = !history.is_running && !self.is_closed.load(Relaxed);
            if is_free {
                history.is_running = true;
                history.last += 1;
                number = Some(history.last);
            }
            is_free
        });
        number
    }

    /// Says how the one that is under way has ended.
    pub(super) fn ending(&self) -> Ending {
        Ending(Some(self.history.clone()))
    }

    fn source(&self) -> MutexGuard<'_, Option<Arc<BackupSource>>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the backup with this number is now, or the last one.
    pub(crate) fn state(&self, number: Option<u64>) -> BackupState {
        self.history.borrow().state(number)
    }

    /// How it has ended, once it has.
    pub(crate) async fn end(&self, number: u64) -> BackupState {
        let mut history = self.history.subscribe();
        let is_over =
            |history: &History| !matches!(history.state(Some(number)), BackupState::Running(_));
        let ended = history.wait_for(is_over).await;
        ended.expect("the sender is here").state(Some(number))
    }

    /// Begins none any more, lets the store go, and waits until the one that is under way has given up.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Relaxed);
        *self.source() = None;
        if let BackupState::Running(number) = self.state(None) {
            tracing::info!(number, "the backup that is under way is given up");
        }
        let mut history = self.history.subscribe();
        let ended = history.wait_for(|history| !history.is_running).await;
        drop(ended.expect("the sender is here"));
    }
}

/// However its thread ends, a backup is not under way for ever.
pub(super) struct Ending(Option<watch::Sender<History>>);

impl Ending {
    /// After this the next backup may be under way.
    fn tell(mut self, end: BackupEnd) {
        let history = self.0.take().expect("it is told once");
        history.send_modify(|history| history.end(end));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(history) = self.0.take() {
            history
                .send_modify(|history| history.end(Err("its thread ended by itself".to_owned())));
        }
    }
}

impl BackupSource {
    /// Makes the backup. What it has made of one that fails it removes.
    fn back_up(
        self: Arc<Self>,
        folder: &Path,
        taken_ms: u64,
        goes_on: GoesOn<'_>,
    ) -> Result<Manifest, BackupError> {
        if is_within(folder, &self.data) {
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
        self: Arc<Self>,
        folder: &Path,
        taken_ms: u64,
        goes_on: GoesOn<'_>,
    ) -> Result<Manifest, BackupError> {
        let stage = Stage::make(&self.data, &self.store, (&self.log, &self.needs))?;
        // However long the rest takes, it takes nothing that the server needs.
        drop(self);
        stage.copy_to(folder, goes_on)?;
        let commit = stage.commit;
        drop(stage);
        Manifest::finish(folder, (taken_ms, commit), goes_on)
    }
}

/// Whether the folder, which may not be there yet, is in the other.
fn is_within(folder: &Path, data: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let parent = folder.parent().and_then(real);
    let data = real(data);
    data.is_some_and(|data| real(folder).or(parent).is_some_and(|folder| folder.starts_with(data)))
}
