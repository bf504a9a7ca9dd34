//! The reactor with real sockets. A node is a reactor with a tiny shard that answers; clients are
//! plain non-blocking sockets in the same thread. Time is a number that grows by a turn.

mod admission;
mod bans;
mod closing;
mod crowd;
mod frames;
mod hand_over;
mod limits;
mod load;
mod proxied;
mod rates;
mod streams;
mod time;
mod tls;
mod websocket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use warren_core::ids::{ConnectionId, ShardId};
use warren_core::message::{self, Message, Value};
use warren_core::peer::PeerAddress;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs, Span};

use super::{RateLimits, Reactor, ReactorSettings};
use crate::gateway::binary::{PREAMBLE, encode_request};
use crate::io::listener::Listener;

const TURN_NS: u64 = 1_000_000;
/// Text of the messages of a `flood`.
const LONG_TEXT_BYTES: usize = 60_000;
/// Turns after which a condition is taken for one that never comes.
const TURNS_MAX: usize = 20_000;

/// Some text.
const TEXT: &str = "0123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789";

/// Turns between a message and its answer: as when another shard has a part in it.
const ANSWER_TURNS: u64 = 2;

/// A reactor with a shard that sends every message back, some turns later. The method `all` goes to
/// everyone, `close` closes its connection with a reason, `quit` without, `burst` is answered by as
/// many messages as its field `count` says, and `flood` by as many long ones for everyone. `never`
/// is not answered, and a client that has ended is not closed while an answer is missing. `move-1`
/// goes to shard 1 with its connection and all that this says from then on.
struct Node {
    shard: ShardId,
    reactor: Reactor,
    address: SocketAddr,
    now: Now,
    accepting_input: bool,
    /// Clients are logged in as soon as they speak.
    admits: bool,
    /// Whether those it lets in are workers.
    admits_workers: bool,
    answer_turns: u64,
    turn_count: u64,
    /// Messages that are not answered yet, with the turn in which they will be.
    requests: VecDeque<(u64, ConnectionId, Vec<u8>)>,
    unanswered: BTreeMap<(u32, u32), usize>,
    ended: BTreeSet<(u32, u32)>,
    moving: BTreeMap<(u32, u32), ShardId>,
    inputs: ShardInputs,
    outputs: ShardOutputs,
    open: BTreeSet<(u32, u32)>,
    /// Connections whose address is known, and which.
    accepted: BTreeMap<(u32, u32), PeerAddress>,
    /// Connections that came, less those that went: what this node adds to the count of an address.
    address_count: i64,
    /// Whether every connection is one too many of its address.
    refuses: bool,
    opened_count: usize,
    /// Those among them that came from another shard.
    moved_count: u64,
    closed_count: usize,
    /// Messages that were not to be run.
    refused_count: usize,
    /// Most messages of a turn.
    inputs_max: usize,
    /// Moves in the fixed layout.
    moves: Vec<Vec<u8>>,
    /// Connections that took no frames any more, or took them again, in order.
    frame_news: Vec<(ConnectionId, bool)>,
}

fn small() -> ReactorSettings {
    ReactorSettings {
        connections_max: 64,
        receive_buffers: 64,
        receive_buffer_bytes: 1024,
        submission_entries: 64,
        completion_entries: 256,
        rates: RateLimits::UNLIMITED,
        ..ReactorSettings::default()
    }
}

impl Node {
    fn start(settings: ReactorSettings) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr();
        Self {
            shard: ShardId(0),
            reactor: Reactor::new(settings, listener).unwrap(),
            address,
            // Far from zero, as on a machine that has been up for a while.
            now: Now { monotonic_ns: 1_000_000_000_000_000, wall_ms: 0 },
            accepting_input: true,
            admits: true,
            admits_workers: false,
            answer_turns: ANSWER_TURNS,
            turn_count: 0,
            requests: VecDeque::new(),
            unanswered: BTreeMap::new(),
            ended: BTreeSet::new(),
            moving: BTreeMap::new(),
            inputs: ShardInputs::default(),
            outputs: ShardOutputs::new(1),
            open: BTreeSet::new(),
            accepted: BTreeMap::new(),
            address_count: 0,
            refuses: false,
            opened_count: 0,
            moved_count: 0,
            closed_count: 0,
            refused_count: 0,
            inputs_max: 0,
            moves: Vec::new(),
            frame_news: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.now.monotonic_ns += TURN_NS;
        self.turn_count += 1;
        self.reactor.receive(self.now, self.accepting_input, &mut self.inputs);
        self.take_inputs();
        self.answer();
        self.reactor.send(self.now, &self.outputs);
        self.inputs.clear();
        self.outputs.clear();
        let deadline_ns = self.now.monotonic_ns + TURN_NS;
        self.reactor.wait(self.now.monotonic_ns, Some(deadline_ns));
    }

    /// Turns until the condition holds.
    #[track_caller]
    fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if condition(self) {
                return;
            }
            self.turn();
        }
        panic!("never: {what}; {:?}", self.reactor.counters());
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    fn take_inputs(&mut self) {
        let messages = |input: &&ShardInput| {
            matches!(input, ShardInput::Message { .. } | ShardInput::Refused { .. })
        };
        let count = self.inputs.list.iter().filter(messages).count();
        self.inputs_max = self.inputs_max.max(count);
        for input in std::mem::take(&mut self.inputs.list) {
            match input {
                ShardInput::Accepted { connection, peer, has_moved } => {
                    let earlier = self.accepted.insert(key(connection), peer);
                    assert_eq!(earlier, None, "accepted once: {connection:?}");
                    self.address_count += i64::from(!has_moved);
                    if self.refuses {
                        let reason = Reason::TooManyConnections;
                        self.outputs.list.push(ShardOutput::Close { connection, reason });
                    }
                }
                ShardInput::Departed { connection, has_moved } => {
                    let known = self.accepted.remove(&key(connection));
                    assert!(
                        known.is_some(),
                        "departed once, after it was accepted: {connection:?}"
                    );
                    assert!(!self.open.contains(&key(connection)), "departed after its end");
                    self.address_count -= i64::from(!has_moved);
                }
                ShardInput::Lost { .. } => self.address_count -= 1,
                ShardInput::Opened { connection, traits } => {
                    self.opened_count += 1;
                    self.moved_count += u64::from(traits.has_moved);
                    assert!(self.accepted.contains_key(&key(connection)), "accepted before");
                    let new = self.open.insert(key(connection));
                    assert!(new, "opened once: {connection:?}");
                    if self.admits {
                        let is_worker = self.admits_workers;
                        self.outputs.list.push(ShardOutput::Admit { connection, is_worker });
                    }
                }
                ShardInput::Message { connection, message } => {
                    let speaks = self.open.contains(&key(connection))
                        && !self.ended.contains(&key(connection));
                    assert!(speaks, "a message of no open connection: {connection:?}");
                    let message = message.of(&self.inputs.bytes).to_vec();
                    if self.moves_away(connection, &message, None) {
                        continue;
                    }
                    let due = self.turn_count + self.answer_turns;
                    self.requests.push_back((due, connection, message));
                    *self.unanswered.entry(key(connection)).or_default() += 1;
                    self.answer();
                }
                ShardInput::Refused { connection, message, reason } => {
                    assert!(self.open.contains(&key(connection)), "refused while open");
                    let message = message.of(&self.inputs.bytes).to_vec();
                    if !self.moves_away(connection, &message, Some(reason)) {
                        self.refuse(connection, &message, reason);
                    }
                }
                ShardInput::Move { connection, motion } => {
                    assert!(self.open.contains(&key(connection)), "moved while open");
                    self.moves.push(motion.of(&self.inputs.bytes).to_vec());
                }
                ShardInput::FramesStalled { connection } => {
                    self.frame_news.push((connection, false));
                }
                ShardInput::FramesFlow { connection } => self.frame_news.push((connection, true)),
                ShardInput::Ended { connection } => {
                    assert!(self.open.contains(&key(connection)), "ended while open");
                    assert!(self.ended.insert(key(connection)), "ended once: {connection:?}");
                    if self.moving.contains_key(&key(connection)) {
                        continue;
                    }
                    self.close_if_answered(connection);
                }
                ShardInput::Banned { connection } => {
                    assert!(self.open.contains(&key(connection)), "banned while open");
                    let reason = Reason::Banned;
                    self.outputs.list.push(ShardOutput::Close { connection, reason });
                }
                ShardInput::Closed { connection } => {
                    self.closed_count += 1;
                    let known = self.open.remove(&key(connection));
                    assert!(known, "closed once, after it was opened: {connection:?}");
                    self.ended.remove(&key(connection));
                    self.unanswered.remove(&key(connection));
                    self.moving.remove(&key(connection));
                }
            }
        }
    }

    /// Gives the message away, if its connection moves or it says so.
    fn moves_away(
        &mut self,
        connection: ConnectionId,
        message: &[u8],
        refused: Option<Reason>,
    ) -> bool {
        let method = Message::from_checked(message).method();
        let named = method.strip_prefix("move-").map(|shard| ShardId(shard.parse().unwrap()));
        let moving = self.moving.get(&key(connection)).copied();
        let named = named.filter(|to| refused.is_none() && *to != self.shard);
        let Some(to) = moving.or(named) else { return false };
        self.moving.insert(key(connection), to);
        let message = self.output(message);
        self.outputs.list.push(ShardOutput::HandOver { connection, to, message, refused });
        true
    }

    fn refuse(&mut self, connection: ConnectionId, message: &[u8], reason: Reason) {
        self.refused_count += 1;
        let request = Message::from_checked(message);
        let mut fields: Vec<(&str, Value<'_>)> = request.fields().collect();
        fields.push(("status", Value::Integer(i64::from(reason.status()))));
        fields.push(("error", Value::Text(reason.word())));
        let message = self.output(&message::packed(request.method(), &fields));
        self.outputs.list.push(ShardOutput::Send { connection, message });
    }

    fn answer(&mut self) {
        while let Some((due, ..)) = self.requests.front()
            && *due <= self.turn_count
        {
            let (_, connection, message) = self.requests.pop_front().unwrap();
            let message = Message::from_checked(&message);
            if message.method() == "never" || !self.open.contains(&key(connection)) {
                continue;
            }
            self.answer_message(connection, message);
            *self.unanswered.get_mut(&key(connection)).unwrap() -= 1;
            self.close_if_answered(connection);
        }
    }

    fn close_if_answered(&mut self, connection: ConnectionId) {
        let answered = self.unanswered.get(&key(connection)).is_none_or(|count| *count == 0);
        if answered && self.ended.contains(&key(connection)) {
            self.outputs.list.push(ShardOutput::Close { connection, reason: Reason::PeerClosed });
        }
    }

    fn output(&mut self, message: &[u8]) -> Span {
        let start = self.outputs.bytes.len();
        self.outputs.bytes.extend_from_slice(message);
        Span::since(start, &self.outputs.bytes)
    }

    /// Hands everybody a frame, which is the next turn's.
    fn frame_to_all(&mut self, frame: &[u8]) {
        let start = self.outputs.bytes.len();
        self.outputs.bytes.push(1);
        self.outputs.bytes.push(b'w');
        self.outputs.bytes.extend_from_slice(frame);
        let frame = Span::since(start, &self.outputs.bytes);
        let recipients = self.everyone();
        self.outputs.list.push(ShardOutput::Frame { recipients, frame });
    }

    fn everyone(&mut self) -> Span {
        let start = self.outputs.recipients.len();
        let open = self.open.iter();
        let open = open.map(|&(index, generation)| ConnectionId { index, generation });
        self.outputs.recipients.extend(open);
        Span::since(start, &self.outputs.recipients)
    }

    fn send_to_all(&mut self, message: Span) {
        let recipients = self.everyone();
        self.outputs.list.push(ShardOutput::SendMany { recipients, message });
    }

    fn answer_message(&mut self, connection: ConnectionId, message: Message<'_>) {
        let echo = self.output(message.as_bytes());
        match message.method() {
            "all" => self.send_to_all(echo),
            "flood" => {
                let count = message.get("count").and_then(Value::as_integer).unwrap();
                for number in 0..count as usize {
                    let long = self.output(&packed_numbered(number, LONG_TEXT_BYTES));
                    self.send_to_all(long);
                    // Between two that everyone gets stands one that others do not.
                    self.outputs.list.push(ShardOutput::Send { connection, message: echo });
                }
            }
            "burst" => {
                let count = message.get("count").and_then(Value::as_integer).unwrap();
                let send = ShardOutput::Send { connection, message: echo };
                self.outputs.list.extend((0..count).map(|_| send));
            }
            "close" => {
                self.outputs
                    .list
                    .push(ShardOutput::Close { connection, reason: Reason::Displaced });
            }
            "quit" => {
                self.outputs.list.push(ShardOutput::Send { connection, message: echo });
                self.outputs.list.push(ShardOutput::Close { connection, reason: Reason::Quit });
                // What comes too late is ignored.
                self.outputs.list.push(ShardOutput::Send { connection, message: echo });
            }
            _ => self.outputs.list.push(ShardOutput::Send { connection, message: echo }),
        }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, received: Vec::new(), ended: None, was_reset: false, unsent: Vec::new() }
    }

    /// A client of the binary protocol that was heard.
    #[track_caller]
    fn binary_client(&mut self) -> Client {
        let mut client = self.client();
        client.send(PREAMBLE);
        client.send(&frame("echo", &[]));
        self.until("the echo", |_| client.poll().received == frame("echo", &[]));
        client.received.clear();
        client
    }
}

fn key(connection: ConnectionId) -> (u32, u32) {
    (connection.index, connection.generation)
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Reset,
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    ended: Option<End>,
    was_reset: bool,
    unsent: Vec<u8>,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.push();
    }

    /// Sends what the socket takes.
    fn push(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Told once: the next read says that the stream just ended.
                    self.was_reset = true;
                    self.unsent.clear();
                }
            }
        }
    }

    /// Sends and receives what there is.
    fn poll(&mut self) -> &Self {
        self.push();
        let mut buffer = [0; 16 * 1024];
        while self.ended.is_none() {
            match self.stream.read(&mut buffer) {
                Ok(0) if self.was_reset => self.ended = Some(End::Reset),
                Ok(0) => self.ended = Some(End::Orderly),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.ended = Some(End::Reset),
            }
        }
        self
    }

    fn shut_down(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// A binary frame, which a server sends back as it is.
fn frame(method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    frame_of(&message::packed(method, fields))
}

fn frame_of(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(Message::from_checked(packed), &mut bytes);
    bytes
}

/// A numbered frame with so many bytes of text.
fn numbered(number: usize, text_bytes: usize) -> Vec<u8> {
    frame_of(&packed_numbered(number, text_bytes))
}

fn packed_numbered(number: usize, text_bytes: usize) -> Vec<u8> {
    let text: String =
        (0..text_bytes).map(|at| char::from(b'a' + ((number * 7 + at) % 26) as u8)).collect();
    message::packed("echo", &[("n", Value::Integer(number as i64)), ("text", Value::Text(&text))])
}

/// The notice that a binary client gets.
fn notice(method: &str, reason: Reason) -> Vec<u8> {
    let status = Value::Integer(i64::from(reason.status()));
    let mut fields = vec![("status", status), ("error", Value::Text(reason.word()))];
    if let Some(limit) = reason.limit() {
        fields.push(("limit", Value::Text(limit)));
    }
    frame(method, &fields)
}
