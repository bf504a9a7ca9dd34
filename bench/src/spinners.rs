//! Threads that keep cores from halting. A core of a virtual machine that halts is woken late, and
//! runs at another pace: a load that leaves it idle and one that does not could not be compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};

use crate::pinning;

/// What the threads are called.
const THREAD_NAME: &str = "keeps-awake";

/// One thread on each core, which gives way to everyone; they end with this.
#[derive(Debug)]
pub struct Spinners {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spinners {
    /// Spins on these cores.
    ///
    /// # Errors
    /// When the kernel refuses a core, or that the thread gives way.
    pub fn start(cores: &[usize]) -> Result<Self> {
        let mut spinners = Self { ends: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for &core in cores {
            let ends = Arc::clone(&spinners.ends);
            let (ready, is_ready) = std::sync::mpsc::channel();
            let spinner = std::thread::Builder::new().name(THREAD_NAME.to_owned());
            spinners.threads.push(spinner.spawn(move || {
                let set = pinning::bind(&[core]).and_then(|()| pinning::stand_back());
                let goes_on = set.is_ok();
                if ready.send(set).is_err() || !goes_on {
                    return;
                }
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })?);
            let set = is_ready.recv().context("a spinner is gone")?;
            set.with_context(|| format!("spinning on core {core}"))?;
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has ended, which is all that is wanted.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ProcessReading;

    #[test]
    fn a_spinner_takes_what_nobody_wants_and_ends() {
        let cores = pinning::available_cores();
        let spinners = Spinners::start(&cores[..1]).unwrap();
        let first = ProcessReading::take(std::process::id()).unwrap();
        assert_eq!(first.count_of(THREAD_NAME), 1);
        let has_spun = || {
            let used = ProcessReading::take(std::process::id()).unwrap().since(&first);
            used.iter().any(|thread| thread.name == THREAD_NAME && thread.cpu_ns > 0)
        };
        while !has_spun() {
            std::thread::yield_now();
        }
        drop(spinners);
        assert_eq!(ProcessReading::take(std::process::id()).unwrap().count_of(THREAD_NAME), 0);
        assert!(Spinners::start(&[usize::MAX]).is_err(), "there is no such core");
    }
}
