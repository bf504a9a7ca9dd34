//! The log over a disk in memory.

use std::convert::Infallible;
use std::path::PathBuf;

use super::model_disk::{Fault, ModelDisk, Prng, block_on};
use super::recovery::{RecoverError, segment_numbers};
use super::*;

mod damage;
mod failures;
mod marks;
mod power_cuts;
mod segments;
mod tails;

/// What no test but one lets be drawn, so that bytes are the same in every run.
const SALT: u32 = 0x5eed_5a17;

/// A record that was pushed or found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pushed {
    header: RecordHeader,
    payload: Vec<u8>,
}

fn header(group: u16, epoch: u32, sequence: u64) -> RecordHeader {
    RecordHeader { group: GroupId(group), epoch: Epoch(epoch), sequence: Sequence(sequence) }
}

fn pushed(group: u16, sequence: u64, payload: &[u8]) -> Pushed {
    Pushed { header: header(group, 1, sequence), payload: payload.to_vec() }
}

/// What a start finds.
fn found(disk: &ModelDisk) -> Result<(Vec<Pushed>, LogEnd), RecoverError<Infallible>> {
    let mut records = Vec::new();
    let mut end = recover_from(&mut disk.clone(), |record: Record<'_>| {
        records.push(Pushed { header: record.header, payload: record.payload.to_vec() });
        Ok(())
    })?;
    if records.is_empty() {
        end.salt = SALT;
    }
    Ok((records, end))
}

fn settings(blocks: u64) -> LogSettings {
    LogSettings { segment_bytes: blocks * BLOCK_BYTES as u64 }
}

/// A log that goes on where the disk's ends.
fn begun(disk: &ModelDisk, blocks: u64) -> DeltaLog<ModelDisk> {
    let (_, end) = found(disk).unwrap();
    block_on(DeltaLog::begin(disk.clone(), settings(blocks), end)).unwrap()
}

/// Commits these records as one.
#[track_caller]
fn commit(log: &mut DeltaLog<ModelDisk>, records: &[Pushed]) {
    push(log, records);
    block_on(log.commit()).unwrap();
}

fn push(log: &mut DeltaLog<ModelDisk>, records: &[Pushed]) {
    for Pushed { header, payload } in records {
        log.push(*header, payload);
    }
}

/// Removes segments as long as one goes, and says how many went.
fn release_all(
    log: &mut DeltaLog<ModelDisk>,
    retention: &impl Retention,
) -> Result<usize, LogError> {
    let mut count = 0;
    while block_on(log.release(retention))? {
        count += 1;
    }
    Ok(count)
}

/// What is wrong, and where.
#[track_caller]
fn damage(disk: &ModelDisk) -> (PathBuf, u64, String) {
    match found(disk) {
        Err(RecoverError::Damaged { path, offset, expected }) => (path, offset, expected),
        other => panic!("{other:?}"),
    }
}
