//! What a generator counts and measures.

use super::control::Counters;
use super::series::Series;
use crate::histogram::Latencies;
use crate::ledger::{Tally, WorldTally};
use crate::pacing::Schedule;

/// What was counted and measured.
pub(super) struct Checks {
    pub(super) tally: Tally,
    pub(super) worlds: WorldTally,
    pub(super) latencies: Latencies,
    pub(super) lateness: Latencies,
    pub(super) line_latencies: Latencies,
    pub(super) counters: Counters,
    pub(super) series: Series,
    pub(super) joined: u32,
    /// Answers to pings that are yet to come.
    pub(super) awaited: u64,
    pub(super) latency_max_ns: u64,
}

impl Checks {
    pub(super) fn new(tally: Tally) -> Self {
        Self {
            tally,
            worlds: WorldTally::default(),
            latencies: Latencies::default(),
            lateness: Latencies::default(),
            line_latencies: Latencies::default(),
            counters: Counters::default(),
            series: Series::default(),
            joined: 0,
            awaited: 0,
            latency_max_ns: 0,
        }
    }

    /// Records a latency, unless what it is of was warm-up.
    pub(super) fn measure(&mut self, schedule: Schedule, intended_ns: u64, now_ns: u64) {
        if schedule.is_measured(intended_ns) {
            let latency_ns = now_ns.saturating_sub(intended_ns);
            self.latencies.record_ns(latency_ns);
            self.latency_max_ns = self.latency_max_ns.max(latency_ns);
            if let Some(second) = self.series.at(intended_ns) {
                second.latencies.record_ns(latency_ns);
            }
        }
    }

    /// Records the latency of a line of someone who moves besides, unless it was warm-up.
    pub(super) fn measure_line(&mut self, schedule: Schedule, intended_ns: u64, now_ns: u64) {
        if schedule.is_measured(intended_ns) {
            self.line_latencies.record_ns(now_ns.saturating_sub(intended_ns));
        }
    }

    /// So many messages were heard, right or not.
    pub(super) fn count_heard(&mut self, count: u64, now_ns: u64) {
        self.counters.heard += count;
        if let Some(second) = self.series.at(now_ns) {
            second.heard += count;
        }
    }

    /// A frame of a world came, which tells of so many entities, and NPCs among them.
    pub(super) fn count_frame(&mut self, entities: u64, npcs: u64, now_ns: u64) {
        self.worlds.frames += 1;
        self.worlds.entities += entities;
        self.counters.heard += entities;
        if let Some(second) = self.series.at(now_ns) {
            second.heard += entities;
            second.entities += entities;
            second.npcs += npcs;
            second.frames += 1;
        }
    }
}
