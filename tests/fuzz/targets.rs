//! What is decoded, and what has to hold whatever the bytes are.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::corpus::Seed;
use crate::prng::Prng;

mod configuration;
mod delta_log;
mod detection;
mod frames;
mod proxy_header;
mod records;
mod server_frames;
mod tickets;
mod websocket;

/// A decoder, its inputs, and its properties.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Pieces of which bytes of this kind consist.
    pub(crate) words: &'static [&'static [u8]],
    /// Inputs to begin with, besides the files of the corpus.
    pub(crate) seeds: fn() -> Vec<Seed>,
    /// Panics when a property does not hold.
    pub(crate) check: fn(&[u8], &mut Prng) -> Behaviour,
    /// Made inputs of a run, so many as take about a second.
    pub(crate) inputs: u64,
}

/// What a decoder did, so that inputs that made it do something new are told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Behaviour(u64);

impl Behaviour {
    pub(crate) fn of(what: impl Hash) -> Self {
        // Its keys are fixed, so a run is as the one before.
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Every target. `frames::TARGETS` has one for each protocol.
pub(crate) const TARGETS: &[Target] = &[
    frames::CONNSERVER_A,
    frames::CONNSERVER_B,
    frames::CONNSERVER_C,
    frames::JSON,
    frames::XML,
    frames::BINARY,
    frames::WEBSOCKET_JSON,
    frames::WEBSOCKET_BINARY,
    websocket::UPGRADE,
    websocket::SERVER_FRAMES,
    server_frames::TARGET,
    detection::TARGET,
    proxy_header::TARGET,
    records::DELTA_BATCH,
    records::OBJECT_RECORD,
    delta_log::TARGET,
    tickets::TARGET,
    configuration::TARGET,
];

/// `bytes` cut into pieces at random places, some of them single bytes.
pub(crate) fn pieces<'a>(bytes: &'a [u8], prng: &mut Prng) -> Vec<&'a [u8]> {
    // A piece a byte is the worst case for whoever begins anew with every piece.
    if prng.chance(20) && bytes.len() <= 512 {
        return bytes.chunks(1).collect();
    }
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < 8 {
        let (piece, behind) = rest.split_at(prng.below(rest.len() as u64 + 1) as usize);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}
