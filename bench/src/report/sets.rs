//! What a report says of sets: how many became durable, how long that took, and what of it was the disk.

use serde::Serialize;

use super::table::percentiles;
use crate::disk::DiskReport;
use crate::histogram::Percentiles;
use crate::metrics::LogCounts;
use crate::phase::Outcome;
use crate::profile::Profile;

/// A set waits for the rest of the commit that is on its way, half of one on average, and for its own.
const COMMITS_PER_SET: f64 = 1.5;

/// What users have set, and what became of it. Counts are of the whole run, rates and latencies of the measured
/// part.
#[derive(Clone, Debug, Serialize)]
pub struct SetsReport {
    /// Sets that were due in a second, of all users together.
    pub offered_per_s: f64,
    /// Durable sets that were due in a second and acknowledged before the end.
    pub durable_per_s: f64,
    /// Sets that were sent.
    pub sent: u64,
    /// Of those, such as were acknowledged.
    pub acknowledged: u64,
    /// Sets that were refused.
    pub refused: u64,
    /// Sets without an answer.
    pub unanswered: u64,
    /// Objects that were read at the end.
    pub read_back: u64,
    /// Objects that could not be.
    pub unread: u64,
    /// Objects that were not what was acknowledged, or sent later.
    pub lost: u64,
    /// Longest 99th percentile, in milliseconds.
    pub bound_ms: f64,
    /// Latency from the intended send to the acknowledgement, in microseconds.
    pub latency_us: Option<Percentiles>,
    /// What the server's log did.
    pub log: Option<LogReport>,
    /// The share of the median that the disk takes, as far as its commits tell.
    pub disk_share: Option<f64>,
    /// The disk, if the server's data is where we put it.
    pub disk: Option<DiskReport>,
}

/// What the server's log did in the measured part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LogReport {
    /// Commits in a second.
    pub commits_per_s: f64,
    /// Delta batches in a commit.
    pub records_per_commit: f64,
    /// Bytes of these.
    pub bytes_per_commit: f64,
    /// How long a commit took, in microseconds.
    pub commit_us: f64,
    /// The share of time in which one was being written or synced.
    pub busy: f64,
    /// Attempts that failed.
    pub failures: u64,
}

impl LogReport {
    fn new(counts: LogCounts, elapsed_ns: u64) -> Option<Self> {
        let commits = counts.commits as f64;
        let elapsed_s = elapsed_ns as f64 / 1e9;
        (counts.commits > 0 && elapsed_ns > 0).then(|| Self {
            commits_per_s: commits / elapsed_s,
            records_per_commit: counts.records as f64 / commits,
            bytes_per_commit: counts.bytes as f64 / commits,
            commit_us: counts.commit_s * 1e6 / commits,
            busy: counts.commit_s / elapsed_s,
            failures: counts.failures,
        })
    }
}

impl SetsReport {
    pub(super) fn new(profile: &Profile, users: u32, outcome: &Outcome) -> Option<Self> {
        let (sets, seen) = (profile.sets?, outcome.sets.as_ref()?);
        let work = outcome.server_work.as_ref().ok();
        let log = work.and_then(|work| LogReport::new(work.log, work.elapsed_ns));
        let latency_us = seen.durable_latencies.percentiles_us();
        let share = |(log, latency): (LogReport, Percentiles)| {
            (COMMITS_PER_SET * log.commit_us / latency.p50).min(1.0)
        };
        Some(Self {
            offered_per_s: f64::from(users) * 1e9 / sets.period_ns as f64,
            durable_per_s: seen.durable_in_time as f64 / outcome.seconds.len() as f64,
            sent: seen.sent,
            acknowledged: seen.acknowledged,
            refused: seen.refused,
            unanswered: seen.unanswered,
            read_back: seen.read_back,
            unread: seen.unread,
            lost: seen.lost,
            bound_ms: sets.bound_p99_ns as f64 / 1e6,
            latency_us,
            disk_share: log.zip(latency_us).map(share),
            log,
            disk: None,
        })
    }

    /// For the table.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            (
                "durable sets",
                format!(
                    "{:.0} acknowledged a second of {:.0} that were due, {}",
                    self.durable_per_s,
                    self.offered_per_s,
                    percentiles(self.latency_us)
                ),
            ),
            (
                "read back",
                format!(
                    "{} objects: {} lost, {} not read; {} of {} sets acknowledged, {} refused, {} unanswered",
                    self.read_back,
                    self.lost,
                    self.unread,
                    self.acknowledged,
                    self.sent,
                    self.refused,
                    self.unanswered
                ),
            ),
        ];
        rows.extend(self.log.map(|log| {
            let LogReport { commits_per_s, records_per_commit, commit_us, busy, failures, .. } =
                log;
            let text = format!(
                "{commits_per_s:.0} commits a second of {records_per_commit:.1} changes, \
                 {:.3} ms each, busy {:.0} % of the time, {failures} failed",
                commit_us / 1e3,
                busy * 100.0
            );
            ("delta log", text)
        }));
        rows.extend(self.disk.iter().map(|disk| {
            let [before, after] = [disk.sync_before_us, disk.sync_after_us];
            let ms = |us: f64| us / 1e3;
            let text = format!(
                "{}; 4 KiB and fdatasync p50 {:.3} ms, p99 {:.3} before, {:.3} and {:.3} after",
                disk.file_system,
                ms(before.p50),
                ms(before.p99),
                ms(after.p50),
                ms(after.p99)
            );
            ("disk", text)
        }));
        rows.extend(self.disk_share.map(|share| {
            ("disk's share", format!("{:.0} % of the median, by its commits", share * 100.0))
        }));
        rows
    }

    /// What the reader has to know besides.
    pub(super) fn notes(&self) -> Option<String> {
        let disk = self.disk.as_ref().filter(|disk| disk.is_memory())?;
        Some(format!("the data was on {}: set TMPDIR to a folder on a disk", disk.file_system))
    }
}
