//! How connections end.

use super::*;
use crate::gateway::{POLICY_REQUEST, Protocol};
use crate::reactor::FLASH_POLICY_CLOSED;

#[test]
fn a_policy_request_is_answered_and_closed_however_it_comes() {
    let closed = [FLASH_POLICY_CLOSED.as_bytes(), b"\0"].concat();
    let own: std::sync::Arc<[u8]> = b"<own/>\0".as_slice().into();
    for (settings, expected) in [
        (small(), closed.as_slice()),
        (ReactorSettings { fixed_protocol: Some(Protocol::Xml), ..small() }, &closed),
        (ReactorSettings { flash_policy: own, ..small() }, b"<own/>\0"),
    ] {
        let mut node = Node::start(settings);
        let behind = [POLICY_REQUEST, b"<msg method='echo'/>\0"].concat();
        for (count, (bytes, piece)) in
            [(POLICY_REQUEST, 100), (POLICY_REQUEST, 1), (&behind, 100)].into_iter().enumerate()
        {
            let mut client = node.client();
            for bytes in bytes.chunks(piece) {
                assert!(client.poll().received.is_empty());
                client.send(bytes);
                node.turns(3);
            }
            node.until("the end", |_| client.poll().ended.is_some());
            assert_eq!((client.received.as_slice(), client.ended), (expected, Some(End::Orderly)));
            drop(client);
            node.until("a free slot", |node| node.reactor.open_count() == 0);
            let counters = node.reactor.counters();
            assert_eq!(counters.closes[Reason::PolicyRequest as usize], count as u64 + 1);
            assert_eq!(counters.closes.iter().sum::<u64>(), count as u64 + 1);
            assert_eq!(counters.refusals.iter().sum::<u64>(), 0);
            assert_eq!((counters.connections_undetected, node.opened_count), (0, 0));
        }
    }
}

#[test]
fn a_port_of_another_protocol_knows_no_policy() {
    for (fixed, expected) in [
        (
            Protocol::Json,
            b"{\"msg\":\"error\",\"status\":400,\"error\":\"malformed\"}\n".as_slice(),
        ),
        (Protocol::Binary, b"{\"msg\":\"closed\",\"status\":400,\"error\":\"unknown-protocol\"}\n"),
    ] {
        let mut node = Node::start(ReactorSettings { fixed_protocol: Some(fixed), ..small() });
        let mut client = node.client();
        client.send(POLICY_REQUEST);
        node.until("the answer", |_| client.poll().received == expected);
        assert_eq!(node.reactor.counters().closes[Reason::PolicyRequest as usize], 0);
    }
}

#[test]
fn a_half_closed_peer_gets_its_answers() {
    for answer_turns in [0, 1, 5, 3000] {
        let mut node = Node::start(small());
        node.answer_turns = answer_turns;
        let mut client = node.client();
        let pieces = [numbered(1, 100), numbered(2, 100)].concat();
        // Half a frame at the end is none.
        let half = &numbered(3, 100)[..60];
        client.send(&[PREAMBLE.as_slice(), &pieces, half].concat());
        client.shut_down();
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!((&client.received, client.ended), (&pieces, Some(End::Orderly)));
        node.until("the end to be told", |node| node.closed_count == 1);
        assert_eq!((node.opened_count, node.reactor.open_count()), (1, 0));
        let counters = node.reactor.counters();
        assert_eq!(counters.closes[Reason::PeerClosed as usize], 1);
        assert_eq!(counters.closes.iter().sum::<u64>(), 1);
        assert_eq!((counters.partial_frame_bytes, counters.connections.iter().sum()), (0, 0));
    }
}

#[test]
fn a_half_closed_peer_still_hears_the_others() {
    let mut node = Node::start(small());
    let (mut ended, mut other) = (node.binary_client(), node.binary_client());
    ended.send(&frame("never", &[]));
    ended.shut_down();
    node.until("the end of input", |node| !node.ended.is_empty());
    let all = frame("all", &[]);
    for _ in 0..3 {
        other.send(&all);
        node.until("the message", |_| ended.poll().received == all);
        ended.received.clear();
    }
    assert_eq!((ended.ended, node.closed_count), (None, 0));
    // The server drains: it is told like everyone else.
    node.reactor.close_all(Reason::Draining);
    node.until("the end", |_| ended.poll().ended.is_some());
    assert_eq!(ended.received, notice("closed", Reason::Draining));
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    client.send(&frame("never", &[]));
    client.shut_down();
    node.until("the end of input", |node| !node.ended.is_empty());
    node.now.monotonic_ns += 29_000_000_000;
    node.turns(5);
    assert_eq!((client.poll().ended, node.closed_count), (None, 0));
    node.now.monotonic_ns += 1_200_000_000;
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!((&client.received, client.ended), (&Vec::new(), Some(End::Orderly)));
    node.until("the end to be told", |node| node.closed_count == 1);
    assert_eq!(node.reactor.counters().closes[Reason::PeerClosed as usize], 1);
}

#[test]
fn a_peer_that_is_gone_altogether_ends_at_the_first_failing_send() {
    let mut node = Node::start(small());
    let (mut gone, mut other) = (node.binary_client(), node.binary_client());
    gone.send(&frame("never", &[]));
    drop(gone);
    node.until("the end of input", |node| !node.ended.is_empty());
    let all = frame("all", &[]);
    node.until("the end to be told", |node| {
        other.send(&all);
        node.closed_count == 1
    });
    assert_eq!(node.reactor.counters().closes[Reason::SocketError as usize], 1);
    node.until("a free slot", |node| node.reactor.open_count() == 1);
}

#[test]
fn an_end_before_the_first_words_is_the_end() {
    let mut node = Node::start(small());
    for bytes in [b"".as_slice(), &PREAMBLE[..2]] {
        let mut client = node.client();
        client.send(bytes);
        client.shut_down();
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!((&client.received, client.ended), (&Vec::new(), Some(End::Orderly)));
    }
    assert_eq!((node.opened_count, node.closed_count), (0, 0));
    assert_eq!(node.reactor.counters().closes[Reason::PeerClosed as usize], 2);
}

#[test]
fn a_half_closed_slow_reader_gets_all_that_waits() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 << 20, ..small() });
    let mut client = node.binary_client();
    let burst = frame("burst", &[("count", Value::Integer(20_000)), ("a", Value::Text(TEXT))]);
    client.send(&burst);
    client.shut_down();
    node.until("the answers", |node| node.closed_count == 1);
    assert!(node.reactor.counters().send_queue_bytes > 0, "all of it fitted the socket");
    let start_ns = node.now.monotonic_ns;
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(client.received.len(), 20_000 * burst.len());
    assert!(client.received.chunks(burst.len()).all(|chunk| chunk == burst));
    node.until("a free slot", |node| node.reactor.open_count() == 0);
    assert_eq!(node.reactor.counters().send_queue_bytes, 0);
    let waited_ns = node.now.monotonic_ns - start_ns;
    assert!(waited_ns < 900_000_000, "it was its deadline that closed it: {waited_ns} ns");
}

#[test]
fn the_reason_arrives_though_the_client_keeps_sending() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    client.send(&frame("close", &[]));
    let told = notice("closed", Reason::Displaced);
    // A connection that is closed while bytes come in is reset, and the client may miss the reason.
    for _ in 0..50 {
        client.send(&numbered(1, 500));
        node.turn();
    }
    node.until("the end", |_| {
        client.send(&numbered(1, 500));
        client.poll().ended.is_some()
    });
    assert_eq!((&client.received, client.ended), (&told, Some(End::Orderly)));
    let messages = node.reactor.counters().messages_in;
    // It does not stop: after the time to linger the slot is free in spite of it.
    node.until("a free slot", |node| {
        client.send(&numbered(1, 500));
        node.reactor.open_count() == 0
    });
    assert_eq!(node.closed_count, 1);
    assert_eq!(node.reactor.counters().closes[Reason::Displaced as usize], 1);
    assert_eq!(node.reactor.counters().messages_in, messages, "a message after the end");
}

#[test]
fn quit_closes_without_a_word_more() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    client.send(&frame("quit", &[]));
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!((&client.received, client.ended), (&frame("quit", &[]), Some(End::Orderly)));
    drop(client);
    let turns = node.now.monotonic_ns;
    node.until("a free slot", |node| node.reactor.open_count() == 0);
    let waited_ns = node.now.monotonic_ns - turns;
    assert!(waited_ns < 900_000_000, "the peer's end was not noticed: {waited_ns} ns");
}

#[test]
fn a_reset_is_the_end() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    // Closing with unread bytes makes the kernel reset the connection.
    client.send(&numbered(1, 10));
    node.until("the echo to lie there", |node| node.reactor.counters().sends == 2);
    drop(client);
    node.until("a free slot", |node| node.reactor.open_count() == 0);
    assert_eq!((node.opened_count, node.closed_count), (1, 1));
    assert_eq!(node.reactor.counters().closes[Reason::SocketError as usize], 1);
}

#[test]
fn refused_frames_are_answered_and_fatal_ones_close() {
    let mut node = Node::start(small());
    // What is answered later than its turn is lost with the connection.
    node.answer_turns = 0;
    let mut beside = node.binary_client();
    let mut client = node.client();
    client.send(b"{\"msg\":\"echo\"}\n{\"a\":1}\n{]\n{\"msg\":\"echo\"}\n");
    let refusal = |reason: Reason| {
        format!("{{\"msg\":\"error\",\"status\":400,\"error\":\"{}\"}}\n", reason.word())
    };
    // Refusals are answered while frames are decoded, before the shard has its turn.
    let (missing, malformed) = (refusal(Reason::MethodMissing), refusal(Reason::Malformed));
    let echoes = "{\"msg\":\"echo\"}\n{\"msg\":\"echo\"}\n";
    let expected = missing + &malformed + echoes;
    node.until("the answers", |_| client.poll().received.len() >= expected.len());
    assert_eq!(String::from_utf8_lossy(&client.received), expected);
    let mut fatal = node.binary_client();
    let too_long = u32::MAX.to_le_bytes();
    fatal.send(&[numbered(3, 5).as_slice(), &too_long, &[1]].concat());
    node.until("the end", |_| fatal.poll().ended.is_some());
    let answers = [notice("error", Reason::FrameTooLarge), numbered(3, 5)].concat();
    assert_eq!((&fatal.received, fatal.ended), (&answers, Some(End::Orderly)));
    let counters = node.reactor.counters();
    for (reason, refusals, closes) in
        [(Reason::MethodMissing, 1, 0), (Reason::Malformed, 1, 0), (Reason::FrameTooLarge, 1, 1)]
    {
        assert_eq!(counters.refusals[reason as usize], refusals, "{reason:?}");
        assert_eq!(counters.closes[reason as usize], closes, "{reason:?}");
    }
    beside.send(&numbered(9, 9));
    node.until("the neighbour's echo", |_| beside.poll().received == numbered(9, 9));
}

#[test]
fn unknown_protocols_are_told_in_one_line() {
    let mut node = Node::start(small());
    for bytes in [b"PUT / HTTP/1.1\r\n\r\n".as_slice(), b"\0\0\0\0", &[b'x'; 5000]] {
        let mut client = node.client();
        client.send(bytes);
        node.until("the end", |_| client.poll().ended.is_some());
        let line = b"{\"msg\":\"closed\",\"status\":400,\"error\":\"unknown-protocol\"}\n";
        assert_eq!(client.received, line);
        assert_eq!(client.ended, Some(End::Orderly));
    }
    assert_eq!((node.opened_count, node.closed_count), (0, 0));
    assert_eq!(node.reactor.counters().closes[Reason::UnknownProtocol as usize], 3);
    node.until("free slots", |node| node.reactor.open_count() == 0);
    assert_eq!(node.reactor.counters().connections_undetected, 0);
}

#[test]
fn a_slow_consumer_gets_whole_messages_and_the_reason() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 * 1024, ..small() });
    let mut beside = node.binary_client();
    let mut slow = node.binary_client();
    let piece = frame("burst", &[("count", Value::Integer(1000)), ("a", Value::Text(TEXT))]);
    node.until("the close", |node| {
        slow.send(&piece);
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    let queued = node.reactor.counters().send_queue_bytes;
    assert!(queued < 64 * 1024 + 1000, "{queued} bytes wait");
    node.until("the end", |_| slow.poll().ended.is_some());
    let told = notice("closed", Reason::SlowConsumer);
    let messages = slow.received.strip_suffix(told.as_slice()).expect("the reason comes last");
    assert!(messages.len() > 64 * 1024);
    assert_eq!(messages.len() % piece.len(), 0);
    assert!(messages.chunks(piece.len()).all(|chunk| chunk == piece));
    assert_eq!(node.closed_count, 1);
    beside.send(&numbered(9, 9));
    node.until("the neighbour's echo", |_| beside.poll().received == numbered(9, 9));
    drop((slow, beside));
    node.until("free slots", |node| node.reactor.open_count() == 0);
    assert_eq!(node.reactor.counters().send_queue_bytes, 0);
}

/// What a binary client hears that is closed because more would wait for it than this limit allows.
fn slow_notice(limit: &str) -> Vec<u8> {
    let reason = Reason::SlowConsumer;
    let status = Value::Integer(i64::from(reason.status()));
    let (error, limit) = (Value::Text(reason.word()), Value::Text(limit));
    frame("closed", &[("status", status), ("error", error), ("limit", limit)])
}

#[test]
fn little_waits_for_a_stranger() {
    let mut node =
        Node::start(ReactorSettings { unauthenticated_frame_bytes_max: 1024, ..small() });
    node.admits = false;
    let mut slow = node.binary_client();
    slow.send(&frame("burst", &[("count", Value::Integer(20_000)), ("a", Value::Text(TEXT))]));
    let mut queued_max = 0;
    node.until("the close", |node| {
        queued_max = queued_max.max(node.reactor.counters().send_queue_bytes);
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    queued_max = queued_max.max(node.reactor.counters().send_queue_bytes);
    assert!(queued_max < 6 * 1024 + 1000, "{queued_max} bytes wait");
    node.until("the end", |_| slow.poll().ended.is_some());
    let told = slow_notice("limits.unauthenticated_frame_bytes_max");
    assert!(slow.received.ends_with(&told), "the reason comes last");
}

#[test]
fn what_waits_for_all_is_bounded_and_whoever_would_add_to_it_is_closed() {
    const ALL_MAX: u64 = 1 << 20;
    let mut node = Node::start(ReactorSettings {
        send_queue_bytes_max: 64 << 20,
        send_queues_bytes_max: ALL_MAX as usize,
        ..small()
    });
    let (mut early, mut late) = (node.binary_client(), node.binary_client());
    let burst = frame("burst", &[("count", Value::Integer(100)), ("a", Value::Text(TEXT))]);
    let queued = |node: &Node| node.reactor.counters().send_queue_bytes;
    while queued(&node) < ALL_MAX - 100_000 {
        early.send(&burst);
        node.turns(4);
    }
    let mut queued_max = 0;
    node.until("the close", |node| {
        late.send(&burst);
        queued_max = queued_max.max(queued(node));
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    assert!(queued_max.max(queued(&node)) < ALL_MAX + 1000, "{queued_max} bytes wait");
    node.until("the end", |_| late.poll().ended.is_some());
    assert!(late.received.ends_with(&slow_notice("limits.send_queues_bytes_max")));
    // The other one keeps what it has, and gets all of it.
    node.until("all", |node| {
        let received = early.poll().received.len();
        queued(node) == 0 && received % burst.len() == 0
    });
    assert_eq!(early.ended, None);
    assert!(early.received.chunks(burst.len()).all(|chunk| chunk == burst));
}

#[test]
fn the_last_words_fit_however_full_the_queue_is() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 * 1024, ..small() });
    node.answer_turns = 0;
    let mut client = node.binary_client();
    let some = frame("burst", &[("count", Value::Integer(100)), ("a", Value::Text(TEXT))]);
    // What the kernel takes is full now.
    node.until("a queue", |node| {
        client.send(&some);
        node.reactor.counters().send_queue_bytes > 0
    });
    let many = frame("burst", &[("count", Value::Integer(999)), ("a", Value::Text(TEXT))]);
    client.send(&[many.as_slice(), &frame("close", &[])].concat());
    node.until("the close", |node| node.reactor.counters().closes[Reason::Displaced as usize] == 1);
    assert!(node.reactor.counters().send_queue_bytes > 60_000, "the queue was not full");
    node.until("the end", |_| client.poll().ended.is_some());
    let told = notice("closed", Reason::Displaced);
    let messages = client.received.strip_suffix(told.as_slice()).expect("the reason comes last");
    assert!(messages.chunks(many.len()).all(|chunk| chunk == some || chunk == many));
    let heard_count = messages.chunks(many.len()).filter(|chunk| *chunk == many).count();
    assert!(heard_count < 999, "there was room for all");
    assert_eq!(node.reactor.counters().closes.iter().sum::<u64>(), 1);
}

#[test]
fn a_message_that_has_begun_to_leave_is_finished() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 1024, ..small() });
    let mut slow = node.binary_client();
    let piece = numbered(1, 60_000);
    node.until("the close", |node| {
        slow.push();
        if slow.unsent.is_empty() {
            slow.send(&piece);
        }
        node.reactor.counters().closes[Reason::SlowConsumer as usize] == 1
    });
    node.until("the end", |_| slow.poll().ended.is_some());
    let told = notice("closed", Reason::SlowConsumer);
    let messages = slow.received.strip_suffix(told.as_slice()).expect("the reason comes last");
    assert_eq!(messages.len() % piece.len(), 0);
    assert!(messages.chunks(piece.len()).all(|chunk| chunk == piece));
}

#[test]
fn a_slow_consumer_that_reads_nothing_is_cut_off() {
    let mut node = Node::start(ReactorSettings { send_queue_bytes_max: 64 * 1024, ..small() });
    let mut slow = node.binary_client();
    let piece = frame("burst", &[("count", Value::Integer(1000)), ("a", Value::Text(TEXT))]);
    node.until("a free slot", |node| {
        if node.closed_count == 0 {
            slow.send(&piece);
        }
        node.closed_count == 1 && node.reactor.open_count() == 0
    });
    assert_eq!(node.reactor.counters().send_queue_bytes, 0);
    let mut next = node.binary_client();
    next.send(&numbered(1, 1));
    node.until("the echo", |_| next.poll().received == numbered(1, 1));
}

#[test]
fn draining_tells_everyone_and_accepts_no_more() {
    let mut node = Node::start(small());
    let mut clients: Vec<Client> = (0..5).map(|_| node.binary_client()).collect();
    let mut silent = node.client();
    node.until("all", |node| node.reactor.open_count() == 6);
    node.reactor.stop_accepting();
    node.reactor.close_all(Reason::Draining);
    for client in &mut clients {
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!(client.received, notice("closed", Reason::Draining));
    }
    node.until("the end", |_| silent.poll().ended.is_some());
    assert!(silent.received.starts_with(b"{\"msg\":\"closed\",\"status\":503"));
    drop((clients, silent));
    node.until("free slots", |node| node.reactor.open_count() == 0);
    assert_eq!((node.opened_count, node.closed_count), (5, 5));
    node.until("the port to be closed", |node| TcpStream::connect(node.address).is_err());
}
