//! What a run shows: whether the bound was held, and whether the figure may be given at all. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::Account;
use crate::metrics::WorldCounts;
use crate::profile::ai::Wander;
use crate::profile::{Activity, Profile};

/// Above this share of its core, a generator measures itself.
pub const GENERATOR_CPU_MAX: f64 = 0.9;
/// A generator is late when sends are later than this fraction of a latency bound, at the bound's
/// percentile: then that much of the latency is its own.
pub const LATENESS_FRACTION: f64 = 0.1;

/// At least this share of the moves of NPCs is to be made before the tick for which they are due.
pub const NPCS_ON_TIME_MIN: f64 = 0.99;

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was lost, and the bound was held.
    Pass,
    /// Something was lost, or the bound was not held.
    Fail,
    /// The generator was late or too busy: the figures are its own, not the server's.
    GeneratorBound,
}

impl Verdict {
    /// The exit status of the harness.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::GeneratorBound => 3,
        }
    }

    /// The word in the report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::GeneratorBound => "generator-bound",
        }
    }
}

/// What kept the number of users from being held, or a search from trying more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Messages were lost, doubled, mixed up, disordered or refused, or connections lost.
    Integrity,
    /// Messages took longer than the bound.
    Latency,
    /// The server skipped ticks, or whether it did is not known.
    Ticks,
    /// The server moved NPCs too late, or their plugin did not move them as it has to.
    Npcs,
    /// The generator.
    Generator,
    /// The number was held, but on how many cores is not known: the server is somebody else's.
    ServerUnknown,
    /// Not all users came into their rooms.
    Entry,
    /// More users than rings can hold, with the limit on descriptors as it is.
    Descriptors,
    /// More users than the machine's memory would hold.
    Memory,
    /// More users were not asked for.
    UsersMax,
    /// There was no time for more.
    Time,
}

impl Limit {
    /// The word in the report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Latency => "latency",
            Self::Ticks => "ticks",
            Self::Npcs => "npcs",
            Self::Generator => "generator",
            Self::ServerUnknown => "server-unknown",
            Self::Entry => "entry",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::UsersMax => "users-max",
            Self::Time => "time",
        }
    }
}

/// What a verdict on a storm is given on besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StormEvidence {
    /// Users who did not come back.
    pub missing: u32,
    /// Users who came back and did not hear all that they missed.
    pub behind: u32,
    /// From the cut until the last was back and had heard all that it missed, in nanoseconds.
    pub all_caught_up_ns: u64,
    /// The highest share of a core that generators took meanwhile.
    pub generator_cpu: f64,
}

/// What a verdict is given on.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Who heard what.
    pub account: Account,
    /// Ticks of worlds that the server has skipped, if that is known.
    pub ticks_skipped: Option<u64>,
    /// Moves that the server took in all, if that is known and nobody else moved.
    pub moves_taken: Option<u64>,
    /// Moves that users made.
    pub moves_said: u64,
    /// The share of moves of NPCs that were made in time, where there are NPCs and it is known.
    pub npcs_on_time: Option<f64>,
    /// What the server has counted of worlds, if that is known.
    pub worlds: Option<WorldCounts>,
    /// Connections lost.
    pub disconnects: u64,
    /// Frames that are none of the protocol.
    pub faults: u64,
    /// Heartbeats that were due and did not come.
    pub heartbeats_missing: u64,
    /// Heartbeats that came and were not due.
    pub heartbeats_surplus: u64,
    /// Messages that the server refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages whose latency was measured.
    pub measured: u64,
    /// Median and 99th percentile of the latency, in nanoseconds.
    pub latency_ns: [u64; 2],
    /// Median and 99th percentile of the generators' lateness, in nanoseconds.
    pub lateness_ns: [u64; 2],
    /// The highest share of a core that generators took.
    pub generator_cpu: f64,
    /// Durable sets whose latency was measured, where users set something.
    pub sets_measured: Option<u64>,
    /// Median and 99th percentile of that latency, in nanoseconds.
    pub sets_ns: Option<[u64; 2]>,
    /// How users came back, if they were cut.
    pub storm: Option<StormEvidence>,
}

/// A verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What kept the number of users from being held, if it was not.
    pub limited_by: Option<Limit>,
    /// Every rule that was broken, in words.
    pub reasons: Vec<String>,
}

/// Judges a run. A message that was lost is a failure whatever the generator did; a latency counts
/// only when the generator was neither late nor too busy.
#[must_use]
pub fn judge(profile: &Profile, evidence: &Evidence) -> Judgement {
    let integrity = broken_integrity(evidence);
    let generator = generator_faults(profile, evidence);
    let latency = broken_bounds(profile, evidence);
    let ticks = match evidence.ticks_skipped {
        Some(0) => Vec::new(),
        Some(count) => vec![format!("{count} ticks skipped")],
        None if profile.tick_hz.is_none() => Vec::new(),
        None => vec!["whether ticks were skipped is not known: no metrics were read".to_owned()],
    };
    let npcs = [late_npcs(evidence), mover_faults(profile, evidence)].concat();
    let (verdict, limited_by) = if !integrity.is_empty() {
        (Verdict::Fail, Some(Limit::Integrity))
    } else if !generator.is_empty() {
        (Verdict::GeneratorBound, Some(Limit::Generator))
    } else if !ticks.is_empty() {
        (Verdict::Fail, Some(Limit::Ticks))
    } else if !npcs.is_empty() {
        (Verdict::Fail, Some(Limit::Npcs))
    } else if !latency.is_empty() {
        (Verdict::Fail, Some(Limit::Latency))
    } else {
        (Verdict::Pass, None)
    };
    Judgement {
        verdict,
        limited_by,
        reasons: [integrity, generator, ticks, npcs, latency].concat(),
    }
}

fn late_npcs(evidence: &Evidence) -> Vec<String> {
    let late = evidence.npcs_on_time.filter(|share| *share < NPCS_ON_TIME_MIN);
    let told = late.map(|share| {
        let [share, least] = [share, NPCS_ON_TIME_MIN].map(|share| share * 100.0);
        format!("{share:.2} % of the moves of NPCs in time, at least {least} %")
    });
    told.into_iter().collect()
}

/// Where other code than the server's has to move NPCs: whether it did, and was never too slow.
fn mover_faults(profile: &Profile, evidence: &Evidence) -> Vec<String> {
    let wander = profile.ai.map_or(Wander::BuiltIn, |ai| ai.wander);
    let Some(counts) = evidence.worlds else { return Vec::new() };
    let unmoved =
        (counts.npc_updates_unmoved, "times an NPC stood because nobody had its behaviour");
    let (amiss, calls, idle) = match wander {
        Wander::BuiltIn => return Vec::new(),
        Wander::Native => {
            let strikes = (counts.plugin_strikes, "calls of the plugin took too long");
            let disabled = (counts.plugins_disabled, "plugins are called no more");
            (vec![unmoved, strikes, disabled], counts.plugin_thinks, "the plugin moved no NPCs")
        }
        Wander::Python => {
            let lost = (counts.thinks_lost, "times the worker did not say in time where NPCs go");
            let failed = (counts.thinks_failed, "times the worker failed to move NPCs");
            (vec![unmoved, lost, failed], counts.thinks_asked, "the worker moved no NPCs")
        }
    };
    let amiss = amiss.into_iter().filter(|(count, _)| *count > 0);
    let mut faults: Vec<String> = amiss.map(|(count, what)| format!("{count} {what}")).collect();
    if calls == 0 {
        faults.push(idle.to_owned());
    }
    faults
}

fn broken_integrity(evidence: &Evidence) -> Vec<String> {
    let account = &evidence.account;
    let counts = [
        (account.lost, "deliveries lost"),
        (account.duplicated, "deliveries doubled"),
        (account.corrupted, "messages corrupted or mixed up"),
        (account.out_of_order, "messages out of their room's order"),
        (account.rooms_disagreeing, "rooms whose members heard different orders"),
        (evidence.disconnects, "connections lost"),
        (evidence.faults, "frames that are none of the protocol"),
        (evidence.heartbeats_missing, "heartbeats missing"),
        (evidence.heartbeats_surplus, "heartbeats too many"),
    ];
    let counted = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut reasons: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    for (reason, count) in &evidence.refused {
        reasons.push(format!("{count} messages refused: {reason}"));
    }
    if let Some(StormEvidence { missing: missing @ 1.., .. }) = evidence.storm {
        reasons.push(format!("{missing} users did not come back"));
    }
    if let Some(StormEvidence { behind: behind @ 1.., .. }) = evidence.storm {
        reasons.push(format!("{behind} users who came back did not hear all that they missed"));
    }
    let said = evidence.moves_said;
    if let Some(taken) = evidence.moves_taken.filter(|taken| *taken != said) {
        reasons.push(format!("{said} moves were said, and the server took {taken}"));
    }
    if matches!(evidence.sets_measured, Some(0)) {
        reasons.push("no durable set was measured".to_owned());
    }
    if evidence.measured == 0 {
        reasons.push("nothing was measured".to_owned());
    }
    reasons
}

fn generator_faults(profile: &Profile, evidence: &Evidence) -> Vec<String> {
    let mut reasons = Vec::new();
    for (name, late_ns, bound_ns) in bounded(profile, evidence.lateness_ns) {
        let late_max_ns = bound_ns as f64 * LATENESS_FRACTION;
        if late_ns as f64 > late_max_ns {
            reasons.push(format!(
                "the generator sent late: {name} {:.3} ms, at most {:.3} ms",
                late_ns as f64 / 1e6,
                late_max_ns / 1e6,
            ));
        }
    }
    let storm = evidence.storm.map(|storm| (" until all were back", storm.generator_cpu));
    for (when, share) in [("", evidence.generator_cpu)].into_iter().chain(storm) {
        if share > GENERATOR_CPU_MAX {
            reasons.push(format!(
                "the generator took {:.0} % of its core{when}, at most {:.0} %",
                share * 100.0,
                GENERATOR_CPU_MAX * 100.0,
            ));
        }
    }
    reasons
}

/// Median and 99th percentile, each by name and with its bound, if it has one.
fn bounded(
    profile: &Profile,
    figures_ns: [u64; 2],
) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let bounds = [profile.bound_p50_ns, Some(profile.bound_p99_ns)];
    let named = ["median", "99th percentile"].into_iter().zip(figures_ns).zip(bounds);
    named.filter_map(|((name, figure_ns), bound_ns)| Some((name, figure_ns, bound_ns?)))
}

fn broken_bounds(profile: &Profile, evidence: &Evidence) -> Vec<String> {
    let storm = profile.storm.zip(evidence.storm);
    let late = storm.filter(|(storm, seen)| seen.all_caught_up_ns > storm.bound_all_back_ns);
    let late = late.map(|(storm, seen)| {
        let [seen_s, bound_s] =
            [seen.all_caught_up_ns, storm.bound_all_back_ns].map(|span_ns| span_ns as f64 / 1e9);
        format!("all were back and had heard what they missed {seen_s:.2} s after the cut, bound {bound_s} s")
    });
    bounded(profile, evidence.latency_ns)
        .filter(|(_, latency_ns, bound_ns)| latency_ns > bound_ns)
        .map(|(name, latency_ns, bound_ns)| {
            format!(
                "latency: {name} {:.3} ms, bound {:.3} ms",
                latency_ns as f64 / 1e6,
                bound_ns as f64 / 1e6,
            )
        })
        .chain(late)
        .chain(late_sets(profile, evidence))
        .collect()
}

/// Where sets are all that is measured they have the profile's own bound.
fn late_sets(profile: &Profile, evidence: &Evidence) -> Option<String> {
    let sets = profile.sets.filter(|_| profile.activity != Activity::Set)?;
    let [_, late_ns] = evidence.sets_ns?;
    let [late_ms, bound_ms] = [late_ns, sets.bound_p99_ns].map(|ns| ns as f64 / 1e6);
    (late_ns > sets.bound_p99_ns)
        .then(|| format!("durable sets: 99th percentile {late_ms:.3} ms, bound {bound_ms:.3} ms"))
}

#[cfg(test)]
mod tests;
