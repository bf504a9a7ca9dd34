//! Frames of worlds in 2D, read in place and byte by byte as they lie there: a reading of the layout of its
//! own, and one that costs a few nanoseconds for each entity.

/// Bytes before the sections: world, tick, cell, dims and the centre.
const HEADER_BYTES: usize = 8 + 4 + 4 + 1 + 4;
/// Bytes before a section's updates.
const SECTION_BYTES: usize = 4 + 1 + 2 + 2;
/// Bytes of an update: entity, offsets, velocity, heading.
pub const UPDATE_BYTES: usize = 9;
/// Bytes of a leave: one with a cell behind the entity.
pub const LEAVE_BYTES: usize = 13;
const DIMS: u8 = 2;
const WHOLE: u8 = 1 << 7;
const KEY: u8 = 1;

/// What a member is told at a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorldFrame<'a> {
    /// The world's object.
    pub world: u64,
    /// Which tick, modulo 2^32.
    pub tick: u32,
    /// Width of a cell.
    pub cell_width: f32,
    /// It says all there is.
    pub is_whole: bool,
    /// The member's centre.
    pub centre: [i16; 2],
    sections: &'a [u8],
}

/// What is told of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section<'a> {
    /// Which.
    pub cell: [i16; 2],
    /// It tells of every entity there.
    pub is_key: bool,
    /// Entities that are there.
    pub updates: &'a [[u8; UPDATE_BYTES]],
    /// Entities that are not there any more.
    pub leaves: &'a [[u8; LEAVE_BYTES]],
}

/// The bytes are no frame of a world in 2D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAWorldFrame;

/// The entity of an update, and all that stands behind it, from the lowest byte on.
#[must_use]
#[inline]
pub fn read_update(bytes: &[u8; UPDATE_BYTES]) -> (u16, u64) {
    let [first, rest @ ..] = *bytes;
    let rest = u64::from_le_bytes(rest);
    (u16::from(first) | (rest as u16) << 8, rest >> 8)
}

/// Appends an update.
pub fn write_update(entity: u16, state: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&entity.to_le_bytes());
    out.extend_from_slice(&state.to_le_bytes()[..UPDATE_BYTES - 2]);
}

/// The entity of a leave, the cell in which it is now, and its state there.
#[must_use]
pub fn read_leave(bytes: &[u8; LEAVE_BYTES]) -> (u16, [i16; 2], u64) {
    let [e0, e1, x0, x1, y0, y1, rest @ ..] = *bytes;
    let mut state = [0; 8];
    state[..rest.len()].copy_from_slice(&rest);
    let cell = [i16::from_le_bytes([x0, x1]), i16::from_le_bytes([y0, y1])];
    (u16::from_le_bytes([e0, e1]), cell, u64::from_le_bytes(state))
}

fn read_cell(bytes: [u8; 4]) -> [i16; 2] {
    let [x0, x1, y0, y1] = bytes;
    [i16::from_le_bytes([x0, x1]), i16::from_le_bytes([y0, y1])]
}

impl<'a> WorldFrame<'a> {
    /// Reads what stands before the sections.
    #[must_use]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let (header, sections) = payload.split_first_chunk::<HEADER_BYTES>()?;
        let (world, rest) = header.split_first_chunk()?;
        let (tick, rest) = rest.split_first_chunk()?;
        let (cell_width, rest) = rest.split_first_chunk()?;
        let (&[flags], rest) = rest.split_first_chunk()?;
        let centre = read_cell(*rest.first_chunk()?);
        (flags & !WHOLE == DIMS).then_some(Self {
            world: u64::from_le_bytes(*world),
            tick: u32::from_le_bytes(*tick),
            cell_width: f32::from_le_bytes(*cell_width),
            is_whole: flags & WHOLE != 0,
            centre,
            sections,
        })
    }

    /// Its sections in order, up to the first that is none.
    #[must_use]
    pub fn sections(&self) -> Sections<'a> {
        Sections(self.sections)
    }
}

/// Iterator over a frame's sections.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a>(&'a [u8]);

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, NotAWorldFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let section = split_section(self.0);
        self.0 = section.map_or(&[], |(_, rest)| rest);
        Some(section.map(|(section, _)| section).ok_or(NotAWorldFrame))
    }
}

fn split_section(bytes: &[u8]) -> Option<(Section<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<SECTION_BYTES>()?;
    let [x0, x1, y0, y1, flags, u0, u1, l0, l1] = *head;
    let count = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let (updates, rest) = rest.split_at_checked(count(u0, u1) * UPDATE_BYTES)?;
    let (leaves, rest) = rest.split_at_checked(count(l0, l1) * LEAVE_BYTES)?;
    let section = Section {
        cell: read_cell([x0, x1, y0, y1]),
        is_key: flags == KEY,
        updates: updates.as_chunks().0,
        leaves: leaves.as_chunks().0,
    };
    (flags & !KEY == 0).then_some((section, rest))
}

/// Appends a frame with one section of these updates, of the cell at 0, as the floor sends it.
pub fn write_frame(
    (world, tick): (u64, u32),
    cell_width: f32,
    updates: &[[u8; UPDATE_BYTES]],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&world.to_le_bytes());
    out.extend_from_slice(&tick.to_le_bytes());
    out.extend_from_slice(&cell_width.to_le_bytes());
    out.extend_from_slice(&[DIMS, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let count = u16::try_from(updates.len()).expect("a world has fewer entities");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(updates.as_flattened());
}
