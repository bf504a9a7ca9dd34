//! Memory: of a process, and of the kernel's sockets. From `/proc`.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::clock;

/// Where a process's memory is read, as the report says it.
pub const SOURCE: &str = "Pss_Anon of /proc/PID/smaps_rollup; TCP mem of /proc/net/sockstat";

/// How long the kernel may take to free the sockets of processes that have ended.
const SETTLE_WAIT_NS: u64 = 10_000_000_000;
/// Sockets that others may have opened meanwhile.
const SETTLE_SOCKETS: u64 = 16;

/// Memory at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// What the process has made for itself and touched: heap, stacks, buffers. Not its program.
    pub anonymous_bytes: u64,
    /// All of its pages in memory, its program among them.
    pub resident_bytes: u64,
    /// What the kernel holds in buffers of all TCP sockets of this network name space.
    pub kernel_tcp_bytes: u64,
    /// What the machine could still give to programs, by the kernel's reckoning.
    pub available_bytes: u64,
}

/// Memory of a server before the first connection, with all of them, and at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Course {
    /// Before the first connection.
    pub before: Reading,
    /// When all users were where they are to be, before the first spoke.
    pub connected: Reading,
    /// When everything was heard, before the first left.
    pub end: Reading,
}

impl Reading {
    /// Reads it now.
    ///
    /// # Errors
    /// When there is no such process, or it is somebody else's.
    pub fn take(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/smaps_rollup");
        let rollup = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let sockets = fs::read_to_string("/proc/net/sockstat").context("reading sockstat")?;
        let machine = fs::read_to_string("/proc/meminfo").context("reading meminfo")?;
        Self::parse(&rollup, &sockets, &machine, page_bytes())
    }

    fn parse(rollup: &str, sockets: &str, machine: &str, page_bytes: u64) -> Result<Self> {
        let bytes = |text: &str, key: &str| -> Result<u64> {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(key));
            let value = lines.find_map(|rest| rest.strip_prefix(':')?.trim().strip_suffix(" kB"));
            let value = value.with_context(|| format!("there is no {key}"))?;
            Ok(value.trim().parse::<u64>()? * 1024)
        };
        let pages = tcp_figure(sockets, "mem")?;
        Ok(Self {
            anonymous_bytes: bytes(rollup, "Pss_Anon")?,
            resident_bytes: bytes(rollup, "Rss")?,
            kernel_tcp_bytes: pages * page_bytes,
            available_bytes: bytes(machine, "MemAvailable")?,
        })
    }
}

impl Course {
    /// What each of so many users has added to the server's own memory, in bytes.
    #[must_use]
    pub fn per_session_bytes(&self, users: u32) -> f64 {
        per_user(users, self.before.anonymous_bytes, self.connected.anonymous_bytes)
    }

    /// What each has added to the buffers of the kernel's sockets, at both ends of the connection.
    #[must_use]
    pub fn kernel_per_connection_bytes(&self, users: u32) -> f64 {
        per_user(users, self.before.kernel_tcp_bytes, self.connected.kernel_tcp_bytes)
    }

    /// For how many users the machine would have memory, all processes of the run and the kernel counted,
    /// when so many took what they did; nothing when they took too little to tell.
    #[must_use]
    pub fn users_max(&self, users: u32) -> Option<u32> {
        /// What is left to others, as a fraction of what was available.
        const SPARE: f64 = 0.1;
        let (before, end) = (self.before.available_bytes, self.end.available_bytes);
        let taken = before.checked_sub(end).filter(|taken| *taken > 0)?;
        let most = f64::from(users) * before as f64 * (1.0 - SPARE) / taken as f64;
        Some(most as u32)
    }
}

/// A figure of the line `TCP:` of sockstat.
fn tcp_figure(sockets: &str, name: &str) -> Result<u64> {
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:"));
    let mut words = tcp.context("sockstat has no TCP")?.split_ascii_whitespace();
    words
        .find(|word| *word == name)
        .and_then(|_| words.next()?.parse().ok())
        .with_context(|| format!("sockstat has no {name} of TCP"))
}

/// How many TCP sockets the kernel has.
///
/// # Errors
/// When `/proc` is not there.
pub fn sockets_allocated() -> Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat").context("reading sockstat")?;
    tcp_figure(&sockets, "alloc")
}

/// Waits until there are as few sockets as there were: the kernel frees those of a ring some time
/// after its process has ended, and until then their memory would be taken for somebody else's.
///
/// # Errors
/// When `/proc` is not there.
#[expect(clippy::disallowed_methods, reason = "nothing tells when the kernel has freed a socket")]
pub fn sockets_settle(before: u64) -> Result<()> {
    let until_ns = clock::monotonic_ns() + SETTLE_WAIT_NS;
    while sockets_allocated()? > before + SETTLE_SOCKETS && clock::monotonic_ns() < until_ns {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The most that a process had since it began, or since [`peak_reset`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// All of its pages in memory, its program among them.
    pub resident_bytes: u64,
}

impl Peak {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn take(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let mut lines = status.lines().filter_map(|line| line.strip_prefix("VmHWM:"));
        let kib = lines.find_map(|rest| rest.trim().strip_suffix(" kB"));
        let kib: u64 = kib.context("status has no VmHWM")?.trim().parse()?;
        Ok(Self { resident_bytes: kib * 1024 })
    }

    /// The greater of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { resident_bytes: self.resident_bytes.max(other.resident_bytes) }
    }
}

/// From now on, the peak is counted anew.
///
/// # Errors
/// When the process is gone or somebody else's.
pub fn peak_reset(process: u32) -> Result<()> {
    /// What `clear_refs` takes for that.
    const RESET_PEAK: &str = "5";
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, RESET_PEAK).with_context(|| format!("writing {path}"))
}

/// Less than before is less than nothing: it is said as it was read.
fn per_user(users: u32, before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / f64::from(users)
}

fn page_bytes() -> u64 {
    // SAFETY: no memory is passed.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).expect("every Linux has a page size")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\n\
        Rss:               12340 kB\nPss:               11000 kB\nPss_Dirty:            1 kB\n\
        Pss_Anon:           2000 kB\nPss_File:             5 kB\n";
    const MACHINE: &str = "MemTotal:  9000 kB\nMemFree:  4000 kB\nMemAvailable:  5000 kB\n";
    const SOCKETS: &str = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3\n\
        UDP: inuse 1 mem 77\n";

    #[test]
    fn memory_is_read_by_its_names() {
        let reading = Reading::parse(ROLLUP, SOCKETS, MACHINE, 4_096).unwrap();
        let expected = Reading {
            anonymous_bytes: 2_000 * 1_024,
            resident_bytes: 12_340 * 1_024,
            kernel_tcp_bytes: 3 * 4_096,
            available_bytes: 5_000 * 1_024,
        };
        assert_eq!(reading, expected);
        assert_eq!(tcp_figure(SOCKETS, "alloc").unwrap(), 7);
        for (rollup, sockets, machine) in [
            ("", SOCKETS, MACHINE),
            (ROLLUP, "", MACHINE),
            (ROLLUP, "TCP: inuse 5\n", MACHINE),
            (ROLLUP, SOCKETS, "MemTotal: 1 kB\n"),
        ] {
            let reading = Reading::parse(rollup, sockets, machine, 4_096);
            assert!(reading.is_err(), "{rollup} {sockets} {machine}");
        }
    }

    #[test]
    fn our_own_memory_can_be_read_and_grows_with_what_is_touched() {
        let before = Reading::take(std::process::id()).unwrap();
        let touched = std::hint::black_box(vec![7u8; 32 << 20]);
        let after = Reading::take(std::process::id()).unwrap();
        assert!(after.anonymous_bytes >= before.anonymous_bytes + (touched.len() as u64) / 2);
        assert!(after.resident_bytes >= after.anonymous_bytes);
    }

    #[test]
    fn what_users_have_added_is_shared_by_them() {
        let at = |anonymous_bytes, kernel_tcp_bytes| Reading {
            anonymous_bytes,
            kernel_tcp_bytes,
            ..Reading::default()
        };
        let course =
            Course { before: at(1_000, 8_000), connected: at(9_000, 4_000), end: at(0, 0) };
        assert_eq!(course.per_session_bytes(4), 2_000.0);
        assert_eq!(course.kernel_per_connection_bytes(4), -1_000.0);
    }

    #[test]
    fn a_tenth_of_the_memory_is_left_to_others() {
        let at = |available_bytes| Reading { available_bytes, ..Reading::default() };
        for (before, end, users) in
            [(10_000, 9_000, Some(900)), (10_000, 1_000, Some(100)), (9_000, 9_000, None)]
        {
            let course = Course { before: at(before), connected: at(0), end: at(end) };
            assert_eq!(course.users_max(100), users, "{before} to {end}");
        }
        let grown = Course { before: at(9_000), connected: at(0), end: at(10_000) };
        assert_eq!(grown.users_max(100), None, "others gave memory back");
    }
}
