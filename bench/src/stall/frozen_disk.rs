//! A disk that stands still from one moment to another.

use std::path::{Path, PathBuf};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Error, Result};

use super::NotPossible;
use crate::clock;
use crate::process::loop_disk::{LoopDisk, freeze, thaw};

/// Bytes of the file system.
const DISK_BYTES: u64 = 2 << 30;

/// A file system of our own.
///
/// # Errors
/// [`NotPossible`] where we may not mount, or lack a program for it.
pub(super) fn create() -> Result<LoopDisk, NotPossible> {
    LoopDisk::mount(DISK_BYTES).map_err(NotPossible)
}

/// A freeze that was begun.
#[derive(Debug)]
pub(super) struct Frozen(JoinHandle<Result<[u64; 2], String>>);

impl Frozen {
    /// Freezes what is mounted here in the time from one moment to another, on a thread: nobody can write to
    /// it meanwhile.
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn between(mount: &Path, from_ns: u64, until_ns: u64) -> Result<Self> {
        let mount: PathBuf = mount.to_owned();
        let thread = Builder::new().name("freezer".to_owned()).spawn(move || {
            wait_until(from_ns);
            freeze(&mount)?;
            let frozen_ns = clock::monotonic_ns();
            wait_until(until_ns);
            thaw(&mount)?;
            Ok([frozen_ns, clock::monotonic_ns()])
        })?;
        Ok(Self(thread))
    }

    /// When it held, and when it was over, in nanoseconds: waits for the end.
    ///
    /// # Errors
    /// When it could not be frozen or thawed.
    pub(super) fn ended(self) -> Result<[u64; 2]> {
        self.0.join().expect("the freezer does not panic").map_err(Error::msg)
    }
}

#[expect(clippy::disallowed_methods, reason = "a disk stands still from one moment to another")]
fn wait_until(at_ns: u64) {
    thread::sleep(Duration::from_nanos(at_ns.saturating_sub(clock::monotonic_ns())));
}
