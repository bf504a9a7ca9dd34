//! Frames: what a member is told at a tick, in the layout of the binary protocol
//! (`docs/protocol.md`, "Worlds"). The reader serves every other protocol, clients and tests.

use alloc::vec::Vec;

use super::motion::{STEPS_PER_CELL, VELOCITY_STEPS};
use crate::reason::Reason;

/// Bytes of an update in 2D.
pub const UPDATE_BYTES_2D: usize = 9;
/// Bytes of an update in 3D.
pub const UPDATE_BYTES_3D: usize = 12;
/// Bytes of a frame before its centre.
const HEADER_BYTES: usize = 17;
/// The bit of a frame that says all there is.
const WHOLE: u8 = 1 << 7;
/// The bit of a section that says all there is in its cell.
const KEY: u8 = 1;

/// Bytes of an update.
#[must_use]
pub const fn update_bytes(dims: u8) -> usize {
    if dims == 2 { UPDATE_BYTES_2D } else { UPDATE_BYTES_3D }
}

/// What stands before a frame's sections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameHeader {
    /// The world's object.
    pub world: u64,
    /// Which tick, modulo 2^32.
    pub tick: u32,
    /// Width of a cell.
    pub cell: f32,
    /// 2 or 3.
    pub dims: u8,
    /// It says all there is.
    pub is_whole: bool,
    /// The member's centre. In 2D the third coordinate is 0, here and everywhere.
    pub centre: [i16; 3],
}

impl FrameHeader {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.world.to_le_bytes());
        out.extend_from_slice(&self.tick.to_le_bytes());
        out.extend_from_slice(&self.cell.to_le_bytes());
        out.push(self.dims | if self.is_whole { WHOLE } else { 0 });
        write_cell(self.centre, self.dims, out);
    }
}

/// Appends a cell's coordinates.
pub(super) fn write_cell(cell: [i16; 3], dims: u8, out: &mut Vec<u8>) {
    for axis in &cell[..usize::from(dims)] {
        out.extend_from_slice(&axis.to_le_bytes());
    }
}

/// Appends a section's cell and flags, and leaves room for its counts.
pub(super) fn start_section(cell: [i16; 3], dims: u8, is_key: bool, out: &mut Vec<u8>) {
    write_cell(cell, dims, out);
    out.push(if is_key { KEY } else { 0 });
    out.extend_from_slice(&[0; 4]);
}

/// Fills in the counts of a section that begins at `start`.
pub(super) fn count_section(start: usize, dims: u8, counts: (u16, u16), out: &mut [u8]) {
    let at = start + 2 * usize::from(dims) + 1;
    out[at..at + 2].copy_from_slice(&counts.0.to_le_bytes());
    out[at + 2..at + 4].copy_from_slice(&counts.1.to_le_bytes());
}

/// Appends a leave: of an entity that is in another cell now, as this update there says, or of one
/// that is gone from this cell and from the world.
pub(super) fn write_leave(update: &[u8], now_in: [i16; 3], dims: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&update[..2]);
    write_cell(now_in, dims, out);
    out.extend_from_slice(&update[2..update_bytes(dims)]);
}

/// An entity as a section tells it, in the world's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Its number.
    pub entity: u16,
    /// Position.
    pub position: [f64; 3],
    /// Velocity, in units per second.
    pub velocity: [f64; 3],
    /// In degrees, from 0 to less than 360.
    pub heading: f64,
}

/// An entity that is not in a section's cell any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leave {
    /// Its number.
    pub entity: u16,
    /// In which cell it is, and how; none: it is gone from the world.
    pub now: Option<([i16; 3], Update)>,
}

/// One cell of a frame, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Which cell.
    pub cell: [i16; 3],
    /// It tells of every entity of the cell.
    pub is_key: bool,
    dims: u8,
    width: f32,
    updates: &'a [u8],
    leaves: &'a [u8],
}

impl<'a> Section<'a> {
    /// Entities that are in the cell.
    pub fn updates(&self) -> impl ExactSizeIterator<Item = Update> + use<'a> {
        let Self { dims, cell, width, .. } = *self;
        let updates = self.updates.chunks_exact(update_bytes(dims));
        updates.map(move |bytes| read_update(bytes, dims, cell, width))
    }

    /// Entities that are not in it any more.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = Leave> + use<'a> {
        let Self { dims, cell, width, .. } = *self;
        self.leaves.chunks_exact(leave_bytes(dims)).map(move |bytes| {
            let now_in = read_cell(&bytes[2..], dims);
            let mut update = [0; UPDATE_BYTES_3D];
            update[..2].copy_from_slice(&bytes[..2]);
            let state = &bytes[2 + 2 * usize::from(dims)..];
            update[2..2 + state.len()].copy_from_slice(state);
            let update = read_update(&update, dims, now_in, width);
            Leave { entity: update.entity, now: (now_in != cell).then_some((now_in, update)) }
        })
    }
}

fn read_update(bytes: &[u8], dims: u8, cell: [i16; 3], width: f32) -> Update {
    let axes = usize::from(dims);
    let width = f64::from(width);
    let mut update = Update {
        entity: u16::from_le_bytes([bytes[0], bytes[1]]),
        position: [0.0; 3],
        velocity: [0.0; 3],
        heading: f64::from(bytes[2 + 3 * axes]) * 360.0 / 256.0,
    };
    for (axis, corner) in cell.iter().enumerate().take(axes) {
        let offset = u16::from_le_bytes([bytes[2 + 2 * axis], bytes[3 + 2 * axis]]);
        let place = f64::from(*corner) + f64::from(offset) / STEPS_PER_CELL;
        update.position[axis] = place * width;
        let steps = bytes[2 + 2 * axes + axis] as i8;
        update.velocity[axis] = f64::from(steps) * width / VELOCITY_STEPS;
    }
    update
}

const fn leave_bytes(dims: u8) -> usize {
    update_bytes(dims) + 2 * dims as usize
}

fn read_cell(bytes: &[u8], dims: u8) -> [i16; 3] {
    let mut cell = [0; 3];
    for (axis, bytes) in cell.iter_mut().zip(bytes.chunks_exact(2)).take(usize::from(dims)) {
        *axis = i16::from_le_bytes([bytes[0], bytes[1]]);
    }
    cell
}

/// A frame, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// What stands before its sections.
    pub header: FrameHeader,
    sections: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the payload of a frame, and checks all of it.
    ///
    /// # Errors
    /// [`Reason::Malformed`] when it ends too early, [`Reason::FieldInvalid`] when it cannot be.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let frame = Self::read(bytes)?;
        let mut sections = frame.sections();
        for _ in sections.by_ref() {}
        if sections.rest.is_empty() { Ok(frame) } else { Err(Reason::Malformed) }
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Reason> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Reason::Malformed)?;
        let number = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let world = u64::from_le_bytes(*header.first_chunk().expect("it is longer"));
        let dims = header[16] & !WHOLE;
        let cell = f32::from_le_bytes(number(12));
        if !matches!(dims, 2 | 3) || !cell.is_finite() || cell <= 0.0 {
            return Err(Reason::FieldInvalid);
        }
        let (centre, sections) =
            rest.split_at_checked(2 * usize::from(dims)).ok_or(Reason::Malformed)?;
        let header = FrameHeader {
            world,
            tick: u32::from_le_bytes(number(8)),
            cell,
            dims,
            is_whole: header[16] & WHOLE != 0,
            centre: read_cell(centre, dims),
        };
        Ok(Self { header, sections })
    }

    /// Bytes that [`parse`](Self::parse) accepted, or that a world made.
    #[must_use]
    pub fn from_checked(bytes: &'a [u8]) -> Self {
        Self::read(bytes).expect("it was made here")
    }

    /// Its sections in order.
    #[must_use]
    pub fn sections(&self) -> Sections<'a> {
        Sections { header: self.header, rest: self.sections }
    }
}

/// Iterator over a frame's sections. Ends early where the bytes do.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    header: FrameHeader,
    rest: &'a [u8],
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let dims = self.header.dims;
        let head_bytes = 2 * usize::from(dims) + 5;
        let (head, rest) = self.rest.split_at_checked(head_bytes)?;
        let counts = &head[head_bytes - 4..];
        let update_count = usize::from(u16::from_le_bytes([counts[0], counts[1]]));
        let leave_count = usize::from(u16::from_le_bytes([counts[2], counts[3]]));
        let (updates, rest) = rest.split_at_checked(update_count * update_bytes(dims))?;
        let (leaves, rest) = rest.split_at_checked(leave_count * leave_bytes(dims))?;
        let flags = head[head_bytes - 5];
        if flags & !KEY != 0 {
            return None;
        }
        self.rest = rest;
        Some(Section {
            cell: read_cell(head, dims),
            is_key: flags & KEY != 0,
            dims,
            width: self.header.cell,
            updates,
            leaves,
        })
    }
}
