//! What an attack has shown, as JSON and as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::attacker::AttackReport;
use super::scenario::{LATENESS_MAX, Scenario};
use crate::ab::{self, median};
use crate::generator::series::Second;
use crate::histogram::{Brief, Latencies, Percentiles};
use crate::machine::Machine;
use crate::memory::Peak;
use crate::metrics::Reasons;
use crate::phase::Outcome;
use crate::pinning::Pinning;
use crate::runner;
use crate::verdict::{GENERATOR_CPU_MAX, Verdict};

/// What each shard may need besides what connections may take: buffers of its ring that are touched for
/// the first time, tables that grow, memory that the allocator keeps.
const MEMORY_BASE_BYTES: u64 = 64 << 20;
/// What each keeps by default to be told again, which whoever talks fills; and the key that says so.
const REPLAY_BYTES_MAX: u64 = 64 << 20;
const REPLAY_BYTES_KEY: &str = "limits.replay_bytes_max";
/// What is compared.
const MEASURES: [Measure; 4] = [
    Measure { quantile: 0.9, is_of_a_second: false },
    Measure { quantile: 0.95, is_of_a_second: false },
    Measure { quantile: 0.99, is_of_a_second: true },
    Measure { quantile: 0.99, is_of_a_second: false },
];
/// How many there are.
pub(crate) const MEASURE_COUNT: usize = MEASURES.len();
/// With more than this taken by others, in cores, latencies say more of them than of an attack.
const FOREIGN_CORES_MAX: f64 = 0.2;
/// CPU that a bomb may take to be refused, in microseconds.
const BOMB_US_MAX: f64 = 1_000.0;

/// A quantile of the latency that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Measure {
    quantile: f64,
    /// Of each second, and of those the median: whatever attackers do, they do in every second, and
    /// a machine that stalls does in some.
    is_of_a_second: bool,
}

impl Measure {
    fn name(self) -> String {
        let of = if self.is_of_a_second { " by second" } else { "" };
        format!("p{:.0}{of}", self.quantile * 100.0)
    }

    /// One hundredth of all is less than what a machine may stall for, so it is told and not judged.
    fn is_judged(self) -> bool {
        self.is_of_a_second || self.quantile < 0.99
    }

    /// Of a round, in microseconds; 0 where there is nothing.
    fn of(self, all: &Latencies, seconds: &[Second], brief: fn(&Second) -> &Brief) -> f64 {
        if self.is_of_a_second {
            let of = |second| brief(second).quantile_us(self.quantile);
            let seconds: Vec<f64> = seconds.iter().filter_map(of).collect();
            median(&seconds).unwrap_or_default()
        } else {
            all.quantile_ns(self.quantile) as f64 / 1e3
        }
    }
}

/// One round by each measure, in microseconds.
#[derive(Clone, Debug)]
struct Round {
    latency_us: [f64; MEASURES.len()],
    lateness_us: [f64; MEASURES.len()],
}

/// Legal users in all rounds of one sort.
#[derive(Debug, Default)]
pub struct Phase {
    latencies: Latencies,
    lateness: Latencies,
    rounds: Vec<Round>,
    lost: u64,
    disconnects: u64,
    refused: BTreeMap<String, u64>,
    generator_cpu: f64,
    foreign_cores: f64,
    server_cores: f64,
    server_ns: f64,
    peak: Peak,
    attackers_seen: u64,
    frames_missed: u64,
}

impl Phase {
    /// Takes in a round, in which attackers took so many cores.
    pub fn add(&mut self, outcome: &Outcome, attack_cores: f64) {
        self.latencies.merge(&outcome.latencies);
        self.lateness.merge(&outcome.lateness);
        let (all, late) = (&outcome.latencies, &outcome.lateness);
        let seconds = &outcome.seconds;
        self.rounds.push(Round {
            latency_us: MEASURES.map(|of| of.of(all, seconds, |second| &second.latencies)),
            lateness_us: MEASURES.map(|of| of.of(late, seconds, |second| &second.lateness)),
        });
        let account = &outcome.account;
        self.lost += account.lost
            + account.duplicated
            + account.corrupted
            + account.out_of_order
            + account.rooms_disagreeing;
        self.disconnects += outcome.counters.disconnects;
        self.attackers_seen += outcome.worlds.strangers;
        self.frames_missed +=
            outcome.server_work.as_ref().map_or(0, |work| work.worlds.frames_missed);
        for (reason, count) in &outcome.counters.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        self.generator_cpu = self.generator_cpu.max(outcome.generator_cpu);
        let foreign_cores = outcome.foreign_cores.unwrap_or_default() - attack_cores;
        self.foreign_cores = self.foreign_cores.max(foreign_cores);
        let cores = outcome.server_cores().unwrap_or_default();
        self.server_ns += cores * outcome.elapsed_ns as f64;
        self.server_cores += (cores - self.server_cores) / self.rounds.len() as f64;
    }

    /// Takes in the most memory that the server had.
    pub fn add_peak(&mut self, peak: Peak) {
        self.peak = self.peak.max(peak);
    }

    pub(crate) fn told(&self) -> PhaseReport {
        PhaseReport {
            latency_us: self.latencies.percentiles_us(),
            lateness_us: self.lateness.percentiles_us(),
            lost: self.lost,
            disconnects: self.disconnects,
            attackers_seen: self.attackers_seen,
            frames_missed: self.frames_missed,
            refused: self.refused.clone(),
            generator_cpu: self.generator_cpu,
            foreign_cpu_cores: self.foreign_cores,
            server_cpu_cores: self.server_cores,
            server_resident_peak_bytes: self.peak.resident_bytes,
        }
    }
}

/// Legal users, as they are told.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// Latency, in microseconds.
    pub latency_us: Option<Percentiles>,
    /// Lateness of their generators, in microseconds.
    pub lateness_us: Option<Percentiles>,
    /// Deliveries lost, doubled, corrupted or out of order.
    pub lost: u64,
    /// Their connections lost.
    pub disconnects: u64,
    /// How often frames told them of an attacker's entity.
    pub attackers_seen: u64,
    /// Frames that the server left out for members who took them too slowly, attackers among them.
    pub frames_missed: u64,
    /// Their messages refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The highest share of a core that their generators took.
    pub generator_cpu: f64,
    /// CPU that nobody of the run took on its cores, attackers apart, in cores.
    pub foreign_cpu_cores: f64,
    /// CPU of the server, in cores.
    pub server_cpu_cores: f64,
    /// The most memory that the server had, its program included, in bytes.
    pub server_resident_peak_bytes: u64,
}

/// The latency of legal users by one measure, with the attack and without.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Which quantile, of what.
    measure: Measure,
    /// With the attack to without: of each round.
    pub ratios: Vec<f64>,
    /// Their median; none where nothing was heard in a round.
    pub ratio: Option<f64>,
    /// The same of each round when what generators were late by without the attack is taken off both: all
    /// growth is set against what is left.
    pub server_ratios: Vec<f64>,
    /// Their median, by which the server is judged.
    pub server_ratio: Option<f64>,
    /// The generators' own lateness without the attack, as a part of the latency: the median.
    pub lateness: f64,
    /// What that grew by with the attack, as a part of the same: the median.
    pub lateness_growth: f64,
}

impl Comparison {
    pub(crate) fn new(at: usize, baseline: &Phase, attacked: &Phase) -> Self {
        let (mut ratios, mut server_ratios) = (Vec::new(), Vec::new());
        let (mut lateness, mut growths) = (Vec::new(), Vec::new());
        for (before, after) in baseline.rounds.iter().zip(&attacked.rounds) {
            let (latency_us, late_us) = (before.latency_us[at], before.lateness_us[at]);
            ratios.push(after.latency_us[at] / latency_us);
            // Where it is more than that the round is not judged; here nothing is to become negative.
            let off_us = late_us.min(latency_us * LATENESS_MAX);
            server_ratios.push((after.latency_us[at] - off_us) / (latency_us - off_us));
            lateness.push(late_us / latency_us);
            growths.push((after.lateness_us[at] - late_us) / latency_us);
        }
        // 0 where nothing was heard with the attack, and no number where nothing was without it.
        let all_heard = ratios.iter().all(|ratio| *ratio > 0.0 && ratio.is_finite());
        Self {
            measure: MEASURES[at],
            ratio: median(&ratios).filter(|_| all_heard),
            server_ratio: median(&server_ratios).filter(|_| all_heard),
            server_ratios,
            ratios,
            lateness: median(&lateness).unwrap_or_default(),
            lateness_growth: median(&growths).unwrap_or_default(),
        }
    }

    /// What is compared, in words.
    pub(crate) fn name(&self) -> String {
        self.measure.name()
    }

    /// Whether a verdict on an attack depends on it.
    fn is_judged(&self) -> bool {
        self.measure.is_judged()
    }

    /// Whether it is the median of the seconds.
    pub(crate) fn is_of_a_second(&self) -> bool {
        self.measure.is_of_a_second
    }

    /// The ratios in words.
    pub(crate) fn words(&self) -> String {
        let told = |ratio: Option<f64>| ratio.map_or("none".to_owned(), |it| format!("{it:.2}"));
        let range = |ratios: &[f64]| {
            let least = ratios.iter().copied().reduce(f64::min).unwrap_or_default();
            let greatest = ratios.iter().copied().reduce(f64::max).unwrap_or_default();
            format!("({least:.2}..{greatest:.2})")
        };
        let (ratio, of_server) = (told(self.ratio), told(self.server_ratio));
        let (of_all, of_server_range) = (range(&self.ratios), range(&self.server_ratios));
        let (late, grown) = (self.lateness, self.lateness_growth);
        format!(
            "{ratio} {of_all}, {of_server} {of_server_range} without lateness ({late:.2}, then {grown:+.2})"
        )
    }

    /// Whether it tells of the server, and not of generators and of the machine.
    fn is_of_the_server(&self, scenario: Scenario) -> bool {
        self.lateness <= scenario.lateness_max()
            && self.lateness_growth <= scenario.lateness_growth_max()
    }
}

/// What a scenario consists of.
pub struct Parts {
    /// The attack.
    pub scenario: Scenario,
    /// Legal users.
    pub users: u32,
    /// What they do.
    pub profile: String,
    /// Milliseconds between two messages of one.
    pub period_ms: u64,
    /// Shards of the server.
    pub shards: u16,
    /// How the server was set up, beside its defaults.
    pub settings: Vec<(String, String)>,
    /// Without the attack.
    pub baseline: Phase,
    /// With it.
    pub attacked: Phase,
    /// What attackers did.
    pub attack: AttackReport,
    /// What the server counted meanwhile.
    pub reasons: Reasons,
    /// The server still serves.
    pub is_alive: bool,
    /// CPU of refusing the bomb, in microseconds.
    pub bomb_us: Option<f64>,
    /// Shards and generators had their cores before everyone else.
    pub comes_first: bool,
}

/// What one attack has shown.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// The attack.
    pub scenario: Scenario,
    /// Legal users.
    pub users: u32,
    /// What they do.
    pub profile: String,
    /// Milliseconds between two messages of one.
    pub period_ms: u64,
    /// How much longer each compared percentile of theirs may be.
    pub ratio_max: f64,
    /// Connections of attackers at a time.
    pub attack_connections: u32,
    /// How the server was set up, beside its defaults.
    pub settings: Vec<(String, String)>,
    /// Without the attack.
    pub baseline: PhaseReport,
    /// With it.
    pub attacked: PhaseReport,
    /// How latencies compare, by each measure.
    pub comparisons: Vec<Comparison>,
    /// The most memory that the server may have had.
    pub server_resident_bound_bytes: u64,
    /// CPU of the server for each step of attackers, beyond that for legal users, in microseconds.
    pub server_cpu_us_per_step: Option<f64>,
    /// CPU of refusing the largest bomb in one process, in microseconds: the median.
    pub bomb_us: Option<f64>,
    /// Shards and generators had their cores before everyone else who wanted them.
    pub comes_first: bool,
    /// What attackers did and heard.
    pub attack: AttackReport,
    /// What the server counted meanwhile: refusals and closes, by reason.
    pub counted: Reasons,
    /// What the run says.
    pub verdict: Verdict,
    /// What was broken: by the server, or by what was counted.
    pub faults: Vec<String>,
    /// What was too slow, or says that this machine cannot tell.
    pub timings: Vec<String>,
}

/// All attacks of a run.
#[derive(Debug, Serialize)]
pub struct AttackReports {
    /// Where it ran.
    pub circumstances: Circumstances,
    /// Each attack.
    pub scenarios: Vec<ScenarioReport>,
    /// The worst of all verdicts.
    pub verdict: Verdict,
}

/// Where and how a run was made.
#[derive(Debug, Serialize)]
pub struct Circumstances {
    /// The command.
    pub command: String,
    /// Legal users' protocol.
    pub protocol: &'static str,
    /// Settings of the command line.
    pub settings: Vec<(String, String)>,
    /// Which cores were whose.
    pub pinning: Pinning,
    /// The machine.
    pub machine: Machine,
}

impl Circumstances {
    /// Those of a run.
    #[must_use]
    pub fn new(run: &crate::report::Circumstances, settings: Vec<(String, String)>) -> Self {
        Self {
            command: std::env::args().collect::<Vec<String>>().join(" "),
            protocol: run.protocol,
            settings,
            pinning: run.pinning.clone(),
            machine: run.machine.clone(),
        }
    }
}

/// What a shard keeps to be told again, as it is set.
fn replay_bytes_max(settings: &[(String, String)]) -> u64 {
    let mut set = settings.iter().rev().filter(|(key, _)| key == REPLAY_BYTES_KEY);
    set.next().and_then(|(_, value)| value.parse().ok()).unwrap_or(REPLAY_BYTES_MAX)
}

/// The worst: a fault that was seen is one, whatever the generators did.
#[must_use]
pub fn verdict_of(reports: &[ScenarioReport]) -> Verdict {
    let has = |verdict| reports.iter().any(|report| report.verdict == verdict);
    match () {
        () if has(Verdict::Fail) => Verdict::Fail,
        () if has(Verdict::GeneratorBound) => Verdict::GeneratorBound,
        () => Verdict::Pass,
    }
}

impl ScenarioReport {
    /// Judges what was seen.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { scenario, users, attack, bomb_us, .. } = parts;
        let shape = scenario.shape(users);
        let (baseline, attacked) = (parts.baseline.told(), parts.attacked.told());
        let compare = |at| Comparison::new(at, &parts.baseline, &parts.attacked);
        let comparisons = (0..MEASURES.len()).map(compare).collect();
        let bound = baseline.server_resident_peak_bytes
            + u64::from(parts.shards) * (MEMORY_BASE_BYTES + replay_bytes_max(&parts.settings))
            + u64::from(shape.connections) * shape.server_bytes_per_connection_max;
        let work_ns = parts.attacked.server_ns - parts.baseline.server_ns;
        let steps = attack.steps + attack.opened;
        let server_cpu_us_per_step = (steps > 0).then(|| work_ns / 1_000.0 / steps as f64);
        let mut report = Self {
            scenario,
            users,
            profile: parts.profile,
            period_ms: parts.period_ms,
            ratio_max: scenario.ratio_max(),
            attack_connections: shape.connections,
            settings: parts.settings,
            baseline,
            attacked,
            comparisons,
            server_resident_bound_bytes: bound,
            server_cpu_us_per_step,
            bomb_us,
            comes_first: parts.comes_first,
            attack,
            counted: parts.reasons,
            verdict: Verdict::Pass,
            faults: Vec::new(),
            timings: Vec::new(),
        };
        report.judge(parts.is_alive);
        report
    }

    fn judge(&mut self, is_alive: bool) {
        let mut faults = Vec::new();
        let mut check = |broken: bool, words: String| {
            if broken {
                faults.push(words);
            }
        };
        check(!is_alive, "the server does not serve any more".to_owned());
        for (name, phase) in [("before", &self.baseline), ("with the attack", &self.attacked)] {
            check(phase.lost > 0, format!("{name}, legal users lost {}", phase.lost));
            let cut = phase.disconnects;
            check(cut > 0, format!("{name}, {cut} legal users were cut"));
            check(!phase.refused.is_empty(), format!("{name}, refused: {:?}", phase.refused));
        }
        let is_absent = self.scenario.is_in_world() && self.attacked.attackers_seen == 0;
        check(is_absent, "nobody saw an attacker".to_owned());
        let peak = self.attacked.server_resident_peak_bytes;
        let bound = self.server_resident_bound_bytes;
        check(peak > bound, format!("memory: {} MiB, bound {} MiB", peak >> 20, bound >> 20));
        for (variant, count) in &self.attack.untold {
            let is_due = !self.scenario.ends_without_reason(variant);
            check(is_due, format!("{count} attackers were closed without a reason: {variant}"));
        }
        let slow = self.bomb_us.filter(|us| *us > BOMB_US_MAX);
        check(slow.is_some(), format!("a bomb took {slow:?} us, at most {BOMB_US_MAX}"));
        let counted = |reason: &str| self.counted.total(reason);
        for (reason, heard) in self.heard() {
            let counted = counted(&reason);
            check(heard > counted, format!("{reason}: {heard} heard, {counted} counted"));
        }
        let mut timings = Vec::new();
        let mut is_slow = false;
        let mut is_unjudged = false;
        for comparison in self.comparisons.iter().filter(|it| it.is_judged()) {
            let name = comparison.name();
            match comparison.server_ratio {
                None => {
                    is_slow = true;
                    timings.push(format!("{name}: nothing was heard in a round"));
                }
                Some(_) if !comparison.is_of_the_server(self.scenario) => {
                    is_unjudged = true;
                    timings.push(format!("{name} tells of generators, which were late themselves"));
                }
                Some(ratio) if ratio > self.ratio_max => {
                    is_slow = true;
                    timings.push(format!("{name} is {ratio:.2} times that before"));
                }
                Some(_) => {}
            }
        }
        let is_bound = self.attack_core_share() > GENERATOR_CPU_MAX;
        if is_bound {
            let share = self.attack_core_share() * 100.0;
            timings.push(format!("generators and attackers took {share:.0} % of their core"));
        }
        if !self.comes_first {
            timings.push("others could have the cores first: p99 tells of them too".to_owned());
        }
        let foreign = self.foreign_cores();
        let is_disturbed = foreign > FOREIGN_CORES_MAX;
        if is_disturbed {
            timings.push(format!("others took {foreign:.2} cores of those of the run"));
        }
        self.verdict = if !faults.is_empty() {
            Verdict::Fail
        } else if is_bound || is_disturbed {
            Verdict::GeneratorBound
        } else if is_slow {
            Verdict::Fail
        } else if is_unjudged {
            Verdict::GeneratorBound
        } else {
            Verdict::Pass
        };
        self.timings = timings;
        self.faults = faults;
    }

    /// What others took of the cores of the run, without attackers.
    fn foreign_cores(&self) -> f64 {
        self.baseline.foreign_cpu_cores.max(self.attacked.foreign_cpu_cores)
    }

    /// Share of a core that generators and attackers took together, where they have one.
    fn attack_core_share(&self) -> f64 {
        self.attacked.generator_cpu + self.attack.cores()
    }

    /// Reasons heard, of all sorts of the attack.
    fn heard(&self) -> BTreeMap<String, u64> {
        let mut heard = BTreeMap::new();
        for (reason, count) in self.attack.reasons.values().flatten() {
            *heard.entry(reason.clone()).or_default() += count;
        }
        heard
    }

    /// The table for the terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut row = |label: &str, value: String| {
            let _ = writeln!(text, "{label:<26}{value}");
        };
        let label = self.scenario.label();
        row("attack", format!("{label}: {} connections", self.attack_connections));
        let settings = self.settings.iter().map(|(key, value)| format!("{key}={value}"));
        row("settings", runner::listed(settings));
        let period_ms = self.period_ms;
        let (users, profile) = (self.users, &self.profile);
        row("legal users", format!("{users} in {profile}, a message every {period_ms} ms"));
        let quantiles = |phase: &PhaseReport| match &phase.latency_us {
            Some(Percentiles { p50, p90, p99, .. }) => {
                format!("p50 {p50:.0} us, p90 {p90:.0}, p99 {p99:.0}")
            }
            None => "nothing measured".to_owned(),
        };
        row("priority", ab::priority_words(self.comes_first).to_owned());
        row("  before", quantiles(&self.baseline));
        row("  with the attack", quantiles(&self.attacked));
        self.comparison_rows(&mut row);
        if self.scenario.is_in_world() {
            let PhaseReport { attackers_seen, frames_missed, .. } = self.attacked;
            row("  told of attackers", format!("{attackers_seen} times"));
            row("frames left out", format!("{frames_missed}, for who is slow"));
        }
        let cpu = |phase: &PhaseReport| phase.server_cpu_cores;
        let (before, after) = (cpu(&self.baseline), cpu(&self.attacked));
        row("server CPU", format!("{before:.3} cores, then {after:.3}"));
        if let Some(us) = self.server_cpu_us_per_step {
            row("  for each step", format!("{us:.1} us"));
        }
        if let Some(us) = self.bomb_us {
            row("  for the largest bomb", format!("{us:.1} us to refuse it, decoded alone"));
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (before, after) = (&self.baseline, &self.attacked);
        row(
            "server memory, most",
            format!(
                "{:.1} MiB, then {:.1} (bound {:.1})",
                mib(before.server_resident_peak_bytes),
                mib(after.server_resident_peak_bytes),
                mib(self.server_resident_bound_bytes)
            ),
        );
        let attack = &self.attack;
        row(
            "attackers",
            format!(
                "{} opened, {} steps, {} standing; closed {} told, {} untold, {} reset",
                attack.opened,
                attack.steps,
                attack.standing,
                attack.closed_told,
                attack.closed_untold,
                attack.reset_untold
            ),
        );
        row("  CPU", format!("{:.2} cores, generators {:.2}", attack.cores(), after.generator_cpu));
        row("others' CPU", format!("{:.2} cores", self.foreign_cores()));
        self.reason_rows(&mut row);
        let _ = writeln!(text, "verdict: {}", self.verdict.label());
        for fault in self.faults.iter().chain(&self.timings) {
            let _ = writeln!(text, "  {fault}");
        }
        let _ = writeln!(text);
        text
    }

    fn comparison_rows(&self, row: &mut impl FnMut(&str, String)) {
        for comparison in &self.comparisons {
            let judged = if comparison.is_judged() { "" } else { "; not judged" };
            row(
                &format!("  ratio of {}", comparison.name()),
                format!("{}{judged}", comparison.words()),
            );
        }
        let (late_max, growth_max) =
            (self.scenario.lateness_max(), self.scenario.lateness_growth_max());
        let bound = self.ratio_max;
        row(
            "  bound",
            format!("{bound:.2} without lateness, of {late_max:.2} at most, then {growth_max:+.2}"),
        );
    }

    fn reason_rows(&self, row: &mut impl FnMut(&str, String)) {
        let heard = self.heard();
        let names: BTreeSet<&str> =
            heard.keys().chain(self.counted.names()).map(String::as_str).collect();
        row("reasons", "heard / refusals / closes counted".to_owned());
        for name in names {
            let heard = heard.get(name).copied().unwrap_or_default();
            let (refusals, closes) = self.counted.of(name);
            row(&format!("  {name}"), format!("{heard} / {refusals} / {closes}"));
        }
        if self.attack.reasons.len() + self.attack.untold.len() < 2 {
            return;
        }
        let variants: BTreeSet<&String> =
            self.attack.reasons.keys().chain(self.attack.untold.keys()).collect();
        row("by sort", String::new());
        for variant in variants {
            let reasons = self.attack.reasons.get(variant).into_iter().flatten();
            let told = reasons.map(|(reason, count)| format!("{count} {reason}"));
            let untold = self.attack.untold.get(variant);
            let untold = untold.map(|count| format!("{count} without a word"));
            row(&format!("  {variant:<30}"), runner::listed(told.chain(untold)));
        }
    }
}

#[cfg(test)]
mod tests;
