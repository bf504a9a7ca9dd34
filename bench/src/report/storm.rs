//! What a report tells of a storm.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::histogram::Percentiles;
use crate::html::figure;
use crate::phase::storm::Weathered;
use crate::profile::storm::Storm;
use crate::turn_times::LongTurns;

/// How everyone came back.
#[derive(Clone, Debug, Serialize)]
pub struct StormReport {
    /// Users came back at times drawn from so many seconds after the cut.
    pub window_s: f64,
    /// By then all were to be back and have heard what they missed, in seconds after the cut.
    pub bound_all_back_s: f64,
    /// Users who came back.
    pub users_back: u32,
    /// Users who did not.
    pub users_missing: u32,
    /// When the last was back, in seconds after the cut; nothing when not all were.
    pub all_back_s: Option<f64>,
    /// Users who came back and did not hear all that they missed.
    pub users_behind: u32,
    /// When the last had heard all that it missed, in seconds after the cut; nothing when not all were back
    /// and had. The bound is on this.
    pub all_caught_up_s: Option<f64>,
    /// Resumes that were refused, and connections that ended before an answer, by reason. Most are
    /// tried again.
    pub refusals: BTreeMap<String, u64>,
    /// Messages that were told again.
    pub replayed: u64,
    /// Lines that were due while their speakers were away, and said when they were back.
    pub lines_held: u64,
    /// Lines that had no answer at the cut, and were said again.
    pub lines_said_again: u64,
    /// Latency of lines that were neither held nor told again, in microseconds.
    pub line_latency_us: Option<Percentiles>,
    /// CPU of the server from the cut until all were back, for each of them, in microseconds: chat is in
    /// it.
    pub server_cpu_us_per_resume: Option<f64>,
    /// The highest share of a core that its generators took meanwhile.
    pub generator_cpu: f64,
    /// The most memory of the server until the cut, in bytes.
    pub memory_peak_before_bytes: Option<u64>,
    /// The most from the cut on.
    pub memory_peak_bytes: Option<u64>,
    /// Turns of the server from the cut until all were back.
    pub turns: Option<LongTurns>,
    /// What is not known of the server, and why.
    pub missing: Vec<String>,
}

impl StormReport {
    /// What a phase says, if its users were cut.
    #[must_use]
    pub fn of(storm: Option<Storm>, weathered: Option<&Weathered>) -> Option<Self> {
        Some(Self::new(storm?, weathered?))
    }

    fn new(storm: Storm, weathered: &Weathered) -> Self {
        let report = &weathered.report;
        let peaks = weathered.memory_peaks.as_ref().ok();
        let peak = |at: usize| peaks.map(|peaks| peaks[at].resident_bytes);
        let unknown = [weathered.memory_peaks.as_ref().err(), weathered.turns.as_ref().err()];
        Self {
            window_s: storm.window_ns as f64 / 1e9,
            bound_all_back_s: storm.bound_all_back_ns as f64 / 1e9,
            users_back: report.back,
            users_missing: weathered.missing,
            all_back_s: (weathered.missing == 0).then_some(weathered.all_back_ns as f64 / 1e9),
            users_behind: weathered.behind,
            all_caught_up_s: (weathered.missing + weathered.behind == 0)
                .then_some(weathered.all_caught_up_ns as f64 / 1e9),
            refusals: report.refusals.clone(),
            replayed: report.replayed,
            lines_held: report.lines_held,
            lines_said_again: report.lines_said_again,
            line_latency_us: report.line_latencies.percentiles_us(),
            server_cpu_us_per_resume: weathered.server_cpu_us_per_resume(),
            generator_cpu: weathered.generator_cpu,
            memory_peak_before_bytes: peak(0),
            memory_peak_bytes: peak(1),
            turns: weathered.turns.clone().ok(),
            missing: unknown.into_iter().flatten().cloned().collect(),
        }
    }

    /// When all were back, in words.
    #[must_use]
    pub fn all_back(&self) -> String {
        match self.all_back_s {
            Some(seconds) => format!("{seconds:.2} s"),
            None => format!("{} missing", self.users_missing),
        }
    }

    /// When all had heard what they missed, in words.
    #[must_use]
    pub fn all_caught_up(&self) -> String {
        match (self.all_caught_up_s, self.users_behind) {
            (Some(seconds), _) => format!("{seconds:.2} s"),
            (None, 0) => self.all_back(),
            (None, behind) => format!("{behind} behind"),
        }
    }

    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mib = |bytes: Option<u64>| figure(bytes.map(|bytes| bytes as f64 / 1_048_576.0), 1);
        let refusals = self.refusals.iter().map(|(reason, count)| format!("{count} {reason}"));
        let refusals: Vec<String> = refusals.collect();
        let longest = self.turns.as_ref().and_then(|turns| turns.longest_us_max);
        let turns = match longest {
            Some(us) => format!("longest {:.1} ms at most", us / 1e3),
            None => "longest not known".to_owned(),
        };
        vec![
            (
                "all back",
                format!(
                    "{} after the cut, with what they missed {}, bound {} s; {} users came at times \
                     drawn from {} s",
                    self.all_back(),
                    self.all_caught_up(),
                    self.bound_all_back_s,
                    self.users_back,
                    self.window_s
                ),
            ),
            ("refused on the way", super::table::or_none(&refusals)),
            (
                "lines",
                format!(
                    "{} told again, {} held while away, {} said again without an answer",
                    self.replayed, self.lines_held, self.lines_said_again
                ),
            ),
            ("line latency", super::table::percentiles(self.line_latency_us)),
            (
                "server in the storm",
                format!(
                    "{} us CPU a resume, turns {turns}, memory at most {} MiB before and {} from \
                     the cut on",
                    figure(self.server_cpu_us_per_resume, 1),
                    mib(self.memory_peak_before_bytes),
                    mib(self.memory_peak_bytes)
                ),
            ),
            ("generator in the storm", format!("{:.0} % of its core", self.generator_cpu * 100.0)),
        ]
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "latency is of resumes, from the time that was drawn to the answer".to_owned(),
            "no floor: bare sockets have no sessions to come back to".to_owned(),
        ];
        notes.extend(self.missing.iter().map(|why| format!("of the storm is not known: {why}")));
        notes
    }
}
