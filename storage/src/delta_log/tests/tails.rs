//! Reading behind the one who writes.

use super::*;

/// A folder with what is on the disk.
struct Folder(PathBuf);

impl Folder {
    fn of(name: &str, disk: &ModelDisk) -> Self {
        let path = std::env::temp_dir().join(format!("warren-tail-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        let folder = Self(path);
        folder.take_over(disk);
        folder
    }

    fn take_over(&self, disk: &ModelDisk) {
        for entry in std::fs::read_dir(&self.0).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for segment in disk.segments() {
            let path = self.0.join(segment_file_name(segment));
            std::fs::write(path, disk.read(segment)).unwrap();
        }
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.0.join(segment_file_name(segment))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Commit `number` as a record of its own, of different lengths.
fn record(number: u64) -> Pushed {
    pushed(0, number, &vec![number as u8; (number as usize * 997) % 9000])
}

/// All that is there up to this commit.
fn read(tail: &mut LogTail, durable: u64) -> Vec<(u64, Pushed)> {
    let mut found = Vec::new();
    while let Some(commit) = tail.next(durable).unwrap() {
        assert_eq!(commit.salt, SALT);
        for (header, payload) in commit.records() {
            found.push((commit.number, Pushed { header, payload: payload.to_vec() }));
        }
    }
    found
}

fn numbered(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, Pushed)> {
    numbers.map(|number| (number, record(number))).collect()
}

#[test]
fn a_tail_reads_every_commit_once_and_none_that_is_not_durable() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    (1..=20).for_each(|number| commit(&mut log, &[record(number)]));
    let folder = Folder::of("once", &disk);
    let mut tail = LogTail::open(&folder.0, 1);
    assert_eq!(LogTail::first_commit(&folder.0).unwrap(), Some(1));
    assert_eq!(read(&mut tail, 7), numbered(1..=7));
    assert_eq!(read(&mut tail, 7), []);
    assert_eq!(read(&mut tail, 20), numbered(8..=20));
    // From anywhere.
    for first in 1..=20 {
        assert_eq!(read(&mut LogTail::open(&folder.0, first), 20), numbered(first..=20));
    }
    // What comes later, also behind a start.
    drop(log);
    let mut log = begun(&disk, 8);
    (21..=30).for_each(|number| commit(&mut log, &[record(number)]));
    folder.take_over(&disk);
    assert_eq!(read(&mut tail, 30), numbered(21..=30));
    assert_eq!(tail.position(), 31);
}

#[test]
fn a_tail_passes_what_a_failed_write_has_left() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 64);
    let mut failed = 0;
    for number in 1..=20 {
        push(&mut log, &[record(number)]);
        disk.set_fault((number % 3 == 0).then_some(Fault::Sync));
        while block_on(log.commit()).is_err() {
            failed += 1;
            disk.set_fault(None);
        }
    }
    assert_eq!(failed, 6);
    let folder = Folder::of("failed", &disk);
    for first in 1..=20 {
        assert_eq!(read(&mut LogTail::open(&folder.0, first), 20), numbered(first..=20));
    }
}

#[test]
fn a_tail_that_was_too_slow_is_told_what_is_gone() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 4);
    (1..=20).for_each(|number| commit(&mut log, &[record(number)]));
    let folder = Folder::of("gone", &disk);
    let mut tail = LogTail::open(&folder.0, 1);
    assert_eq!(read(&mut tail, 3), numbered(1..=3));
    let removed = 4;
    (1..=removed).for_each(|segment| std::fs::remove_file(folder.path(segment)).unwrap());
    let first = LogTail::first_commit(&folder.0).unwrap().unwrap();
    assert!(first > 4, "{first}");
    // The segment that it reads is open, and goes on to be read.
    let error = loop {
        match tail.next(20) {
            Ok(commit) => assert!(commit.unwrap().number < first),
            Err(error) => break error,
        }
    };
    let TailError::Gone { wanted, first: found } = error else { panic!("{error}") };
    assert_eq!((wanted, found), (tail.position(), first));
}

#[test]
fn a_commit_that_is_damaged_is_told_with_its_place_and_read_when_it_is_whole() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 64);
    (1..=3).for_each(|number| commit(&mut log, &[record(number)]));
    let folder = Folder::of("damaged", &disk);
    let whole = disk.read(1);
    let second = 2 * BLOCK_BYTES;
    for flipped in [second, second + 5, second + 8, second + 16, second + 23, second + 1000] {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 0x10;
        std::fs::write(folder.path(1), bytes).unwrap();
        let mut tail = LogTail::open(&folder.0, 1);
        assert_eq!(read(&mut tail, 1), numbered(1..=1));
        let error = tail.next(3).unwrap_err();
        let TailError::Damaged { wanted: 2, path, offset } = error else { panic!("{error}") };
        assert_eq!((path, offset), (folder.path(1), second as u64), "byte {flipped}");
        std::fs::write(folder.path(1), &whole).unwrap();
        assert_eq!(read(&mut tail, 3), numbered(2..=3));
    }
}

/// An empty folder beside this one.
fn beside(folder: &Folder, name: &str) -> Folder {
    let path = folder.0.with_extension(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    Folder(path)
}

/// A copy of the linked log, which is that of the folder.
fn copied(folder: &Folder, links: &LinkedLog, durable: u64) -> Result<Folder, TailError> {
    let copy = beside(folder, "copy");
    links.copy(durable, |segment: CutSegment<'_>| {
        let mut bytes = segment.bytes.to_vec();
        bytes.resize(segment.length as usize, 0);
        std::fs::write(copy.0.join(segment.name), bytes).unwrap();
        Ok::<_, TailError>(())
    })?;
    Ok(copy)
}

/// The segments of the folder, in another one.
fn linked(folder: &Folder) -> (Folder, LinkedLog) {
    let links = beside(folder, "links");
    let log = LinkedLog::link(&folder.0, &links.0).unwrap();
    (links, log)
}

/// The same, where these segments are on their way out, or made anew, and not there for a moment.
fn linked_with_gone(folder: &Folder, gone: &[u64]) -> (Folder, LinkedLog) {
    let links = beside(folder, "links");
    let mut listed = segment_numbers(&folder.0).unwrap();
    listed.extend(gone);
    listed.sort_unstable();
    let log = LinkedLog::link_these(&folder.0, &links.0, listed).unwrap();
    (links, log)
}

/// What a start reads of the folder, and that nothing in it is torn.
fn recovered(folder: &Folder) -> Vec<(u64, Pushed)> {
    let mut found = Vec::new();
    let end = recover(&folder.0, |record| {
        let (header, payload) = (record.header, record.payload.to_vec());
        found.push((record.commit, Pushed { header, payload }));
        Ok::<_, Infallible>(())
    })
    .unwrap();
    assert_eq!(end.summary().torn, None);
    found
}

#[test]
fn a_copy_has_every_durable_commit_and_none_behind() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    (1..=20).for_each(|number| commit(&mut log, &[record(number)]));
    let mut log = begun(&disk, 8);
    commit(&mut log, &[record(21)]);
    let folder = Folder::of("copied", &disk);
    // One that is being made.
    std::fs::write(folder.path(disk.segments().len() as u64 + 1), vec![0; 4 * BLOCK_BYTES])
        .unwrap();
    let whole = numbered(1..=21);
    for durable in 1..=21 {
        let (_links, log) = linked(&folder);
        assert_eq!(recovered(&copied(&folder, &log, durable).unwrap()), whole[..durable as usize]);
    }
    // Those that snapshots have passed may be gone by now, and the newest may be made anew.
    std::fs::remove_file(folder.path(1)).unwrap();
    let (_links, log) = linked_with_gone(&folder, &[1, disk.segments().len() as u64 + 2]);
    let copy = copied(&folder, &log, 21).unwrap();
    let first = LogTail::first_commit(&copy.0).unwrap().unwrap();
    assert_eq!(read(&mut LogTail::open(&copy.0, first), 21), numbered(first..=21));
}

#[test]
fn a_log_goes_on_and_removes_its_segments_while_what_was_linked_is_copied() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    (1..=20).for_each(|number| commit(&mut log, &[record(number)]));
    let folder = Folder::of("linked", &disk);
    let (_links, linked) = linked(&folder);
    commit(&mut log, &[record(21)]);
    for segment in disk.segments() {
        // The newest is the one that is written to.
        if Some(&segment) == disk.segments().last() {
            std::fs::write(folder.path(segment), disk.read(segment)).unwrap();
        } else {
            std::fs::remove_file(folder.path(segment)).unwrap();
        }
    }
    assert_eq!(recovered(&copied(&folder, &linked, 20).unwrap()), numbered(1..=20));
}

#[test]
fn no_copy_is_made_of_a_log_that_is_damaged() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    (1..=20).for_each(|number| commit(&mut log, &[record(number)]));
    let folder = Folder::of("bad", &disk);
    let segments = disk.segments().len() as u64;
    let copy = |durable| {
        let (_links, log) = linked(&folder);
        copied(&folder, &log, durable).map(drop)
    };
    for segment in 1..=segments {
        let whole = disk.read(segment);
        // Its header, and its first commit.
        for flipped in [9, BLOCK_BYTES + 30] {
            let mut bytes = whole.clone();
            bytes[flipped] ^= 1;
            std::fs::write(folder.path(segment), bytes).unwrap();
            let error = copy(20).unwrap_err();
            let TailError::Damaged { path, .. } = &error else { panic!("{error}") };
            assert_eq!(*path, folder.path(segment), "byte {flipped}");
        }
        std::fs::write(folder.path(segment), whole).unwrap();
        copy(20).unwrap();
    }
    // All of them.
    let nothing = Folder::of("nothing", &ModelDisk::new(1));
    let (_links, log) = linked(&nothing);
    let Err(error) = copied(&nothing, &log, 20) else { panic!("nothing was copied") };
    assert!(
        matches!(&error, TailError::Empty { wanted: 20, path } if *path == nothing.0),
        "{error}"
    );
    let error = LogTail::open(&nothing.0, 7).next(20).unwrap_err();
    assert!(
        matches!(&error, TailError::Empty { wanted: 7, path } if *path == nothing.0),
        "{error}"
    );
    // One that is missing between others, and one at the end.
    for segment in [2, segments] {
        let whole = disk.read(segment);
        std::fs::remove_file(folder.path(segment)).unwrap();
        assert!(matches!(copy(20), Err(TailError::Damaged { .. })), "{segment}");
        std::fs::write(folder.path(segment), whole).unwrap();
    }
}

#[test]
fn a_copy_of_a_log_without_a_commit_says_which_log_it_is() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    let copied = |durable| {
        let folder = Folder::of("begun", &disk);
        let (_links, log) = linked(&folder);
        let copy = copied(&folder, &log, durable).unwrap();
        recover(&copy.0, |_| Ok::<_, Infallible>(())).unwrap()
    };
    let end = copied(0);
    assert_eq!((end.is_begun(), end.salt(), end.last_commit()), (true, SALT, 0));
    // Also when there is one by now that is not durable.
    commit(&mut log, &[record(1)]);
    let end = copied(0);
    assert_eq!((end.is_begun(), end.salt(), end.last_commit()), (true, SALT, 0));
    assert_eq!(copied(1).last_commit(), 1);
}

#[test]
fn a_tail_believes_no_length_that_the_file_has_not_and_gives_back_what_a_long_commit_took() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 8);
    commit(&mut log, &[record(1)]);
    commit(&mut log, &[pushed(0, 2, &vec![7; 20 << 20])]);
    commit(&mut log, &[record(3)]);
    let folder = Folder::of("long", &disk);
    let mut tail = LogTail::open(&folder.0, 1);
    assert!(tail.next(3).unwrap().is_some());
    // Of the second commit, a length that is possible, and not in this file.
    let whole = disk.read(2);
    let mut bytes = whole.clone();
    bytes[BLOCK_BYTES + 16..BLOCK_BYTES + 20].copy_from_slice(&(1u32 << 30).to_le_bytes());
    std::fs::write(folder.path(2), &bytes).unwrap();
    assert!(matches!(tail.next(3), Err(TailError::Damaged { wanted: 2, .. })));
    assert!(tail.spare_bytes() < 1 << 20, "{}", tail.spare_bytes());
    std::fs::write(folder.path(2), &whole).unwrap();
    assert!(tail.next(3).unwrap().is_some());
    assert!(tail.spare_bytes() > 20 << 20);
    assert!(tail.next(3).unwrap().is_some());
    assert!(tail.spare_bytes() <= 8 << 20, "{}", tail.spare_bytes());
}
