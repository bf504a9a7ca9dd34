//! `warren backup` and `warren restore`. A running server is asked for a backup and makes it itself; it
//! is restored without one.
//!
//! Files: `backup/maker.rs` what the server does, `backup/stage.rs` what it copies from,
//! `backup/folder.rs` what a backup is on the disk.

mod folder;
mod maker;
mod stage;
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
use crate::data_folder::{DataFolder, LOCK_FILE};
use crate::fatal::{Fatal, FatalReason};
use crate::state::RESTORE_FOLDER;

use folder::{BackupError, Manifest, clear, failed, make_empty, sync};
pub(crate) use maker::{BackupSource, BackupState, Backups, NotBegun};
pub(crate) use stage::remove_left;

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

Every file is compared with the list of the backup. The data folder must be empty or not there; no
server starts on it before all of it is there. One that was cut short begins again. Run it as the user that the server runs as.

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
    let folder = folder.to_str().ok_or_else(|| {
        let detail = format!("{}: this is not UTF-8", folder.display());
        Fatal::new(FatalReason::SystemRefused, detail)
    })?;
    let made = make_runtime()?.block_on(async {
        let body = json!({ "folder": folder });
        let begun = client.ask(Method::POST, "/api/backup", Some(body)).await?.done()?;
        let path = format!("/api/backup?number={}", begun["number"]);
        // Each answer comes when there is something to tell, or after a while.
        loop {
            let answer = client.ask(Method::GET, &path, None).await?.done()?;
            match answer["phase"].as_str() {
                Some("done") if answer["folder"] == *folder => return Ok(answer),
                Some("running") => {}
                _ => return Err(client.no_answer("it was started anew meanwhile").into()),
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
        Err(Failure::Refused(answer)) => {
            if arguments.json {
                let _ = writeln!(out, "{answer}");
            }
            Ok(tell_refusal(&answer, err))
        }
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
    // Nobody else begins with it meanwhile.
    let reserved = DataFolder::reserve(data)?;
    let manifest = restore_to(folder, data).map_err(|error| {
        let reason = match error {
            BackupError::Unfinished { .. } | BackupError::Damaged { .. } => {
                FatalReason::StateUnusable
            }
            _ => FatalReason::DataFolderUnusable,
        };
        Fatal::new(reason, error)
    })?;
    drop(reserved);
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    let _ = writeln!(out, "{}: {files} files, {bytes} bytes", data.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes it in a folder within, and moves it from there: the folder keeps its owner and its place, and
/// until the end no server starts on it.
fn restore_to(folder: &Path, data: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    let within = data.join(RESTORE_FOLDER);
    if within.is_dir() {
        clear_unfinished(data, &within)?;
    }
    let entries = std::fs::read_dir(data).map_err(failed(data))?;
    let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    if names.any(|name| name.is_ok_and(|name| name != LOCK_FILE && name != RESTORE_FOLDER)) {
        return Err(BackupError::NotEmpty { path: data.to_owned() });
    }
    make_empty(&within)?;
    if let Err(error) = manifest.copy_files(folder, &within).and_then(|()| sync(data)) {
        let _ = std::fs::remove_dir_all(&within);
        return Err(error);
    }
    for entry in std::fs::read_dir(&within).map_err(failed(&within))? {
        let name = entry.map_err(failed(&within))?.file_name();
        std::fs::rename(within.join(&name), data.join(&name)).map_err(failed(&within))?;
    }
    sync(data)?;
    std::fs::remove_dir(&within).map_err(failed(&within))?;
    sync(data)?;
    Ok(manifest)
}

/// Removes what a restore that was cut short has left: no server starts on it, so it is nobody's. The folder
/// that says so stays.
fn clear_unfinished(data: &Path, within: &Path) -> Result<(), BackupError> {
    for entry in std::fs::read_dir(data).map_err(failed(data))? {
        let entry = entry.map_err(failed(data))?;
        if entry.file_name() == LOCK_FILE || entry.file_name() == RESTORE_FOLDER {
            continue;
        }
        let (path, is_folder) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let removed = match is_folder {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(failed(&path))?;
    }
    clear(within);
    sync(data)
}
