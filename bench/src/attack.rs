//! `warren-bench attack`: what an attack does to those who chat or walk beside it, and to the server.
//!
//! ```text
//! a server ── baseline: legal users play ── the same with attackers ──> ratios of percentiles
//!          └─ /metrics before and after: reasons counted, against reasons heard by attackers
//! ```
//!
//! A server for each scenario, started with what is printed. Attackers share the cores of the
//! generators, never the server's. No core halts meanwhile.

pub mod attacker;
mod hearing;
mod intruder;
pub mod report;
pub mod scenario;
mod sockets;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use warren_core::message::MESSAGE_BYTES_MAX;
use warren_net::gateway::{DecodeState, Frame, GatewaySettings, Protocol, decode};

use self::attacker::{AttackPlan, AttackReport};
use self::report::{AttackReports, Circumstances, Phase, ScenarioReport};
use self::scenario::{Place, Scenario};
use crate::arguments::{AttackArguments, LoadArguments};
use crate::metrics::Reasons;
use crate::phase::{self, Outcome};
use crate::pinning::Pinning;
use crate::process::OwnedChild;
use crate::process::server::ServerProcess;
use crate::progress::Meter;
use crate::spinners::Spinners;
use crate::verdict::Verdict;
use crate::{capacity, clock, memory, runner, settings};
use warren_net::io::descriptor_limit::{descriptors_max, descriptors_raise};

/// Connections of one attacker: well below the usual limit of descriptors.
const CONNECTIONS_PER_ATTACKER_MAX: u32 = 7_500;
/// Between the command to start and the measured part, besides the warm-up; and what attackers go
/// on for after it.
const MARGIN_NS: u64 = 1_000_000_000;
/// How long a session waits to be resumed: nobody does here.
const GRACE_MS: u64 = 1_000;
/// How long an attacker may take to tell what it did.
const REPORT_WAIT: Duration = Duration::from_secs(20);
/// Times that a bomb is decoded to time it.
const BOMB_ROUNDS: usize = 101;

/// Measures every chosen attack.
///
/// # Errors
/// When one cannot be made.
pub fn run(arguments: &AttackArguments) -> Result<Verdict> {
    let scenarios = arguments.scenarios();
    let loads: Vec<LoadArguments> =
        scenarios.iter().map(|scenario| arguments.load(*scenario)).collect();
    loads.iter().try_for_each(LoadArguments::check)?;
    // Which cores are whose depends on nothing in which they differ.
    let circumstances = runner::prepare(&loads[0])?;
    let pinning = &circumstances.pinning;
    let mut reports = Vec::new();
    for (scenario, load) in scenarios.into_iter().zip(&loads) {
        let report = play(scenario, arguments, load, pinning)
            .with_context(|| format!("the attack {}", scenario.label()))?;
        print!("{}", report.to_table());
        reports.push(report);
    }
    let verdict = report::verdict_of(&reports);
    if let Some(path) = &arguments.rounds.json {
        let circumstances = Circumstances::new(&circumstances, arguments.rounds.settings.clone());
        let reports = AttackReports { circumstances, scenarios: reports, verdict };
        let json = serde_json::to_string_pretty(&reports)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("verdict: {}", verdict.label());
    Ok(verdict)
}

/// One attack on a server of its own.
fn play(
    scenario: Scenario,
    arguments: &AttackArguments,
    load: &LoadArguments,
    pinning: &Pinning,
) -> Result<ScenarioReport> {
    let shape = scenario.shape(load.users);
    let program = arguments.rounds.server.clone().map_or_else(runner::program_beside, Ok)?;
    descriptors_raise(u32::MAX);
    let connections = load.users + shape.connections;
    let everyone = LoadArguments { users: connections, ..load.clone() };
    let mut size = runner::size(&everyone, &program)?;
    size.connections_max =
        capacity::connections_per_shard(connections, load.shards, descriptors_max())?;
    // Sessions of attackers end within the next round's warm-up.
    size.settings.push(("session.grace_ms".to_owned(), GRACE_MS.to_string()));
    settings::set(&mut size.settings, &scenario.settings());
    settings::set(&mut size.settings, &arguments.rounds.settings);
    let settings = size.settings.clone();
    let sockets = memory::sockets_allocated()?;
    let server = ServerProcess::start_warren(&program, &size, &pinning.server)?;
    let mut setup = runner::setup_started(&server, load, pinning);
    setup.generators_first = server.shards_come_first()?;
    // What is measured is an attack that stands.
    setup.warm_up_ns = setup.warm_up_ns.max(shape.opening_ns() + shape.settling_ns());
    if !scenario.is_in_world() {
        setup.profile.message_period_ns = u64::from(arguments.period_ms) * 1_000_000;
    }
    let admin = server.admin().context("the server has no admin endpoint")?;
    let (mut baseline, mut attacked) = (Phase::default(), Phase::default());
    // Attackers leave their cores less time to halt, by which alone latencies would differ.
    let cores = pinning.all_cores().context("the server under attack is one of ours")?;
    let _spinners = Spinners::start(&cores)?;
    let mut attack = AttackReport::default();
    let mut reasons = Reasons::default();
    for round in 0..arguments.rounds.rounds {
        settle(scenario, admin)?;
        let outcome = phase::play(&setup, &mut Meter::new("before"))?;
        baseline.add(&outcome, 0.0);
        // Later ones have what attacks before have left.
        if round == 0 {
            baseline.add_peak(memory::Peak::take(server.id())?);
        }
        settle(scenario, admin)?;
        let before = Reasons::take(admin)?;
        memory::peak_reset(server.id())?;
        let (outcome, told) = attacked_phase(scenario, &setup)?;
        attacked.add(&outcome, told.cores());
        attacked.add_peak(memory::Peak::take(server.id())?);
        attack.add_round(&told);
        reasons.add(&Reasons::take(admin)?.since(&before));
    }
    let is_alive = crate::metrics::check_ready(admin).is_ok();
    drop(server);
    memory::sockets_settle(sockets)?;
    let bomb_us = bomb_us(scenario);
    Ok(ScenarioReport::new(report::Parts {
        scenario,
        users: load.users,
        profile: setup.profile.name,
        period_ms: setup.profile.message_period_ns / 1_000_000,
        shards: load.shards,
        settings,
        baseline,
        attacked,
        attack,
        reasons,
        is_alive,
        bomb_us,
        comes_first: setup.generators_first,
    }))
}

/// A world begins anew with each phase: its members are those of the phase, and whoever comes in later has
/// a greater number.
fn settle(scenario: Scenario, admin: std::net::SocketAddrV4) -> Result<()> {
    if scenario.is_in_world() { crate::metrics::sessions_settle(admin) } else { Ok(()) }
}

/// The legal load, and the attack beside it from when all users are in their rooms.
fn attacked_phase(scenario: Scenario, setup: &phase::Setup) -> Result<(Outcome, AttackReport)> {
    let mut attackers = None;
    let setup = &phase::Setup { has_strangers: scenario.is_in_world(), ..setup.clone() };
    let outcome = phase::play_beside(setup, &mut Meter::new("attack"), || {
        let end_ns =
            clock::monotonic_ns() + MARGIN_NS + setup.warm_up_ns + setup.duration_ns + MARGIN_NS;
        attackers = Some(Attackers::start(scenario, setup, end_ns)?);
        Ok(())
    })?;
    let attackers = attackers.context("a phase begins with all users in their rooms")?;
    Ok((outcome, attackers.reports()?))
}

/// The processes of an attack.
struct Attackers {
    children: Vec<OwnedChild>,
    reports: Receiver<Option<String>>,
}

impl Attackers {
    fn start(scenario: Scenario, setup: &phase::Setup, end_ns: u64) -> Result<Self> {
        let shape = scenario.shape(setup.users);
        let attacker_count = shape.connections.div_ceil(CONNECTIONS_PER_ATTACKER_MAX);
        let (told, reports) = mpsc::channel();
        let mut attackers = Self { children: Vec::new(), reports };
        for attacker in 0..attacker_count {
            let plan = AttackPlan {
                scenario,
                users: setup.users,
                attacker,
                attacker_count,
                address: setup.addresses[attacker as usize % setup.addresses.len()],
                end_ns,
            };
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("attacker").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = OwnedChild::start(&mut command, &setup.pinning.generator_cores())?;
            let mut input = child.take_input().context("the input is piped")?;
            let told = told.clone();
            child.read_lines(move |line| drop(told.send(line)))?;
            writeln!(input, "{}", serde_json::to_string(&plan)?).context("an attacker is gone")?;
            attackers.children.push(child);
        }
        Ok(attackers)
    }

    /// What all of them did, when their time is over.
    fn reports(self) -> Result<AttackReport> {
        let mut sum = AttackReport::default();
        let (mut told, mut ended) = (0, 0);
        while told < self.children.len() {
            match self.reports.recv_timeout(REPORT_WAIT).context("an attacker is late")? {
                Some(line) => {
                    sum.add(&serde_json::from_str(&line).context("an attacker's report")?);
                    told += 1;
                }
                // The end of one that has told may come before the word of another.
                None => {
                    ended += 1;
                    ensure!(ended <= told, "an attacker ended without its report");
                }
            }
        }
        Ok(sum)
    }
}

/// How long the gateway takes to refuse the longest of a scenario's bombs, in microseconds of CPU:
/// the median.
fn bomb_us(scenario: Scenario) -> Option<f64> {
    let number = match scenario {
        Scenario::EntityBomb => 0,
        Scenario::AttributeBomb => 9,
        _ => return None,
    };
    let mut bytes = Vec::new();
    scenario.step(Place::default(), number, &mut bytes);
    let settings =
        GatewaySettings { frame_bytes_max: MESSAGE_BYTES_MAX, ..GatewaySettings::default() };
    let mut times_ns: Vec<u64> = (0..BOMB_ROUNDS)
        .map(|_| {
            let (mut out, mut state) = (Vec::new(), DecodeState::default());
            let start_ns = clock::process_cpu_ns();
            let frame = decode(Protocol::Xml, &settings, &mut bytes, &mut state, &mut out);
            let time_ns = clock::process_cpu_ns() - start_ns;
            assert!(matches!(frame, Frame::Refused { .. }), "a bomb is refused: {frame:?}");
            time_ns
        })
        .collect();
    times_ns.sort_unstable();
    Some(times_ns[BOMB_ROUNDS / 2] as f64 / 1_000.0)
}

/// Splits a setting of the server's configuration, `limits.login_ms=5000`.
///
/// # Errors
/// When it is none.
pub fn parse_setting(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').context("a setting is KEY=VALUE")?;
    ensure!(!key.trim().is_empty() && !value.trim().is_empty(), "a setting is KEY=VALUE");
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
