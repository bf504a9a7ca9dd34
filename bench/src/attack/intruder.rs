//! An attacker in the world of legal users: how it comes in among them, and how it moves. Pure.

use warren_core::world::motion::Motion;

use super::scenario::Place;
use crate::path::CELL_WIDTH;
use crate::payload::mix;
use crate::profile::open_world;
use crate::wire::{Decoded, Frame, Protocol, Seat, Wire};

const WIRE: Wire = Wire::Server(Protocol::Binary);
/// Half of the grid's side, in cells, nearly: places further than 32,767 cells from 0 are refused.
const FAR_CELLS: f32 = 32_000.0;
/// How far it walks about when it does no more than that.
const STROLL_UNITS: f32 = 4.0;

/// What a connection knows of the world that it is in.
#[derive(Debug, Default)]
pub(super) struct Intruder {
    /// What came before the answer to `join`, as far as it is not read.
    kept: Vec<u8>,
    world: Option<u64>,
}

impl Intruder {
    /// What its moves name, once it is in.
    pub(super) fn world(&self) -> Option<u64> {
        self.world
    }

    /// Takes in what came, and looks for the answer to `join`.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.world.is_some() {
            return;
        }
        self.kept.extend_from_slice(bytes);
        let mut at = 0;
        while let Decoded::Frame { consumed, frame } = WIRE.decode(&self.kept[at..]) {
            at += consumed;
            if let Frame::Entered { world, .. } = frame {
                self.world = Some(world);
                self.kept = Vec::new();
                return;
            }
        }
        self.kept.drain(..at);
    }
}

/// Appends a login by a name that no legal user has, and the request to come into their world, where
/// the middle of them is.
pub(super) fn enter(place: Place, out: &mut Vec<u8>) {
    let seat = Seat { user: place.users + place.connection, room: 0 };
    let middle = side(place.users) / 2.0;
    let profile = open_world::profile(place.users, 0);
    WIRE.greet(out);
    WIRE.login(seat, out);
    WIRE.enter(seat, at(middle, middle), profile.tick_hz.expect("worlds tick"), out);
}

/// Appends a move of one who walks up and down in the midst of them.
pub(super) fn stroll(place: Place, number: u32, out: &mut Vec<u8>) {
    let middle = side(place.users) / 2.0;
    let step = STROLL_UNITS * f32::from((number % 16) as u8) / 16.0;
    walk(place, at(middle + step, middle), out);
}

/// Appends a move to a random place: now among them, now anywhere in the grid.
pub(super) fn jump(place: Place, number: u32, out: &mut Vec<u8>) {
    let [which, x, y] = [0, 1, 2].map(|salt| mix(u64::from(number), salt));
    // 24 bits: as many as an `f32` has.
    let share = |bits: u64| (bits >> 40) as f32 / (1_u32 << 24) as f32;
    let to = |bits: u64| match which % 2 {
        0 => share(bits) * side(place.users),
        _ => (2.0 * share(bits) - 1.0) * FAR_CELLS * CELL_WIDTH,
    };
    walk(place, at(to(x), to(y)), out);
}

/// The side of the square in which they walk, in units.
fn side(users: u32) -> f32 {
    let profile = open_world::profile(users, 0);
    let cells = profile.side_cells.expect("they walk");
    f32::from(u16::try_from(cells).expect("it is bounded")) * CELL_WIDTH
}

fn at(x: f32, y: f32) -> Motion {
    Motion { position: [x, y, 0.0], velocity: [0.0; 3], heading: 0.0 }
}

fn walk(place: Place, motion: Motion, out: &mut Vec<u8>) {
    let world = place.world.expect("who moves has come in");
    WIRE.walk_to(world, motion, out);
}

#[cfg(test)]
mod tests;
