//! Too many messages, too many bytes, and what a slow client goes without.

use warren_core::rate::Rate;

use super::hand_over::Pair;
use super::time::pass;
use super::*;

fn rates(messages: (u64, u64), bytes: (u64, u64), refusals_max: u32) -> ReactorSettings {
    let rate = |(per_s, burst)| Rate { per_s, burst };
    let rates = RateLimits { messages: rate(messages), bytes: rate(bytes), refusals_max };
    ReactorSettings { rates, ..small() }
}

fn json_echo(id: usize) -> String {
    format!("{{\"msg\":\"echo\",\"id\":{id}}}\n")
}

fn json_refusal(id: usize) -> String {
    format!("{{\"msg\":\"echo\",\"id\":{id},\"status\":429,\"error\":\"message-rate\"}}\n")
}

#[test]
fn a_message_over_the_rate_is_refused_and_the_next_in_time_is_run() {
    let mut node = Node::start(rates((10, 5), (0, 0), 100));
    let mut client = node.client();
    client.send((0..8).map(json_echo).collect::<String>().as_bytes());
    let expected: String = (5..8).map(json_refusal).chain((0..5).map(json_echo)).collect();
    node.until("the answers", |_| client.poll().received.len() >= expected.len());
    assert_eq!(String::from_utf8_lossy(&client.received), expected);
    client.received.clear();
    pass(&mut node, 100, 10);
    client.send((8..10).map(json_echo).collect::<String>().as_bytes());
    let expected: String = [json_refusal(9), json_echo(8)].concat();
    node.until("the answers", |_| client.poll().received.len() >= expected.len());
    assert_eq!(String::from_utf8_lossy(&client.received), expected);
    assert_eq!(node.refused_count, 4);
    assert_eq!(client.ended, None);
}

#[test]
fn whoever_goes_on_over_the_rate_is_closed_and_the_neighbour_notices_nothing() {
    let mut node = Node::start(rates((10, 5), (0, 0), 20));
    let mut neighbour = node.binary_client();
    let mut flooder = node.client();
    flooder.send((0..100).map(json_echo).collect::<String>().as_bytes());
    node.until("the end", |_| flooder.poll().ended.is_some());
    // The end comes behind the answers, which are the shard's.
    let expected = (5..25).map(json_refusal).collect::<String>()
        + "{\"msg\":\"closed\",\"status\":429,\"error\":\"message-rate\",\
           \"limit\":\"limits.messages_per_s\"}\n";
    assert_eq!(String::from_utf8_lossy(&flooder.received), expected);
    assert_eq!(node.reactor.counters().closes[Reason::MessageRate as usize], 1);
    assert_eq!(node.refused_count, 20);
    neighbour.send(&numbered(1, 1));
    node.until("the echo", |_| neighbour.poll().received == numbered(1, 1));
}

#[test]
fn a_worker_has_rates_of_its_own_from_its_login_on() {
    let workers = |messages, bytes| ReactorSettings {
        worker_rates: RateLimits::of_workers(messages, bytes, 100),
        ..rates((1, 1), (1, 1), 100)
    };
    let lines = |ids: core::ops::Range<usize>| ids.map(json_echo).collect::<String>();
    let mut node = Node::start(workers(8, 1 << 20));
    node.admits_workers = true;
    // Its first message lets it in. What came by then counts for it no more.
    let mut worker = node.client();
    worker.send(lines(0..1).as_bytes());
    node.until("the answer", |_| worker.poll().received == lines(0..1).as_bytes());
    worker.received.clear();
    worker.send(lines(1..11).as_bytes());
    let expected = [(9..11).map(json_refusal).collect::<String>(), lines(1..9)].concat();
    node.until("the answers", |_| worker.poll().received.len() >= expected.len());
    assert_eq!(String::from_utf8_lossy(&worker.received), expected);
    worker.send(lines(11..200).as_bytes());
    node.until("the end", |_| worker.poll().ended.is_some());
    let heard = String::from_utf8_lossy(&worker.received);
    assert!(heard.ends_with("\"limit\":\"limits.worker_messages_per_s\"}\n"), "{heard}");
    // A user has those of users.
    node.admits_workers = false;
    let mut user = node.client();
    user.send(lines(0..1).as_bytes());
    node.until("the answer", |_| user.poll().received == lines(0..1).as_bytes());
    user.received.clear();
    user.send(lines(1..2).as_bytes());
    pass(&mut node, 20, 10);
    assert_eq!(user.poll().received, b"", "the bytes wait for their time");
    // Bytes wait for a worker too.
    let mut node = Node::start(workers(1000, 512));
    node.admits_workers = true;
    let mut worker = node.client();
    worker.send(lines(0..1).as_bytes());
    node.until("the answer", |_| worker.poll().received == lines(0..1).as_bytes());
    worker.received.clear();
    worker.send(lines(1..100).as_bytes());
    node.until("a pause", |node| node.reactor.counters().connections_paused > 0);
    assert!(node.reactor.counters().receive_pauses > 0);
}

#[test]
fn a_refused_message_goes_along_to_another_shard_and_is_answered_there() {
    let mut pair = Pair::start([rates((10, 3), (0, 0), 20), rates((10, 3), (0, 0), 20)]);
    let mut client = pair.nodes[0].client();
    let moves = "{\"msg\":\"move-1\"}\n".to_owned();
    let said = [json_echo(0), moves.clone(), json_echo(1), json_echo(2), json_echo(3)].concat();
    client.send(said.as_bytes());
    let heard = [json_echo(0), moves, json_echo(1), json_refusal(2), json_refusal(3)].concat();
    pair.until("the answers", |_| client.poll().received.len() >= heard.len());
    assert_eq!(String::from_utf8_lossy(&client.received), heard);
    assert_eq!(pair.nodes.map(|node| node.refused_count), [0, 2]);
}

#[test]
fn who_goes_to_another_shard_takes_its_refusals_along() {
    let mut pair = Pair::start([rates((10, 3), (0, 0), 5), rates((10, 3), (0, 0), 5)]);
    let mut client = pair.nodes[0].client();
    client.send((0..7).map(json_echo).collect::<String>().as_bytes());
    pair.until("refusals", |pair| pair.nodes[0].refused_count == 4);
    pass(&mut pair.nodes[0], 100, 100);
    // This is one less.
    client.send(b"{\"msg\":\"move-1\"}\n");
    pair.until("the move", |pair| pair.nodes[1].opened_count == 1);
    client.send((7..9).map(json_echo).collect::<String>().as_bytes());
    pair.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(pair.closes(1, Reason::MessageRate), 1);
}

#[test]
fn whoever_is_refused_now_and_then_stays() {
    let mut node = Node::start(rates((10, 5), (0, 0), 4));
    let mut client = node.client();
    // Every second one is too many, for ever.
    for round in 0..40 {
        client.send(json_echo(round).as_bytes());
        pass(&mut node, 50, 10);
    }
    assert_eq!(client.poll().ended, None);
    let refusals = node.refused_count;
    assert!((10..25).contains(&refusals), "{refusals}");
}

#[test]
fn a_frame_that_is_no_message_counts_as_several() {
    let mut node = Node::start(rates((10, 20), (0, 0), 20));
    let mut client = node.client();
    client.send(json_echo(0).as_bytes());
    node.until("the echo", |_| client.poll().received == json_echo(0).as_bytes());
    client.received.clear();
    client.send(&b"{\"a\":1}\n".repeat(100));
    node.until("the end", |_| client.poll().ended.is_some());
    let answers = String::from_utf8_lossy(&client.received).into_owned();
    assert!(answers.ends_with("\"limits.messages_per_s\"}\n"), "{answers}");
    let refused = node.reactor.counters().refusals[Reason::MethodMissing as usize];
    assert!(refused < 30, "{refused}");
}

#[test]
fn too_many_bytes_wait_with_their_sender_and_none_is_lost() {
    let mut node = Node::start(rates((0, 0), (100_000, 10_000), 20));
    let mut neighbour = node.binary_client();
    let mut client = node.binary_client();
    let frames: Vec<u8> = (0..60).flat_map(|number| numbered(number, 1000)).collect();
    client.send(&frames);
    node.until("the pause", |node| node.reactor.counters().connections_paused == 1);
    node.turns(20);
    // Nothing of it is held.
    assert_eq!(node.reactor.held_count(), 0);
    neighbour.send(&numbered(1, 1));
    node.until("the echo", |_| neighbour.poll().received == numbered(1, 1));
    let start_ns = node.now.monotonic_ns;
    node.until("the echoes", |_| client.poll().received.len() >= frames.len());
    assert_eq!(client.received, frames);
    // At once came the burst and what the kernel had handed over before it was told to stop.
    let elapsed_ms = (node.now.monotonic_ns - start_ns) / 1_000_000;
    assert!(node.reactor.counters().receive_pauses >= 1);
    client.received.clear();
    client.send(&numbered(1, 1));
    node.until("the echo", |_| client.poll().received == numbered(1, 1));
    let counters = node.reactor.counters();
    let allowed = 10_000 + 100 * elapsed_ms + 64 * 1024;
    assert!(
        counters.received_bytes <= allowed + 10_000,
        "{} in {elapsed_ms} ms",
        counters.received_bytes
    );
    node.until("no pause", |node| node.reactor.counters().connections_paused == 0);
    assert_eq!(client.ended, None);
}

#[test]
fn a_stranger_who_dribbles_a_frame_is_heard_more_and_more_seldom_and_loses_nothing() {
    let mut node = Node::start(ReactorSettings { login_ms: 10_000, ..small() });
    node.admits = false;
    let mut client = node.client();
    let said = json_echo(1);
    // One byte every half second: from the third piece on they are left in the socket, for 64 ms, for a
    // second, and then until a second before the login is due.
    let (beginning, rest) = said.split_at(said.len() - 7);
    client.send(beginning.as_bytes());
    for byte in &rest.as_bytes()[..6] {
        pass(&mut node, 500, 10);
        client.send(&[*byte]);
    }
    pass(&mut node, 5_000, 10);
    assert_eq!(node.reactor.counters().receives, 5);
    assert_eq!(node.reactor.counters().connections_paused, 1);
    client.send(b"\n");
    pass(&mut node, 1_500, 10);
    assert_eq!(client.poll().received, said.as_bytes());
    let counters = node.reactor.counters();
    assert_eq!((counters.receives, counters.receive_pauses), (6, 3));
    assert_eq!(counters.connections_paused, 0);
}

#[test]
fn a_stranger_is_heard_at_once_again_when_a_frame_is_whole() {
    let mut node = Node::start(small());
    node.admits = false;
    let mut client = node.client();
    let said = json_echo(1).repeat(2);
    // Both frames in two pieces each, with the cut in the middle of the second.
    for piece in said.as_bytes().chunks(10) {
        client.send(piece);
        node.turns(3);
    }
    node.until("the echoes", |_| client.poll().received == said.as_bytes());
    assert_eq!(node.reactor.counters().receive_pauses, 0);
}

#[test]
fn who_has_logged_in_is_heard_in_however_many_pieces() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    client.send(&numbered(1, 1));
    node.until("the echo", |_| client.poll().received == numbered(1, 1));
    client.received.clear();
    for byte in numbered(2, 40) {
        client.send(&[byte]);
        node.turns(2);
    }
    node.until("the echo", |_| client.poll().received == numbered(2, 40));
    assert_eq!(node.reactor.counters().receive_pauses, 0);
}

#[test]
fn a_silent_binary_client_that_pauses_is_not_taken_for_gone() {
    let mut node = Node::start(rates((0, 0), (100, 1000), 20));
    let mut client = node.binary_client();
    client.send(&numbered(1, 4000));
    node.until("the pause", |node| node.reactor.counters().connections_paused == 1);
    pass(&mut node, 25_000, 100);
    assert_eq!(client.poll().ended, None);
}

#[test]
fn garbage_over_the_byte_rate_closes() {
    let mut node = Node::start(rates((0, 0), (1000, 2000), 20));
    let mut client = node.client();
    client.send(json_echo(0).as_bytes());
    node.until("the echo", |_| client.poll().received == json_echo(0).as_bytes());
    client.send(&b"{\"a\":1}\n".repeat(2000));
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(node.reactor.counters().closes[Reason::ByteRate as usize], 1);
    assert_eq!(node.reactor.counters().connections_paused, 0);
    let answers = String::from_utf8_lossy(&client.received).into_owned();
    assert!(
        answers.contains("\"error\":\"byte-rate\",\"limit\":\"limits.bytes_per_s\""),
        "{answers}"
    );
}

#[test]
fn a_slow_client_goes_without_heartbeats_before_it_is_closed() {
    let settings = ReactorSettings { send_queue_bytes_max: 8 << 20, ..small() };
    let mut node = Node::start(settings);
    let mut slow = node.client();
    slow.send(b"{\"msg\":\"echo\"}\n");
    node.until("the echo", |_| slow.poll().received == b"{\"msg\":\"echo\"}\n");
    let queue_bytes = |node: &Node| node.reactor.counters().send_queue_bytes;
    // It reads nothing; the sockets' buffers fill first, and then the queue.
    while queue_bytes(&node) <= 4 << 20 {
        slow.send(b"{\"msg\":\"flood\",\"count\":4}\n");
        node.turns(10);
    }
    let full = queue_bytes(&node);
    pass(&mut node, 31_000, 100);
    assert_eq!(queue_bytes(&node), full, "no heartbeat is queued");
    assert_eq!(node.reactor.counters().droppable_dropped, 3);
    // What is reliable is still taken.
    slow.send(b"{\"msg\":\"echo\",\"id\":7}\n");
    node.until("the echo", |node| queue_bytes(node) > full);
    node.until("all", |_| slow.poll().received.ends_with(b"{\"msg\":\"echo\",\"id\":7}\n"));
    pass(&mut node, 10_500, 100);
    node.until("a heartbeat", |_| slow.poll().received.ends_with(b"\"pong\",\"status\":0}\n"));
}
