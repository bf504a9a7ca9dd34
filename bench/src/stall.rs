//! `warren-bench stall`: what those who chat notice when what the server writes to stands still.
//!
//! ```text
//! a server ── quiet: users chat and set objects ── the same while it stands still ──> ratios of percentiles
//!          └─ afterwards: everything that was acknowledged is there, and in Postgres too
//! ```
//!
//! The disk of the data folder is frozen, or the Postgres to which the server exports is stopped. Half of the users'
//! sets are durable, and wait while the disk stands still; the others are answered when they are applied. What
//! chat takes must be the same.

mod frozen_disk;
mod postgres;
pub mod report;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use self::frozen_disk::Frozen;
use self::postgres::Export;
use self::report::{Rounds, Seen, StallReport};
use crate::arguments::{StallArguments, Stalled};
use crate::clock;
use crate::disk;
use crate::metrics::check_ready;
use crate::phase::{self, Outcome, Setup};
use crate::process::loop_disk::LoopDisk;
use crate::process::postgres::PostgresProcess;
use crate::process::server::{Folder, ServerProcess};
use crate::profile::Sets;
use crate::progress::Meter;
use crate::runner;
use crate::settings;
use crate::spinners::Spinners;

/// The exit status where the machine does not let us stop anything.
const EXIT_NOT_POSSIBLE: u8 = 77;
/// So long before the measured part it stands still.
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
    let target = match Target::create(arguments.what) {
        Ok(target) => target,
        Err(NotPossible(why)) => {
            eprintln!("warren-bench: not possible here, and nothing was shown: {why}");
            return Ok(EXIT_NOT_POSSIBLE);
        }
    };
    let report = play(arguments, &target)?;
    drop(target);
    print!("{}", report.to_table());
    if let Some(path) = &arguments.rounds.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.verdict.exit_status())
}

/// Why nothing can be made to stand still here.
#[derive(Debug)]
pub(crate) struct NotPossible(pub(crate) String);

/// What is to stand still, ours alone.
enum Target {
    Disk(LoopDisk),
    Postgres(PostgresProcess),
}

impl Target {
    fn create(what: Stalled) -> Result<Self, NotPossible> {
        match what {
            Stalled::Disk => frozen_disk::create().map(Self::Disk),
            Stalled::Postgres => postgres::create().map(Self::Postgres),
        }
    }

    /// A folder for the server.
    fn folder(&self) -> Result<Folder> {
        match self {
            Self::Disk(disk) => Folder::with_data(disk.path().join("data")),
            Self::Postgres(_) => Folder::create(),
        }
    }

    /// The load while it stands still: for how long it did, in nanoseconds.
    fn stalled_phase(&self, setup: &Setup) -> Result<(Outcome, u64)> {
        match self {
            Self::Disk(disk) => frozen_phase(setup, disk),
            Self::Postgres(postgres) => postgres::stopped_phase(setup, postgres),
        }
    }

    fn postgres(&self) -> Option<&PostgresProcess> {
        match self {
            Self::Disk(_) => None,
            Self::Postgres(postgres) => Some(postgres),
        }
    }

    /// Where it is mounted, if it is.
    fn mount(&self) -> Option<PathBuf> {
        match self {
            Self::Disk(disk) => Some(disk.path()),
            Self::Postgres(_) => None,
        }
    }
}

fn play(arguments: &StallArguments, target: &Target) -> Result<StallReport> {
    let load = arguments.load();
    let circumstances = runner::prepare(&load)?;
    let pinning = &circumstances.pinning;
    let program = arguments.rounds.server.clone().map_or_else(runner::program_beside, Ok)?;
    let mut size = runner::size(&load, &program)?;
    size.settings.push(("session.grace_ms".to_owned(), GRACE_MS.to_string()));
    if let Some(postgres) = target.postgres() {
        size.settings.push(("export.postgres".to_owned(), format!("'{}'", postgres.connection())));
    }
    settings::set(&mut size.settings, &arguments.rounds.settings);
    let folder = target.folder()?;
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
    let begin = |postgres| Export::begin(postgres, admin);
    let mut export = target.postgres().map(begin).transpose()?;
    let (mut quiet, mut stalled) = (Rounds::default(), Rounds::default());
    for _ in 0..arguments.rounds.rounds {
        quiet.add(&phase::play(&setup, &mut Meter::new("quiet"))?, None);
        let (outcome, stall_ns) = target.stalled_phase(&setup)?;
        stalled.add(&outcome, Some(stall_ns));
        export.as_mut().map_or(Ok(()), Export::catch_up)?;
    }
    let data = server.folder().data();
    let export = export.map(|export| export.report(&program, &data)).transpose()?;
    let file_system = disk::file_system(&data)?;
    let is_alive = check_ready(admin).is_ok();
    let is_well = server.stop().is_ok() && is_alive;
    let seen = Seen { file_system, mount: target.mount(), export, is_well };
    Ok(StallReport::new(arguments, &circumstances, &setup, [quiet, stalled], seen))
}

/// The load while the disk stands still from before the measured part until its end: for how long it did.
fn frozen_phase(setup: &Setup, disk: &LoopDisk) -> Result<(Outcome, u64)> {
    let mut frozen = None;
    let outcome = phase::play_beside(setup, &mut Meter::new("stalled"), || {
        let measure_from_ns = clock::monotonic_ns() + phase::START_LEAD_NS + setup.warm_up_ns;
        let until_ns = measure_from_ns + setup.duration_ns;
        let from_ns = measure_from_ns.saturating_sub(LEAD_NS);
        frozen = Some(Frozen::between(&disk.path(), from_ns, until_ns)?);
        Ok(())
    });
    // Thawed before anything else is looked at.
    let times = frozen.map(Frozen::ended).transpose()?;
    let [frozen_ns, thawed_ns] = times.context("a phase begins with all users in their rooms")?;
    Ok((outcome?, thawed_ns - frozen_ns))
}
