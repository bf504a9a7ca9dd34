//! The reactor's last part of a turn, with real sockets in the same thread.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use warren_core::ids::ConnectionId;
use warren_core::message::{Value, packed};
use warren_core::turn::{Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs, Span};
use warren_net::gateway::binary::PREAMBLE;
use warren_net::io::listener::Listener;
use warren_net::reactor::{Reactor, ReactorSettings};

use super::{Path, TEXT};
use crate::callgrind::measured;

const MEMBERS: usize = 8;
const WARM_UP_TURNS: u32 = 20;
/// Times that clients are waited for before something must be wrong.
const WAITS_MAX: usize = 10_000;

struct Clients {
    reactor: Reactor,
    now: Now,
    sockets: Vec<TcpStream>,
    connections: Vec<ConnectionId>,
}

pub(super) fn nothing(path: &Path) {
    let mut clients = Clients::connect(MEMBERS);
    let outputs = ShardOutputs::new(1);
    for turn in 0..WARM_UP_TURNS + path.events {
        clients.send(&outputs, turn >= WARM_UP_TURNS);
    }
}

/// In each of so many rooms one member has said something: the turn's messages are one for each
/// room, and an answer for each of those who spoke.
pub(super) fn chat(path: &Path, rooms: usize) {
    let mut clients = Clients::connect(rooms * MEMBERS);
    let mut outputs = ShardOutputs::new(1);
    for turn in 0..WARM_UP_TURNS + path.events / rooms as u32 {
        outputs.clear();
        for (room, members) in clients.connections.chunks(MEMBERS).enumerate() {
            put_chat(&mut outputs, &format!("room-{room:06}"), u64::from(turn), members);
        }
        let sends = clients.reactor.counters().sends;
        clients.send(&outputs, turn >= WARM_UP_TURNS);
        assert_eq!(clients.reactor.counters().sends - sends, (rooms * MEMBERS) as u64);
        clients.read();
    }
}

/// What a member hears when another says something.
pub(super) fn heard(room: &str, sequence: u64) -> Vec<u8> {
    let fields = [
        ("room", Value::Text(room)),
        ("from", Value::Text("user-000123")),
        ("text", Value::Text(TEXT)),
        ("seq", Value::Integer(sequence as i64)),
    ];
    packed("chat", &fields)
}

fn put_chat(outputs: &mut ShardOutputs, room: &str, sequence: u64, members: &[ConnectionId]) {
    let message = put(outputs, &heard(room, sequence));
    let start = outputs.recipients.len();
    outputs.recipients.extend_from_slice(members);
    let recipients = Span::since(start, &outputs.recipients);
    outputs.list.push(ShardOutput::SendMany { recipients, message });
    let fields = [("status", Value::Integer(0)), ("seq", Value::Integer(sequence as i64))];
    let message = put(outputs, &packed("chat", &fields));
    outputs.list.push(ShardOutput::Send { connection: members[0], message });
}

fn put(outputs: &mut ShardOutputs, message: &[u8]) -> Span {
    let start = outputs.bytes.len();
    outputs.bytes.extend_from_slice(message);
    Span::since(start, &outputs.bytes)
}

impl Clients {
    fn connect(count: usize) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr();
        let settings = ReactorSettings { connections_max: 256, ..ReactorSettings::default() };
        let reactor = Reactor::new(settings, listener).expect("a reactor");
        let now = Now { monotonic_ns: 1_000_000_000, wall_ms: 0 };
        let mut clients = Self { reactor, now, sockets: Vec::new(), connections: Vec::new() };
        let mut inputs = ShardInputs::default();
        for _ in 0..count {
            let mut socket = TcpStream::connect(address).expect("a connection");
            socket.write_all(PREAMBLE).expect("room for four bytes");
            socket.set_nonblocking(true).expect("a socket");
            clients.sockets.push(socket);
        }
        for _ in 0..WAITS_MAX {
            clients.reactor.wait(now.monotonic_ns, Some(now.monotonic_ns));
            clients.reactor.receive(now, true, &mut inputs);
            let opened = inputs.list.drain(..).filter_map(|input| match input {
                ShardInput::Opened { connection, .. } => Some(connection),
                _ => None,
            });
            clients.connections.extend(opened);
            if clients.connections.len() == count {
                return clients;
            }
        }
        panic!("{} of {count} connections came", clients.connections.len());
    }

    fn send(&mut self, outputs: &ShardOutputs, is_counted: bool) {
        let mut send = || self.reactor.send(self.now, outputs);
        if is_counted { measured(&mut send) } else { send() }
    }

    /// Takes what has come, so that no socket is ever full.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        for socket in &mut self.sockets {
            match socket.read(&mut buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
