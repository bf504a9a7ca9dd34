use std::sync::Mutex;

use warren_core::ids::{Epoch, GroupId, Sequence};
use warren_storage::delta_log::Retention;

use super::*;

/// A store that fails as often as it is told, and writes down what it was asked for.
#[derive(Default)]
struct FaultyStore {
    /// Calls that succeed before those that fail.
    successes_left: AtomicU64,
    failures_left: AtomicU64,
    calls: Mutex<Vec<String>>,
}

impl FaultyStore {
    fn failing(times: u64) -> Arc<Self> {
        Self::failing_after(0, times)
    }

    fn failing_after(successes: u64, times: u64) -> Arc<Self> {
        let (successes_left, failures_left) = (successes.into(), times.into());
        Arc::new(Self { successes_left, failures_left, ..Self::default() })
    }

    fn call(&self, name: String) -> Result<(), StoreError> {
        let take_one = |left: u64| left.checked_sub(1);
        let succeeds = self.successes_left.fetch_update(Relaxed, Relaxed, take_one).is_ok();
        if !succeeds && self.failures_left.fetch_update(Relaxed, Relaxed, take_one).is_ok() {
            let (path, why) = ("store".into(), "told so".to_owned());
            return Err(StoreError::Damaged { path, row: name, why });
        }
        self.calls.lock().unwrap().push(name);
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl BatchStore for FaultyStore {
    fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError> {
        self.call(format!("write {}", batch.group.0))
    }

    fn write_log_mark(&self, mark: LogMark) -> Result<(), StoreError> {
        let LogMark { salt, first_needed, reached } = mark;
        self.call(format!("mark {salt} {first_needed} {reached}"))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.call("sync".to_owned())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push("reopen".to_owned());
        Ok(())
    }
}

/// Of a log that has ten commits, of which snapshots have three.
fn marks() -> LogMarks {
    let progress = LogProgress::default();
    progress.first_unstored.store(4, Relaxed);
    progress.durable_commit.store(10, Relaxed);
    LogMarks { salt: 7, progress: Arc::new(progress) }
}

fn batch(group: u16) -> SnapshotBatch {
    SnapshotBatch {
        group: GroupId(group),
        epoch: Epoch(1),
        covers: None,
        position: Sequence(1),
        taken_ms: u64::from(group),
        objects: vec![],
        forgotten: vec![],
        next_addresses: vec![],
        bytes: vec![0; 3],
    }
}

fn wait(end: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(end)
}

#[test]
fn what_is_handed_over_is_written_in_order_and_synced() {
    let store = FaultyStore::failing(0);
    let progress = Arc::new(SnapshotProgress::default());
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress), marks()).unwrap();
    let sender = writer.sender();
    for group in 0..5 {
        assert!(sender.send(batch(group)));
    }
    drop(sender);
    wait(writer.drain()).unwrap();
    let calls = store.calls();
    let writes: Vec<_> = calls.iter().filter(|call| call.starts_with("write")).collect();
    assert_eq!(writes, ["write 0", "write 1", "write 2", "write 3", "write 4"]);
    assert_eq!(calls.last().unwrap(), "sync");
    let SnapshotProgress { batches, record_bytes, failures, synced_ms, .. } = &*progress;
    let read = |number: &AtomicU64| number.load(Relaxed);
    assert_eq!((read(batches), read(record_bytes), read(failures), read(synced_ms)), (5, 15, 0, 4));
}

#[test]
fn after_a_failure_all_that_was_not_synced_is_written_again() {
    let store = FaultyStore::failing_after(2, 1);
    let progress = Arc::new(SnapshotProgress::default());
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress), marks()).unwrap();
    let sender = writer.sender();
    // While the store is held, both come together.
    let held = store.calls.lock().unwrap();
    assert!(sender.send(batch(7)) && sender.send(batch(8)) && sender.send(batch(9)));
    drop(held);
    drop(sender);
    wait(writer.drain()).unwrap();
    let calls = store.calls();
    let failed = calls.iter().position(|call| call == "reopen").unwrap();
    // The failed call is not written down. What came before it since the last sync comes again.
    let synced = calls[..failed].iter().rposition(|call| call == "sync").map_or(0, |at| at + 1);
    let unsynced = &calls[synced..failed];
    assert_eq!(&calls[failed + 1..][..unsynced.len()], unsynced, "{calls:?}");
    let writes = |name: &str| calls[failed..].iter().any(|call| call == name);
    assert!(writes("write 9") && calls.last().unwrap() == "sync", "{calls:?}");
    assert_eq!(progress.failures.load(Relaxed), 1);
}

#[test]
fn a_store_that_goes_on_failing_while_the_server_drains_is_told() {
    let store = FaultyStore::failing(u64::MAX);
    let progress = Arc::new(SnapshotProgress::default());
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress), marks()).unwrap();
    let sender = writer.sender();
    assert!(sender.send(batch(7)));
    let end = writer.drain();
    // A shard that still has something does not wait for ever, and one that turns does not fail.
    while sender.send(batch(8)) {}
    assert_eq!(sender.try_send(batch(9)), Some(batch(9)));
    drop(sender);
    let fatal = wait(end).unwrap_err();
    assert_eq!(fatal.reason, FatalReason::StateNotStored);
    assert!(fatal.detail.contains("told so"), "{fatal}");
    assert_eq!(progress.failures.load(Relaxed), u64::from(DRAIN_ATTEMPTS_MAX));
    assert_eq!(progress.batches.load(Relaxed), 0);
}

#[test]
fn a_full_channel_gives_the_batch_back() {
    let (sender, _batches) = bounded(1);
    let sender = SnapshotSender(sender);
    assert!(!sender.is_full());
    assert_eq!(sender.try_send(batch(1)), None);
    assert!(sender.is_full());
    assert_eq!(sender.try_send(batch(2)), Some(batch(2)));
}

/// Waits until it is so, or fails.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{what}: not in time");
}

#[test]
fn before_the_start_has_told_its_mark_none_is_written_and_a_newer_one_soon_after() {
    let (store, progress) = (FaultyStore::failing(0), Arc::new(SnapshotProgress::default()));
    let (_serving, drained) = bounded(0);
    let writer = Writer { store: &*store, progress: &progress, marks: &marks(), drained: &drained };
    assert!(!writer.lets_more_go(writer.marks.mark()));
    for (told, lets_more_go) in [(1, true), (3, true), (4, false)] {
        progress.log_needs.marked(told);
        assert_eq!(writer.lets_more_go(writer.marks.mark()), lets_more_go, "{told}");
    }
    // The thread may look for the first time when the log has begun long ago.
    let progress = Arc::new(SnapshotProgress::default());
    progress.log_needs.marked(1);
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress), marks()).unwrap();
    wait_until("a mark", || progress.log_needs.lets_go(3, 0));
    assert_eq!(store.calls(), ["mark 7 4 10", "sync"]);
    wait(writer.drain()).unwrap();
}

#[test]
fn a_mark_lets_the_log_go_when_it_is_synced_also_when_nothing_else_is_stored() {
    // The sync of the second mark fails.
    let store = FaultyStore::failing_after(4, 1);
    let progress = Arc::new(SnapshotProgress::default());
    let marks = marks();
    let log = Arc::clone(&marks.progress);
    let needs = Arc::clone(&progress.log_needs);
    let lets_go = |commit| needs.lets_go(commit, 0);
    let writer = SnapshotWriter::start(Arc::clone(&store), progress, marks).unwrap();
    let sender = writer.sender();
    assert!(sender.send(batch(7)));
    wait_until("the first mark", || lets_go(3));
    assert_eq!(store.calls(), ["write 7", "mark 7 4 10", "sync"]);
    assert!(!lets_go(4));
    let held = store.calls.lock().unwrap();
    log.first_unstored.store(9, Relaxed);
    assert!(!lets_go(8));
    drop(held);
    wait_until("the second mark", || lets_go(8));
    let calls = store.calls();
    assert_eq!(calls[3..], ["mark 7 9 10", "reopen", "mark 7 9 10", "sync"]);
    assert!(!lets_go(9));
    // Where nothing changes nothing is written.
    drop(sender);
    wait(writer.drain()).unwrap();
    assert_eq!(store.calls(), calls);
}
