//! A ring of receive buffers that the kernel takes from: a connection that is silent holds none.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The buffers' group in the ring; there is one.
pub(super) const GROUP: u16 = 0;
/// Number of buffers, a power of two: a burst of so many receives is taken before any is re-armed.
const COUNT: u16 = 4_096;
/// Bytes of a buffer: several frames of a profile.
const BUFFER_BYTES: usize = 1_024;

const _: () = assert!(COUNT.is_power_of_two());

/// The ring's entries and the buffers. Mapped once and never given back: the kernel may write to
/// them until the process, which has one ring for its whole life, has ended.
pub(super) struct ReceiveBuffers {
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    tail: u16,
}

impl ReceiveBuffers {
    pub(super) fn register(uring: &mut IoUring) -> io::Result<Self> {
        let entries = map(usize::from(COUNT) * size_of::<BufRingEntry>())?.cast();
        let buffers = map(usize::from(COUNT) * BUFFER_BYTES)?;
        // SAFETY: the entries are mapped, page-aligned, `COUNT` of them, and never unmapped.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                COUNT,
                GROUP,
                0,
            )?;
        }
        let mut ring = Self { entries, buffers, tail: 0 };
        (0..COUNT).for_each(|buffer| ring.provide(buffer));
        Ok(ring)
    }

    /// Gives a buffer to the kernel.
    pub(super) fn provide(&mut self, buffer: u16) {
        assert!(buffer < COUNT, "there is no such buffer");
        let slot = usize::from(self.tail & (COUNT - 1));
        // SAFETY: both are within their mappings; the entry at the tail is not the kernel's, as no
        // more than `COUNT` buffers are ever in the ring.
        unsafe {
            let address = self.buffers.add(usize::from(buffer) * BUFFER_BYTES);
            let entry = &mut *self.entries.add(slot).as_ptr();
            entry.set_addr(address.as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is a `u16` in the first entry's reserved part, which `set_*` leave
        // alone; the kernel reads it while we write it, so both do so atomically.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The first bytes of a buffer that the kernel has handed out.
    pub(super) fn bytes(&self, buffer: u16, length: u32) -> &[u8] {
        let length = length as usize;
        assert!(buffer < COUNT && length <= BUFFER_BYTES, "the kernel names buffers of ours");
        // SAFETY: within the mapping, as just checked; the kernel does not write to a buffer
        // between handing it out and `provide`.
        unsafe {
            let start = self.buffers.add(usize::from(buffer) * BUFFER_BYTES);
            std::slice::from_raw_parts(start.as_ptr(), length)
        }
    }
}

/// Zeroed pages of our own.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping touches no memory that exists.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("a mapping is not at 0"))
}
