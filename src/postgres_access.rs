//! What the server and its commands need to reach Postgres: the password, and words for what fails.

use std::path::Path;

use warren_storage::postgres::{ExportError, ImportError, PostgresError, PostgresPlace};

use crate::fatal::{Fatal, FatalReason};

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
        let text = std::fs::read_to_string(file).map_err(|error| {
            let detail = format_args!("the password of Postgres: {}: {error}", file.display());
            Fatal::new(FatalReason::ConfigInvalid, detail)
        })?;
        place.set_password(text.lines().next().unwrap_or_default().as_bytes());
    } else if let Some(password) = std::env::var_os(PASSWORD_VARIABLE) {
        place.set_password(password.as_encoded_bytes());
    }
    Ok(place)
}

/// How the process ends when Postgres does not do what it has to.
pub(crate) fn postgres_fatal(error: &PostgresError) -> Fatal {
    let reason = match error {
        PostgresError::SchemaNewer { .. }
        | PostgresError::SchemaMissing(_)
        | PostgresError::Gap { .. } => FatalReason::StateUnusable,
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
        ExportError::Postgres(error) => postgres_fatal(error),
        ExportError::Tail(_)
        | ExportError::Record { .. }
        | ExportError::Store(_)
        | ExportError::OtherWorld(_) => Fatal::new(FatalReason::StateUnusable, error),
    }
}
