//! `warren import postgres`: a data folder from what another server has exported.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use warren_storage::StateStore;
use warren_storage::postgres::{Imported, PostgresPlace, import};

use crate::admin::make_runtime;
use crate::clock::Clock;
use crate::data_folder::{DataFolder, LOCK_FILE};
use crate::fatal::{Fatal, FatalReason};
use crate::postgres_access::{import_fatal, with_password};
use crate::state::{IMPORT_FOLDER, STATE_FOLDER};

const IMPORT_EXAMPLES: &str = "\
Examples:
  warren import postgres --from 'host=db dbname=world user=warren' --data /var/lib/warren
  warren import postgres --from postgres://warren@db/world --password-file pw --data /srv/w

The data folder must be empty or not there. Run it as the user that the server runs as. Everything is
of one moment; stop the old server before, or what it changes later is left behind.

Exit status: 0 when the data folder is there; 65 when a row is no object, or the tables are not what
they have to be; 69 when Postgres does not answer or refuses; 71 when the folder is not empty or cannot
be written; 75 when a server has it; 78 for a wrong connection string.";

/// `warren import …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImportArguments {
    /// From where.
    #[command(subcommand)]
    source: ImportSource,
}

/// From where a world comes.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum ImportSource {
    /// Fill an empty data folder with the objects that another server has exported
    #[command(after_help = IMPORT_EXAMPLES)]
    Postgres(PostgresArguments),
}

#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct PostgresArguments {
    /// Connection string, without a password
    #[arg(long, value_name = "CONNECTION")]
    from: String,
    /// The data folder to be made
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The schema with the tables
    #[arg(long, value_name = "NAME", default_value = "warren")]
    schema: String,
    /// File with the password in its first line [default: what PGPASSWORD says]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Longest time that one answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Imports.
///
/// # Errors
/// The named reason why there is no data folder.
pub fn run(arguments: &ImportArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    let ImportSource::Postgres(arguments) = &arguments.source;
    let timeout = Duration::from_secs(arguments.timeout);
    let place = PostgresPlace::parse(&arguments.from, &arguments.schema, timeout)
        .map_err(|error| Fatal::new(FatalReason::ConfigInvalid, error))?;
    let place = with_password(&place, arguments.password_file.as_deref())?;
    let imported = import_to(&place, &arguments.data)?;
    let _ = if arguments.json { write_json(out, imported) } else { write_text(out, imported) };
    Ok(ExitCode::SUCCESS)
}

fn import_to(place: &PostgresPlace, data: &Path) -> Result<Imported, Fatal> {
    let folder = DataFolder::reserve(data)?;
    let unusable = |error: &dyn std::fmt::Display| {
        let detail = format_args!("{}: {error}", data.display());
        Fatal::new(FatalReason::DataFolderUnusable, detail)
    };
    let unfinished = data.join(IMPORT_FOLDER);
    for entry in std::fs::read_dir(data).map_err(|error| unusable(&error))? {
        let name = entry.map_err(|error| unusable(&error))?.file_name();
        if name != LOCK_FILE && name != IMPORT_FOLDER {
            return Err(unusable(&"it is not empty; a world is imported into an empty folder"));
        }
    }
    // Of an import that was cut short.
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|error| unusable(&error))?;
    }
    let filled = fill(place, &unfinished);
    let finished = filled.and_then(|imported| {
        std::fs::rename(&unfinished, data.join(STATE_FOLDER)).map_err(|error| unusable(&error))?;
        let synced = std::fs::File::open(data).and_then(|folder| folder.sync_all());
        synced.map_err(|error| unusable(&error))?;
        Ok(imported)
    });
    if finished.is_err() {
        // What is left of it is removed by the next try otherwise.
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    drop(folder);
    finished
}

/// The store is closed when this returns.
fn fill(place: &PostgresPlace, folder: &Path) -> Result<Imported, Fatal> {
    let (store, _) =
        StateStore::open(folder).map_err(|error| Fatal::new(FatalReason::StateNotStored, error))?;
    let taken_ms = Clock::start().now().wall_ms;
    make_runtime()?.block_on(import(place, &store, taken_ms)).map_err(|error| import_fatal(&error))
}

fn write_text(out: &mut dyn Write, imported: Imported) -> std::io::Result<()> {
    let Imported { objects, digest, commit, is_of_one_moment } = imported;
    writeln!(out, "objects: {objects}")?;
    writeln!(out, "digest:  {digest:016x}")?;
    writeln!(out, "commit:  {commit}")?;
    if !is_of_one_moment {
        writeln!(
            out,
            "warning: the export had not caught up behind a full copy: objects are of different moments"
        )?;
    }
    Ok(())
}

fn write_json(out: &mut dyn Write, imported: Imported) -> std::io::Result<()> {
    let Imported { objects, digest, commit, is_of_one_moment } = imported;
    let digest = format!("{digest:016x}");
    let object = json!({
        "objects": objects, "digest": digest, "commit": commit, "of_one_moment": is_of_one_moment,
    });
    writeln!(out, "{object}")
}
