//! A PostgreSQL of our own to which the server exports, stopped for a phase; and afterwards the proof that what is
//! there is what the server has.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::LEAD_NS;
use super::NotPossible;
use super::report::export::{ExportReport, Objects};
use crate::clock;
use crate::metrics::export::{ExportCounts, export_catches_up};
use crate::metrics::sessions_settle;
use crate::phase::{self, Outcome, Setup};
use crate::process::postgres::PostgresProcess;
use crate::process::server::Folder;
use crate::progress::Meter;

/// How long the export may take to catch up.
const CATCH_UP_WAIT_NS: u64 = 120_000_000_000;

/// Makes one and starts it.
///
/// # Errors
/// [`NotPossible`] where none is installed, or it does not start.
pub(super) fn create() -> Result<PostgresProcess, NotPossible> {
    PostgresProcess::create().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotPossible("PostgreSQL is not installed".to_owned()),
        _ => NotPossible(format!("no PostgreSQL: {error}")),
    })
}

/// The export of a server that runs.
pub(super) struct Export<'a> {
    postgres: &'a PostgresProcess,
    admin: SocketAddrV4,
    catch_up_s: Vec<f64>,
    is_caught_up: bool,
}

impl<'a> Export<'a> {
    /// Waits until the first copy is there.
    pub(super) fn begin(postgres: &'a PostgresProcess, admin: SocketAddrV4) -> Result<Self> {
        let is_caught_up = export_catches_up(admin, CATCH_UP_WAIT_NS)?.is_some();
        Ok(Self { postgres, admin, catch_up_s: Vec::new(), is_caught_up })
    }

    /// Waits, after a stall, until all is exported.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        // What it was late with once it need not be waited for again.
        if self.is_caught_up {
            let elapsed_ns = export_catches_up(self.admin, CATCH_UP_WAIT_NS)?;
            self.catch_up_s.extend(elapsed_ns.map(|ns| ns as f64 / 1e9));
            self.is_caught_up = elapsed_ns.is_some();
        }
        Ok(())
    }

    /// Compares, when all users are gone, what the server has with what an import makes of the tables.
    pub(super) fn report(self, program: &Path, data: &Path) -> Result<ExportReport> {
        let Self { postgres, admin, catch_up_s, mut is_caught_up } = self;
        sessions_settle(admin)?;
        if is_caught_up {
            is_caught_up = export_catches_up(admin, CATCH_UP_WAIT_NS)?.is_some();
        }
        let counts = ExportCounts::take(admin)?;
        let server = objects_of_server(program, admin, data).context("asking for the digest")?;
        let imported = objects_of_tables(program, postgres);
        let import_fault = imported.as_ref().err().map(|error| format!("{error:#}"));
        let tables = imported.ok();
        Ok(ExportReport { catch_up_s, is_caught_up, counts, server, tables, import_fault })
    }
}

/// The load while PostgreSQL is stopped, from before the measured part until all generators have ended: for how
/// long it was, in nanoseconds.
pub(super) fn stopped_phase(setup: &Setup, postgres: &PostgresProcess) -> Result<(Outcome, u64)> {
    thread::scope(|scope| {
        let (over, is_over) = mpsc::channel();
        let mut stopper = None;
        let outcome = phase::play_beside(setup, &mut Meter::new("stalled"), || {
            let measure_from_ns = clock::monotonic_ns() + phase::START_LEAD_NS + setup.warm_up_ns;
            let from_ns = measure_from_ns.saturating_sub(LEAD_NS);
            let body = move || stop_from(postgres, from_ns, &is_over);
            stopper = Some(Builder::new().name("stopper".to_owned()).spawn_scoped(scope, body)?);
            Ok(())
        });
        drop(over);
        // It goes on before anything else is looked at.
        let stopped_ns = stopper.map(|thread| thread.join().expect("the stopper does not panic"));
        let stopped_ns = stopped_ns.transpose().context("stopping PostgreSQL")?;
        Ok((outcome?, stopped_ns.context("a phase begins with all users in their rooms")?))
    })
}

/// Lets it go on whatever happens.
struct GoesOn<'a>(&'a PostgresProcess);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        // That nothing is exported any more is then told by who waits for it.
        let _ = self.0.go_on();
    }
}

fn stop_from(
    postgres: &PostgresProcess,
    from_ns: u64,
    is_over: &Receiver<Infallible>,
) -> io::Result<u64> {
    let wait = Duration::from_nanos(from_ns.saturating_sub(clock::monotonic_ns()));
    match is_over.recv_timeout(wait) {
        Err(RecvTimeoutError::Disconnected) => return Ok(0),
        Err(RecvTimeoutError::Timeout) => {}
    }
    let stopped = GoesOn(postgres);
    postgres.stop()?;
    let stopped_ns = clock::monotonic_ns();
    // Nobody sends: it ends with the phase.
    let _ = is_over.recv();
    drop(stopped);
    Ok(clock::monotonic_ns() - stopped_ns)
}

/// What the server that runs says of its objects.
fn objects_of_server(program: &Path, admin: SocketAddrV4, data: &Path) -> Result<Objects> {
    let mut digest = Command::new(program);
    digest.args(["ctl", "digest", "--json", "--admin", &admin.to_string(), "--data"]).arg(data);
    told(&mut digest)
}

/// What an import of the tables into a new folder says of them.
fn objects_of_tables(program: &Path, postgres: &PostgresProcess) -> Result<Objects> {
    let folder = Folder::create()?;
    let mut import = Command::new(program);
    import.args(["import", "postgres", "--json", "--from", &postgres.connection(), "--data"]);
    told(import.arg(folder.data()))
}

fn told(command: &mut Command) -> Result<Objects> {
    let output = command.output().context("starting the server's program")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", error.trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}
