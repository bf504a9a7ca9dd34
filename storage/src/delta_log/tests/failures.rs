//! A disk that is full or broken for a while.

use super::*;

#[test]
fn a_commit_that_failed_is_written_again_before_what_came_later() {
    for (fault, committed_before) in
        [(Fault::Full, false), (Fault::Full, true), (Fault::Sync, false), (Fault::Sync, true)]
    {
        let disk = ModelDisk::new(3);
        let mut log = begun(&disk, 8);
        let mut all = Vec::new();
        if committed_before {
            all.push(pushed(1, 1, b"before"));
            commit(&mut log, &all);
        }
        let next = all.len() as u64 + 1;
        let more =
            [pushed(1, next, b"in it"), pushed(1, next + 1, b"later"), pushed(2, 1, b"last")];
        disk.set_fault(Some(fault));
        push(&mut log, &more[..1]);
        let error = block_on(log.commit()).unwrap_err();
        let call = if fault == Fault::Sync { DiskCall::Sync } else { DiskCall::Write };
        assert_eq!((error.call, error.segment), (call, 1), "{error}");
        // It fails for as long as the disk does, and leaves no heap of segments.
        for _ in 0..10 {
            block_on(log.commit()).unwrap_err();
            assert!(log.gathered_bytes() > 0);
        }
        assert!(disk.segments().len() <= 2, "{:?}", disk.segments());
        push(&mut log, &more[1..2]);
        disk.set_fault(None);
        commit(&mut log, &more[2..]);
        assert_eq!(log.gathered_bytes(), 0);
        all.extend(more);
        disk.cut_power();
        let (records, end) = found(&disk).unwrap();
        assert_eq!(records, all, "{fault:?}");
        assert_eq!(end.summary().commits, u64::from(committed_before) + 2);
        // That which the log was begun with stays, also where nothing in it became durable.
        assert_eq!(disk.segments(), [1, 2]);
    }
}

#[test]
fn what_was_pushed_while_a_commit_waits_is_none_of_it() {
    let disk = ModelDisk::new(3);
    let mut log = begun(&disk, 8);
    disk.set_fault(Some(Fault::Sync));
    push(&mut log, &[pushed(1, 1, b"a")]);
    block_on(log.commit()).unwrap_err();
    push(&mut log, &[pushed(1, 2, b"b")]);
    disk.set_fault(None);
    block_on(log.commit()).unwrap();
    let mut commits = Vec::new();
    recover_from(&mut disk.clone(), |record| {
        commits.push((record.commit, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    assert_eq!(commits, [(1, b"a".to_vec()), (2, b"b".to_vec())]);
}

#[test]
fn of_a_commit_that_is_in_two_segments_the_later_counts() {
    for in_the_old in [&b"b"[..], b"written, and never acknowledged"] {
        let disk = ModelDisk::new(3);
        let mut log = begun(&disk, 8);
        commit(&mut log, &[pushed(1, 1, b"a")]);
        let before = disk.read(1);
        commit(&mut log, &[pushed(1, 2, in_the_old)]);
        let written = disk.read(1);
        // What was on its way when the process ended arrives when the next has begun.
        disk.tamper(1, Some(before));
        let mut log = begun(&disk, 8);
        commit(&mut log, &[pushed(1, 2, b"b")]);
        disk.tamper(1, Some(written));
        let (records, end) = found(&disk).unwrap();
        assert_eq!(records, [pushed(1, 1, b"a"), pushed(1, 2, b"b")]);
        assert_eq!(end.summary().commits, 2);
    }
}

#[test]
fn a_start_makes_durable_what_it_found() {
    let disk = ModelDisk::new(3);
    let mut log = begun(&disk, 8);
    commit(&mut log, &[pushed(1, 1, b"a")]);
    commit(&mut log, &[pushed(1, 2, b"b")]);
    let _log = begun(&disk, 8);
    // The process had ended between write and sync, and now the power is lost.
    let mut bytes = disk.read(1);
    bytes[2 * BLOCK_BYTES..].fill(0);
    disk.tamper(1, Some(bytes));
    assert_eq!(found(&disk).unwrap().0, [pushed(1, 1, b"a"), pushed(1, 2, b"b")]);
}
