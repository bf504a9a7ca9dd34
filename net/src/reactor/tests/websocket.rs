//! WebSocket: how connections are upgraded, kept and closed.

use super::*;
use crate::gateway::websocket::client::{
    UpgradeAnswer, decode_server_frame, encode_fragment, encode_frame, read_upgrade_answer,
    upgrade_request,
};
use crate::gateway::websocket::{Opcode, UpgradeSettings, close_code};
use crate::gateway::{GatewaySettings, Protocol, encode};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn request(protocol: Protocol, origin: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    upgrade_request("here", protocol, KEY, origin, &mut out);
    out
}

/// A client that was upgraded.
#[track_caller]
pub(super) fn upgraded(node: &mut Node, protocol: Protocol) -> Client {
    let mut client = node.client();
    client.send(&request(protocol, None));
    take_answer(node, &mut client);
    client
}

#[track_caller]
fn take_answer(node: &mut Node, client: &mut Client) {
    node.until("the answer", |_| read_upgrade_answer(&client.poll().received, KEY).is_some());
    match read_upgrade_answer(&client.received, KEY) {
        Some(UpgradeAnswer::Accepted { consumed }) => drop(client.received.drain(..consumed)),
        other => panic!("{other:?}: {}", client.received.escape_ascii()),
    }
}

pub(super) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(opcode, MASK, payload, &mut out);
    out
}

fn text(payload: &str) -> Vec<u8> {
    masked(Opcode::Text, payload.as_bytes())
}

/// The request for an upgrade, and the answer.
pub(super) fn upgrade_of(protocol: Protocol) -> (Vec<u8>, Vec<u8>) {
    let request = request(protocol, None);
    let mut answer = Vec::new();
    let settings = UpgradeSettings::default();
    crate::gateway::websocket::upgrade(&settings, None, &request, &mut 0, &mut answer);
    (request, answer)
}

/// What a client sends for a message, in three fragments.
pub(super) fn said_in_fragments(protocol: Protocol, packed: &[u8]) -> Vec<u8> {
    let frame = sent(protocol, packed);
    let payload = decode_server_frame(&frame).unwrap().unwrap().0.payload;
    let opcode = if protocol == Protocol::WebSocketBinary { Opcode::Binary } else { Opcode::Text };
    let mut out = Vec::new();
    let (first, rest) = payload.split_at(payload.len() / 2);
    encode_fragment(opcode, false, MASK, first, &mut out);
    encode_fragment(Opcode::Continuation, false, MASK, &[], &mut out);
    encode_fragment(Opcode::Continuation, true, MASK, rest, &mut out);
    out
}

/// What a client sends for a message.
pub(super) fn said(protocol: Protocol, packed: &[u8]) -> Vec<u8> {
    let mut frame = sent(protocol, packed);
    let payload = decode_server_frame(&frame).unwrap().unwrap().0.payload.to_vec();
    frame.clear();
    let opcode = if protocol == Protocol::WebSocketBinary { Opcode::Binary } else { Opcode::Text };
    masked(opcode, &payload)
}

/// What the server sends for a message.
pub(super) fn sent(protocol: Protocol, packed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(protocol, &GatewaySettings::default(), Message::from_checked(packed), &mut out);
    out
}

/// What the server sends for a message of JSON.
fn sent_text(payload: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(payload.len()).unwrap()], payload.as_bytes()].concat()
}

fn close_frame(code: u16, text: &str) -> Vec<u8> {
    let length = u8::try_from(2 + text.len()).unwrap();
    [&[0x88, length], code.to_be_bytes().as_slice(), text.as_bytes()].concat()
}

fn goodbye(reason: Reason) -> Vec<u8> {
    let (status, error) = (reason.status(), reason.word());
    let limit = reason.limit().map_or(String::new(), |limit| format!(",\"limit\":\"{limit}\""));
    let closed = format!("{{\"msg\":\"closed\",\"status\":{status},\"error\":\"{error}\"{limit}}}");
    [sent_text(&closed), close_frame(close_code(reason), error)].concat()
}

#[track_caller]
fn check_end(node: &mut Node, client: &mut Client, expected: &[u8]) {
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(client.received.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(client.ended, Some(End::Orderly));
}

#[track_caller]
fn check_closes(node: &Node, reason: Reason) {
    let counters = node.reactor.counters();
    assert_eq!(counters.closes[reason as usize], 1, "{:?}", counters.closes);
    assert_eq!(counters.closes.iter().sum::<u64>(), 1);
    let gauges = (counters.partial_frame_bytes, counters.connections.iter().sum());
    assert_eq!((gauges, counters.connections_undetected), ((0, 0), 0));
}

#[test]
fn frames_behind_the_request_are_heard() {
    for piece_bytes in [1, 7, 1000] {
        let mut node = Node::start(small());
        let mut client = node.client();
        let said = text(r#"{"msg":"echo","a":1}"#);
        let stream = [request(Protocol::WebSocketJson, None), said.clone(), said].concat();
        for bytes in stream.chunks(piece_bytes) {
            let received = node.reactor.counters().received_bytes;
            client.send(bytes);
            node.until("the bytes", |node| node.reactor.counters().received_bytes > received);
        }
        take_answer(&mut node, &mut client);
        let echo = sent_text(r#"{"msg":"echo","a":1}"#).repeat(2);
        node.until("the echoes", |_| client.poll().received == echo);
        assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
    }
}

#[test]
fn a_refused_upgrade_is_answered_in_http_and_counted() {
    let origins = ["https://warren.example".to_owned()].into();
    let upgrade = UpgradeSettings { header_bytes_max: 600, origins };
    let bomb = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(600));
    let sentence = "This port speaks to game clients, over WebSocket among others; it serves no pages. \
     (error: upgrade-invalid)\n";
    for (request, reason, status, body) in [
        (
            request(Protocol::WebSocketJson, Some("https://elsewhere.example")),
            Reason::OriginRefused,
            403,
            r#"{"msg":"closed","status":403,"error":"origin-refused"}"#,
        ),
        (
            bomb.into_bytes(),
            Reason::HeaderTooLarge,
            431,
            r#"{"msg":"closed","status":431,"error":"header-too-large","limit":"websocket.header_bytes_max"}"#,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Reason::UpgradeInvalid, 426, sentence),
        (
            b"GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_vec(),
            Reason::UpgradeInvalid,
            400,
            r#"{"msg":"closed","status":400,"error":"upgrade-invalid"}"#,
        ),
    ] {
        let mut node = Node::start(ReactorSettings { upgrade: upgrade.clone(), ..small() });
        let mut client = node.client();
        client.send(&request);
        node.until("the end", |_| client.poll().ended.is_some());
        let Some(UpgradeAnswer::Refused { status: told, consumed }) =
            read_upgrade_answer(&client.received, KEY)
        else {
            panic!("{}", client.received.escape_ascii());
        };
        assert_eq!((told, client.ended), (status, Some(End::Orderly)));
        assert_eq!(str::from_utf8(&client.received[consumed..]).unwrap().trim(), body.trim());
        check_closes(&node, reason);
        assert_eq!(node.opened_count, 0);
        // The listed origin is welcome on the same port.
        let mut client = node.client();
        client.send(&super::websocket::request(
            Protocol::WebSocketJson,
            Some("https://warren.example"),
        ));
        take_answer(&mut node, &mut client);
    }
}

#[test]
fn a_port_of_one_subprotocol_knows_no_other() {
    let fixed_protocol = Some(Protocol::WebSocketBinary);
    let mut node = Node::start(ReactorSettings { fixed_protocol, ..small() });
    let mut client = node.client();
    client.send(&request(Protocol::WebSocketJson, None));
    node.until("the end", |_| client.poll().ended.is_some());
    assert!(client.received.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    let mut client = node.client();
    client.send(b"{\"msg\":\"echo\"}\n");
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(node.reactor.counters().closes[Reason::UnknownProtocol as usize], 1);
    upgraded(&mut node, Protocol::WebSocketBinary);
    let fixed_protocol = Some(Protocol::Json);
    let mut node = Node::start(ReactorSettings { fixed_protocol, ..small() });
    let mut client = node.client();
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    let error = b"{\"msg\":\"error\",\"status\":400,\"error\":\"malformed\"}\n";
    node.until("the error", |_| client.poll().received == error);
}

#[test]
fn a_client_that_closes_gets_its_answers_and_its_code_back() {
    for (payload, code) in [(&[][..], vec![0x88, 0]), (&[0x0f, 0xa1, b'x'], close_frame(4001, ""))]
    {
        for holds in [false, true] {
            let mut node = Node::start(small());
            let mut client = upgraded(&mut node, Protocol::WebSocketJson);
            node.accepting_input = !holds;
            let said = text(r#"{"msg":"echo"}"#).repeat(2);
            // What comes behind the close frame is not looked at.
            let close = masked(Opcode::Close, payload);
            client.send(&[said, close, text(r#"{"msg":"echo"}"#), vec![0xff; 3]].concat());
            client.shut_down();
            node.turns(10);
            node.accepting_input = true;
            let echoes = sent_text(r#"{"msg":"echo"}"#).repeat(2);
            check_end(&mut node, &mut client, &[echoes, code.clone()].concat());
            node.until("the end to be told", |node| node.closed_count == 1);
            check_closes(&node, Reason::PeerClosed);
        }
    }
}

#[test]
fn every_close_of_ours_ends_with_its_code() {
    let mut node = Node::start(small());
    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    client.send(&text(r#"{"msg":"close"}"#));
    check_end(&mut node, &mut client, &goodbye(Reason::Displaced));
    check_closes(&node, Reason::Displaced);

    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    client.send(&text(r#"{"msg":"quit"}"#));
    let answer = [sent_text(r#"{"msg":"quit"}"#), close_frame(1000, "quit")].concat();
    check_end(&mut node, &mut client, &answer);

    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    node.reactor.close_all(Reason::Draining);
    check_end(&mut node, &mut client, &goodbye(Reason::Draining));
}

#[test]
fn a_faulty_frame_ends_the_connection_behind_the_answers_to_those_before_it() {
    for (fault, reason) in [
        (vec![0x81, 0x00], Reason::WebsocketInvalid),
        (masked(Opcode::Binary, b"\x01\x01m"), Reason::WebsocketInvalid),
        (vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], Reason::FrameTooLarge),
    ] {
        let mut node = Node::start(small());
        node.answer_turns = 0;
        let mut client = upgraded(&mut node, Protocol::WebSocketJson);
        client.send(&[text(r#"{"msg":"echo"}"#), text("7"), fault].concat());
        let limit = reason.limit().map_or(String::new(), |limit| format!(r#","limit":"{limit}""#));
        let (status, word) = (reason.status(), reason.word());
        let error = format!(r#"{{"msg":"error","status":{status},"error":"{word}"{limit}}}"#);
        let expected = [
            sent_text(r#"{"msg":"error","status":400,"error":"malformed"}"#),
            sent_text(&error),
            sent_text(r#"{"msg":"echo"}"#),
            close_frame(close_code(reason), word),
        ];
        check_end(&mut node, &mut client, &expected.concat());
        check_closes(&node, reason);
    }
}

#[test]
fn of_many_pings_at_once_the_last_is_answered() {
    let mut node = Node::start(ReactorSettings { receive_buffer_bytes: 4096, ..small() });
    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    let pings: Vec<u8> = (0..200).flat_map(|number| masked(Opcode::Ping, &[number])).collect();
    let receives = node.reactor.counters().receives;
    client.send(&[text(r#"{"msg":"echo"}"#), pings, masked(Opcode::Pong, b"unasked")].concat());
    let echo = sent_text(r#"{"msg":"echo"}"#);
    node.until("the answers", |_| client.poll().received.ends_with(&echo));
    assert_eq!(node.reactor.counters().receives, receives + 1, "the pings came in pieces");
    assert_eq!(client.received, [&[0x8a, 1, 199], &echo[..]].concat());
}

#[test]
fn fragments_are_counted_while_they_wait() {
    let mut node = Node::start(small());
    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    let said = br#"{"msg":"echo","a":1}"#;
    let mut first = Vec::new();
    encode_fragment(Opcode::Text, false, MASK, &said[..9], &mut first);
    client.send(&first);
    node.until("the fragment", |node| node.reactor.counters().partial_frame_bytes == 15);
    let mut second = Vec::new();
    encode_fragment(Opcode::Continuation, true, MASK, &said[9..], &mut second);
    client.send(&second);
    let echo = sent_text(r#"{"msg":"echo","a":1}"#);
    node.until("the echo", |_| client.poll().received == echo);
    assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
    client.send(&first);
    node.until("the fragment", |node| node.reactor.counters().partial_frame_bytes == 15);
    drop(client);
    node.until("the end", |node| node.closed_count == 1);
    check_closes(&node, Reason::PeerClosed);
}

#[test]
fn a_message_that_never_ends_has_as_long_as_a_frame() {
    let settings = ReactorSettings { frame_ms: 5000, ..small() };
    let mut node = Node::start(settings);
    let mut client = upgraded(&mut node, Protocol::WebSocketJson);
    let fragment = |opcode| {
        let mut out = Vec::new();
        encode_fragment(opcode, false, MASK, b" ", &mut out);
        out
    };
    client.send(&fragment(Opcode::Text));
    node.until("the fragment", |node| node.reactor.counters().partial_frame_bytes == 7);
    for _ in 0..4 {
        node.now.monotonic_ns += 1_000_000_000;
        let received = node.reactor.counters().received_bytes;
        // Half of the next fragment stays behind.
        let more = [fragment(Opcode::Continuation), masked(Opcode::Ping, b"")].concat();
        let (half, rest) = more.split_at(more.len() - 3);
        client.send(half);
        let all = received + half.len() as u64;
        node.until("the bytes", |node| node.reactor.counters().received_bytes == all);
        client.send(rest);
        node.until("the rest", |node| node.reactor.counters().received_bytes == all + 3);
    }
    assert_eq!(client.poll().ended, None);
    node.now.monotonic_ns += 1_100_000_000;
    // A turn is a millisecond: no time for another five seconds.
    node.turns(500);
    check_closes(&node, Reason::FrameTimeout);
    node.until("the end", |_| client.poll().ended.is_some());
    assert!(client.received.ends_with(&goodbye(Reason::FrameTimeout)));
}

#[test]
fn a_slow_client_gets_whole_frames_and_the_close_frame() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 * 1024, ..small() });
    let mut slow = upgraded(&mut node, Protocol::WebSocketJson);
    let burst = format!(r#"{{"msg":"burst","count":1000,"a":"{}"}}"#, "x".repeat(80));
    node.until("the close", |node| {
        slow.send(&text(&burst));
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    node.until("the end", |_| slow.poll().ended.is_some());
    let (mut at, mut codes) = (0, Vec::new());
    while let Some((frame, consumed)) = decode_server_frame(&slow.received[at..]).unwrap() {
        assert!(codes.is_empty(), "nothing follows a close frame");
        if frame.opcode == Opcode::Close {
            codes.push(u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
        }
        at += consumed;
    }
    assert_eq!((at, codes), (slow.received.len(), vec![close_code(Reason::SlowConsumer)]));
}

#[test]
fn frames_without_a_message_count_as_messages() {
    for payload in [masked(Opcode::Pong, b""), masked(Opcode::Ping, b"")] {
        let rates = RateLimits {
            messages: warren_core::rate::Rate { per_s: 10, burst: 20 },
            refusals_max: 30,
            ..RateLimits::UNLIMITED
        };
        let mut node = Node::start(ReactorSettings { rates, ..small() });
        let mut client = upgraded(&mut node, Protocol::WebSocketJson);
        client.send(&payload.repeat(40));
        node.turns(10);
        assert_eq!(client.poll().ended, None);
        client.send(&payload.repeat(40));
        node.until("the end", |_| client.poll().ended.is_some());
        check_closes(&node, Reason::MessageRate);
    }
}

#[test]
fn silence_and_heartbeats_are_as_without_websocket() {
    let mut node = Node::start(small());
    let mut json = upgraded(&mut node, Protocol::WebSocketJson);
    let mut binary = upgraded(&mut node, Protocol::WebSocketBinary);
    node.now.monotonic_ns += 10_100_000_000;
    node.until("the heartbeat", |_| {
        json.poll().received == sent_text(r#"{"msg":"pong","status":0}"#)
    });
    assert!(binary.poll().received.is_empty());
    // The server hears a control frame too.
    json.send(&masked(Opcode::Pong, b""));
    node.now.monotonic_ns += 10_100_000_000;
    node.until("the end", |_| binary.poll().ended.is_some());
    let limit = [("limit", Value::Text("protocol.heartbeat_ms"))];
    let closed = [("status", Value::Integer(408)), ("error", Value::Text("timeout")), limit[0]];
    let closed = sent(Protocol::WebSocketBinary, &message::packed("closed", &closed));
    let expected = [closed, close_frame(4408, "timeout")].concat();
    assert_eq!(binary.received, expected);
    assert_eq!(json.poll().ended, None);
}
