use std::collections::BTreeMap;

use warren_core::world::motion::Motion;

use super::*;
use crate::path::{Path, Square, Told};
use crate::wire::world::write_update;
use crate::wire::{Decoded, Frame, Request, Seat, Wire};

const LENGTHS: Lengths =
    Lengths { say: 100, heard: 120, reply: 40, ping: 9, ping_reply: 30, beat: 0 };
const WIRE: Wire = Wire::Floor(LENGTHS);

const SECOND_NS: u64 = 1_000_000_000;

/// A hall with this many connections.
fn hall(connections: u32) -> Hall {
    hall_of(0, 1, connections)
}

fn hall_of(shard: usize, shard_count: usize, connections: u32) -> Hall {
    let mut hall = Hall::new(shard, shard_count, SECOND_NS);
    (0..connections).for_each(|index| hall.open(index));
    hall
}

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn enter(hall: &mut Hall, index: u32, room: u32) {
    assert!(hall.received(index, &bytes(|out| WIRE.login(Seat { user: index, room }, out)), 0));
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
    assert!(hall.received(1, &[&say[..], &say[..]].concat(), 0));
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
        assert!(hall.received(3, &say, 0));
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
        assert!(hall.received(speaker, &say, 0));
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
            assert!(hall.received(0, &[*byte], 0));
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
    assert!(hall.received(1, &bytes(|out| WIRE.say(Seat { user: 1, room: 1 }, "text", out)), 0));
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
        assert!(!hall.received(0, &bytes, 0), "{bytes:?}");
    }
}

#[test]
fn a_ping_is_answered_with_its_own_length() {
    let mut hall = hall(1);
    enter(&mut hall, 0, 1);
    assert!(hall.received(0, &bytes(|out| WIRE.ping(out)), 0));
    let answer = Frame::Reply { request: Request::Ping, status: 0, reason: "" };
    assert_eq!(decode_all(&sent(&mut hall)[&0]), [(30, answer)]);
    assert_eq!(hall.beat_next_ns(), None, "who gives signs of life gets none");
}

#[test]
fn heartbeats_come_a_period_after_the_login_and_each_period_from_then_on() {
    let wire = Wire::Floor(Lengths { beat: 20, ..LENGTHS });
    let mut hall = hall(3);
    let slot = |number: u64| number * BEAT_SLOT_NS;
    for (index, now_ns) in [(0, slot(1)), (1, slot(2) + 7), (2, slot(2) + 8)] {
        let login = bytes(|out| wire.login(Seat { user: index, room: index }, out));
        assert!(hall.received(index, &login, now_ns));
    }
    sent(&mut hall);
    hall.close(2);
    let mut beaten = |now_ns, expected: &[u32]| {
        hall.beat(now_ns);
        let sent = sent(&mut hall);
        assert_eq!(sent.keys().copied().collect::<Vec<u32>>(), expected, "{now_ns}");
        assert!(sent.values().all(|bytes| decode_all(bytes) == [(20, Frame::Heartbeat)]));
        hall.beat_next_ns()
    };
    assert_eq!(beaten(slot(11) - 1, &[]), Some(slot(11)));
    assert_eq!(beaten(slot(11), &[0]), Some(slot(13)));
    assert_eq!(beaten(slot(13) - 1, &[]), Some(slot(13)), "it is due, and waits for company");
    assert_eq!(beaten(slot(13), &[1]), Some(slot(21)), "the third is gone");
    assert_eq!(beaten(slot(30), &[0, 1]), Some(slot(31)));
}

/// Hands over what halls have for each other until there is nothing left.
fn hand_over(halls: &mut [Hall; 2]) {
    while halls.iter().any(|hall| hall.staged.iter().any(|words| !words.is_empty())) {
        for from in 0..2 {
            let words = std::mem::take(&mut halls[from].staged[1 - from]);
            words.into_iter().for_each(|word| halls[1 - from].told(word));
        }
    }
}

#[test]
fn a_room_on_two_threads_has_one_order_that_its_home_gives() {
    let mut halls = [hall_of(0, 2, 2), hall_of(1, 2, 2)];
    for hall in &mut halls {
        (0..2).for_each(|index| enter(hall, index, 4));
    }
    hand_over(&mut halls);
    for (shard, text) in [(1, "b"), (0, "a")] {
        let say = bytes(|out| WIRE.say(Seat { user: 0, room: 4 }, text, out));
        assert!(halls[shard].received(0, &say, 0));
    }
    hand_over(&mut halls);
    let heard = |sequence, text| (120, Frame::Heard { sequence, place: None, text });
    let reply = (40, Frame::Reply { request: Request::Say, status: 0, reason: "" });
    let there = sent(&mut halls[1]);
    assert_eq!(decode_all(&there[&0]), [reply, heard(1, "a"), heard(2, "b")]);
    assert_eq!(decode_all(&there[&1]), [heard(1, "a"), heard(2, "b")]);
    let home = sent(&mut halls[0]);
    assert_eq!(decode_all(&home[&0]), [heard(1, "a"), reply, heard(2, "b")]);
    assert_eq!(decode_all(&home[&1]), [heard(1, "a"), heard(2, "b")]);
}

/// Frames of worlds that connections are sent, by connection: tick, and the updates.
fn told(sent: &BTreeMap<u32, Vec<u8>>) -> BTreeMap<u32, (u32, Vec<[u8; 9]>)> {
    let told = sent.iter().map(|(index, bytes)| match &decode_all(bytes)[..] {
        [(_, Frame::World(frame))] => {
            let updates = frame.sections().flat_map(|section| section.unwrap().updates.to_vec());
            (*index, (frame.tick, updates.collect()))
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn at_each_tick_members_of_a_world_are_told_who_has_moved() {
    let mut hall = hall(3);
    let enter_world =
        bytes(|out| WIRE.enter(Seat { user: 0, room: 7 }, Motion::default(), 10, out));
    for (index, entity) in [(0, 0), (1, 1)] {
        enter(&mut hall, index, 7);
        assert!(hall.received(index, &enter_world, 0));
        let entered = Frame::Entered { world: 7, entity };
        assert_eq!(decode_all(&sent(&mut hall)[&index]), [(15, entered)]);
    }
    let square = Square::new(1);
    let path = Path::new(1, 2, square);
    let walk = |entity, number| {
        let motion = || path.motion(square, number);
        bytes(|out| WIRE.walk((7, entity), motion, || path.told(square, number), out))
    };
    assert_eq!(walk(0, 1).len(), 33, "as long as in the binary protocol");
    for (index, number) in [(1, 1), (0, 1), (1, 2)] {
        assert!(hall.received(index, &walk(index as u16, number), 0));
    }
    let due_ns = hall.tick_next_ns().unwrap();
    assert_eq!(due_ns, 0);
    hall.tick(due_ns);
    let update = |entity, number| -> [u8; 9] {
        let mut update = Vec::new();
        write_update(entity, path.told(square, number).state, &mut update);
        update.try_into().unwrap()
    };
    let updates = vec![update(1, 2), update(0, 1)];
    assert_eq!(told(&sent(&mut hall)), [(0, (0, updates.clone())), (1, (0, updates))].into());
    // Nobody has moved, and then one has, before its time and at a tick that comes late.
    hall.tick(SECOND_NS / 10);
    assert!(!hall.has_output());
    assert!(hall.received(0, &walk(0, 3), 0));
    hall.tick(SECOND_NS / 5 - 1);
    assert!(!hall.has_output());
    hall.tick(SECOND_NS / 2 + 1);
    assert_eq!(told(&sent(&mut hall))[&1], (5, vec![update(0, 3)]));
    assert_eq!(hall.tick_next_ns(), Some(SECOND_NS / 10 * 6));
}

#[test]
fn moves_of_who_is_in_no_world_are_not_taken() {
    let told = || Told { cell: [0; 2], state: 1 };
    let walk = bytes(|out| WIRE.walk((7, 0), Motion::default, told, out));
    let mut hall = hall(1);
    assert!(!hall.received(0, &walk, 0));
    let mut hall = hall_of(0, 1, 1);
    enter(&mut hall, 0, 7);
    assert!(!hall.received(0, &walk, 0));
}
