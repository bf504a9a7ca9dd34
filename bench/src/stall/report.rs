//! What a stall has shown, as JSON and as a table.

pub mod export;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use self::export::ExportReport;
use crate::ab;
use crate::arguments::{StallArguments, Stalled};
use crate::attack::report::{Comparison, MEASURE_COUNT, Phase, PhaseReport};
use crate::attack::scenario::LATENESS_MAX;
use crate::generator::setters::SetReport;
use crate::histogram::Percentiles;
use crate::machine::Machine;
use crate::phase::{Outcome, Setup};
use crate::pinning::Pinning;
use crate::report::Circumstances;
use crate::turn_times::LongTurns;
use crate::verdict::{GENERATOR_CPU_MAX, Verdict};

/// How much longer each compared percentile may be.
const RATIO_MAX: f64 = 1.10;
/// With so many commits in a second nothing stood still: one may end just when it is frozen.
const STALLED_COMMITS_MAX: u64 = 2;

/// All rounds of one sort.
#[derive(Debug, Default)]
pub struct Rounds {
    phase: Phase,
    told: RoundsReport,
}

/// What is told of them besides their latency.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoundsReport {
    /// Sets of all users.
    pub sets: SetReport,
    /// Commits of the log in the measured parts.
    pub log_commits: u64,
    /// Of these and earlier ones those that were exported then.
    pub exported_commits: u64,
    /// How long turns took in the measured part of each round.
    pub turns: Vec<LongTurns>,
    /// For how long all stood still in each round, in seconds.
    pub stalled_s: Vec<f64>,
}

impl Rounds {
    /// Takes in a round, in which it stood still for so long.
    pub fn add(&mut self, outcome: &Outcome, stall_ns: Option<u64>) {
        self.phase.add(outcome, 0.0);
        let told = &mut self.told;
        if let Some(sets) = &outcome.sets {
            told.sets.add(sets);
        }
        if let Ok(work) = &outcome.server_work {
            told.log_commits += work.log.commits;
            told.exported_commits += work.export.commits;
            told.turns.extend(work.turn_times.long_turns());
        }
        told.stalled_s.extend(stall_ns.map(|ns| ns as f64 / 1e9));
    }
}

/// What was seen beside the rounds.
#[derive(Debug)]
pub struct Seen {
    /// What the server's data lay on.
    pub file_system: String,
    /// Where that was mounted, if it was for this.
    pub mount: Option<PathBuf>,
    /// What became of the export, where there was one.
    pub export: Option<ExportReport>,
    /// The server served to the end, and ended well.
    pub is_well: bool,
}

/// What a stall has shown.
#[derive(Clone, Debug, Serialize)]
pub struct StallReport {
    /// The command.
    pub command: String,
    /// What stood still.
    pub stalled: Stalled,
    /// What the server's data lay on.
    pub file_system: String,
    /// Where that was mounted, if it was for this.
    pub mount: Option<PathBuf>,
    /// Users, and milliseconds between two lines and between two sets of one.
    pub users: u32,
    /// Between two lines.
    pub period_ms: u32,
    /// Between two sets.
    pub set_period_ms: u32,
    /// Shards of the server.
    pub shards: u16,
    /// How much longer each compared percentile may be.
    pub ratio_max: f64,
    /// Chat without the stall.
    pub without: PhaseReport,
    /// And with it.
    pub with: PhaseReport,
    /// The rest of both.
    pub without_rounds: RoundsReport,
    /// With it.
    pub with_rounds: RoundsReport,
    /// What became of the export, where there was one.
    pub export: Option<ExportReport>,
    /// How latencies compare, by each measure.
    pub comparisons: Vec<Comparison>,
    /// Shards and generators had their cores before everyone else who wanted them.
    pub comes_first: bool,
    /// Which cores were whose.
    pub pinning: Pinning,
    /// The machine.
    pub machine: Machine,
    /// What the run says.
    pub verdict: Verdict,
    /// Every rule that was broken.
    pub reasons: Vec<String>,
}

impl StallReport {
    /// Judges what was seen.
    #[must_use]
    pub fn new(
        arguments: &StallArguments,
        circumstances: &Circumstances,
        setup: &Setup,
        [without, with]: [Rounds; 2],
        seen: Seen,
    ) -> Self {
        let Seen { file_system, mount, export, is_well } = seen;
        let compare = |at| Comparison::new(at, &without.phase, &with.phase);
        let mut report = Self {
            command: std::env::args().collect::<Vec<String>>().join(" "),
            stalled: arguments.what,
            file_system,
            mount,
            users: arguments.users,
            period_ms: arguments.period_ms,
            set_period_ms: arguments.set_period_ms,
            shards: arguments.rounds.shards,
            ratio_max: RATIO_MAX,
            export,
            comparisons: (0..MEASURE_COUNT).map(compare).collect(),
            without: without.phase.told(),
            with: with.phase.told(),
            without_rounds: without.told,
            with_rounds: with.told,
            comes_first: setup.generators_first,
            pinning: circumstances.pinning.clone(),
            machine: circumstances.machine.clone(),
            verdict: Verdict::Pass,
            reasons: Vec::new(),
        };
        report.judge(is_well);
        report
    }

    fn judge(&mut self, is_well: bool) {
        let mut faults = self.faults(is_well);
        let (mut slow, mut unjudged) = (Vec::new(), Vec::new());
        // A log that answers wakes a shard before its next turn is due, so with few users those in the middle are
        // served earlier than beside a log that is silent. One in a hundred tells whether a shard waits.
        for comparison in self.comparisons.iter().filter(|it| it.is_of_a_second()) {
            let name = comparison.name();
            match comparison.server_ratio {
                None => slow.push(format!("{name}: nothing was heard in a round")),
                Some(_) if comparison.lateness > LATENESS_MAX => {
                    unjudged
                        .push(format!("{name} tells of generators, which were late themselves"));
                }
                Some(ratio) if ratio > RATIO_MAX => {
                    slow.push(format!(
                        "{name} is {ratio:.2} times that without, bound {RATIO_MAX}"
                    ));
                }
                Some(_) => {}
            }
        }
        let busy = self.with.generator_cpu.max(self.without.generator_cpu);
        if busy > GENERATOR_CPU_MAX {
            unjudged.push(format!("a generator took {:.0} % of its core", busy * 100.0));
        }
        self.verdict = if !faults.is_empty() {
            Verdict::Fail
        } else if !unjudged.is_empty() {
            Verdict::GeneratorBound
        } else if !slow.is_empty() {
            Verdict::Fail
        } else {
            Verdict::Pass
        };
        faults.extend(unjudged);
        faults.extend(slow);
        self.reasons = faults;
    }

    /// What may not be, however long anything took.
    fn faults(&self, is_well: bool) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |broken: bool, words: String| {
            if broken {
                faults.push(words);
            }
        };
        check(!is_well, "the server did not serve to the end, or did not end well".to_owned());
        let both = [
            ("without the stall", &self.without, &self.without_rounds),
            ("with it", &self.with, &self.with_rounds),
        ];
        for (name, phase, rounds) in both {
            let SetReport { lost, unread, unanswered, durable, .. } = rounds.sets;
            check(phase.lost > 0, format!("{name}, {} lines or sets lost", phase.lost));
            check(phase.disconnects > 0, format!("{name}, {} were cut", phase.disconnects));
            check(!phase.refused.is_empty(), format!("{name}, refused: {:?}", phase.refused));
            check(lost > 0, format!("{name}, {lost} objects are not what was acknowledged"));
            check(
                unread + unanswered > 0,
                format!("{name}, {unanswered} sets unanswered, {unread} objects unread"),
            );
            check(durable == 0, format!("{name}, nothing became durable"));
        }
        let commits = self.with_rounds.log_commits;
        let rounds = self.with_rounds.stalled_s.len() as u64;
        match self.stalled {
            Stalled::Disk => check(
                commits > rounds * STALLED_COMMITS_MAX,
                format!("{commits} commits while the disk stood still: it did not"),
            ),
            Stalled::Postgres => check(commits == 0, "no commits with the stall".to_owned()),
        }
        check(self.without_rounds.log_commits == 0, "no commits without the stall".to_owned());
        let exported = self.exported_commits();
        faults.extend(self.export.iter().flat_map(|export| export.faults(exported)));
        faults
    }

    /// Commits that were exported in the measured parts without the stall and with it.
    fn exported_commits(&self) -> [u64; 2] {
        [&self.without_rounds, &self.with_rounds].map(|rounds| rounds.exported_commits)
    }

    /// The table for the terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut row = |label: &str, value: String| {
            let _ = writeln!(text, "{label:<26}{value}");
        };
        let Self { users, period_ms, set_period_ms, .. } = self;
        let stalled = match self.stalled {
            Stalled::Disk => format!("the disk: {}, frozen", self.file_system),
            Stalled::Postgres => "Postgres: all of its processes, stopped".to_owned(),
        };
        row("stalled", stalled);
        row(
            "users",
            format!(
                "{users} in chat, a line every {period_ms} ms and a set every {set_period_ms} ms"
            ),
        );
        row("priority", ab::priority_words(self.comes_first).to_owned());
        row("without the stall", quantiles(self.without.latency_us));
        row("with it", quantiles(self.with.latency_us));
        for comparison in &self.comparisons {
            let judged = if comparison.is_of_a_second() { "" } else { "; not judged" };
            row(
                &format!("  ratio of {}", comparison.name()),
                format!("{}{judged}", comparison.words()),
            );
        }
        row("  bound", format!("{RATIO_MAX:.2} without lateness"));
        let both = [("without", &self.without_rounds), ("with", &self.with_rounds)];
        for (name, rounds) in both {
            row(&format!("sets, {name}"), set_words(&rounds.sets));
            row("  applied", quantiles(rounds.sets.applied_latencies.percentiles_us()));
            row("  durable", quantiles(rounds.sets.durable_latencies.percentiles_us()));
            row("  commits of the log", format!("{}", rounds.log_commits));
            row("  turns", turn_words(&rounds.turns));
        }
        let stalled = self.with_rounds.stalled_s.iter().map(|s| format!("{s:.2}"));
        row("stood still", format!("{} s", stalled.collect::<Vec<String>>().join(", ")));
        let exported = self.exported_commits();
        for (label, value) in self.export.iter().flat_map(|export| export.rows(exported)) {
            row(label, value);
        }
        row(
            "generators",
            format!("{:.2} cores, then {:.2}", self.without.generator_cpu, self.with.generator_cpu),
        );
        row(
            "others' CPU",
            format!(
                "{:.2} cores, then {:.2}",
                self.without.foreign_cpu_cores, self.with.foreign_cpu_cores
            ),
        );
        let _ = writeln!(text, "verdict: {}", self.verdict.label());
        for reason in &self.reasons {
            let _ = writeln!(text, "  {reason}");
        }
        text
    }
}

fn quantiles(latency: Option<Percentiles>) -> String {
    match latency {
        Some(Percentiles { p50, p90, p99, max, .. }) => {
            format!("p50 {p50:.0} us, p90 {p90:.0}, p99 {p99:.0}, max {max:.0}")
        }
        None => "nothing measured".to_owned(),
    }
}

fn set_words(sets: &SetReport) -> String {
    let SetReport { sent, acknowledged, durable, lost, read_back, .. } = sets;
    let unanswered = sets.unanswered;
    format!(
        "{acknowledged} of {sent} acknowledged, {durable} durable, {unanswered} unanswered; {read_back} objects read, {lost} lost"
    )
}

/// The longest of all rounds, and how many were long.
fn turn_words(turns: &[LongTurns]) -> String {
    let count: u64 = turns.iter().map(|round| round.turns).sum();
    let is_endless = turns.iter().any(|round| round.longest_us_max.is_none());
    let longest = turns.iter().filter_map(|round| round.longest_us_max).fold(0.0, f64::max);
    let longest = if is_endless {
        "beyond all buckets".to_owned()
    } else {
        format!("within {longest:.0} us")
    };
    let above =
        |us: u64| turns.iter().filter_map(|round| round.longer_than_us.get(&us)).sum::<u64>();
    format!(
        "{count}, the longest {longest}; {} above 2 ms, {} above 8 ms",
        above(2_048),
        above(8_192)
    )
}

#[cfg(test)]
mod tests;
