//! A world from Postgres into a new store, as it stood at one moment.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;

use futures_util::TryStreamExt;
use thiserror::Error;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use warren_core::hashing::HashSeed;
use warren_core::ids::{Address, Epoch, GroupId, ObjectId, PartitionId, Sequence};
use warren_core::message::Message;
use warren_core::partition::{FIRST_ADDRESS, Partition, object_digest};
use warren_core::snapshot::{
    SNAPSHOT_BATCH_BYTES_MAX, SNAPSHOT_BATCH_OBJECTS_MAX, SnapshotBatch, StoredState,
};
use warren_core::turn::Span;

use super::session::{Session, bounded, column};
use super::values::record_of;
use super::writer::{read_crashes, read_cursor};
use super::{PostgresError, PostgresPlace, schema};
use crate::StateStore;
use crate::state_store::{CRASH_ADDRESSES, StoreError, passed_over};

/// Addresses are passed over as after so many crashes more than the server that exports has told of:
/// for those that it had since, and for what it gave away and has not exported.
const CRASHES_UNTOLD: u64 = 1 << 13;
// So a world may move thousands of times before its partitions are full.
const _: () = assert!((Address::MAX.get() / CRASH_ADDRESSES / CRASHES_UNTOLD) >= 4095);

/// Why a world cannot be imported. What the store has by then is no world.
#[derive(Debug, Error)]
pub enum ImportError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is no object that a server could load.
    #[error("row-malformed: objects, partition {partition} address {address}: {why}")]
    RowMalformed {
        /// As it stands in the row.
        partition: i32,
        /// As it stands in the row.
        address: i64,
        /// What is wrong with it.
        why: String,
    },
    /// A partition's next address is none.
    #[error(
        "row-malformed: partitions, partition {partition}: its next address {next_address} is none"
    )]
    PartitionMalformed {
        /// As it stands in the row.
        partition: i32,
        /// As it stands in the row.
        next_address: i64,
    },
    /// The tables have never been filled.
    #[error("export-missing: nothing was ever exported to these tables")]
    NeverExported,
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Objects, rooms and users among them.
    pub objects: u64,
    /// Their digest, as a server that loads them tells it.
    pub digest: u64,
    /// The last commit of the old server's log that is in it.
    pub commit: u64,
    /// False when the export was still behind a full copy: then objects are of different moments.
    pub is_of_one_moment: bool,
}

/// Fills a store that has nothing, and leaves it as a server does that has stored all it had. Objects
/// get no address that the old server has given away: as after crashes many are passed over, since
/// the export may have been behind.
///
/// # Errors
/// [`ImportError`].
pub async fn import(
    place: &PostgresPlace,
    store: &StateStore,
    taken_ms: u64,
) -> Result<Imported, ImportError> {
    let session = Session::connect(place).await?;
    schema::check(&session, place).await?;
    // Everything is of the moment of the first question. It comes behind the lock: as of a moment
    // before the end of a full copy there are no rows.
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    session.run("LOCK TABLE objects, partitions, cursor IN ACCESS SHARE MODE").await?;
    let cursor = read_cursor(&session).await?.ok_or(ImportError::NeverExported)?;
    let crashes = read_crashes(&session).await?;
    let next_addresses = next_addresses(&session).await?;
    store.begin_import(crashes.saturating_add(CRASHES_UNTOLD))?;
    let mut filling = Filling::new(store, taken_ms, next_addresses, crashes);
    let query = "SELECT partition, address, kind, fields::text, version FROM objects
                 ORDER BY partition, address";
    // The whole takes as long as it takes; each row has the bound.
    session.run("SET statement_timeout = 0").await?;
    let none: [&dyn ToSql; 0] = [];
    let rows = session.bounded(session.client.query_raw(query, none)).await?;
    let mut rows = pin!(rows);
    while let Some(row) = bounded(session.timeout, rows.try_next()).await? {
        filling.take(&row)?;
    }
    let (objects, digest) = filling.end()?;
    store.sync()?;
    store.close()?;
    let is_of_one_moment = cursor.commit >= cursor.copied_to;
    Ok(Imported { objects, digest, commit: cursor.commit, is_of_one_moment })
}

async fn next_addresses(session: &Session) -> Result<BTreeMap<PartitionId, Address>, ImportError> {
    let query = "SELECT partition, next_address FROM partitions";
    let rows = session.bounded(session.client.query(query, &[])).await?;
    let read = |row: &Row| {
        let (partition, next_address): (i32, i64) = (column(row, 0)?, column(row, 1)?);
        let next = u64::try_from(next_address).ok().filter(|next| *next > 0);
        let next = next.and_then(Address::new);
        match (u16::try_from(partition), next) {
            (Ok(id), Some(next)) => Ok((PartitionId(id), next)),
            _ => Err(ImportError::PartitionMalformed { partition, next_address }),
        }
    };
    rows.iter().map(read).collect()
}

/// A store that is being filled, in the order of ids.
struct Filling<'a> {
    store: &'a StateStore,
    taken_ms: u64,
    next_addresses: BTreeMap<PartitionId, Address>,
    /// Of the server that has exported.
    crashes: u64,
    seed: HashSeed,
    /// The partition of the last row, by which each of its rows is checked.
    partition: Option<(PartitionId, Partition)>,
    batch: Option<SnapshotBatch>,
    objects: u64,
    digest: u64,
}

impl<'a> Filling<'a> {
    fn new(
        store: &'a StateStore,
        taken_ms: u64,
        next_addresses: BTreeMap<PartitionId, Address>,
        crashes: u64,
    ) -> Self {
        let random = RandomState::new();
        let seed = HashSeed(random.hash_one(0), random.hash_one(1));
        let (partition, batch) = (None, None);
        let (objects, digest) = (0, 0);
        Self { store, taken_ms, next_addresses, crashes, seed, partition, batch, objects, digest }
    }

    fn take(&mut self, row: &Row) -> Result<(), ImportError> {
        let (partition, address): (i32, i64) = (column(row, 0)?, column(row, 1)?);
        let malformed = |why: String| ImportError::RowMalformed { partition, address, why };
        let id = object_id(partition, address)
            .ok_or_else(|| malformed("no object has these numbers".to_owned()))?;
        let version = u64::try_from(column::<i64>(row, 4)?)
            .map_err(|_| malformed("its version is negative".to_owned()))?;
        let record = record_of(column(row, 2)?, column(row, 3)?);
        let record = record.map_err(|why| malformed(why.to_string()))?;
        self.check(id, version, &record).map_err(malformed)?;
        self.objects += 1;
        let digest = object_digest(id, version, Message::from_checked(&record));
        self.digest = self.digest.wrapping_add(digest);
        self.store(id, version, &record)?;
        Ok(())
    }

    /// What the next start would refuse is refused here, where the row can be named.
    fn check(&mut self, id: ObjectId, version: u64, record: &[u8]) -> Result<(), String> {
        let home = id.partition();
        if self.partition.as_ref().is_none_or(|(partition, _)| *partition != home) {
            self.partition = Some((home, Partition::alone(home, self.seed)));
        }
        let (_, partition) = self.partition.as_mut().expect("it was made");
        partition.restore(id, version, record).map_err(|error| error.to_string())?;
        let beyond = Address::new(id.address().get() + 1).expect("the last address is no object's");
        let next = self.next_addresses.entry(home).or_insert(beyond);
        *next = (*next).max(beyond);
        Ok(())
    }

    fn store(&mut self, id: ObjectId, version: u64, record: &[u8]) -> Result<(), StoreError> {
        let group = id.partition().group();
        let is_full = |batch: &SnapshotBatch| {
            batch.group != group
                || batch.objects.len() >= SNAPSHOT_BATCH_OBJECTS_MAX
                || batch.bytes.len() >= SNAPSHOT_BATCH_BYTES_MAX
        };
        if self.batch.as_ref().is_some_and(is_full) {
            self.write()?;
        }
        let taken_ms = self.taken_ms;
        let batch = self.batch.get_or_insert_with(|| empty_batch(group, taken_ms));
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(record);
        let record = Span::since(start, &batch.bytes);
        batch.objects.push((id, StoredState::Present { version, record }));
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.batch.take().map_or(Ok(()), |batch| self.store.write(&batch))
    }

    /// Number of objects, and their digest.
    fn end(mut self) -> Result<(u64, u64), StoreError> {
        self.write()?;
        let mut of_groups: BTreeMap<GroupId, SnapshotBatch> = BTreeMap::new();
        // A partition that crashes have emptied began as one that was never there.
        let first = passed_over(FIRST_ADDRESS, self.crashes);
        for (partition, next) in &self.next_addresses {
            let next = passed_over((*next).max(first), CRASHES_UNTOLD);
            let group = partition.group();
            let batch = of_groups.entry(group).or_insert_with(|| empty_batch(group, self.taken_ms));
            batch.next_addresses.push((*partition, next));
        }
        of_groups.values().try_for_each(|batch| self.store.write(batch))?;
        Ok((self.objects, self.digest))
    }
}

/// Partition and address of an object that may be.
fn object_id(partition: i32, address: i64) -> Option<ObjectId> {
    let partition = PartitionId(u16::try_from(partition).ok()?);
    let address = Address::new(u64::try_from(address).ok()?)?;
    (address < Address::MAX).then(|| ObjectId::new(partition, address))
}

/// A batch of a world that has no log yet.
fn empty_batch(group: GroupId, taken_ms: u64) -> SnapshotBatch {
    SnapshotBatch {
        group,
        epoch: Epoch(1),
        covers: None,
        position: Sequence(0),
        taken_ms,
        objects: Vec::new(),
        forgotten: Vec::new(),
        next_addresses: Vec::new(),
        bytes: Vec::new(),
    }
}
