//! Frames of worlds and moves: the fixed layouts, and who takes frames too slowly.

use warren_core::world::frame::{Frame, FrameHeader};
use warren_core::world::motion::{Motion, write_move};

use warren_core::rate::Rate;

use super::*;
use crate::gateway::binary::{ServerFrame, decode_server_frame, encode_move};

/// A frame with so many sections of one entity each.
fn world_frame(tick: u32, section_count: u16) -> Vec<u8> {
    let header =
        FrameHeader { world: 7, tick, cell: 64.0, dims: 2, is_whole: false, centre: [0, 0, 0] };
    let mut frame = Vec::new();
    header.write(&mut frame);
    for entity in 0..section_count {
        frame.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0]);
        frame.extend_from_slice(&entity.to_le_bytes());
        frame.extend_from_slice(&[0; 7]);
    }
    Frame::parse(&frame).expect("it is one");
    frame
}

#[test]
fn moves_are_handed_over_as_they_came_and_faulty_ones_refused() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    let motion = Motion { position: [1.0, 2.0, 3.0], ..Motion::default() };
    let mut wire = Vec::new();
    for dims in [2, 3] {
        encode_move(9, motion, dims, &mut wire);
    }
    let faulty = Motion { heading: f32::NAN, ..motion };
    encode_move(9, faulty, 2, &mut wire);
    wire.extend_from_slice(&[2, 0, 0, 0, 4, 1]);
    wire.extend_from_slice(&frame("echo", &[]));
    client.send(&wire);
    let error = |reason| notice("error", reason);
    let expected =
        [error(Reason::FieldInvalid), error(Reason::Malformed), frame("echo", &[])].concat();
    node.until("the answers", |_| client.poll().received.len() >= expected.len());
    assert_eq!(client.received, expected);
    let mut moves = [Vec::new(), Vec::new()];
    for (bytes, dims) in moves.iter_mut().zip([2, 3]) {
        write_move(9, motion, dims, bytes);
    }
    assert_eq!(node.moves, moves);
}

#[test]
fn moves_over_the_rate_are_refused_as_messages_are() {
    let rate = Rate { per_s: 1, burst: 3 };
    let rates = RateLimits { messages: rate, ..RateLimits::UNLIMITED };
    let mut node = Node::start(ReactorSettings { rates, ..small() });
    let mut client = node.binary_client();
    let mut wire = Vec::new();
    for _ in 0..4 {
        encode_move(9, Motion::default(), 2, &mut wire);
    }
    client.send(&wire);
    node.until("a refusal", |node| node.refused_count > 0);
    assert_eq!(node.moves.len() + node.refused_count, 4);
    node.until("the answer", |_| !client.poll().received.is_empty());
    let (ServerFrame::Message(answer), _) = decode_server_frame(&client.received).unwrap() else {
        panic!("{:?}", client.received);
    };
    assert_eq!(answer.method(), "move");
    assert_eq!(answer.get("error"), Some(Value::Text("message-rate")));
}

/// The ticks of the frames that a client got.
fn ticks(mut bytes: &[u8]) -> Vec<u32> {
    let mut ticks = Vec::new();
    while let Some((frame, consumed)) = decode_server_frame(bytes) {
        let ServerFrame::World(frame) = frame else { panic!("{frame:?}") };
        ticks.push(frame.header.tick);
        bytes = &bytes[consumed..];
    }
    assert!(bytes.is_empty(), "half a frame");
    ticks
}

#[test]
fn who_takes_frames_too_slowly_misses_some_and_the_neighbour_none() {
    let mut node = Node::start(small());
    let (mut slow, mut beside) = (node.binary_client(), node.binary_client());
    let mut tick = 0;
    let mut send = |node: &mut Node, beside: &mut Client| {
        node.frame_to_all(&world_frame(tick, 3000));
        tick += 1;
        node.turn();
        // Several reads may stand between two turns.
        while ticks_so_far(beside.poll()) < tick {
            node.turn();
        }
    };
    while node.frame_news.is_empty() {
        send(&mut node, &mut beside);
    }
    let queued = node.reactor.counters().send_queue_bytes;
    for _ in 0..20 {
        send(&mut node, &mut beside);
    }
    assert_eq!(node.frame_news.len(), 1, "it is told once");
    let (connection, flows) = node.frame_news[0];
    assert!(!flows);
    assert!(node.reactor.counters().send_queue_bytes <= queued, "nothing more waits for it");
    assert!(node.reactor.counters().frames_dropped >= 20);
    node.until("the news", |node| {
        slow.poll();
        node.frame_news.len() == 2
    });
    assert_eq!(node.frame_news[1], (connection, true));
    send(&mut node, &mut beside);
    node.until("the last frame", |_| {
        ticks_so_far(slow.poll()) > 0 && {
            ticks(whole(&slow.received)).last() == Some(&(ticks_so_far(&beside) - 1))
        }
    });
    let heard = ticks(&slow.received);
    assert!(heard.is_sorted() && heard.len() as u32 <= ticks_so_far(&beside) - 20, "{heard:?}");
    assert_eq!(ticks(&beside.received), (0..ticks_so_far(&beside)).collect::<Vec<_>>());
}

/// A turn with a long message and then a frame, for one who reads nothing, until the socket stops
/// within the message: in plain bytes, or within TLS.
pub(super) fn check_stop_before_a_frame(node: &mut Node, mut read: impl FnMut()) {
    let message = message::packed("long", &[("text", Value::Text(&"x".repeat(900_000)))]);
    let world_frame = world_frame(1, 9000);
    let counters = |node: &Node| node.reactor.counters().clone();
    let mut tries = 0;
    while node.frame_news.is_empty() {
        tries += 1;
        assert!(tries < 100, "it always stopped within a frame");
        let waits = counters(node).send_queue_bytes > 0;
        node.until("room", |node| {
            if waits {
                read();
            }
            !waits || node.reactor.counters().send_queue_bytes == 0
        });
        let message = node.output(&message);
        node.send_to_all(message);
        node.frame_to_all(&world_frame);
        node.turn();
        node.turn();
    }
    assert!(!node.frame_news[0].1, "it cannot take frames");
    assert!(counters(node).frames_dropped > 0);
    assert_eq!(counters(node).closes[Reason::SlowConsumer as usize], 0);
    node.until("the news", |node| {
        read();
        node.frame_news.len() == 2
    });
    assert!(node.frame_news[1].1);
}

#[test]
fn a_frame_behind_a_send_that_stopped_is_left_out_and_nobody_closed() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 << 10, ..small() });
    let mut slow = node.binary_client();
    check_stop_before_a_frame(&mut node, || _ = slow.poll());
}

/// The frames that are whole.
fn whole(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some((_, consumed)) = decode_server_frame(&bytes[end..]) {
        end += consumed;
    }
    &bytes[..end]
}

/// How many frames a client has got.
fn ticks_so_far(client: &Client) -> u32 {
    ticks(whole(&client.received)).len() as u32
}

#[test]
fn a_frame_is_encoded_once_for_each_protocol() {
    let mut node = Node::start(small());
    let mut clients: Vec<Client> = (0..4).map(|_| node.binary_client()).collect();
    let mut texts = Vec::new();
    for _ in 0..3 {
        let mut text = node.client();
        text.send(b"{\"msg\":\"echo\"}\n");
        node.until("the echo", |_| text.poll().received == b"{\"msg\":\"echo\"}\n");
        text.received.clear();
        texts.push(text);
    }
    let before = node.reactor.counters().messages_encoded;
    node.frame_to_all(&world_frame(3, 1));
    let expected = b"{\"msg\":\"frame\",\"room\":\"w\",\"tick\":3,\"cell\":\"0:0\",\
        \"cells\":[\"0:0 0:0:0:0:0:0\"]}\n";
    for text in &mut texts {
        node.until("the frame", |_| text.poll().received.len() >= expected.len());
        assert_eq!(text.received, expected);
    }
    for client in &mut clients {
        node.until("the frame", |_| ticks_so_far(client.poll()) == 1);
    }
    assert_eq!(node.reactor.counters().messages_encoded - before, 2);
}
