//! What a thread has on the heap, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What this thread has on the heap, in bytes, and the most that it ever had; and how often it
/// asked for more.
#[derive(Clone, Copy, Debug)]
struct Heap {
    bytes: i64,
    peak: i64,
    allocations: u64,
}

thread_local! {
    static HEAP: Cell<Heap> = const { Cell::new(Heap { bytes: 0, peak: 0, allocations: 0 }) };
}

fn count(added: usize, removed: usize) {
    let _ = HEAP.try_with(|cell| {
        let mut heap = cell.get();
        heap.bytes += added as i64 - removed as i64;
        heap.peak = heap.peak.max(heap.bytes);
        heap.allocations += u64::from(added > 0);
        cell.set(heap);
    });
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call goes to `System` unchanged; counting touches a thread's own cell, which is
// initialised at compile time and so allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, and returns the most bytes that it had on the heap at a time, beyond those that were
/// there, and how often it allocated.
pub(crate) fn heap_of(work: impl FnOnce()) -> (u64, u64) {
    let before = HEAP.get();
    HEAP.set(Heap { peak: before.bytes, ..before });
    work();
    let after = HEAP.get();
    ((after.peak - before.bytes) as u64, after.allocations - before.allocations)
}
