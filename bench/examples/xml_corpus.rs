//! How long the server's XML gateway takes to refuse each document of `tests/vectors/xml_corpus.json`,
//! in microseconds of CPU: the median, and the longest.
//!
//! ```sh
//! cargo run --release -p warren-bench --example xml_corpus
//! ```

use serde_json::Value;
use warren_bench::clock::process_cpu_ns;
use warren_core::message::MESSAGE_BYTES_MAX;
use warren_net::gateway::{DecodeState, Frame, GatewaySettings, Protocol, decode};

#[path = "../../tests/vectors/wire.rs"]
mod wire;

/// Times that each document is read.
const ROUNDS: usize = 101;

fn main() {
    let text = include_str!("../../tests/vectors/xml_corpus.json");
    let vectors: Vec<Value> = serde_json::from_str(text).expect("the vectors are JSON");
    println!("{:>9} {:>9} {:>9}  {:<22} document", "bytes", "median us", "most us", "refused");
    for vector in &vectors {
        let bytes = wire::wire_of(vector);
        let mut times_ns: Vec<u64> = (0..ROUNDS).map(|_| refusal_ns(vector, &bytes)).collect();
        times_ns.sort_unstable();
        let us = |ns: u64| ns as f64 / 1000.0;
        println!(
            "{:>9} {:>9.1} {:>9.1}  {:<22} {}",
            bytes.len(),
            us(times_ns[ROUNDS / 2]),
            us(times_ns[ROUNDS - 1]),
            vector["refused"].as_str().expect("a reason"),
            vector["name"].as_str().expect("a name"),
        );
    }
}

/// CPU of one reading, with nothing warm but the code.
fn refusal_ns(vector: &Value, bytes: &[u8]) -> u64 {
    let settings =
        GatewaySettings { frame_bytes_max: MESSAGE_BYTES_MAX, ..GatewaySettings::default() };
    let (mut bytes, mut state) = (bytes.to_vec(), DecodeState::default());
    let mut out = Vec::new();
    let start_ns = process_cpu_ns();
    let frame = decode(Protocol::Xml, &settings, &mut bytes, &mut state, &mut out);
    let time_ns = process_cpu_ns() - start_ns;
    let Frame::Refused { reason, .. } = frame else { panic!("{vector} is not refused") };
    assert_eq!(vector["refused"], reason.word());
    time_ns
}
