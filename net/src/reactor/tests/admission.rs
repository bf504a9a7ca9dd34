//! Strangers: how many there may be, how long, and with how long frames.

use super::time::pass;
use super::*;
use crate::gateway::closed_line;

const LOGIN_MS: u64 = 10_000;

fn limit_notice(method: &str, reason: Reason, limit: &str) -> Vec<u8> {
    let status = Value::Integer(i64::from(reason.status()));
    let (word, limit) = (Value::Text(reason.word()), Value::Text(limit));
    frame(method, &[("status", status), ("error", word), ("limit", limit)])
}

pub(super) fn stranger_node(settings: ReactorSettings) -> Node {
    let mut node = Node::start(settings);
    node.admits = false;
    node
}

#[test]
fn whoever_does_not_log_in_in_time_is_closed_with_the_reason_in_its_protocol() {
    let mut node = stranger_node(small());
    let mut mute = node.client();
    let mut half = node.client();
    half.send(b"WR");
    let mut json = node.client();
    json.send(b"{\"msg\":\"echo\"}\n");
    node.until("the echo", |_| json.poll().received == b"{\"msg\":\"echo\"}\n");
    json.received.clear();
    let mut binary = node.binary_client();
    assert_eq!(node.reactor.counters().connections_unauthenticated, 4);
    pass(&mut node, LOGIN_MS - 1000, 100);
    // To talk is not to log in.
    binary.send(&frame("echo", &[]));
    node.until("the echo", |_| binary.poll().received == frame("echo", &[]));
    binary.received.clear();
    for client in [&mut mute, &mut half, &mut json, &mut binary] {
        assert_eq!(client.poll().ended, None, "too early");
    }
    pass(&mut node, 1_500, 100);
    let line = closed_line(Reason::LoginTimeout);
    assert!(line.contains("\"limit\":\"limits.login_ms\""), "{line}");
    for (client, expected) in [
        (&mut mute, line.as_bytes()),
        (&mut half, line.as_bytes()),
        (&mut json, line.as_bytes()),
        (&mut binary, &notice("closed", Reason::LoginTimeout)),
    ] {
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!(client.received, expected);
    }
    assert_eq!(node.reactor.counters().closes[Reason::LoginTimeout as usize], 4);
    assert_eq!(node.reactor.counters().connections_unauthenticated, 0);
}

#[test]
fn whoever_has_logged_in_has_no_such_deadline() {
    let mut node = Node::start(small());
    let mut client = node.client();
    client.send(b"{\"msg\":\"echo\"}\n");
    node.until("the echo", |_| client.poll().received == b"{\"msg\":\"echo\"}\n");
    assert_eq!(node.reactor.counters().connections_unauthenticated, 0);
    pass(&mut node, 3 * LOGIN_MS, 100);
    assert_eq!(client.poll().ended, None);
}

#[test]
fn the_newest_of_too_many_strangers_is_turned_away() {
    let mut node = stranger_node(ReactorSettings { unauthenticated_max: 3, ..small() });
    let strangers: Vec<Client> = (0..3).map(|_| node.client()).collect();
    node.until("the strangers", |node| node.reactor.open_count() == 3);
    for _ in 0..5 {
        let mut surplus = node.client();
        surplus.send(PREAMBLE);
        node.until("the refusal", |_| surplus.poll().ended.is_some());
        let line = closed_line(Reason::TooManyUnauthenticated);
        assert_eq!(String::from_utf8_lossy(&surplus.received), line);
    }
    node.until("their slots", |node| node.reactor.open_count() == 3);
    assert_eq!(node.reactor.counters().closes[Reason::TooManyUnauthenticated as usize], 5);
    // One that has logged in makes room for the next.
    node.admits = true;
    drop(strangers);
    node.until("free slots", |node| node.reactor.open_count() == 0);
    let _clients: Vec<Client> = (0..6).map(|_| node.binary_client()).collect();
    assert_eq!(node.reactor.counters().closes[Reason::TooManyUnauthenticated as usize], 5);
}

#[test]
fn a_stranger_sends_short_frames_only() {
    let mut node =
        stranger_node(ReactorSettings { unauthenticated_frame_bytes_max: 500, ..small() });
    let mut stranger = node.binary_client();
    stranger.send(&numbered(1, 400));
    node.until("the echo", |_| stranger.poll().received == numbered(1, 400));
    stranger.received.clear();
    stranger.send(&numbered(2, 500));
    node.until("the end", |_| stranger.poll().ended.is_some());
    let limit = "limits.unauthenticated_frame_bytes_max";
    assert_eq!(stranger.received, limit_notice("error", Reason::FrameTooLarge, limit));
    node.admits = true;
    let mut client = node.binary_client();
    client.send(&numbered(2, 5000));
    node.until("the echo", |_| client.poll().received == numbered(2, 5000));
}

#[test]
fn a_frame_that_has_begun_has_to_be_whole_in_time() {
    let mut node = Node::start(small());
    let mut slow = node.binary_client();
    let mut steady = node.binary_client();
    // Always a half-received frame, and never for long the same.
    let (long, whole) = (numbered(1, 300), numbered(2, 10));
    steady.send(&whole[..7]);
    let mut echoes = Vec::new();
    for byte in &long[..130] {
        // A byte is a sign of life, and no more.
        slow.send(&[*byte]);
        steady.send(&whole[7..]);
        steady.send(&whole[..7]);
        echoes.extend_from_slice(&whole);
        pass(&mut node, 100, 50);
        steady.poll();
        if slow.poll().ended.is_some() {
            break;
        }
    }
    node.until("the end", |_| slow.poll().ended.is_some());
    assert_eq!(slow.received, notice("closed", Reason::FrameTimeout));
    assert_eq!(node.reactor.counters().closes[Reason::FrameTimeout as usize], 1);
    node.until("the echoes", |_| steady.poll().received == echoes);
    assert_eq!(steady.ended, None);
}

#[test]
fn a_frame_that_we_do_not_read_is_not_late() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    let whole = numbered(1, 300);
    client.send(&whole[..50]);
    node.until("the half", |node| node.reactor.counters().partial_frame_bytes > 0);
    node.accepting_input = false;
    client.send(&whole[50..]);
    node.until("the rest", |node| node.reactor.held_count() == 1);
    pass(&mut node, 15_000, 100);
    assert_eq!(client.poll().ended, None);
    node.accepting_input = true;
    node.until("the echo", |_| client.poll().received == whole);
}

#[test]
fn one_too_many_of_its_address_hears_so_in_its_protocol() {
    let mut node = stranger_node(small());
    node.refuses = true;
    let mut mute = node.client();
    let line = closed_line(Reason::TooManyConnections);
    assert!(line.contains("\"limit\":\"limits.connections_per_address_max\""), "{line}");
    node.until("the end", |_| mute.poll().ended.is_some());
    assert_eq!(String::from_utf8_lossy(&mute.received), line);
    let mut binary = node.client();
    binary.send(&[PREAMBLE.as_slice(), &frame("echo", &[])].concat());
    node.until("the end", |_| binary.poll().ended.is_some());
    let words: Vec<u8> = Reason::TooManyConnections.word().into();
    assert!(binary.received.windows(words.len()).any(|window| window == words));
    node.until("free slots", Node::is_empty);
    assert_eq!(node.reactor.counters().closes[Reason::TooManyConnections as usize], 2);
    node.turn();
    assert!(node.accepted.is_empty());
    assert_eq!(node.address_count, 0);
}
