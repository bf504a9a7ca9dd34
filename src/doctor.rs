//! Is this machine ready? One row per check: what was seen, and what to do where it does not pass.
//!
//! Facts are read in one place, [`facts`] from the system's files and [`trials`] by trying; each
//! check is a pure function from facts and configuration to a row. Nothing is started, and nothing
//! stays changed.

pub mod facts;
pub mod trials;

mod kernel;
mod memory;
mod network;
mod processor;
mod report;
mod storage;
mod tls;

use std::path::Path;

use crate::config::ServerConfig;

use facts::SystemFacts;
use trials::TrialFacts;

pub use report::Report;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// The server runs, but not as well or as safely as it could.
    Warn,
    /// The server does not start, or not for long.
    Fail,
}

impl Verdict {
    /// The word in the report.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which check: a word that stays, no two alike in a report.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; none when it passed.
    pub remedy: Option<String>,
}

impl Row {
    fn pass(check: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Pass, seen: seen.into(), remedy: None }
    }

    fn warn(check: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { check: check.into(), verdict: Verdict::Warn, seen: seen.into(), remedy }
    }

    fn fail(check: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { check: check.into(), verdict: Verdict::Fail, seen: seen.into(), remedy }
    }
}

/// All that the checks look at, beside the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Read from the system's files.
    pub system: SystemFacts,
    /// Found by trying.
    pub trials: TrialFacts,
}

impl Facts {
    /// Reads and tries everything. `root` is where `proc` and `sys` are.
    #[must_use]
    pub fn read(root: &Path, config: &ServerConfig) -> Self {
        Self { system: SystemFacts::read(root), trials: TrialFacts::of(config) }
    }
}

/// Every check's row, in the order of the report.
#[must_use]
pub fn rows(facts: &Facts, config: &ServerConfig) -> Vec<Row> {
    let mut rows = kernel::rows(facts, config);
    rows.extend(processor::rows(&facts.system, config));
    rows.extend(memory::rows(&facts.system, config));
    rows.extend(network::rows(facts, config));
    rows.extend(storage::rows(facts));
    rows.extend(tls::rows(facts));
    rows
}

/// Bytes for people.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut amount = bytes as f64;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    // A tenth counts only where the number is short.
    let digits = usize::from(amount < 10.0 && amount.fract() >= 0.05);
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// A count with its word: `1 core`, `2 cores`.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests;
