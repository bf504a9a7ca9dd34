//! `warren log`: what is in a delta log's folder, and whether it holds. This changes nothing; `forget` is in
//! `log_forget.rs`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::{GROUP_COUNT, GroupId, ObjectId};
use warren_storage::delta_log::{LogEnd, LogSummary, Record, RecoverError, recover};

use crate::fatal::{Fatal, FatalReason};
use crate::log_forget::{self, ForgetArguments};

const EXAMPLES: &str = "\
Examples:
  warren log verify /var/lib/warren/log
  warren log inspect /var/lib/warren/log | tail
  warren log inspect --json /var/lib/warren/log

Only of a log to which no server writes: a commit that is being written looks like damage.

Exit status: 0 when the log holds, also with the remains of a commit at its end, as a power cut leaves
them; 65 when it is damaged, with file, place and what was expected there; 71 when it cannot be read.";

/// What `warren log` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES)]
pub struct LogArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What to do with a log.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LogCommand {
    /// Print a line for each record
    Inspect(LogFolder),
    /// Read all of it as a start does, and print what there is
    Verify(LogFolder),
    /// Go on without a log that is lost, and say what is lost with it
    Forget(ForgetArguments),
}

/// Which log.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LogFolder {
    /// The folder with its segments
    #[arg(value_name = "FOLDER")]
    pub folder: std::path::PathBuf,
    /// JSON objects instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs the command, and writes to `out` what it found.
///
/// # Errors
/// A log that is damaged or cannot be read.
pub fn run(arguments: &LogArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    match &arguments.command {
        LogCommand::Inspect(LogFolder { folder, json }) => {
            let write = if *json { write_record_json } else { write_record };
            let end = recover(folder, |record| write(out, &record));
            match end {
                // Whoever reads has seen enough.
                Err(RecoverError::Refused { .. }) | Ok(_) => Ok(ExitCode::SUCCESS),
                Err(error) => Err(fatal(&error)),
            }
        }
        LogCommand::Verify(LogFolder { folder, json }) => {
            let end = verify(folder)?;
            let _ = if *json { write_end_json(out, &end) } else { write_end(out, &end) };
            Ok(ExitCode::SUCCESS)
        }
        LogCommand::Forget(arguments) => {
            log_forget::run(arguments, out).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Reads all, and each record's batch.
fn verify(folder: &Path) -> Result<LogEnd, Fatal> {
    recover(folder, |record: Record<'_>| match batch_of(&record) {
        Some(_) => Ok(()),
        None => Err("it is no delta batch of its group, epoch and sequence"),
    })
    .map_err(|error| fatal(&error))
}

fn fatal<E: core::fmt::Display>(error: &RecoverError<E>) -> Fatal {
    let reason = match error {
        RecoverError::Unreadable { .. } => FatalReason::SystemRefused,
        RecoverError::Damaged { .. }
        | RecoverError::FormatUnknown { .. }
        | RecoverError::Refused { .. } => FatalReason::StateUnusable,
    };
    Fatal::new(reason, error.to_string())
}

/// The record's batch, if it is what its header says.
fn batch_of(record: &Record<'_>) -> Option<DeltaBatch> {
    let batch = DeltaBatch::decode(record.payload).ok()?;
    let named = (batch.group_id(), batch.epoch_id(), batch.sequence_id());
    let header = &record.header;
    (named == (header.group, header.epoch, header.sequence)).then_some(batch)
}

fn write_record(out: &mut dyn Write, record: &Record<'_>) -> io::Result<()> {
    let Record { header, payload, commit, segment, offset } = record;
    let (group, epoch, sequence) = (header.group.0, header.epoch.0, header.sequence.0);
    write!(out, "segment {segment} byte {offset} commit {commit} ")?;
    write!(out, "group {group} epoch {epoch} sequence {sequence} {} bytes: ", payload.len())?;
    match batch_of(record) {
        Some(batch) => {
            let deltas: Vec<String> = batch.deltas.iter().map(words_of).collect();
            writeln!(out, "{}", deltas.join(", "))
        }
        None => writeln!(out, "no delta batch"),
    }
}

fn write_record_json(out: &mut dyn Write, record: &Record<'_>) -> io::Result<()> {
    let Record { header, payload, commit, segment, offset } = record;
    let deltas =
        batch_of(record).map(|batch| batch.deltas.iter().map(words_of).collect::<Vec<String>>());
    let object = json!({
        "segment": segment,
        "offset": offset,
        "commit": commit,
        "group": header.group.0,
        "epoch": header.epoch.0,
        "sequence": header.sequence.0,
        "bytes": payload.len(),
        "deltas": deltas,
    });
    writeln!(out, "{object}")
}

/// A delta without its record. Names are a user's, so they are quoted.
fn words_of(delta: &Delta) -> String {
    let id = |packed: &u64| ObjectId(*packed);
    match delta {
        Delta::ObjectCreated { object, version, .. } => {
            format!("created {} version {version}", id(object))
        }
        Delta::ObjectChanged { object, version, .. } => {
            format!("changed {} version {version}", id(object))
        }
        Delta::ObjectDeleted { object } => format!("deleted {}", id(object)),
        Delta::UserPresent { user, login, .. } => format!("present {user:?} login {login}"),
        Delta::UserAbsent { user } => format!("absent {user:?}"),
        Delta::MemberJoined { room, user, .. } => format!("joined {} {user:?}", id(room)),
        Delta::MemberLeft { room, user } => format!("left {} {user:?}", id(room)),
        Delta::WatchStarted { object, user, .. } => format!("watched {} {user:?}", id(object)),
        Delta::WatchEnded { object, .. } => format!("unwatched {}", id(object)),
    }
}

fn groups_of(end: &LogEnd) -> usize {
    (0..GROUP_COUNT as u16).filter(|group| end.last_of(GroupId(*group)).is_some()).count()
}

fn write_end(out: &mut dyn Write, end: &LogEnd) -> io::Result<()> {
    let LogSummary { segments, commits, records, payload_bytes, torn } = end.summary();
    writeln!(out, "segments: {segments}")?;
    writeln!(out, "commits:  {commits}")?;
    writeln!(out, "records:  {records}, {payload_bytes} bytes, of {} groups", groups_of(end))?;
    match torn {
        Some(torn) => {
            let (segment, offset) = (torn.segment, torn.offset);
            writeln!(out, "torn:     segment {segment} from byte {offset} on, as by a power cut")
        }
        None => writeln!(out, "torn:     nothing"),
    }
}

fn write_end_json(out: &mut dyn Write, end: &LogEnd) -> io::Result<()> {
    let LogSummary { segments, commits, records, payload_bytes, torn } = end.summary();
    let object = json!({
        "segments": segments,
        "commits": commits,
        "records": records,
        "bytes": payload_bytes,
        "groups": groups_of(end),
        "torn": torn.map(|torn| json!({ "segment": torn.segment, "offset": torn.offset })),
    });
    writeln!(out, "{object}")
}

#[cfg(test)]
mod tests;
