//! What the exporter has done, for the metrics.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Moments that are remembered. With more, every second one is forgotten.
const MOMENTS_MAX: usize = 1024;

/// In the place of a time: the tables have all that was seen.
const NOT_BEHIND: u64 = u64::MAX;

/// What the exporter has done, and where it is.
#[derive(Debug, Default)]
pub struct ExportProgress {
    /// There is an exporter.
    pub is_configured: AtomicBool,
    /// It has a connection that works, as far as it has tried.
    pub is_connected: AtomicBool,
    /// What the tables have is known.
    pub is_known: AtomicBool,
    /// The last commit that is in the tables; 0 until that is known.
    pub commit: AtomicU64,
    /// With the bytes that the log has written, in wrapping numbers, those that are not exported.
    pub lag_base: AtomicU64,
    /// Times that the exporter has failed at something that cannot be.
    pub panics: AtomicU64,
    /// Commits that were applied.
    pub commits: AtomicU64,
    /// Objects that were written or deleted, those of full copies among them.
    pub rows: AtomicU64,
    /// Rounds that failed.
    pub failures: AtomicU64,
    /// Objects that were not what the log went on from.
    pub gaps: AtomicU64,
    /// Full copies.
    pub full_copies: AtomicU64,
    /// Since when the oldest commit that is not in the tables is known.
    behind_since_ns: AtomicU64,
    /// When it was first looked.
    begun_ns: AtomicU64,
}

impl ExportProgress {
    /// How long the oldest commit that is not in the tables has been known, in nanoseconds. As long as
    /// nobody knows what they have there may be one since the beginning.
    #[must_use]
    pub fn lag_ns(&self, now_ns: u64, durable_commit: u64) -> u64 {
        if !self.is_known.load(Relaxed) {
            return now_ns.saturating_sub(self.begun_ns.load(Relaxed));
        }
        let since_ns = self.behind_since_ns.load(Relaxed);
        if durable_commit <= self.commit.load(Relaxed) || since_ns == NOT_BEHIND {
            return 0;
        }
        now_ns.saturating_sub(since_ns)
    }

    /// Commits that are durable and not in the tables.
    #[must_use]
    pub fn lag_commits(&self, durable_commit: u64) -> u64 {
        durable_commit.saturating_sub(self.commit.load(Relaxed))
    }

    /// Bytes of these commits, when the log has written so many since the start.
    #[must_use]
    pub fn lag_bytes(&self, durable_commit: u64, written: u64) -> u64 {
        if self.lag_commits(durable_commit) == 0 {
            return 0;
        }
        let bytes = written.wrapping_add(self.lag_base.load(Relaxed));
        // A commit that is being written may be in one of the numbers only.
        u64::try_from(bytes.cast_signed()).unwrap_or(0)
    }
}

/// When which commits were first seen to be durable.
#[derive(Debug)]
pub(super) struct Moments {
    /// Commit and time, both rising.
    seen: VecDeque<(u64, u64)>,
    last: u64,
}

impl Moments {
    pub(super) fn new() -> Self {
        Self { seen: VecDeque::new(), last: 0 }
    }

    /// Notes what is durable now.
    pub(super) fn see(&mut self, progress: &ExportProgress, durable_commit: u64, now_ns: u64) {
        // Another look was the first.
        let _ = progress.begun_ns.compare_exchange(0, now_ns, Relaxed, Relaxed);
        if durable_commit > self.last {
            self.last = durable_commit;
            self.seen.push_back((durable_commit, now_ns));
        }
        if self.seen.len() > MOMENTS_MAX {
            // Of two the earlier time stays, with the later commit: a lag is told too long, not too short.
            let pairs = self.seen.make_contiguous().chunks(2);
            self.seen = pairs.map(|pair| (pair[pair.len() - 1].0, pair[0].1)).collect();
        }
        let exported = progress.commit.load(Relaxed);
        while self.seen.front().is_some_and(|(commit, _)| *commit <= exported) {
            self.seen.pop_front();
        }
        let since_ns = self.seen.front().map_or(NOT_BEHIND, |(_, time_ns)| *time_ns);
        progress.behind_since_ns.store(since_ns, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_as_old_as_the_oldest_commit_that_is_not_there() {
        let progress = ExportProgress::default();
        let mut moments = Moments::new();
        moments.see(&progress, 0, 1);
        // Nobody knows yet.
        assert_eq!(progress.lag_ns(5, 0), 4);
        progress.is_known.store(true, Relaxed);
        assert_eq!(progress.lag_ns(5, 0), 0);
        moments.see(&progress, 3, 10);
        moments.see(&progress, 3, 20);
        moments.see(&progress, 5, 30);
        assert_eq!((progress.lag_ns(40, 5), progress.lag_commits(5)), (30, 5));
        progress.commit.store(4, Relaxed);
        moments.see(&progress, 5, 50);
        assert_eq!((progress.lag_ns(60, 5), progress.lag_commits(5)), (30, 1));
        progress.commit.store(5, Relaxed);
        // Before it is noted.
        assert_eq!(progress.lag_ns(60, 5), 0);
        moments.see(&progress, 5, 70);
        assert_eq!((progress.lag_ns(80, 5), progress.lag_commits(5)), (0, 0));
        moments.see(&progress, 6, 90);
        assert_eq!(progress.lag_ns(91, 6), 1);
    }

    #[test]
    fn a_lag_in_bytes_is_what_was_written_and_is_not_there() {
        let progress = ExportProgress::default();
        progress.commit.store(4, Relaxed);
        // 700 bytes behind when the log had written 1,000 of its own.
        progress.lag_base.store(700u64.wrapping_sub(1000), Relaxed);
        assert_eq!([progress.lag_bytes(5, 1000), progress.lag_bytes(9, 1500)], [700, 1200]);
        assert_eq!([progress.lag_bytes(4, 1000), progress.lag_bytes(5, 100)], [0, 0]);
    }

    #[test]
    fn however_long_it_is_behind_it_remembers_the_oldest_moment_and_not_too_many() {
        let progress = ExportProgress::default();
        progress.is_known.store(true, Relaxed);
        let mut moments = Moments::new();
        for commit in 1..100_000 {
            moments.see(&progress, commit, 1000 + commit);
        }
        assert!(moments.seen.len() <= MOMENTS_MAX);
        assert_eq!(progress.lag_ns(1_000_000, 99_999), 1_000_000 - 1001);
        progress.commit.store(99_998, Relaxed);
        moments.see(&progress, 99_999, 200_000);
        assert!(progress.lag_ns(200_000, 99_999) >= 200_000 - 100_999);
    }
}
