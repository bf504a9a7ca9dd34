//! A file system of our own, in a file: a disk that can be full, and one that can be frozen and then answers
//! nobody.
//!
//! What is frozen has to be thawed whatever becomes of us, or nobody who writes there would ever end and the
//! mount would stay. So a shell waits beside us until we are gone, and cleans up then. The integration tests
//! have this file as a module too, which is why it needs the standard library alone.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Waits until standard input ends, then thaws and unmounts `$1`, and removes `$2`. Whoever still has files
/// there gets ten seconds to end.
const CLEAN_UP: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
fsfreeze --unfreeze "$1" 2> /dev/null
tries=0
while mountpoint -q "$1" && ! umount "$1" 2> /dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then umount --lazy "$1"; break; fi
    sleep 0.1
done
rm -rf "$2"
"#;

/// A mounted file system of our own. It is thawed, unmounted and removed at the end.
#[derive(Debug)]
pub(crate) struct LoopDisk {
    folder: PathBuf,
    guardian: Child,
}

impl LoopDisk {
    /// Makes one of ext4 with so many bytes and mounts it; the file has as many as are written. Gives the
    /// reason where it cannot be had or frozen: that takes root, and programs.
    pub(crate) fn mount(bytes: u64) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("warren-disk-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let mount = folder.join("mounted");
        let told = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        fs::create_dir_all(&mount).map_err(told("making a folder"))?;
        let guardian = Command::new("sh")
            .args(["-c", CLEAN_UP, "sh"])
            .args([&mount, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is for us, and not for who cleans up behind us.
            .process_group(0)
            .spawn()
            .map_err(told("sh"))?;
        let disk = Self { folder, guardian };
        let image = disk.folder.join("image");
        let made = File::create(&image).and_then(|file| file.set_len(bytes));
        made.map_err(told("making a file"))?;
        // Nothing is kept for root, as whom we run.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))?;
        freeze(&mount)?;
        thaw(&mount)?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("mounted")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        // There is nobody to tell.
        let _ = self.guardian.wait();
    }
}

/// From now on whoever writes to what is mounted here waits; what was written before is on the disk.
pub(crate) fn freeze(mount: &Path) -> Result<(), String> {
    run(Command::new("fsfreeze").arg("--freeze").arg(mount))
}

/// Those who wait go on.
pub(crate) fn thaw(mount: &Path) -> Result<(), String> {
    run(Command::new("fsfreeze").arg("--unfreeze").arg(mount))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
