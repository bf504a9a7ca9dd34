//! CPU time from `/proc`: of a process thread by thread, and of the machine core by core.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One reading of a process: run time by thread.
#[derive(Clone, Debug, Default)]
pub struct ProcessReading {
    threads: BTreeMap<u32, ThreadReading>,
}

#[derive(Clone, Debug)]
struct ThreadReading {
    name: String,
    run_ns: u64,
}

/// CPU used by the threads of one name between two readings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadUse {
    /// The threads' name.
    pub name: String,
    /// How many threads of that name there were.
    pub count: u32,
    /// What they used together, in nanoseconds.
    pub cpu_ns: u64,
}

impl ProcessReading {
    /// Reads all threads of a process; kernel workers of its rings are among them.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn take(process: u32) -> io::Result<Self> {
        Self::take_from(&Path::new("/proc").join(process.to_string()).join("task"))
    }

    /// The same of a process and of those that it has started, and they again.
    ///
    /// # Errors
    /// As [`take`](Self::take) for the process itself; another one may end meanwhile, and is left out.
    pub fn take_family(process: u32) -> io::Result<Self> {
        let mut family = Self::take(process)?;
        for child in children_of(process) {
            family.threads.extend(Self::take_family(child).unwrap_or_default().threads);
        }
        Ok(family)
    }

    fn take_from(tasks: &Path) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(tasks)? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end while the others are read: then it is left out.
            let name = fs::read_to_string(entry.path().join("comm"));
            let statistics = fs::read_to_string(entry.path().join("schedstat"));
            if let (Ok(name), Ok(statistics)) = (name, statistics)
                && let Some(run_ns) = parse_schedstat(&statistics)
            {
                threads.insert(id, ThreadReading { name: name.trim_end().to_owned(), run_ns });
            }
        }
        Ok(Self { threads })
    }

    /// Threads whose names begin so.
    #[must_use]
    pub fn count_of(&self, prefix: &str) -> usize {
        self.threads.values().filter(|thread| thread.name.starts_with(prefix)).count()
    }

    /// The same threads, by the kernel's numbers.
    pub fn threads_of(&self, prefix: &str) -> impl Iterator<Item = u32> {
        let named = self.threads.iter().filter(move |(_, thread)| thread.name.starts_with(prefix));
        named.map(|(id, _)| *id)
    }

    /// What was used since an earlier reading, by thread name, most first. A thread that is new
    /// counts whole.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<ThreadUse> {
        let mut by_name: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
        for (id, thread) in &self.threads {
            let before_ns = earlier.threads.get(id).map_or(0, |thread| thread.run_ns);
            let sum = by_name.entry(&thread.name).or_default();
            sum.0 += 1;
            sum.1 += thread.run_ns.saturating_sub(before_ns);
        }
        let mut used: Vec<ThreadUse> = by_name
            .into_iter()
            .map(|(name, (count, cpu_ns))| ThreadUse { name: name.to_owned(), count, cpu_ns })
            .collect();
        used.sort_by_key(|thread| std::cmp::Reverse(thread.cpu_ns));
        used
    }
}

/// The processes that a process has started and that are there.
fn children_of(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let of = |list: String| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<u32>>();
    lists.flat_map(of).collect()
}

/// The first number of `schedstat`: nanoseconds on a CPU.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// One reading of the machine: busy time by core, in ticks of the kernel's clock.
#[derive(Clone, Debug, Default)]
pub struct MachineReading {
    busy_ticks: BTreeMap<usize, u64>,
}

/// Ticks a second in `/proc/stat`: fixed at 100 on every architecture that we run on.
const TICK_HZ: u64 = 100;

impl MachineReading {
    /// Reads all cores.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn take() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/stat")?))
    }

    /// Busy is all but idle and waiting for a disk; what a hypervisor took away is not ours.
    fn parse(text: &str) -> Self {
        let mut busy_ticks = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let core = words.next().and_then(|word| word.strip_prefix("cpu"));
            let Some(core) = core.and_then(|core| core.parse::<usize>().ok()) else { continue };
            let times: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            if let [user, nice, system, _, _, interrupts, soft_interrupts, ..] = times[..] {
                busy_ticks.insert(core, user + nice + system + interrupts + soft_interrupts);
            }
        }
        Self { busy_ticks }
    }

    /// Busy time of these cores since an earlier reading, in nanoseconds.
    #[must_use]
    pub fn busy_ns_since(&self, earlier: &Self, cores: &[usize]) -> u64 {
        let busy = |reading: &Self, core| reading.busy_ticks.get(core).copied().unwrap_or(0);
        let ticks: u64 =
            cores.iter().map(|core| busy(self, core).saturating_sub(busy(earlier, core))).sum();
        ticks * (1_000_000_000 / TICK_HZ)
    }
}

#[cfg(test)]
mod tests;
