//! The report: rows as text or JSON, and the exit status that follows from them.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::{Facts, Row, Verdict, rows};
use crate::config::ServerConfig;

/// `EX_OSERR`: the system lacks something.
const STATUS_FAILED: u8 = 71;

/// The rows of all checks.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the checks.
    pub rows: Vec<Row>,
}

impl Report {
    /// Examines this machine for a server with this configuration.
    #[must_use]
    pub fn of_this_machine(config: &ServerConfig) -> Self {
        Self { rows: rows(&Facts::read(Path::new("/"), config), config) }
    }

    /// The worst of all verdicts.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.rows.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Pass)
    }

    /// The exit status: 0 unless a row failed.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        if self.verdict() == Verdict::Fail { STATUS_FAILED } else { 0 }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Writes it for people: a line per row, remedies below, a summary at the end.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.rows.iter().map(|row| row.check.len()).max().unwrap_or(0);
        for row in &self.rows {
            writeln!(out, "{}  {:width$}  {}", row.verdict.word(), row.check, row.seen)?;
            if let Some(remedy) = &row.remedy {
                writeln!(out, "      {:width$}  to do: {remedy}", "")?;
            }
        }
        let [passed, warned, failed] =
            [Verdict::Pass, Verdict::Warn, Verdict::Fail].map(|verdict| self.count(verdict));
        writeln!(out, "{passed} passed, {warned} to look at, {failed} failed")
    }

    /// Writes it for programs: one JSON object on one line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "check": row.check,
                    "verdict": row.verdict.word(),
                    "seen": row.seen,
                    "remedy": row.remedy,
                })
            })
            .collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "verdict": self.verdict().word(),
            "rows": rows,
        });
        writeln!(out, "{report}")
    }
}
