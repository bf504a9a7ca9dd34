//! The reactor with real sockets. A node is a reactor with a tiny shard that answers; clients are
//! plain non-blocking sockets in the same thread. Time is a number that grows by a turn.

mod closing;
mod limits;
mod load;
mod streams;
mod time;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use warren_core::ids::ConnectionId;
use warren_core::message::{self, Message, Value};
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs, Span};

use super::{Reactor, ReactorSettings};
use crate::gateway::binary::{PREAMBLE, encode_request};
use crate::io::listener::Listener;

const TURN_NS: u64 = 1_000_000;
/// Turns after which a condition is taken for one that never comes.
const TURNS_MAX: usize = 20_000;

/// A reactor with a shard that sends every message back. The method `all` goes to everyone,
/// `close` closes its connection with a reason, `quit` without, and `burst` is answered by as many
/// messages as its field `count` says.
struct Node {
    reactor: Reactor,
    address: SocketAddr,
    now: Now,
    accepting_input: bool,
    inputs: ShardInputs,
    outputs: ShardOutputs,
    open: BTreeSet<(u32, u32)>,
    opened_count: usize,
    closed_count: usize,
    /// Clients that have said all they will say, to be closed in the next turn.
    ended: Vec<ConnectionId>,
    /// Most messages of a turn.
    inputs_max: usize,
}

fn small() -> ReactorSettings {
    ReactorSettings {
        connections_max: 64,
        receive_buffers: 64,
        receive_buffer_bytes: 1024,
        submission_entries: 64,
        completion_entries: 256,
        ..ReactorSettings::default()
    }
}

impl Node {
    fn start(settings: ReactorSettings) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr();
        Self {
            reactor: Reactor::new(settings, listener).unwrap(),
            address,
            // Far from zero, as on a machine that has been up for a while.
            now: Now { monotonic_ns: 1_000_000_000_000_000, wall_ms: 0 },
            accepting_input: true,
            inputs: ShardInputs::default(),
            outputs: ShardOutputs::new(1),
            open: BTreeSet::new(),
            opened_count: 0,
            closed_count: 0,
            ended: Vec::new(),
            inputs_max: 0,
        }
    }

    fn turn(&mut self) {
        self.now.monotonic_ns += TURN_NS;
        self.reactor.receive(self.now, self.accepting_input, &mut self.inputs);
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

    fn answer(&mut self) {
        let messages = |input: &&ShardInput| matches!(input, ShardInput::Message { .. });
        let count = self.inputs.list.iter().filter(messages).count();
        self.inputs_max = self.inputs_max.max(count);
        // Answers to the last questions come a turn after them, and then the end.
        for connection in std::mem::take(&mut self.ended) {
            let close = ShardOutput::Close { connection, reason: Reason::PeerClosed };
            self.outputs.list.push(close);
        }
        for input in std::mem::take(&mut self.inputs.list) {
            match input {
                ShardInput::Ended { connection } => self.ended.push(connection),
                ShardInput::Opened { connection, .. } => {
                    self.opened_count += 1;
                    let new = self.open.insert((connection.index, connection.generation));
                    assert!(new, "opened once: {connection:?}");
                }
                ShardInput::Message { connection, message } => {
                    let known = self.open.contains(&(connection.index, connection.generation));
                    assert!(known, "a message of no open connection: {connection:?}");
                    self.answer_message(connection, message);
                }
                ShardInput::Closed { connection } => {
                    self.closed_count += 1;
                    let known = self.open.remove(&(connection.index, connection.generation));
                    assert!(known, "closed once, after it was opened: {connection:?}");
                }
            }
        }
    }

    fn answer_message(&mut self, connection: ConnectionId, span: Span) {
        let message = Message::from_checked(span.of(&self.inputs.bytes));
        let start = self.outputs.bytes.len();
        self.outputs.bytes.extend_from_slice(message.as_bytes());
        let echo = Span::since(start, &self.outputs.bytes);
        match message.method() {
            "all" => {
                let start = self.outputs.recipients.len();
                let everyone = self.open.iter();
                self.outputs.recipients.extend(
                    everyone.map(|&(index, generation)| ConnectionId { index, generation }),
                );
                let recipients = Span::since(start, &self.outputs.recipients);
                self.outputs.list.push(ShardOutput::SendMany { recipients, message: echo });
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
    let packed = message::packed(method, fields);
    let mut bytes = Vec::new();
    encode_request(Message::from_checked(&packed), &mut bytes);
    bytes
}

/// A numbered frame with so many bytes of text.
fn numbered(number: usize, text_bytes: usize) -> Vec<u8> {
    let text: String =
        (0..text_bytes).map(|at| char::from(b'a' + ((number * 7 + at) % 26) as u8)).collect();
    frame("echo", &[("n", Value::Integer(number as i64)), ("text", Value::Text(&text))])
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
