use std::sync::Mutex;

use warren_core::ids::{Epoch, GroupId, Sequence};

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

    fn sync(&self) -> Result<(), StoreError> {
        self.call("sync".to_owned())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push("reopen".to_owned());
        Ok(())
    }
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
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress)).unwrap();
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
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress)).unwrap();
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
    let writer = SnapshotWriter::start(Arc::clone(&store), Arc::clone(&progress)).unwrap();
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
