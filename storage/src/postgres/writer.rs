//! What the exporter writes: changes with the cursor behind them, or everything, each in one
//! transaction.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use warren_core::ids::{Address, ObjectId, PartitionId};
use warren_core::message::Message;

use super::copy_rows::CopyRows;
use super::merge::{Before, Changes, Merged};
use super::session::{Session, column};
use super::values::write_fields;
use super::{PostgresError, PostgresPlace, schema};
use crate::state_store::StoredObject;

/// Where changes stand before they are applied, object by object. The numbers of actions are below.
const STAGED: &str = "
    CREATE TEMPORARY TABLE staged (
        partition int, address bigint, action smallint, kind text, fields jsonb, removed text,
        base bigint, version bigint
    ) ON COMMIT DELETE ROWS;
    -- Few rows meet many, and the planner knows nothing of a table that is filled anew each time.
    SET enable_hashjoin = off; SET enable_mergejoin = off";

const STAGE: &str = "COPY staged FROM STDIN BINARY";
const ACTION_CREATED: i16 = 1;
const ACTION_CHANGED: i16 = 2;
const ACTION_DELETED: i16 = 3;
/// Made and deleted again: there is no row, and the address is given away.
const ACTION_PASSED: i16 = 4;

/// As long as a full copy reaches beyond the cursor a row may have a change already, and what a change
/// does not find was deleted later.
const APPLY_ONTO_COPY: &str = "
    INSERT INTO objects AS o (partition, address, kind, fields, version)
    SELECT partition, address, kind, fields, version FROM staged WHERE action = 1
    ON CONFLICT (partition, address) DO UPDATE
    SET kind = excluded.kind, fields = excluded.fields, version = excluded.version, updated = now()
    WHERE o.version < excluded.version;

    UPDATE objects AS o
    SET fields = (o.fields - string_to_array(s.removed, ',')) || s.fields,
        version = s.version, updated = now()
    FROM staged AS s
    WHERE s.action = 2 AND o.partition = s.partition AND o.address = s.address
        AND o.version >= s.base AND o.version < s.version;

    DELETE FROM objects AS o USING staged AS s
    WHERE s.action IN (3, 4) AND o.partition = s.partition AND o.address = s.address";

/// Behind that, rows are what the log goes on from.
const APPLY: &str = "
    INSERT INTO objects (partition, address, kind, fields, version)
    SELECT partition, address, kind, fields, version FROM staged WHERE action = 1
    ON CONFLICT (partition, address) DO NOTHING;

    UPDATE objects AS o
    SET fields = (o.fields - string_to_array(s.removed, ',')) || s.fields,
        version = s.version, updated = now()
    FROM staged AS s
    WHERE s.action = 2 AND o.partition = s.partition AND o.address = s.address
        AND o.version = s.base;

    DELETE FROM objects AS o USING staged AS s
    WHERE s.action = 3 AND o.partition = s.partition AND o.address = s.address
        AND (s.base IS NULL OR o.version = s.base)";

const PASS_ADDRESSES: &str = "
    INSERT INTO partitions AS p (partition, next_address)
    SELECT partition, max(address) + 1 FROM staged GROUP BY partition
    ON CONFLICT (partition) DO UPDATE
    SET next_address = excluded.next_address WHERE p.next_address < excluded.next_address";

/// The first row that is not what the log goes on from. Within the reach of a full copy it is older
/// than that; behind it is anything else.
const GAPS: &str = "
    SELECT s.partition, s.address, s.action, s.base, o.version
    FROM staged AS s
    LEFT JOIN objects AS o ON o.partition = s.partition AND o.address = s.address
    WHERE CASE
        WHEN NOT $1 THEN s.action = 2 AND o.version < s.base
        WHEN s.action IN (1, 4) THEN o.version IS NOT NULL
        WHEN s.base IS NULL THEN o.version IS NULL
        ELSE o.version IS DISTINCT FROM s.base
    END
    LIMIT 1";

const ADVANCE: &str = "
    UPDATE cursor SET log = $1, commit = $2, checksum = $3, exported = now()
    WHERE commit = $4 AND log IS NOT DISTINCT FROM $5";

const STAGE_ADDRESSES: &str = "COPY staged (partition, address) FROM STDIN BINARY";

/// The last of a partition that was given away stands there.
const TELL_CRASHES: &str = "
    UPDATE cursor SET crashes = greatest(crashes, $1)
    WHERE commit = $2 AND log IS NOT DISTINCT FROM $3";

const COPY_OBJECTS: &str =
    "COPY objects (partition, address, kind, fields, version) FROM STDIN BINARY";
const COPY_PARTITIONS: &str = "COPY partitions (partition, next_address) FROM STDIN BINARY";

/// Up to where the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportCursor {
    /// The salt of the log; none: it was not begun yet.
    pub log: Option<u32>,
    /// The last commit that is in the tables.
    pub commit: u64,
    /// Its checksum; none right behind a full copy.
    pub checksum: Option<u32>,
    /// The last commit of which something may be in the last full copy: up to there rows are of
    /// different moments.
    pub copied_to: u64,
    /// The checksum of that commit, if there is one.
    pub copied_checksum: Option<u32>,
}

/// What a server passes over before it gives an address away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Of each partition that has any, the next one.
    pub(super) next: Vec<(PartitionId, Address)>,
    /// Crashes, after each of which every partition passes over many.
    pub(super) crashes: u64,
}

impl ExportCursor {
    /// Log, commit and checksum as columns.
    fn numbers(&self) -> (Option<i64>, i64, Option<i64>) {
        (self.log.map(i64::from), self.commit.cast_signed(), self.checksum.map(i64::from))
    }
}

/// The exporter's connection. It is good for nothing once it has failed.
pub(super) struct Writer {
    session: Session,
}

impl Writer {
    /// Connects, brings the tables to this version, and sees to it that nobody else exports to them.
    pub(super) async fn connect(place: &PostgresPlace) -> Result<Self, PostgresError> {
        let session = Session::connect(place).await?;
        schema::migrate(&session, place).await?;
        let lock = "SELECT pg_try_advisory_lock(hashtextextended('warren export ' || $1, 0))";
        let row = session.bounded(session.client.query_one(lock, &[&place.schema])).await?;
        if !column::<bool>(&row, 0)? {
            return Err(PostgresError::Busy(place.schema.clone()));
        }
        session.run(STAGED).await?;
        Ok(Self { session })
    }

    /// Makes the staging table anew. Nothing freezes the rows of a temporary table, nor those of the
    /// catalogue that it had when it was made.
    pub(super) async fn renew(&self) -> Result<(), PostgresError> {
        self.session.run(&format!("DROP TABLE staged; {STAGED}")).await
    }

    /// Up to where the tables are; none: they were never filled.
    pub(super) async fn cursor(&self) -> Result<Option<ExportCursor>, PostgresError> {
        read_cursor(&self.session).await
    }

    /// Whether there is anything of a world in the tables.
    pub(super) async fn has_rows(&self) -> Result<bool, PostgresError> {
        let session = &self.session;
        let query = "SELECT EXISTS (SELECT FROM objects) OR EXISTS (SELECT FROM partitions)";
        column(&session.bounded(session.client.query_one(query, &[])).await?, 0)
    }

    /// Notes up to where addresses are given away, which says more than the rows: a server that has
    /// crashed passes over many.
    pub(super) async fn tell_addresses(
        &self,
        addresses: &Addresses,
        at: ExportCursor,
    ) -> Result<(), PostgresError> {
        let session = &self.session;
        session.run("BEGIN").await?;
        let mut staged = CopyRows::begin(session, STAGE_ADDRESSES).await?;
        for (partition, next) in &addresses.next {
            staged.begin_row(2).await?;
            staged.int4(i32::from(partition.0));
            staged.int8(next.get().cast_signed() - 1);
        }
        staged.finish().await?;
        session.run(PASS_ADDRESSES).await?;
        let (log, commit, _) = at.numbers();
        let crashes = addresses.crashes.cast_signed();
        let numbers: [&(dyn ToSql + Sync); 3] = [&crashes, &commit, &log];
        if session.bounded(session.client.execute(TELL_CRASHES, &numbers)).await? != 1 {
            return Err(PostgresError::Superseded);
        }
        session.run("COMMIT").await
    }

    /// Applies the changes that lead from one cursor to the next. Gives the number of objects.
    pub(super) async fn apply(
        &self,
        changes: &Changes,
        from: ExportCursor,
        to: ExportCursor,
    ) -> Result<u64, PostgresError> {
        let session = &self.session;
        session.run("BEGIN").await?;
        let mut staged = CopyRows::begin(session, STAGE).await?;
        let mut json = Vec::new();
        for (id, merged) in &changes.objects {
            staged.begin_row(8).await?;
            stage(&mut staged, *id, merged, &mut json);
        }
        let rows = staged.finish().await?;
        let is_behind_copy = from.commit >= from.copied_to;
        let gap = session.bounded(session.client.query_opt(GAPS, &[&is_behind_copy])).await?;
        if let Some(row) = gap {
            return Err(gap_of(&row)?);
        }
        if is_behind_copy {
            let written = session.count(APPLY).await?;
            let passed = changes.objects.values().filter(|merged| merged.is_passed()).count();
            let expected = rows - passed as u64;
            if written != expected {
                return Err(PostgresError::GapInCount { expected, found: written });
            }
        } else {
            session.run(APPLY_ONTO_COPY).await?;
        }
        session.run(PASS_ADDRESSES).await?;
        let ((log, commit, checksum), (old_log, old_commit, _)) = (to.numbers(), from.numbers());
        let numbers: [&(dyn ToSql + Sync); 5] = [&log, &commit, &checksum, &old_commit, &old_log];
        if session.bounded(session.client.execute(ADVANCE, &numbers)).await? != 1 {
            return Err(PostgresError::Superseded);
        }
        session.run("COMMIT").await?;
        Ok(rows)
    }

    /// Begins to replace everything that is in the tables.
    pub(super) async fn begin_copy(&self) -> Result<FullCopy<'_>, PostgresError> {
        let session = &self.session;
        // As long as it waits for earlier readers it holds up later ones.
        let lock_ms = session.timeout.as_millis() / 2;
        session.run(&format!("BEGIN; SET LOCAL lock_timeout = {lock_ms}")).await?;
        session.run("TRUNCATE objects, partitions, cursor").await?;
        // Each part of the copy has a bound, and the whole takes as long as it takes.
        session.run("SET LOCAL statement_timeout = 0").await?;
        let rows = CopyRows::begin(session, COPY_OBJECTS).await?;
        Ok(FullCopy { session, rows, json: Vec::new() })
    }
}

/// How far the tables are, as they say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportStatus {
    /// Up to where.
    pub cursor: ExportCursor,
    /// Seconds since they came there, by Postgres' clock.
    pub age_s: f64,
}

/// Asks how far the tables are. None: they were never filled.
///
/// # Errors
/// [`PostgresError`].
pub async fn read_status(place: &PostgresPlace) -> Result<Option<ExportStatus>, PostgresError> {
    let session = Session::connect(place).await?;
    match schema::check(&session, place).await {
        Err(PostgresError::SchemaMissing(_)) => return Ok(None),
        checked => checked?,
    }
    let Some(cursor) = read_cursor(&session).await? else { return Ok(None) };
    let query = "SELECT extract(epoch FROM now() - exported)::float8 FROM cursor";
    let row = session.bounded(session.client.query_opt(query, &[])).await?;
    let age_s = row.map(|row| column(&row, 0)).transpose()?.unwrap_or_default();
    Ok(Some(ExportStatus { cursor, age_s }))
}

pub(super) async fn read_cursor(session: &Session) -> Result<Option<ExportCursor>, PostgresError> {
    // Tables of the first version have no checksum of that commit.
    let query = "SELECT log, commit, checksum, copied_to,
                 (to_jsonb(c)->>'copied_checksum')::bigint FROM cursor AS c";
    let row = session.bounded(session.client.query_opt(query, &[])).await?;
    let Some(row) = row else { return Ok(None) };
    let number = |number: Option<i64>| number.map(|number| number as u32);
    Ok(Some(ExportCursor {
        log: number(column(&row, 0)?),
        commit: column::<i64>(&row, 1)?.cast_unsigned(),
        checksum: number(column(&row, 2)?),
        copied_to: column::<i64>(&row, 3)?.cast_unsigned(),
        copied_checksum: number(column(&row, 4)?),
    }))
}

/// How often the server that exports has crashed, as far as it has told.
pub(super) async fn read_crashes(session: &Session) -> Result<u64, PostgresError> {
    // Tables of the first version have no such column.
    let query = "SELECT coalesce((to_jsonb(c)->>'crashes')::bigint, 0) FROM cursor AS c";
    let row = session.bounded(session.client.query_opt(query, &[])).await?;
    let crashes = row.map(|row| column::<i64>(&row, 0)).transpose()?;
    Ok(crashes.unwrap_or_default().cast_unsigned())
}

/// The object that a row of [`GAPS`] is about.
fn gap_of(row: &Row) -> Result<PostgresError, PostgresError> {
    let (partition, address): (i32, i64) = (column(row, 0)?, column(row, 1)?);
    let object = ObjectId((partition as u64) << 48 | address.cast_unsigned());
    let (base, version): (Option<i64>, Option<i64>) = (column(row, 3)?, column(row, 4)?);
    let at = |version: i64| Before::At(version.cast_unsigned());
    let is_new = matches!(column(row, 2)?, ACTION_CREATED | ACTION_PASSED);
    let unknown = if is_new { Before::Absent } else { Before::There };
    let (expected, found) = (base.map_or(unknown, at), version.map_or(Before::Absent, at));
    Ok(PostgresError::Gap { object, expected, found })
}

fn place_of(rows: &mut CopyRows, id: ObjectId) {
    rows.int4(i32::from(id.partition().0));
    rows.int8(id.address().get().cast_signed());
}

fn stage(staged: &mut CopyRows, id: ObjectId, merged: &Merged, json: &mut Vec<u8>) {
    place_of(staged, id);
    let (action, base, change) = match merged {
        Merged::Created(change) => (ACTION_CREATED, None, change),
        Merged::Changed { base, change } => (ACTION_CHANGED, Some(*base), change),
        Merged::Deleted(before) => {
            let is_passed = merged.is_passed();
            staged.int2(if is_passed { ACTION_PASSED } else { ACTION_DELETED });
            (0..3).for_each(|_| staged.null());
            match before {
                Before::At(base) => staged.int8(base.cast_signed()),
                Before::Absent | Before::There => staged.null(),
            }
            staged.null();
            return;
        }
    };
    staged.int2(action);
    staged.text(&change.kind);
    json.clear();
    change.write_set(json);
    staged.jsonb(json);
    staged.text(&change.removed());
    match base {
        Some(base) => staged.int8(base.cast_signed()),
        None => staged.null(),
    }
    staged.int8(change.version.cast_signed());
}

/// A full copy that is under way. Readers of the tables wait for its end.
pub(super) struct FullCopy<'a> {
    session: &'a Session,
    rows: CopyRows,
    json: Vec<u8>,
}

impl FullCopy<'_> {
    /// Copies an object.
    pub(super) async fn take(&mut self, object: &StoredObject) -> Result<(), PostgresError> {
        self.rows.begin_row(5).await?;
        place_of(&mut self.rows, object.id);
        let record = Message::from_checked(&object.record);
        self.rows.text(record.method());
        self.json.clear();
        write_fields(&mut self.json, record);
        self.rows.jsonb(&self.json);
        self.rows.int8(object.version.cast_signed());
        Ok(())
    }

    /// Ends it with the partitions' next addresses and the cursor. Gives the number of objects.
    pub(super) async fn finish(
        self,
        addresses: &Addresses,
        cursor: ExportCursor,
    ) -> Result<u64, PostgresError> {
        let Self { session, rows, .. } = self;
        let copied = rows.finish().await?;
        let mut partitions = CopyRows::begin(session, COPY_PARTITIONS).await?;
        for (partition, next) in &addresses.next {
            partitions.begin_row(2).await?;
            partitions.int4(i32::from(partition.0));
            partitions.int8(next.get().cast_signed());
        }
        partitions.finish().await?;
        let insert = "INSERT INTO cursor
                      (log, commit, checksum, copied_to, copied_checksum, crashes)
                      VALUES ($1, $2, $3, $4, $5, $6)";
        let (log, commit, checksum) = cursor.numbers();
        let copied_to = cursor.copied_to.cast_signed();
        let copied_checksum = cursor.copied_checksum.map(i64::from);
        let crashes = addresses.crashes.cast_signed();
        let numbers: [&(dyn ToSql + Sync); 6] =
            [&log, &commit, &checksum, &copied_to, &copied_checksum, &crashes];
        session.bounded(session.client.execute(insert, &numbers)).await?;
        session.run("COMMIT").await?;
        Ok(copied)
    }
}
