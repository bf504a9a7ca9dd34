//! How an entity moves, as members say it and as it is told: quantised, with an absolute position.

use super::{WorldSettings, frame::UPDATE_BYTES_2D, frame::UPDATE_BYTES_3D};
use crate::message::Message;
use crate::reason::Reason;

/// Positions are at most so many cells from 0, by each axis. So the cells that touch the farthest have
/// coordinates too.
pub const CELLS_FROM_ZERO_MAX: i64 = 32_767;
/// Bits of a position within its cell.
const OFFSET_BITS: u32 = 16;
/// Steps of a position in a cell.
pub const STEPS_PER_CELL: f64 = (1_u32 << OFFSET_BITS) as f64;
/// A member's centre changes when it is so many steps beyond the border: an eighth of a cell.
const MARGIN_STEPS: i64 = 1 << (OFFSET_BITS - 3);
/// Steps of a velocity in a cell's width per second.
pub const VELOCITY_STEPS: f64 = 128.0;
/// Steps in which ways are counted against the speed limit.
pub(super) const SPEED_STEPS_PER_UNIT: f64 = 65_536.0;
/// Bytes of the longer form of a move.
pub const MOVE_BYTES_3D: usize = 36;
/// Bytes of the shorter form.
pub const MOVE_BYTES_2D: usize = 28;
/// Bytes of the longer update.
pub(super) const PACKED_BYTES_MAX: usize = UPDATE_BYTES_3D;

/// Where an entity is, how it moves and where it looks. In 2D what is third is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Motion {
    /// In the world's units.
    pub position: [f32; 3],
    /// In units per second.
    pub velocity: [f32; 3],
    /// In degrees.
    pub heading: f32,
}

impl Motion {
    /// Nothing of it is third in 2D.
    pub(crate) fn in_dims(mut self, dims: u8) -> Self {
        if dims == 2 {
            self.position[2] = 0.0;
            self.velocity[2] = 0.0;
        }
        self
    }

    /// Whether all of it is finite, and there is a cell where it is.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`].
    pub(crate) fn check(self, cell: f32) -> Result<(), Reason> {
        let numbers = self.position.iter().chain(&self.velocity).chain([&self.heading]);
        let mut is_valid = numbers.into_iter().all(|number| number.is_finite());
        for axis in self.position {
            let at = steps_of(axis, cell) >> OFFSET_BITS;
            is_valid &= (-CELLS_FROM_ZERO_MAX..CELLS_FROM_ZERO_MAX).contains(&at);
        }
        if is_valid { Ok(()) } else { Err(Reason::FieldInvalid) }
    }

    /// How far it is from there, in steps of the speed limit: rounded up, since many ways of less than
    /// a step would be a way for nothing.
    pub(super) fn distance_steps(self, from: Self) -> u64 {
        let mut square = 0.0;
        for (to, from) in self.position.iter().zip(from.position) {
            let way = (f64::from(*to) - f64::from(from)) * SPEED_STEPS_PER_UNIT;
            square += way * way;
        }
        // Saturates far beyond what any limit lets through.
        let steps = u64::try_from((square as u128).isqrt()).unwrap_or(u64::MAX);
        let is_less = (steps as f64) * (steps as f64) < square;
        steps.saturating_add(u64::from(is_less))
    }
}

/// Where an entity is in the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index of its cell.
    pub(super) cell: u32,
    /// Where in the cell's list it stands.
    pub(super) index: u32,
    /// Its position in steps, by axis.
    pub(super) steps: [i32; 3],
}

impl Place {
    pub(super) const NOWHERE: Self = Self { cell: super::NO_CELL, index: 0, steps: [0; 3] };

    /// Whether it is in the cell at these coordinates, or beyond its border by no more than the
    /// margin.
    pub(super) fn is_near(&self, cell: [i16; 3], dims: u8) -> bool {
        let axes = self.steps.iter().zip(cell).take(usize::from(dims));
        axes.into_iter().all(|(steps, cell)| {
            let first = i64::from(cell) << OFFSET_BITS;
            let end = first + (1 << OFFSET_BITS);
            (first - MARGIN_STEPS..end + MARGIN_STEPS).contains(&i64::from(*steps))
        })
    }
}

/// An entity as sections say it, and where that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    pub(super) bytes: [u8; PACKED_BYTES_MAX],
    pub(super) cell: [i16; 3],
    pub(super) steps: [i32; 3],
}

/// Position in steps, rounded down; out of range where there is no cell.
fn steps_of(axis: f32, cell: f32) -> i64 {
    let steps = f64::from(axis) * (STEPS_PER_CELL / f64::from(cell));
    let whole = steps as i64;
    if steps < whole as f64 { whole.saturating_sub(1) } else { whole }
}

fn velocity_steps(velocity: f32, cell: f32) -> i8 {
    let steps = f64::from(velocity) * (VELOCITY_STEPS / f64::from(cell));
    // Rounded to the nearest, half away from 0.
    let rounded = if steps < 0.0 { steps - 0.5 } else { steps + 0.5 };
    rounded.clamp(-127.0, 127.0) as i8
}

fn heading_steps(heading: f32) -> u8 {
    let turns = f64::from(heading) / 360.0;
    let steps = (turns % 1.0) * 256.0;
    let rounded = if steps < 0.0 { steps - 0.5 } else { steps + 0.5 };
    (rounded as i64 & 0xff) as u8
}

/// Quantises a motion that was checked.
pub(super) fn pack(number: u16, motion: Motion, settings: WorldSettings) -> Packed {
    let dims = usize::from(settings.dims);
    let mut packed = Packed { bytes: [0; PACKED_BYTES_MAX], cell: [0; 3], steps: [0; 3] };
    packed.bytes[..2].copy_from_slice(&number.to_le_bytes());
    for axis in 0..dims {
        let steps = steps_of(motion.position[axis], settings.cell);
        packed.steps[axis] = i32::try_from(steps).expect("a checked position has a cell");
        packed.cell[axis] = (packed.steps[axis] >> OFFSET_BITS) as i16;
        let offset = (steps & 0xffff) as u16;
        packed.bytes[2 + 2 * axis..][..2].copy_from_slice(&offset.to_le_bytes());
        let velocity = velocity_steps(motion.velocity[axis], settings.cell);
        packed.bytes[2 + 2 * dims + axis] = velocity as u8;
    }
    packed.bytes[2 + 3 * dims] = heading_steps(motion.heading);
    packed
}

const _: () = assert!(UPDATE_BYTES_2D == 2 + 3 * 2 + 1 && UPDATE_BYTES_3D == 2 + 3 * 3 + 1);

/// A move as the binary protocol carries it: which world, and the motion.
///
/// # Errors
/// [`Reason::Malformed`] when it is of neither length, [`Reason::FieldInvalid`] when a number is
/// not finite.
pub fn read_move(bytes: &[u8]) -> Result<(u64, Motion), Reason> {
    let (world, rest) = bytes.split_first_chunk().ok_or(Reason::Malformed)?;
    let mut numbers = [0.0_f32; 7];
    if !matches!(bytes.len(), MOVE_BYTES_2D | MOVE_BYTES_3D) {
        return Err(Reason::Malformed);
    }
    for (number, bytes) in numbers.iter_mut().zip(rest.as_chunks().0) {
        *number = f32::from_le_bytes(*bytes);
        if !number.is_finite() {
            return Err(Reason::FieldInvalid);
        }
    }
    let motion = if bytes.len() == MOVE_BYTES_2D {
        let [x, y, vx, vy, heading, ..] = numbers;
        Motion { position: [x, y, 0.0], velocity: [vx, vy, 0.0], heading }
    } else {
        let [x, y, z, vx, vy, vz, heading] = numbers;
        Motion { position: [x, y, z], velocity: [vx, vy, vz], heading }
    };
    Ok((u64::from_le_bytes(*world), motion))
}

/// Appends a move in the form for so many dimensions.
pub fn write_move(world: u64, motion: Motion, dims: u8, out: &mut alloc::vec::Vec<u8>) {
    out.extend_from_slice(&world.to_le_bytes());
    let axes = usize::from(dims.min(3));
    let numbers = motion.position[..axes].iter().chain(&motion.velocity[..axes]);
    for number in numbers.chain([&motion.heading]) {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The position that a message names. What is missing is as in `usual`.
///
/// # Errors
/// [`Reason::FieldInvalid`].
pub(crate) fn position_of(message: Message<'_>, usual: [f32; 3]) -> Result<[f32; 3], Reason> {
    let [x, y, z] = usual;
    Ok([number_of(message, "x", x)?, number_of(message, "y", y)?, number_of(message, "z", z)?])
}

fn number_of(message: Message<'_>, name: &str, usual: f32) -> Result<f32, Reason> {
    let Some(value) = message.get(name) else { return Ok(usual) };
    let number = value.as_float().ok_or(Reason::FieldInvalid)? as f32;
    if number.is_finite() { Ok(number) } else { Err(Reason::FieldInvalid) }
}

/// The motion that a `move` message says.
///
/// # Errors
/// [`Reason::FieldMissing`], [`Reason::FieldInvalid`].
pub(crate) fn motion_of(message: Message<'_>) -> Result<Motion, Reason> {
    if message.get("x").is_none() || message.get("y").is_none() {
        return Err(Reason::FieldMissing);
    }
    let number = |name| number_of(message, name, 0.0);
    let velocity = [number("vx")?, number("vy")?, number("vz")?];
    let (position, heading) = (position_of(message, [0.0; 3])?, number("heading")?);
    Ok(Motion { position, velocity, heading })
}
