//! Over a log in a folder that the log itself has written, through the simplest of disks.

use std::fs::{self, File};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::Value;
use warren_storage::delta_log::{DeltaLog, LogDisk, LogSettings, RecordHeader, segment_file_name};

use super::*;

/// A folder that goes when the test has passed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("warren-log-reader-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

impl LogDisk for &Folder {
    type File = File;

    async fn create(&self, segment: u64, bytes: u64) -> io::Result<File> {
        let file = File::create_new(self.0.join(segment_file_name(segment)))?;
        file.set_len(bytes)?;
        Ok(file)
    }

    async fn write(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    async fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    async fn remove(&self, segment: u64) -> io::Result<()> {
        fs::remove_file(self.0.join(segment_file_name(segment)))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("files are always ready"),
    }
}

/// Two batches of one group and one of another, each a commit.
fn written(name: &str) -> Folder {
    let folder = Folder::new(name);
    let end = recover(&folder.0, |_| Ok::<(), io::Error>(())).unwrap();
    let settings = LogSettings { segment_bytes: 3 * 4096 };
    let mut log = block_on(DeltaLog::begin(&folder, settings, end)).unwrap();
    let object = "171.31".parse::<ObjectId>().unwrap().0;
    for (group, sequence, deltas) in [
        (2, 1, vec![Delta::ObjectCreated { object, version: 1, record: vec![] }]),
        (2, 2, vec![Delta::ObjectDeleted { object }, Delta::UserAbsent { user: "ann".into() }]),
        (3, 9, vec![]),
    ] {
        let batch = DeltaBatch { group, epoch: 4, sequence, deltas };
        let header = RecordHeader {
            group: batch.group_id(),
            epoch: batch.epoch_id(),
            sequence: batch.sequence_id(),
        };
        log.push(header, &batch.encode());
        block_on(log.commit()).unwrap();
    }
    drop(log);
    folder
}

fn told(
    folder: &Folder,
    command: fn(LogFolder) -> LogCommand,
    json: bool,
) -> Result<String, Fatal> {
    let command = command(LogFolder { folder: folder.0.clone(), json });
    let mut out = Vec::new();
    run(&LogArguments { command }, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn records_are_told_in_order_with_their_places_and_changes() {
    let folder = written("inspect");
    let text = told(&folder, LogCommand::Inspect, false).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("segment 1 byte 4120 commit 1 group 2 epoch 4 sequence 1 "));
    assert!(lines[0].ends_with(" bytes: created 171.31 version 1"), "{text}");
    assert!(lines[1].ends_with(" bytes: deleted 171.31, absent \"ann\""), "{text}");
    assert!(lines[2].starts_with("segment 2 byte 4120 commit 3 group 3 epoch 4 sequence 9 "));
    let text = told(&folder, LogCommand::Inspect, true).unwrap();
    let objects: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[1]["deltas"], json!(["deleted 171.31", "absent \"ann\""]));
    assert_eq!((&objects[2]["commit"], &objects[2]["sequence"]), (&json!(3), &json!(9)));
}

#[test]
fn a_log_that_holds_is_told_in_numbers_and_what_is_torn_with_its_place() {
    let folder = written("verify");
    let object = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let whole = object(told(&folder, LogCommand::Verify, true).unwrap());
    assert_eq!((&whole["segments"], &whole["commits"]), (&json!(2), &json!(3)));
    assert_eq!((&whole["records"], &whole["groups"]), (&json!(3), &json!(2)));
    assert_eq!(whole["torn"], Value::Null);
    let last = folder.0.join(segment_file_name(2));
    let mut bytes = fs::read(&last).unwrap();
    bytes[4096 + 30] ^= 1;
    fs::write(&last, bytes).unwrap();
    let torn = object(told(&folder, LogCommand::Verify, true).unwrap());
    assert_eq!(
        (&torn["commits"], &torn["torn"]),
        (&json!(2), &json!({ "segment": 2, "offset": 4096 }))
    );
    let text = told(&folder, LogCommand::Verify, false).unwrap();
    assert!(text.ends_with("torn:     segment 2 from byte 4096 on, as by a power cut\n"), "{text}");
}

#[test]
fn damage_and_what_cannot_be_read_have_a_status_of_their_own() {
    let folder = written("damage");
    let first = folder.0.join(segment_file_name(1));
    let mut bytes = fs::read(&first).unwrap();
    bytes[4096 + 30] ^= 1;
    fs::write(&first, bytes).unwrap();
    for command in [LogCommand::Inspect, LogCommand::Verify] {
        let fatal = told(&folder, command, false).unwrap_err();
        assert_eq!(fatal.reason, FatalReason::StateUnusable);
        let place = format!("{}: damaged at byte 4096; expected there: commit 1", first.display());
        assert!(fatal.detail.starts_with(&place), "{}", fatal.detail);
    }
    let nowhere = LogFolder { folder: folder.0.join("nowhere"), json: false };
    let nowhere = LogArguments { command: LogCommand::Verify(nowhere) };
    assert_eq!(run(&nowhere, &mut Vec::new()).unwrap_err().reason, FatalReason::SystemRefused);
}

#[test]
fn a_record_whose_payload_is_another_s_does_not_hold() {
    let folder = Folder::new("payload");
    let end = recover(&folder.0, |_| Ok::<(), io::Error>(())).unwrap();
    let settings = LogSettings { segment_bytes: 2 * 4096 };
    let mut log = block_on(DeltaLog::begin(&folder, settings, end)).unwrap();
    let batch = DeltaBatch { group: 2, epoch: 4, sequence: 8, deltas: vec![] };
    let (group, epoch) = (batch.group_id(), batch.epoch_id());
    let sequence = warren_core::ids::Sequence(7);
    log.push(RecordHeader { group, epoch, sequence }, &batch.encode());
    block_on(log.commit()).unwrap();
    let fatal = told(&folder, LogCommand::Verify, false).unwrap_err();
    assert_eq!(fatal.reason, FatalReason::StateUnusable);
    assert!(fatal.detail.contains("no delta batch of its group"), "{}", fatal.detail);
    let text = told(&folder, LogCommand::Inspect, false).unwrap();
    assert!(text.ends_with(" bytes: no delta batch\n"), "{text}");
}
