//! WebSocket beside its messages: the upgrade from HTTP, and what clients read of a server.
//!
//! An upgrade is decided by its bytes alone, within the bound of its header, with one answer of
//! HTTP for every request; what is searched once is not searched again.

use warren_net::gateway::Protocol;
use warren_net::gateway::websocket::client::{
    UpgradeAnswer, decode_server_frame, encode_fragment, read_upgrade_answer,
};
use warren_net::gateway::websocket::{Opcode, Upgrade, UpgradeSettings, upgrade};

use super::{Behaviour, Target, pieces};
use crate::corpus::Seed;
use crate::heap::heap_of;
use crate::prng::Prng;

/// The key of the examples in RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: warren.json\r\nOrigin: http://localhost\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// Longest answer to an upgrade.
const ANSWER_BYTES_MAX: usize = 1_024;
/// Heap of an upgrade whatever its bytes: the answer, and what it is made of.
const HEAP_BYTES: u64 = 8_192;

pub(crate) const UPGRADE: Target = Target {
    name: "upgrade",
    words: &[
        b"GET ",
        b"POST ",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"Host: a\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: keep-alive, Upgrade\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Protocol: warren.binary, warren.json\r\n",
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
        b"Origin: https://example.org\r\n",
        b"a: b\r\n",
        b": ",
        b",",
        b"\t",
        b"\0",
        b"\xff",
        b" folded\r\n",
    ],
    seeds: || {
        let seeds = [REQUEST.to_owned(), REQUEST.replace("json", "binary, x")];
        seeds
            .into_iter()
            .map(|text| Seed { name: "a request".to_owned(), bytes: text.into_bytes() })
            .collect()
    },
    check: check_upgrade,
    inputs: 150_000,
};

pub(crate) const SERVER_FRAMES: Target = Target {
    name: "websocket-server-frames",
    words: &[
        b"HTTP/1.1 101 a\r\n",
        b"HTTP/1.1 404 a\r\n",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        b"\r\n\r\n",
        b"\x81\x02{}",
        b"\x82\x7e\0\x7e",
        b"\x81\x7f\0\0\0\0\0\x01\0\0",
        b"\x88\x02\x11\x31",
        b"\x80\0",
        b"\xff",
    ],
    seeds: || {
        let texts = [ANSWER, "\u{1}\u{2}{}"].into_iter();
        texts.map(|text| Seed { name: "an answer".to_owned(), bytes: text.into() }).collect()
    },
    check: check_server,
    inputs: 150_000,
};

/// The same messages in frames: whole, and in two fragments with a ping between.
pub(crate) fn seeds(protocol: Protocol, inner: &[Seed]) -> Vec<Seed> {
    let is_json = protocol == Protocol::WebSocketJson;
    let opcode = if is_json { Opcode::Text } else { Opcode::Binary };
    let framed = |seed: &Seed| {
        // Without the length of the binary protocol, or the end of JSON, which frames have.
        let payload = match is_json {
            true => seed.bytes.strip_suffix(b"\n").unwrap_or(&seed.bytes),
            false => seed.bytes.get(4..).unwrap_or_default(),
        };
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        encode_fragment(opcode, true, [0; 4], payload, &mut whole);
        let (first, second) = payload.split_at(payload.len() / 2);
        encode_fragment(opcode, false, [1, 2, 3, 4], first, &mut parts);
        encode_fragment(Opcode::Ping, true, [5; 4], b"hi", &mut parts);
        encode_fragment(Opcode::Continuation, true, [0; 4], second, &mut parts);
        [whole, parts].map(|bytes| Seed { name: seed.name.clone(), bytes })
    };
    inner.iter().filter(|seed| seed.bytes.len() < 8_192).flat_map(framed).collect()
}

/// What the server sends is one whole frame for a client.
pub(crate) fn check_server_frame(wire: &[u8]) {
    let (frame, consumed) = decode_server_frame(wire)
        .expect("the server's frames are good")
        .expect("the server's frames are whole");
    assert!(frame.is_last && !frame.opcode.is_control());
    assert_eq!(consumed, wire.len(), "more than a frame");
}

fn check_upgrade(bytes: &[u8], prng: &mut Prng) -> Behaviour {
    let header_bytes_max = *prng.pick(&[128, 512, 8_192]);
    let settings = UpgradeSettings { header_bytes_max, ..UpgradeSettings::default() };
    let (whole, answer) = ask(&settings, &[bytes]);
    let in_pieces = ask(&settings, &pieces(bytes, prng));
    assert_eq!(in_pieces, (whole, answer.clone()), "the same bytes in pieces mean something else");
    let text = String::from_utf8_lossy(&answer);
    match whole {
        Upgrade::Incomplete => {
            assert!(answer.is_empty() && bytes.len() < header_bytes_max, "it waits for ever");
            Behaviour::of(0)
        }
        Upgrade::Accepted { protocol, consumed } => {
            assert!(consumed <= bytes.len().min(header_bytes_max), "consumed {consumed}");
            assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text}");
            Behaviour::of((1, protocol))
        }
        Upgrade::Refused { reason } => {
            // Who asks for a page is told in words that there are none.
            let is_told = text.contains(reason.word()) || text.starts_with("HTTP/1.1 426 ");
            assert!(text.starts_with("HTTP/1.1 4") && is_told, "{text}");
            Behaviour::of((2, reason.word()))
        }
    }
}

/// Asks with what comes in pieces.
fn ask(settings: &UpgradeSettings, pieces: &[&[u8]]) -> (Upgrade, Vec<u8>) {
    let (mut received, mut scanned) = (Vec::new(), 0);
    for piece in pieces {
        received.extend_from_slice(piece);
        let mut answer = Vec::new();
        let mut result = Upgrade::Incomplete;
        let (peak, _) = heap_of(|| {
            result = upgrade(settings, None, &received, &mut scanned, &mut answer);
        });
        assert!(peak <= HEAP_BYTES, "{peak} bytes of heap");
        assert!(answer.len() <= ANSWER_BYTES_MAX, "{} bytes of answer", answer.len());
        if result != Upgrade::Incomplete {
            return (result, answer);
        }
        assert_eq!(scanned, received.len(), "bytes are searched again");
    }
    (Upgrade::Incomplete, Vec::new())
}

fn check_server(bytes: &[u8], _: &mut Prng) -> Behaviour {
    let mut rest = bytes;
    let upgraded = read_upgrade_answer(rest, KEY);
    if let Some(UpgradeAnswer::Accepted { consumed } | UpgradeAnswer::Refused { consumed, .. }) =
        upgraded
    {
        assert!(consumed <= rest.len());
        rest = &rest[consumed..];
    }
    let mut shapes = Vec::new();
    loop {
        match decode_server_frame(rest) {
            Ok(None) => break,
            Err(reason) => {
                shapes.push((100, reason.word()));
                break;
            }
            Ok(Some((frame, consumed))) => {
                assert!((2..=rest.len()).contains(&consumed), "consumed {consumed}");
                assert!(frame.payload.len() < consumed);
                shapes.push((frame.opcode as u8, ""));
                rest = &rest[consumed..];
            }
        }
    }
    Behaviour::of((upgraded.map(|answer| std::mem::discriminant(&answer)), shapes))
}
