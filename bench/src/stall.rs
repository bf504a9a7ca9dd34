//! `warren-bench stall`: what those who chat notice when what the server writes to stands still.
//!
//! ```text
//! a server ── quiet: users chat and set objects ── the same while the disk is frozen ──> ratios of percentiles
//!          └─ afterwards: everything that was acknowledged is there
//! ```
//!
//! Half of the users' sets are durable, and wait while nothing is written; the others are answered when they
//! are applied. What chat takes must be the same.

pub mod loop_disk;
pub mod report;

use std::fs;

use anyhow::{Context as _, Result};

use self::loop_disk::{LoopDisk, NotPossible};
use self::report::{Rounds, StallReport};
use crate::arguments::{StallArguments, Stalled};
use crate::clock;
use crate::disk;
use crate::metrics::check_ready;
use crate::phase::{self, Outcome, Setup};
use crate::process::server::{Folder, ServerProcess};
use crate::profile::Sets;
use crate::progress::Meter;
use crate::runner;
use crate::settings;
use crate::spinners::Spinners;

/// The exit status where the machine does not let us stop anything.
const EXIT_NOT_POSSIBLE: u8 = 77;
/// So long before the measured part the disk is frozen.
const LEAD_NS: u64 = 300_000_000;
/// One user in so many waits until its sets are durable.
const DURABLE_ONE_IN: u32 = 2;
/// How long a session waits to be resumed: nobody does here.
const GRACE_MS: u64 = 1_000;

/// Measures, in turns, without and with the stall: gives the exit status.
///
/// # Errors
/// When the run cannot be made.
pub fn run(arguments: &StallArguments) -> Result<u8> {
    match arguments.what {
        Stalled::Disk => {}
    }
    let disk = match LoopDisk::create() {
        Ok(disk) => disk,
        Err(NotPossible(why)) => {
            eprintln!("warren-bench: not possible here, and nothing was shown: {why}");
            return Ok(EXIT_NOT_POSSIBLE);
        }
    };
    let report = play(arguments, &disk)?;
    drop(disk);
    print!("{}", report.to_table());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.verdict.exit_status())
}

fn play(arguments: &StallArguments, disk: &LoopDisk) -> Result<StallReport> {
    let load = arguments.load();
    let circumstances = runner::prepare(&load)?;
    let pinning = &circumstances.pinning;
    let program = arguments.server.clone().map_or_else(runner::program_beside, Ok)?;
    let mut size = runner::size(&load, &program)?;
    size.settings.push(("session.grace_ms".to_owned(), GRACE_MS.to_string()));
    settings::set(&mut size.settings, &arguments.settings);
    let folder = Folder::with_data(disk.path().join("data"))?;
    let file_system = disk::file_system(disk.path())?;
    let server = ServerProcess::start_warren_in(folder, &program, &size, &pinning.server)?;
    let mut setup = runner::setup_started(&server, &load, pinning);
    setup.generators_first = server.shards_come_first()?;
    setup.profile.message_period_ns = u64::from(arguments.period_ms) * 1_000_000;
    setup.profile.sets = Some(Sets {
        period_ns: u64::from(arguments.set_period_ms) * 1_000_000,
        durable_one_in: DURABLE_ONE_IN,
        // Nothing becomes durable while the disk stands still.
        bound_p99_ns: u64::MAX,
    });
    let admin = server.admin().context("the server has no admin endpoint")?;
    let cores = pinning.all_cores().context("the server is one of ours")?;
    let _spinners = Spinners::start(&cores)?;
    let (mut quiet, mut stalled) = (Rounds::default(), Rounds::default());
    for _ in 0..arguments.rounds {
        quiet.add(&phase::play(&setup, &mut Meter::new("quiet"))?, None);
        let (outcome, stall_ns) = stalled_phase(&setup, disk)?;
        stalled.add(&outcome, Some(stall_ns));
    }
    let is_alive = check_ready(admin).is_ok();
    let stopped = server.stop();
    let place = (file_system, disk.path().to_path_buf());
    let is_well = is_alive && stopped.is_ok();
    Ok(StallReport::new(arguments, &circumstances, &setup, place, [quiet, stalled], is_well))
}

/// The load while the disk stands still from before the measured part until its end: for how long it did.
fn stalled_phase(setup: &Setup, disk: &LoopDisk) -> Result<(Outcome, u64)> {
    let mut frozen = None;
    let outcome = phase::play_beside(setup, &mut Meter::new("stalled"), || {
        let measure_from_ns = clock::monotonic_ns() + phase::START_LEAD_NS + setup.warm_up_ns;
        let until_ns = measure_from_ns + setup.duration_ns;
        frozen = Some(disk.freeze_between(measure_from_ns.saturating_sub(LEAD_NS), until_ns)?);
        Ok(())
    });
    // Thawed before anything else is looked at.
    let times = frozen.map(loop_disk::Frozen::ended).transpose()?;
    let [_, frozen_ns, thawed_ns] =
        times.context("a phase begins with all users in their rooms")?;
    Ok((outcome?, thawed_ns - frozen_ns))
}
