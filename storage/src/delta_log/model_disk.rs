//! A disk in memory that does what a disk may: at a power cut each sector that was written and not
//! synced is there or is not, whatever became of those written before and after it. Calls fail when
//! they are told to. All calls are ready at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{LogDisk, SegmentSource, segment_file_name};

#[path = "../../../tests/simulator/prng.rs"]
#[expect(dead_code, reason = "the simulator draws in more ways")]
mod prng;
pub(super) use prng::Prng;

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Runs a future that never waits.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the model disk is always ready"),
    }
}

#[derive(Clone, Default)]
struct ModelFile {
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Which of the files that had this name in turn.
    generation: u64,
}

impl ModelFile {
    /// What a process reads.
    fn content(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (offset, bytes) in &self.unsynced {
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        content
    }

    /// Leaves of what is not synced some sectors, and nothing of the others.
    fn lose_some(&mut self, prng: &mut Prng) {
        // Some disks lose much, others little.
        let kept_percent = *prng.pick(&[0, 10, 50, 90, 100]);
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if prng.chance(kept_percent) {
                    let place = offset + index * SECTOR_BYTES;
                    self.durable[place..place + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Creates and writes fail: the disk is full.
    Full,
    /// A sync fails, and what it was for is lost.
    Sync,
    /// A segment cannot be removed.
    Remove,
}

pub(super) struct Model {
    files: BTreeMap<u64, ModelFile>,
    prng: Prng,
    generation: u64,
    /// Calls until the power is cut, in the middle of the last of them.
    pub(super) calls_until_cut: Option<u64>,
    /// The next call of this kind fails.
    pub(super) fault: Option<Fault>,
    /// Syncs do nothing, and say that they did.
    pub(super) is_sync_ignored: bool,
    pub(super) calls: u64,
}

/// Who has a clone has the same disk.
#[derive(Clone)]
pub(super) struct ModelDisk(pub(super) Rc<RefCell<Model>>);

impl ModelDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Model {
            files: BTreeMap::new(),
            prng: Prng::new(seed),
            generation: 0,
            calls_until_cut: None,
            fault: None,
            is_sync_ignored: false,
            calls: 0,
        })))
    }

    /// What the machine finds after it lost its power.
    pub(super) fn cut_power(&self) {
        let Model { files, prng, calls_until_cut, fault, .. } = &mut *self.0.borrow_mut();
        files.values_mut().for_each(|file| file.lose_some(prng));
        (*calls_until_cut, *fault) = (None, None);
    }

    /// What a process reads of a segment.
    pub(super) fn read(&self, segment: u64) -> Vec<u8> {
        self.0.borrow().files[&segment].content()
    }

    /// Changes a segment behind the log's back; none: it is gone.
    pub(super) fn tamper(&self, segment: u64, bytes: Option<Vec<u8>>) {
        let files = &mut self.0.borrow_mut().files;
        match bytes {
            Some(durable) => {
                files.insert(segment, ModelFile { durable, ..ModelFile::default() });
            }
            None => drop(files.remove(&segment)),
        }
    }

    pub(super) fn segments(&self) -> Vec<u64> {
        self.0.borrow().files.keys().copied().collect()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.0.borrow_mut().fault = fault;
    }
}

impl Model {
    /// Whether this call is the one in whose middle the power goes.
    fn is_cut(&mut self) -> bool {
        self.calls += 1;
        match &mut self.calls_until_cut {
            Some(0) => panic!("a call after the power was cut"),
            Some(left) => {
                *left -= 1;
                *left == 0
            }
            None => false,
        }
    }

    fn fails(&mut self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// Nobody sees this error but the log: the process is gone.
fn cut() -> io::Error {
    io::Error::other("the power is off")
}

/// Of a file: its name, and which of those that had it.
pub(super) type Handle = (u64, u64);

impl LogDisk for ModelDisk {
    type File = Handle;

    async fn create(&self, segment: u64, bytes: u64) -> io::Result<Handle> {
        let mut model = self.0.borrow_mut();
        model.generation += 1;
        let generation = model.generation;
        let is_full = model.fails(Fault::Full);
        let made = ModelFile { durable: vec![0; bytes as usize], unsynced: vec![], generation };
        let empty = ModelFile { generation, ..ModelFile::default() };
        if model.is_cut() {
            // The old one, none, one without a length, or the new one.
            match model.prng.below(4) {
                0 => {}
                1 => drop(model.files.remove(&segment)),
                2 => drop(model.files.insert(segment, empty)),
                _ => drop(model.files.insert(segment, made)),
            }
            return Err(cut());
        }
        if is_full {
            model.files.insert(segment, empty);
            return Err(io::ErrorKind::StorageFull.into());
        }
        model.files.insert(segment, made);
        Ok((segment, generation))
    }

    async fn write(&self, file: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096));
        let mut model = self.0.borrow_mut();
        let (is_full, is_cut) = (model.fails(Fault::Full), model.is_cut());
        let place = model.files.get_mut(&file.0).filter(|found| found.generation == file.1);
        let place = place.expect("it is written to the file that was made");
        let (offset, end) = (offset as usize, offset as usize + bytes.len());
        assert!(end <= place.durable.len(), "the file has its length from the beginning");
        let is_new = place.content()[offset..end].iter().all(|byte| *byte == 0);
        assert!(is_new, "no block is written twice");
        // A disk that is full has taken a part.
        let taken = if is_full { bytes.len() / 2 } else { bytes.len() };
        place.unsynced.push((offset, bytes[..taken].to_vec()));
        match (is_cut, is_full) {
            (true, _) => Err(cut()),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    async fn sync(&self, file: &Handle) -> io::Result<()> {
        let mut model = self.0.borrow_mut();
        let (fails, is_cut) = (model.fails(Fault::Sync), model.is_cut());
        if is_cut {
            return Err(cut());
        }
        let Model { files, prng, is_sync_ignored, .. } = &mut *model;
        let file = files.get_mut(&file.0).filter(|found| found.generation == file.1);
        let file = file.expect("the file that was made is synced");
        if fails {
            file.lose_some(prng);
            return Err(io::Error::other("EIO"));
        }
        if !*is_sync_ignored {
            (file.durable, file.unsynced) = (file.content(), vec![]);
        }
        Ok(())
    }

    async fn remove(&self, segment: u64) -> io::Result<()> {
        let mut model = self.0.borrow_mut();
        let (fails, is_cut) = (model.fails(Fault::Remove), model.is_cut());
        if fails {
            return Err(io::Error::other("EIO"));
        }
        if !is_cut || model.prng.chance(50) {
            let removed = model.files.remove(&segment);
            removed.ok_or(io::ErrorKind::NotFound)?;
        }
        if is_cut { Err(cut()) } else { Ok(()) }
    }
}

impl SegmentSource for ModelDisk {
    fn segments(&mut self) -> Result<Vec<u64>, (PathBuf, io::Error)> {
        Ok(ModelDisk::segments(self))
    }

    fn load(&mut self, segment: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        *bytes = self.read(segment);
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        segment_file_name(segment).into()
    }
}
