//! How much of a document is read before it is refused. What it is refused for is told by the
//! vectors.

use serde_json::Value as Json;

use super::*;
use crate::gateway::tests::wire::wire_of;

/// Bytes of a document that were read before it was refused, and why it was.
fn read_until_refused(frame: &[u8]) -> (usize, Reason) {
    let mut out = Vec::new();
    let mut reading = match Reading::new(frame, &mut out) {
        Ok(reading) => reading,
        Err(reason) => return (0, reason),
    };
    let reason = reading.document().expect_err("no document of the corpus is a message");
    (reading.tokens.position(), reason)
}

fn corpus() -> Vec<(String, Vec<u8>, Json)> {
    let text = include_str!("../../../../tests/vectors/xml_corpus.json");
    let vectors: Vec<Json> = serde_json::from_str(text).expect("the vectors are JSON");
    let entry = |vector: Json| {
        let mut bytes = wire_of(&vector);
        assert_eq!(bytes.pop(), Some(0));
        (vector["name"].as_str().expect("a name").to_owned(), bytes, vector)
    };
    vectors.into_iter().map(entry).collect()
}

#[test]
fn what_attacks_is_refused_at_its_beginning() {
    // Documents that are read as far as their one fault, which is their end.
    const READ_WHOLE: [&str; 3] = [
        "70,000 comments before no root",
        "20,000 pieces of CDATA before a fault",
        "300,000 characters that are not whole",
    ];
    // 48 fields, or 65,535 of 70,000 items.
    let read_max = |name: &str| match name {
        "70,000 items" => 65_536 * "<item/>".len() + 100,
        _ => 1000,
    };
    let mut early = 0;
    for (name, bytes, vector) in corpus() {
        let (read, reason) = read_until_refused(&bytes);
        assert_eq!(vector["refused"], reason.word(), "{name}");
        assert!(read <= bytes.len(), "{name}");
        // The value of an attribute is read to its quote before it is looked at.
        let value_bytes = bytes.split(|byte| *byte == b'"').map(<[u8]>::len).max().unwrap_or(0);
        if !READ_WHOLE.contains(&name.as_str()) {
            assert!(read <= read_max(&name) + value_bytes.min(bytes.len()), "{name}: {read}");
            early += 1;
        }
    }
    assert!(early > 20);
}
