use std::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::{Decoded, Frame, Request, Seat, Wire, floor::Lengths};

const LENGTHS: Lengths = Lengths { say: 100, heard: 120, reply: 40 };
const WIRE: Wire = Wire::Floor(LENGTHS);

/// A hall with sockets that nothing is sent to, and their other ends.
fn hall(connections: usize) -> (Hall, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hall = Hall::default();
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        hall.open(listener.accept().unwrap().0.into());
    }
    (hall, clients)
}

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn enter(hall: &mut Hall, index: u32, room: u32) {
    assert!(hall.received(index, &bytes(|out| WIRE.login(Seat { user: index, room }, out))));
    hall.sent();
}

/// What one connection is sent in this turn.
fn sent_to(hall: &Hall, index: u32) -> Vec<u8> {
    let sends: Vec<(u32, RawFd, &[u8])> = hall.sends().filter(|send| send.0 == index).collect();
    assert!(sends.len() <= 1, "one send for each connection and turn");
    sends.first().map_or(Vec::new(), |send| send.2.to_vec())
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
    let (mut hall, _clients) = hall(4);
    for (index, room) in [(0, 7), (1, 7), (2, 7), (3, 8)] {
        enter(&mut hall, index, room);
    }
    let say = bytes(|out| WIRE.say(Seat { user: 1, room: 7 }, "text", out));
    assert!(hall.received(1, &[&say[..], &say[..]].concat()));
    let heard = |sequence| (120, Frame::Heard { sequence, place: None, text: "text" });
    let reply = (40, Frame::Reply { request: Request::Say, status: 0, reason: "" });
    for index in [0, 2] {
        assert_eq!(decode_all(&sent_to(&hall, index)), [heard(1), heard(2)]);
    }
    assert_eq!(decode_all(&sent_to(&hall, 1)), [heard(1), reply, heard(2), reply]);
    assert!(sent_to(&hall, 3).is_empty());
    hall.sent();
    assert!((0..4).all(|index| sent_to(&hall, index).is_empty()));
}

#[test]
fn a_frame_in_pieces_is_taken_when_it_is_whole() {
    let (mut hall, _clients) = hall(1);
    enter(&mut hall, 0, 1);
    let say = bytes(|out| WIRE.say(Seat { user: 0, room: 1 }, "text", out));
    for _ in 0..2 {
        for (at, byte) in say.iter().enumerate() {
            assert!(sent_to(&hall, 0).is_empty(), "byte {at}");
            assert!(hall.received(0, &[*byte]));
        }
        assert_eq!(decode_all(&sent_to(&hall, 0)).len(), 2);
        hall.sent();
    }
}

#[test]
fn who_is_gone_hears_nothing_and_others_go_on() {
    let (mut hall, _clients) = hall(2);
    enter(&mut hall, 0, 1);
    enter(&mut hall, 1, 1);
    hall.close(0);
    hall.close(0);
    assert!(hall.received(1, &bytes(|out| WIRE.say(Seat { user: 1, room: 1 }, "text", out))));
    assert!(sent_to(&hall, 0).is_empty());
    assert_eq!(decode_all(&sent_to(&hall, 1)).len(), 2);
    assert_eq!(hall.waiting, [1]);
}

#[test]
fn what_no_generator_sends_is_refused() {
    let announce = bytes(|out| WIRE.login(Seat { user: 0, room: 1 }, out));
    let say = bytes(|out| WIRE.say(Seat { user: 0, room: 1 }, "text", out));
    for bytes in [vec![0; 8], say, [&announce[..], &announce[..]].concat()] {
        let (mut hall, _clients) = hall(1);
        assert!(!hall.received(0, &bytes), "{bytes:?}");
    }
}
