//! The report: JSON with keys that stay, and a table with the same figures.

pub mod ai;
mod html;
pub mod seconds;
pub mod sets;
pub mod storm;
mod table;
pub mod worlds;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::seconds::{Second, seconds};
use self::sets::SetsReport;
use self::storm::StormReport;
use self::worlds::WorldsReport;
use crate::cpu::ThreadUse;
use crate::histogram::Percentiles;
use crate::machine::Machine;
use crate::memory;
use crate::metrics::{Counts, Work};
use crate::phase::Outcome;
use crate::pinning::Pinning;
use crate::profile::{Activity, Profile};
use crate::verdict::{Judgement, Limit, Verdict, judge};

/// What was measured, how, and what it shows.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The profile's name.
    pub profile: String,
    /// What was measured: `server` or `floor`.
    pub subject: &'static str,
    /// Number of users.
    pub users: u32,
    /// The measured part, in seconds.
    pub duration_s: f64,
    /// The same load before, in seconds.
    pub warm_up_s: f64,
    /// Messages a second of one user.
    pub message_rate_hz: f64,
    /// How many others hear a message.
    pub neighbours: u32,
    /// Bytes of text in a message.
    pub payload_bytes: usize,
    /// Ticks a second, where there are ticks.
    pub tick_hz: Option<u32>,
    /// Longest 99th percentile of the latency, in milliseconds.
    pub bound_ms: f64,
    /// Longest median of the latency, in milliseconds, where there is a bound.
    pub bound_p50_ms: Option<f64>,
    /// Latency from intended send to each member, in microseconds.
    pub latency_us: Option<Percentiles>,
    /// Fractions of all deliveries, and the latency in microseconds that each stays within.
    pub latency_curve_us: Vec<(f64, f64)>,
    /// Share of the heard messages whose latency was recorded.
    pub latency_sample: f64,
    /// CPU of the server for each user and second, in microseconds.
    pub server_cpu_us_per_user_s: Option<f64>,
    /// Users held on each of the server's cores; only when they were held.
    pub users_per_core: Option<f64>,
    /// What kept them from being held, or from being told.
    pub limited_by: Option<Limit>,
    /// CPU of the server in proportion to that of the floor, in this run.
    pub floor_ratio: Option<f64>,
    /// Deliveries that were not made.
    pub lost: u64,
    /// Deliveries that were made again.
    pub duplicated: u64,
    /// Messages whose text, speaker, room or time is not what was said.
    pub corrupted: u64,
    /// Messages whose number in the room was not the next.
    pub out_of_order: u64,
    /// Rooms whose members heard different orders.
    pub rooms_disagreeing: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// Time between two signs of life, in milliseconds.
    pub heartbeat_ms: u64,
    /// Heartbeats of the server, and answers to signs of life that are not measured.
    pub heartbeats: u64,
    /// Heartbeats that were due and did not come.
    pub heartbeats_missing: u64,
    /// Heartbeats that came and were not due.
    pub heartbeats_surplus: u64,
    /// Room messages about who came and went, how many there are, and what became of objects.
    pub presence: u64,
    /// Messages refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The highest share of a core that its generators took.
    pub generator_cpu: f64,
    /// Lateness of the generators' sends, in microseconds.
    pub generator_lateness_us: Option<Percentiles>,
    /// Whether the bound was held.
    pub verdict: Verdict,
    /// Every rule that was broken.
    pub reasons: Vec<String>,
    /// Messages said in the whole run; in `idle`, pings.
    pub messages_sent: u64,
    /// Deliveries in the whole run; in `idle`, answers.
    pub deliveries: u64,
    /// Deliveries whose latency was recorded.
    pub deliveries_measured: u64,
    /// What was spoken.
    pub protocol: &'static str,
    /// Whether it was spoken in TLS with the server; never with the floor.
    pub tls: bool,
    /// Connections in TLS at the end of the measured part, as the server counts them.
    pub server_tls_connections: Option<u64>,
    /// Shards of the server, if they are known.
    pub shards: Option<u16>,
    /// Heap allocations of the shard threads for each message from a client.
    pub server_allocations_per_message: Option<f64>,
    /// Ring enters of the server for each message from a client.
    pub server_ring_enters_per_message: Option<f64>,
    /// Ring enters of the server for each message that it handed to a connection.
    pub server_ring_enters_per_delivery: Option<f64>,
    /// Turns a second of all shards together.
    pub server_turns_per_s: Option<f64>,
    /// What the server counted in the measured part.
    pub server_counts: Option<Counts>,
    /// Why it is not known what the server counted.
    pub server_counts_missing: Option<String>,
    /// How long turns took: ends of buckets in microseconds, none of the last, and the turns in each.
    pub server_turn_times: Vec<(Option<f64>, u64)>,
    /// What members of worlds were told, where there are worlds.
    pub worlds: Option<WorldsReport>,
    /// What users set, where they do.
    pub sets: Option<SetsReport>,
    /// The measured part second by second.
    pub seconds: Vec<Second>,
    /// What users cost in memory.
    #[serde(flatten)]
    pub memory: MemoryReport,
    /// CPU of the server in cores.
    pub server_cpu_cores: Option<f64>,
    /// CPU of the server by thread name.
    pub server_threads: Vec<ThreadUse>,
    /// CPU that others took on the cores of the run, in cores: interrupts, the kernel, strangers.
    pub foreign_cpu_cores: Option<f64>,
    /// From the first connect until all were in their rooms, in seconds.
    pub ramp_s: f64,
    /// How users came back, if they were cut.
    pub storm: Option<StormReport>,
    /// Which cores were whose.
    pub pinning: Pinning,
    /// What it was measured on.
    pub machine: Machine,
    /// What was played and on what, in words.
    #[serde(skip)]
    pub played: Vec<(&'static str, String)>,
    /// How to run it again.
    pub command: String,
    /// The floor of the same run.
    pub floor: Option<FloorReport>,
}

/// What users cost in memory.
#[derive(Debug, Serialize)]
pub struct MemoryReport {
    /// What each user has added to the server's own memory, in bytes.
    pub server_memory_per_session_bytes: Option<f64>,
    /// What each has added to the buffers of the kernel's sockets, at both ends, in bytes.
    pub kernel_memory_per_connection_bytes: Option<f64>,
    /// The server's memory before the first connection, with all of them, and at the end.
    pub server_memory: Option<memory::Course>,
    /// Where memory was read, or why it was not.
    pub server_memory_source: String,
}

impl MemoryReport {
    fn new(users: u32, course: std::result::Result<&memory::Course, &String>) -> Self {
        let known = course.ok();
        Self {
            server_memory_per_session_bytes: known.map(|it| it.per_session_bytes(users)),
            kernel_memory_per_connection_bytes: known
                .map(|it| it.kernel_per_connection_bytes(users)),
            server_memory: known.copied(),
            server_memory_source: course.err().map_or(memory::SOURCE, |why| why).to_owned(),
        }
    }
}

/// What is told of the floor.
#[derive(Clone, Debug, Serialize)]
pub struct FloorReport {
    /// CPU of the bare server for each user and second, in microseconds.
    pub server_cpu_us_per_user_s: Option<f64>,
    /// What each user has added to the bare server's own memory, in bytes.
    pub server_memory_per_session_bytes: Option<f64>,
    /// Latency, in microseconds.
    pub latency_us: Option<Percentiles>,
    /// Fractions of all deliveries, and the latency in microseconds that each stays within.
    pub latency_curve_us: Vec<(f64, f64)>,
    /// The highest share of a core that its generators took.
    pub generator_cpu: f64,
    /// CPU that others took on the cores of the run, in cores.
    pub foreign_cpu_cores: Option<f64>,
    /// The floor's own verdict.
    pub verdict: Verdict,
    /// Every rule that the floor broke.
    pub reasons: Vec<String>,
}

/// How a phase was set up, as far as the report tells.
#[derive(Debug)]
pub struct Circumstances {
    /// The profile.
    pub profile: Profile,
    /// Number of users.
    pub users: u32,
    /// The measured part, in seconds.
    pub duration_s: u32,
    /// The same load before, in seconds.
    pub warm_up_s: u32,
    /// What was spoken.
    pub protocol: &'static str,
    /// Whether in TLS.
    pub tls: bool,
    /// Shards of the server, if they are known.
    pub shards: Option<u16>,
    /// Which cores were whose.
    pub pinning: Pinning,
    /// What it was measured on.
    pub machine: Machine,
}

fn ms(span_ns: u64) -> f64 {
    span_ns as f64 / 1e6
}

/// What a profile is, and on what it is played: message rate, neighbours, payload, tick rate, bound and
/// machine.
#[must_use]
pub fn played(circumstances: &Circumstances) -> Vec<(&'static str, String)> {
    let (profile, machine) = (&circumstances.profile, &circumstances.machine);
    let median = profile.bound_p50_ns.map(|bound_ns| format!("p50 {} ms, ", ms(bound_ns)));
    vec![
        ("message rate", format!("{} Hz a user", profile.message_rate_hz())),
        (
            "neighbours",
            match profile.neighbours() {
                0 if profile.payload_bytes == 0 => "none: users ping, and are answered".to_owned(),
                0 if profile.activity == Activity::Set => {
                    "none: users set objects of their own, with ack=durable".to_owned()
                }
                count if let Some(ai) = profile.ai => {
                    format!("{count} others and {} NPCs in view", ai.npcs())
                }
                count if profile.side_cells.is_some() => format!("{count} others in view"),
                count => format!("{count} others hear each message"),
            },
        ),
        (
            "payload",
            match profile.ai {
                Some(ai) => {
                    let line_s =
                        profile.message_period_ns as f64 * f64::from(ai.moves_per_line) / 1e9;
                    let (moved, said) = (profile.payload_bytes, ai.line_bytes);
                    format!("{moved} B a move, and a line of {said} B every {line_s} s")
                }
                None => match profile.sets.filter(|_| profile.activity == Activity::Move) {
                    Some(sets) => format!(
                        "{} B a move, and a durable set every {} s",
                        profile.payload_bytes,
                        sets.period_ns as f64 / 1e9
                    ),
                    None => format!("{} B", profile.payload_bytes),
                },
            },
        ),
        ("tick rate", profile.tick_hz.map_or("no ticks".to_owned(), |hz| format!("{hz} Hz"))),
        (
            "latency bound",
            match profile.storm {
                Some(storm) => format!(
                    "all back within {} s of a cut, a resume p99 {} ms",
                    ms(storm.bound_all_back_ns) / 1e3,
                    ms(profile.bound_p99_ns)
                ),
                None => {
                    format!("{}p99 {} ms", median.unwrap_or_default(), ms(profile.bound_p99_ns))
                }
            },
        ),
        (
            "machine",
            format!(
                "{}, {} cores, {} MiB, Linux {}",
                machine.cpu, machine.cores, machine.memory_mib, machine.kernel
            ),
        ),
    ]
}

impl FloorReport {
    /// What a phase says of the floor.
    #[must_use]
    pub fn new(circumstances: &Circumstances, outcome: &Outcome) -> Self {
        let Judgement { verdict, reasons, .. } = judge(&circumstances.profile, &outcome.evidence());
        Self {
            server_cpu_us_per_user_s: outcome.server_cpu_us_per_user_s(circumstances.users),
            server_memory_per_session_bytes: outcome
                .memory
                .as_ref()
                .ok()
                .map(|memory| memory.per_session_bytes(circumstances.users)),
            latency_us: outcome.latencies.percentiles_us(),
            latency_curve_us: outcome.latencies.curve_us(),
            generator_cpu: outcome.generator_cpu,
            foreign_cpu_cores: outcome.foreign_cores,
            verdict,
            reasons,
        }
    }
}

impl Report {
    /// Judges a phase and puts its figures together.
    #[must_use]
    pub fn new(
        subject: &'static str,
        circumstances: Circumstances,
        outcome: &Outcome,
        floor: Option<FloorReport>,
    ) -> Self {
        let played = played(&circumstances);
        let Circumstances { profile, users, shards, pinning, .. } = circumstances;
        let Judgement { verdict, limited_by, reasons } = judge(&profile, &outcome.evidence());
        let server_cpu = outcome.server_cpu_us_per_user_s(users);
        let users_per_core = server_users_per_core(verdict, users, (&pinning, shards), outcome);
        let is_unknown = verdict == Verdict::Pass && users_per_core.is_none();
        let (account, counters) = (&outcome.account, &outcome.counters);
        let work = outcome.server_work.as_ref();
        let per = |figure: fn(&Work) -> Option<f64>| work.ok().and_then(figure);
        Self {
            subject,
            users,
            duration_s: f64::from(circumstances.duration_s),
            warm_up_s: f64::from(circumstances.warm_up_s),
            message_rate_hz: profile.message_rate_hz(),
            neighbours: profile.neighbours(),
            payload_bytes: profile.payload_bytes,
            tick_hz: profile.tick_hz,
            bound_ms: ms(profile.bound_p99_ns),
            bound_p50_ms: profile.bound_p50_ns.map(ms),
            worlds: WorldsReport::new(&profile, users, circumstances.duration_s, outcome),
            sets: SetsReport::new(&profile, users, outcome),
            profile: profile.name.clone(),
            latency_us: outcome.latencies.percentiles_us(),
            latency_curve_us: outcome.latencies.curve_us(),
            latency_sample: worlds::latency_sample(&profile, users, outcome),
            server_cpu_us_per_user_s: server_cpu,
            users_per_core,
            limited_by: if is_unknown { Some(Limit::ServerUnknown) } else { limited_by },
            floor_ratio: floor_ratio(verdict, server_cpu, floor.as_ref()),
            lost: account.lost,
            duplicated: account.duplicated,
            corrupted: account.corrupted,
            out_of_order: account.out_of_order,
            rooms_disagreeing: account.rooms_disagreeing,
            disconnects: counters.disconnects,
            heartbeat_ms: profile.heartbeat_ns / 1_000_000,
            heartbeats: counters.heartbeats,
            heartbeats_missing: counters.heartbeats_missing,
            heartbeats_surplus: counters.heartbeats_surplus,
            presence: counters.presence,
            refused: counters.refused.clone(),
            generator_cpu: outcome.generator_cpu,
            generator_lateness_us: outcome.lateness.percentiles_us(),
            verdict,
            reasons,
            messages_sent: account.sent,
            deliveries: account.delivered,
            deliveries_measured: outcome.latencies.count(),
            protocol: circumstances.protocol,
            tls: circumstances.tls,
            server_tls_connections: work.ok().map(|work| work.tls_connections),
            shards,
            server_allocations_per_message: per(Work::allocations_per_message),
            server_ring_enters_per_message: per(Work::ring_enters_per_message),
            server_ring_enters_per_delivery: per(Work::ring_enters_per_delivery),
            server_turns_per_s: per(Work::turns_per_s),
            server_counts: work.ok().map(|work| work.counts),
            server_counts_missing: work.err().cloned(),
            server_turn_times: work.ok().map_or(Vec::new(), |work| work.turn_times.by_bucket()),
            seconds: seconds(&outcome.seconds, &outcome.server_seconds),
            memory: MemoryReport::new(users, outcome.memory.as_ref()),
            server_cpu_cores: outcome.server_cores(),
            server_threads: outcome.server_threads.clone().unwrap_or_default(),
            foreign_cpu_cores: outcome.foreign_cores,
            ramp_s: outcome.ramp_ns as f64 / 1e9,
            storm: StormReport::of(profile.storm, outcome.storm.as_ref()),
            pinning,
            machine: circumstances.machine,
            played,
            command: std::env::args().collect::<Vec<String>>().join(" "),
            floor,
        }
    }

    /// The table for the terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        table::render(self)
    }

    /// The page: one file that stands alone.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// Writes the JSON, and the latencies beside it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, path: &Path, outcome: &Outcome) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
        let hgrm = path.with_extension("hgrm");
        fs::write(&hgrm, outcome.latencies.to_hgrm())
            .with_context(|| format!("writing {}", hgrm.display()))
    }
}

/// How many cores the server has: those that it was bound to, or as many as shards.
fn server_cores(pinning: &Pinning, shards: Option<u16>) -> Option<usize> {
    match &pinning.server[..] {
        [] => shards.map(usize::from),
        cores => Some(cores.len()),
    }
}

/// Users for each core of the server: only of a number that was held by a server whose process and
/// cores are known. A server that was not bound by this run has as many cores as shards.
fn server_users_per_core(
    verdict: Verdict,
    users: u32,
    (pinning, shards): (&Pinning, Option<u16>),
    outcome: &Outcome,
) -> Option<f64> {
    let cores = server_cores(pinning, shards).filter(|cores| *cores > 0)?;
    let known = verdict == Verdict::Pass && outcome.server_threads.is_some();
    known.then(|| f64::from(users) / cores as f64)
}

/// A ratio of two figures that both may be given.
fn floor_ratio(verdict: Verdict, server: Option<f64>, floor: Option<&FloorReport>) -> Option<f64> {
    let floor = floor.filter(|floor| floor.verdict == Verdict::Pass)?;
    let floor_cpu = floor.server_cpu_us_per_user_s.filter(|cpu| *cpu > 0.0)?;
    (verdict != Verdict::GeneratorBound).then(|| server.map(|cpu| cpu / floor_cpu)).flatten()
}

#[cfg(test)]
mod tests;
