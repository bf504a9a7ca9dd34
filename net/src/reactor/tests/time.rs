//! Heartbeats, silence, waiting and waking.

use super::*;

/// Lets time go by in the node, in steps of `step_ms`.
pub(super) fn pass(node: &mut Node, milliseconds: u64, step_ms: u64) {
    for _ in 0..milliseconds / step_ms {
        node.now.monotonic_ns += (step_ms - 1) * 1_000_000;
        node.turn();
    }
}

#[test]
fn text_clients_get_a_heartbeat_every_ten_seconds() {
    let mut node = Node::start(small());
    let mut clients = Vec::new();
    for (request, echo, pong) in [
        ("msg=echo~", "msg=echo~\0", "msg=pong&status=0~\0"),
        ("msg:echo\n\0", "msg:echo\n\0", "msg:pong\nstatus:0\n\0"),
        ("{\"msg\":\"echo\"}\n", "{\"msg\":\"echo\"}\n", "{\"msg\":\"pong\",\"status\":0}\n"),
    ] {
        let mut client = node.client();
        client.send(request.as_bytes());
        node.until("the echo", |_| client.poll().received == echo.as_bytes());
        client.received.clear();
        clients.push((client, pong));
    }
    pass(&mut node, 9_000, 100);
    for (client, _) in &mut clients {
        assert!(client.poll().received.is_empty());
    }
    for count in 1..4 {
        pass(&mut node, 1_400, 100);
        for (client, pong) in &mut clients {
            let expected = pong.repeat(count);
            node.until("the heartbeat", |_| client.poll().received == expected.as_bytes());
        }
        pass(&mut node, 8_600, 100);
    }
}

#[test]
fn heartbeats_are_as_far_apart_as_the_settings_say() {
    let mut node = Node::start(ReactorSettings { heartbeat_ms: 3_000, ..small() });
    let mut client = node.client();
    client.send(b"msg=echo~");
    node.until("the echo", |_| client.poll().received == b"msg=echo~\0");
    client.received.clear();
    pass(&mut node, 2_500, 100);
    assert!(client.poll().received.is_empty());
    pass(&mut node, 1_000, 100);
    node.until("the heartbeat", |_| client.poll().received == b"msg=pong&status=0~\0");
}

#[test]
fn a_heartbeat_is_encoded_once_for_all() {
    let mut node = Node::start(small());
    let mut clients: Vec<Client> = (0..20).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send(b"{\"msg\":\"echo\"}\n");
    }
    for client in &mut clients {
        node.until("the echo", |_| client.poll().received == b"{\"msg\":\"echo\"}\n");
    }
    let before = node.reactor.counters().clone();
    pass(&mut node, 10_500, 100);
    let after = node.reactor.counters();
    assert_eq!(after.sends - before.sends, 20);
    let encoded = after.messages_encoded - before.messages_encoded;
    assert!(encoded <= 2, "{encoded} encodings");
}

#[test]
fn a_binary_client_is_closed_after_two_silent_heartbeats() {
    let mut node = Node::start(ReactorSettings { frame_ms: 600_000, ..small() });
    let (mut silent, mut talker) = (node.binary_client(), node.binary_client());
    pass(&mut node, 19_000, 100);
    // A part of a frame is a sign of life, too.
    talker.send(&numbered(1, 1)[..1]);
    pass(&mut node, 1_500, 100);
    node.until("the end", |_| silent.poll().ended.is_some());
    assert_eq!(silent.received, notice("closed", Reason::Timeout));
    assert_eq!((node.closed_count, talker.poll().ended), (1, None));
    pass(&mut node, 19_000, 100);
    node.until("the end", |_| talker.poll().ended.is_some());
    assert_eq!(node.reactor.counters().closes[Reason::Timeout as usize], 2);
}

#[test]
fn heartbeats_missed_in_a_long_sleep_are_not_made_up_for() {
    let mut node = Node::start(small());
    let mut client = node.client();
    client.send(b"{\"msg\":\"echo\"}\n");
    node.until("the echo", |_| client.poll().received == b"{\"msg\":\"echo\"}\n");
    client.received.clear();
    node.now.monotonic_ns += 3_600_000_000_000;
    node.turns(50);
    assert_eq!(client.poll().received, b"{\"msg\":\"pong\",\"status\":0}\n");
    pass(&mut node, 10_100, 100);
    let pongs = b"{\"msg\":\"pong\",\"status\":0}\n".repeat(2);
    node.until("the next", |_| client.poll().received == pongs);
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let mut node = Node::start(small());
    for _ in 0..3 {
        let handle = node.reactor.wake_handle();
        let waker = std::thread::Builder::new().spawn(move || handle.wake()).unwrap();
        let completions = node.reactor.counters().completions;
        // For ever, but for the wake.
        node.reactor.wait(node.now.monotonic_ns, None);
        assert!(node.reactor.counters().completions > completions);
        waker.join().unwrap();
        node.turn();
    }
}

#[test]
fn work_counts_towards_the_interval_of_turns() {
    const INTERVAL_NS: u64 = 60_000_000_000;
    let mut settings = small();
    settings.turn_interval_us = INTERVAL_NS / 1_000;
    let mut node = Node::start(settings);
    node.turn();
    let handle = node.reactor.wake_handle();
    let (back, is_back) = std::sync::mpsc::channel();
    let waker = std::thread::Builder::new().spawn(move || {
        handle.wake();
        is_back.recv_timeout(std::time::Duration::from_secs(20)).is_ok()
    });
    // The turn has lasted its interval: the wake is not gathered for another.
    let worked_until_ns = node.now.monotonic_ns + INTERVAL_NS;
    node.reactor.wait(worked_until_ns, Some(worked_until_ns + 2 * INTERVAL_NS));
    // Nobody hears it if that took too long.
    let _ = back.send(());
    assert!(waker.unwrap().join().unwrap());
}

#[test]
fn one_reactor_wakes_another() {
    let mut sleeper = Node::start(small());
    let mut waker = Node::start(small());
    for _ in 0..3 {
        waker.reactor.wake_peer(sleeper.reactor.ring_fd());
        waker.turn();
        let completions = sleeper.reactor.counters().completions;
        sleeper.reactor.wait(sleeper.now.monotonic_ns, None);
        assert!(sleeper.reactor.counters().completions > completions);
        sleeper.turn();
    }
    // A peer that is gone is no fault.
    let gone = sleeper.reactor.ring_fd();
    drop(sleeper);
    waker.reactor.wake_peer(gone);
    waker.turns(3);
}

#[test]
fn a_node_without_work_makes_no_system_call_but_its_wait() {
    let mut node = Node::start(small());
    let _client = node.binary_client();
    node.turns(3);
    let enters = node.reactor.counters().enters;
    node.turns(20);
    assert_eq!(node.reactor.counters().enters - enters, 20);
}

#[test]
fn of_those_who_are_late_together_a_few_are_closed_in_a_turn() {
    let mut node = Node::start(ReactorSettings { login_ms: 1000, ..small() });
    node.admits = false;
    let mut clients: Vec<_> = (0..40).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send(b"{");
    }
    let late = |node: &Node| node.reactor.counters().closes[Reason::LoginTimeout as usize];
    node.until("all of them", |node| node.reactor.counters().connections_undetected == 40);
    let (mut before, mut turns) = (0, 0_u64);
    while before < 40 {
        node.turn();
        let closed = late(&node) - before;
        assert!(closed <= 8, "{closed} in a turn");
        turns += u64::from(closed > 0);
        before += closed;
    }
    assert!(turns >= 5, "{turns}");
}
