//! What a report says of worlds: frames, entities and bytes of a member, what was missing, and the server's
//! ticks.

use serde::Serialize;

use super::ai::AiReport;
use crate::metrics::WorldCounts;
use crate::phase::Outcome;
use crate::profile::{Profile, WORLD_BYTES_PER_S};

/// What members of worlds were told. Rates are of the measured part, counts of the whole run but for those of
/// the server.
#[derive(Clone, Debug, Serialize)]
pub struct WorldsReport {
    /// Cells on each side of the square in which users walk.
    pub side_cells: u32,
    /// Frames that a member got in a second.
    pub frames_per_member_s: f64,
    /// Entities that it was told of in a second.
    pub entities_per_member_s: f64,
    /// Bytes that it got in a second, with what else a server sends.
    pub bytes_per_member_s: f64,
    /// What a server tells a member by default at most.
    pub bytes_per_member_s_max: u32,
    /// Frames that say all there is.
    pub whole_frames: u64,
    /// Ticks of which a member was told nothing.
    pub frames_missing: u64,
    /// Entities that a watched member did not know as they were within the bound, or not at all.
    pub stale: u64,
    /// Members that were watched.
    pub members_watched: u64,
    /// Moves that the server took in the whole run, if it tells, and nobody else moved.
    pub moves_taken: Option<u64>,
    /// NPCs, and what users say besides moving, where that is.
    pub ai: Option<AiReport>,
    /// What the server counted in the measured part.
    pub server: Option<WorldCounts>,
}

/// The share of members whose latencies were recorded.
pub(super) fn latency_sample(profile: &Profile, users: u32, outcome: &Outcome) -> f64 {
    match profile.side_cells {
        Some(_) => outcome.worlds.watched as f64 / f64::from(users),
        None => 1.0,
    }
}

impl WorldsReport {
    pub(super) fn new(
        profile: &Profile,
        users: u32,
        duration_s: u32,
        outcome: &Outcome,
    ) -> Option<Self> {
        let side_cells = profile.side_cells?;
        let member_seconds = f64::from(users) * f64::from(duration_s);
        let each = |count: fn(&crate::generator::series::Second) -> u64| {
            outcome.seconds.iter().map(count).sum::<u64>() as f64 / member_seconds
        };
        let worlds = &outcome.worlds;
        Some(Self {
            side_cells,
            frames_per_member_s: each(|second| second.frames),
            entities_per_member_s: each(|second| second.entities),
            bytes_per_member_s: each(|second| second.bytes_received),
            bytes_per_member_s_max: WORLD_BYTES_PER_S,
            whole_frames: worlds.whole_frames,
            frames_missing: worlds.frames_missing,
            stale: worlds.stale,
            members_watched: worlds.watched,
            moves_taken: outcome.moves_taken,
            ai: profile.ai.map(|ai| AiReport::new(&ai, each(|second| second.npcs), outcome)),
            server: outcome.server_work.as_ref().ok().map(|work| work.worlds),
        })
    }

    /// For the table.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            (
                "a member and second",
                format!(
                    "{:.2} frames, {:.1} entities, {:.0} bytes (at most {})",
                    self.frames_per_member_s,
                    self.entities_per_member_s,
                    self.bytes_per_member_s,
                    self.bytes_per_member_s_max
                ),
            ),
            (
                "frames",
                format!(
                    "{} missing, {} entities missing or too old, of {} members watched; {} whole",
                    self.frames_missing, self.stale, self.members_watched, self.whole_frames
                ),
            ),
        ];
        rows.extend(self.ai.iter().flat_map(AiReport::rows));
        let asked = self.server.filter(|counts| counts.thinks_asked > 0);
        rows.extend(asked.map(|counts| {
            let WorldCounts { thinks_asked, thinks_lost, thinks_failed, .. } = counts;
            let text = format!("{thinks_asked} times, {thinks_lost} lost, {thinks_failed} failed");
            ("workers asked", text)
        }));
        rows.extend(self.server.map(|counts| {
            let WorldCounts { moves, ticks, ticks_late, ticks_skipped, frames, .. } = counts;
            let left_out = counts.frames_missed + counts.frames_lost;
            let text = format!(
                "{ticks} run, {ticks_late} late, {ticks_skipped} skipped; \
                 {moves} moves, {frames} frames, {left_out} left out"
            );
            ("ticks", text)
        }));
        rows
    }
}
