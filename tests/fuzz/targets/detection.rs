//! The first bytes of a connection: the answer depends on the bytes alone, comes within the limit,
//! and never changes once it is given.

use warren_net::gateway::{DETECTION_BYTES_MAX, Detected, detect};

use super::{Behaviour, Target, pieces};
use crate::corpus::vectors_of;
use crate::heap::heap_of;
use crate::prng::Prng;

pub(crate) const TARGET: Target = Target {
    name: "detection",
    words: &[
        b"WRN1",
        b"WRN",
        b"{",
        b"<",
        b"<msg",
        b"<policy-file-request/>\0",
        b"<policy-file-request",
        b"GET ",
        b"GET / HTTP/1.1\r\n",
        b"POST ",
        b"\x16\x03\x01",
        b"\x16\x03\x03\x02\0\x01",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b"msg",
        b"=",
        b":",
        b",",
        b"~",
        b"\0",
        b"_",
        b"-",
        b"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        b"SSH-2.0-",
        b"\x05\x01\0",
    ],
    seeds: || {
        let mut seeds = vectors_of("detection.json", None);
        for file in ["connserver.json", "json.json", "xml.json", "refusals.json"] {
            seeds.extend(vectors_of(file, None));
        }
        seeds
    },
    check,
    inputs: 100_000,
};

fn check(bytes: &[u8], prng: &mut Prng) -> Behaviour {
    let frame_bytes_max = *prng.pick(&[16, 300, 64 * 1024]);
    let mut whole = Detected::NeedMore;
    let (peak, _) = heap_of(|| whole = detect(bytes, frame_bytes_max));
    assert_eq!(peak, 0, "it looks at the bytes where they are");
    let limit = frame_bytes_max.min(DETECTION_BYTES_MAX);
    if whole == Detected::NeedMore {
        assert!(bytes.len() < limit, "undecided beyond the limit");
    }
    if let Detected::Protocol { skip, .. } = whole {
        assert!(skip <= bytes.len().min(limit), "skips what is not there");
    }
    let mut end = 0;
    for piece in pieces(bytes, prng) {
        end += piece.len();
        match detect(&bytes[..end], frame_bytes_max) {
            Detected::NeedMore => {}
            detected => {
                assert_eq!(detected, whole, "told by the first {end} bytes, and by all of them");
                break;
            }
        }
    }
    let (kind, protocol, skip) = match whole {
        Detected::Protocol { protocol, skip } => (0, Some(protocol), skip.min(8)),
        Detected::Upgrade { skip } => (4, None, skip.min(8)),
        Detected::PolicyRequest => (1, None, 0),
        Detected::NeedMore => (2, None, 0),
        Detected::Unknown => (3, None, 0),
    };
    Behaviour::of((kind, protocol, skip))
}
