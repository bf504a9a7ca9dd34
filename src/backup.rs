//! `warren backup` and `warren restore`. A running server is asked for a backup and makes it itself; it
//! is restored without one.
//!
//! Files: `backup/maker.rs` what the server does, `backup/folder.rs` what a backup is on the disk.

mod folder;
mod maker;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use crate::admin::make_runtime;
use crate::ctl::{AdminArguments, Failure, find_endpoint, tell_refusal};
use crate::fatal::{Fatal, FatalReason};

use folder::{BackupError, Manifest, failed, make_empty, sync};
pub(crate) use maker::{BackupSource, BackupState, Backups, NotBegun};

const BACKUP_EXAMPLES: &str = "\
Examples:
  warren backup /var/backups/warren/2026-11-22
  warren backup --admin unix:/run/warren/admin.sock /var/backups/warren/today

The server writes the folder, so it has to be on the server's machine, and be one that the server may
write. A backup is whole when backup.json is in it: it is written last.

Exit status: 0 when the backup is on the disk; 1 when the server refuses or fails, with its word
(docs/operations.md); 69 when it does not answer; 78 for a wrong configuration or a token that is not
there.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  warren restore /var/backups/warren/2026-11-22 --data /var/lib/warren

Every file is compared with the list of the backup. The data folder must be empty or not there; it is
there when all of it is. Run it as the user that the server runs as.

Exit status: 0 when the data folder is there; 65 when the backup is not whole; 71 when the folder
cannot be made.";

/// `warren backup …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct BackupArguments {
    /// The folder for the backup: a new or an empty one
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where the server is.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// `warren restore …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreArguments {
    /// The folder with the backup
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The data folder to be made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Asks the server for a backup, and waits until it is made.
///
/// # Errors
/// The endpoint or its token is not there, or does not answer.
pub fn back_up(
    arguments: &BackupArguments,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Fatal> {
    let client = find_endpoint(&arguments.admin)?;
    let folder = absolute(&arguments.folder)
        .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
    let made = make_runtime()?.block_on(async {
        let body = json!({ "folder": folder.to_string_lossy() });
        client.ask(Method::POST, "/api/backup", Some(body)).await?.done()?;
        // Each answer comes when there is something to tell, or after a while.
        loop {
            let answer = client.ask(Method::GET, "/api/backup", None).await?.done()?;
            if answer["phase"] == "done" {
                return Ok(answer);
            }
        }
    });
    match made {
        Ok(answer) => {
            let _ = if arguments.json {
                writeln!(out, "{answer}")
            } else {
                write!(out, "{}", words_of(&answer))
            };
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::Fatal(fatal)) => Err(fatal),
        Err(Failure::Refused(answer)) => Ok(tell_refusal(&answer, err)),
    }
}

fn words_of(answer: &Value) -> String {
    let folder = answer["folder"].as_str().unwrap_or_default();
    format!("{folder}: {} files, {} bytes\n", answer["files"], answer["bytes"])
}

/// Makes a data folder of a backup.
///
/// # Errors
/// The backup is not whole, or the folder cannot be made.
pub fn restore(arguments: &RestoreArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    let RestoreArguments { folder, data } = arguments;
    let manifest = restore_to(folder, data).map_err(|error| {
        let reason = match error {
            BackupError::Unfinished { .. } | BackupError::Damaged { .. } => {
                FatalReason::StateUnusable
            }
            _ => FatalReason::DataFolderUnusable,
        };
        Fatal::new(reason, error)
    })?;
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    let _ = writeln!(out, "{}: {files} files, {bytes} bytes", data.display());
    Ok(ExitCode::SUCCESS)
}

fn restore_to(folder: &Path, data: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    let data = absolute(data).map_err(failed(data))?;
    make_empty(&data)?;
    // A server that starts meanwhile finds an empty folder, and takes its name from under this.
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = data.with_file_name(format!(".{name}.restoring"));
    let _ = std::fs::remove_dir_all(&beside);
    make_empty(&beside)?;
    let copied = manifest.copy_files(folder, &beside).and_then(|()| {
        // It replaces an empty folder, and nothing else.
        std::fs::rename(&beside, &data).map_err(failed(&data))?;
        data.parent().map_or(Ok(()), sync)
    });
    if copied.is_err() {
        let _ = std::fs::remove_dir_all(&beside);
    }
    copied.map(|()| manifest)
}
