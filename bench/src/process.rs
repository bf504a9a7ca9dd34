//! Child processes: pinned before they start, ended when we end.

pub mod generators;
pub mod server;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use crate::pinning;

/// How long a process may take to end when asked.
const END_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const END_POLL: Duration = Duration::from_millis(10);

/// A child that does not outlive its owner.
#[derive(Debug)]
pub struct OwnedChild(Child);

impl OwnedChild {
    /// Starts a program on these cores.
    ///
    /// # Errors
    /// When it cannot be started, or not there.
    pub fn start(command: &mut Command, cores: &[usize]) -> io::Result<Self> {
        let cores = cores.to_vec();
        // SAFETY: between fork and exec only async-signal-safe calls are made: two system calls on
        // memory that the parent has made ready, and no allocation.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                pinning::bind(&cores)
            });
        }
        command.spawn().map(Self)
    }

    /// The child.
    pub fn get(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for OwnedChild {
    /// Asks it to end, waits, and ends it.
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.0.id())
            && matches!(self.0.try_wait(), Ok(None))
        {
            // SAFETY: no memory is passed; the child is not waited for yet, so the id is its own.
            unsafe { libc::kill(id, libc::SIGTERM) };
            let polls = END_WAIT.as_millis() / END_POLL.as_millis();
            for _ in 0..polls {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(END_POLL);
            }
            // It did not end when asked. Whether this succeeds, `wait` will show.
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests;
