//! The commands `run` and `floor`: which phases there are, and in which order.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::arguments::{LoadArguments, RunArguments};
use crate::machine::Machine;
use crate::phase::{self, Outcome, Setup};
use crate::pinning::{self, Pinning};
use crate::process::server::ServerProcess;
use crate::progress::Meter;
use crate::report::{Circumstances, FloorReport, Report};
use crate::verdict::Verdict;
use crate::wire::{self, Wire};

/// Measures a server, after the floor: both with the same load, on the same cores.
///
/// # Errors
/// When the run cannot be made.
pub fn run(arguments: &RunArguments) -> Result<Verdict> {
    let load = &arguments.load;
    let circumstances = prepare(load)?;
    let floor = if arguments.no_floor {
        None
    } else {
        let outcome = floor_phase(load, &circumstances.pinning)?;
        Some(FloorReport::new(&circumstances, &outcome))
    };
    let outcome = server_phase(arguments, &circumstances.pinning)?;
    finish(Report::new("server", circumstances, &outcome, floor), load, &outcome)
}

/// Measures the floor alone.
///
/// # Errors
/// When the run cannot be made.
pub fn floor(load: &LoadArguments) -> Result<Verdict> {
    let circumstances = prepare(load)?;
    let outcome = floor_phase(load, &circumstances.pinning)?;
    finish(Report::new("floor", circumstances, &outcome, None), load, &outcome)
}

/// Plans the cores, and goes to those of the generators: the server's are left to it.
fn prepare(load: &LoadArguments) -> Result<Circumstances> {
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
        shards: load.shards,
        pinning,
        machine,
    })
}

fn floor_phase(load: &LoadArguments, pinning: &Pinning) -> Result<Outcome> {
    let server = ServerProcess::start_floor(usize::from(load.shards), &pinning.server)?;
    let lengths = wire::floor_lengths(load.protocol, load.profile().payload_bytes);
    let setup = Setup {
        wire: Wire::Floor(lengths),
        addresses: server.addresses().to_vec(),
        server: Some(server.id()),
        ..setup(load, pinning)
    };
    phase::play(&setup, &mut Meter::new("floor")).context("the floor")
}

fn server_phase(arguments: &RunArguments, pinning: &Pinning) -> Result<Outcome> {
    let load = &arguments.load;
    let mut setup = Setup { wire: Wire::Server(load.protocol), ..setup(load, pinning) };
    let started = match arguments.connect {
        Some(address) => {
            setup.addresses = vec![address];
            setup.server = arguments.server_pid;
            None
        }
        None => {
            let program = arguments.server.clone().map_or_else(program_beside, Ok)?;
            let shard_count = usize::from(load.shards);
            let server = ServerProcess::start_warren(&program, shard_count, &pinning.server)?;
            setup.addresses = server.addresses().to_vec();
            setup.server = Some(server.id());
            Some(server)
        }
    };
    let outcome = phase::play(&setup, &mut Meter::new("server"));
    drop(started);
    outcome
}

fn program_beside() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("warren");
    anyhow::ensure!(program.exists(), "there is no {}: build it, or name one", program.display());
    Ok(program)
}

/// The load without a server.
fn setup(load: &LoadArguments, pinning: &Pinning) -> Setup {
    let seconds_ns = |seconds: u32| u64::from(seconds) * 1_000_000_000;
    Setup {
        profile: load.profile(),
        users: load.users,
        wire: Wire::Server(load.protocol),
        addresses: Vec::new(),
        server: None,
        pinning: pinning.clone(),
        warm_up_ns: seconds_ns(load.warm_up),
        duration_ns: seconds_ns(load.duration),
    }
}

fn finish(report: Report, load: &LoadArguments, outcome: &Outcome) -> Result<Verdict> {
    print!("{}", report.to_table());
    if let Some(path) = &load.json {
        report.write(path, outcome)?;
    }
    Ok(report.verdict)
}
