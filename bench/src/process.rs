//! Child processes: pinned before they start, ended when we end.

pub mod generators;
pub(crate) mod loop_disk;
pub(crate) mod postgres;
pub mod server;

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::thread::{Builder, JoinHandle};

use crate::pinning;

/// How long a process that nobody waits for may take to end when asked, in milliseconds.
const END_WAIT_MS: libc::c_int = 10_000;

/// A child that does not outlive its owner.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

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
        Ok(Self { child: command.spawn()?, reader: None })
    }

    /// Reads lines of its piped output to their end, on a thread of their own, so that the child
    /// never waits for us. `None` is the end.
    ///
    /// # Errors
    /// When there is no thread to be had.
    ///
    /// # Panics
    /// When the output is not piped, or is read already.
    pub fn read_lines(
        &mut self,
        mut take: impl FnMut(Option<String>) + Send + 'static,
    ) -> io::Result<()> {
        let output = self.child.stdout.take().expect("the output is piped, and read once");
        let reader = Builder::new().name("child-output".to_owned()).spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                take(Some(line));
            }
            take(None);
        })?;
        self.reader = Some(reader);
        Ok(())
    }

    /// Its piped input, once.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and tells how it did.
    ///
    /// # Errors
    /// When it does not within this time, in milliseconds: then it is ended.
    pub fn end(mut self, wait_ms: libc::c_int) -> io::Result<ExitStatus> {
        if !self.ask_to_end(wait_ms)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.child.wait()
    }

    /// Asks it to end and waits for that; false when it is not done in time.
    fn ask_to_end(&self, wait_ms: libc::c_int) -> io::Result<bool> {
        let id = libc::pid_t::try_from(self.child.id()).map_err(io::Error::other)?;
        // SAFETY: no memory is passed. The child was not waited for, so the id is its own.
        let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
        let handle = libc::c_int::try_from(handle).ok().filter(|handle| *handle >= 0);
        let handle = handle.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        // SAFETY: no memory is passed, and the id is the child's, as before.
        unsafe { libc::kill(id, libc::SIGTERM) };
        let mut ended = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one whole pollfd is passed, with its count.
        Ok(unsafe { libc::poll(&raw mut ended, 1, wait_ms) } == 1)
    }
}

impl Drop for OwnedChild {
    /// Asks it to end, waits, and ends it.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && !matches!(self.ask_to_end(END_WAIT_MS), Ok(true))
        {
            // It did not end when asked. Whether this succeeds, `wait` will show.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            // Had it panicked, there would have been no line any more, which is told elsewhere.
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests;
