//! The plugins in operation. Changes come one after the other, and each is carried to its end, whether or not
//! whoever ordered it still waits.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use warren_core::control::Command;
use warren_core::inline::InlineTable;
use warren_plugins::{Catalog, Clock as PluginClock, Library, LoadError, PluginRow, RollbackError};

use super::answers::{ApiError, ErrorWord};
use super::desk::Desk;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::fatal::{Fatal, FatalReason};

/// How often shards are asked that do not take a change, and how long after each other.
const PUBLISH_TRIES: usize = 20;
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// Which plugins there are, and who may change that.
#[derive(Debug)]
pub(crate) struct PluginBook {
    catalog: RwLock<Arc<Catalog>>,
    changing: Mutex<()>,
}

impl PluginBook {
    /// Loads what the configuration names.
    pub(crate) fn load(config: &ServerConfig, clock: Clock) -> Result<Self, Fatal> {
        let clock = PluginClock::new(move || clock.monotonic_ns());
        let mut catalog = Catalog::new(config.shards, config.plugins.budget, clock);
        for file in &config.plugins.files {
            let loaded = Library::load(file).and_then(|library| {
                let name = library.name().to_owned();
                catalog = catalog.with(library)?;
                Ok(name)
            });
            let name = loaded.map_err(|error| {
                let (file, word) = (file.display(), error.word());
                let detail = format!("`plugins.files`: {file}: {word}: {error}");
                Fatal::new(FatalReason::ConfigInvalid, detail)
            })?;
            log("plugin loaded", &catalog.row(&name).expect("it was loaded"));
        }
        Ok(Self { catalog: RwLock::new(Arc::new(catalog)), changing: Mutex::new(()) })
    }

    /// What shards begin with.
    pub(crate) fn table(&self) -> InlineTable {
        self.catalog().table()
    }

    /// What is told of each plugin.
    pub(crate) fn rows(&self) -> Vec<PluginRow> {
        self.catalog().rows().collect()
    }

    /// One change at a time: the next is refused, since code of a library may take for ever.
    fn begin_change(&self) -> Result<MutexGuard<'_, ()>, ApiError> {
        let busy = |_| ApiError::new(ErrorWord::Busy, "another change of plugins is under way");
        self.changing.try_lock().map_err(busy)
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().expect("nobody panics with the catalog in hand"))
    }

    fn replace(&self, catalog: Arc<Catalog>) {
        *self.catalog.write().expect("nobody panics with the catalog in hand") = catalog;
    }
}

impl Desk {
    /// Loads the file beside what is there, and has all shards change to it between two turns.
    pub(crate) async fn load_plugin(
        self: &Arc<Self>,
        file: PathBuf,
    ) -> Result<PluginRow, ApiError> {
        let desk = Arc::clone(self);
        let work = async move {
            let _changing = desk.plugins.begin_change()?;
            let path = file.clone();
            // Code of the library runs there, for as long as it wants.
            let library = tokio::task::spawn_blocking(move || Library::load(&path)).await;
            let library = library.expect("what is wrong with a library is told");
            let loaded = library.and_then(|library| {
                let name = library.name().to_owned();
                Ok((desk.plugins.catalog().with(library)?, name))
            });
            let (catalog, name) = loaded.map_err(|error| refused(&file, &error))?;
            let row = desk.publish_plugins(catalog, &name).await?;
            log("plugin loaded", &row);
            Ok(row)
        };
        tokio::spawn(work).await.expect("a load does not panic")
    }

    /// Has all shards change to the version before.
    pub(crate) async fn roll_back_plugin(
        self: &Arc<Self>,
        name: String,
    ) -> Result<PluginRow, ApiError> {
        let desk = Arc::clone(self);
        let work = async move {
            let _changing = desk.plugins.begin_change()?;
            let catalog = desk.plugins.catalog().rolled_back(&name).map_err(|error| {
                let word = match error {
                    RollbackError::UnknownPlugin => ErrorWord::UnknownPlugin,
                    RollbackError::NoEarlierVersion => ErrorWord::NoEarlierVersion,
                    RollbackError::Taken => ErrorWord::PluginRefused,
                };
                ApiError::new(word, format!("{name}: {error}"))
            })?;
            let row = desk.publish_plugins(catalog, &name).await?;
            log("plugin rolled back", &row);
            Ok(row)
        };
        tokio::spawn(work).await.expect("a rollback does not panic")
    }

    /// Gives every shard the table, and waits until all have it: one that has too much to do is asked again, so
    /// that no two versions serve side by side.
    async fn publish_plugins(&self, catalog: Catalog, name: &str) -> Result<PluginRow, ApiError> {
        let row = catalog.row(name).expect("what has changed is there");
        let table = catalog.table();
        self.plugins.replace(Arc::new(catalog));
        let mut tries_left = PUBLISH_TRIES;
        loop {
            let asked = self.controls.ask_all(|| Command::SetInline(table.clone())).await;
            match asked {
                Ok(()) => return Ok(row),
                Err(unanswered) if tries_left == 0 => return Err(unanswered.into()),
                Err(_) => tries_left -= 1,
            }
            tokio::time::sleep(PUBLISH_PAUSE).await;
        }
    }
}

fn refused(file: &std::path::Path, error: &LoadError) -> ApiError {
    let (word, path) = (error.word(), file.display());
    tracing::warn!(file = %path, word, "a plugin was not loaded: {error}");
    ApiError::new(ErrorWord::PluginRefused, format!("{path}: {word}: {error}"))
}

fn log(what: &str, row: &PluginRow) {
    let (plugin, hash) = (format!("{}@{}", row.name, row.version), &*row.hash);
    let [methods, behaviours] = [&row.methods, &row.behaviours].map(|names| names.join(" "));
    tracing::info!(plugin, hash, methods, behaviours, "{what}");
}

/// A plugin for the operator.
pub(super) fn plugin_row(row: &PluginRow) -> Value {
    json!({
        "plugin": row.name,
        "version": row.version,
        "state": if row.is_disabled { "disabled" } else { "serving" },
        "earlier": row.earlier,
        "methods": row.methods,
        "behaviours": row.behaviours,
        "calls": row.counters.calls(),
        "failures": row.counters.failures(),
        "strikes": row.counters.strikes(),
        "hash": row.hash,
    })
}
