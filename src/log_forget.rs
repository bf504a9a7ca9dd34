//! `warren log forget`: goes on without a log that is lost. What only it had is given up, and said.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use warren_storage::delta_log::{LogMark, recover};
use warren_storage::{StateOpened, StateStore};

use crate::data_folder::DataFolder;
use crate::fatal::{Fatal, FatalReason};
use crate::state::{LOG_FOLDER, RESTORE_FOLDER, STATE_FOLDER, unusable};

/// Where what is left of the log is put, in the log's folder.
const FORGOTTEN_FOLDER: &str = "forgotten";
/// Where it is until all of it is there.
const MOVING_FOLDER: &str = "forgotten.moving";

const EXAMPLES: &str = "\
Examples:
  warren log forget --data /var/lib/warren

For a data folder whose server refuses to start because its delta log, or a part of it, is lost for
good. Put the log back or restore a backup where you can: what was acknowledged as durable and is in
no snapshot yet is given up by this. What is left of the log is moved to log/forgotten in the data
folder; remove it when you have looked: it cannot be put back any more. An export into Postgres that followed the log then needs
export.replace.

Run it as the user that the server runs as.

Exit status: 0 when the next start goes on with the snapshots alone; 65 when there is no state or it
cannot be read; 71 when a folder cannot be changed, or there is a log/forgotten already; 75 when a
server has the data folder.";

/// `warren log forget …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES)]
pub struct ForgetArguments {
    /// The data folder
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Gives up the log of the data folder, and writes to `out` what is left.
///
/// # Errors
/// The named reason why everything is as it was.
pub fn run(arguments: &ForgetArguments, out: &mut dyn Write) -> Result<(), Fatal> {
    let data = &arguments.data;
    let state = data.join(STATE_FOLDER);
    if !state.is_dir() || data.join(RESTORE_FOLDER).exists() {
        let detail = format_args!("{}: there is no state, or not all of it", data.display());
        return Err(Fatal::new(FatalReason::StateUnusable, detail));
    }
    let _locked = DataFolder::reserve(data)?;
    let (store, opened) = StateStore::open(&state).map_err(unusable)?;
    let mark = store.log_mark().map_err(unusable)?;
    // First: who comes this far and no further finds a server that refuses as before.
    let log = data.join(LOG_FOLDER);
    let found = salt_of(&log);
    let moved = move_segments(&log).map_err(|error| {
        Fatal::new(FatalReason::DataFolderUnusable, format_args!("{}: {error}", data.display()))
    })?;
    store.forget_log(found).map_err(unusable)?;
    // Nobody reads standard output, and it is done all the same.
    let _ = write_text(out, opened, mark, moved.as_deref());
    Ok(())
}

/// The salt of the log that is there, if that can be read.
fn salt_of(log: &Path) -> Option<u32> {
    let end = recover(log, |_| Ok::<_, Infallible>(())).ok()?;
    end.is_begun().then(|| end.salt())
}

/// Moves what is left of the log out of the way, if something is. It stays in the log's folder, which may
/// be a disk of its own.
fn move_segments(log: &Path) -> io::Result<Option<PathBuf>> {
    let (moving, forgotten) = (log.join(MOVING_FOLDER), log.join(FORGOTTEN_FOLDER));
    let mut segments = Vec::new();
    match fs::read_dir(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                segments.extend(Some(entry?.path()).filter(|path| is_segment(path)));
            }
        }
    }
    // Who was cut short goes on.
    if segments.is_empty() && !moving.exists() {
        return Ok(None);
    }
    if forgotten.exists() {
        return Err(io::Error::other(format!("{} is there already", forgotten.display())));
    }
    fs::create_dir_all(&moving)?;
    // The oldest first: what is left is a log that lacks its front.
    segments.sort();
    for segment in segments {
        fs::rename(&segment, moving.join(segment.file_name().expect("it has one")))?;
    }
    File::open(&moving)?.sync_all()?;
    fs::rename(&moving, &forgotten)?;
    File::open(log)?.sync_all()?;
    Ok(Some(forgotten))
}

/// Whether a start would look at it.
fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn write_text(
    out: &mut dyn Write,
    opened: StateOpened,
    mark: Option<LogMark>,
    moved: Option<&Path>,
) -> io::Result<()> {
    match mark {
        Some(LogMark { salt, first_needed, reached }) => writeln!(
            out,
            "log:       {salt:08x} is given up; the state needed commits from {first_needed} on, \
             and {reached} was on the disk"
        )?,
        None => writeln!(out, "log:       the state needed none")?,
    }
    match opened.taken_ms {
        Some(taken_ms) => {
            let taken = UNIX_EPOCH + Duration::from_millis(taken_ms);
            let taken = humantime::format_rfc3339_millis(taken);
            writeln!(out, "snapshots: the newest is from {taken}")?;
        }
        None => writeln!(out, "snapshots: there are none")?,
    }
    match opened.is_complete {
        true => writeln!(out, "lost:      nothing, the last server had stored all it had")?,
        false => {
            writeln!(out, "lost:      what changed later, also what was acknowledged as durable")?
        }
    }
    match moved {
        Some(folder) => writeln!(out, "what is left of the log: {}", folder.display()),
        None => writeln!(out, "what is left of the log: nothing"),
    }
}
