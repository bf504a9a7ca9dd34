//! A small chat server with one planted fault: a thread for each connection, every protocol by the
//! gateways, one lock for everything, so that rooms have one order.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use warren_core::message::{Message, Value, packed};
use warren_net::gateway::{Detected, Frame, GatewaySettings, Protocol, decode, detect, encode};

/// What goes wrong, once: with the second message of a room, for one of its members.
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
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hall = Arc::new(Mutex::new(Hall::default()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, hall) = (stream.unwrap(), Arc::clone(&hall));
                thread::spawn(move || serve(&stream, &hall, fault));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(stream: &TcpStream, hall: &Mutex<Hall>, fault: Fault) {
    let (mut bytes, mut protocol, mut user) = (Vec::new(), None, String::new());
    let mut buffer = [0; 4096];
    let mut stream_read = stream;
    loop {
        // The end of the harness looks like an error or an end.
        let Ok(length @ 1..) = stream_read.read(&mut buffer) else { return };
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
            match decode(protocol, &settings, &bytes, &mut 0, &mut request) {
                Frame::Incomplete => break,
                Frame::Message { consumed } => {
                    bytes.drain(..consumed);
                    let request = Message::from_checked(&request);
                    answer(stream, protocol, &mut user, request, &mut hall.lock().unwrap(), fault);
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
    fault: Fault,
) {
    let done = ("status", Value::Integer(0));
    match request.method() {
        "login" => *user = request.text("user").unwrap().to_owned(),
        "join" => {
            let (room, stream) = (request.text("room").unwrap(), stream.try_clone().unwrap());
            hall.members.push(Member { room: room.to_owned(), protocol, stream });
        }
        "chat" => {
            let (room, text) = (request.text("to").unwrap(), request.text("text").unwrap());
            return hall.say(stream, protocol, room, user, text, fault);
        }
        _ => {}
    }
    send(stream, &encoded(protocol, request.method(), &[done]));
}

impl Hall {
    fn say(
        &mut self,
        speaker: &TcpStream,
        protocol: Protocol,
        room: &str,
        from: &str,
        text: &str,
        fault: Fault,
    ) {
        let sequence = *self.sequences.get(room).unwrap_or(&0) + 1;
        let planted = sequence == 2 && !self.planted;
        self.planted |= planted;
        let fault = if planted { fault } else { Fault::None };
        if fault == Fault::Refuse {
            let busy = [("status", Value::Integer(503)), ("error", Value::Text("busy"))];
            return send(speaker, &encoded(protocol, "chat", &busy));
        }
        self.sequences.insert(room.to_owned(), sequence);
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
