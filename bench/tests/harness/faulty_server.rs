//! A small chat server with one planted fault: a thread for each connection, every protocol by the
//! gateways, one lock for everything, so that rooms have one order.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use warren_bench::clock;
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::{
    DecodeState, Detected, Frame, GatewaySettings, Protocol, decode, detect, encode,
};

/// What goes wrong, once: with the second message of a room, for one of its members, or with the
/// second ping; but with all heartbeats of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The member does not hear it.
    Lose,
    /// The member hears it twice.
    Double,
    /// The member hears another text.
    Damage,
    /// Someone in another room hears it too.
    Misdeliver,
    /// The member hears it from somebody else.
    Rename,
    /// The member hears it after the next.
    Swap,
    /// The speaker's connection is closed.
    HangUp,
    /// The speaker is told that the server is busy, and nobody hears it.
    Refuse,
    /// The member does not hear how many they are.
    LosePresence,
    /// A ping is not answered.
    Ignore,
    /// A ping is answered twice.
    AnswerTwice,
    /// The connection that pinged is closed.
    HangUpPing,
    /// One user hears no heartbeat.
    Silence,
    /// One user hears every heartbeat twice.
    BeatTwice,
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// What goes wrong.
    pub(crate) fault: Fault,
    /// Time between two heartbeats, in nanoseconds, for protocols that get them.
    pub(crate) heartbeat_ns: u64,
    /// Whether rooms tell who came, and how many there are after each message.
    pub(crate) presence: bool,
}

struct Member {
    room: String,
    protocol: Protocol,
    stream: TcpStream,
}

#[derive(Default)]
struct Hall {
    members: Vec<Member>,
    sequences: HashMap<String, i64>,
    /// Messages said in a room, and pings, under no name.
    said: HashMap<String, u32>,
    planted: bool,
    /// What a member will hear after the next message.
    held: Option<(usize, Vec<u8>)>,
}

/// The server; its threads end with the process.
pub(crate) struct FaultyServer {
    address: SocketAddr,
}

impl FaultyServer {
    #[expect(clippy::disallowed_methods, reason = "its threads end with the process of the tests")]
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hall = Arc::new(Mutex::new(Hall::default()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, hall) = (stream.unwrap(), Arc::clone(&hall));
                thread::spawn(move || serve(&stream, &hall, behaviour));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(stream: &TcpStream, hall: &Mutex<Hall>, behaviour: Behaviour) {
    let mut beat_ns = clock::monotonic_ns() + behaviour.heartbeat_ns;
    let (mut bytes, mut protocol, mut user) = (Vec::new(), None, String::new());
    let mut buffer = [0; 4096];
    let mut stream_read = stream;
    loop {
        let now_ns = clock::monotonic_ns();
        if now_ns >= beat_ns {
            beat_ns += behaviour.heartbeat_ns;
            let _order = hall.lock().unwrap();
            beat(stream, protocol, &user, behaviour.fault);
            continue;
        }
        stream.set_read_timeout(Some(Duration::from_nanos(beat_ns - now_ns))).unwrap();
        // The end of the harness looks like an error or an end.
        let length = match stream_read.read(&mut buffer) {
            Ok(length @ 1..) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            _ => return,
        };
        bytes.extend_from_slice(&buffer[..length]);
        if protocol.is_none()
            && let Detected::Protocol { protocol: detected, skip } = detect(&bytes, 4096)
        {
            protocol = Some(detected);
            bytes.drain(..skip);
        }
        let Some(protocol) = protocol else { continue };
        loop {
            let mut request = Vec::new();
            let settings = GatewaySettings::default();
            let mut state = DecodeState::default();
            match decode(protocol, &settings, &mut bytes, &mut state, &mut request) {
                Frame::Incomplete => break,
                Frame::Message { consumed } => {
                    bytes.drain(..consumed);
                    let request = Message::from_checked(&request);
                    let hall = &mut hall.lock().unwrap();
                    answer(stream, protocol, &mut user, request, hall, behaviour);
                }
                frame => panic!("the harness sent {frame:?}"),
            }
        }
    }
}

fn send(mut stream: &TcpStream, bytes: &[u8]) {
    // A harness that has ended hears nothing more.
    let _ = stream.write_all(bytes);
}

fn encoded(protocol: Protocol, method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let message = packed(method, fields);
    encode(protocol, &GatewaySettings::default(), Message::from_checked(&message), &mut out);
    out
}

fn answer(
    stream: &TcpStream,
    protocol: Protocol,
    user: &mut String,
    request: Message<'_>,
    hall: &mut Hall,
    behaviour: Behaviour,
) {
    let fault = behaviour.fault;
    let done = ("status", Value::Integer(0));
    match request.method() {
        "login" => *user = request.text("user").unwrap().to_owned(),
        "join" => {
            let (room, stream) = (request.text("room").unwrap(), stream.try_clone().unwrap());
            if behaviour.presence {
                hall.tell(protocol, room, ("user", Value::Text(user)), "joined", None);
            }
            hall.members.push(Member { room: room.to_owned(), protocol, stream });
        }
        "chat" => {
            let (room, text) = (request.text("to").unwrap(), request.text("text").unwrap());
            hall.say(stream, protocol, room, user, text, fault);
            if behaviour.presence {
                let planted = (fault == Fault::LosePresence).then_some(0);
                let count = Value::Integer(hall.members.len() as i64);
                hall.tell(protocol, room, ("count", count), "members", planted);
            }
            return;
        }
        "ping" if hall.is_second("") => match fault {
            Fault::Ignore => return,
            Fault::AnswerTwice => send(stream, &encoded(protocol, "ping", &[done])),
            // It fails only when the other end was first.
            Fault::HangUpPing => drop(stream.shutdown(Shutdown::Both)),
            _ => {}
        },
        _ => {}
    }
    send(stream, &encoded(protocol, request.method(), &[done]));
}

/// A heartbeat, for protocols that get one.
fn beat(stream: &TcpStream, protocol: Option<Protocol>, user: &str, fault: Fault) {
    let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::Binary) else { return };
    let pong = encoded(protocol, "pong", &[("status", Value::Integer(0))]);
    let fault = if user == "u000001" { fault } else { Fault::None };
    match fault {
        Fault::Silence => {}
        Fault::BeatTwice => send(stream, &[&pong[..], &pong].concat()),
        _ => send(stream, &pong),
    }
}

impl Hall {
    /// Whether this is the second thing said in the room.
    fn is_second(&mut self, room: &str) -> bool {
        let said = self.said.entry(room.to_owned()).or_default();
        *said += 1;
        *said == 2
    }

    fn number(&mut self, room: &str) -> i64 {
        let sequence = self.sequences.entry(room.to_owned()).or_default();
        *sequence += 1;
        *sequence
    }

    /// Tells all members of a room something with the room's number; but not this one, once.
    fn tell(
        &mut self,
        protocol: Protocol,
        room: &str,
        field: (&str, Value<'_>),
        method: &str,
        victim: Option<usize>,
    ) {
        let victim = victim.filter(|_| !std::mem::replace(&mut self.planted, true));
        let seq = Value::Integer(self.number(room));
        let frame = encoded(protocol, method, &[("room", Value::Text(room)), field, ("seq", seq)]);
        for (index, member) in self.members.iter().enumerate() {
            if member.room == room && Some(index) != victim {
                send(&member.stream, &frame);
            }
        }
    }

    fn say(
        &mut self,
        speaker: &TcpStream,
        protocol: Protocol,
        room: &str,
        from: &str,
        text: &str,
        fault: Fault,
    ) {
        let planted = self.is_second(room) && !self.planted && fault != Fault::LosePresence;
        self.planted |= planted;
        let fault = if planted { fault } else { Fault::None };
        if fault == Fault::Refuse {
            let busy = [("status", Value::Integer(503)), ("error", Value::Text("busy"))];
            return send(speaker, &encoded(protocol, "chat", &busy));
        }
        let sequence = self.number(room);
        let frame = |from: &str, text: &str| {
            let (room, from, text) = (Value::Text(room), Value::Text(from), Value::Text(text));
            let fields = [("room", room), ("from", from), ("text", text)];
            let seq = [("seq", Value::Integer(sequence))];
            encoded(protocol, "chat", &[&fields[..], &seq].concat())
        };
        let right = frame(from, text);
        let held = self.held.take();
        let victim = self.members.iter().position(|member| member.room == room);
        for (index, member) in self.members.iter().enumerate() {
            assert_eq!(member.protocol, protocol, "a run speaks one protocol");
            if member.room != room {
                continue;
            }
            let fault = if victim == Some(index) { fault } else { Fault::None };
            match fault {
                Fault::Lose => {}
                Fault::Double => send(&member.stream, &[&right[..], &right].concat()),
                Fault::Damage => send(&member.stream, &frame(from, &text.replace('0', "1"))),
                Fault::Rename => send(&member.stream, &frame("u999999", text)),
                Fault::Swap => self.held = Some((index, right.clone())),
                _ => send(&member.stream, &right),
            }
        }
        match held {
            // Another room has spoken in between.
            Some((index, bytes)) if self.members[index].room != room => {
                self.held = Some((index, bytes));
            }
            Some((index, bytes)) => send(&self.members[index].stream, &bytes),
            None => {}
        }
        if fault == Fault::Misdeliver {
            let stranger = self.members.iter().find(|member| member.room != room);
            send(&stranger.expect("there are two rooms").stream, &right);
        }
        let reply = [("status", Value::Integer(0)), ("seq", Value::Integer(sequence))];
        send(speaker, &encoded(protocol, "chat", &reply));
        if fault == Fault::HangUp {
            // It fails only when the other end was first.
            let _ = speaker.shutdown(Shutdown::Both);
        }
    }
}
