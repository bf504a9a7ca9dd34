//! What the store says of its log, and the second look of a start.

use super::*;

/// A log of a commit for each segment, and a mark that was made when it had come so far.
fn marked(commits: u64, first_needed: u64) -> (ModelDisk, LogMark) {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 2);
    for number in 1..=commits {
        commit(&mut log, &[pushed(0, number, b"x")]);
    }
    let mark = LogMark { salt: SALT, first_needed, reached: commits };
    (disk, mark)
}

#[track_caller]
fn check(disk: &ModelDisk, mark: LogMark) -> Result<(), LogLost> {
    mark.check(&found(disk).unwrap().1)
}

#[test]
fn a_log_that_lacks_what_a_start_needs_is_told_by_what_is_missing() {
    let (disk, mark) = marked(5, 3);
    assert_eq!(check(&disk, mark), Ok(()));
    for (segment, expected) in [
        (1, Ok(())),
        (2, Ok(())),
        (3, Err(LogLost::BeginsLater { first: 4, first_needed: 3 })),
        (4, Err(LogLost::BeginsLater { first: 5, first_needed: 3 })),
        (5, Err(LogLost::Gone { first_needed: 3, reached: 5 })),
    ] {
        disk.tamper(segment, None);
        assert_eq!(check(&disk, mark), expected, "{segment}");
    }
}

#[test]
fn another_log_and_one_that_was_put_back_are_told() {
    let (disk, mark) = marked(5, 3);
    let other = LogMark { salt: SALT ^ 1, ..mark };
    assert_eq!(check(&disk, other), Err(LogLost::OtherLog { salt: SALT ^ 1, found: SALT }));
    // Its newest segment is gone, or it is a copy from before.
    disk.tamper(5, None);
    assert_eq!(check(&disk, mark), Err(LogLost::EndsEarlier { last: 4, reached: 5 }));
    assert_eq!(check(&disk, LogMark { reached: 4, ..mark }), Ok(()));
}

#[test]
fn a_mark_of_a_log_that_was_just_begun_fits_it_until_its_first_commit_and_behind() {
    let disk = ModelDisk::new(1);
    let (_, end) = found(&disk).unwrap();
    assert!(!end.is_begun());
    let mark = LogMark::of(&end, None);
    assert_eq!((mark.salt, mark.first_needed, mark.reached), (SALT, 1, 0));
    assert_eq!(check(&disk, mark), Err(LogLost::Gone { first_needed: 1, reached: 0 }));
    let mut log = begun(&disk, 2);
    assert_eq!(check(&disk, mark), Ok(()));
    // A first commit that fails, or does not fit, leaves the segment that says that there is a log.
    disk.set_fault(Some(Fault::Full));
    push(&mut log, &[pushed(0, 1, &[7; 5000])]);
    block_on(log.commit()).unwrap_err();
    assert_eq!(check(&disk, mark), Ok(()));
    disk.set_fault(None);
    block_on(log.commit()).unwrap();
    assert_eq!(check(&disk, mark), Ok(()));
    // A start that finds no commit, again and again, and lets all but its own segment go.
    let disk = ModelDisk::new(1);
    for start in 1..=3 {
        let mut log = begun(&disk, 2);
        let needs = segments::position_of(&[]);
        release_all(&mut log, &needs).unwrap();
        assert_eq!(disk.segments(), [start]);
        assert_eq!(check(&disk, mark), Ok(()));
    }
}

#[test]
fn segments_that_say_that_commits_are_missing_between_are_damage() {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 2);
    (1..=3).for_each(|number| commit(&mut log, &[pushed(0, number, b"x")]));
    // Segment 1 has no commit and says that the first is due; the one that has it is zeros.
    let zeros = vec![0; disk.read(2).len()];
    disk.tamper(1, Some([&disk.read(1)[..BLOCK_BYTES], &zeros[BLOCK_BYTES..]].concat()));
    disk.tamper(2, Some(zeros));
    let (path, offset, expected) = damage(&disk);
    assert_eq!((path, offset), (segment_file_name(3).into(), BLOCK_BYTES as u64));
    assert_eq!(expected, "commit 1, not 3");
}

/// What a start hands over again, in order.
fn replayed(disk: &ModelDisk, positions: &[(u16, u64)]) -> (Vec<(u64, Pushed)>, usize) {
    let (_, end) = found(disk).unwrap();
    let position = |group: GroupId| {
        let known = positions.iter().find(|(of, _)| *of == group.0);
        known.map(|(_, position)| Sequence(*position))
    };
    let mut records = Vec::new();
    let mut source = Counting { disk: disk.clone(), loads: 0 };
    end.replay_from(&mut source, position, |record| {
        let payload = record.payload.to_vec();
        records.push((record.commit, Pushed { header: record.header, payload }));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    (records, source.loads)
}

/// Counts what is read.
struct Counting {
    disk: ModelDisk,
    loads: usize,
}

impl SegmentSource for Counting {
    fn segments(&mut self) -> Result<Vec<u64>, (PathBuf, io::Error)> {
        Ok(self.disk.segments())
    }

    fn load(&mut self, segment: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.loads += 1;
        SegmentSource::load(&mut self.disk, segment, bytes)
    }

    fn path(&self, segment: u64) -> PathBuf {
        SegmentSource::path(&self.disk, segment)
    }
}

#[test]
fn a_replay_reads_segments_with_records_beyond_the_positions_and_hands_those_over_once() {
    let disk = ModelDisk::new(3);
    let mut all = Vec::new();
    // Three lives: the last commit of each stands in two segments.
    for life in 0..3 {
        let mut log = begun(&disk, 3);
        for number in life * 6 + 1..=life * 6 + 6 {
            let records = [pushed(0, number, b"a"), pushed(1, number, b"b")];
            commit(&mut log, &records);
            all.extend(records.map(|record| (number, record)));
        }
    }
    let segments = disk.segments().len();
    for (positions, loads) in [
        (&[(0, 0), (1, 0)][..], None),
        (&[(0, 18), (1, 18)], Some(0)),
        (&[(0, 17)], Some(1)),
        (&[(1, 12)], None),
        (&[(0, 18), (1, 16)], Some(2)),
        (&[(0, 3), (1, 18)], None),
        (&[(5, 0)], Some(0)),
        (&[], Some(0)),
    ] {
        let (records, read) = replayed(&disk, positions);
        let position = |group| positions.iter().find(|(of, _)| *of == group).map(|it| it.1);
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, record)| {
                let header = record.header;
                position(header.group.0).is_some_and(|position| header.sequence.0 > position)
            })
            .cloned()
            .collect();
        assert_eq!(records, expected, "{positions:?}");
        assert!(read < segments, "{read} of {segments} for {positions:?}");
        assert!(loads.is_none_or(|loads| loads == read), "{read} for {positions:?}");
    }
}

#[test]
fn a_replay_tells_what_has_changed_since_the_first_look() {
    let disk = ModelDisk::new(3);
    let mut log = begun(&disk, 4);
    (1..=2).for_each(|number| commit(&mut log, &[pushed(0, number, b"x")]));
    let (_, end) = found(&disk).unwrap();
    let mut bytes = disk.read(1);
    bytes[2 * BLOCK_BYTES + 40] ^= 1;
    disk.tamper(1, Some(bytes));
    let mut source = disk.clone();
    let visit = |_: Record<'_>| Ok::<(), Infallible>(());
    let error = end.replay_from(&mut source, |_| Some(Sequence(1)), visit).unwrap_err();
    let RecoverError::Damaged { path, offset, expected } = error else { panic!("{error}") };
    assert_eq!((path, offset), (segment_file_name(1).into(), 2 * BLOCK_BYTES as u64));
    assert_eq!(expected, "commit 2, which was there before");
}
