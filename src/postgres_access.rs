//! What the server and its commands need to reach Postgres: the password, and words for what fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use warren_storage::postgres::{ExportError, ImportError, PostgresError, PostgresPlace};

use crate::fatal::{Fatal, FatalReason};

/// Bits of a file's mode that its owner's group, or others, must not have.
const MODE_REFUSED: u32 = 0o027;
/// The variable that libpq reads.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";

/// The place with its password: from the first line of the file, else from the environment. It is never
/// an argument, since those can be read by every process of the machine.
pub(crate) fn with_password(
    place: &PostgresPlace,
    file: Option<&Path>,
) -> Result<PostgresPlace, Fatal> {
    let mut place = place.clone();
    if let Some(file) = file {
        place.set_password(read_password(file)?.as_bytes());
    } else if let Some(password) = std::env::var_os(PASSWORD_VARIABLE) {
        place.set_password(password.as_encoded_bytes());
    }
    Ok(place)
}

/// The first line of a file, which must not be open to others.
fn read_password(path: &Path) -> Result<String, Fatal> {
    let refused = |why: &dyn std::fmt::Display| {
        let detail = format_args!("the password of Postgres: {}: {why}", path.display());
        Fatal::new(FatalReason::ConfigInvalid, detail)
    };
    let mut file = File::open(path).map_err(|error| refused(&error))?;
    let mode = file.metadata().map_err(|error| refused(&error))?.mode();
    if mode & MODE_REFUSED != 0 {
        let mode = mode & 0o777;
        return Err(refused(&format_args!(
            "others may read or change it (mode {mode:04o}); allowed: 0600, or 0640 for a group"
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| refused(&error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// How the process ends when Postgres does not do what it has to.
pub(crate) fn postgres_fatal(error: &PostgresError) -> Fatal {
    let reason = match error {
        PostgresError::SchemaNewer { .. }
        | PostgresError::SchemaMissing(_)
        | PostgresError::EncodingUnsupported(_)
        | PostgresError::Gap { .. }
        | PostgresError::GapInCount { .. } => FatalReason::StateUnusable,
        _ => FatalReason::ServiceUnavailable,
    };
    Fatal::new(reason, error)
}

/// How the process ends when a world cannot be imported.
pub(crate) fn import_fatal(error: &ImportError) -> Fatal {
    match error {
        ImportError::Postgres(error) => postgres_fatal(error),
        ImportError::Store(error) => Fatal::new(FatalReason::StateNotStored, error),
        ImportError::RowMalformed { .. }
        | ImportError::PartitionMalformed { .. }
        | ImportError::NeverExported => Fatal::new(FatalReason::StateUnusable, error),
    }
}

/// How the process ends when it cannot export.
pub(crate) fn export_fatal(error: &ExportError) -> Fatal {
    match error {
        ExportError::Postgres(error) | ExportError::TooSlow { error, .. } => postgres_fatal(error),
        ExportError::Tail(_)
        | ExportError::Record { .. }
        | ExportError::Store(_)
        | ExportError::OtherWorld(_) => Fatal::new(FatalReason::StateUnusable, error),
    }
}
