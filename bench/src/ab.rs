//! Two servers compared: the same load on one after the other, turn by turn, so that what the
//! machine does meanwhile meets both. Pure: figures in, a table and JSON out.

mod html;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::phase::Outcome;
use crate::profile::Profile;
use crate::report::{Circumstances, played};
use crate::verdict::{Judgement, Verdict, judge};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The one that is compared with.
    Old,
    /// The one that is compared.
    New,
}

impl Side {
    /// The word in the report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// Who had the cores of a run.
#[must_use]
pub(crate) fn priority_words(comes_first: bool) -> &'static str {
    if comes_first {
        "shards and generators before everyone else on their cores (SCHED_FIFO)"
    } else {
        "no priority: not permitted"
    }
}

/// How a report names one of the two: its program, and what was set in its configuration.
#[must_use]
pub fn named(program: &Path, settings: &[(String, String)]) -> String {
    let mut name = program.display().to_string();
    for (key, value) in settings {
        // Writing to a String cannot fail.
        let _ = write!(name, " {key}={value}");
    }
    name
}

/// Who comes when: in pairs, of which every other begins with the new one, so that neither gains by
/// its place.
pub fn order(runs: u32) -> impl Iterator<Item = Side> {
    (0..runs).flat_map(|pair| match pair % 2 {
        0 => [Side::Old, Side::New],
        _ => [Side::New, Side::Old],
    })
}

/// What a run has shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Whose.
    pub side: Side,
    /// CPU of the server for each user and second, in microseconds.
    pub server_cpu_us_per_user_s: Option<f64>,
    /// Median latency, in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency, in microseconds.
    pub p99_us: Option<f64>,
    /// What each user has added to the server's own memory, in bytes.
    pub server_memory_per_session_bytes: Option<f64>,
    /// Connections in TLS at the end of the measured part, as the server counts them.
    pub server_tls_connections: Option<u64>,
    /// The highest share of a core that the generators took.
    pub generator_cpu: f64,
    /// CPU that others took on the cores of the run, in cores.
    pub foreign_cpu_cores: Option<f64>,
    /// Whether the bound was held.
    pub verdict: Verdict,
    /// Every rule that was broken.
    pub reasons: Vec<String>,
}

impl Run {
    /// What a phase says.
    #[must_use]
    pub fn new(side: Side, profile: &Profile, users: u32, outcome: &Outcome) -> Self {
        let Judgement { verdict, reasons, .. } = judge(profile, &outcome.evidence());
        let latency = outcome.latencies.percentiles_us();
        let memory = outcome.memory.as_ref().ok();
        let work = outcome.server_work.as_ref().ok();
        Self {
            side,
            server_cpu_us_per_user_s: outcome.server_cpu_us_per_user_s(users),
            p50_us: latency.map(|latency| latency.p50),
            p99_us: latency.map(|latency| latency.p99),
            server_memory_per_session_bytes: memory.map(|memory| memory.per_session_bytes(users)),
            server_tls_connections: work.map(|work| work.tls_connections),
            generator_cpu: outcome.generator_cpu,
            foreign_cpu_cores: outcome.foreign_cores,
            verdict,
            reasons,
        }
    }
}

/// One figure of both servers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Median of the old one's runs.
    pub old: f64,
    /// Median of the new one's runs.
    pub new: f64,
    /// New to old, the median over pairs of runs.
    pub ratio: f64,
    /// The least of these ratios.
    pub ratio_min: f64,
    /// The greatest.
    pub ratio_max: f64,
}

/// The comparison of two servers.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The profile's name.
    pub profile: String,
    /// Number of users.
    pub users: u32,
    /// What was spoken.
    pub protocol: &'static str,
    /// Whether in TLS.
    pub tls: bool,
    /// Shards of the servers.
    pub shards: Option<u16>,
    /// The measured part of each run, in seconds.
    pub duration_s: u32,
    /// The same load before, in seconds.
    pub warm_up_s: u32,
    /// The program of each side, and what was set for it.
    pub programs: [String; 2],
    /// Shards and generators had their cores before everyone else who wanted them.
    pub comes_first: bool,
    /// All runs, in their order.
    pub runs: Vec<Run>,
    /// CPU of the server for each user and second, in microseconds.
    pub server_cpu_us_per_user_s: Option<Figure>,
    /// Median latency, in microseconds.
    pub p50_us: Option<Figure>,
    /// 99th percentile of the latency, in microseconds.
    pub p99_us: Option<Figure>,
    /// What each user has added to the server's own memory, in bytes.
    pub server_memory_per_session_bytes: Option<Figure>,
    /// The worst of all runs.
    pub verdict: Verdict,
    /// How to run it again.
    pub command: String,
    /// What was played and on what, for the page.
    #[serde(skip)]
    pub load: Vec<(&'static str, String)>,
}

impl Comparison {
    /// Puts the figures of all runs together.
    #[must_use]
    pub fn new(
        circumstances: &Circumstances,
        programs: [String; 2],
        comes_first: bool,
        runs: Vec<Run>,
    ) -> Self {
        let figure = |figure: fn(&Run) -> Option<f64>| compare(&runs, figure);
        let any = |verdict| runs.iter().any(|run| run.verdict == verdict);
        let worst = [Verdict::Fail, Verdict::GeneratorBound].into_iter().find(|it| any(*it));
        Self {
            profile: circumstances.profile.name.clone(),
            users: circumstances.users,
            protocol: circumstances.protocol,
            tls: circumstances.tls,
            shards: circumstances.shards,
            duration_s: circumstances.duration_s,
            warm_up_s: circumstances.warm_up_s,
            programs,
            comes_first,
            server_cpu_us_per_user_s: figure(|run| run.server_cpu_us_per_user_s),
            p50_us: figure(|run| run.p50_us),
            p99_us: figure(|run| run.p99_us),
            server_memory_per_session_bytes: figure(|run| run.server_memory_per_session_bytes),
            verdict: worst.unwrap_or(Verdict::Pass),
            command: std::env::args().collect::<Vec<String>>().join(" "),
            runs,
            load: played(circumstances),
        }
    }

    /// The page: one file that stands alone.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// The table for the terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = format!(
            "{} over {}{}, {} users on {} shards, {} s after {} s\n{}\nold {}\nnew {}\n\n\
             run  server  CPU us/user/s    p50 ms    p99 ms  KiB/session  others  verdict\n",
            self.profile,
            self.protocol,
            if self.tls { " in TLS" } else { "" },
            self.users,
            self.shards.unwrap_or_default(),
            self.duration_s,
            self.warm_up_s,
            priority_words(self.comes_first),
            self.programs[0],
            self.programs[1],
        );
        for (run, number) in self.runs.iter().zip(1..) {
            let cells = row(
                run.server_cpu_us_per_user_s,
                run.p50_us,
                run.p99_us,
                run.server_memory_per_session_bytes,
            );
            let others = cell(run.foreign_cpu_cores, 2);
            let (side, verdict) = (run.side.label(), run.verdict.label());
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{number:>3}  {side:<6}  {cells}  {others:>6}  {verdict}");
            for reason in &run.reasons {
                let _ = writeln!(text, "       {reason}");
            }
        }
        let figures = [
            self.server_cpu_us_per_user_s,
            self.p50_us,
            self.p99_us,
            self.server_memory_per_session_bytes,
        ];
        for (label, value) in [("old", (|it| it.old) as fn(Figure) -> f64), ("new", |it| it.new)] {
            let [cpu, p50, p99, memory] = figures.map(|figure| figure.map(value));
            let _ = writeln!(text, "median {label}  {}", row(cpu, p50, p99, memory));
        }
        text.push_str("\nnew to old, median of pairs (least..greatest)\n");
        for (name, figure) in ["CPU", "p50", "p99", "memory"].into_iter().zip(figures) {
            let ratio = figure.map_or("not known".to_owned(), |figure| {
                let Figure { ratio, ratio_min, ratio_max, .. } = figure;
                format!("{ratio:.3} ({ratio_min:.3}..{ratio_max:.3})")
            });
            let _ = writeln!(text, "{name:<8}{ratio}");
        }
        let _ = writeln!(text, "\nverdict: {}", self.verdict.label());
        text
    }
}

fn row(cpu: Option<f64>, p50: Option<f64>, p99: Option<f64>, memory: Option<f64>) -> String {
    let thousandth = |us: Option<f64>| cell(us.map(|us| us / 1e3), 3);
    let kib = cell(memory.map(|bytes| bytes / 1024.0), 2);
    let cpu = cell(cpu, 3);
    format!("{cpu:>13}  {:>8}  {:>8}  {kib:>11}", thousandth(p50), thousandth(p99))
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// A figure that every run has, compared pair by pair; nothing when a run lacks it.
fn compare(runs: &[Run], figure: fn(&Run) -> Option<f64>) -> Option<Figure> {
    let of = |side| -> Option<Vec<f64>> {
        runs.iter().filter(|run| run.side == side).map(figure).collect()
    };
    let (old, new) = (of(Side::Old)?, of(Side::New)?);
    let ratios: Vec<f64> = old.iter().zip(&new).map(|(old, new)| new / old).collect();
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    let extreme = |pick: fn(f64, f64) -> f64| ratios.iter().copied().reduce(pick);
    Some(Figure {
        old: median(&old)?,
        new: median(&new)?,
        ratio: median(&ratios)?,
        ratio_min: extreme(f64::min)?,
        ratio_max: extreme(f64::max)?,
    })
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests;
