//! A file system of our own, in a file, that can be frozen: a disk that answers nobody.
//!
//! What is frozen has to be thawed whatever becomes of us, or the server would never end and the mount would
//! stay. So a shell waits beside us until we are gone, and cleans up then.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock;

/// Bytes of the file system; the file has as many as are written.
const DISK_BYTES: u64 = 2 << 30;
/// `FIFREEZE` and `FITHAW` of `linux/fs.h`.
const FREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
const THAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;
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

/// Why there can be no such disk here.
#[derive(Debug)]
pub struct NotPossible(pub String);

/// A mounted file system of our own. It is thawed, unmounted and removed at the end.
#[derive(Debug)]
pub struct LoopDisk {
    mount: PathBuf,
    guardian: Option<Child>,
}

impl LoopDisk {
    /// Makes one of ext4 and mounts it.
    ///
    /// # Errors
    /// [`NotPossible`] where we may not mount, or lack a program for it.
    pub fn create() -> Result<Self, NotPossible> {
        // SAFETY: the call takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err(NotPossible("mounting a file system takes root".to_owned()));
        }
        Self::mount().map_err(|error| NotPossible(format!("{error:#}")))
    }

    fn mount() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("warren-bench-disk-{}", std::process::id()));
        let (image, mount) = (folder.join("image"), folder.join("mounted"));
        fs::create_dir_all(&mount).with_context(|| format!("creating {}", mount.display()))?;
        let guardian = Command::new("sh")
            .args(["-c", CLEAN_UP, "sh"])
            .args([&mount, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is for us, and not for who cleans up behind us.
            .process_group(0)
            .spawn()
            .context("starting sh")?;
        let disk = Self { mount, guardian: Some(guardian) };
        File::create(&image)?.set_len(DISK_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk.mount))?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Freezes it in the time from one moment to another, on a thread: nobody can write to it meanwhile.
    ///
    /// # Errors
    /// When it cannot be opened, or there is no thread.
    pub fn freeze_between(&self, from_ns: u64, until_ns: u64) -> Result<Frozen> {
        let root = File::open(&self.mount)?;
        let thread = Builder::new().name("freezer".to_owned()).spawn(move || {
            wait_until(from_ns);
            let begun_ns = clock::monotonic_ns();
            ioctl(&root, FREEZE)?;
            let frozen_ns = clock::monotonic_ns();
            wait_until(until_ns);
            ioctl(&root, THAW)?;
            Ok([begun_ns, frozen_ns, clock::monotonic_ns()])
        })?;
        Ok(Frozen(thread))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let Some(mut guardian) = self.guardian.take() else { return };
        drop(guardian.stdin.take());
        // There is nobody to tell.
        let _ = guardian.wait();
    }
}

/// A freeze that was begun.
#[derive(Debug)]
pub struct Frozen(JoinHandle<io::Result<[u64; 3]>>);

impl Frozen {
    /// When it was asked for, when it held, and when it was over, in nanoseconds: waits for the end.
    ///
    /// # Errors
    /// When it could not be frozen or thawed.
    pub fn ended(self) -> Result<[u64; 3]> {
        let times = self.0.join().expect("the freezer does not panic");
        times.context("freezing the file system")
    }
}

fn ioctl(root: &File, request: libc::Ioctl) -> io::Result<()> {
    // SAFETY: the descriptor is open, and these requests look at no memory.
    match unsafe { libc::ioctl(root.as_raw_fd(), request, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a disk stands still from one moment to another")]
fn wait_until(at_ns: u64) {
    thread::sleep(Duration::from_nanos(at_ns.saturating_sub(clock::monotonic_ns())));
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
