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
    // The one value or text in which the fault is, which is read before it is looked at; and
    // documents whose only fault is at their end.
    const READ_WHOLE: [&str; 6] = [
        "50,000 unknown entities in an attribute",
        "a method of 1,000,000 bytes",
        "a reference of 1,000,000 digits",
        "an entity's name of 1,000,000 bytes",
        "1,000,000 bytes of text between fields",
        "300,000 characters that are not whole",
    ];
    // 48 fields, or as many items as a list may have, or as many comments as a document.
    let read_max = |name: &str| match name {
        "70,000 items" => 65_536 * "<item/>".len() + 100,
        "70,000 comments before no root" => 1024 * "<!-- a -->".len(),
        "20,000 pieces of CDATA before a fault" => 512 * "<![CDATA[a]]>&amp;\r<!---->".len() + 100,
        _ => 1000,
    };
    let mut whole_count = 0;
    for (name, bytes, vector) in corpus() {
        let (read, reason) = read_until_refused(&bytes);
        assert_eq!(vector["refused"], reason.word(), "{name}");
        if READ_WHOLE.contains(&name.as_str()) {
            assert!(read <= bytes.len(), "{name}: {read}");
            whole_count += 1;
        } else {
            assert!(read <= read_max(&name), "{name}: {read}");
        }
    }
    assert_eq!(whole_count, READ_WHOLE.len());
}
