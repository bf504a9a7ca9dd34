//! Reading the configuration file again while the server runs: the log's level holds at once, the
//! other keys from the next start on, and the log says which.

use std::path::PathBuf;

use crate::config::{EffectiveConfig, Overrides, ServerConfig};
use crate::logging::LevelSwitch;

/// The one key that holds at once.
const LEVEL_KEY: &str = "log.level";

/// What it takes to read the configuration again.
pub struct Reload {
    file: Option<PathBuf>,
    overrides: Overrides,
    cores: usize,
    running: EffectiveConfig,
    level: LevelSwitch,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is no file to read.
    NoFile,
    /// The file is not valid: nothing has changed.
    Refused(String),
    /// Another level, if it changed, and the keys that wait for the next start.
    Read { level: Option<tracing::Level>, waiting: Vec<&'static str> },
}

impl Reload {
    /// For a server that runs with this configuration, which comes from there.
    #[must_use]
    pub fn new(
        file: Option<PathBuf>,
        overrides: Overrides,
        cores: usize,
        running: EffectiveConfig,
        level: LevelSwitch,
    ) -> Self {
        Self { file, overrides, cores, running, level }
    }

    /// Reads the file, and does what can be done now. A disk may hold it up.
    pub(crate) fn run(&mut self) {
        match self.read() {
            Outcome::NoFile => tracing::info!("no configuration file: nothing to read again"),
            Outcome::Refused(error) => {
                tracing::error!(error, "the configuration is not valid: nothing is changed");
            }
            Outcome::Read { level, waiting } => {
                if let Some(level) = level {
                    self.level.set(level);
                }
                let log_level = level.map(tracing::field::display);
                let waiting = waiting.join(", ");
                tracing::info!(log_level, waiting, "read the configuration again");
                if !waiting.is_empty() {
                    tracing::warn!(keys = waiting, "these keys hold from the next start on");
                }
            }
        }
    }

    fn read(&mut self) -> Outcome {
        let Some(file) = self.file.as_deref() else { return Outcome::NoFile };
        // A pipe has been read to its end, and would be waited for.
        if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
            return Outcome::Refused(format!("{}: not a regular file", file.display()));
        }
        let loaded = EffectiveConfig::load(Some(file), &self.overrides, self.cores);
        let (config, read): (ServerConfig, EffectiveConfig) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let mut waiting = self.running.changes(&read);
        let changed = waiting.contains(&LEVEL_KEY);
        waiting.retain(|path| *path != LEVEL_KEY);
        // What waits is told each time, until it holds.
        self.running.take_over(LEVEL_KEY, &read);
        Outcome::Read { level: changed.then_some(config.log.level), waiting }
    }
}

#[cfg(test)]
mod tests;
