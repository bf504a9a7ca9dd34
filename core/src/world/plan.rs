//! A plan: which members are told which sections at a tick. It travels with the sections to every
//! shard with members, which puts the frames together there. Groups are packed one after the other:
//!
//! ```text
//! group = u8 whole, i16 centre x3, u16 section count, u32 member count,
//!         section count times (u32 start, u32 length), member count times u64 session
//! ```

use alloc::vec::Vec;

use super::frame::FrameHeader;
use crate::ids::SessionId;
use crate::turn::Span;

const HEAD_BYTES: usize = 1 + 6 + 2 + 4;

/// What all frames of a tick have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TickHeader {
    /// The world's object.
    pub world: u64,
    /// Which tick, modulo 2^32.
    pub tick: u32,
    /// Width of a cell.
    pub cell: f32,
    /// 2 or 3.
    pub dims: u8,
}

/// Members who are told the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    /// They are told all there is.
    pub(crate) is_whole: bool,
    /// Their centre.
    pub(crate) centre: [i16; 3],
    sections: &'a [u8],
    members: &'a [u8],
}

impl<'a> Group<'a> {
    /// What they are told: ranges of the tick's sections.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Span> + use<'a> {
        self.sections.as_chunks::<8>().0.iter().map(|bytes| {
            let [a, b, c, d, e, f, g, h] = *bytes;
            Span {
                start: u32::from_le_bytes([a, b, c, d]),
                length: u32::from_le_bytes([e, f, g, h]),
            }
        })
    }

    /// Appends what they are told.
    pub(crate) fn write_frame(&self, header: TickHeader, sections: &[u8], out: &mut Vec<u8>) {
        let TickHeader { world, tick, cell, dims } = header;
        let (is_whole, centre) = (self.is_whole, self.centre);
        FrameHeader { world, tick, cell, dims, is_whole, centre }.write(out);
        for section in self.sections() {
            out.extend_from_slice(section.of(sections));
        }
    }

    /// Who they are.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = SessionId> + use<'a> {
        let members = self.members.as_chunks::<8>().0.iter();
        members.map(|bytes| SessionId::from_bits(u64::from_le_bytes(*bytes)))
    }
}

/// Appends a group. Its members are of one shard.
pub(super) fn write_group(
    out: &mut Vec<u8>,
    (is_whole, centre): (bool, [i16; 3]),
    sections: &[Span],
    members: &[u64],
) {
    out.push(u8::from(is_whole));
    for axis in centre {
        out.extend_from_slice(&axis.to_le_bytes());
    }
    out.extend_from_slice(&(sections.len() as u16).to_le_bytes());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    for Span { start, length } in sections {
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
    for member in members {
        out.extend_from_slice(&member.to_le_bytes());
    }
}

/// The groups of a plan that a world made.
pub(crate) fn groups(plan: &[u8]) -> impl Iterator<Item = Group<'_>> {
    let mut rest = plan;
    core::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let axis = |at: usize| i16::from_le_bytes([head[at], head[at + 1]]);
        let section_count = usize::from(u16::from_le_bytes([head[7], head[8]]));
        let member_count = u32::from_le_bytes([head[9], head[10], head[11], head[12]]) as usize;
        let (sections, after) = after.split_at(8 * section_count);
        let (members, after) = after.split_at(8 * member_count);
        rest = after;
        let centre = [axis(1), axis(3), axis(5)];
        Some(Group { is_whole: head[0] != 0, centre, sections, members })
    })
}
