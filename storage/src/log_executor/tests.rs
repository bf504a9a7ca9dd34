//! The log's thread with a real folder, and with a disk that fails on demand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::{Epoch, GroupId, Sequence};

use super::*;
use crate::delta_log::{LogTail, recover, segment_file_name};

const GROUPS: u64 = 3;

/// How long a test waits for the log's thread before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so, or fails.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    // Nobody sends anything.
    let (_sender, pause) = mpsc::channel::<()>();
    let step = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() {
        if is_so() {
            return;
        }
        let _ = pause.recv_timeout(step);
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("warren-log-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn batch(group: u16, sequence: u64) -> DeltaBatch {
    let object = ((u64::from(group) * 64) << 48) | sequence;
    DeltaBatch { group, epoch: 1, sequence, deltas: vec![Delta::ObjectDeleted { object }] }
}

/// Shards that change something, and a log's thread that writes it.
struct Node {
    ports: Vec<LogPort>,
    progress: Arc<LogProgress>,
    needs: Arc<LogNeeds>,
    thread: std::thread::JoinHandle<Result<(), LogThreadError>>,
    /// The numbers of shards that were woken.
    woken: mpsc::Receiver<usize>,
    news: Arc<Mutex<Vec<String>>>,
    /// By group: what was appended, and what is known to be on the disk.
    appended: BTreeMap<u16, u64>,
    durable: BTreeMap<u16, u64>,
}

impl Node {
    /// What snapshots have may go.
    fn start(folder: &Path, shard_count: usize, segment_bytes: u64) -> Self {
        let node = Self::start_unmarked(folder, shard_count, segment_bytes);
        node.needs.marked(u64::MAX);
        node
    }

    fn start_unmarked(folder: &Path, shard_count: usize, segment_bytes: u64) -> Self {
        let progress = Arc::new(LogProgress::default());
        let needs = Arc::new(LogNeeds::default());
        let (ports, writer) =
            prepare(shard_count, Arc::clone(&progress), Arc::clone(&needs)).unwrap();
        let end = recover(folder, |_| Ok::<_, ()>(())).unwrap();
        let appended: BTreeMap<u16, u64> = (0..GROUPS as u16)
            .filter_map(|group| Some((group, end.last_of(GroupId(group))?.1.0)))
            .collect();
        let place = LogPlace { folder: folder.to_owned(), segment_bytes, end };
        let (wake, woken) = mpsc::channel();
        let news = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&news);
        let body = move || {
            let tell = |news: LogNews<'_>| told.lock().unwrap().push(format!("{news:?}"));
            let wake = |shard| {
                let _ = wake.send(shard);
            };
            writer.run(place, wake, tell)
        };
        let thread = std::thread::Builder::new().spawn(body).unwrap();
        let durable = appended.clone();
        Self { ports, progress, needs, thread, woken, news, appended, durable }
    }

    /// The shard changes each of these groups so often.
    fn append(&mut self, shard: usize, groups: &[u16], times: u64) {
        for _ in 0..times {
            let change = |group: &u16| {
                let last = self.appended.entry(*group).or_default();
                *last += 1;
                batch(*group, *last)
            };
            let deltas: Vec<_> = groups.iter().map(change).collect();
            self.ports[shard].append(&deltas);
        }
    }

    fn take_durable(&mut self) {
        let Self { ports, durable, appended, .. } = self;
        for port in ports {
            port.take_durable(|group, sequence| {
                assert!(sequence.0 <= appended[&group.0], "it was appended");
                let before = durable.insert(group.0, sequence.0);
                assert!(before.is_none_or(|before| before < sequence.0), "watermarks rise");
            });
        }
    }

    /// Waits until all that was appended is on the disk, handing over what was staged.
    fn settle(&mut self) {
        while self.durable != self.appended {
            self.take_durable();
            self.ports.iter_mut().for_each(|port| port.append(&[]));
            if self.durable != self.appended {
                let woken = self.woken.recv_timeout(PATIENCE);
                woken.expect("a shard is woken for each batch that comes back");
            }
        }
        assert!(self.ports.iter().all(|port| !port.is_waiting()));
    }

    fn end(self) -> Result<(), LogThreadError> {
        drop(self.ports);
        wait_until("the log ends with its shards", || self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

/// The highest sequence of each group in the folder, which are dense.
fn found(folder: &Path) -> BTreeMap<u16, u64> {
    let mut found = BTreeMap::new();
    recover(folder, |record| {
        let decoded = DeltaBatch::decode(record.payload).unwrap();
        assert_eq!(decoded, batch(record.header.group.0, record.header.sequence.0));
        assert_eq!(record.header.epoch, Epoch(1));
        found.insert(record.header.group.0, record.header.sequence.0);
        Ok::<_, ()>(())
    })
    .unwrap();
    found
}

#[test]
fn what_all_shards_hand_over_comes_to_the_disk_and_back() {
    let folder = Folder::new("back");
    let mut node = Node::start(&folder.0, 2, 1 << 20);
    for _ in 0..50 {
        node.append(0, &[0, 1], 3);
        node.append(1, &[2], 40);
        node.take_durable();
    }
    node.settle();
    assert_eq!(node.appended, BTreeMap::from([(0, 150), (1, 150), (2, 2000)]));
    let progress = Arc::clone(&node.progress);
    let durable = node.durable.clone();
    node.end().unwrap();
    assert_eq!(found(&folder.0), durable);
    assert_eq!(progress.records.load(Relaxed), 2300);
    // Whatever waited for a sync was in one commit.
    assert!(progress.commits.load(Relaxed) <= 50 * 43);
    assert_eq!(progress.failures.load(Relaxed), 0);
}

#[test]
fn what_was_handed_over_before_the_end_comes_to_the_disk_and_the_next_goes_on_behind_it() {
    let folder = Folder::new("next");
    for round in 1..=3 {
        let mut node = Node::start(&folder.0, 1, 64 << 10);
        node.append(0, &[0, 1, 2], 10);
        node.end().unwrap();
        let last = 10 * round;
        assert_eq!(found(&folder.0), BTreeMap::from([(0, last), (1, last), (2, last)]));
    }
}

#[test]
fn a_log_that_is_behind_lets_its_shards_stage_and_loses_nothing() {
    let folder = Folder::new("behind");
    let progress = Arc::new(LogProgress::default());
    let (mut ports, writer) = prepare(1, Arc::clone(&progress), Arc::default()).unwrap();
    // Nobody writes yet.
    for sequence in 1..=40 {
        ports[0].append(&[batch(0, sequence)]);
    }
    assert!(ports[0].has_staged());
    let waiting = ports[0].waiting_bytes();
    assert!(waiting >= 40 * batch(0, 1).encode().len(), "{waiting}");
    let end = recover(&folder.0, |_| Ok::<_, ()>(())).unwrap();
    let place = LogPlace { folder: folder.0.clone(), segment_bytes: 1 << 20, end };
    let (wake, woken) = mpsc::channel();
    let wake = move |_| {
        let _ = wake.send(());
    };
    let body = move || writer.run(place, wake, |_| ());
    let thread = std::thread::Builder::new().spawn(body).unwrap();
    let mut last = 0;
    while last < 40 {
        woken.recv_timeout(PATIENCE).unwrap();
        ports[0].take_durable(|_, sequence| last = sequence.0);
        ports[0].append(&[]);
    }
    assert_eq!(ports[0].waiting_bytes(), 0);
    drop(ports);
    thread.join().unwrap().unwrap();
    assert_eq!(found(&folder.0), BTreeMap::from([(0, 40)]));
}

#[test]
fn segments_that_snapshots_have_passed_go() {
    let folder = Folder::new("segments");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    for _ in 0..20 {
        node.append(0, &[0, 1], 1);
        node.settle();
        for group in [0, 1] {
            node.needs.stored(GroupId(group), Sequence(node.durable[&group] - 1));
        }
    }
    let removed = node.progress.segments_removed.load(Relaxed);
    let durable = node.durable.clone();
    node.end().unwrap();
    assert!(removed > 0);
    // What no snapshot holds is there.
    assert_eq!(found(&folder.0), durable);
}

/// Changes a group again and again, which snapshots have at once, in segments of four commits.
fn change_and_store(node: &mut Node, times: u64) {
    for _ in 0..times {
        node.append(0, &[0], 1);
        node.settle();
        node.needs.stored(GroupId(0), Sequence(node.durable[&0]));
    }
}

#[test]
fn a_tail_follows_the_log_and_what_it_has_not_read_stays() {
    let folder = Folder::new("follows");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    node.needs.exported(0, u64::MAX);
    let mut tail = LogTail::open(&folder.0, 1);
    let mut read = Vec::new();
    for round in 1..=30 {
        change_and_store(&mut node, round % 7);
        let durable = node.progress.durable_commit.load(Relaxed);
        while let Some(commit) = tail.next(durable).unwrap() {
            let (header, payload) = commit.records().next().unwrap();
            assert_eq!(DeltaBatch::decode(payload).unwrap(), batch(0, header.sequence.0));
            read.push(header.sequence.0);
        }
        assert_eq!(tail.position(), durable + 1);
        if round % 10 == 0 {
            node.needs.exported(durable, u64::MAX);
        }
        // What it knows the log by is there.
        let known = durable - round % 10;
        assert!(LogTail::open(&folder.0, known.max(1)).next(durable).unwrap().is_some());
    }
    assert_eq!(read, (1..=node.appended[&0]).collect::<Vec<_>>());
    assert!(node.progress.segments_removed.load(Relaxed) > 0);
    node.end().unwrap();
}

#[test]
fn a_log_waits_for_its_exporter_until_it_has_too_many_bytes() {
    let folder = Folder::new("overrun");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    node.needs.exported(0, 100 << 10);
    change_and_store(&mut node, 12);
    assert_eq!(node.progress.segments_removed.load(Relaxed), 0);
    change_and_store(&mut node, 60);
    assert!(node.progress.segments_removed.load(Relaxed) > 0);
    assert!(node.progress.kept_bytes.load(Relaxed) <= 116 << 10);
    assert!(LogTail::first_commit(&folder.0).unwrap().unwrap() > 1);
    node.end().unwrap();
}

#[test]
fn nothing_goes_while_somebody_holds_it() {
    let folder = Folder::new("held");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    let holds = [node.needs.hold(), node.needs.hold()];
    for hold in holds {
        change_and_store(&mut node, 20);
        assert_eq!(node.progress.segments_removed.load(Relaxed), 0);
        drop(hold);
    }
    change_and_store(&mut node, 20);
    assert!(node.progress.segments_removed.load(Relaxed) > 0);
    node.end().unwrap();
}

/// A log of many segments, all of which snapshots have, and of whose removal nothing is said yet.
fn unmarked(folder: &Folder) -> Node {
    let mut node = Node::start_unmarked(&folder.0, 1, 16 << 10);
    change_and_store(&mut node, 30);
    assert_eq!(node.progress.segments_removed.load(Relaxed), 0);
    node
}

#[test]
fn nothing_goes_before_the_store_says_that_it_is_not_needed() {
    let folder = Folder::new("unmarked");
    let mut node = unmarked(&folder);
    wait_until("the last segment is looked at", || {
        node.progress.first_unstored() > node.progress.durable_commit() - 4
    });
    assert_eq!(LogTail::first_commit(&folder.0).unwrap(), Some(1));
    // Up to a commit in the middle, without a commit of the log in between.
    node.needs.marked(10);
    let first = || LogTail::first_commit(&folder.0).unwrap().unwrap();
    wait_until("what is below goes", || (7..=10).contains(&first()));
    let commits = node.progress.commits.load(Relaxed);
    node.needs.marked(node.progress.first_unstored());
    wait_until("all but the newest goes", || first() + 4 > node.progress.durable_commit());
    assert_eq!(node.progress.commits.load(Relaxed), commits, "nobody wrote anything");
    let durable = node.durable.clone();
    change_and_store(&mut node, 1);
    node.end().unwrap();
    assert_eq!(found(&folder.0)[&0], durable[&0] + 1);
}

#[test]
fn what_is_let_go_goes_also_when_nobody_writes() {
    let folder = Folder::new("at-rest");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    let hold = node.needs.hold();
    node.needs.exported(0, u64::MAX);
    change_and_store(&mut node, 30);
    let first = || LogTail::first_commit(&folder.0).unwrap().unwrap();
    drop(hold);
    assert_eq!(first(), 1);
    node.needs.exported(15, u64::MAX);
    wait_until("what is exported goes", || first() > 10);
    assert!(first() <= 15);
    node.end().unwrap();
}

#[test]
fn a_removal_that_fails_is_told_once_and_tried_again() {
    let folder = Folder::new("stuck");
    let mut node = unmarked(&folder);
    // No file can be removed in its place, and no log has such a segment.
    let oldest = folder.0.join(segment_file_name(1));
    std::fs::remove_file(&oldest).unwrap();
    std::fs::create_dir_all(oldest.join("in the way")).unwrap();
    node.needs.marked(u64::MAX);
    let failures = || node.progress.removal_failures.load(Relaxed);
    wait_until("it is tried again", || failures() >= 3);
    assert_eq!(node.progress.segments_removed.load(Relaxed), 0);
    node.append(0, &[1], 20);
    node.settle();
    assert_eq!(node.progress.failures.load(Relaxed), 0, "writing goes on");
    std::fs::remove_dir_all(&oldest).unwrap();
    wait_until("they go", || node.progress.segments_removed.load(Relaxed) > 3);
    let news = node.news.lock().unwrap().clone();
    assert!(news[1].starts_with("RemovalFails"), "{news:?}");
    assert_eq!((&news[2][..], news.len()), ("RemovalWorks", 3));
    node.end().unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let folder = Folder::new("gone");
    let progress = Arc::new(LogProgress::default());
    let (ports, writer) = prepare(1, Arc::clone(&progress), Arc::default()).unwrap();
    let end = recover(&folder.0, |_| Ok::<_, ()>(())).unwrap();
    let gone = folder.0.join("gone");
    let place = LogPlace { folder: gone, segment_bytes: 1 << 20, end };
    let error = writer.run(place, |_| (), |_| ()).unwrap_err();
    assert!(matches!(error, LogThreadError::Folder { .. }), "{error}");
    assert!(ports[0].has_ended() && ports[0].is_failing());
    assert!(progress.is_failing.load(Relaxed));
}

/// A log of two shards whose folder is away since a moment, and where it is.
fn failing(folder: &Folder) -> (Node, PathBuf) {
    let away = folder.0.with_extension("away");
    let mut node = Node::start(&folder.0, 2, 16 << 10);
    node.append(0, &[0], 1);
    node.settle();
    std::fs::rename(&folder.0, &away).unwrap();
    // The segment that is open takes some more; the next cannot be made.
    wait_until("the log fails", || {
        node.append(0, &[0], 1);
        node.take_durable();
        node.ports[1].is_failing()
    });
    (node, away)
}

#[test]
fn while_the_disk_fails_nothing_is_acknowledged_and_then_everything_is() {
    let folder = Folder::new("fails");
    let (mut node, away) = failing(&folder);
    let known = node.durable.clone();
    node.append(1, &[1, 2], 100);
    node.take_durable();
    assert_eq!(node.durable, known);
    std::fs::rename(&away, &folder.0).unwrap();
    node.settle();
    assert!(!node.ports[0].is_failing());
    let news = node.news.lock().unwrap().clone();
    assert_eq!(news[0], "Begun");
    assert!(news[1].starts_with("Fails"), "{news:?}");
    assert_eq!(news.last().unwrap(), "Works");
    assert!(node.progress.failures.load(Relaxed) > 0);
    let durable = node.durable.clone();
    node.end().unwrap();
    assert_eq!(found(&folder.0), durable);
}

#[test]
fn a_disk_that_fails_does_not_wait_for_the_exporter_but_for_who_holds_it() {
    let folder = Folder::new("full");
    let away = folder.0.with_extension("away");
    let mut node = Node::start(&folder.0, 1, 16 << 10);
    node.needs.exported(0, u64::MAX);
    let hold = node.needs.hold();
    change_and_store(&mut node, 12);
    std::fs::rename(&folder.0, &away).unwrap();
    wait_until("the log fails", || {
        node.append(0, &[0], 1);
        node.take_durable();
        node.ports[0].is_failing()
    });
    let failures = node.progress.failures.load(Relaxed);
    wait_until("it tries again", || node.progress.failures.load(Relaxed) >= failures + 3);
    assert_eq!(node.progress.segments_removed.load(Relaxed), 0);
    drop(hold);
    wait_until("room is made", || node.progress.segments_removed.load(Relaxed) > 0);
    std::fs::rename(&away, &folder.0).unwrap();
    node.settle();
    let removed = node.progress.segments_removed.load(Relaxed);
    // The disk works again, and so does waiting.
    change_and_store(&mut node, 20);
    assert_eq!(node.progress.segments_removed.load(Relaxed), removed);
    node.end().unwrap();
}

#[test]
fn a_log_whose_disk_fails_until_the_end_says_that_the_rest_is_missing() {
    let folder = Folder::new("never");
    let (mut node, away) = failing(&folder);
    node.take_durable();
    let durable = node.durable.clone();
    let error = node.end().unwrap_err();
    assert!(matches!(error, LogThreadError::RestNotWritten(_)), "{error}");
    let found = found(&away);
    std::fs::rename(&away, &folder.0).unwrap();
    assert!(found[&0] >= durable[&0], "what was acknowledged is there");
}
