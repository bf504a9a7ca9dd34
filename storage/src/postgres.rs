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
mod follow;
mod import;
mod merge;
mod place;
mod schema;
mod session;
mod values;
mod writer;

pub use exporter::{ExportError, ExportRound, ExportSource, Exporter};
pub use follow::{CopyReason, follow};
pub use import::{ImportError, Imported, import};
pub use merge::{Before, ChangeError};
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
    /// It has given up what it was asked, after the time that we have allowed.
    #[error("Postgres has not done it in time: {0}")]
    Canceled(String),
    /// It does not do what it was asked.
    #[error("Postgres refuses: {0}")]
    Refused(String),
    /// It answers something else than was asked.
    #[error("Postgres answers what was not asked: {0}")]
    AnswerMalformed(String),
    /// The database cannot hold every text.
    #[error("encoding-unsupported: the database has the encoding {0}; allowed: UTF8")]
    EncodingUnsupported(String),
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
        "export-gap: object {object} is {found} in the tables, and was {expected} where the log goes on"
    )]
    Gap {
        /// Which.
        object: ObjectId,
        /// What the change was made from.
        expected: Before,
        /// What is in the tables.
        found: Before,
    },
    /// Somebody else writes to the tables at the same time.
    #[error("export-gap: {expected} rows had to be written or removed, and {found} were")]
    GapInCount {
        /// How many.
        expected: u64,
        /// How many there were.
        found: u64,
    },
    /// The cursor is not where this exporter has put it.
    #[error("export-superseded: something else has written the cursor")]
    Superseded,
    /// Another exporter is connected.
    #[error("export-busy: another server exports to the schema {0:?}")]
    Busy(String),
}

impl PostgresError {
    /// Whether something is missing in the tables, which only a full copy mends.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::GapInCount { .. })
    }

    /// Whether less may be done in the same time.
    pub(crate) fn is_too_slow(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Canceled(_))
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
            if code == "57014" {
                return Self::Canceled(format!("{message}, {code}"));
            }
            return Self::Refused(format!("{message}{detail}, {code}"));
        }
        Self::Unreachable(words_of(&error))
    }
}

/// An error with what is behind it.
fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    words
}
