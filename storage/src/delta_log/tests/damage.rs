//! Bytes that are not as they were written: an error that says where, or what power cuts explain.

use super::super::format::{
    COMMIT_HEADER_BYTES, RECORD_HEADER_BYTES, SegmentHeader, append_record, seal_commit,
};
use super::*;

/// Two segments, of three commits and of two, and what they hold. The second has an empty block.
fn small_log() -> (ModelDisk, Vec<Vec<Pushed>>) {
    let disk = ModelDisk::new(1);
    let mut log = begun(&disk, 4);
    let commits: Vec<Vec<Pushed>> = (1..=5)
        .map(|number| {
            let payload = vec![number as u8; 10 * number as usize];
            vec![pushed(7, number, &payload), pushed(1000 + number as u16, 1, b"")]
        })
        .collect();
    for records in &commits {
        commit(&mut log, records);
    }
    assert_eq!(disk.segments(), [1, 2]);
    (disk, commits)
}

/// Bytes of a commit that its checksum covers, and its magic and checksum.
fn covered_bytes(records: &[Pushed]) -> usize {
    let bytes = records.iter().map(|record| RECORD_HEADER_BYTES + record.payload.len());
    COMMIT_HEADER_BYTES + bytes.sum::<usize>()
}

#[test]
fn every_flipped_byte_is_an_error_or_ends_the_log_before_its_last_commit() {
    let (disk, commits) = small_log();
    let (all, but_last) = (commits.concat(), commits[..4].concat());
    let (mut errors, mut shortened, mut whole) = (0, 0, 0);
    for segment in [1, 2] {
        let bytes = disk.read(segment);
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            disk.tamper(segment, Some(flipped));
            match found(&disk) {
                Ok((records, _)) if records == all => whole += 1,
                Ok((records, end)) => {
                    assert_eq!(records, but_last, "segment {segment}, byte {place}");
                    let torn = TornTail { segment: 2, offset: 2 * BLOCK_BYTES as u64 };
                    assert_eq!(end.summary().torn, Some(torn));
                    shortened += 1;
                }
                Err(RecoverError::Damaged { path, offset, .. }) => {
                    assert_eq!(path, PathBuf::from(segment_file_name(segment)));
                    assert_eq!(offset as usize / BLOCK_BYTES, place / BLOCK_BYTES);
                    errors += 1;
                }
                Err(RecoverError::FormatUnknown { offset: 8, .. }) => errors += 1,
                Err(error) => panic!("segment {segment}, byte {place}: {error}"),
            }
        }
        disk.tamper(segment, Some(bytes));
    }
    let covered: Vec<usize> = commits.iter().map(|records| covered_bytes(records)).collect();
    // Two headers, and every commit but the last.
    assert_eq!(errors, 2 * 44 + covered[..4].iter().sum::<usize>());
    assert_eq!(shortened, covered[4]);
    // What is left are zeros between commits.
    assert_eq!(errors + shortened + whole, 8 * BLOCK_BYTES);
}

#[test]
fn every_cut_off_end_is_an_error_but_of_a_segment_that_may_never_have_been_more() {
    let (disk, commits) = small_log();
    let mut errors = 0;
    for segment in [1, 2] {
        let bytes = disk.read(segment);
        for length in (0..bytes.len()).chain([bytes.len() + 1, bytes.len() + BLOCK_BYTES]) {
            let mut cut = bytes.clone();
            cut.resize(length, 0);
            disk.tamper(segment, Some(cut));
            match found(&disk) {
                Ok((records, _)) => {
                    assert_eq!((segment, length), (2, 0));
                    assert_eq!(records, commits[..3].concat());
                }
                Err(RecoverError::Damaged { path, .. }) => {
                    assert_eq!(path, PathBuf::from(segment_file_name(segment)));
                    errors += 1;
                }
                Err(error) => panic!("segment {segment}, {length} bytes: {error}"),
            }
        }
        disk.tamper(segment, Some(bytes));
    }
    assert_eq!(errors, 2 * (4 * BLOCK_BYTES + 2) - 1);
}

#[test]
fn damage_is_told_with_its_place_and_what_was_expected_there() {
    let block = BLOCK_BYTES as u64;
    for (segment, place, offset, expected) in [
        (1, 0, 0, "the header of a segment"),
        (1, 1, block, "commit 1, since commit 2 is at byte 8192"),
        (1, 3, 3 * block, "commit 3, since segment 2 begins with 4"),
        (2, 1, block, "commit 4, since commit 5 is at byte 8192"),
    ] {
        let (disk, _) = small_log();
        let mut bytes = disk.read(segment);
        bytes[place * BLOCK_BYTES] ^= 1;
        disk.tamper(segment, Some(bytes));
        let path = PathBuf::from(segment_file_name(segment));
        assert_eq!(damage(&disk), (path, offset, expected.into()));
    }
    let (disk, _) = small_log();
    let [first, second] = [1, 2].map(|segment| disk.read(segment));
    disk.tamper(1, Some(second));
    assert_eq!(damage(&disk).2, "segment 1, not 2");
    disk.tamper(1, Some(first.clone()));
    let mut of_another = disk.read(2);
    let header =
        SegmentHeader { salt: 7, segment: 2, bytes: of_another.len() as u64, first_commit: 4 };
    of_another[..BLOCK_BYTES].copy_from_slice(&header.encode());
    disk.tamper(2, Some(of_another));
    assert_eq!(damage(&disk).2, "the salt of the other segments");
    disk.tamper(2, None);
    disk.tamper(3, Some(first));
    let missing = PathBuf::from(segment_file_name(2));
    assert_eq!(damage(&disk), (missing, 0, "this segment, which is missing".into()));
}

/// A disk with one segment of one commit, whose records are these bytes.
fn disk_of(body: &[u8], records: u32) -> ModelDisk {
    let header = SegmentHeader { salt: SALT, segment: 1, bytes: 0, first_commit: 1 };
    let mut sealed = vec![0; COMMIT_HEADER_BYTES];
    sealed.extend_from_slice(body);
    seal_commit(&mut sealed, 1, records, SALT);
    let bytes = (BLOCK_BYTES + sealed.len()) as u64;
    let segment = [&SegmentHeader { bytes, ..header }.encode()[..], &sealed].concat();
    let disk = ModelDisk::new(1);
    disk.tamper(1, Some(segment));
    disk
}

#[test]
fn records_that_no_log_writes_are_damage() {
    let first = BLOCK_BYTES + COMMIT_HEADER_BYTES;
    for (headers, offset, expected) in [
        (&[header(7, 2, 5), header(7, 2, 7)][..], first + 18, "sequence 6 of group 7, not 7"),
        (&[header(7, 2, 5), header(7, 2, 5)], first + 18, "sequence 6 of group 7, not 5"),
        (&[header(7, 2, 5), header(7, 1, 6)], first + 18, "epoch 2 or higher of group 7, not 1"),
        (&[header(7, 2, 0)], first, "sequence 1 of group 7, not 0"),
        (&[header(1024, 1, 1)], first, "a group that exists"),
        (
            &[header(7, 1, u64::MAX), header(7, 1, 0)],
            first + 18,
            "sequence 18446744073709551615 of group 7, not 0",
        ),
    ] {
        let mut body = Vec::new();
        headers.iter().for_each(|header| append_record(&mut body, *header, b""));
        let disk = disk_of(&body, headers.len() as u32);
        assert_eq!(damage(&disk), (segment_file_name(1).into(), offset as u64, expected.into()));
    }
    let mut body = Vec::new();
    append_record(&mut body, header(1, 1, 1), b"12345");
    assert_eq!(damage(&disk_of(&body, 2)).2, "2 records, not 1");
    assert_eq!(damage(&disk_of(&body[..22], 1)).2, "a payload that ends in its commit");
    assert_eq!(damage(&disk_of(&[&body[..], b"1"].concat(), 1)).2, "a record's header");
    assert_eq!(found(&disk_of(&body, 1)).unwrap().0, [pushed(1, 1, b"12345")]);
}

#[test]
fn what_a_client_wrote_does_not_pass_for_a_commit() {
    // It stands at a block's beginning, in a commit whose first block a power cut has taken.
    let forged_with = |salt: u32| {
        let disk = ModelDisk::new(1);
        let mut log = begun(&disk, 8);
        commit(&mut log, &[pushed(1, 1, b"first")]);
        let mut forged = vec![0; COMMIT_HEADER_BYTES];
        append_record(&mut forged, header(1, 1, 3), b"forged");
        seal_commit(&mut forged, 3, 1, salt);
        let before = BLOCK_BYTES - COMMIT_HEADER_BYTES - RECORD_HEADER_BYTES;
        commit(&mut log, &[pushed(1, 2, &[&vec![1; before], &forged[..]].concat())]);
        let mut bytes = disk.read(1);
        bytes[2 * BLOCK_BYTES..3 * BLOCK_BYTES].fill(0);
        disk.tamper(1, Some(bytes));
        disk
    };
    let (records, end) = found(&forged_with(0)).unwrap();
    assert_eq!(records, [pushed(1, 1, b"first")]);
    assert_eq!(end.summary().torn, Some(TornTail { segment: 1, offset: 2 * BLOCK_BYTES as u64 }));
    assert_eq!(damage(&forged_with(SALT)).2, "commit 2, since commit 3 is at byte 12288");
    // So each log has a salt of its own, which nobody else knows.
    let fresh = || recover_from(&mut ModelDisk::new(1), |_| Ok::<(), Infallible>(())).unwrap().salt;
    assert_ne!(fresh(), fresh());
}

#[test]
fn no_bytes_make_recovery_panic() {
    let (disk, commits) = small_log();
    let originals = [1, 2].map(|segment| disk.read(segment));
    let all = commits.concat();
    let mut prng = Prng::new(9);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        for (segment, original) in (1..).zip(&originals) {
            let mut bytes = original.clone();
            for _ in 0..prng.below(4) {
                let start = prng.index(bytes.len());
                let start = if prng.chance(70) { start / BLOCK_BYTES * BLOCK_BYTES } else { start };
                let end = bytes.len().min(start + prng.below(40) as usize);
                match prng.below(4) {
                    0 => bytes[start..end].fill_with(|| prng.next() as u8),
                    1 => bytes[start..end].fill(0xff),
                    2 => bytes.truncate(start),
                    _ => {
                        let from = prng.index(originals[0].len() / BLOCK_BYTES) * BLOCK_BYTES;
                        let other = &prng.pick(&originals)[from..];
                        let length = other.len().min(bytes.len() - start);
                        bytes[start..start + length].copy_from_slice(&other[..length]);
                    }
                }
                if bytes.is_empty() {
                    break;
                }
            }
            disk.tamper(segment, Some(bytes));
        }
        match found(&disk) {
            Ok((records, _)) => {
                assert!(all.starts_with(&records), "{records:?}");
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(".log: "), "{error}");
                refused += 1;
            }
        }
    }
    assert!(read > 1_000 && refused > 10_000, "{read} read, {refused} refused");
    // The same of records under a checksum that holds.
    for _ in 0..20_000 {
        let mut body = Vec::new();
        (1..4).for_each(|sequence| append_record(&mut body, header(5, 1, sequence), &[3; 20]));
        for _ in 0..prng.between(1, 3) {
            let place = prng.index(body.len());
            body[place] = *prng.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]);
        }
        body.truncate(prng.between(1, 2 * body.len() as u64) as usize);
        let _ = found(&disk_of(&body, prng.below(5) as u32));
    }
}
