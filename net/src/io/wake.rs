//! Waking a ring from a thread that has none: an eventfd that the ring reads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Wakes the ring that it belongs to, from any thread. Costs a system call; wakes that come before
/// the ring has looked are one.
#[derive(Clone, Debug)]
pub struct WakeHandle {
    counter: Arc<OwnedFd>,
}

impl WakeHandle {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers. It must stay blocking: io_uring completes a read of a
        // non-blocking one at once with EAGAIN instead of waiting.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let counter = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { counter: Arc::new(counter) })
    }

    /// Makes the ring's wait return.
    pub fn wake(&self) {
        let one: u64 = 1;
        // SAFETY: the pointer is to eight readable bytes, which is what an eventfd takes. The
        // write would block only at 2^64 - 2 wakes that nobody has read.
        unsafe { libc::write(self.counter.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}
