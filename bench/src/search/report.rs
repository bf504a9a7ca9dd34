//! What a search has found: every step of it, as a table that grows and as JSON.

use serde::Serialize;

use super::bracket::{Aim, Bracket};
use crate::machine::Machine;
use crate::phase::Outcome;
use crate::pinning::Pinning;
use crate::profile::Profile;
use crate::report::{Circumstances, played};
use crate::verdict::{Judgement, Limit, Verdict, judge};

/// One try of a number of users.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The number.
    pub users: u32,
    /// What came of it.
    pub verdict: Verdict,
    /// What kept it from being held.
    pub limited_by: Option<Limit>,
    /// Every rule that was broken.
    pub reasons: Vec<String>,
    /// Median latency, in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency, in microseconds.
    pub p99_us: Option<f64>,
    /// CPU of the server for each user and second, in microseconds.
    pub server_cpu_us_per_user_s: Option<f64>,
    /// CPU of the server in cores.
    pub server_cpu_cores: Option<f64>,
    /// The highest share of a core that the generators took.
    pub generator_cpu: Option<f64>,
    /// CPU that others took on the cores of the run, in cores.
    pub foreign_cpu_cores: Option<f64>,
    /// How long the step took, in seconds.
    pub elapsed_s: f64,
}

impl Step {
    /// What a phase with so many users says.
    #[must_use]
    pub fn new(profile: &Profile, users: u32, outcome: &Outcome, elapsed_s: f64) -> Self {
        let Judgement { verdict, limited_by, reasons } = judge(profile, &outcome.evidence());
        let latency = outcome.latencies.percentiles_us();
        Self {
            users,
            verdict,
            limited_by,
            reasons,
            p50_us: latency.map(|latency| latency.p50),
            p99_us: latency.map(|latency| latency.p99),
            server_cpu_us_per_user_s: outcome.server_cpu_us_per_user_s(users),
            server_cpu_cores: outcome.server_cores(),
            generator_cpu: Some(outcome.generator_cpu),
            foreign_cpu_cores: outcome.foreign_cores,
            elapsed_s,
        }
    }

    /// Not all of so many users came in, for this reason.
    #[must_use]
    pub fn not_entered(users: u32, reason: String, elapsed_s: f64) -> Self {
        Self {
            users,
            verdict: Verdict::Fail,
            limited_by: Some(Limit::Entry),
            reasons: vec![reason],
            p50_us: None,
            p99_us: None,
            server_cpu_us_per_user_s: None,
            server_cpu_cores: None,
            generator_cpu: None,
            foreign_cpu_cores: None,
            elapsed_s,
        }
    }

    /// Whether the number was held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// The row of the table, and why the number was not held.
    #[must_use]
    pub fn to_row(&self) -> String {
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let ms = |us: Option<f64>| cell(us.map(|us| us / 1e3), 3);
        let mut row = format!(
            "{:>8}  {:>10}  {:>10}  {:>13}  {:>12}  {:>9}  {:>6}  {}\n",
            self.users,
            ms(self.p50_us),
            ms(self.p99_us),
            cell(self.server_cpu_us_per_user_s, 3),
            cell(self.server_cpu_cores, 2),
            cell(self.generator_cpu, 2),
            cell(self.foreign_cpu_cores, 2),
            if self.is_held() { "held" } else { "not held" },
        );
        for reason in &self.reasons {
            row.push_str(&format!("{:>8}  {reason}\n", ""));
        }
        row
    }
}

/// The first line of the table.
pub const HEADER: &str =
    "   users      p50 ms      p99 ms  CPU us/user/s  server cores  generator  others\n";

/// The most that can be tried, and what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Number of users.
    pub users: u32,
    /// What bounds it.
    pub limit: Limit,
}

/// What a search has found, and on what it rests.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The profile's name.
    pub profile: String,
    /// The highest number of users that was held.
    pub users_held: Option<u32>,
    /// That number for each of the server's cores.
    pub users_per_core: Option<f64>,
    /// What kept more from being held, or from being tried.
    pub limited_by: Limit,
    /// In words, when more were tried.
    pub limit_reasons: Vec<String>,
    /// The lowest number of users that was not held.
    pub users_not_held: Option<u32>,
    /// Whether the two came as near as they were to.
    pub finished: bool,
    /// How the search was to go.
    pub aim: Aim,
    /// Every step in its order.
    pub steps: Vec<Step>,
    /// How long all of them took, in seconds.
    pub elapsed_s: f64,
    /// The measured part of a step, in seconds.
    pub duration_s: f64,
    /// The same load before, in seconds.
    pub warm_up_s: f64,
    /// Messages a second of one user.
    pub message_rate_hz: f64,
    /// How many others hear a message, of the number that was held.
    pub neighbours: u32,
    /// Bytes of text in a message.
    pub payload_bytes: usize,
    /// Ticks a second, where there are ticks.
    pub tick_hz: Option<u32>,
    /// Longest 99th percentile of the latency, in milliseconds.
    pub bound_ms: f64,
    /// Longest median of the latency, in milliseconds, where there is a bound.
    pub bound_p50_ms: Option<f64>,
    /// What was spoken.
    pub protocol: &'static str,
    /// Whether in TLS.
    pub tls: bool,
    /// Shards of the server, if they are known.
    pub shards: Option<u16>,
    /// Which cores were whose in the last step.
    pub pinning: Pinning,
    /// What it was measured on.
    pub machine: Machine,
    /// What was played and on what, in words.
    #[serde(skip)]
    pub played: Vec<(&'static str, String)>,
    /// How to run it again.
    pub command: String,
}

impl Found {
    /// Puts the steps together. The circumstances are those of the highest number that was held.
    ///
    /// # Panics
    /// When there was no step.
    #[must_use]
    pub fn new(
        circumstances: &Circumstances,
        (aim, bracket): (Aim, Bracket),
        most: Most,
        steps: Vec<Step>,
    ) -> Self {
        let profile = &circumstances.profile;
        let held = bracket.held();
        let (limited_by, limit_reasons) = limit(bracket, most, &steps);
        let cores = match &circumstances.pinning.server[..] {
            [] => circumstances.shards.map(f64::from),
            cores => Some(cores.len() as f64),
        };
        let cores = cores.filter(|cores| *cores > 0.0);
        Self {
            profile: profile.name.clone(),
            users_held: held,
            users_per_core: held.and_then(|users| Some(f64::from(users) / cores?)),
            limited_by,
            limit_reasons,
            users_not_held: bracket.broken(),
            finished: bracket.next(most.users).is_none(),
            aim,
            elapsed_s: steps.iter().map(|step| step.elapsed_s).sum(),
            steps,
            duration_s: f64::from(circumstances.duration_s),
            warm_up_s: f64::from(circumstances.warm_up_s),
            message_rate_hz: profile.message_rate_hz(),
            neighbours: profile.neighbours(),
            payload_bytes: profile.payload_bytes,
            tick_hz: profile.tick_hz,
            bound_ms: profile.bound_p99_ns as f64 / 1e6,
            bound_p50_ms: profile.bound_p50_ns.map(|bound_ns| bound_ns as f64 / 1e6),
            protocol: circumstances.protocol,
            tls: circumstances.tls,
            shards: circumstances.shards,
            pinning: circumstances.pinning.clone(),
            machine: circumstances.machine.clone(),
            played: played(circumstances),
            command: std::env::args().collect::<Vec<String>>().join(" "),
        }
    }

    /// Pass when any number was held.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.users_held, self.limited_by) {
            (Some(_), _) => Verdict::Pass,
            (None, Limit::Generator) => Verdict::GeneratorBound,
            (None, _) => Verdict::Fail,
        }
    }

    /// What the table ends with.
    #[must_use]
    pub fn to_text(&self) -> String {
        let limit = self.limited_by.label();
        let mut text = match self.users_held {
            None => format!("\nno number of users was held, limited by {limit}\n"),
            Some(users) => format!("\n{users} users held, more limited by {limit}\n"),
        };
        for reason in &self.limit_reasons {
            text.push_str(&format!("  {reason}\n"));
        }
        if let Some(users) = self.users_per_core {
            text.push_str(&format!("{users:.0} users per core\n"));
        }
        if self.pinning.shared {
            text.push_str("note: generators share the server's cores: there are no others\n");
        }
        if !self.finished {
            text.push_str("note: the time was over before the ends of the bracket were near\n");
        }
        text
    }
}

/// What kept more from being held: what the lowest number that was not held broke; else what bounds
/// the numbers; else the time.
fn limit(bracket: Bracket, most: Most, steps: &[Step]) -> (Limit, Vec<String>) {
    let last = steps.last().expect("a search has steps");
    let broken = match bracket.broken() {
        Some(users) => steps.iter().rfind(|step| step.users == users && !step.is_held()),
        None => Some(last).filter(|step| !step.is_held()),
    };
    match broken {
        Some(step) => (step.limited_by.unwrap_or(Limit::Time), step.reasons.clone()),
        None if bracket.next(most.users).is_none() => (most.limit, Vec::new()),
        None => (Limit::Time, Vec::new()),
    }
}
