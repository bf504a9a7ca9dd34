//! Connections that go from one reactor to another: two of them in one thread.

use super::*;
use crate::gateway::Protocol;
use crate::gateway::websocket::Opcode;

/// Two shards, each with its reactor, that hand connections to each other.
pub(super) struct Pair {
    pub(super) nodes: [Node; 2],
    /// Whether what departs is taken.
    carries: bool,
}

impl Pair {
    pub(super) fn start(settings: [ReactorSettings; 2]) -> Self {
        let mut nodes = settings.map(Node::start);
        for (number, node) in (0..).zip(&mut nodes) {
            node.shard = ShardId(number);
            node.answer_turns = 0;
        }
        Self { nodes, carries: true }
    }

    fn turn(&mut self) {
        for from in 0..2 {
            self.nodes[from].turn();
            let [one, two] = &mut self.nodes;
            let (from, to) = if from == 0 { (one, two) } else { (two, one) };
            from.reactor.take_departures(|shard, moved| {
                assert_eq!(shard, to.shard);
                if !self.carries || !to.reactor.takes_arrivals() {
                    return Err(moved);
                }
                to.reactor.arrive(moved);
                Ok(())
            });
        }
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if condition(self) {
                return;
            }
            self.turn();
        }
        let [one, two] = &self.nodes;
        panic!("never: {what}; {:?}; {:?}", one.reactor.counters(), two.reactor.counters());
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// A client of the binary protocol that the first node has heard.
    #[track_caller]
    pub(super) fn binary_client(&mut self) -> Client {
        let mut client = self.nodes[0].client();
        client.send(PREAMBLE);
        client.send(&frame("echo", &[]));
        self.until("the echo", |_| client.poll().received == frame("echo", &[]));
        client.received.clear();
        client
    }

    /// Both have no connection left, and have told their shards of each end.
    #[track_caller]
    pub(super) fn ends_empty(&mut self) {
        self.until("free slots", |pair| pair.nodes.iter().all(|node| node.is_empty()));
        for node in &self.nodes {
            assert_eq!(node.opened_count, node.closed_count);
            assert_eq!(node.reactor.held_count(), 0);
            let counters = node.reactor.counters();
            assert_eq!((counters.partial_frame_bytes, counters.send_queue_bytes), (0, 0));
            assert_eq!(counters.connections.iter().sum::<u64>(), 0);
            assert_eq!(node.moved_count, counters.connections_moved_in);
            assert!(node.accepted.is_empty());
        }
        let counts = self.nodes.iter().map(|node| node.address_count);
        assert_eq!(counts.sum::<i64>(), 0, "each counted once, whatever shards it was on");
    }

    fn moved(&self) -> [u64; 2] {
        [0, 1].map(|number| {
            let there = self.nodes[1 - number].reactor.counters().connections_moved_in;
            assert!(there <= self.nodes[number].reactor.counters().connections_moved_out);
            there
        })
    }

    pub(super) fn closes(&self, node: usize, reason: Reason) -> u64 {
        self.nodes[node].reactor.counters().closes[reason as usize]
    }
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        self.reactor.open_count() == 0 && self.open.is_empty()
    }
}

/// A message of the method, as a client of the protocol sends it and as it gets it back.
fn spoken(protocol: Protocol, method: &str, number: usize) -> (Vec<u8>, Vec<u8>) {
    let (request, reply) = match protocol {
        Protocol::ConnServerA => {
            (format!("msg={method}&n={number}~"), format!("msg={method}&n={number}~\0"))
        }
        Protocol::ConnServerB => {
            (format!("msg:{method},n:{number}~"), format!("msg:{method},n:{number}~\0"))
        }
        Protocol::ConnServerC => {
            let text = format!("msg:{method}\nn:{number}\n\0");
            (text.clone(), text)
        }
        Protocol::Json => {
            let text = format!("{{\"msg\":\"{method}\",\"n\":{number}}}\n");
            (text.clone(), text)
        }
        Protocol::Xml => {
            let text = format!("<msg method=\"{method}\" n=\"{number}\"/>\0");
            (text.clone(), text)
        }
        Protocol::Binary => {
            let bytes = frame(method, &[("n", Value::Integer(number as i64))]);
            return (bytes.clone(), bytes);
        }
        Protocol::WebSocketJson | Protocol::WebSocketBinary => {
            let packed = message::packed(method, &[("n", Value::Integer(number as i64))]);
            let request = websocket::said_in_fragments(protocol, &packed);
            return (request, websocket::sent(protocol, &packed));
        }
    };
    (request.into_bytes(), reply.into_bytes())
}

/// What a client says that goes to shard 1 after its first message, and what it gets.
pub(super) fn conversation(protocol: Protocol) -> (Vec<u8>, Vec<u8>) {
    let (mut said, mut heard) = match protocol {
        Protocol::Binary => (PREAMBLE.to_vec(), Vec::new()),
        _ if protocol.is_websocket() => websocket::upgrade_of(protocol),
        _ => (Vec::new(), Vec::new()),
    };
    for (number, method) in ["echo", "move-1", "echo", "echo"].into_iter().enumerate() {
        let (request, reply) = spoken(protocol, method, number);
        said.extend(request);
        heard.extend(reply);
    }
    (said, heard)
}

#[test]
fn no_byte_is_lost_wherever_the_stream_is_cut_in_every_protocol() {
    let mut pair = Pair::start([small(), small()]);
    for &protocol in Protocol::ALL {
        let (said, heard) = conversation(protocol);
        for at in 0..said.len() {
            let mut client = pair.nodes[0].client();
            let (first, second) = said.split_at(at);
            client.send(first);
            pair.turns(2);
            client.send(second);
            pair.until("all answers", |_| client.poll().received.len() >= heard.len());
            assert_eq!(client.received, heard, "{protocol:?} cut at {at}");
            let open = pair.nodes[1].reactor.counters().connections[protocol as usize];
            assert_eq!(open, 1, "{protocol:?}");
            drop(client);
            pair.ends_empty();
        }
    }
}

#[test]
fn bytes_that_come_at_any_time_of_the_move_arrive_once_and_in_order() {
    let mut pair = Pair::start([small(), small()]);
    for protocol in [Protocol::Binary, Protocol::Json, Protocol::WebSocketJson] {
        for settled_turns in 0..8 {
            let (said, mut heard) = conversation(protocol);
            let mut client = pair.nodes[0].client();
            client.send(&said);
            for number in 4..20 {
                pair.turns(usize::from(number == 4) * settled_turns);
                let (request, reply) = spoken(protocol, "echo", number);
                let (first, second) = request.split_at(number % request.len());
                client.send(first);
                pair.turn();
                client.send(second);
                heard.extend(reply);
            }
            pair.until("all answers", |_| client.poll().received.len() >= heard.len());
            assert_eq!(client.received, heard);
            drop(client);
            pair.ends_empty();
        }
    }
}

#[test]
fn a_client_that_has_closed_its_websocket_gets_its_answers_at_the_new_place() {
    for (payload, code) in [(&[][..], &[0x88, 0][..]), (&[0x0f, 0xa1], &[0x88, 2, 0x0f, 0xa1])] {
        let mut pair = Pair::start([small(), small()]);
        let (mut said, mut heard) = conversation(Protocol::WebSocketJson);
        said.extend(websocket::masked(Opcode::Close, payload));
        heard.extend(code);
        let mut client = pair.nodes[0].client();
        client.send(&said);
        pair.until("the end", |_| client.poll().ended.is_some());
        assert_eq!((client.received, client.ended), (heard, Some(End::Orderly)));
        pair.ends_empty();
        assert_eq!(pair.closes(1, Reason::PeerClosed), 1);
    }
}

#[test]
fn a_connection_goes_there_and_back() {
    let mut pair = Pair::start([small(), small()]);
    let mut client = pair.binary_client();
    let mut expected = Vec::new();
    for round in 0..8 {
        for method in ["move-1", "move-0"] {
            for piece in [frame(method, &[]), numbered(round, 3000)] {
                client.send(&piece);
                expected.extend(piece);
            }
        }
    }
    pair.until("all answers", |_| client.poll().received.len() >= expected.len());
    assert!(client.received == expected, "the bytes differ");
    assert_eq!(pair.moved(), [8, 8]);
    drop(client);
    pair.ends_empty();
}

#[test]
fn held_bytes_go_along() {
    let tight = || ReactorSettings {
        inputs_per_turn_max: 1,
        receive_buffers: 16,
        receive_buffer_bytes: 64,
        ..small()
    };
    let mut pair = Pair::start([tight(), tight()]);
    let mut clients: Vec<Client> = (0..4).map(|_| pair.binary_client()).collect();
    let mut expected = frame("move-1", &[]);
    for number in 0..60 {
        expected.extend(numbered(number, number * 7));
    }
    for client in &mut clients {
        client.send(&expected);
    }
    for client in &mut clients {
        pair.until("all answers", |_| client.poll().received.len() >= expected.len());
        assert!(client.received == expected, "the bytes differ");
    }
    // One turn takes a message, or as many as a buffer holds.
    assert!(pair.nodes[1].inputs_max <= 8, "{}", pair.nodes[1].inputs_max);
    drop(clients);
    pair.ends_empty();
}

#[test]
fn who_says_more_than_goes_along_stays_and_is_closed() {
    let roomy = || ReactorSettings { receive_buffers: 512, ..small() };
    let mut pair = Pair::start([roomy(), roomy()]);
    // A message has 1,030 bytes, and 64 KiB go along.
    for (count, goes) in [(50, true), (80, false)] {
        let mut client = pair.binary_client();
        let said = (0..count).map(|number| numbered(number, 1000));
        let said: Vec<u8> = std::iter::once(frame("move-1", &[])).chain(said).flatten().collect();
        // All of it is there when its shard looks again: it has had all before the move.
        let before = pair.nodes[0].reactor.counters().received_bytes;
        pair.nodes[0].accepting_input = false;
        client.send(&said);
        pair.until("every byte", |pair| {
            client.poll();
            pair.nodes[0].reactor.counters().received_bytes == before + said.len() as u64
        });
        pair.nodes[0].accepting_input = true;
        if goes {
            pair.until("all answers", |_| client.poll().received.len() >= said.len());
            assert!(client.received == said, "the bytes differ");
        } else {
            pair.until("the end", |_| client.poll().ended.is_some());
            assert_eq!(client.received, notice("closed", Reason::Busy));
        }
        drop(client);
        pair.ends_empty();
        assert_eq!(pair.moved(), [1, 0]);
    }
    assert_eq!(pair.closes(0, Reason::Busy), 1);
}

#[test]
fn a_shard_that_accepts_nothing_gets_what_came_along_later() {
    let mut pair = Pair::start([small(), small()]);
    let mut client = pair.binary_client();
    pair.nodes[1].accepting_input = false;
    let said = [frame("move-1", &[]), numbered(1, 100)].concat();
    client.send(&said);
    pair.until("the move", |pair| pair.nodes[1].opened_count == 1);
    let more = numbered(2, 100);
    client.send(&more);
    pair.turns(20);
    assert_eq!(pair.nodes[1].inputs_max, 0);
    pair.nodes[1].accepting_input = true;
    pair.until("all answers", |_| client.poll().received.len() >= said.len() + more.len());
    assert_eq!(client.received, [said, more].concat());
}

#[test]
fn output_leaves_before_its_connection() {
    let settings = || ReactorSettings { send_queue_bytes_max: 64 << 20, ..small() };
    let mut pair = Pair::start([settings(), settings()]);
    let mut client = pair.binary_client();
    let burst = frame("burst", &[("count", Value::Integer(20_000)), ("a", Value::Text(TEXT))]);
    let rest = [frame("move-1", &[]), numbered(1, 10)].concat();
    client.send(&[burst.as_slice(), &rest].concat());
    pair.until("a queue", |pair| pair.nodes[0].reactor.counters().send_queue_bytes > 0);
    pair.turns(10);
    assert_eq!(pair.moved(), [0, 0]);
    let whole = 20_000 * burst.len();
    pair.until("all answers", |_| client.poll().received.len() >= whole + rest.len());
    assert!(client.received[..whole].chunks(burst.len()).all(|chunk| chunk == burst));
    assert_eq!(client.received[whole..], rest);
    assert_eq!(pair.moved(), [1, 0]);
}

#[test]
fn output_that_nobody_takes_ends_a_move() {
    let settings = || ReactorSettings { send_queue_bytes_max: 64 << 20, ..small() };
    let mut pair = Pair::start([settings(), settings()]);
    let mut client = pair.binary_client();
    let burst = frame("burst", &[("count", Value::Integer(20_000)), ("a", Value::Text(TEXT))]);
    client.send(&[burst, frame("move-1", &[])].concat());
    pair.until("the end", |pair| pair.closes(0, Reason::SlowConsumer) == 1);
    pair.ends_empty();
    assert_eq!(pair.moved(), [0, 0]);
    pair.until("the end", |_| client.poll().ended.is_some());
}

#[test]
fn a_half_closed_peer_gets_its_answers_from_the_new_place() {
    for settled_turns in 0..6 {
        for protocol in [Protocol::Binary, Protocol::ConnServerC] {
            let mut pair = Pair::start([small(), small()]);
            let (said, heard) = conversation(protocol);
            let mut client = pair.nodes[0].client();
            client.send(&said);
            pair.turns(settled_turns);
            client.shut_down();
            pair.until("the end", |_| client.poll().ended.is_some());
            assert_eq!((&client.received, client.ended), (&heard, Some(End::Orderly)));
            pair.ends_empty();
            assert_eq!(pair.moved(), [1, 0]);
            assert_eq!(pair.closes(1, Reason::PeerClosed), 1);
            assert_eq!(pair.nodes[0].reactor.counters().closes.iter().sum::<u64>(), 0);
        }
    }
}

#[test]
fn a_peer_that_goes_on_the_way_leaves_nothing_behind() {
    for settled_turns in 0..8 {
        for resets in [false, true] {
            let mut pair = Pair::start([small(), small()]);
            let mut client = pair.binary_client();
            if resets {
                // Closing with unread bytes makes the kernel reset the connection.
                client.send(&numbered(1, 100));
                pair.turns(3);
            }
            client.send(&[frame("move-1", &[]), numbered(2, 100)].concat());
            pair.turns(settled_turns);
            drop(client);
            pair.ends_empty();
            let ends = [0, 1]
                .map(|node| -> u64 { pair.nodes[node].reactor.counters().closes.iter().sum() });
            assert_eq!(ends[0] + ends[1], 1, "{ends:?}");
        }
    }
}

#[test]
fn one_too_many_is_told_that_the_other_shard_is_full() {
    let few = ReactorSettings { connections_max: 3, ..small() };
    let mut pair = Pair::start([small(), few]);
    let mut residents: Vec<Client> = (0..3).map(|_| pair.nodes[1].binary_client()).collect();
    for _ in 0..3 {
        let mut movers: Vec<Client> = (0..5).map(|_| pair.binary_client()).collect();
        for client in &mut movers {
            client.send(&frame("move-1", &[]));
        }
        for client in &mut movers {
            pair.until("the end", |_| client.poll().ended.is_some());
            let told = (&client.received, client.ended);
            assert_eq!(told, (&notice("closed", Reason::Busy), Some(End::Orderly)));
        }
    }
    assert_eq!(pair.closes(1, Reason::Busy), 15);
    for client in &mut residents {
        client.send(&numbered(1, 1));
        pair.until("the echo", |_| client.poll().received == numbered(1, 1));
    }
    residents.pop();
    pair.until("a free slot", |pair| pair.nodes[1].reactor.open_count() == 2);
    let mut client = pair.binary_client();
    client.send(&frame("move-1", &[]));
    pair.until("the answer", |_| client.poll().received == frame("move-1", &[]));
    // Who connects now is one too many again.
    let mut surplus = pair.nodes[1].client();
    pair.until("the end", |_| surplus.poll().ended.is_some());
    assert!(surplus.received.starts_with(b"{\"msg\":\"closed\",\"status\":503"));
    drop((residents, client));
    pair.ends_empty();
}

#[test]
fn those_that_come_and_those_that_are_accepted_find_slots_of_their_own() {
    let mut pair = Pair::start([small(), small()]);
    let mut movers: Vec<Client> = (0..30).map(|_| pair.binary_client()).collect();
    let mut others = Vec::new();
    for (number, client) in movers.iter_mut().enumerate() {
        client.send(&[frame("move-1", &[]), numbered(number, 10)].concat());
        let mut other = pair.nodes[1].client();
        other.send(&[PREAMBLE.as_slice(), &numbered(number, 20)].concat());
        others.push(other);
        if number % 4 == 0 {
            pair.turn();
        }
    }
    for (number, (mover, other)) in movers.iter_mut().zip(&mut others).enumerate() {
        let expected = [frame("move-1", &[]), numbered(number, 10)].concat();
        pair.until("the answers", |_| mover.poll().received == expected);
        pair.until("the answer", |_| other.poll().received == numbered(number, 20));
    }
    assert_eq!(pair.nodes[1].reactor.open_count(), 60);
    drop((movers, others));
    pair.ends_empty();
}

#[test]
fn a_draining_shard_gives_nobody_away_and_tells_who_comes() {
    let mut pair = Pair::start([small(), small()]);
    let (mut staying, mut going) = (pair.binary_client(), pair.binary_client());
    pair.carries = false;
    going.send(&frame("move-1", &[]));
    pair.until("the departure", |pair| pair.nodes[0].reactor.has_departures());
    pair.nodes[0].reactor.stop_accepting();
    staying.send(&frame("move-1", &[]));
    pair.until("the end", |_| staying.poll().ended.is_some());
    assert_eq!(staying.received, notice("closed", Reason::Draining));
    pair.nodes[1].reactor.stop_accepting();
    pair.carries = true;
    pair.until("the end", |_| going.poll().ended.is_some());
    assert_eq!(going.received, notice("closed", Reason::Draining));
    pair.ends_empty();
    assert_eq!((pair.closes(0, Reason::Draining), pair.closes(1, Reason::Draining)), (1, 1));
}

#[test]
fn who_waits_for_a_full_ring_is_still_counted() {
    let mut pair = Pair::start([ReactorSettings { connections_max: 2, ..small() }, small()]);
    let mut waiting: Vec<Client> = (0..2).map(|_| pair.binary_client()).collect();
    pair.carries = false;
    for client in &mut waiting {
        client.send(&frame("move-1", &[]));
    }
    pair.until("both departures", |pair| pair.nodes[0].closed_count == 2);
    assert_eq!(pair.nodes[0].reactor.open_count(), 2);
    let mut surplus = pair.nodes[0].client();
    pair.until("the end", |_| surplus.poll().ended.is_some());
    assert_eq!(pair.closes(0, Reason::Busy), 1);
    drop(surplus);
    pair.carries = true;
    for client in &mut waiting {
        pair.until("the answer", |_| client.poll().received == frame("move-1", &[]));
    }
    let mut next = pair.nodes[0].client();
    next.send(&[PREAMBLE.as_slice(), &numbered(1, 1)].concat());
    pair.until("the answer", |_| next.poll().received == numbered(1, 1));
}

#[test]
fn a_reactor_that_ends_closes_those_on_their_way() {
    let mut pair = Pair::start([small(), small()]);
    let mut client = pair.binary_client();
    pair.carries = false;
    client.send(&frame("move-1", &[]));
    pair.until("the departure", |pair| pair.nodes[0].reactor.has_departures());
    drop(pair);
    client.stream.set_nonblocking(false).unwrap();
    assert_eq!(client.stream.read(&mut [0; 16]).unwrap(), 0);
}
