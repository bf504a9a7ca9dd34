//! The bytes of a vector, for every test and tool that reads the files beside this one.

use serde_json::Value;

/// The bytes, however the vector writes them: see `README.md`.
pub(crate) fn wire_of(vector: &Value) -> Vec<u8> {
    if let Some(text) = vector["wire"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(digits) = vector["wire_hex"].as_str() {
        return from_hexadecimal(digits);
    }
    let mut bytes = Vec::new();
    for part in vector["wire_parts"].as_array().expect("a vector has bytes") {
        let text = part[0].as_str().expect("a text");
        for number in 0..part[1].as_u64().expect("a count") {
            bytes.extend_from_slice(text.replace("{}", &number.to_string()).as_bytes());
        }
    }
    bytes
}

/// Hexadecimal digits, blanks between them.
pub(crate) fn from_hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}
