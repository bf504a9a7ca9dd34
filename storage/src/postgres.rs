//! Postgres: a copy of all objects for those who ask in SQL, and the way by which a world moves to
//! another machine. The one place in the workspace with SQL.
//!
//! ```text
//! delta log ──commits, by a cursor of its own──► merge, object by object ──COPY──► staged ──SQL──► objects
//! store ─────all objects, when there is nothing to follow──────────────────COPY──────────────────►
//! objects ──one transaction──► check, partition by partition ──► a new store
//! ```
//!
//! Invariants: what a transaction changes and the cursor that says so are committed together; versions of
//! an object follow each other, and what does not follow is never passed over in silence; what a row
//! says is checked before it is an object.
//!
//! Its calls wait for the network with a bound each, and belong on a thread of their own.

use std::time::Duration;

use thiserror::Error;
use warren_core::ids::ObjectId;

mod copy_rows;
mod exporter;
mod import;
mod merge;
mod place;
mod schema;
mod session;
mod values;
mod writer;

pub use exporter::{CopyReason, ExportError, ExportRound, ExportSource, Exporter};
pub use import::{ImportError, Imported, import};
pub use merge::ChangeError;
pub use place::{PlaceError, PostgresPlace};
pub use schema::SCHEMA_VERSION;
pub use values::ValueError;
pub use writer::{ExportCursor, ExportStatus, read_status};

/// What can go wrong between us and Postgres.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// There is no connection, or it is gone.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(String),
    /// It is there, and silent.
    #[error("Postgres does not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It does not do what it was asked.
    #[error("Postgres refuses: {0}")]
    Refused(String),
    /// The tables were made by a newer version of Warren.
    #[error(
        "schema-newer: the tables are of version {found}; this version of Warren knows {SCHEMA_VERSION}"
    )]
    SchemaNewer {
        /// Their version.
        found: i32,
    },
    /// There are no tables.
    #[error("schema-missing: the schema {0:?} has no tables of Warren")]
    SchemaMissing(String),
    /// Versions of an object do not follow each other: something is not in the tables that should be.
    #[error(
        "export-gap: object {object} is of version {found:?} in the tables, and the log goes on from {expected}"
    )]
    Gap {
        /// Which.
        object: ObjectId,
        /// The version that the change was made from.
        expected: u64,
        /// The version in the tables; none: it is not there.
        found: Option<u64>,
    },
    /// The cursor is not where this exporter has put it.
    #[error("export-superseded: something else has written the cursor")]
    Superseded,
    /// Another exporter is connected.
    #[error("export-busy: another server exports to the schema {0:?}")]
    Busy(String),
}

impl PostgresError {
    /// Whether it may go away by itself.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut(_))
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(database) = error.as_db_error() {
            let (code, message) = (database.code().code(), database.message());
            let detail = database.detail().map(|it| format!(" ({it})")).unwrap_or_default();
            // Shutting down, starting up, too many connections: it is not there for us.
            if matches!(code, "57P01" | "57P02" | "57P03" | "53300") {
                return Self::Unreachable(format!("{message}, {code}"));
            }
            return Self::Refused(format!("{message}{detail}, {code}"));
        }
        let mut words = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            words = format!("{words}: {inner}");
            source = inner.source();
        }
        Self::Unreachable(words)
    }
}
