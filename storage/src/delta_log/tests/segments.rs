//! Segments: how they look, how they follow each other and when they go.

use super::*;

/// What is stored of each group; the others let everything go.
pub(super) fn position_of(positions: &[(u16, u64)]) -> Needs {
    Needs { stored: positions.to_vec(), needed_from: u64::MAX, bytes_max: u64::MAX }
}

/// What is stored of each group, from which commit on someone else needs the log, and with how many
/// bytes it is not waited for.
pub(super) struct Needs {
    stored: Vec<(u16, u64)>,
    needed_from: u64,
    bytes_max: u64,
}

impl Retention for Needs {
    fn stored(&self, group: GroupId) -> Sequence {
        let position = self.stored.iter().find(|(of, _)| *of == group.0);
        Sequence(position.map_or(0, |(_, position)| *position))
    }

    fn lets_go(&self, last_commit: u64, kept_bytes: u64) -> bool {
        last_commit < self.needed_from || kept_bytes > self.bytes_max
    }
}

#[test]
fn the_bytes_of_format_1_are_these() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 3);
    commit(&mut log, &[pushed(7, 9, b"abc"), pushed(1023, 1, b"")]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let bytes = disk.read(1);
    let expected = concat!(
        "57415252454e444c",
        "01000000",
        "175aed5e",
        "0100000000000000",
        "0030000000000000",
        "0100000000000000",
        "125880ea",
    );
    assert_eq!(hex(&bytes[..44]), expected);
    let expected = concat!(
        "57444c43",
        "d0193a57",
        "0100000000000000",
        "27000000",
        "02000000",
        "0700",
        "01000000",
        "0900000000000000",
        "03000000",
        "616263",
        "ff03",
        "01000000",
        "0100000000000000",
        "00000000",
    );
    assert_eq!(hex(&bytes[BLOCK_BYTES..BLOCK_BYTES + 63]), expected);
    assert!(bytes[44..BLOCK_BYTES].iter().chain(&bytes[BLOCK_BYTES + 63..]).all(|byte| *byte == 0));
    assert_eq!(bytes.len(), 3 * BLOCK_BYTES);
}

#[test]
fn an_empty_log_begins_with_commit_1_in_segment_1() {
    let disk = ModelDisk::new(1);
    let (records, end) = found(&disk).unwrap();
    assert_eq!((records.len(), end.summary()), (0, LogSummary::default()));
    let mut log = begun(&disk, 3);
    // A log is there from its beginning on, also without a commit.
    block_on(log.commit()).unwrap();
    assert_eq!(disk.segments(), [1], "nothing was pushed");
    let (records, end) = found(&disk).unwrap();
    assert_eq!(
        (records.len(), end.is_begun(), end.first_commit(), end.last_commit()),
        (0, true, 1, 0)
    );
    commit(&mut log, &[pushed(3, 41, b"any sequence may be the first")]);
    let (_, end) = found(&disk).unwrap();
    assert_eq!(disk.segments(), [1]);
    assert_eq!(end.last_of(GroupId(3)), Some((Epoch(1), Sequence(41))));
    assert_eq!(end.last_of(GroupId(4)), None);
    let expected =
        LogSummary { segments: 1, commits: 1, records: 1, payload_bytes: 29, torn: None };
    assert_eq!(end.summary(), expected);
}

#[test]
fn a_commit_that_does_not_fit_goes_to_a_segment_that_is_as_long_as_it_needs() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 3);
    let long = vec![7; 5 * BLOCK_BYTES];
    let records = [pushed(1, 1, b"short"), pushed(1, 2, &long), pushed(1, 3, b"short again")];
    records.iter().for_each(|record| commit(&mut log, std::slice::from_ref(record)));
    assert_eq!(disk.segments(), [1, 2, 3]);
    let blocks = [1, 2, 3].map(|segment| disk.read(segment).len() / BLOCK_BYTES);
    assert_eq!(blocks, [3, 7, 3]);
    assert_eq!(found(&disk).unwrap().0, records);
    // As long a one is what the next start goes on with.
    disk.tamper(3, None);
    drop(log);
    let mut log = begun(&disk, 3);
    commit(&mut log, &records[2..]);
    assert_eq!(disk.read(3).len(), 7 * BLOCK_BYTES);
    assert_eq!(found(&disk).unwrap().0, records);
}

#[test]
#[should_panic(expected = "sequence 2 of group 1, not 3")]
fn a_record_that_does_not_follow_its_group_s_last_is_a_bug() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 3);
    commit(&mut log, &[pushed(1, 1, b"")]);
    drop(log);
    push(&mut begun(&disk, 3), &[pushed(1, 3, b"")]);
}

/// Five segments of a commit each, of two groups in turn.
fn five_segments() -> (ModelDisk, Vec<Pushed>) {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 2);
    let records: Vec<Pushed> =
        (0..5).map(|number| pushed(number % 2, u64::from(number / 2 + 1), b"x")).collect();
    records.iter().for_each(|record| commit(&mut log, std::slice::from_ref(record)));
    (disk, records)
}

#[test]
fn segments_go_from_the_front_as_far_as_every_group_s_position_has_passed_them() {
    for is_started_anew in [false, true] {
        for (positions, released) in [
            (&[(0, 0), (1, 0)][..], 0),
            (&[(0, 0), (1, 2)], 0),
            (&[(0, 1), (1, 0)], 1),
            (&[(0, 2), (1, 0)], 1),
            (&[(0, 2), (1, 1)], 3),
            (&[(0, 9), (1, 9)], 4),
        ] {
            let disk = ModelDisk::new(1);
            let mut log = begun(&disk, 2);
            let (written, records) = five_segments();
            if is_started_anew {
                for segment in written.segments() {
                    disk.tamper(segment, Some(written.read(segment)));
                }
                log = begun(&disk, 2);
            } else {
                records.iter().for_each(|record| commit(&mut log, std::slice::from_ref(record)));
            }
            // Of a log that was begun anew, the newest segment repeats the last record.
            let more = usize::from(is_started_anew && released == 4);
            let count = release_all(&mut log, &position_of(positions)).unwrap();
            assert_eq!(count, released + more, "{positions:?}, {is_started_anew}");
            assert_eq!(release_all(&mut log, &position_of(positions)).unwrap(), 0);
            let (left, end) = found(&disk).unwrap();
            assert_eq!(left, records[released..], "{positions:?}, {is_started_anew}");
            // Numbers and sequences go on.
            let mut log = block_on(DeltaLog::begin(disk.clone(), settings(2), end)).unwrap();
            commit(&mut log, &[pushed(1, 3, b"y")]);
            assert_eq!(found(&disk).unwrap().0.len(), left.len() + 1);
        }
    }
}

#[test]
fn segments_that_are_stored_wait_for_those_who_read_them_until_there_are_too_many() {
    let segment_bytes = 2 * BLOCK_BYTES as u64;
    // Of five segments, and of six, where the newest repeats the last commit.
    for (needed_from, bytes_max, released) in [
        (1, u64::MAX, [0, 0]),
        (3, u64::MAX, [2, 2]),
        (6, u64::MAX, [4, 5]),
        (1, 3 * segment_bytes, [2, 3]),
        (4, 4 * segment_bytes, [3, 3]),
        (1, 0, [4, 5]),
    ] {
        let (disk, records) = five_segments();
        let mut log = begun(&ModelDisk::new(1), 2);
        records.iter().for_each(|record| commit(&mut log, std::slice::from_ref(record)));
        for (mut log, expected) in [log, begun(&disk, 2)].into_iter().zip(released) {
            let needs = Needs { stored: vec![(0, 9), (1, 9)], needed_from, bytes_max };
            let count = release_all(&mut log, &needs).unwrap();
            assert_eq!(count, expected, "{needed_from} {bytes_max}");
        }
    }
}

#[test]
fn a_segment_that_cannot_be_removed_stays_and_so_do_those_behind_it() {
    let (disk, records) = five_segments();
    let mut log = begun(&disk, 2);
    disk.set_fault(Some(Fault::Remove));
    let error = release_all(&mut log, &position_of(&[(0, 2), (1, 1)])).unwrap_err();
    assert_eq!((error.call, error.segment), (DiskCall::Remove, 1));
    assert_eq!(found(&disk).unwrap().0, records);
    disk.set_fault(None);
    // A call may have come half-way.
    disk.tamper(1, None);
    assert_eq!(release_all(&mut log, &position_of(&[(0, 2), (1, 1)])).unwrap(), 3);
    assert_eq!(found(&disk).unwrap().0, records[3..]);
}

#[test]
fn what_power_cuts_leave_of_new_segments_is_no_damage() {
    let (disk, records) = five_segments();
    // A name alone, zeros, a header alone.
    disk.tamper(6, Some(vec![]));
    disk.tamper(7, Some(vec![0; 2 * BLOCK_BYTES]));
    let mut log = begun(&disk, 2);
    let mut header_alone = disk.read(8);
    header_alone[BLOCK_BYTES..].fill(0);
    disk.tamper(8, Some(header_alone));
    drop(log);
    assert_eq!(found(&disk).unwrap().0, records);
    log = begun(&disk, 2);
    commit(&mut log, &[pushed(1, 3, b"y")]);
    assert_eq!(disk.segments(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(found(&disk).unwrap().0, [&records[..], &[pushed(1, 3, b"y")]].concat());
    // Without a commit, a header still says how far the log had come.
    for segment in (1..=10).filter(|segment| *segment != 8) {
        disk.tamper(segment, None);
    }
    let (none, end) = found(&disk).unwrap();
    assert_eq!((none.len(), end.next_commit, end.next_segment), (0, 5, 9));
}

/// A folder that goes when the test has passed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("warren-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

#[test]
fn a_folder_is_read_by_the_names_of_its_files() {
    let folder = Folder::new("names");
    let read = || {
        let mut count = 0;
        recover(&folder.0, |_| {
            count += 1;
            if count == 4 { Err("four are too many") } else { Ok(()) }
        })
        .map(|end| (count, end.summary().segments))
    };
    assert_eq!(read().unwrap(), (0, 0));
    let (disk, _) = five_segments();
    for segment in [2, 3, 4] {
        std::fs::write(folder.0.join(segment_file_name(segment)), disk.read(segment)).unwrap();
    }
    std::fs::write(folder.0.join("notes.txt"), "an operator's").unwrap();
    assert_eq!(read().unwrap(), (3, 3));
    let fifth = folder.0.join(segment_file_name(5));
    std::fs::write(&fifth, disk.read(5)).unwrap();
    let error = read().unwrap_err();
    assert!(matches!(error, RecoverError::Refused { .. }));
    let expected = format!("{}: the record at byte 4120: four are too many", fifth.display());
    assert_eq!(error.to_string(), expected);
    std::fs::remove_file(folder.0.join(segment_file_name(4))).unwrap();
    let missing = folder.0.join(segment_file_name(4)).display().to_string();
    let expected =
        format!("{missing}: damaged at byte 0; expected there: this segment, which is missing");
    assert_eq!(read().unwrap_err().to_string(), expected);
    std::fs::remove_file(fifth).unwrap();
    for name in [
        "5.log",
        "0000000000000000000x.log",
        "00000000000000000000.log",
        "99999999999999999999.log",
    ] {
        let path = folder.0.join(name);
        std::fs::write(&path, "").unwrap();
        let words = read().unwrap_err().to_string();
        assert_eq!(words, format!("{}: this is no name of a segment", path.display()));
        std::fs::remove_file(path).unwrap();
    }
    let nowhere = recover(&folder.0.join("nowhere"), |_| Ok::<(), Infallible>(())).unwrap_err();
    assert!(matches!(nowhere, RecoverError::Unreadable { .. }));
}
