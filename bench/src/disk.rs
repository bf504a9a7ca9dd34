//! The disk under a server's data: which file system it is, and what an append with its sync takes there when
//! nobody else writes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::clock;
use crate::histogram::{Latencies, Percentiles};

/// Appends of one probe, and bytes of each.
const APPENDS: usize = 200;
const APPEND_BYTES: usize = 4096;

/// What a run's data lay on.
#[derive(Clone, Debug, Serialize)]
pub struct DiskReport {
    /// The type of the file system, and what it is mounted from.
    pub file_system: String,
    /// An append of 4 KiB with `fdatasync` before the run, in microseconds.
    pub sync_before_us: Percentiles,
    /// The same after it.
    pub sync_after_us: Percentiles,
}

impl DiskReport {
    /// Whether nothing there outlives the machine.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.file_system.starts_with("tmpfs")
    }
}

/// Appends to a file of its own in this folder, and syncs each time: how long that took.
///
/// # Errors
/// When the folder cannot be written.
pub fn probe(folder: &Path) -> Result<Percentiles> {
    let path = folder.join(format!("warren-bench-probe-{}", std::process::id()));
    let result = append_and_sync(&path);
    // What was not made cannot be removed, and that is told already.
    let _ = fs::remove_file(&path);
    let latencies = result.with_context(|| format!("probing {}", path.display()))?;
    latencies.percentiles_us().context("nothing was appended")
}

fn append_and_sync(path: &Path) -> Result<Latencies> {
    let mut file = File::create(path)?;
    let bytes = [7; APPEND_BYTES];
    let mut latencies = Latencies::default();
    for _ in 0..APPENDS {
        let begun_ns = clock::monotonic_ns();
        file.write_all(&bytes)?;
        file.sync_data()?;
        latencies.record_ns(clock::monotonic_ns() - begun_ns);
    }
    Ok(latencies)
}

/// The type of the file system in which the folder is, and what it is mounted from.
///
/// # Errors
/// When that cannot be found out.
pub fn file_system(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize().with_context(|| format!("finding {}", folder.display()))?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    mount_of(&mounts, &folder).context("no mount has the folder")
}

fn mount_of(mounts: &str, folder: &Path) -> Option<String> {
    let fields = |line: &str| {
        let mut fields = line.split(' ').map(str::to_owned);
        Some((fields.next()?, fields.next()?, fields.next()?))
    };
    let holds = |(_, point, _): &(String, String, String)| folder.starts_with(point);
    // Of several at one place the last is seen.
    let longest = mounts.lines().filter_map(fields).filter(holds).max_by_key(|it| it.1.len());
    longest.map(|(device, _, kind)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_above_a_folder_is_its_own() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/loop0 /tmp/a xfs rw 0 0\n";
        for (folder, expected) in [
            ("/home/x", "ext4 on /dev/vda"),
            ("/tmp", "tmpfs on tmpfs"),
            ("/tmp/ab", "tmpfs on tmpfs"),
            ("/tmp/a/b", "xfs on /dev/loop0"),
        ] {
            assert_eq!(mount_of(mounts, Path::new(folder)).as_deref(), Some(expected), "{folder}");
        }
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("warren-disk-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let found = probe(&folder).unwrap();
        assert!(found.p50 > 0.0 && found.p99 >= found.p50);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(!file_system(&folder).unwrap().is_empty());
        fs::remove_dir(&folder).unwrap();
        assert!(probe(&folder).is_err());
    }
}
