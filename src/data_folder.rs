//! The folder for the server's data: made when it is missing, and locked, so that two servers
//! cannot share it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use crate::fatal::{Fatal, FatalReason};

/// The file that is locked. It stays when the server has stopped: the lock is what counts.
pub(crate) const LOCK_FILE: &str = "lock";

/// A folder that belongs to this process for as long as this value lives.
#[derive(Debug)]
pub struct DataFolder {
    /// Closing it gives the lock back, however the process ends.
    lock: File,
}

/// A doctor that looks whether the folder is free holds the lock for a moment; so long it has.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);

impl Drop for DataFolder {
    fn drop(&mut self) {
        // Nobody has it now. A number that stays is no harm: the lock is what counts.
        let _ = self.lock.set_len(0);
    }
}

impl DataFolder {
    /// Makes the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// `DataFolderUnusable` when it cannot be made or written, `DataFolderLocked` when another
    /// server has it.
    pub fn reserve(folder: &Path) -> Result<Self, Fatal> {
        let unusable = |error: std::io::Error| {
            Fatal::new(
                FatalReason::DataFolderUnusable,
                format_args!("{}: {error}", folder.display()),
            )
        };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK_FILE))
            .map_err(unusable)?;
        match try_lock(&lock, || std::thread::park_timeout(LOCK_RETRY_INTERVAL)) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(folder, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // Who has it, for the message of the next one who wants it.
        lock.set_len(0).map_err(unusable)?;
        lock.rewind().map_err(unusable)?;
        writeln!(lock, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self { lock })
    }
}

/// Who has the folder, as its number tells; none: nobody. It changes nothing there.
pub(crate) fn locked_by(folder: &Path) -> Option<String> {
    let path = folder.join(LOCK_FILE);
    let lock = File::open(&path).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Some(std::fs::read_to_string(path).unwrap_or_default().trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn try_lock(lock: &File, mut wait: impl FnMut()) -> Result<(), TryLockError> {
    for _ in 1..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => wait(),
            outcome => return outcome,
        }
    }
    lock.try_lock()
}

fn locked(folder: &Path, lock: &mut File) -> Fatal {
    let mut owner = String::new();
    // The number is a help, no more: without it the message is as true.
    let owner = match lock.read_to_string(&mut owner) {
        Ok(_) if !owner.trim().is_empty() => format!(" (process {})", owner.trim()),
        _ => String::new(),
    };
    Fatal::new(
        FatalReason::DataFolderLocked,
        format_args!("{} belongs to a server that is running{owner}", folder.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("warren-data-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_folder_belongs_to_one_at_a_time() {
        let path = folder("one").join("deep");
        let first = DataFolder::reserve(&path).unwrap();
        let refused = DataFolder::reserve(&path).unwrap_err();
        assert_eq!(refused.reason, FatalReason::DataFolderLocked);
        assert!(refused.detail.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        assert_eq!(std::fs::read_to_string(path.join(LOCK_FILE)).unwrap(), "");
        // One that only looks is waited for.
        let looks = File::open(path.join(LOCK_FILE)).unwrap();
        looks.try_lock_shared().unwrap();
        let lock = File::create(path.join(LOCK_FILE)).unwrap();
        try_lock(&lock, || looks.unlock().unwrap()).unwrap();
        drop(lock);
        DataFolder::reserve(&path).unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let path = folder("file");
        std::fs::write(&path, "").unwrap();
        let refused = DataFolder::reserve(&path).unwrap_err();
        assert_eq!(refused.reason, FatalReason::DataFolderUnusable);
        std::fs::remove_file(path).unwrap();
    }
}
