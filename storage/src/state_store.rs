//! The state of all partitions in RocksDB: one row an object, and beside them what a start has to
//! know.
//!
//! ```text
//! o  partition u16  address 48 bit   ->  object_record
//! d  partition u16  address 48 bit   ->  u64  a deleted object, known up to this sequence
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
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    DB, DBCompressionType, Env, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch,
};
use rocksdb::{Direction, WriteOptions};
use thiserror::Error;
use warren_core::ids::{
    Address, GROUP_COUNT, GroupId, ObjectId, PARTITIONS_PER_GROUP, PartitionId, Sequence,
};
use warren_core::limits::Limits;
use warren_core::message::Message;
use warren_core::partition::FIRST_ADDRESS;
use warren_core::shard::Shard;
use warren_core::snapshot::{RestoreError, SnapshotBatch, StoredState};
use warren_core::turn::Now;

use crate::object_record::{ObjectDecodeError, ObjectRecordV2};

// Keys of their own begin with `m`.
const PREFIX_GROUP: u8 = b'g';
const PREFIX_PARTITION: u8 = b'p';
const PREFIX_OBJECT: u8 = b'o';
const PREFIX_TOMBSTONE: u8 = b'd';

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
/// u32, u64, u64: the delta log that belongs to the state, a `LogMark`. None: no log is expected.
const META_LOG: &[u8] = b"mlog";
/// u32 each: the salts of logs that were given up. None of them belongs to the state any more.
const META_LOGS_FORGOTTEN: &[u8] = b"mlogs_forgotten";

/// 1: without sequences and tombstones. 2: without the log's mark, so that whoever reads no other lets the
/// log go without a word. Both are read, and become 3 when a server begins.
const FORMAT: u64 = 3;

/// Addresses that are passed over in every partition after a server that did not close the store:
/// it may have given away some that were not stored yet, and clients may remember them.
pub const CRASH_ADDRESSES: u64 = 1 << 23;

/// Changes that are on their way from the shards to the disk, at the most.
const CHANGES_UNDER_WAY_MAX: usize = 1 << 20;
// Each address that was given away and is not stored is one of the changes that wait.
const _: () = assert!(
    Limits::PRODUCTION.changed_objects_max + CHANGES_UNDER_WAY_MAX < CRASH_ADDRESSES as usize
);

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
        error: String,
    },
    /// Another process has it open.
    #[error("{path}: another process has it open: {error}", path = path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB says.
        error: String,
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

/// An object as it is stored. Its record is a checked message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredObject {
    pub(crate) id: ObjectId,
    pub(crate) version: u64,
    pub(crate) record: Vec<u8>,
}

/// A key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

/// The store of one data folder. All calls may block; any thread may make them.
#[derive(Debug)]
pub struct StateStore {
    /// None after it could not be opened again.
    db: RwLock<Option<DB>>,
    path: PathBuf,
    opened: StateOpened,
    crashes: u64,
    /// What the last crash may have given away is passed over in the rows too.
    has_passed_over: AtomicBool,
    /// Goes behind all else.
    life: Arc<()>,
}

impl StateStore {
    /// Opens the store in this folder, or makes it. It is read only until [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<(Self, StateOpened), StoreError> {
        let db = open_db(path)?;
        let opened = StateOpened { start: 0, is_complete: true, taken_ms: None };
        let db = RwLock::new(Some(db));
        let mut store = Self {
            db,
            path: path.to_owned(),
            opened,
            crashes: 0,
            has_passed_over: AtomicBool::new(false),
            life: Arc::new(()),
        };
        let format = store.number(META_FORMAT)?.unwrap_or(FORMAT);
        if !(1..=FORMAT).contains(&format) {
            return Err(StoreError::FormatUnknown { path: path.to_owned(), found: format });
        }
        let starts = store.number(META_STARTS)?.unwrap_or(0);
        let is_complete = starts == 0 || store.get(META_CLEAN)?.is_some();
        store.crashes = store.number(META_CRASHES)?.unwrap_or(0) + u64::from(!is_complete);
        let taken_ms = store.number(META_TAKEN_MS)?;
        store.opened = StateOpened { start: starts + 1, is_complete, taken_ms };
        let opened = store.opened;
        Ok((store, opened))
    }

    /// A server begins to change the state: from now on the store counts as incomplete, until
    /// [`close`](Self::close). Whoever only loads it leaves it as it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&self) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        rows.put(META_FORMAT, FORMAT.to_le_bytes());
        rows.put(META_STARTS, self.opened.start.to_le_bytes());
        rows.put(META_CRASHES, self.crashes.to_le_bytes());
        rows.delete(META_CLEAN);
        if !self.opened.is_complete {
            // Every partition goes on beyond what it may have given away unstored.
            for group in (0..GROUP_COUNT as u16).map(GroupId) {
                for (partition, next) in self.next_addresses(group)? {
                    rows.put(partition_key(partition), next.get().to_le_bytes());
                }
            }
        }
        self.write_synced(rows)?;
        self.has_passed_over.store(true, Release);
        Ok(())
    }

    /// The same for a store that is filled with a world from elsewhere, whose server may have given away
    /// addresses of which nothing is known here: partitions without a stored address pass over as many
    /// as after so many crashes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn begin_import(&self, crashes: u64) -> Result<(), StoreError> {
        self.begin()?;
        let mut rows = WriteBatch::default();
        rows.put(META_CRASHES, crashes.to_le_bytes());
        self.write_synced(rows)
    }

    /// How often the store was opened after a server that had not closed it, this time among them.
    pub(crate) fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Objects behind this one in the order of ids, or the first ones: at most `count`, and no more once
    /// their records have `bytes`. Each is as it is stored now. None are left when there are none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn objects_after(
        &self,
        after: Option<ObjectId>,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<StoredObject>, StoreError> {
        let from =
            after.map_or_else(|| vec![PREFIX_OBJECT], |id| [&*object_key(id), &[0]].concat());
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(vec![PREFIX_OBJECT + 1]);
        options.fill_cache(false);
        let db = self.db()?;
        let rows = db.get().iterator_opt(IteratorMode::From(&from, Direction::Forward), options);
        let (mut found, mut found_bytes) = (Vec::new(), 0);
        for row in rows {
            let (key, value) = row.map_err(|error| self.failed(&error))?;
            let id = self.id_of(&key)?;
            let damaged = |why: &dyn core::fmt::Display| {
                self.damaged(&format!("object {id}"), &why.to_string())
            };
            let object = ObjectRecordV2::decode(&value).map_err(|error| damaged(&error))?;
            Message::parse(object.record).map_err(|_| damaged(&RestoreError::RecordMalformed))?;
            found_bytes += object.record.len();
            let record = object.record.to_vec();
            found.push(StoredObject { id, version: object.version, record });
            if found.len() >= count || found_bytes >= bytes {
                break;
            }
        }
        Ok(found)
    }

    /// Of each partition of which something was stored, the address that its next object gets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn all_next_addresses(&self) -> Result<Vec<(PartitionId, Address)>, StoreError> {
        let mut all = Vec::new();
        for group in (0..GROUP_COUNT as u16).map(GroupId) {
            all.extend(self.next_addresses(group)?);
        }
        Ok(all)
    }

    /// Nothing behind it when the store is closed: RocksDB must not be open when the process ends, since
    /// its own threads would then use what the process has torn down.
    #[must_use]
    pub fn life(&self) -> Weak<()> {
        Arc::downgrade(&self.life)
    }

    /// Opens the store anew: after a failed write or sync RocksDB takes no more, and what was
    /// written since the last sync may or may not be there.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; it can be tried again.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds the folder's lock.
        *db = None;
        *db = Some(open_db(&self.path)?);
        Ok(())
    }

    /// Loads these groups into a shard that has nothing yet. Behind it comes what a log has beyond what
    /// is stored ([`Shard::replay_stored`]), and then [`finish`](Self::finish).
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
        Ok(restored)
    }

    /// The shard has everything that there is of its groups.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: what is stored is newer than the end of the log.
    pub fn finish(&self, shard: &mut Shard) -> Result<(), StoreError> {
        let restored = shard.restored(passed_over(FIRST_ADDRESS, self.crashes));
        restored.map_err(|error| self.damaged("the state", &error.to_string()))
    }

    /// Up to which sequence the group is stored, if anything of it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn position(&self, group: GroupId) -> Result<Option<Sequence>, StoreError> {
        let Some(value) = self.get(&group_key(group))? else { return Ok(None) };
        let damaged = |why| self.damaged(&format!("group {}", group.0), why);
        let (epoch, position) = value.split_first_chunk().ok_or_else(|| damaged("its length"))?;
        let position = position.try_into().map_err(|_| damaged("its length"))?;
        if u64::from(u32::from_le_bytes(*epoch)) >= self.opened.start {
            return Err(damaged("its epoch has not begun"));
        }
        Ok(Some(Sequence(u64::from_le_bytes(position))))
    }

    fn restore_group(
        &self,
        shard: &mut Shard,
        group: GroupId,
        now: Now,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        if let Some(position) = self.position(group)? {
            shard.restore_group(group, position);
        }
        let next_addresses = self.next_addresses(group)?;
        let db = self.db()?;
        for row in self.rows(&db, PREFIX_OBJECT, group) {
            let (key, value) = row?;
            let id = self.id_of(&key)?;
            let damaged = |why: &dyn core::fmt::Display| {
                self.damaged(&format!("object {id}"), &why.to_string())
            };
            if !next_addresses.contains_key(&id.partition()) {
                return Err(damaged(&RestoreError::AddressUnknown));
            }
            let object = ObjectRecordV2::decode(&value).map_err(|error| damaged(&error))?;
            let known = (object.version, Sequence(object.sequence));
            shard.restore_object(now, id, known, object.record).map_err(|error| damaged(&error))?;
            restored.objects += 1;
            restored.record_bytes += object.record.len() as u64;
        }
        self.restore_tombstones(shard, group)?;
        for (partition, next) in next_addresses {
            let why = |error: RestoreError| {
                self.damaged(&format!("partition {}", partition.0), &error.to_string())
            };
            shard.restore_addresses(partition, next).map_err(why)?;
        }
        Ok(())
    }

    fn restore_tombstones(&self, shard: &mut Shard, group: GroupId) -> Result<(), StoreError> {
        let db = self.db()?;
        for row in self.rows(&db, PREFIX_TOMBSTONE, group) {
            let (key, value) = row?;
            let id = self.id_of(&key)?;
            let damaged = |why: &str| self.damaged(&format!("deletion of {id}"), why);
            let sequence = <[u8; 8]>::try_from(&*value).map_err(|_| damaged("its length"))?;
            shard
                .restore_tombstone(id, Sequence(u64::from_le_bytes(sequence)))
                .map_err(|error| damaged(&error.to_string()))?;
        }
        Ok(())
    }

    /// The object that a key names behind its prefix.
    fn id_of(&self, key: &[u8]) -> Result<ObjectId, StoreError> {
        let id = key.get(1..).and_then(|bytes| bytes.try_into().ok());
        let id = id.map(|bytes| ObjectId(u64::from_be_bytes(bytes)));
        id.ok_or_else(|| self.damaged(&format!("key {key:02x?}"), "its length"))
    }

    /// The group's partitions, each with the address that its next object gets, beyond what was
    /// given away before a crash.
    fn next_addresses(&self, group: GroupId) -> Result<BTreeMap<PartitionId, Address>, StoreError> {
        let is_due = !self.opened.is_complete && !self.has_passed_over.load(Acquire);
        let crashes = u64::from(is_due);
        let mut found = BTreeMap::new();
        let db = self.db()?;
        for row in self.rows(&db, PREFIX_PARTITION, group) {
            let (key, value) = row?;
            let name = || format!("key {key:02x?}");
            let partition = key.get(1..).and_then(|bytes| bytes.try_into().ok());
            let partition = partition.map(|bytes| PartitionId(u16::from_be_bytes(bytes)));
            let next = <[u8; 8]>::try_from(&*value).ok().map(u64::from_le_bytes);
            let next = next.and_then(Address::new);
            let (Some(partition), Some(next)) = (partition, next) else {
                return Err(self.damaged(&name(), "its length or its value"));
            };
            found.insert(partition, passed_over(next, crashes));
        }
        Ok(found)
    }

    /// Writes a batch as a whole. It survives the end of the process from now on, and that of the
    /// machine from the next [`sync`](Self::sync) on.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: it may be tried again after [`reopen`](Self::reopen); writing a batch
    /// twice does no harm.
    pub fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let mut value = Vec::new();
        for (id, state) in &batch.objects {
            let key = object_key(*id);
            match *state {
                StoredState::Present { version, record } => {
                    value.clear();
                    let record = batch.record(record).as_bytes();
                    let sequence = batch.sequence().0;
                    ObjectRecordV2 { version, sequence, record }.encode(&mut value);
                    rows.put(key, &value);
                }
                StoredState::Deleted => {
                    rows.delete(key);
                    if let Some(Sequence(sequence)) = batch.tombstone() {
                        rows.put(tombstone_key(*id), sequence.to_le_bytes());
                    }
                }
            }
        }
        for id in &batch.forgotten {
            rows.delete(tombstone_key(*id));
        }
        for (partition, next) in &batch.next_addresses {
            rows.put(partition_key(*partition), next.get().to_le_bytes());
        }
        let (epoch, position) = (batch.epoch.0.to_le_bytes(), batch.position.0.to_le_bytes());
        rows.put(group_key(batch.group), [&epoch[..], &position].concat());
        rows.put(META_TAKEN_MS, batch.taken_ms.to_le_bytes());
        self.db()?.get().write(rows).map_err(|error| self.failed(&error))
    }

    /// What was written before survives the end of the machine from now on.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db()?.get().flush_wal(true).map_err(|error| self.failed(&error))
    }

    /// Makes a copy of what was written so far in this folder, which must not be there: a store of its own.
    /// Files are shared where both are on one file system; none of them is ever changed.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        let db = self.db()?;
        let checkpoint = Checkpoint::new(db.get()).map_err(|error| self.failed(&error))?;
        checkpoint.create_checkpoint(folder).map_err(|error| self.failed(&error))
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
        self.db()?.get().write_opt(rows, &options).map_err(|error| self.failed(&error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db()?.get().get(key).map_err(|error| self.failed(&error))
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let name = || String::from_utf8_lossy(key).into_owned();
        let number = <[u8; 8]>::try_from(&*value).map(u64::from_le_bytes);
        number.map(Some).map_err(|_| self.damaged(&name(), "its length"))
    }

    /// The rows of a group's partitions whose keys begin with the prefix and the partition.
    fn rows<'a>(
        &'a self,
        db: &'a Opened<'_>,
        prefix: u8,
        group: GroupId,
    ) -> impl Iterator<Item = Result<Row, StoreError>> + 'a {
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
        let rows = db.get().iterator_opt(IteratorMode::From(&from, Direction::Forward), options);
        rows.map(|row| row.map_err(|error| self.failed(&error)))
    }

    fn db(&self) -> Result<Opened<'_>, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        if db.is_none() {
            return Err(self.failed(&"it could not be opened again"));
        }
        Ok(Opened(db))
    }

    fn failed(&self, error: &dyn core::fmt::Display) -> StoreError {
        StoreError::Failed { path: self.path.clone(), error: error.to_string() }
    }

    fn damaged(&self, row: &str, why: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), row: row.to_owned(), why: why.to_owned() }
    }
}

/// The store while it is open.
struct Opened<'a>(RwLockReadGuard<'a, Option<DB>>);

impl Opened<'_> {
    fn get(&self) -> &DB {
        self.0.as_ref().expect("it was looked at under this lock")
    }
}

fn open_db(path: &Path) -> Result<DB, StoreError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    let failed = |error: rocksdb::Error| StoreError::Failed {
        path: path.to_owned(),
        error: error.to_string(),
    };
    // Its threads may share a core with a shard, which goes first.
    let mut environment = Env::new().map_err(failed)?;
    environment.lower_thread_pool_cpu_priority();
    environment.lower_high_priority_thread_pool_cpu_priority();
    options.set_env(&environment);
    DB::open(&options, path).map_err(|error| match is_of_lock(&error) {
        true => StoreError::Locked { path: path.to_owned(), error: error.into_string() },
        false => failed(error),
    })
}

/// RocksDB has no kind for it.
fn is_of_lock(error: &rocksdb::Error) -> bool {
    let text = error.as_ref();
    text.contains("While lock file") || text.contains("lock hold by current process")
}

/// The address that follows when as many were passed over as after so many crashes. At the end of
/// the address space a partition is full.
pub(crate) fn passed_over(next: Address, crashes: u64) -> Address {
    let beyond = crashes.saturating_mul(CRASH_ADDRESSES).saturating_add(next.get());
    Address::new(beyond).unwrap_or(Address::MAX)
}

impl core::fmt::Display for ObjectDecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::FormatUnknown(format) => write!(f, "its format {format} is not known"),
            Self::Malformed => f.write_str("it is not of its format"),
        }
    }
}

fn object_key(id: ObjectId) -> Vec<u8> {
    prefixed(PREFIX_OBJECT, &id.0.to_be_bytes())
}

fn tombstone_key(id: ObjectId) -> Vec<u8> {
    prefixed(PREFIX_TOMBSTONE, &id.0.to_be_bytes())
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

mod log_mark;
#[cfg(test)]
mod tests;
