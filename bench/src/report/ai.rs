//! What a report says of NPCs, and of what users say in worlds besides moving.

use serde::Serialize;

use super::table::percentiles;
use crate::histogram::Percentiles;
use crate::phase::Outcome;
use crate::profile::ai::Ai;

/// NPCs and lines. Rates are of the measured part, counts of the whole run.
#[derive(Clone, Debug, Serialize)]
pub struct AiReport {
    /// NPCs of each world.
    pub npcs_per_world: u32,
    /// NPCs that a member was told of in a second: each at each tick at which it has moved.
    pub npcs_per_member_s: f64,
    /// NPCs that watched members did not know at the end, or that were too many.
    pub npcs_missing: u64,
    /// NPCs that they never saw move, besides as many as may stand.
    pub npcs_still: u64,
    /// The share of moves of NPCs that the server made before the tick for which they were due.
    pub npcs_on_time: Option<f64>,
    /// Lines that users said.
    pub lines_sent: u64,
    /// Latency from the intended time of a line to each member, in microseconds.
    pub line_latency_us: Option<Percentiles>,
}

impl AiReport {
    pub(super) fn new(ai: &Ai, npcs_per_member_s: f64, outcome: &Outcome) -> Self {
        let worlds = &outcome.worlds;
        Self {
            npcs_per_world: ai.npcs(),
            npcs_per_member_s,
            npcs_missing: worlds.npcs_missing,
            npcs_still: worlds.npcs_still,
            npcs_on_time: outcome.npcs_on_time(),
            lines_sent: outcome.account.sent.saturating_sub(worlds.moves),
            line_latency_us: outcome.line_latencies.percentiles_us(),
        }
    }

    /// For the table.
    pub(super) fn rows(&self) -> [(&'static str, String); 2] {
        let on_time = match self.npcs_on_time {
            Some(share) => format!("{:.2} %", share * 100.0),
            None => "not known how many".to_owned(),
        };
        let npcs = format!(
            "{} a world, {:.1} told a member and second, {} missing, {} still; {on_time} moved in time",
            self.npcs_per_world, self.npcs_per_member_s, self.npcs_missing, self.npcs_still
        );
        let lines = format!("{} said, {}", self.lines_sent, percentiles(self.line_latency_us));
        [("NPCs", npcs), ("lines", lines)]
    }
}
