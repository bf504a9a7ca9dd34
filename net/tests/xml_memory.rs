//! What a document of XML may cost in memory, whoever wrote it: cold at most twice its bytes, warm
//! nothing.

use serde_json::Value as Json;
use warren_core::message::{MESSAGE_BYTES_MAX, Message};
use warren_net::gateway::{DecodeState, Frame, GatewaySettings, Protocol, decode, encode};

#[path = "../../tests/fuzz/heap.rs"]
mod heap;
#[path = "../../tests/vectors/wire.rs"]
mod wire;

use heap::heap_of;

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
        let (mut bytes, mut state) = (frame.clone(), DecodeState::default());
        let mut out = Vec::new();
        let (peak, _) = heap_of(|| {
            decode(Protocol::Xml, &settings(), &mut bytes, &mut state, &mut out);
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
        let (mut bytes, mut state) = (frame.clone(), DecodeState::default());
        let (_, allocations) = heap_of(|| {
            let decoded = decode(Protocol::Xml, &settings(), &mut bytes, &mut state, &mut out);
            if let Frame::Message { .. } = decoded {
                encode(Protocol::Xml, &settings(), Message::from_checked(&out), &mut wire);
                messages += 1;
            }
        });
        assert_eq!(allocations, 0, "{name}");
    }
    assert!(messages > 30);
}
