//! Which processes run on which cores, and the one place that binds them there and ranks them.

use std::io;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Cores by number, as the kernel counts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinning {
    /// Cores of the server, or of the floor's server: one for each shard where there are enough.
    /// None when the server was not started by this run, and so not bound by it either.
    pub server: Vec<usize>,
    /// The core of each generator process.
    pub generators: Vec<usize>,
    /// Generators run on cores of the server, because there are no others.
    pub shared: bool,
}

impl Pinning {
    /// Server cores first, generators in turn on the others.
    ///
    /// # Panics
    /// When a number is 0 or there is no core.
    #[must_use]
    pub fn plan(available: &[usize], shard_count: usize, generator_count: usize) -> Self {
        assert!(shard_count > 0 && generator_count > 0 && !available.is_empty());
        let (server, others) = available.split_at(shard_count.min(available.len()));
        let shared = others.is_empty();
        let cores = if shared { server } else { others };
        let generators = cores.iter().copied().cycle().take(generator_count).collect();
        Self { server: server.to_vec(), generators, shared }
    }

    /// The same for a server that runs already: nobody has bound it to the cores left free.
    #[must_use]
    pub fn of_generators_only(self) -> Self {
        Self { server: Vec::new(), shared: false, ..self }
    }

    /// All cores of the run, each once; nothing when those of the server are not known.
    #[must_use]
    pub fn all_cores(&self) -> Option<Vec<usize>> {
        let mut cores = [&self.server[..], &self.generators].concat();
        cores.sort_unstable();
        cores.dedup();
        (!self.server.is_empty()).then_some(cores)
    }

    /// The cores on which generators run, each once.
    #[must_use]
    pub fn generator_cores(&self) -> Vec<usize> {
        let mut cores = self.generators.clone();
        cores.sort_unstable();
        cores.dedup();
        cores
    }
}

/// Cores on which this process might run when it was first asked: before it bound itself to some of them.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    static AVAILABLE: OnceLock<Vec<usize>> = OnceLock::new();
    AVAILABLE.get_or_init(cores_now).clone()
}

/// Cores on which the calling thread may run now.
fn cores_now() -> Vec<usize> {
    core_affinity::get_core_ids()
        .map(|ids| ids.into_iter().map(|core| core.id).collect())
        .filter(|cores: &Vec<usize>| !cores.is_empty())
        .unwrap_or_else(|| vec![0])
}

/// Binds the calling thread, and all that it starts, to these cores. Async-signal-safe, so that a
/// child can do it between fork and exec.
///
/// # Errors
/// When the kernel refuses, as for a core that does not exist.
pub fn bind(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is an array of integers, for which all zeroes is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: `core` is within the set, as just checked.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` is a whole `cpu_set_t` and outlives the call.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the core to everyone else who wants it, from here on: `SCHED_IDLE`.
///
/// # Errors
/// When the kernel refuses.
pub fn stand_back() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` is a whole `sched_param` and outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives a thread the core before everyone else who wants it, from here on: `SCHED_FIFO`. 0 is the
/// calling thread.
///
/// # Errors
/// When the kernel refuses, as to a process without `CAP_SYS_NICE`.
pub fn step_forward(thread: u32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO;
    // SAFETY: `parameters` is a whole `sched_param` and outlives the call.
    let result =
        unsafe { libc::sched_setscheduler(thread as libc::pid_t, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
