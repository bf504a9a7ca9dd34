//! `warren export status` and `warren export run`.

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use clap::{Args, Subcommand};
use serde_json::json;
use warren_storage::delta_log::recover;
use warren_storage::log_executor::{LogNeeds, LogProgress};
use warren_storage::postgres::{
    CopyReason, ExportRound, ExportSource, ExportStatus, Exporter, PostgresPlace, follow,
    read_status,
};

use crate::admin::make_runtime;
use crate::arguments::ReportArguments;
use crate::config::{EffectiveConfig, ExportConfig, ServerConfig};
use crate::ctl::read_metric;
use crate::data_folder::{DataFolder, locked_by};
use crate::delta_log::read_whole;
use crate::fatal::{Fatal, FatalReason};
use crate::postgres_access::{export_fatal, postgres_fatal, with_password};
use crate::state::{LOG_FOLDER, STATE_FOLDER, StateFolder};
use crate::topology::inherited_cores;

const EXPORT_EXAMPLES: &str = "\
Examples:
  warren export status --config warren.toml
  warren export status --config warren.toml --json
  warren export run --config warren.toml      without a server: export what is left, and end

Where to export to is said by the section `export` of the configuration.

Exit status: 0 when it is told, or everything is exported; 65 when the state or the tables are not what
they have to be; 69 when Postgres does not answer or refuses; 71 when there is no data folder; 75 when
a server has the data folder (`run`); 78 for a wrong configuration.";

/// `warren export …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArguments {
    /// What to do.
    #[command(subcommand)]
    command: ExportCommand,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum ExportCommand {
    /// Tell how far the tables are, and how far the log is
    #[command(after_help = EXPORT_EXAMPLES)]
    Status(ReportArguments),
    /// Export everything that is in a data folder without a server, and end
    #[command(after_help = EXPORT_EXAMPLES)]
    Run(RunArguments),
}

/// What `warren export run` is told.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct RunArguments {
    /// Replace the tables also where they hold another world, as `export.replace` does
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    report: ReportArguments,
}

/// Runs the command.
///
/// # Errors
/// The named reason why it cannot be done.
pub fn run(arguments: &ExportArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    let (report, may_replace) = match &arguments.command {
        ExportCommand::Status(report) => (report, false),
        ExportCommand::Run(run) => (&run.report, run.replace),
    };
    let server = &report.server;
    let cores = inherited_cores().len();
    let (config, _) = EffectiveConfig::load(server.config.as_deref(), &server.overrides(), cores)?;
    let missing = "`export.postgres` is not set: there is nowhere to export to";
    let export = config.export.clone();
    let mut export = export.ok_or_else(|| Fatal::new(FatalReason::ConfigInvalid, missing))?;
    export.replace |= may_replace;
    let place = with_password(&export.place, export.password_file.as_deref())?;
    match &arguments.command {
        ExportCommand::Status(_) => tell_status(&config, &place, report.json, out),
        ExportCommand::Run(_) => export_all(&config, &export, &place, report.json, out),
    }
}

fn data_folder(config: &ServerConfig) -> Result<&Path, Fatal> {
    let data = config.data.as_deref().expect("an export has a data folder");
    if data.join(STATE_FOLDER).is_dir() {
        return Ok(data);
    }
    let detail = format_args!("{}: there is no world", data.display());
    Err(Fatal::new(FatalReason::DataFolderUnusable, detail))
}

fn tell_status(
    config: &ServerConfig,
    place: &PostgresPlace,
    is_json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Fatal> {
    let data = data_folder(config)?;
    let runtime = make_runtime()?;
    let status = runtime.block_on(read_status(place)).map_err(|error| postgres_fatal(&error))?;
    let ask = || {
        let (admin, token) = (&config.admin_listen, config.admin_token_file.as_deref());
        runtime.block_on(read_metric(admin, token, "warren_log_durable_commit"))
    };
    let end = match locked_by(data) {
        Some(_) => ask()?,
        // A server that has begun meanwhile writes what we read.
        None => log_end(data).or_else(|error| locked_by(data).map_or(Err(error), |_| ask()))?,
    };
    let status = status.map(|status| compare(data, status, end)).transpose()?;
    let _ = if is_json { write_json(out, status, end) } else { write_text(out, status, end) };
    Ok(ExitCode::SUCCESS)
}

/// How far the tables are, and why the next export would copy everything, if it would.
type Compared = (ExportStatus, Option<CopyReason>);

/// Looks whether the log of a data folder, which ends with this commit, goes on from the tables.
fn compare(data: &Path, status: ExportStatus, end: u64) -> Result<Compared, Fatal> {
    let folder = data.join(LOG_FOLDER);
    let reason = match status.cursor.log {
        Some(_) if !folder.exists() => Some(CopyReason::OtherLog),
        _ => follow(&folder, status.cursor, end)
            .map_err(|error| Fatal::new(FatalReason::StateUnusable, error))?
            .err(),
    };
    Ok((status, reason))
}

/// The number of the last commit of a log that nobody writes.
fn log_end(data: &Path) -> Result<u64, Fatal> {
    let folder = data.join(LOG_FOLDER);
    // An imported world has none before its first start.
    if !folder.exists() {
        return Ok(0);
    }
    let end = recover(&folder, |_| Ok::<_, Infallible>(()));
    let end = end.map_err(|error| Fatal::new(FatalReason::StateUnusable, error))?;
    Ok(end.last_commit())
}

fn write_text(out: &mut dyn Write, status: Option<Compared>, end: u64) -> std::io::Result<()> {
    let Some((ExportStatus { cursor, age_s }, reason)) = status else {
        writeln!(out, "tables: never filled")?;
        return writeln!(out, "log:    commit {end}");
    };
    let behind = end.saturating_sub(cursor.commit);
    let log = cursor.log.map_or("none".to_owned(), |log| format!("{log:08x}"));
    writeln!(out, "tables: commit {} of log {log}, {age_s:.1} s ago", cursor.commit)?;
    writeln!(out, "log:    commit {end}")?;
    writeln!(out, "behind: {behind} commits")?;
    if cursor.commit < cursor.copied_to {
        let copied_to = cursor.copied_to;
        writeln!(out, "copy:   rows are of different moments up to commit {copied_to}")?;
    }
    match reason {
        None => writeln!(out, "next:   goes on from there"),
        Some(reason) if reason.is_other_world() => {
            let word = reason.word();
            writeln!(out, "next:   {word}: nothing is exported without export.replace")
        }
        Some(reason) => writeln!(out, "next:   {}: everything is copied", reason.word()),
    }
}

fn write_json(out: &mut dyn Write, status: Option<Compared>, end: u64) -> std::io::Result<()> {
    let cursor = status.map(|(status, _)| status.cursor);
    let reason = status.and_then(|(_, reason)| reason);
    let object = json!({
        "commit": cursor.map(|cursor| cursor.commit),
        "log": cursor.and_then(|cursor| cursor.log),
        "copied_to": cursor.map(|cursor| cursor.copied_to),
        "exported_s_ago": status.map(|(status, _)| status.age_s),
        "log_commit": end,
        "behind": cursor.map(|cursor| end.saturating_sub(cursor.commit)),
        "full_copy": reason.map(CopyReason::word),
    });
    writeln!(out, "{object}")
}

fn export_all(
    config: &ServerConfig,
    export: &ExportConfig,
    place: &PostgresPlace,
    is_json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Fatal> {
    let data = data_folder(config)?;
    let _locked = DataFolder::reserve(data)?;
    let stored = StateFolder::open(data)?;
    // Tables may be the only ones that have what a log that is lost had.
    let log_end = read_whole(&stored)?;
    let progress = LogProgress::default();
    progress.durable_commit.store(log_end.last_commit(), Release);
    let source = ExportSource {
        store: stored.store,
        log_folder: stored.log_folder,
        progress: Arc::new(progress),
        needs: Arc::new(LogNeeds::default()),
        log_bytes_max: export.log_bytes_max,
        may_replace: export.replace,
    };
    let mut exporter = Exporter::new(place.clone(), source);
    let (mut commits, mut objects, mut reason) = (0, 0, None);
    make_runtime()?.block_on(async {
        loop {
            let round = match exporter.round().await {
                Err(error) if error.is_divisible() => continue,
                round => round.map_err(|error| export_fatal(&error))?,
            };
            match round {
                ExportRound::UpToDate => return Ok::<(), Fatal>(()),
                ExportRound::Applied { commits: more, objects: changed, .. } => {
                    commits += more;
                    objects += changed;
                }
                ExportRound::Copied { objects: copied, reason: why } => {
                    objects += copied;
                    reason = Some(why.word());
                }
            }
        }
    })?;
    let _ = if is_json {
        let object = json!({ "commits": commits, "rows": objects, "full_copy": reason });
        writeln!(out, "{object}")
    } else {
        let copy = reason.map_or(String::new(), |why| format!(", after a full copy ({why})"));
        writeln!(out, "exported {commits} commits, {objects} rows{copy}")
    };
    Ok(ExitCode::SUCCESS)
}
