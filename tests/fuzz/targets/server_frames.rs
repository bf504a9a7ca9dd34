//! What a client of the binary protocol reads: the harness and the tests do, with the decoder of
//! `net`. A server that is not ours must not break it either.

use warren_net::gateway::binary::{ServerFrame, decode_server_frame};

use super::{Behaviour, Target};
use crate::corpus::vectors_of;
use crate::heap::heap_of;
use crate::prng::Prng;

pub(crate) const TARGET: Target = Target {
    name: "server-frames",
    words: &[
        b"\x01",
        b"\x03",
        b"\0\0\0\0",
        b"\x0c\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x04chat",
        b"\x06status",
        b"\x05room1",
        b"\x03ann",
        b"\x01\x02\0\0\0hi",
        b"\xc3\xa9",
        b"\xff",
        b"\0\0\x10\0",
    ],
    seeds: || {
        let files = ["binary.json", "world.json"];
        files.into_iter().flat_map(|file| vectors_of(file, Some("binary"))).collect()
    },
    check,
    inputs: 200_000,
};

fn check(bytes: &[u8], _: &mut Prng) -> Behaviour {
    let mut shapes = Vec::new();
    let mut rest = bytes;
    let (peak, _) = heap_of(|| {
        while let Some((_, consumed)) = decode_server_frame(rest) {
            assert!((1..=rest.len()).contains(&consumed), "consumed {consumed} of {}", rest.len());
            rest = &rest[consumed..];
        }
    });
    assert_eq!(peak, 0, "it is read in place");
    rest = bytes;
    while let Some((frame, consumed)) = decode_server_frame(rest) {
        // A frame is there as soon as it is whole, and not before.
        if !matches!(frame, ServerFrame::Faulty(_)) {
            assert_eq!(decode_server_frame(&rest[..consumed]), Some((frame, consumed)));
            assert_eq!(decode_server_frame(&rest[..consumed - 1]), None);
        }
        shapes.push(match frame {
            ServerFrame::Message(message) => (0, "", message.field_count()),
            ServerFrame::Heard { text, .. } => (1, "", text.len().min(2)),
            ServerFrame::World(frame) => {
                let of_sections = frame.sections().map(|section| {
                    section.updates().len().min(2) + 3 * section.leaves().len().min(2)
                });
                (3, "", of_sections.take(3).fold(0, |all, one| 9 * all + one))
            }
            ServerFrame::Faulty(reason) => (2, reason.word(), 0),
        });
        rest = &rest[consumed..];
    }
    Behaviour::of((shapes, rest.is_empty()))
}
