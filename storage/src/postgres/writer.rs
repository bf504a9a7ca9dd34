//! What the exporter writes: changes with the cursor behind them, or everything, each in one
//! transaction.

use tokio_postgres::types::ToSql;
use warren_core::ids::{Address, ObjectId, PartitionId};
use warren_core::message::Message;

use super::copy_rows::CopyRows;
use super::merge::{Changes, Merged};
use super::session::Session;
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

/// A row that is there already is newer or the same: it comes from a full copy.
const APPLY: &str = "
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
    WHERE s.action = 3 AND o.partition = s.partition AND o.address = s.address;

    INSERT INTO partitions AS p (partition, next_address)
    SELECT partition, max(address) + 1 FROM staged GROUP BY partition
    ON CONFLICT (partition) DO UPDATE
    SET next_address = excluded.next_address WHERE p.next_address < excluded.next_address";

/// A changed object that is not at its version now was not at the one before. One that is not there may
/// have been deleted later in the log only where a full copy is newer than the change.
const GAPS: &str = "
    SELECT s.partition, s.address, s.base, o.version
    FROM staged AS s
    LEFT JOIN objects AS o ON o.partition = s.partition AND o.address = s.address
    WHERE s.action = 2 AND (o.version < s.version OR (o.version IS NULL AND $1))
    LIMIT 1";

const ADVANCE: &str = "
    UPDATE cursor SET log = $1, commit = $2, checksum = $3, exported = now()
    WHERE commit = $4 AND log IS NOT DISTINCT FROM $5";

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
        if !row.get::<_, bool>(0) {
            return Err(PostgresError::Busy(place.schema.clone()));
        }
        session.run(STAGED).await?;
        Ok(Self { session })
    }

    /// Up to where the tables are; none: they were never filled.
    pub(super) async fn cursor(&self) -> Result<Option<ExportCursor>, PostgresError> {
        read_cursor(&self.session).await
    }

    /// Whether there is anything of a world in the tables.
    pub(super) async fn has_rows(&self) -> Result<bool, PostgresError> {
        let session = &self.session;
        let query = "SELECT EXISTS (SELECT FROM objects) OR EXISTS (SELECT FROM partitions)";
        Ok(session.bounded(session.client.query_one(query, &[])).await?.get(0))
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
        session.run(APPLY).await?;
        // What a change within the reach of a full copy does not find was deleted later.
        let is_behind_copy = from.commit >= from.copied_to;
        let gap = session.bounded(session.client.query_opt(GAPS, &[&is_behind_copy])).await?;
        if let Some(row) = gap {
            let (partition, address): (i32, i64) = (row.get(0), row.get(1));
            let object = ObjectId((partition as u64) << 48 | address.cast_unsigned());
            let expected = row.get::<_, i64>(2).cast_unsigned();
            let found = row.get::<_, Option<i64>>(3).map(i64::cast_unsigned);
            return Err(PostgresError::Gap { object, expected, found });
        }
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
    let age_s = row.map_or(0.0, |row| row.get(0));
    Ok(Some(ExportStatus { cursor, age_s }))
}

pub(super) async fn read_cursor(session: &Session) -> Result<Option<ExportCursor>, PostgresError> {
    let query = "SELECT log, commit, checksum, copied_to FROM cursor";
    let row = session.bounded(session.client.query_opt(query, &[])).await?;
    let number = |number: Option<i64>| number.map(|number| number as u32);
    Ok(row.map(|row| ExportCursor {
        log: number(row.get(0)),
        commit: row.get::<_, i64>(1).cast_unsigned(),
        checksum: number(row.get(2)),
        copied_to: row.get::<_, i64>(3).cast_unsigned(),
    }))
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
        Merged::Deleted => {
            staged.int2(ACTION_DELETED);
            (0..5).for_each(|_| staged.null());
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
        next_addresses: &[(PartitionId, Address)],
        cursor: ExportCursor,
    ) -> Result<u64, PostgresError> {
        let Self { session, rows, .. } = self;
        let copied = rows.finish().await?;
        let mut partitions = CopyRows::begin(session, COPY_PARTITIONS).await?;
        for (partition, next) in next_addresses {
            partitions.begin_row(2).await?;
            partitions.int4(i32::from(partition.0));
            partitions.int8(next.get().cast_signed());
        }
        partitions.finish().await?;
        let insert =
            "INSERT INTO cursor (log, commit, checksum, copied_to) VALUES ($1, $2, $3, $4)";
        let (log, commit, checksum) = cursor.numbers();
        let copied_to = cursor.copied_to.cast_signed();
        let numbers: [&(dyn ToSql + Sync); 4] = [&log, &commit, &checksum, &copied_to];
        session.bounded(session.client.execute(insert, &numbers)).await?;
        session.run("COMMIT").await?;
        Ok(copied)
    }
}
