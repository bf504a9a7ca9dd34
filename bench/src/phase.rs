//! One phase of a run: the load against one server, from the first connect to the last delivery.

pub mod storm;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use self::storm::{Around, Weathered, watch_storm};
use crate::clock;
use crate::cpu::{MachineReading, ProcessReading, ThreadUse};
use crate::generator::control::{Command, Counters, Event, Plan, Progress, Report};
use crate::generator::series::{self, Second};
use crate::generator::setters::SetReport;
use crate::histogram::Latencies;
use crate::ledger::{Account, Tally, WorldTally};
use crate::memory;
use crate::metrics::{self, Work};
use crate::pacing::Schedule;
use crate::pinning::Pinning;
use crate::process::generators::Generators;
use crate::profile::{Activity, Profile};
use crate::progress::{Meter, Stage};
use crate::report::seconds::ServerSecond;
use crate::verdict::Evidence;
use crate::wire::Wire;

/// Connects a second, of all generators together: a server's accept queue holds so many.
const RAMP_RATE_HZ: u32 = 4_000;
/// Users on the way into their rooms at one time, of all generators together.
const RAMP_WINDOW: u32 = 512;
/// The longest that a ramp may take besides its pace, in nanoseconds.
const RAMP_WAIT_NS: u64 = 60_000_000_000;
/// A user may take this long on the way in, on average, in nanoseconds.
const RAMP_WAIT_PER_USER_NS: u64 = 5_000_000;
/// Between the command to start and the start: generators hear of it in time.
pub(crate) const START_LEAD_NS: u64 = 300_000_000;
/// Generators drain for 10 s at most, and then write their reports.
const REPORT_WAIT_NS: u64 = 60_000_000_000;

/// What is played, and where.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What users do.
    pub profile: Profile,
    /// How many there are.
    pub users: u32,
    /// Whether others may move in their worlds.
    pub has_strangers: bool,
    /// Whether generators have their cores before everyone else who wants them.
    pub generators_first: bool,
    /// How they speak.
    pub wire: Wire,
    /// Where the server listens.
    pub addresses: Vec<std::net::SocketAddrV4>,
    /// The file with the server's certificate, if TLS is spoken.
    pub certificate: Option<std::path::PathBuf>,
    /// The process whose CPU is read, if that is known.
    pub server: Option<u32>,
    /// Where its metrics are read, if that is known.
    pub admin: Option<std::net::SocketAddrV4>,
    /// Which cores are whose.
    pub pinning: Pinning,
    /// The same load before the measured part, in nanoseconds.
    pub warm_up_ns: u64,
    /// The measured part, in nanoseconds.
    pub duration_ns: u64,
}

/// What a phase has shown.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who said what and who heard it.
    pub account: Account,
    /// What frames of worlds told.
    pub worlds: WorldTally,
    /// Latency of measured messages.
    pub latencies: Latencies,
    /// Lateness of measured sends.
    pub lateness: Latencies,
    /// Latency of measured lines, where users move besides.
    pub line_latencies: Latencies,
    /// Whether there are NPCs.
    pub has_npcs: bool,
    /// All else that generators counted.
    pub counters: Counters,
    /// What users did in each second of the measured part.
    pub seconds: Vec<Second>,
    /// The server's CPU in each, if its process is known.
    pub server_seconds: Vec<ServerSecond>,
    /// The highest share of a core that its generators took.
    pub generator_cpu: f64,
    /// The server's CPU by thread, if its process is known.
    pub server_threads: Option<Vec<ThreadUse>>,
    /// How long the CPU was read for, in nanoseconds.
    pub elapsed_ns: u64,
    /// Moves that the server took over the whole run, if it tells, and nobody else moved.
    pub moves_taken: Option<u64>,
    /// The server was the floor, which tells nothing.
    pub is_floor: bool,
    /// What the server counted of its own work; if not, why not.
    pub server_work: Result<Work, String>,
    /// The server's memory; if it could not be read, why not.
    pub memory: Result<memory::Course, String>,
    /// Cores' worth of CPU that neither server nor generators took, on their cores, if those are
    /// known.
    pub foreign_cores: Option<f64>,
    /// From the first connect until all were in their rooms, in nanoseconds.
    pub ramp_ns: u64,
    /// What users set, if they did.
    pub sets: Option<SetReport>,
    /// How users came back, if they were cut.
    pub storm: Option<Weathered>,
}

impl Outcome {
    /// CPU of the server in microseconds for each user and second.
    #[must_use]
    pub fn server_cpu_us_per_user_s(&self, users: u32) -> Option<f64> {
        Some(self.server_cores()? * 1e6 / f64::from(users))
    }

    /// CPU of the server in cores.
    #[must_use]
    pub fn server_cores(&self) -> Option<f64> {
        let cpu_ns: u64 = self.server_threads.as_ref()?.iter().map(|thread| thread.cpu_ns).sum();
        Some(cpu_ns as f64 / self.elapsed_ns as f64)
    }

    /// Where there are NPCs: the share of their ticks for which they were moved in time, if that is known.
    #[must_use]
    pub fn npcs_on_time(&self) -> Option<f64> {
        let work = self.server_work.as_ref().ok().filter(|_| self.has_npcs)?;
        // One that was never moved at all was not in time.
        Some(work.worlds.npcs_on_time().unwrap_or(0.0))
    }

    /// What a verdict is given on.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let both = |latencies: &Latencies| [0.5, 0.99].map(|at| latencies.quantile_ns(at));
        Evidence {
            account: self.account.clone(),
            ticks_skipped: match &self.server_work {
                Ok(work) => Some(work.worlds.ticks_skipped),
                // Of its ticks there are its frames, and those that it skips are missing among them.
                Err(_) => self.is_floor.then_some(0),
            },
            moves_taken: self.moves_taken,
            moves_said: self.worlds.moves,
            npcs_on_time: self.npcs_on_time(),
            worlds: self.server_work.as_ref().ok().map(|work| work.worlds),
            disconnects: self.counters.disconnects,
            faults: self.counters.faults,
            heartbeats_missing: self.counters.heartbeats_missing,
            heartbeats_surplus: self.counters.heartbeats_surplus,
            refused: self.counters.refused.clone(),
            measured: self.latencies.count(),
            latency_ns: both(&self.latencies),
            lateness_ns: both(&self.lateness),
            generator_cpu: self.generator_cpu,
            sets_measured: self.sets.as_ref().map(|sets| sets.durable_latencies.count()),
            sets_ns: self.sets.as_ref().map(|sets| both(&sets.durable_latencies)),
            storm: self.storm_evidence(),
        }
    }
}

/// CPU of everyone at one moment.
struct Reading {
    at_ns: u64,
    /// CPU of this process, in nanoseconds.
    own_ns: u64,
    server: Option<ProcessReading>,
    machine: MachineReading,
}

impl Reading {
    fn take(setup: &Setup) -> Result<Self> {
        let server = setup.server.map(ProcessReading::take_family).transpose();
        Ok(Self {
            at_ns: clock::monotonic_ns(),
            own_ns: clock::process_cpu_ns(),
            server: server.context("reading the server's CPU")?,
            machine: MachineReading::take().context("reading the machine's CPU")?,
        })
    }
}

/// Reads the server's CPU once a second.
struct Sampler {
    server: Option<u32>,
    last: (u64, Option<ProcessReading>),
    next_ns: u64,
    seconds: Vec<ServerSecond>,
}

impl Sampler {
    /// Time between two readings.
    const PERIOD_NS: u64 = 1_000_000_000;

    fn new(server: Option<u32>, first: &Reading, from_ns: u64) -> Self {
        let last = (first.at_ns, first.server.clone());
        Self { server, last, next_ns: from_ns + Self::PERIOD_NS, seconds: Vec::new() }
    }

    /// Reads when it is time to. A server that is gone is told elsewhere.
    fn sample(&mut self) {
        let now_ns = clock::monotonic_ns();
        if now_ns < self.next_ns {
            return;
        }
        let reading = self.server.and_then(|server| ProcessReading::take_family(server).ok());
        if let (Some(reading), (last_ns, Some(last))) = (&reading, &self.last) {
            let (threads, elapsed_ns) = (reading.since(last), now_ns - last_ns);
            // Seconds that were slept through have what the next one has.
            while now_ns >= self.next_ns {
                self.seconds.push(ServerSecond { threads: threads.clone(), elapsed_ns });
                self.next_ns += Self::PERIOD_NS;
            }
        } else {
            self.next_ns += Self::PERIOD_NS;
        }
        self.last = (now_ns, reading);
    }
}

/// The server's counts now; if they cannot be read, why not: the load can be measured without.
fn server_counts(setup: &Setup) -> Result<metrics::Reading, String> {
    let admin = setup.admin.ok_or("nobody said where the server's admin endpoint is")?;
    metrics::Reading::take(admin).map_err(|error| format!("{error:#}"))
}

/// The server's memory now; if it cannot be read, why not.
fn memory_now(setup: &Setup) -> Result<memory::Reading, String> {
    let process = setup.server.ok_or("nobody said which process the server is")?;
    memory::Reading::take(process).map_err(|error| format!("{error:#}"))
}

/// Not all users came into their rooms. An error of [`play`] that has this in it says nothing of the
/// machinery: there were too many of them.
#[derive(Clone, Copy, Debug)]
pub struct EntryFailed;

impl std::fmt::Display for EntryFailed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("not all users came into their rooms")
    }
}

impl std::error::Error for EntryFailed {}

/// Plays the load and reads what it takes.
///
/// # Errors
/// [`EntryFailed`] when not all users come into their rooms, others when a generator or the server
/// is gone.
pub fn play(setup: &Setup, meter: &mut Meter) -> Result<Outcome> {
    let before = server_counts(setup);
    let mut outcome = play_beside(setup, meter, || Ok(()))?;
    // Every move has been taken when everyone has been told of the last: this is exact.
    if matches!(setup.profile.activity, Activity::Move) {
        let taken = before.and_then(|before| Ok(server_counts(setup)?.moves_since(&before)));
        outcome.moves_taken = taken.ok();
    }
    Ok(outcome)
}

/// The same, with something else that begins when all users are in their rooms.
///
/// # Errors
/// As [`play`], or when the other does not begin.
pub fn play_beside(
    setup: &Setup,
    meter: &mut Meter,
    begin: impl FnOnce() -> Result<()>,
) -> Result<Outcome> {
    let memory_before = memory_now(setup);
    let begun_ns = clock::monotonic_ns();
    let plans = plans(setup);
    let mut generators =
        Generators::start(&plans, setup.generators_first).context("starting the generators")?;
    let mut standing = Standing::new(plans.len());
    let (ready_ns, entities) = ramp(setup, &generators, &mut standing, meter)
        .map_err(|error| error.context(EntryFailed))?;
    let memory_connected = memory_now(setup);
    begin()?;

    let start_ns = clock::monotonic_ns() + START_LEAD_NS;
    let measure_from_ns = start_ns + setup.warm_up_ns;
    let schedule = Schedule {
        start_ns,
        measure_from_ns,
        end_ns: measure_from_ns + setup.duration_ns,
        period_ns: setup.profile.message_period_ns,
    };
    generators.command(Command::Start { schedule, entities })?;
    meter.begin(Stage::WarmUp, setup.warm_up_ns);
    let never = |_: &Standing| false;
    watch(&generators, &mut standing, meter, (start_ns, measure_from_ns), None, never)?;
    let counts_before = server_counts(setup);
    let before = Reading::take(setup)?;
    meter.begin(Stage::Measure, setup.duration_ns);
    let mut sampler = Sampler::new(setup.server, &before, measure_from_ns);
    let around = match setup.profile.storm {
        Some(storm) => {
            let when = (storm, &schedule);
            Some(watch_storm(setup, when, &generators, &mut standing, meter, &mut sampler)?)
        }
        None => {
            let measured = (measure_from_ns, schedule.end_ns);
            watch(&generators, &mut standing, meter, measured, Some(&mut sampler), never)?;
            None
        }
    };
    let after = Reading::take(setup)?;
    sampler.sample();
    let server_work = counts_before.and_then(|before| {
        Work::between(&before, &server_counts(setup)?).map_err(|error| format!("{error:#}"))
    });
    meter.begin(Stage::Drain, 0);
    let reports = reports(&generators, &mut standing, meter)?;
    let memory_end = memory_now(setup);
    drop(generators);
    let memory = memory_before.and_then(|before| {
        Ok(memory::Course { before, connected: memory_connected?, end: memory_end? })
    });
    let ramp_ns = ready_ns - begun_ns;
    let server_seconds = sampler.seconds;
    let measured = Measured { before, after, server_seconds, server_work, memory, ramp_ns, around };
    Ok(outcome(setup, measured, reports))
}

fn plans(setup: &Setup) -> Vec<Plan> {
    let generator_count = u32::try_from(setup.pinning.generators.len()).expect("they are few");
    let run = crate::payload::mix(u64::from(std::process::id()), clock::monotonic_ns());
    let plan = |(generator, &core): (u32, &usize)| Plan {
        generator,
        generator_count,
        users: setup.users,
        profile: setup.profile.clone(),
        has_strangers: setup.has_strangers,
        run,
        wire: setup.wire,
        addresses: setup.addresses.clone(),
        certificate: setup.certificate.clone(),
        core,
        ramp_rate_hz: (RAMP_RATE_HZ / generator_count).max(1),
        ramp_window: (RAMP_WINDOW / generator_count).max(1),
    };
    (0..).zip(&setup.pinning.generators).map(plan).collect()
}

/// The last progress of each generator, and its report once it has come to its end.
struct Standing {
    progress: Vec<Progress>,
    reports: Vec<Option<Report>>,
    /// Generators all of whose users are back after a cut.
    back: usize,
}

impl Standing {
    fn new(generator_count: usize) -> Self {
        let reports = (0..generator_count).map(|_| None).collect();
        Self { progress: vec![Progress::default(); generator_count], reports, back: 0 }
    }

    /// Takes in an event; what is not progress is given back.
    fn take(&mut self, number: usize, event: Event) -> Option<Event> {
        match event {
            Event::Progress(progress) => self.progress[number] = progress,
            Event::Back => self.back += 1,
            event => return Some(event),
        }
        None
    }

    fn all_back(&self) -> bool {
        self.back == self.progress.len()
    }

    fn sum(&self) -> Progress {
        self.progress.iter().fold(Progress::default(), |sum, part| Progress {
            joined: sum.joined + part.joined,
            sent: sum.sent + part.sent,
            heard: sum.heard + part.heard,
            disconnects: sum.disconnects + part.disconnects,
            latency_max_ns: sum.latency_max_ns.max(part.latency_max_ns),
        })
    }
}

/// Waits until all users are in their rooms, and tells when that was, and which entities users of worlds are.
fn ramp(
    setup: &Setup,
    generators: &Generators,
    standing: &mut Standing,
    meter: &mut Meter,
) -> Result<(u64, Vec<(u32, u16)>)> {
    meter.begin(Stage::Ramp, u64::from(setup.users));
    let wait_ns = RAMP_WAIT_NS + u64::from(setup.users) * RAMP_WAIT_PER_USER_NS;
    let until_ns = clock::monotonic_ns() + wait_ns;
    let mut ready = 0;
    let mut entities = Vec::new();
    while ready < standing.progress.len() {
        let Some((number, event)) = generators.event_before(until_ns)? else {
            let joined = standing.sum().joined;
            bail!("only {joined} of {} users came into their rooms in time", setup.users);
        };
        match standing.take(number, event) {
            Some(Event::Ready { entities: more }) => {
                ready += 1;
                entities.extend(more);
            }
            Some(_) => bail!("generator {number} told what does not belong to a ramp"),
            None => {
                let sum = standing.sum();
                meter.show(u64::from(sum.joined), &sum);
            }
        }
    }
    Ok((clock::monotonic_ns(), entities))
}

/// Shows progress from one moment until another, or until something is over, and lets the server's CPU
/// be read meanwhile.
fn watch(
    generators: &Generators,
    standing: &mut Standing,
    meter: &mut Meter,
    (from_ns, until_ns): (u64, u64),
    mut sampler: Option<&mut Sampler>,
    over: fn(&Standing) -> bool,
) -> Result<()> {
    while !over(standing) {
        let wake_ns = sampler.as_ref().map_or(until_ns, |sampler| sampler.next_ns.min(until_ns));
        let told = generators.event_before(wake_ns)?;
        if let Some(sampler) = &mut sampler {
            sampler.sample();
        }
        let Some((number, event)) = told else {
            if clock::monotonic_ns() >= until_ns {
                break;
            }
            continue;
        };
        match standing.take(number, event) {
            // One that has heard everything ends at once, perhaps before this process looks.
            Some(Event::Finished(report)) if clock::monotonic_ns() >= until_ns => {
                standing.reports[number] = Some(*report);
            }
            Some(_) => bail!("generator {number} ended early"),
            None => {}
        }
        meter.show(clock::monotonic_ns().saturating_sub(from_ns), &standing.sum());
        if clock::monotonic_ns() >= until_ns {
            break;
        }
    }
    Ok(())
}

fn reports(
    generators: &Generators,
    standing: &mut Standing,
    meter: &mut Meter,
) -> Result<Vec<Report>> {
    let until_ns = clock::monotonic_ns() + REPORT_WAIT_NS;
    while standing.reports.iter().any(Option::is_none) {
        let Some((number, event)) = generators.event_before(until_ns)? else {
            bail!("a generator does not come to its end");
        };
        match standing.take(number, event) {
            Some(Event::Finished(report)) => standing.reports[number] = Some(*report),
            Some(_) => bail!("generator {number} told what does not belong to an end"),
            None => meter.show(0, &standing.sum()),
        }
    }
    meter.end();
    Ok(std::mem::take(&mut standing.reports).into_iter().flatten().collect())
}

/// What was read besides the generators' reports.
struct Measured {
    before: Reading,
    after: Reading,
    server_seconds: Vec<ServerSecond>,
    server_work: Result<Work, String>,
    memory: Result<memory::Course, String>,
    ramp_ns: u64,
    around: Option<Around>,
}

fn outcome(setup: &Setup, measured: Measured, reports: Vec<Report>) -> Outcome {
    let Measured { before, after, server_seconds, server_work, memory, ramp_ns, around } = measured;
    let storm = around.map(|around| Weathered::new(setup, around, &reports));
    let elapsed_ns = after.at_ns - before.at_ns;
    let server_threads = match (&after.server, &before.server) {
        (Some(after), Some(before)) => Some(after.since(before)),
        _ => None,
    };
    let mut latencies = Latencies::default();
    let mut lateness = Latencies::default();
    let mut counters = Counters::default();
    let mut worlds = WorldTally::default();
    let mut line_latencies = Latencies::default();
    let mut sets = setup.profile.sets.map(|_| SetReport::default());
    let mut core_shares: BTreeMap<usize, f64> = BTreeMap::new();
    for (report, core) in reports.iter().zip(&setup.pinning.generators) {
        latencies.merge(&report.latencies);
        lateness.merge(&report.lateness);
        line_latencies.merge(&report.line_latencies);
        counters.add(&report.counters);
        worlds.add(&report.worlds);
        if let (Some(sum), Some(part)) = (&mut sets, &report.sets) {
            sum.add(part);
        }
        *core_shares.entry(*core).or_default() += report.cpu_ns as f64 / report.elapsed_ns as f64;
    }
    let rooms = setup.profile.rooms(setup.users);
    let seconds = series::merged(reports.iter().map(|report| &report.seconds[..]));
    let tallies: Vec<Tally> = reports.into_iter().map(|report| report.tally).collect();
    let server_ns: u64 = server_threads.iter().flatten().map(|thread| thread.cpu_ns).sum();
    let own_ns = server_ns + after.own_ns - before.own_ns;
    let own_cores = own_ns as f64 / elapsed_ns as f64 + core_shares.values().sum::<f64>();
    let foreign_cores = setup.pinning.all_cores().map(|cores| {
        let busy_ns = after.machine.busy_ns_since(&before.machine, &cores);
        (busy_ns as f64 / elapsed_ns as f64 - own_cores).max(0.0)
    });
    let mut account = match setup.profile.activity {
        Activity::Move => Account::of_worlds(rooms, &tallies, &worlds),
        _ => Account::reconcile(rooms, &tallies),
    };
    sets.iter().for_each(|sets| account.add_sets(sets));
    Outcome {
        account,
        sets,
        line_latencies,
        has_npcs: setup.profile.ai.is_some(),
        worlds,
        latencies,
        lateness,
        counters,
        seconds,
        server_seconds,
        generator_cpu: core_shares.into_values().fold(0.0, f64::max),
        server_threads,
        elapsed_ns,
        moves_taken: None,
        is_floor: matches!(setup.wire, Wire::Floor(_)),
        server_work,
        memory,
        foreign_cores,
        ramp_ns,
        storm,
    }
}
