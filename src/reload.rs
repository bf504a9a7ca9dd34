//! Reading the configuration file again while the server runs: the log's level, the certificate and
//! the admin endpoint's token hold at once, the other keys from the next start on, and the log says
//! which.

use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::Access;
use crate::config::{EffectiveConfig, Overrides, ServerConfig, TlsFiles};
use crate::logging::LevelSwitch;
use crate::tls::{self, TlsRenewals};

/// The level of the log holds at once.
const LEVEL_KEY: &str = "log.level";
/// The certificate holds for connections that begin from then on.
const TLS_KEYS: [&str; 2] = ["tls.certificate", "tls.key"];

/// What it takes to read the configuration again.
pub struct Reload {
    file: Option<PathBuf>,
    overrides: Overrides,
    cores: usize,
    running: EffectiveConfig,
    level: LevelSwitch,
    renewals: Arc<TlsRenewals>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadReport {
    /// There is no file to read.
    NoFile,
    /// The file is not valid: nothing has changed.
    Refused(String),
    /// Another level, if it changed, and the keys that wait for the next start.
    Read {
        /// The log's level, if it has changed.
        log_level: Option<tracing::Level>,
        /// Keys that have changed and hold from the next start on.
        waiting: Vec<&'static str>,
        /// Whether the admin endpoint's token was read again, or why it stays as it was; none
        /// without a file of it.
        token: Option<Result<(), String>>,
        /// Whether the certificate was read again, or why the one before stays; none without TLS.
        certificate: Option<Result<(), String>>,
    },
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
        Self { file, overrides, cores, running, level, renewals: Arc::default() }
    }

    /// Where it puts renewed certificates.
    pub(crate) fn renewals(&self) -> Arc<TlsRenewals> {
        Arc::clone(&self.renewals)
    }

    /// Reads the file, and does what can be done now. A disk may hold it up.
    pub(crate) fn run(&mut self, access: &Access) -> ReloadReport {
        let mut report = self.read();
        if let ReloadReport::Read { token, .. } = &mut report {
            *token = access.read_token_again();
        }
        self.carry_out(&report);
        report
    }

    fn carry_out(&self, report: &ReloadReport) {
        match report {
            ReloadReport::NoFile => tracing::info!("no configuration file: nothing to read again"),
            ReloadReport::Refused(error) => {
                tracing::error!(error, "the configuration is not valid: nothing is changed");
            }
            ReloadReport::Read { log_level, waiting, token, .. } => {
                if let Some(Err(error)) = token {
                    tracing::error!(error, "the token of the admin endpoint stays as it was");
                }
                if let Some(level) = log_level {
                    self.level.set(*level);
                }
                let log_level = log_level.map(tracing::field::display);
                let waiting = waiting.join(", ");
                tracing::info!(log_level, waiting, "read the configuration again");
                if !waiting.is_empty() {
                    tracing::warn!(keys = waiting, "these keys hold from the next start on");
                }
            }
        }
    }

    /// The files are read again also where their names are the same: that is how certificates are
    /// renewed.
    fn renew(&self, files: &TlsFiles) -> Result<(), String> {
        match tls::read_identity(files) {
            Ok(identity) => {
                let days_left = tls::days_left(&identity);
                tls::warn_of_expiry(&identity);
                self.renewals.renew(identity);
                tracing::info!(days_left, "new connections get the certificate as it is now");
                Ok(())
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(error, "the certificate cannot be used: the one before stays");
                Err(error)
            }
        }
    }

    fn read(&mut self) -> ReloadReport {
        let Some(file) = self.file.as_deref() else { return ReloadReport::NoFile };
        // A pipe has been read to its end, and would be waited for.
        if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
            return ReloadReport::Refused(format!("{}: not a regular file", file.display()));
        }
        let loaded = EffectiveConfig::load(Some(file), &self.overrides, self.cores);
        let (config, read): (ServerConfig, EffectiveConfig) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return ReloadReport::Refused(error.to_string()),
        };
        let mut waiting = self.running.changes(&read);
        let changed = waiting.contains(&LEVEL_KEY);
        waiting.retain(|path| *path != LEVEL_KEY);
        // What waits is told each time, until it holds.
        self.running.take_over(LEVEL_KEY, &read);
        // Without its files TLS goes on until the next start.
        if config.tls.files.is_some() {
            waiting.retain(|path| !TLS_KEYS.contains(path));
            TLS_KEYS.iter().for_each(|path| self.running.take_over(path, &read));
        }
        let certificate = config.tls.files.as_ref().map(|files| self.renew(files));
        let log_level = changed.then_some(config.log.level);
        ReloadReport::Read { log_level, waiting, token: None, certificate }
    }
}

#[cfg(test)]
mod tests;
