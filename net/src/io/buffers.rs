//! The provided buffers that receives fill: one ring of equal buffers for all connections of a
//! shard, so that an idle connection holds none.
//!
//! Plain mode: no incremental consumption, no bundles (both have open kernel bugs). A buffer is
//! the kernel's while it is free and the program's from its completion until it is given back.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers that a ring can hold: the kernel's limit.
const BUFFER_COUNT_MAX: u16 = 1 << 15;
/// The entries that the kernel reads must begin on a page.
const PAGE_BYTES: usize = 4096;
/// One group is enough: all buffers of a ring have one size.
pub(super) const BUFFER_GROUP: u16 = 0;

/// A buffer of the ring, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub(super) u16);

/// Zeroed memory at a fixed place.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("sizes are configured");
        assert!(bytes > 0, "a buffer ring has buffers");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// The receive buffers of a ring.
pub struct BufferRing {
    entries: Pages,
    memory: Pages,
    count: u16,
    buffer_bytes: u32,
    tail: u16,
    /// Whether the buffer is the program's at present.
    taken: Vec<bool>,
    taken_count: u16,
}

impl BufferRing {
    /// Makes `count` buffers (a power of two) and hands them all to the kernel.
    pub(super) fn register(ring: &IoUring, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || count > BUFFER_COUNT_MAX || buffer_bytes == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>());
        let memory = Pages::new(usize::from(count) * buffer_bytes as usize);
        let address = entries.start.as_ptr() as u64;
        // SAFETY: the entries are `count` long, begin on a page, and live until the ring is gone:
        // the ring owns this value and drops it after its descriptor.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(address, count, BUFFER_GROUP, 0)?;
        }
        let taken = vec![true; usize::from(count)];
        let mut buffers =
            Self { entries, memory, count, buffer_bytes, tail: 0, taken, taken_count: count };
        for number in 0..count {
            buffers.give_back(BufferId(number));
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Number of buffers.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Number of buffers that are the kernel's, so far as completions have told.
    #[must_use]
    pub fn free_count(&self) -> u16 {
        self.count - self.taken_count
    }

    /// The first `length` bytes of a buffer that a completion has handed over.
    ///
    /// # Panics
    /// When the buffer is the kernel's, or shorter.
    #[must_use]
    pub fn bytes(&self, buffer: BufferId, length: u32) -> &[u8] {
        assert!(self.taken[usize::from(buffer.0)], "the buffer is the kernel's");
        assert!(length <= self.buffer_bytes);
        let offset = usize::from(buffer.0) * self.buffer_bytes as usize;
        // SAFETY: within the memory, which was zeroed when made. The kernel does not write to it:
        // it has handed the buffer over, and giving it back needs `&mut self`.
        unsafe {
            let start = self.memory.start.as_ptr().add(offset);
            std::slice::from_raw_parts(start, length as usize)
        }
    }

    /// The same, to write to as well.
    ///
    /// # Panics
    /// When the buffer is the kernel's, or shorter.
    #[must_use]
    pub fn bytes_mut(&mut self, buffer: BufferId, length: u32) -> &mut [u8] {
        assert!(self.taken[usize::from(buffer.0)], "the buffer is the kernel's");
        assert!(length <= self.buffer_bytes);
        let offset = usize::from(buffer.0) * self.buffer_bytes as usize;
        // SAFETY: as in `bytes`. Nobody else has a reference into the memory: that borrows `self`.
        unsafe {
            let start = self.memory.start.as_ptr().add(offset);
            std::slice::from_raw_parts_mut(start, length as usize)
        }
    }

    /// Gives a buffer back. The kernel sees it at the next [`publish`](Self::publish).
    ///
    /// # Panics
    /// When it is the kernel's already.
    pub fn give_back(&mut self, buffer: BufferId) {
        let number = usize::from(buffer.0);
        assert!(self.taken[number], "a buffer is given back once");
        self.taken[number] = false;
        self.taken_count -= 1;
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: the slot is within the entries. The kernel does not read it before the tail has
        // passed it, and there are never more free buffers than entries.
        let entry = unsafe { &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(slot) };
        let offset = number * self.buffer_bytes as usize;
        entry.set_addr(self.memory.start.as_ptr() as u64 + offset as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer.0);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all that was given back: one store.
    pub fn publish(&mut self) {
        let entries: *const BufRingEntry = self.entries.start.as_ptr().cast();
        // SAFETY: the tail is a field of the first entry that the kernel leaves to us, aligned to
        // two bytes, and lives as long as the entries.
        let tail = unsafe { &*BufRingEntry::tail(entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Notes that a completion has handed the buffer over.
    pub(super) fn take(&mut self, buffer: BufferId) {
        let taken = &mut self.taken[usize::from(buffer.0)];
        assert!(!*taken, "the kernel hands over only what is its own");
        *taken = true;
        self.taken_count += 1;
    }
}
