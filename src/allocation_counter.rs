//! Counts the heap allocations of each thread and what it holds of them, so that "a warm shard does
//! not allocate" and "an object takes so many bytes" are numbers and not hopes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting. It counts where a binary makes it its global allocator.
#[derive(Clone, Copy, Debug)]
pub struct AllocationCounter;

/// Allocations and reallocations of the calling thread since its start.
#[must_use]
pub fn allocations_of_this_thread() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Bytes that the calling thread has allocated and not freed. What another thread frees stays
/// counted here, and is less than nothing there.
#[must_use]
pub fn held_bytes_of_this_thread() -> i64 {
    HELD_BYTES.with(Cell::get)
}

/// What a block takes in glibc's heap: 8 bytes of its own, in steps of 16, and at least 32.
fn block_bytes(size: usize) -> i64 {
    (size + 8).next_multiple_of(16).max(32) as i64
}

// A thread that is going has no counters any more, and no more to tell.

fn count_allocation() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

fn count_held(more_bytes: i64) {
    let _ = HELD_BYTES.try_with(|held| held.set(held.get() + more_bytes));
}

// SAFETY: every call goes to `System` unchanged; counting touches a thread's own cells, which are
// initialised at compile time and so allocate nothing themselves.
unsafe impl GlobalAlloc for AllocationCounter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        count_held(block_bytes(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        count_held(block_bytes(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_allocation();
        count_held(block_bytes(new_size) - block_bytes(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_held(-block_bytes(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests;
