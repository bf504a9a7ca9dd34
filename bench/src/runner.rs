//! The commands `run`, `floor` and `ab`: which phases there are, and in which order.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use warren_net::io::descriptor_limit::{descriptors_max, descriptors_raise};
use warren_net::reactor::SURPLUS_SLOTS;

use crate::ab::{self, Comparison};
use crate::arguments::{AbArguments, LoadArguments, RunArguments, Target};
use crate::behaviour;
use crate::capacity;
use crate::cpu::ProcessReading;
use crate::disk::{self, DiskReport};
use crate::machine::Machine;
use crate::memory;
use crate::phase::{self, Outcome, Setup};
use crate::pinning::{self, Pinning};
use crate::plugin::CompiledLibrary;
use crate::process::server::{SHARD_THREAD_PREFIX, ServerProcess, Size, WorkerFile};
use crate::profile::ai::Wander;
use crate::progress::Meter;
use crate::report::{Circumstances, FloorReport, Report};
use crate::settings;
use crate::spinners::Spinners;
use crate::verdict::Verdict;
use crate::wire::{self, Wire};

/// Measures a server, after the floor: both with the same load, on the same cores.
///
/// # Errors
/// When the run cannot be made.
pub fn run(arguments: &RunArguments) -> Result<Verdict> {
    let shards = server_shards(&arguments.target, arguments.load.shards)?;
    let mut load = arguments.load.clone();
    // What the floor gets, and as many cores are left free, when nobody knows better.
    load.shards = shards.unwrap_or(load.shards);
    let load = &load;
    let mut circumstances = prepare(load)?;
    circumstances.shards = shards;
    let floor = if arguments.no_floor || !circumstances.profile.has_floor {
        None
    } else {
        let outcome = floor_phase(load, &circumstances.pinning)?;
        Some(FloorReport::new(&circumstances, &outcome))
    };
    if arguments.target.connect.is_some() {
        circumstances.pinning = circumstances.pinning.of_generators_only();
    }
    // Only of a server of ours is it known where its data lies.
    let has_disk = circumstances.profile.sets.is_some() && arguments.target.connect.is_none();
    let folder = std::env::temp_dir();
    let before = has_disk.then(|| disk::probe(&folder)).transpose()?;
    let outcome = server_phase(&arguments.target, load, &circumstances.pinning, "server")?;
    let mut report = Report::new("server", circumstances, &outcome, floor);
    if let (Some(sync_before_us), Some(sets)) = (before, &mut report.sets) {
        let (file_system, sync_after_us) = (disk::file_system(&folder)?, disk::probe(&folder)?);
        sets.disk = Some(DiskReport { file_system, sync_before_us, sync_after_us });
    }
    finish(report, load, &outcome)
}

/// Measures the floor alone.
///
/// # Errors
/// When the run cannot be made.
pub fn floor(load: &LoadArguments) -> Result<Verdict> {
    ensure!(!load.tls, "--tls is for servers: the floor has no TLS");
    ensure!(
        load.profile().has_floor,
        "there is no floor of this profile: only a server knows who is in view, or has sessions to \
         come back to"
    );
    let circumstances = prepare(load)?;
    let outcome = floor_phase(load, &circumstances.pinning)?;
    finish(Report::new("floor", circumstances, &outcome, None), load, &outcome)
}

/// Measures two servers in turn, without the floor: what matters is the one to the other.
///
/// # Errors
/// When a run cannot be made.
pub fn ab(arguments: &AbArguments) -> Result<Verdict> {
    let load = &arguments.load;
    let circumstances = prepare(load)?;
    let pinning = &circumstances.pinning;
    let mut runs = Vec::new();
    let cores = pinning.all_cores().context("both servers are ours")?;
    let _spinners = Spinners::start(&cores)?;
    let mut comes_first = true;
    for side in ab::order(arguments.runs) {
        let (program, settings) = match side {
            ab::Side::Old => (&arguments.old, &arguments.settings_old),
            ab::Side::New => (&arguments.new, &arguments.settings_new),
        };
        let sockets = memory::sockets_allocated()?;
        let mut size = size(load, program)?;
        settings::set(&mut size.settings, settings);
        let server = ServerProcess::start_warren(program, &size, &pinning.server)?;
        let mut setup = setup_started(&server, load, pinning);
        setup.generators_first = server.shards_come_first()?;
        comes_first &= setup.generators_first;
        let outcome = phase::play(&setup, &mut Meter::new(side.label()))
            .with_context(|| format!("the {} server", side.label()))?;
        drop(server);
        memory::sockets_settle(sockets)?;
        runs.push(ab::Run::new(side, &circumstances.profile, load.users, &outcome));
    }
    let programs =
        [(&arguments.old, &arguments.settings_old), (&arguments.new, &arguments.settings_new)];
    let programs = programs.map(|(program, settings)| ab::named(program, settings));
    let comparison = Comparison::new(&circumstances, programs, comes_first, runs);
    print!("{}", comparison.to_table());
    if let Some(path) = &load.json {
        let json = serde_json::to_string_pretty(&comparison)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    write_page(load, || comparison.to_html())?;
    Ok(comparison.verdict)
}

/// Shards of the server under test: as many as we start, or as the process that runs already has.
pub(crate) fn server_shards(target: &Target, shards: u16) -> Result<Option<u16>> {
    match (target.connect, target.server_pid) {
        (None, _) => Ok(Some(shards)),
        (Some(_), None) => Ok(None),
        (Some(_), Some(process)) => {
            let reading = ProcessReading::take(process);
            let reading = reading.with_context(|| format!("reading process {process}"))?;
            let count = u16::try_from(reading.count_of(SHARD_THREAD_PREFIX)).ok();
            Ok(count.filter(|count| *count > 0))
        }
    }
}

/// Plans the cores, and goes to those of the generators: the server's are left to it.
pub(crate) fn prepare(load: &LoadArguments) -> Result<Circumstances> {
    load.check()?;
    let machine = Machine::read();
    let available = pinning::available_cores();
    let generator_count = load.generator_count() as usize;
    let pinning = Pinning::plan(&available, usize::from(load.shards), generator_count);
    pinning::bind(&pinning.generator_cores()).context("pinning")?;
    Ok(Circumstances {
        profile: load.profile(),
        users: load.users,
        duration_s: load.duration,
        warm_up_s: load.warm_up,
        protocol: load.protocol.label(),
        tls: load.tls,
        shards: Some(load.shards),
        pinning,
        machine,
    })
}

fn floor_phase(load: &LoadArguments, pinning: &Pinning) -> Result<Outcome> {
    let sockets = memory::sockets_allocated()?;
    let server = ServerProcess::start_floor(&bare_size(load)?, &pinning.server)?;
    let lengths = wire::floor_lengths(load.protocol, load.profile().payload_bytes);
    let setup = Setup { wire: Wire::Floor(lengths), ..setup_started(&server, load, pinning) };
    let outcome = phase::play(&setup, &mut Meter::new("floor")).context("the floor");
    drop(server);
    memory::sockets_settle(sockets)?;
    outcome
}

/// Items with commas between, or a dash.
pub(crate) fn listed(items: impl Iterator<Item = String>) -> String {
    let list = items.collect::<Vec<String>>().join(", ");
    if list.is_empty() { "-".to_owned() } else { list }
}

/// What moves the NPCs of `ai-python`.
const PYTHON_WANDERER: WorkerFile = WorkerFile("wander.py", include_str!("../examples/wander.py"));

/// What a server of this program is set up for: those keys that it knows.
pub(crate) fn size(load: &LoadArguments, program: &Path) -> Result<Size> {
    let mut size = bare_size(load)?;
    let entities = load.users.max(settings::WORLD_ENTITIES_MAX).to_string();
    let entities = [("limits.world_entities_max", entities.as_str())];
    let profile = load.profile();
    let has_world = load.users > settings::WORLD_ENTITIES_MAX && profile.side_cells.is_some();
    // All of them may be on one shard: which one has a world is chance.
    let npcs = profile.ai.map_or(0, |ai| profile.rooms(load.users).count() * ai.npcs());
    let npcs_text = npcs.to_string();
    let npcs_max = [("limits.npcs_max", npcs_text.as_str())];
    let worlds = if has_world { &entities[..] } else { &[] };
    let more = [worlds, if npcs > settings::NPCS_MAX { &npcs_max } else { &[] }].concat();
    size.settings =
        settings::known(program, &[settings::wanted(profile.storm.is_some()), &more].concat())?;
    match profile.ai.map(|ai| ai.wander) {
        Some(Wander::Native) => {
            let library = CompiledLibrary::new(behaviour::LIBRARY)?;
            size.settings.push(("plugins.files".to_owned(), format!("[{:?}]", library.path())));
            size.library = Some(Arc::new(library));
        }
        Some(Wander::Python) => size.worker = Some(PYTHON_WANDERER),
        Some(Wander::BuiltIn) | None => {}
    }
    Ok(size)
}

fn bare_size(load: &LoadArguments) -> Result<Size> {
    let places = shard_places_max();
    let connections_max = capacity::connections_per_shard(load.users, load.shards, places)?;
    let LoadArguments { shards, heartbeat_ms, .. } = *load;
    Ok(Size {
        shards,
        connections_max,
        heartbeat_ms,
        tls: load.tls,
        snapshot_interval_ms: None,
        settings: Vec::new(),
        library: None,
        worker: None,
    })
}

/// How many connections the table of a shard can hold: as many as there may be descriptors, without those
/// that a reactor has besides.
pub(crate) fn shard_places_max() -> u32 {
    // To the hard limit: the server does the same.
    descriptors_raise(u32::MAX);
    descriptors_max().saturating_sub(SURPLUS_SLOTS as u32)
}

fn start_warren(program: &Path, load: &LoadArguments, pinning: &Pinning) -> Result<ServerProcess> {
    ServerProcess::start_warren(program, &size(load, program)?, &pinning.server)
}

/// The load on a server of ours.
pub(crate) fn setup_started(
    server: &ServerProcess,
    load: &LoadArguments,
    pinning: &Pinning,
) -> Setup {
    Setup {
        addresses: server.addresses().to_vec(),
        certificate: server.certificate().map(Path::to_path_buf),
        server: Some(server.id()),
        admin: server.admin(),
        ..setup(load, pinning)
    }
}

/// The load on the server under test, with progress under this name.
pub(crate) fn server_phase(
    target: &Target,
    load: &LoadArguments,
    pinning: &Pinning,
    name: &'static str,
) -> Result<Outcome> {
    let (setup, started) = match target.connect {
        Some(address) => {
            let setup = Setup {
                addresses: vec![address],
                server: target.server_pid,
                admin: target.admin,
                ..setup(load, pinning)
            };
            (setup, None)
        }
        None => {
            let program = target.server.clone().map_or_else(program_beside, Ok)?;
            let server = start_warren(&program, load, pinning)?;
            (setup_started(&server, load, pinning), Some(server))
        }
    };
    let outcome = phase::play(&setup, &mut Meter::new(name));
    drop(started);
    outcome
}

pub(crate) fn program_beside() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("warren");
    ensure!(program.exists(), "there is no {}: build it, or name one", program.display());
    Ok(program)
}

/// The load without a server.
fn setup(load: &LoadArguments, pinning: &Pinning) -> Setup {
    let seconds_ns = |seconds: u32| u64::from(seconds) * 1_000_000_000;
    Setup {
        profile: load.profile(),
        users: load.users,
        has_strangers: false,
        generators_first: false,
        wire: Wire::Server(load.protocol),
        addresses: Vec::new(),
        certificate: None,
        server: None,
        admin: None,
        pinning: pinning.clone(),
        warm_up_ns: seconds_ns(load.warm_up),
        duration_ns: seconds_ns(load.duration),
    }
}

/// Writes the page of a report, if one is wanted.
pub(crate) fn write_page(load: &LoadArguments, page: impl FnOnce() -> String) -> Result<()> {
    let Some(path) = &load.html else { return Ok(()) };
    fs::write(path, page()).with_context(|| format!("writing {}", path.display()))
}

fn finish(report: Report, load: &LoadArguments, outcome: &Outcome) -> Result<Verdict> {
    print!("{}", report.to_table());
    if let Some(path) = &load.json {
        report.write(path, outcome)?;
    }
    write_page(load, || report.to_html())?;
    Ok(report.verdict)
}
