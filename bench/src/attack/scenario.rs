//! The attacks: how many connections, what they send, and when. Pure data and bytes.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

mod bytes;

use bytes::{FIRST_PACKETS, POLICY_REQUEST, WEBSOCKET_BOMBS};

use super::intruder;
use crate::arguments::ProfileName;

/// One attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// 15,000 connections whose login comes a byte a second
    HalfOpen,
    /// One client for a hundred users, each saying two hundred messages a second
    Flood,
    /// Documents of XML whose entities would become gigabytes
    EntityBomb,
    /// Documents of XML with thousands of attributes
    AttributeBomb,
    /// One speaker in a room of 10,000
    FanOut,
    /// One client for a hundred users, which read nothing of what their rooms say
    SlowReaders,
    /// WebSocket: reserved bits, endless fragments, absurd lengths, pings without end
    WebsocketBombs,
    /// Whatever may come first that is no login
    FirstPackets,
    /// Resuming sessions by guessed tokens
    TokenGuessing,
    /// Logging in again and again
    LoginBruteForce,
    /// A world of 1,000: one member that moves, and reads nothing
    WorldSlowReader,
    /// A world of 1,000: one member that sends moves as fast as its connection takes them
    WorldFlooder,
    /// A world of 1,000: one member that jumps to a random place with each move
    WorldTeleporter,
}

/// Who attacks, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The attacker's connection, of all.
    pub connection: u32,
    /// Legal users beside it.
    pub users: u32,
    /// What moves name: the world that it has come into.
    pub world: Option<u64>,
}

/// How an attack is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Connections at a time.
    pub connections: u32,
    /// Source addresses among which they are shared out.
    pub sources: u32,
    /// Time between two steps of one connection, in nanoseconds.
    pub period_ns: u64,
    /// Whether what comes is read.
    pub reads: bool,
    /// A connection that was closed is opened again after this, in nanoseconds.
    pub reopen_after_ns: u64,
    /// What the server may keep for each connection, in bytes: by that its memory is bounded.
    pub server_bytes_per_connection_max: u64,
}

const MS: u64 = 1_000_000;
/// Connections begun a second, at most: a server's accept queue holds so many.
const OPENS_PER_S: u64 = 3_000;
/// Steps after which a connection has seen what the server does about it.
const STEPS_TO_SETTLE: u64 = 5;
/// Moves in one step of a flood.
const FLOOD_MOVES: u32 = 50;
/// How much longer each compared percentile of legal users may be: of those who chat, and of those in a
/// world.
const CHAT_RATIO_MAX: f64 = 1.10;
/// Generators that are late by more than this part of the latency without an attack measure themselves: beside
/// those who chat, whose latency is a millisecond, and in a world, where it is a hundred.
pub const LATENESS_MAX: f64 = 0.25;
const WORLD_LATENESS_MAX: f64 = 0.05;
const WORLD_RATIO_MAX: f64 = 1.05;
/// What the server may keep of a client that has not logged in: its connection, and the frame that
/// is half there.
const UNAUTHENTICATED_BYTES_MAX: u64 = 8 << 10;
/// What it may keep of one that reads: its session, user and room, and a half-sent frame.
const READER_BYTES_MAX: u64 = 80 << 10;
/// What it may keep of one that does not: a full send queue besides.
const SLOW_READER_BYTES_MAX: u64 = READER_BYTES_MAX + (1 << 20);

impl Shape {
    /// Time within which all connections are begun, in nanoseconds: what an accept queue needs, and so
    /// much that they do not step all at once.
    #[must_use]
    pub fn opening_ns(&self) -> u64 {
        (u64::from(self.connections) * 1_000_000_000 / OPENS_PER_S)
            .max(self.period_ns.min(1_000_000_000))
    }

    /// Time after that in which the last ones come to do what they do from then on, in nanoseconds.
    #[must_use]
    pub fn settling_ns(&self) -> u64 {
        STEPS_TO_SETTLE * self.period_ns
    }
}

impl Scenario {
    /// The name on the command line and in the report.
    #[must_use]
    pub fn label(self) -> String {
        let value = self.to_possible_value().expect("every scenario can be chosen");
        value.get_name().to_owned()
    }

    /// Whether attackers are members of the legal users' world.
    #[must_use]
    pub fn is_in_world(self) -> bool {
        matches!(self, Self::WorldSlowReader | Self::WorldFlooder | Self::WorldTeleporter)
    }

    /// Limits of the server without which there would not be so many attackers at a time.
    #[must_use]
    pub fn settings(self) -> Vec<(String, String)> {
        match self {
            // By default nobody stands for longer than 10 s.
            Self::HalfOpen => vec![("limits.frame_ms".to_owned(), "600000".to_owned())],
            _ => Vec::new(),
        }
    }

    /// What legal users do.
    #[must_use]
    pub fn profile(self) -> ProfileName {
        if self.is_in_world() { ProfileName::OpenWorld } else { ProfileName::Chat }
    }

    /// How many there are, unless the command line says otherwise.
    #[must_use]
    pub fn users(self) -> u32 {
        if self.is_in_world() { 1_000 } else { 2_000 }
    }

    /// How much longer each compared percentile of their latency may be.
    #[must_use]
    pub fn ratio_max(self) -> f64 {
        if self.is_in_world() { WORLD_RATIO_MAX } else { CHAT_RATIO_MAX }
    }

    /// How late generators may be without the attack, as a part of the latency.
    #[must_use]
    pub fn lateness_max(self) -> f64 {
        if self.is_in_world() { WORLD_LATENESS_MAX } else { LATENESS_MAX }
    }

    /// When the generators' own lateness grows by more than this part of the latency without the attack,
    /// they measure who shares their core.
    #[must_use]
    pub fn lateness_growth_max(self) -> f64 {
        self.ratio_max() - 1.0
    }

    /// Its shape beside so many legal users.
    #[must_use]
    pub fn shape(self, users: u32) -> Shape {
        let hundredth = (users / 100).max(8);
        // One alone has to be there all the time.
        let reopen_after_ns = if self.is_in_world() { 20 * MS } else { 1_000 * MS };
        let shape = Shape {
            connections: hundredth,
            sources: 4,
            period_ns: 100 * MS,
            reads: true,
            reopen_after_ns,
            server_bytes_per_connection_max: READER_BYTES_MAX,
        };
        match self {
            Self::HalfOpen => Shape {
                connections: 15_000,
                sources: 32,
                period_ns: 1_000 * MS,
                server_bytes_per_connection_max: UNAUTHENTICATED_BYTES_MAX,
                ..shape
            },
            Self::Flood => shape,
            Self::EntityBomb | Self::AttributeBomb => Shape { connections: 16, ..shape },
            Self::FanOut => Shape {
                connections: 10_000,
                sources: 32,
                period_ns: 50 * MS,
                server_bytes_per_connection_max: READER_BYTES_MAX,
                ..shape
            },
            Self::SlowReaders => Shape {
                period_ns: 200 * MS,
                reads: false,
                server_bytes_per_connection_max: SLOW_READER_BYTES_MAX,
                ..shape
            },
            Self::WebsocketBombs => {
                Shape { connections: 4 * WEBSOCKET_BOMBS.len() as u32, ..shape }
            }
            Self::FirstPackets => Shape {
                connections: 2 * FIRST_PACKETS.len() as u32,
                server_bytes_per_connection_max: UNAUTHENTICATED_BYTES_MAX,
                ..shape
            },
            Self::TokenGuessing | Self::LoginBruteForce => Shape {
                connections: 50,
                server_bytes_per_connection_max: UNAUTHENTICATED_BYTES_MAX,
                ..shape
            },
            Self::WorldSlowReader => Shape {
                connections: 1,
                reads: false,
                server_bytes_per_connection_max: SLOW_READER_BYTES_MAX,
                ..shape
            },
            Self::WorldFlooder => Shape { connections: 1, period_ns: MS, ..shape },
            // The most ticks that a world may have in a second.
            Self::WorldTeleporter => Shape { connections: 1, period_ns: 1_000 * MS / 60, ..shape },
        }
    }

    /// The sort of attack that a connection makes, where there are several.
    #[must_use]
    pub fn variant(self, connection: u32) -> &'static str {
        let of = |names: &[(&'static str, &[u8])]| names[connection as usize % names.len()].0;
        match self {
            Self::WebsocketBombs => of(WEBSOCKET_BOMBS),
            Self::FirstPackets => of(FIRST_PACKETS),
            Self::FanOut if connection == 0 => "speaker",
            Self::FanOut => "listener",
            _ => "all",
        }
    }

    /// Whether a connection of this sort is closed without a reason, by what it asked for.
    #[must_use]
    pub fn ends_without_reason(self, variant: &str) -> bool {
        self == Self::FirstPackets && variant == POLICY_REQUEST
    }

    /// Whether this connection sends something with every step, or only at its beginning, or not yet.
    #[must_use]
    pub fn steps(self, place: Place) -> bool {
        match self {
            Self::FirstPackets => false,
            Self::FanOut => place.connection == 0,
            _ if self.is_in_world() => place.world.is_some(),
            _ => true,
        }
    }

    /// Appends what a connection begins with. `life` is how often it was opened before.
    pub fn begin(self, place: Place, life: u32, out: &mut Vec<u8>) {
        let connection = place.connection;
        match self {
            Self::HalfOpen => out.extend_from_slice(b"{\"msg\":\"login\",\"user\":\""),
            Self::Flood | Self::SlowReaders => bytes::enter_json(connection, connection / 8, out),
            Self::FanOut => bytes::enter_json(connection, 0, out),
            Self::EntityBomb | Self::AttributeBomb => bytes::enter_xml(connection, out),
            Self::WebsocketBombs => bytes::upgrade(out),
            Self::FirstPackets => {
                let packet = FIRST_PACKETS[connection as usize % FIRST_PACKETS.len()].1;
                out.extend_from_slice(packet);
            }
            Self::TokenGuessing => {}
            Self::LoginBruteForce => bytes::guess_login(connection, life, out),
            Self::WorldSlowReader | Self::WorldFlooder | Self::WorldTeleporter => {
                intruder::enter(place, out);
            }
        }
    }

    /// Appends what a connection sends with its step of this number, from 0.
    pub fn step(self, place: Place, number: u32, out: &mut Vec<u8>) {
        let connection = place.connection;
        match self {
            Self::HalfOpen => out.push(b'a'),
            Self::Flood => (0..20).for_each(|_| bytes::say(connection / 8, 64, out)),
            Self::FanOut => bytes::say(0, 512, out),
            Self::SlowReaders => bytes::say(connection / 8, 4_096, out),
            Self::EntityBomb => bytes::entity_bomb(out),
            // Now as many as a frame holds, now as many as were ever sent.
            Self::AttributeBomb => {
                let count = if number % 10 == 9 { 80_000 } else { 5_000 };
                bytes::attribute_bomb(count, out);
            }
            Self::WebsocketBombs => {
                let frames = WEBSOCKET_BOMBS[connection as usize % WEBSOCKET_BOMBS.len()].1;
                out.extend_from_slice(frames);
            }
            Self::FirstPackets => {}
            Self::TokenGuessing => bytes::guess_token(connection, number, out),
            Self::LoginBruteForce => bytes::guess_login(connection, number, out),
            Self::WorldSlowReader => intruder::stroll(place, number, out),
            Self::WorldFlooder => {
                (0..FLOOD_MOVES).for_each(|number| intruder::stroll(place, number, out));
            }
            Self::WorldTeleporter => intruder::jump(place, number, out),
        }
    }
}

#[cfg(test)]
mod tests;
