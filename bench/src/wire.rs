//! The client's side of the wire protocols, as far as the profiles need it. Pure: bytes in, frames
//! out. Names and texts of the harness hold nothing that any protocol escapes.

mod binary;
mod connserver;
pub mod floor;
mod json;
pub mod object;
pub mod resume;
mod websocket;
pub mod world;
mod xml;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use warren_core::message::{Message, Value, packed};
use warren_core::world::motion::Motion;
use warren_net::gateway::{self, GatewaySettings};

use self::resume::Pass;
use self::world::WorldFrame;
use crate::path::{CELL_WIDTH, Told};
use crate::payload::{PAYLOAD_BYTES_MIN, Payload};

/// What is spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Length-prefixed frames, fixed layouts for what is hot.
    Binary,
    /// ConnServer text, dialect C.
    Connserver,
    /// One JSON object a frame.
    Json,
    /// One XML document a frame.
    Xml,
    /// JSON in frames of WebSocket.
    WebsocketJson,
    /// Binary in frames of WebSocket.
    WebsocketBinary,
}

impl Protocol {
    /// The name on the command line and in the report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Connserver => "connserver",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::WebsocketJson => "websocket-json",
            Self::WebsocketBinary => "websocket-binary",
        }
    }

    fn is_websocket(self) -> bool {
        matches!(self, Self::WebsocketJson | Self::WebsocketBinary)
    }
}

/// How a generator speaks on its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// With a Warren server.
    Server(Protocol),
    /// With the floor's server, in frames as long as those of this protocol.
    Floor(floor::Lengths),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To log in.
    Login,
    /// To make the world.
    Create,
    /// To go on with a session.
    Resume,
    /// To enter the room.
    Join,
    /// To say something.
    Say,
    /// For a sign of life.
    Ping,
    /// To change an object.
    Set,
    /// What an object is.
    Get,
}

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frame<'a> {
    /// Somebody said something in a room.
    Heard {
        /// The room's number for it.
        sequence: u64,
        /// Where and by whom, when the protocol says so: the floor's does not.
        place: Option<Place<'a>>,
        /// What.
        text: &'a str,
    },
    /// The answer to a request.
    Reply {
        /// To which.
        request: Request,
        /// 0 or a code.
        status: u16,
        /// The reason when the status is not 0.
        reason: &'a str,
    },
    /// The user is in its world.
    Entered {
        /// What moves name, and frames.
        world: u64,
        /// The user's entity there.
        entity: u16,
    },
    /// What is around a user in its world.
    World(WorldFrame<'a>),
    /// The answer to the making of an object.
    Made {
        /// Which it is.
        object: u64,
    },
    /// The answer to the question what an object is.
    Found {
        /// The value that was set last, if it has one.
        value: Option<i64>,
    },
    /// The answer to a login or a resume that was granted, with what the next resume needs.
    Session {
        /// To which.
        request: Request,
        /// What it needs.
        pass: Pass<'a>,
    },
    /// The server ends the connection, or says what was wrong with what it got.
    Closed {
        /// Why.
        reason: &'a str,
    },
    /// A sign of life that nobody asked for.
    Heartbeat,
    /// Someone came or went, without a number.
    Presence,
    /// Anything else that has a number in the order of a room: who came and went, how many members
    /// there are, what became of an object.
    Numbered {
        /// The room's number for it.
        sequence: u64,
        /// The room's name, when it says so.
        room: Option<&'a str>,
    },
    /// Anything else that sessions count.
    Other,
    /// What they do not count: of WebSocket itself, of worlds, and greetings.
    Aside,
}

impl<'a> Frame<'a> {
    /// The same frame of a message with these fields: what a room has numbered counts in its
    /// order, whatever the method is.
    #[must_use]
    fn numbered(self, status: Option<u16>, sequence: Option<u64>, room: Option<&'a str>) -> Self {
        match (self, status, sequence) {
            (Self::Presence | Self::Other, None, Some(sequence)) => {
                Self::Numbered { sequence, room }
            }
            _ => self,
        }
    }
}

/// Where and by whom something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The speaker's name.
    pub from: &'a str,
}

/// What stands at the beginning of received bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// No whole frame yet.
    Incomplete,
    /// A frame.
    Frame {
        /// Its bytes, its end included.
        consumed: usize,
        /// What it says.
        frame: Frame<'a>,
    },
    /// No frame of the protocol, or longer than any that the server sends here.
    Fault,
}

/// Longest frame that is taken from a server, in bytes. A list of names in a large room fits.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The user's name: of one length, so that all frames of one kind are of one length.
#[must_use]
pub fn user_name(user: u32) -> String {
    format!("u{user:06}")
}

/// The room's name.
#[must_use]
pub fn room_name(room: u32) -> String {
    format!("r{room:06}")
}

/// The number in a name that [`user_name`] or [`room_name`] made with this letter.
#[must_use]
pub fn name_number(name: &str, letter: char) -> Option<u32> {
    let digits = name.strip_prefix(letter)?;
    let canonical = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && (digits.len() == 6 || !digits.starts_with('0')) {
        digits.parse().ok()
    } else {
        None
    }
}

/// A user's place in its room, as the floor's server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The user.
    pub user: u32,
    /// Its room.
    pub room: u32,
}

impl Wire {
    /// Appends what a connection begins with, before its first request.
    pub fn greet(self, out: &mut Vec<u8>) {
        match self {
            Self::Server(Protocol::Binary) => binary::greet(out),
            Self::Server(protocol) if protocol.is_websocket() => websocket::greet(protocol, out),
            _ => {}
        }
    }

    /// Appends a request, in a frame of WebSocket where that is spoken.
    fn request(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Server(protocol) if protocol.is_websocket() => {
                let mut frame = Vec::new();
                write(&mut frame);
                websocket::wrap(protocol, &frame, out);
            }
            _ => write(out),
        }
    }

    /// Appends the login.
    pub fn login(self, seat: Seat, out: &mut Vec<u8>) {
        let user = user_name(seat.user);
        self.request(out, |out| match self {
            Self::Server(Protocol::Binary | Protocol::WebsocketBinary) => {
                binary::request("login", &[("user", &user)], out)
            }
            Self::Server(Protocol::Connserver) => connserver::request("login", "user", &user, out),
            Self::Server(Protocol::Json | Protocol::WebsocketJson) => {
                json::request("login", "user", &user, out)
            }
            Self::Server(Protocol::Xml) => xml::request("login", "user", &user, out),
            Self::Floor(lengths) => floor::announce(seat.room, lengths, out),
        });
    }

    /// Appends the request to enter the room.
    pub fn join(self, seat: Seat, out: &mut Vec<u8>) {
        let room = room_name(seat.room);
        self.request(out, |out| match self {
            Self::Server(Protocol::Binary | Protocol::WebsocketBinary) => {
                binary::request("join", &[("room", &room)], out)
            }
            Self::Server(Protocol::Connserver) => connserver::request("join", "room", &room, out),
            Self::Server(Protocol::Json | Protocol::WebsocketJson) => {
                json::request("join", "room", &room, out)
            }
            Self::Server(Protocol::Xml) => xml::request("join", "room", &room, out),
            Self::Floor(_) => floor::request(floor::KIND_JOIN, out),
        });
    }

    /// Whether worlds have to be made before anybody can enter.
    #[must_use]
    pub fn makes_worlds(self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// Appends the request to make the user's world, with these NPCs, if any.
    ///
    /// # Panics
    /// Over protocols other than binary: worlds are played over no other.
    pub fn create(self, seat: Seat, tick_hz: u32, npcs: Option<&str>, out: &mut Vec<u8>) {
        assert_eq!(self, Self::Server(Protocol::Binary), "worlds are played over binary");
        let room = room_name(seat.room);
        let (kind, room) = (("kind", Value::Text("world")), ("room", Value::Text(&room)));
        let cell = ("cell", Value::Float(f64::from(CELL_WIDTH)));
        let tick_hz = ("tick_hz", Value::Integer(i64::from(tick_hz)));
        let npcs = npcs.map(|npcs| ("npcs", Value::Text(npcs)));
        let fields: Vec<_> = [kind, room, cell, tick_hz].into_iter().chain(npcs).collect();
        binary::message("create", &fields, out);
    }

    /// Appends the request to enter the user's world, at this place.
    ///
    /// # Panics
    /// As [`create`](Self::create).
    pub fn enter(self, seat: Seat, place: Motion, tick_hz: u32, out: &mut Vec<u8>) {
        match self {
            Self::Server(protocol) => {
                assert_eq!(protocol, Protocol::Binary, "worlds are played over binary");
                let room = room_name(seat.room);
                let [x, y, _] = place.position.map(|axis| Value::Float(f64::from(axis)));
                let fields = [("room", Value::Text(&room)), ("x", x), ("y", y)];
                binary::message("join", &fields, out);
            }
            Self::Floor(_) => floor::enter(tick_hz, out),
        }
    }

    /// Appends a move of the user's entity: to the floor as it is to be told.
    ///
    /// # Panics
    /// As [`create`](Self::create).
    pub fn walk(
        self,
        (world, entity): (u64, u16),
        motion: impl FnOnce() -> Motion,
        told: impl FnOnce() -> Told,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Server(protocol) => {
                assert_eq!(protocol, Protocol::Binary, "worlds are played over binary");
                binary::walk(world, motion(), out);
            }
            Self::Floor(_) => floor::walk(entity, told().state, out),
        }
    }

    /// Appends a move to a place that no path has, for those who are no users of the run.
    ///
    /// # Panics
    /// As [`create`](Self::create).
    pub fn walk_to(self, world: u64, motion: Motion, out: &mut Vec<u8>) {
        assert_eq!(self, Self::Server(Protocol::Binary), "worlds are played over binary");
        binary::walk(world, motion, out);
    }

    /// Appends a message to the room.
    pub fn say(self, seat: Seat, text: &str, out: &mut Vec<u8>) {
        self.say_with_id(seat, text, 0, out);
    }

    /// The same with an `id`, unless it is 0: who says it again by that id does not say it twice.
    pub fn say_with_id(self, seat: Seat, text: &str, id: u32, out: &mut Vec<u8>) {
        let room = room_name(seat.room);
        self.request(out, |out| match self {
            Self::Server(Protocol::Binary | Protocol::WebsocketBinary) => {
                binary::say(&room, text, id, out)
            }
            Self::Server(Protocol::Connserver) => connserver::say(&room, text, id, out),
            Self::Server(Protocol::Json | Protocol::WebsocketJson) => {
                json::say(&room, text, id, out)
            }
            Self::Server(Protocol::Xml) => xml::say(&room, text, id, out),
            Self::Floor(lengths) => floor::say(text, lengths, out),
        });
    }

    /// Whether clients have to give signs of life, for the server gives none.
    #[must_use]
    pub fn client_beats(self) -> bool {
        match self {
            Self::Server(protocol) => {
                matches!(protocol, Protocol::Binary | Protocol::WebsocketBinary)
            }
            Self::Floor(lengths) => lengths.beat == 0,
        }
    }

    /// Appends a sign of life.
    pub fn ping(self, out: &mut Vec<u8>) {
        self.request(out, |out| match self {
            Self::Server(Protocol::Binary | Protocol::WebsocketBinary) => {
                binary::request("ping", &[], out)
            }
            Self::Server(Protocol::Connserver) => out.extend_from_slice(b"msg:ping\n\0"),
            Self::Server(Protocol::Json | Protocol::WebsocketJson) => {
                out.extend_from_slice(b"{\"msg\":\"ping\"}\n")
            }
            Self::Server(Protocol::Xml) => out.extend_from_slice(b"<msg method=\"ping\"/>\0"),
            Self::Floor(lengths) => floor::ping(lengths, out),
        });
    }

    /// Decodes the frame at the beginning of what a server sent.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Decoded<'_> {
        match self {
            Self::Server(Protocol::Binary) => binary::decode(bytes),
            Self::Server(Protocol::Connserver) => connserver::decode(bytes),
            Self::Server(Protocol::Json) => json::decode(bytes),
            Self::Server(Protocol::Xml) => xml::decode(bytes),
            Self::Server(Protocol::WebsocketJson | Protocol::WebsocketBinary) => {
                websocket::decode(bytes)
            }
            Self::Floor(_) => floor::decode(bytes),
        }
    }
}

/// The lengths of what a client of this protocol sends to say something and as a sign of life, and
/// of what a server sends to a member, back to who asked, and as its own sign of life: those that
/// the floor's frames have. Room numbers of three digits stand for all.
#[must_use]
pub fn floor_lengths(protocol: Protocol, payload_bytes: usize) -> floor::Lengths {
    let (room, from) = (room_name(0), user_name(1));
    let payload_bytes = payload_bytes.max(PAYLOAD_BYTES_MIN);
    let said = Payload { user: 1, number: 0, intended_ns: 0 }.to_text(0, payload_bytes);
    let (room, from, text) = (Value::Text(&room), Value::Text(&from), Value::Text(&said));
    let (seq, status) = (("seq", Value::Integer(100)), ("status", Value::Integer(0)));
    let heard = packed("chat", &[("room", room), ("from", from), ("text", text), seq]);
    let echo = [("to", room), ("text", text), seq, status];
    let (spoken, reply) = match protocol {
        Protocol::Binary => (gateway::Protocol::Binary, packed("chat", &[seq, status])),
        Protocol::Connserver => (gateway::Protocol::ConnServerC, packed("chat", &echo)),
        Protocol::Json => (gateway::Protocol::Json, packed("chat", &[seq, status])),
        Protocol::Xml => (gateway::Protocol::Xml, packed("chat", &[seq, status])),
        Protocol::WebsocketJson => {
            (gateway::Protocol::WebSocketJson, packed("chat", &[seq, status]))
        }
        Protocol::WebsocketBinary => {
            (gateway::Protocol::WebSocketBinary, packed("chat", &[seq, status]))
        }
    };
    let length = |message: &[u8]| {
        let mut out = Vec::new();
        let message = Message::from_checked(message);
        gateway::encode(spoken, &GatewaySettings::default(), message, &mut out);
        out.len()
    };
    let wire = Wire::Server(protocol);
    let (mut say, mut ping) = (Vec::new(), Vec::new());
    wire.say(Seat { user: 1, room: 0 }, &said, &mut say);
    wire.ping(&mut ping);
    let time = ("time_ms", Value::Integer(1_700_000_000_000));
    let beat = if wire.client_beats() { 0 } else { length(&packed("pong", &[status])) };
    floor::Lengths::new(floor::Bytes {
        say: say.len(),
        heard: length(&heard),
        reply: length(&reply),
        ping: ping.len(),
        ping_reply: length(&packed("ping", &[time, status])),
        beat,
    })
}

/// Sorts a message by its method and fields, for all protocols that name them.
fn classify<'a>(
    method: &str,
    status: Option<u16>,
    reason: &'a str,
    heard: Option<(u64, Place<'a>, &'a str)>,
) -> Frame<'a> {
    let request = match method {
        "login" => Some(Request::Login),
        "create" => Some(Request::Create),
        "resume" => Some(Request::Resume),
        "join" => Some(Request::Join),
        "chat" | "say" => Some(Request::Say),
        "ping" => Some(Request::Ping),
        "set" => Some(Request::Set),
        "get" => Some(Request::Get),
        _ => None,
    };
    match (request, status, heard) {
        (_, _, _) if method == "pong" => Frame::Heartbeat,
        (_, _, _) if matches!(method, "closed" | "error") => Frame::Closed { reason },
        (_, _, _) if matches!(method, "hello" | "frame") => Frame::Aside,
        (_, _, _) if matches!(method, "joined" | "left") => Frame::Presence,
        (Some(request), Some(status), _) => Frame::Reply { request, status, reason },
        (Some(Request::Say), None, Some((sequence, place, text))) => {
            Frame::Heard { sequence, place: Some(place), text }
        }
        _ => Frame::Other,
    }
}

#[cfg(test)]
mod tests;
