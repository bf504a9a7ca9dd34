use std::collections::BTreeMap;

use super::*;
use crate::wire::{Decoded, Frame, Request, Seat, Wire, floor::Lengths};

const LENGTHS: Lengths = Lengths { say: 100, heard: 120, reply: 40 };
const WIRE: Wire = Wire::Floor(LENGTHS);

/// A hall with this many connections.
fn hall(connections: u32) -> Hall {
    let mut hall = Hall::default();
    (0..connections).for_each(|index| hall.open(index));
    hall
}

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn enter(hall: &mut Hall, index: u32, room: u32) {
    assert!(hall.received(index, &bytes(|out| WIRE.login(Seat { user: index, room }, out))));
    sent(hall);
}

/// What each connection is sent in this turn.
fn sent(hall: &mut Hall) -> BTreeMap<u32, Vec<u8>> {
    let mut parts = Vec::new();
    let arena = hall.flush(|index, start, length| parts.push((index, start..start + length)));
    let arena = arena.to_vec();
    hall.turn_end();
    let count = parts.len();
    let sent: BTreeMap<u32, Vec<u8>> =
        parts.into_iter().map(|(index, range)| (index, arena[range].to_vec())).collect();
    assert_eq!(sent.len(), count, "one send for each connection and turn");
    sent
}

fn decode_all(mut bytes: &[u8]) -> Vec<(usize, Frame<'_>)> {
    let mut frames = Vec::new();
    while let Decoded::Frame { consumed, frame } = WIRE.decode(bytes) {
        frames.push((consumed, frame));
        bytes = &bytes[consumed..];
    }
    assert!(bytes.is_empty());
    frames
}

#[test]
fn each_member_hears_what_is_said_and_the_speaker_gets_its_answer_in_the_same_send() {
    let mut hall = hall(4);
    for (index, room) in [(0, 7), (1, 7), (2, 7), (3, 8)] {
        enter(&mut hall, index, room);
    }
    let say = bytes(|out| WIRE.say(Seat { user: 1, room: 7 }, "text", out));
    assert!(hall.received(1, &[&say[..], &say[..]].concat()));
    let heard = |sequence| (120, Frame::Heard { sequence, place: None, text: "text" });
    let reply = (40, Frame::Reply { request: Request::Say, status: 0, reason: "" });
    let now = sent(&mut hall);
    assert_eq!(now.keys().copied().collect::<Vec<u32>>(), [0, 1, 2]);
    for index in [0, 2] {
        assert_eq!(decode_all(&now[&index]), [heard(1), heard(2)]);
    }
    assert_eq!(decode_all(&now[&1]), [heard(1), reply, heard(2), reply]);
    assert!(sent(&mut hall).is_empty(), "all has left");
}

#[test]
fn a_frame_is_written_once_however_many_hear_it() {
    let mut hall = hall(8);
    (0..8).for_each(|index| enter(&mut hall, index, 1));
    let say = bytes(|out| WIRE.say(Seat { user: 3, room: 1 }, "text", out));
    for _ in 0..2 {
        assert!(hall.received(3, &say));
        let mut parts = Vec::new();
        let arena = hall.flush(|index, start, length| parts.push((index, start, length)));
        assert_eq!(arena.len(), 120 + 40, "the message and the answer");
        let expected = (0..8).map(|index| (index, 0, if index == 3 { 160 } else { 120 }));
        assert_eq!(parts, expected.collect::<Vec<_>>());
        hall.turn_end();
    }
}

#[test]
fn what_lies_apart_is_copied_together_in_its_order() {
    let mut hall = hall(3);
    enter(&mut hall, 0, 1);
    enter(&mut hall, 1, 1);
    enter(&mut hall, 2, 2);
    for (speaker, room) in [(0, 1), (2, 2), (1, 1), (1, 1), (2, 2), (0, 1)] {
        let say = bytes(|out| WIRE.say(Seat { user: speaker, room }, "text", out));
        assert!(hall.received(speaker, &say));
    }
    let heard = |sequence| (120, Frame::Heard { sequence, place: None, text: "text" });
    let reply = (40, Frame::Reply { request: Request::Say, status: 0, reason: "" });
    let now = sent(&mut hall);
    let [first, second, third, fourth] = [1, 2, 3, 4].map(heard);
    assert_eq!(decode_all(&now[&0]), [first, reply, second, third, fourth, reply]);
    assert_eq!(decode_all(&now[&1]), [first, second, reply, third, reply, fourth]);
    assert_eq!(decode_all(&now[&2]), [first, reply, second, reply]);
    assert!(sent(&mut hall).is_empty() && hall.parts.is_empty(), "all has left");
}

#[test]
fn a_frame_in_pieces_is_taken_when_it_is_whole() {
    let mut hall = hall(1);
    enter(&mut hall, 0, 1);
    let say = bytes(|out| WIRE.say(Seat { user: 0, room: 1 }, "text", out));
    for _ in 0..2 {
        for (at, byte) in say.iter().enumerate() {
            assert!(sent(&mut hall).is_empty(), "byte {at}");
            assert!(hall.received(0, &[*byte]));
        }
        assert_eq!(decode_all(&sent(&mut hall)[&0]).len(), 2);
    }
}

#[test]
fn who_is_gone_hears_nothing_and_others_go_on() {
    let mut hall = hall(2);
    enter(&mut hall, 0, 1);
    enter(&mut hall, 1, 1);
    hall.close(0);
    hall.close(0);
    assert!(hall.received(1, &bytes(|out| WIRE.say(Seat { user: 1, room: 1 }, "text", out))));
    assert_eq!(hall.waiting, [1]);
    let now = sent(&mut hall);
    assert_eq!(now.keys().copied().collect::<Vec<u32>>(), [1]);
    assert_eq!(decode_all(&now[&1]).len(), 2);
}

#[test]
fn what_no_generator_sends_is_refused() {
    let announce = bytes(|out| WIRE.login(Seat { user: 0, room: 1 }, out));
    let say = bytes(|out| WIRE.say(Seat { user: 0, room: 1 }, "text", out));
    let room = ROOMS_MAX;
    let room_unknown = bytes(|out| WIRE.login(Seat { user: 0, room }, out));
    for bytes in [vec![0; 8], say, [&announce[..], &announce[..]].concat(), room_unknown] {
        let mut hall = hall(1);
        assert!(!hall.received(0, &bytes), "{bytes:?}");
    }
}
