//! What a server tells of its export to Postgres.

use std::net::SocketAddrV4;
use std::thread;

use anyhow::Result;
use serde::Serialize;

use super::{SETTLE_STEP, fetch, sum};
use crate::clock;

/// What an exporter has done. All 0 of a server without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportCounts {
    /// Commits of the log that were exported.
    pub commits: u64,
    /// Objects that were, each once a round.
    pub rows: u64,
    /// Rounds that failed.
    pub failures: u64,
    /// Objects that did not go on from the tables.
    pub gaps: u64,
    /// Times that all objects were copied.
    pub full_copies: u64,
}

impl ExportCounts {
    /// Reads `/metrics` of the server whose admin endpoint is there.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn take(admin: SocketAddrV4) -> Result<Self> {
        Ok(Self::parse(&fetch(admin, "/metrics")?))
    }

    pub(super) fn parse(text: &str) -> Self {
        let sum = |name| sum(text, name).unwrap_or(0);
        Self {
            commits: sum("warren_export_commits_total"),
            rows: sum("warren_export_rows_total"),
            failures: sum("warren_export_failures_total"),
            gaps: sum("warren_export_gaps_total"),
            full_copies: sum("warren_export_full_copies_total"),
        }
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            commits: self.commits.saturating_sub(earlier.commits),
            rows: self.rows.saturating_sub(earlier.rows),
            failures: self.failures.saturating_sub(earlier.failures),
            gaps: self.gaps.saturating_sub(earlier.gaps),
            full_copies: self.full_copies.saturating_sub(earlier.full_copies),
        }
    }
}

/// Waits until all that has changed is in the tables: how many nanoseconds that took, or nothing when it is not so
/// after `wait_ns`.
///
/// # Errors
/// When the server does not answer.
#[expect(clippy::disallowed_methods, reason = "a server tells its counts only when it is asked")]
pub fn export_catches_up(admin: SocketAddrV4, wait_ns: u64) -> Result<Option<u64>> {
    let begun_ns = clock::monotonic_ns();
    let mut is_logged = false;
    loop {
        let text = fetch(admin, "/metrics")?;
        // From then on the log has all that there was.
        is_logged |= sum(&text, "warren_delta_batches_waiting") == Some(0);
        let elapsed_ns = clock::monotonic_ns() - begun_ns;
        if is_logged && is_exported(&text) {
            return Ok(Some(elapsed_ns));
        }
        if elapsed_ns > wait_ns {
            return Ok(None);
        }
        thread::sleep(SETTLE_STEP);
    }
}

/// Whether all of the log is in the tables.
fn is_exported(text: &str) -> bool {
    let is = |name, value| sum(text, name) == Some(value);
    is("warren_export_connected", 1) && is("warren_export_lag_commits", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
warren_export_commits_total 40
warren_export_rows_total 300
warren_export_failures_total 2
warren_export_gaps_total 3
warren_export_full_copies_total 1
warren_export_connected 1
warren_export_lag_commits 0
";

    #[test]
    fn what_the_exporter_did_is_read_and_without_one_it_is_nothing() {
        let counts = ExportCounts { commits: 40, rows: 300, failures: 2, gaps: 3, full_copies: 1 };
        assert_eq!(ExportCounts::parse(METRICS), counts);
        assert_eq!(ExportCounts::parse("warren_turns_total 5\n"), ExportCounts::default());
        let earlier = ExportCounts { commits: 30, gaps: 3, ..ExportCounts::default() };
        assert_eq!(counts.since(&earlier), ExportCounts { commits: 10, gaps: 0, ..counts });
    }

    #[test]
    fn all_is_exported_only_when_the_exporter_is_there_and_behind_nothing() {
        for (from, to, expected) in [
            ("", "", true),
            ("connected 1", "connected 0", false),
            ("lag_commits 0", "lag_commits 1", false),
            ("lag_commits 0", "other 0", false),
        ] {
            assert_eq!(is_exported(&METRICS.replace(from, to)), expected, "{from} {to}");
        }
    }
}
