//! The state of all partitions in RocksDB: one row an object, and beside them what a start has to
//! know.
//!
//! ```text
//! o  partition u16  address 48 bit   ->  object_record
//! p  partition u16                   ->  u64  the address that its next object gets
//! g  group u16                       ->  u32  epoch, u64  position
//! m  name                            ->  see the constants
//! ```
//!
//! Numbers in keys are big-endian, so that rows of one partition and one group stand together;
//! numbers in values are little-endian. There is one column family: rows of rarely written ones
//! would keep old write-ahead logs alive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rocksdb::{DB, DBCompressionType, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch};
use rocksdb::{Direction, WriteOptions};
use thiserror::Error;
use warren_core::ids::{
    Address, GROUP_COUNT, GroupId, ObjectId, PARTITIONS_PER_GROUP, PartitionId, Sequence,
};
use warren_core::partition::FIRST_ADDRESS;
use warren_core::shard::Shard;
use warren_core::snapshot::{RestoreError, SnapshotBatch, StoredState};
use warren_core::turn::Now;

use crate::object_record::{ObjectDecodeError, ObjectRecordV1};

// Keys of their own begin with `m`.
const PREFIX_GROUP: u8 = b'g';
const PREFIX_PARTITION: u8 = b'p';
const PREFIX_OBJECT: u8 = b'o';

/// u64: what of the keys and values above is in use.
const META_FORMAT: &[u8] = b"mformat";
/// u64: how often the store was opened: the epoch of all groups.
const META_STARTS: &[u8] = b"mstarts";
/// u64: how often it was opened after a server that had not closed it.
const META_CRASHES: &[u8] = b"mcrashes";
/// There when the last server has stored all it had.
const META_CLEAN: &[u8] = b"mclean";
/// u64: when the last batch was taken, in milliseconds since 1970.
const META_TAKEN_MS: &[u8] = b"mtaken_ms";

const FORMAT: u64 = 1;

/// Addresses that are passed over in every partition after a server that did not close the store:
/// it may have given away some that were not stored yet, and clients may remember them. Far more
/// than a partition gives away between two snapshots.
pub const CRASH_ADDRESSES: u64 = 1 << 20;

/// Files that RocksDB keeps open; descriptors are for clients.
const OPEN_FILES_MAX: i32 = 256;
/// Bytes of one memtable: what is flushed to a file at once.
const WRITE_BUFFER_BYTES: usize = 32 << 20;

/// What can go wrong with a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// RocksDB cannot open it, read it or write it.
    #[error("{path}: {error}", path = path.display())]
    Failed {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB says.
        error: rocksdb::Error,
    },
    /// It was written by a newer version of Warren.
    #[error("{path}: its format is {found}; this version reads {FORMAT}", path = path.display())]
    FormatUnknown {
        /// The store's folder.
        path: PathBuf,
        /// The format it has.
        found: u64,
    },
    /// A row is not what it has to be.
    #[error("{path}: {row} is damaged: {why}", path = path.display())]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// Which row.
        row: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What was found when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateOpened {
    /// The number of this start, from 1: the epoch of all groups from now on.
    pub start: u64,
    /// The last server has stored all it had. Also true of a new store.
    pub is_complete: bool,
    /// When the last batch was taken that is in it, in milliseconds since 1970.
    pub taken_ms: Option<u64>,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Number of objects.
    pub objects: u64,
    /// Bytes of their records.
    pub record_bytes: u64,
}

/// A key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

/// The store of one data folder. All calls may block; any thread may make them.
#[derive(Debug)]
pub struct StateStore {
    db: DB,
    path: PathBuf,
    crashes: u64,
}

impl StateStore {
    /// Opens the store in this folder, or makes it. From now on it counts as incomplete, until
    /// [`close`](Self::close).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<(Self, StateOpened), StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(4);
        let failed = |error| StoreError::Failed { path: path.to_owned(), error };
        let db = DB::open(&options, path).map_err(failed)?;
        let mut store = Self { db, path: path.to_owned(), crashes: 0 };
        let format = store.number(META_FORMAT)?.unwrap_or(FORMAT);
        if format != FORMAT {
            return Err(StoreError::FormatUnknown { path: path.to_owned(), found: format });
        }
        let starts = store.number(META_STARTS)?.unwrap_or(0);
        let is_complete = starts == 0 || store.get(META_CLEAN)?.is_some();
        store.crashes = store.number(META_CRASHES)?.unwrap_or(0) + u64::from(!is_complete);
        let opened =
            StateOpened { start: starts + 1, is_complete, taken_ms: store.number(META_TAKEN_MS)? };
        let mut rows = WriteBatch::default();
        rows.put(META_FORMAT, FORMAT.to_le_bytes());
        rows.put(META_STARTS, opened.start.to_le_bytes());
        rows.put(META_CRASHES, store.crashes.to_le_bytes());
        rows.delete(META_CLEAN);
        if !is_complete {
            store.pass_over_addresses(&mut rows)?;
        }
        store.write_synced(rows)?;
        Ok((store, opened))
    }

    /// After a crash: every partition goes on beyond what it may have given away unstored.
    fn pass_over_addresses(&self, rows: &mut WriteBatch) -> Result<(), StoreError> {
        let all = (0..GROUP_COUNT as u16).map(GroupId);
        for group in all {
            for (partition, next) in self.next_addresses(group)? {
                let next = next.get() + CRASH_ADDRESSES;
                rows.put(partition_key(partition), next.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Loads these groups into a shard that has nothing yet.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is left out in silence.
    pub fn restore(
        &self,
        shard: &mut Shard,
        groups: impl Iterator<Item = GroupId>,
        now: Now,
    ) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        for group in groups {
            self.restore_group(shard, group, now, &mut restored)?;
        }
        let first = FIRST_ADDRESS.get() + self.crashes * CRASH_ADDRESSES;
        let first = Address::new(first).ok_or_else(|| self.damaged("mcrashes", "too many"))?;
        shard.restored(first);
        Ok(restored)
    }

    fn restore_group(
        &self,
        shard: &mut Shard,
        group: GroupId,
        now: Now,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        if let Some(value) = self.get(&group_key(group))? {
            let position = value.get(4..).and_then(|bytes| bytes.try_into().ok());
            let position = position.map(u64::from_le_bytes);
            let position =
                position.ok_or_else(|| self.damaged(&group_name(group), "its length"))?;
            shard.restore_group(group, Sequence(position));
        }
        let next_addresses = self.next_addresses(group)?;
        for row in self.rows(PREFIX_OBJECT, group) {
            let (key, value) = row?;
            let id = key.get(1..).and_then(|bytes| bytes.try_into().ok());
            let id = id.map(|bytes| ObjectId(u64::from_be_bytes(bytes)));
            let id = id.ok_or_else(|| self.damaged(&format!("key {key:02x?}"), "its length"))?;
            let damaged = |why: &dyn core::fmt::Display| {
                self.damaged(&format!("object {id}"), &why.to_string())
            };
            if !next_addresses.contains_key(&id.partition()) {
                return Err(damaged(&RestoreError::AddressUnknown));
            }
            let object = ObjectRecordV1::decode(&value).map_err(|error| damaged(&error))?;
            shard
                .restore_object(now, id, object.version, object.record)
                .map_err(|error| damaged(&error))?;
            restored.objects += 1;
            restored.record_bytes += object.record.len() as u64;
        }
        for (partition, next) in next_addresses {
            let why = |error: RestoreError| {
                self.damaged(&format!("partition {}", partition.0), &error.to_string())
            };
            shard.restore_addresses(partition, next).map_err(why)?;
        }
        Ok(())
    }

    /// The group's partitions, each with the address that its next object gets.
    fn next_addresses(&self, group: GroupId) -> Result<BTreeMap<PartitionId, Address>, StoreError> {
        let mut found = BTreeMap::new();
        for row in self.rows(PREFIX_PARTITION, group) {
            let (key, value) = row?;
            let name = || format!("key {key:02x?}");
            let partition = key.get(1..).and_then(|bytes| bytes.try_into().ok());
            let partition = partition.map(|bytes| PartitionId(u16::from_be_bytes(bytes)));
            let next = <[u8; 8]>::try_from(&*value).ok().map(u64::from_le_bytes);
            let next = next.and_then(Address::new);
            let (Some(partition), Some(next)) = (partition, next) else {
                return Err(self.damaged(&name(), "its length or its value"));
            };
            found.insert(partition, next);
        }
        Ok(found)
    }

    /// Writes a batch as a whole. It survives the end of the process from now on, and that of the
    /// machine from the next [`sync`](Self::sync) on.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: nothing of the batch was written; it may be tried again.
    pub fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let mut value = Vec::new();
        for (id, state) in &batch.objects {
            let key = object_key(*id);
            match *state {
                StoredState::Present { version, record } => {
                    value.clear();
                    let record = batch.record(record).as_bytes();
                    ObjectRecordV1 { version, record }.encode(&mut value);
                    rows.put(key, &value);
                }
                StoredState::Deleted => rows.delete(key),
            }
        }
        for (partition, next) in &batch.next_addresses {
            rows.put(partition_key(*partition), next.get().to_le_bytes());
        }
        let (epoch, position) = (batch.epoch.0.to_le_bytes(), batch.position.0.to_le_bytes());
        rows.put(group_key(batch.group), [&epoch[..], &position].concat());
        rows.put(META_TAKEN_MS, batch.taken_ms.to_le_bytes());
        self.db.write(rows).map_err(|error| self.failed(error))
    }

    /// What was written before survives the end of the machine from now on.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|error| self.failed(error))
    }

    /// Notes that everything there was has been written: the store is complete.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn close(&self) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        rows.put(META_CLEAN, []);
        self.write_synced(rows)
    }

    fn write_synced(&self, rows: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(rows, &options).map_err(|error| self.failed(error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get(key).map_err(|error| self.failed(error))
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let name = || String::from_utf8_lossy(key).into_owned();
        let number = <[u8; 8]>::try_from(&*value).map(u64::from_le_bytes);
        number.map(Some).map_err(|_| self.damaged(&name(), "its length"))
    }

    /// The rows of a group's partitions whose keys begin with the prefix and the partition.
    fn rows(&self, prefix: u8, group: GroupId) -> impl Iterator<Item = Result<Row, StoreError>> {
        let first = group.0 * PARTITIONS_PER_GROUP as u16;
        let until = match first.checked_add(PARTITIONS_PER_GROUP as u16) {
            Some(end) => prefixed(prefix, &end.to_be_bytes()),
            None => vec![prefix + 1],
        };
        let from = prefixed(prefix, &first.to_be_bytes());
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(until);
        // Each row is read once.
        options.fill_cache(false);
        options.set_readahead_size(1 << 20);
        let rows = self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options);
        rows.map(|row| row.map_err(|error| self.failed(error)))
    }

    fn failed(&self, error: rocksdb::Error) -> StoreError {
        StoreError::Failed { path: self.path.clone(), error }
    }

    fn damaged(&self, row: &str, why: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), row: row.to_owned(), why: why.to_owned() }
    }
}

impl core::fmt::Display for ObjectDecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::FormatUnknown(format) => write!(f, "its format {format} is not known"),
            Self::Malformed => f.write_str("it is not of its format"),
        }
    }
}

fn group_name(group: GroupId) -> String {
    format!("group {}", group.0)
}

fn object_key(id: ObjectId) -> Vec<u8> {
    prefixed(PREFIX_OBJECT, &id.0.to_be_bytes())
}

fn partition_key(partition: PartitionId) -> Vec<u8> {
    prefixed(PREFIX_PARTITION, &partition.0.to_be_bytes())
}

fn group_key(group: GroupId) -> Vec<u8> {
    prefixed(PREFIX_GROUP, &group.0.to_be_bytes())
}

fn prefixed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix][..], rest].concat()
}

#[cfg(test)]
mod tests;
