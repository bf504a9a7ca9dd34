//! Over a real RocksDB in a folder of its own.

use warren_core::hashing::HashSeed;
use warren_core::ids::{Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{Value, packed};
use warren_core::routing::RoutingTable;
use warren_core::shard::ShardSettings;
use warren_core::token::TokenSeed;
use warren_core::turn::Span;

use super::*;
use crate::delta_log::LogMark;

const NOW: Now = Now { monotonic_ns: 0, wall_ms: 0 };

/// A folder that goes when the test has passed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("warren-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> (StateStore, StateOpened) {
        StateStore::open(&self.0).unwrap()
    }

    /// A store that a server has begun to use.
    fn begun(&self) -> StateStore {
        let (store, _) = self.open();
        store.begin().unwrap();
        store
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn shard() -> Shard {
    Shard::new(ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits::PRODUCTION,
        seed: HashSeed(1, 2),
        authentication: warren_core::authentication::Authentication::Open,
        policy: warren_core::authorize::Policy::default(),
        token_seed: TokenSeed([7; 32]),
        join_creates_rooms: true,
        snapshot_interval_ns: Some(0),
        has_log: false,
        ack_defaults: warren_core::acknowledgement::AckDefaults::default(),
        task_methods: warren_core::tasks::methods::TaskMethods::default(),
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
    })
}

fn restored(store: &StateStore) -> Result<(Shard, Restored), StoreError> {
    let mut shard = shard();
    let groups = (0..GROUP_COUNT as u16).map(GroupId);
    let restored = store.restore(&mut shard, groups, NOW)?;
    store.finish(&mut shard)?;
    Ok((shard, restored))
}

fn id(partition: u16, address: u64) -> ObjectId {
    ObjectId::new(PartitionId(partition), Address::new(address).unwrap())
}

/// An object's version and record; none: it is gone.
type State<'a> = Option<(u64, &'a [u8])>;

/// A batch of a group's objects: present at the version with the record, or deleted.
fn batch(group: u16, taken_ms: u64, objects: &[(ObjectId, State<'_>)]) -> SnapshotBatch {
    let mut batch = SnapshotBatch {
        group: GroupId(group),
        epoch: Epoch(1),
        covers: None,
        position: Sequence(taken_ms),
        taken_ms,
        objects: vec![],
        forgotten: vec![],
        next_addresses: vec![],
        bytes: vec![],
    };
    for (id, state) in objects {
        let state = state.map_or(StoredState::Deleted, |(version, record)| {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(record);
            StoredState::Present { version, record: Span::since(start, &batch.bytes) }
        });
        batch.objects.push((*id, state));
        let next = Address::new(id.address().get() + 1).unwrap();
        batch.next_addresses.push((id.partition(), next));
    }
    batch
}

fn record(text: &str) -> Vec<u8> {
    packed("sword", &[("owner", Value::Text("ann")), ("name", Value::Text(text))])
}

#[test]
fn what_was_written_comes_back_from_all_ends_of_the_object_space() {
    let folder = Folder::new("ends");
    let (store, opened) = folder.open();
    assert_eq!(opened, StateOpened { start: 1, is_complete: true, taken_ms: None });
    store.begin().unwrap();
    let (a, b, c) = (record("a"), record("b"), record("c"));
    store.write(&batch(0, 5, &[(id(0, 1), Some((1, &a))), (id(63, 7), Some((9, &b)))])).unwrap();
    store.write(&batch(1, 6, &[(id(64, 1), Some((1, &a))), (id(64, 2), None)])).unwrap();
    store.write(&batch(1023, 7, &[(id(65535, 3), Some((2, &c)))])).unwrap();
    store.write(&batch(0, 8, &[(id(0, 1), None)])).unwrap();
    store.close().unwrap();
    drop(store);
    let (store, opened) = folder.open();
    assert_eq!(opened, StateOpened { start: 2, is_complete: true, taken_ms: Some(8) });
    let (shard, restored) = restored(&store).unwrap();
    assert_eq!(restored.objects, 3);
    assert_eq!(restored.record_bytes as usize, a.len() + b.len() + c.len());
    let object = |id: ObjectId| shard.partition(id.partition()).unwrap().object(id);
    assert!(object(id(0, 1)).is_none());
    assert_eq!(object(id(63, 7)).unwrap().version(), 9);
    assert_eq!(object(id(65535, 3)).unwrap().record().as_bytes(), c);
    let next =
        |partition| shard.partition(PartitionId(partition)).unwrap().object_after_next(0).unwrap();
    assert_eq!([next(0), next(64), next(65535)], [id(0, 2), id(64, 3), id(65535, 4)]);
}

#[test]
fn each_crash_passes_over_addresses_once() {
    let folder = Folder::new("crashes");
    let a = record("a");
    let next = |store: &StateStore, partition| {
        let (shard, _) = restored(store).unwrap();
        shard.partition(PartitionId(partition)).and_then(|p| p.object_after_next(0))
    };
    folder.begun().write(&batch(0, 5, &[(id(0, 1), Some((1, &a)))])).unwrap();
    let (store, opened) = folder.open();
    assert_eq!((opened.start, opened.is_complete), (2, false));
    assert_eq!(next(&store, 0), Some(id(0, 2 + CRASH_ADDRESSES)));
    store.begin().unwrap();
    // A second crash, in which addresses were given away and nothing was stored.
    drop(store);
    let (store, _) = folder.open();
    assert_eq!(next(&store, 0), Some(id(0, 2 + 2 * CRASH_ADDRESSES)));
    store.begin().unwrap();
    store.write(&batch(0, 6, &[(id(0, 2 + 2 * CRASH_ADDRESSES), Some((1, &a)))])).unwrap();
    store.close().unwrap();
    drop(store);
    let (store, opened) = folder.open();
    assert!(opened.is_complete);
    assert_eq!(next(&store, 0), Some(id(0, 3 + 2 * CRASH_ADDRESSES)));
}

#[test]
fn the_next_addresses_that_are_told_are_those_that_are_given() {
    let folder = Folder::new("told-addresses");
    let told = |store: &StateStore| {
        let told = store.all_next_addresses().unwrap();
        told.into_iter().map(|(partition, next)| ObjectId::new(partition, next)).collect::<Vec<_>>()
    };
    let a = record("a");
    folder.begun().write(&batch(0, 5, &[(id(0, 1), Some((1, &a)))])).unwrap();
    for crashes in 1..4 {
        let (store, _) = folder.open();
        let next = id(0, 2 + crashes * CRASH_ADDRESSES);
        assert_eq!((store.crashes(), told(&store)), (crashes, vec![next]));
        store.begin().unwrap();
        assert_eq!((store.crashes(), told(&store)), (crashes, vec![next]));
    }
}

#[test]
fn partitions_without_a_row_begin_beyond_what_crashes_may_have_given_away() {
    let folder = Folder::new("new-partitions");
    for crashes in 0..3 {
        let (store, _) = folder.open();
        let (mut shard, _) = restored(&store).unwrap();
        store.begin().unwrap();
        let a = record("a");
        let first = FIRST_ADDRESS.get() + crashes * CRASH_ADDRESSES;
        // The engine is asked by what it would refuse: an address below its first.
        if crashes > 0 {
            let refused = shard.restore_object(NOW, id(9, first - 1), (1, Sequence(0)), &a);
            assert_eq!(refused, Err(RestoreError::AddressOutOfOrder));
        }
        assert_eq!(shard.restore_object(NOW, id(9, first), (1, Sequence(0)), &a), Ok(()));
    }
}

#[test]
fn damage_is_told_with_its_row() {
    let record = record("a");
    let user = packed("user", &[("owner", Value::Text("ann"))]);
    let object = |version, record: &[u8]| {
        let mut value = vec![];
        ObjectRecordV2 { version, sequence: 0, record }.encode(&mut value);
        value
    };
    let at = id(7, 1);
    let addresses = (partition_key(PartitionId(7)), 9u64.to_le_bytes().to_vec());
    let cases = [
        ("flipped", vec![(object_key(at), vec![1, 2, 3])], "object 7.1 is damaged: it is not of"),
        ("newer", vec![(object_key(at), vec![77])], "object 7.1 is damaged: its format 77"),
        ("message", vec![(object_key(at), object(1, b"x"))], "its record is malformed"),
        ("version", vec![(object_key(at), object(0, &record))], "it has no version"),
        ("name", vec![(object_key(at), object(1, &user))], "its name is missing or belongs"),
        ("key", vec![(b"o\x00\x07\x01".to_vec(), vec![])], "its length"),
        ("next", vec![(partition_key(PartitionId(7)), vec![1])], "its length or its value"),
        ("group", vec![(group_key(GroupId(0)), vec![1])], "group 0 is damaged: its length"),
        ("tombstone", vec![(tombstone_key(at), vec![1])], "deletion of 7.1 is damaged: its length"),
        (
            "both",
            vec![(object_key(at), object(1, &record)), (tombstone_key(at), vec![9; 8])],
            "deletion of 7.1 is damaged: it is there, and deleted",
        ),
        (
            "no-log",
            vec![(tombstone_key(at), 9u64.to_le_bytes().to_vec())],
            "group 0 is stored as of sequence 9, and its log ends at 0",
        ),
        ("epoch", vec![(group_key(GroupId(0)), vec![1; 12])], "its epoch has not begun"),
        (
            "given-away",
            vec![(object_key(id(7, 9)), object(1, &record))],
            "partition 7 is damaged: its address was never given away",
        ),
    ];
    for (name, rows, expected) in cases {
        let folder = Folder::new(&format!("damage-{name}"));
        let (store, _) = folder.open();
        store.db().unwrap().get().put(&addresses.0, &addresses.1).unwrap();
        for (key, value) in rows {
            store.db().unwrap().get().put(key, value).unwrap();
        }
        let error = restored(&store).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_object_in_a_partition_without_a_row_is_damage() {
    let folder = Folder::new("no-partition");
    let (store, _) = folder.open();
    let mut value = vec![];
    ObjectRecordV2 { version: 1, sequence: 0, record: &record("a") }.encode(&mut value);
    store.db().unwrap().get().put(object_key(id(7, 1)), value).unwrap();
    let error = restored(&store).unwrap_err().to_string();
    assert!(error.contains("object 7.1 is damaged: its address was never given away"), "{error}");
}

#[test]
fn a_newer_format_and_a_second_opening_are_refused() {
    let folder = Folder::new("refused");
    let (store, _) = folder.open();
    let second = StateStore::open(&folder.0).unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    store.db().unwrap().get().put(META_FORMAT, 4u64.to_le_bytes()).unwrap();
    drop(store);
    let newer = StateStore::open(&folder.0).unwrap_err().to_string();
    assert!(newer.ends_with("its format is 4; this version reads 3"), "{newer}");
}

#[test]
fn a_store_that_is_only_loaded_stays_as_it_was() {
    let folder = Folder::new("only-loaded");
    let store = folder.begun();
    store.write(&batch(0, 5, &[(id(0, 1), Some((1, &record("a"))))])).unwrap();
    store.close().unwrap();
    drop(store);
    for _ in 0..2 {
        // A start that fails for another reason.
        let (store, opened) = StateStore::open(&folder.0).unwrap();
        assert_eq!(opened, StateOpened { start: 2, is_complete: true, taken_ms: Some(5) });
        restored(&store).unwrap();
    }
}

#[test]
fn a_store_can_be_opened_again_while_it_is_in_use() {
    let folder = Folder::new("reopened");
    let store = folder.begun();
    let a = record("a");
    store.write(&batch(0, 5, &[(id(0, 1), Some((1, &a)))])).unwrap();
    store.reopen().unwrap();
    store.write(&batch(0, 6, &[(id(0, 2), Some((1, &a)))])).unwrap();
    store.sync().unwrap();
    drop(store);
    assert_eq!(restored(&folder.open().0).unwrap().1.objects, 2);
}

#[test]
fn addresses_end_instead_of_beginning_anew() {
    let last = Address::MAX;
    assert_eq!(passed_over(FIRST_ADDRESS, 2), Address::new(1 + 2 * CRASH_ADDRESSES).unwrap());
    assert_eq!(passed_over(last, 1), last);
    assert_eq!(passed_over(FIRST_ADDRESS, u64::MAX), last);
}

/// A batch as a shard with a log makes it.
fn logged(
    group: u16,
    covers: u64,
    position: u64,
    objects: &[(ObjectId, State<'_>)],
) -> SnapshotBatch {
    let (covers, position) = (Some(Sequence(covers)), Sequence(position));
    SnapshotBatch { covers, position, ..batch(group, 0, objects) }
}

/// The first byte of an object's row.
fn format_of(store: &StateStore, id: ObjectId) -> Option<u8> {
    store.get(&object_key(id)).unwrap().map(|value| value[0])
}

#[test]
fn deletions_are_remembered_until_they_are_forgotten() {
    let folder = Folder::new("tombstones");
    let store = folder.begun();
    let a = record("a");
    let tombstones = |store: &StateStore| {
        let db = store.db().unwrap();
        let rows = store.rows(&db, PREFIX_TOMBSTONE, GroupId(0)).map(Result::unwrap);
        rows.map(|(key, value)| {
            let sequence = u64::from_le_bytes((*value).try_into().unwrap());
            (store.id_of(&key).unwrap(), sequence)
        })
        .collect::<Vec<_>>()
    };
    store.write(&logged(0, 3, 1, &[(id(0, 1), Some((1, &a))), (id(0, 2), Some((1, &a)))])).unwrap();
    store.write(&logged(0, 6, 4, &[(id(0, 1), None), (id(0, 3), None)])).unwrap();
    assert_eq!(tombstones(&store), [(id(0, 1), 6), (id(0, 3), 6)]);
    assert_eq!((format_of(&store, id(0, 1)), format_of(&store, id(0, 2))), (None, Some(2)));
    let mut forgets = logged(0, 6, 6, &[]);
    forgets.forgotten = vec![id(0, 1)];
    store.write(&forgets).unwrap();
    assert_eq!(tombstones(&store), [(id(0, 3), 6)]);
    // What nothing is replayed before leaves none.
    store.write(&logged(0, 8, 8, &[(id(0, 2), None)])).unwrap();
    assert_eq!(tombstones(&store), [(id(0, 3), 6)]);
}

#[test]
fn a_replay_goes_on_where_each_row_is() {
    let folder = Folder::new("replayed");
    let store = folder.begun();
    let (a, b) = (record("a"), record("b"));
    // At 5 the first has its second version; the other's changes are behind the position.
    store.write(&logged(0, 5, 2, &[(id(0, 1), Some((2, &a)))])).unwrap();
    drop(store);
    let (store, _) = folder.open();
    let mut shard = shard();
    store.restore(&mut shard, [GroupId(0)].into_iter(), NOW).unwrap();
    let change = |version| warren_core::delta::Delta::ObjectChanged {
        object: id(0, 1).0,
        version,
        changes: packed("sword", &[("name", Value::Text("z"))]),
    };
    let create =
        warren_core::delta::Delta::ObjectCreated { object: id(0, 2).0, version: 1, record: b };
    for (sequence, delta) in [
        (1, change(9)),
        (2, change(9)),
        (3, create),
        (4, change(2)),
        (5, change(9)),
        (6, change(3)),
    ] {
        let deltas = vec![delta];
        let batch = warren_core::delta::DeltaBatch { group: 0, epoch: 1, sequence, deltas };
        shard.replay_stored(NOW, &batch).unwrap();
    }
    store.finish(&mut shard).unwrap();
    let partition = shard.partition(PartitionId(0)).unwrap();
    assert_eq!(partition.object(id(0, 1)).unwrap().version(), 3);
    assert_eq!(partition.object(id(0, 2)).unwrap().version(), 1);
    // Both were given away before the crash.
    assert_eq!(partition.object_after_next(0), Some(id(0, 2 + CRASH_ADDRESSES)));
}

#[test]
fn a_store_of_format_1_is_read_and_becomes_one_of_today() {
    let folder = Folder::new("format-1");
    let (store, _) = folder.open();
    let golden = include_bytes!("../../golden/object_record_v1.bin");
    {
        let db = store.db().unwrap();
        let put = |key: &[u8], value: &[u8]| db.get().put(key, value).unwrap();
        put(META_FORMAT, &1u64.to_le_bytes());
        put(META_STARTS, &4u64.to_le_bytes());
        put(META_CLEAN, &[]);
        put(&object_key(id(0, 1)), golden);
        put(&object_key(id(0, 2)), golden);
        put(&partition_key(PartitionId(0)), &3u64.to_le_bytes());
        put(&group_key(GroupId(0)), &[&1u32.to_le_bytes()[..], &7u64.to_le_bytes()].concat());
    }
    drop(store);
    let (store, opened) = folder.open();
    assert_eq!((opened.start, opened.is_complete), (5, true));
    let (shard, loaded) = restored(&store).unwrap();
    assert_eq!((loaded.objects, shard.durable_sequence(GroupId(0))), (2, Sequence(7)));
    assert_eq!(store.number(META_FORMAT).unwrap(), Some(1));
    store.begin().unwrap();
    assert_eq!(store.number(META_FORMAT).unwrap(), Some(FORMAT));
    assert_eq!(store.log_mark().unwrap(), None);
    store.write(&logged(0, 9, 9, &[(id(0, 2), Some((4, &record("a"))))])).unwrap();
    assert_eq!((format_of(&store, id(0, 1)), format_of(&store, id(0, 2))), (Some(1), Some(2)));
    assert_eq!(restored(&store).unwrap().1.objects, 2);
}

#[test]
fn the_log_s_mark_is_kept_and_one_that_is_none_is_told() {
    let folder = Folder::new("mark");
    let store = folder.begun();
    assert_eq!(store.log_mark().unwrap(), None);
    for mark in [
        LogMark { salt: 0, first_needed: 1, reached: 0 },
        LogMark { salt: u32::MAX, first_needed: u64::MAX - 1, reached: u64::MAX },
    ] {
        store.write_log_mark(mark).unwrap();
        assert_eq!(store.log_mark().unwrap(), Some(mark));
    }
    store.sync().unwrap();
    drop(store);
    let (store, _) = folder.open();
    let kept = store.log_mark().unwrap().unwrap();
    // A copy of the store has it too.
    let copy = Folder::new("mark-copy");
    store.copy_to(&copy.0).unwrap();
    assert_eq!(copy.open().0.log_mark().unwrap(), Some(kept));
    for length in [0, 19, 21] {
        store.db().unwrap().get().put(META_LOG, vec![1; length]).unwrap();
        let error = store.log_mark().unwrap_err().to_string();
        assert!(error.ends_with("mlog is damaged: its length"), "{error}");
    }
}

#[test]
fn a_store_whose_log_is_forgotten_is_whole_without_it() {
    let folder = Folder::new("forgotten");
    let store = folder.begun();
    let a = record("a");
    // Group 0 is stored up to 2, and rows of it up to 6 and, for a deletion, 9; group 1 up to 4.
    store.write(&logged(0, 6, 2, &[(id(0, 1), Some((3, &a)))])).unwrap();
    store.write(&logged(0, 9, 2, &[(id(0, 2), None)])).unwrap();
    store.write(&logged(1, 4, 4, &[(id(64, 1), Some((1, &a)))])).unwrap();
    store.write_log_mark(LogMark { salt: 1, first_needed: 1, reached: 9 }).unwrap();
    drop(store);
    let (store, _) = folder.open();
    let error = restored(&store).err().unwrap().to_string();
    assert!(error.contains("the state is damaged"), "{error}");
    store.forget_log(None).unwrap();
    assert_eq!(store.log_mark().unwrap(), None);
    assert_eq!(store.logs_forgotten().unwrap(), [1]);
    let positions = [0, 1, 2].map(|group| store.position(GroupId(group)).unwrap());
    assert_eq!(positions, [Some(Sequence(9)), Some(Sequence(4)), None]);
    drop(store);
    let (store, opened) = folder.open();
    // It is as incomplete as before: addresses are passed over.
    assert_eq!((opened.start, opened.is_complete), (2, false));
    let (shard, restored) = restored(&store).unwrap();
    assert_eq!((restored.objects, shard.group_end(GroupId(0))), (2, Sequence(9)));
}

#[test]
fn a_store_knows_every_log_that_was_given_up() {
    let folder = Folder::new("forgotten-logs");
    let store = folder.begun();
    assert_eq!(store.logs_forgotten().unwrap(), [0; 0]);
    // The log of the mark, and the one that was there in its place.
    store.write_log_mark(LogMark { salt: 1, first_needed: 1, reached: 9 }).unwrap();
    store.forget_log(Some(2)).unwrap();
    // Again, without a start between.
    store.forget_log(Some(1)).unwrap();
    assert_eq!(store.logs_forgotten().unwrap(), [1, 2]);
    // The next log does not make the first ones good.
    store.write_log_mark(LogMark { salt: 3, first_needed: 1, reached: 9 }).unwrap();
    drop(store);
    let (store, _) = folder.open();
    store.forget_log(Some(3)).unwrap();
    assert_eq!(store.logs_forgotten().unwrap(), [1, 2, 3]);
    store.db().unwrap().get().put(META_LOGS_FORGOTTEN, [1; 5]).unwrap();
    let error = store.logs_forgotten().unwrap_err().to_string();
    assert!(error.ends_with("mlogs_forgotten is damaged: its length"), "{error}");
}
