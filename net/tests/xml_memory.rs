//! What a document of XML may cost in memory, whoever wrote it: cold at most twice its bytes, warm
//! nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use serde_json::Value as Json;
use warren_core::message::{MESSAGE_BYTES_MAX, Message};
use warren_net::gateway::{Frame, GatewaySettings, Protocol, decode, encode};

#[path = "../../tests/vectors/wire.rs"]
mod wire;

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
fn heap_of(work: impl FnOnce()) -> (u64, u64) {
    let before = HEAP.get();
    HEAP.set(Heap { peak: before.bytes, ..before });
    work();
    let after = HEAP.get();
    ((after.peak - before.bytes) as u64, after.allocations - before.allocations)
}

/// Names and frames of every vector that an XML client sends, good or bad.
fn documents() -> Vec<(String, Vec<u8>)> {
    let files = [
        include_str!("../../tests/vectors/xml.json"),
        include_str!("../../tests/vectors/refusals.json"),
        include_str!("../../tests/vectors/xml_corpus.json"),
    ];
    let vectors = files
        .into_iter()
        .flat_map(|text| serde_json::from_str::<Vec<Json>>(text).expect("the vectors are JSON"));
    vectors
        .filter(|vector| vector["protocol"] == "xml" && vector["direction"] != "out")
        .map(|vector| (vector["name"].as_str().expect("a name").to_owned(), wire::wire_of(&vector)))
        .collect()
}

fn settings() -> GatewaySettings {
    GatewaySettings { frame_bytes_max: MESSAGE_BYTES_MAX, ..GatewaySettings::default() }
}

#[test]
fn the_heap_of_this_test_is_counted() {
    let (peak, allocations) = heap_of(|| {
        let mut bytes = Vec::<u8>::with_capacity(100);
        bytes.reserve_exact(std::hint::black_box(200));
        drop(std::hint::black_box(bytes));
        drop(std::hint::black_box(Box::new(7_u64)));
    });
    assert_eq!((peak, allocations), (200, 3));
}

#[test]
fn a_document_takes_at_most_twice_its_bytes() {
    let documents = documents();
    assert!(documents.len() > 150);
    for (name, frame) in &documents {
        let mut out = Vec::new();
        let (peak, _) = heap_of(|| {
            decode(Protocol::Xml, &settings(), frame, &mut 0, &mut out);
        });
        assert!(peak <= 2 * frame.len() as u64, "{name}: {peak} for {} bytes", frame.len());
    }
}

#[test]
fn a_warm_gateway_allocates_nothing() {
    let documents = documents();
    let mut out = Vec::with_capacity(2 * MESSAGE_BYTES_MAX);
    let mut wire = Vec::with_capacity(2 * MESSAGE_BYTES_MAX);
    let mut messages = 0;
    for (name, frame) in &documents {
        out.clear();
        wire.clear();
        let (_, allocations) = heap_of(|| {
            let decoded = decode(Protocol::Xml, &settings(), frame, &mut 0, &mut out);
            if let Frame::Message { .. } = decoded {
                encode(Protocol::Xml, &settings(), Message::from_checked(&out), &mut wire);
                messages += 1;
            }
        });
        assert_eq!(allocations, 0, "{name}");
    }
    assert!(messages > 30);
}
