//! What becomes of a connection in TLS that is slow, broken or at its end: every byte and every word arrives.

use super::super::frames::check_stop_before_a_frame;
use super::*;

#[test]
fn broken_records_end_a_connection_and_leave_what_came_before() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    node.answer_turns = 0;
    let mut client = authority.binary_client(&mut node);
    client.send(&numbered(1, 10));
    client.take_sealed();
    client
        .encrypted
        .extend_from_slice(b"\x17\x03\x03\x00\x20 these are no encrypted bytes at all ");
    node.until("the end", |_| client.ended().is_some());
    assert_eq!(tls_failures(&node), 1);
    assert_eq!(node.reactor.counters().messages_in, 2);
    assert!(matches!(client.error, Some(rustls::Error::AlertReceived(_))), "{:?}", client.error);
    ends_empty(&mut node);
}

#[test]
fn a_slow_reader_in_tls_gets_every_byte() {
    let authority = Authority::new();
    let settings = ReactorSettings { send_queue_bytes_max: 64 << 20, ..authority.settings() };
    let mut node = Node::start(settings);
    let mut client = authority.binary_client(&mut node);
    let burst = frame("burst", &[("count", Value::Integer(20_000)), ("a", Value::Text(TEXT))]);
    client.send(&[burst.as_slice(), &numbered(1, 10)].concat());
    client.take_sealed();
    client.client.send(&std::mem::take(&mut client.encrypted));
    node.until("a queue", |node| node.reactor.counters().send_queue_bytes > 0);
    node.turns(5);
    let whole = 20_000 * burst.len();
    let last = numbered(1, 10);
    node.until("every byte", |_| client.poll().received.len() >= whole + last.len());
    assert!(client.received[..whole].chunks(burst.len()).all(|chunk| chunk == burst));
    assert_eq!(client.received[whole..], last);
    drop(client);
    ends_empty(&mut node);
}

#[test]
fn the_last_words_in_tls_fit_however_full_the_queue_is() {
    let authority = Authority::new();
    let settings = ReactorSettings { send_queue_bytes_max: 64 * 1024, ..authority.settings() };
    let mut node = Node::start(settings);
    node.answer_turns = 0;
    let mut client = authority.binary_client(&mut node);
    let some = frame("burst", &[("count", Value::Integer(100)), ("a", Value::Text(TEXT))]);
    // What the kernel takes is full now.
    node.until("a queue", |node| {
        client.send(&some);
        client.take_sealed();
        client.client.send(&std::mem::take(&mut client.encrypted));
        node.reactor.counters().send_queue_bytes > 0
    });
    let many = frame("burst", &[("count", Value::Integer(999)), ("a", Value::Text(TEXT))]);
    client.send(&[many.as_slice(), &frame("close", &[])].concat());
    client.take_sealed();
    client.client.send(&std::mem::take(&mut client.encrypted));
    node.until("the close", |node| node.reactor.counters().closes[Reason::Displaced as usize] == 1);
    node.until("the end", |_| client.ended().is_some());
    let told = notice("closed", Reason::Displaced);
    let messages = client.received.strip_suffix(told.as_slice()).expect("the reason comes last");
    assert!(messages.chunks(many.len()).all(|chunk| chunk == some || chunk == many));
    let heard_count = messages.chunks(many.len()).filter(|chunk| *chunk == many).count();
    assert!(heard_count < 999, "there was room for all");
    assert!(client.told_end && client.error.is_none(), "{:?}", client.error);
}

#[test]
fn a_slow_consumer_in_tls_gets_whole_messages_and_the_reason() {
    let authority = Authority::new();
    let settings = ReactorSettings { send_queue_bytes_max: 64 * 1024, ..authority.settings() };
    let mut node = Node::start(settings);
    let mut slow = authority.binary_client(&mut node);
    let piece = frame("burst", &[("count", Value::Integer(1000)), ("a", Value::Text(TEXT))]);
    let mut queued_max = 0;
    node.until("the close", |node| {
        slow.send(&piece);
        slow.take_sealed();
        slow.client.send(&std::mem::take(&mut slow.encrypted));
        queued_max = queued_max.max(node.reactor.counters().send_queue_bytes);
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    // What has begun to leave is one part of at most the limit, and what TLS adds to it.
    assert!(queued_max < 2 * 66 * 1024, "{queued_max} bytes wait");
    node.until("the end", |_| slow.ended().is_some());
    let told = notice("closed", Reason::SlowConsumer);
    let messages = slow.received.strip_suffix(told.as_slice()).expect("the reason comes last");
    assert!(messages.len() > 64 * 1024);
    assert!(messages.chunks(piece.len()).all(|chunk| chunk == piece));
    assert!(slow.told_end && slow.error.is_none(), "{:?}", slow.error);
    drop(slow);
    ends_empty(&mut node);
}

#[test]
fn the_end_is_told_within_tls() {
    let authority = Authority::new();
    for (request, expected) in [
        (frame("quit", &[]), frame("quit", &[])),
        (frame("close", &[]), notice("closed", Reason::Displaced)),
    ] {
        let mut node = Node::start(authority.settings());
        let mut client = authority.binary_client(&mut node);
        client.send(&request);
        node.until("the end", |_| client.ended().is_some());
        assert_eq!((&client.received, client.told_end), (&expected, true));
        drop(client);
        ends_empty(&mut node);
    }
    let mut node = Node::start(authority.settings());
    let mut client = authority.binary_client(&mut node);
    node.reactor.close_all(Reason::Draining);
    node.until("the end", |_| client.ended().is_some());
    assert_eq!((client.received, client.told_end), (notice("closed", Reason::Draining), true));
}

#[test]
fn a_half_sent_record_has_its_time() {
    let authority = Authority::new();
    let frame_ms = 5000;
    let settings = ReactorSettings { frame_ms, heartbeat_ms: 3_600_000, ..authority.settings() };
    // Cut within its header, behind it, and within its content.
    for length in [1, 4, 5, 6, 20] {
        let mut node = Node::start(settings.clone());
        let mut client = authority.binary_client(&mut node);
        client.send(&numbered(1, 10));
        client.take_sealed();
        let rest = client.encrypted.split_off(length);
        client.poll();
        let half_here = |node: &Node| node.reactor.counters().tls_record_bytes == length as u64;
        node.until("a half record", half_here);
        node.now.monotonic_ns += (frame_ms - 100) * 1_000_000;
        node.turns(2);
        client.encrypted = rest;
        node.until("the echo", |_| client.poll().received == numbered(1, 10));
        assert_eq!(node.reactor.counters().tls_record_bytes, 0);
        node.now.monotonic_ns += 2 * frame_ms * 1_000_000;
        node.turns(2);
        client.received.clear();
        client.send(&numbered(2, 10));
        client.take_sealed();
        client.encrypted.truncate(length);
        client.poll();
        node.until("a half record", half_here);
        node.now.monotonic_ns += (frame_ms + 100) * 1_000_000;
        node.until("the end", |_| client.ended().is_some());
        assert_eq!(client.received, notice("closed", Reason::FrameTimeout));
        drop(client);
        ends_empty(&mut node);
    }
}

#[test]
fn a_client_that_ends_within_tls_gets_its_answers() {
    let authority = Authority::new();
    for version in VERSIONS {
        let mut node = Node::start(authority.settings());
        let mut client = authority.client(&node, version);
        let pieces = [numbered(1, 100), numbered(2, 100)].concat();
        client.send(&[PREAMBLE.as_slice(), &pieces].concat());
        node.until("the handshake", |_| !client.poll().tls.is_handshaking());
        // The socket stays open: the end is TLS's alone.
        client.tls.send_close_notify();
        node.until("the end", |_| client.ended().is_some());
        assert_eq!((&client.received, client.told_end), (&pieces, true));
        assert_eq!(node.reactor.counters().closes[Reason::PeerClosed as usize], 1);
        drop(client);
        ends_empty(&mut node);
    }
}

#[test]
fn a_frame_behind_a_send_that_stopped_is_left_out_also_within_tls() {
    let authority = Authority::new();
    let settings = ReactorSettings { send_queue_bytes_max: 64 << 10, ..authority.settings() };
    let mut node = Node::start(settings);
    let mut slow = authority.binary_client(&mut node);
    check_stop_before_a_frame(&mut node, || _ = slow.poll());
}
