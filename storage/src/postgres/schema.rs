//! The tables, and how those of an older version become those of this one.

use super::session::{Session, column};
use super::{PostgresError, PostgresPlace};

/// The version of the tables that this version of Warren knows.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// What leads from each version to the next, from none on. One that was released never changes.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE objects (
        partition int NOT NULL CHECK (partition BETWEEN 0 AND 65535),
        address bigint NOT NULL CHECK (address > 0),
        kind text NOT NULL,
        fields jsonb NOT NULL,
        version bigint NOT NULL CHECK (version > 0),
        updated timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (partition, address)
    );
    CREATE TABLE partitions (
        partition int PRIMARY KEY CHECK (partition BETWEEN 0 AND 65535),
        next_address bigint NOT NULL CHECK (next_address > 0)
    );
    CREATE TABLE cursor (
        single boolean PRIMARY KEY DEFAULT true CHECK (single),
        log bigint,
        commit bigint NOT NULL,
        checksum bigint,
        copied_to bigint NOT NULL,
        exported timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON TABLE objects IS 'One row an object of a Warren; see docs/postgres.md';
    COMMENT ON TABLE partitions IS 'The address that the next object of a partition gets';
    COMMENT ON TABLE cursor IS 'Up to which commit of which delta log the tables are';
",
    "
    ALTER TABLE cursor ADD COLUMN copied_checksum bigint;
    ALTER TABLE cursor ADD COLUMN crashes bigint NOT NULL DEFAULT 0 CHECK (crashes >= 0);
",
];

/// Makes the tables, or brings them to this version. Whoever else does so waits, so it happens once.
pub(super) async fn migrate(session: &Session, place: &PostgresPlace) -> Result<(), PostgresError> {
    let schema = &place.schema;
    session.run("BEGIN").await?;
    let client = &session.client;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('warren migrate ' || $1, 0))";
    session.bounded(client.query_one(lock, &[schema])).await?;
    // IF NOT EXISTS asks for the right to make one even where it is there.
    if !is_there(session, "SELECT 1 FROM pg_namespace WHERE nspname = $1", schema).await? {
        session.run(&format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    let found = match version(session, schema).await? {
        Some(found) => found,
        None => {
            let table = "CREATE TABLE warren_schema (
                version int PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())";
            session.run(table).await?;
            0
        }
    };
    check_known(found)?;
    for (version, migration) in (1i32..).zip(MIGRATIONS) {
        if version > found {
            session.run(migration).await?;
            let note = "INSERT INTO warren_schema (version) VALUES ($1)";
            session.bounded(client.execute(note, &[&version])).await?;
        }
    }
    session.run("COMMIT").await
}

/// That the tables are of a version that this one reads.
pub(super) async fn check(session: &Session, place: &PostgresPlace) -> Result<(), PostgresError> {
    match version(session, &place.schema).await? {
        None | Some(0) => Err(PostgresError::SchemaMissing(place.schema.clone())),
        Some(found) => check_known(found),
    }
}

fn check_known(found: i32) -> Result<(), PostgresError> {
    if found > SCHEMA_VERSION { Err(PostgresError::SchemaNewer { found }) } else { Ok(()) }
}

/// None: there is no table that says so.
async fn version(session: &Session, schema: &str) -> Result<Option<i32>, PostgresError> {
    let table = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'warren_schema'";
    if !is_there(session, table, schema).await? {
        return Ok(None);
    }
    let highest = "SELECT coalesce(max(version), 0) FROM warren_schema";
    let row = session.bounded(session.client.query_one(highest, &[])).await?;
    column(&row, 0).map(Some)
}

async fn is_there(session: &Session, query: &str, name: &str) -> Result<bool, PostgresError> {
    Ok(session.bounded(session.client.query_opt(query, &[&name])).await?.is_some())
}
