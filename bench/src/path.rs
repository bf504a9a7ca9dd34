//! How users walk: each path is a known function of the move's number, so that whoever is told a
//! position knows which move it is of, and whether every bit of it is right. Pure.
//!
//! On each axis a user goes to and fro between the walls of a square at a speed of its own, from a place
//! of its own, so users are spread evenly at all times. All positions are on the grid of
//! 1/65,536 of a cell, in which servers tell them: nothing is rounded on the way. The lowest bits of
//! x and y are those of the move's number; heading is a checksum over run, user and number.

use warren_core::world::motion::Motion;

use crate::payload::mix;

/// Width of a cell, in units: the server's default.
pub const CELL_WIDTH: f32 = 64.0;
/// Most cells of the square's side: all of its positions are exact in an `f32`.
pub const SIDE_CELLS_MAX: u32 = 255;
/// Steps of a position in a cell.
const STEPS_PER_CELL: u32 = 1 << 16;
/// Steps in a unit.
const STEPS_PER_UNIT: f32 = STEPS_PER_CELL as f32 / CELL_WIDTH;
/// Bits of a number that each axis tells by its lowest: 1.6 cm in a cell of 64 m.
const NUMBER_BITS: u32 = 4;
/// Numbers are told modulo this: of the last 25 s, at ten moves a second.
pub const NUMBERS_TOLD: i32 = 1 << (2 * NUMBER_BITS);
/// Speeds are so many halves of a unit in a second: from a stroll to a run. A half is 1/128 of a cell in a
/// second, in which servers tell velocities.
const SPEED_MIN: u64 = 2;
const SPEED_COUNT: u64 = 11;
/// Steps in a tenth of a second, at half a unit in a second.
const STEPS_PER_MOVE: u32 = 51;
/// The number of where a user is before its first move: as it said when it came in.
pub const BEFORE_FIRST: i32 = -1;

/// The walls between which users walk: a square of whole cells from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Square {
    /// Steps there and back.
    period: u32,
    /// 2^64 through the period, rounded up.
    inverse: u64,
}

/// A place as servers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The cell.
    pub cell: [i16; 2],
    /// What stands behind the entity in an update, from the lowest byte on: offsets in the cell,
    /// velocity, heading. 56 bits.
    pub state: u64,
}

/// One user's way.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Tells this user's headings in this run from others.
    salt: u64,
    /// Where it begins, in steps there and back.
    from: [u32; 2],
    /// How fast it is on each axis.
    speed: [u8; 2],
}

impl Square {
    /// A square of so many cells each way.
    ///
    /// # Panics
    /// When that is none, or above [`SIDE_CELLS_MAX`].
    #[must_use]
    pub fn new(side_cells: u32) -> Self {
        assert!((1..=SIDE_CELLS_MAX).contains(&side_cells), "a square of {side_cells} cells");
        let period = 2 * side_cells * STEPS_PER_CELL;
        Self { period, inverse: u64::MAX / u64::from(period) + 1 }
    }

    /// Where one is after so many steps, and whether on the way back. The remainder without a division, exact
    /// for 32 bits: Lemire, Kaser and Kurz, "Faster remainder by direct computation", 2019.
    fn fold(self, steps: u32) -> (u32, bool) {
        let low = self.inverse.wrapping_mul(u64::from(steps));
        let along = ((u128::from(low) * u128::from(self.period)) >> 64) as u32;
        let is_back = along >= self.period / 2;
        (if is_back { self.period - 1 - along } else { along }, is_back)
    }
}

impl Path {
    /// The way of this user in this run.
    #[must_use]
    pub fn new(run: u64, user: u32, square: Square) -> Self {
        let salt = mix(run, u64::from(user));
        let [x, y, speeds] = [1, 2, 3].map(|which| mix(u64::from(user), which));
        let period = u128::from(square.period);
        let speed = |bits: u64| (SPEED_MIN + bits % SPEED_COUNT) as u8;
        Self {
            salt,
            from: [x, y].map(|bits| ((u128::from(bits) * period) >> 64) as u32),
            speed: [speed(speeds), speed(speeds >> 32)],
        }
    }

    /// Steps from 0, and velocity in halves of a unit in a second, by axis.
    fn at(&self, square: Square, number: i32) -> [(u32, i8); 2] {
        let moves = number.max(0) as u32;
        let mut axes = [(0, 0); 2];
        for ((axis, from), speed) in axes.iter_mut().zip(self.from).zip(self.speed) {
            let way = moves.wrapping_mul(u32::from(speed) * STEPS_PER_MOVE);
            let (steps, is_back) = square.fold(from.wrapping_add(way));
            *axis = (steps, if is_back { -(speed as i8) } else { speed as i8 });
        }
        let mask = (1 << NUMBER_BITS) - 1;
        axes[0].0 = axes[0].0 & !mask | number as u32 & mask;
        axes[1].0 = axes[1].0 & !mask | (number as u32 >> NUMBER_BITS) & mask;
        if number == BEFORE_FIRST {
            axes[0].1 = 0;
            axes[1].1 = 0;
        }
        axes
    }

    fn heading(&self, number: i32) -> u8 {
        if number == BEFORE_FIRST {
            return 0;
        }
        let sum = self.salt.wrapping_add(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (sum >> 56) as u8
    }

    /// The place of a move as servers tell it.
    #[must_use]
    #[inline]
    pub fn told(&self, square: Square, number: i32) -> Told {
        let [(x, vx), (y, vy)] = self.at(square, number);
        let offset = |steps: u32| u64::from(steps % STEPS_PER_CELL);
        let state = offset(x)
            | offset(y) << 16
            | u64::from(vx as u8) << 32
            | u64::from(vy as u8) << 40
            | u64::from(self.heading(number)) << 48;
        Told { cell: [x, y].map(|steps| (steps / STEPS_PER_CELL) as i16), state }
    }

    /// The bits of a number that a state tells.
    #[must_use]
    pub fn number_bits(state: u64) -> i32 {
        let mask = (1 << NUMBER_BITS) - 1;
        (state & mask | (state >> 16 & mask) << NUMBER_BITS) as i32
    }

    /// The cell of a move.
    #[must_use]
    pub fn cell(&self, square: Square, number: i32) -> [i16; 2] {
        self.at(square, number).map(|(steps, _)| (steps / STEPS_PER_CELL) as i16)
    }

    /// The move as users say it.
    #[must_use]
    pub fn motion(&self, square: Square, number: i32) -> Motion {
        let [(x, vx), (y, vy)] = self.at(square, number);
        let units = |steps: u32| steps as f32 / STEPS_PER_UNIT;
        Motion {
            position: [units(x), units(y), 0.0],
            velocity: [f32::from(vx) / 2.0, f32::from(vy) / 2.0, 0.0],
            heading: f32::from(self.heading(number)) * 360.0 / 256.0,
        }
    }
}

#[cfg(test)]
mod tests;
