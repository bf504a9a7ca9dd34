//! What the system's files say. They are read here and nowhere else, below a root of the caller's
//! choice, so that tests can show any machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A limit of the process; none: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// Its kind: `ext4`, `tmpfs`.
    pub kind: String,
}

/// What the files of `/proc` and `/sys` say; none where a file is not there or not readable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemFacts {
    /// The kernel's release: `6.12.9+bpo-amd64`.
    pub kernel_release: Option<String>,
    /// `kernel.io_uring_disabled`.
    pub io_uring_disabled: Option<u32>,
    /// Whether a seccomp filter is on this process: 2 when it is.
    pub seccomp_mode: Option<u32>,
    /// The effective user.
    pub user_id: Option<u32>,
    /// Limits on locked memory do not bind this process.
    pub locks_freely: bool,
    /// The limit on descriptors.
    pub descriptors: Option<Limit>,
    /// The limit on locked memory, in bytes.
    pub locked_memory: Option<Limit>,
    /// Cores that this process may run on, ascending.
    pub cores: Vec<usize>,
    /// The cores that share a physical one with each of them, itself included.
    pub siblings: BTreeMap<usize, Vec<usize>>,
    /// How the frequency of each of them is chosen.
    pub governors: BTreeMap<usize, String>,
    /// How many cores' time the control group lets all its processes have.
    pub quota_cores: Option<f64>,
    /// What the kernel reads the time from.
    pub clock_source: Option<String>,
    /// What it could read the time from.
    pub clock_sources: Vec<String>,
    /// Memory of the machine, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory that can be had now, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Memory that the control group lets all its processes have, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Memory that control groups leave to this process, in bytes: of their limits, what is not
    /// used.
    pub memory_room_bytes: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u32>,
    /// When the kernel makes huge pages: `always`, `madvise`, `never`.
    pub huge_pages: Option<String>,
    /// `net.core.somaxconn`.
    pub backlog_max: Option<u64>,
    /// `net.ipv4.ip_local_port_range`, both ends included.
    pub port_range: Option<(u16, u16)>,
    /// `net.ipv4.ip_local_reserved_ports`: ports that outgoing connections leave alone.
    pub ports_reserved: String,
    /// Mounted file systems, in the order in which they were.
    pub mounts: Vec<Mount>,
}

/// `CAP_IPC_LOCK`, by its number.
const CAPABILITY_LOCK: u32 = 14;

impl SystemFacts {
    /// Reads everything below `root`, which is `/` on a real machine.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let tree = Tree { root };
        let status = tree.text("proc/self/status").unwrap_or_default();
        let limits = tree.text("proc/self/limits").unwrap_or_default();
        let cores = field(&status, "Cpus_allowed_list").map(core_list).unwrap_or_default();
        let groups = tree.text("proc/self/cgroup").unwrap_or_default();
        let by_core = |path: &str| -> BTreeMap<usize, String> {
            let file = |core| format!("sys/devices/system/cpu/cpu{core}/{path}");
            cores.iter().filter_map(|core| Some((*core, tree.text(&file(*core))?))).collect()
        };
        let siblings = by_core("topology/thread_siblings_list");
        let clock = "sys/devices/system/clocksource/clocksource0";
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        Self {
            kernel_release: tree.text("proc/sys/kernel/osrelease"),
            io_uring_disabled: tree.number("proc/sys/kernel/io_uring_disabled"),
            seccomp_mode: field(&status, "Seccomp").and_then(|text| text.parse().ok()),
            user_id: field(&status, "Uid")
                .and_then(|text| text.split_whitespace().nth(1)?.parse().ok()),
            locks_freely: field(&status, "CapEff")
                .and_then(|text| u64::from_str_radix(text, 16).ok())
                .is_some_and(|bits| bits >> CAPABILITY_LOCK & 1 == 1)
                && has_all_users(&tree),
            descriptors: limit(&limits, "Max open files"),
            locked_memory: limit(&limits, "Max locked memory"),
            siblings: siblings.iter().map(|(core, list)| (*core, core_list(list))).collect(),
            governors: by_core("cpufreq/scaling_governor"),
            cores,
            quota_cores: quota_cores(&tree, &groups),
            clock_source: tree.text(&format!("{clock}/current_clocksource")),
            clock_sources: tree
                .text(&format!("{clock}/available_clocksource"))
                .map(words)
                .unwrap_or_default(),
            memory_total_bytes: memory(&tree, "MemTotal"),
            memory_available_bytes: memory(&tree, "MemAvailable"),
            memory_limit_bytes: memory_limit_bytes(&tree, &groups),
            memory_room_bytes: memory_room_bytes(&tree, &groups),
            overcommit: tree.number("proc/sys/vm/overcommit_memory"),
            huge_pages: tree
                .text("sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())),
            backlog_max: tree.number("proc/sys/net/core/somaxconn"),
            port_range: tree.text("proc/sys/net/ipv4/ip_local_port_range").and_then(|text| {
                let mut ends = text.split_whitespace();
                Some((ends.next()?.parse().ok()?, ends.next()?.parse().ok()?))
            }),
            ports_reserved: tree
                .text("proc/sys/net/ipv4/ip_local_reserved_ports")
                .unwrap_or_default(),
            mounts: mounts(&tree),
        }
    }

    /// The kernel's version, as far as it counts.
    #[must_use]
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let release = self.kernel_release.as_deref()?;
        let mut parts = release.split(|character: char| !character.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// Whether outgoing connections leave this port alone.
    #[must_use]
    pub fn is_reserved(&self, port: u16) -> bool {
        core_list(&self.ports_reserved).contains(&usize::from(port))
    }

    /// The kind of file system that a path is on: that of the longest mount point above it, and of
    /// equal ones the last, which hides the others.
    #[must_use]
    pub fn file_system(&self, path: &Path) -> Option<&str> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        let mount = above.max_by_key(|mount| mount.point.components().count())?;
        Some(&mount.kind)
    }
}

/// Files below a root.
struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    /// A file's text without the space around it.
    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number<T: core::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }
}

/// The rest of the line that begins with the name and a colon.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rests = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    rests.map(str::trim).next()
}

/// Reads `0-3,8`.
fn core_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Reads a row of `/proc/self/limits`, whose columns are wide but in order.
fn limit(text: &str, name: &str) -> Option<Limit> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut columns = rest.split_whitespace();
    let mut next = || match columns.next()? {
        "unlimited" => Some(None),
        number => Some(Some(number.parse().ok()?)),
    };
    Some(Limit { soft: next()?, hard: next()? })
}

fn memory(tree: &Tree<'_>, name: &str) -> Option<u64> {
    let text = tree.text("proc/meminfo")?;
    let kib: u64 = field(&text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn mounts(tree: &Tree<'_>) -> Vec<Mount> {
    let text = tree.text("proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        // The kernel writes a space in a path as an octal number.
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        Some(Mount { point: point.into(), kind: after.split(' ').next()?.to_owned() })
    };
    text.lines().filter_map(mount).collect()
}

/// The folders of a control group and of those above it, for one controller: of version 2, and of
/// version 1 where that has it.
fn group_folders(groups: &str, controller: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let base = if controllers.is_empty() {
            "sys/fs/cgroup".to_owned()
        } else if controllers.split(',').any(|name| name == controller) {
            format!("sys/fs/cgroup/{controllers}")
        } else {
            continue;
        };
        let group = Path::new(path);
        folders.extend(group.ancestors().map(|above| format!("{base}{}", above.display())));
    }
    folders
}

/// Whether the users here are those of the machine: in a user namespace of its own, a process has
/// rights that hold only there.
fn has_all_users(tree: &Tree<'_>) -> bool {
    let map = tree.text("proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The least that one of the groups leaves.
fn memory_room_bytes(tree: &Tree<'_>, groups: &str) -> Option<u64> {
    let number = |folder: &str, name: &str| tree.number::<u64>(&format!("{folder}/{name}"));
    let room = |folder: &String| {
        // Above `memory.high` a process is not ended, but held back.
        let limits = ["memory.max", "memory.high", "memory.limit_in_bytes"];
        let limit = limits.iter().filter_map(|name| number(folder, name)).min()?;
        let used = ["memory.current", "memory.usage_in_bytes"];
        let used = used.iter().find_map(|name| number(folder, name)).unwrap_or(0);
        Some(limit.saturating_sub(used))
    };
    group_folders(groups, "memory").iter().filter_map(room).min()
}

/// The lowest of the limits of the group and of those above it.
fn memory_limit_bytes(tree: &Tree<'_>, groups: &str) -> Option<u64> {
    /// What version 1 writes when there is none, rounded to pages of any size.
    const UNLIMITED_MIN: u64 = 1 << 62;
    let folders = group_folders(groups, "memory");
    let files = folders.iter().flat_map(|folder| {
        ["memory.max", "memory.limit_in_bytes"].map(|name| format!("{folder}/{name}"))
    });
    files.filter_map(|file| tree.number(&file)).filter(|bytes| *bytes < UNLIMITED_MIN).min()
}

fn quota_cores(tree: &Tree<'_>, groups: &str) -> Option<f64> {
    let quota = |folder: &String| {
        let (quota_us, period_us): (f64, f64) = match tree.text(&format!("{folder}/cpu.max")) {
            Some(text) => {
                let (quota, period) = text.split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
            None => (
                tree.number(&format!("{folder}/cpu.cfs_quota_us"))?,
                tree.number(&format!("{folder}/cpu.cfs_period_us"))?,
            ),
        };
        // Version 1 writes -1 when there is none.
        (quota_us > 0.0 && period_us > 0.0).then(|| quota_us / period_us)
    };
    group_folders(groups, "cpu").iter().filter_map(quota).min_by(f64::total_cmp)
}
