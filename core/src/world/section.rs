//! Sections: what is told of a cell at a run, encoded once for each class in which it is due.

use alloc::vec::Vec;

use super::World;
use super::frame::{count_section, start_section, update_bytes, write_leave};
use super::grid::NO_CELL;
use super::motion::PACKED_BYTES_MAX;
use crate::turn::Span;

/// In which form a cell is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What has changed within so many runs: two to this power.
    Since(u8),
    /// All there is.
    Key,
}

/// How many forms there are.
const FORMS: usize = 5;

impl Form {
    const fn index(self) -> usize {
        match self {
            Self::Since(class) => class as usize,
            Self::Key => FORMS - 1,
        }
    }
}

/// The sections of one run.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) bytes: Vec<u8>,
    /// By cell: those that were asked for at which run. One of no bytes says nothing.
    known: Vec<(u32, [Option<Span>; FORMS])>,
}

impl Sections {
    /// Begins a run.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

impl World {
    /// The section of a cell in this form, at this run. Of no bytes if there is nothing to tell.
    pub(super) fn section(&mut self, cell: u32, form: Form) -> Span {
        let known = &mut self.sections.known;
        if known.len() <= cell as usize {
            known.resize(cell as usize + 1, (0, [None; FORMS]));
        }
        let known = &mut known[cell as usize];
        if known.0 != self.run {
            *known = (self.run, [None; FORMS]);
        }
        if let Some(span) = known.1[form.index()] {
            return span;
        }
        let span = self.encode_section(cell, form);
        self.sections.known[cell as usize].1[form.index()] = Some(span);
        span
    }

    fn encode_section(&mut self, cell: u32, form: Form) -> Span {
        let dims = self.settings.dims;
        let entry_bytes = update_bytes(dims);
        let (known, out) = (self.grid.cell(cell), &mut self.sections.bytes);
        let start = out.len();
        let since = match form {
            Form::Key => None,
            Form::Since(class) => Some(self.run.saturating_sub(1 << class)),
        };
        if since.is_some_and(|since| known.changed <= since) {
            return Span::since(start, out);
        }
        start_section(known.at, dims, since.is_none(), out);
        let (mut updates, mut leaves) = (0, 0);
        for entity in &known.entities {
            let at = usize::from(*entity);
            if since.is_none_or(|since| self.changed[at] > since) {
                out.extend_from_slice(&self.packed[at][..entry_bytes]);
                updates += 1;
            }
        }
        if let Some(since) = since {
            // Of who has left more than once, the last time counts.
            self.section_count += 1;
            for entity in self.grid.departed_since(cell, since) {
                let told_in = &mut self.told_in[usize::from(entity)];
                if core::mem::replace(told_in, self.section_count) == self.section_count {
                    continue;
                }
                // Who has come back is told of as being here.
                let place = self.places[usize::from(entity)];
                if place.cell == cell {
                    continue;
                }
                if place.cell == NO_CELL {
                    let mut gone = [0; PACKED_BYTES_MAX];
                    gone[..2].copy_from_slice(&entity.to_le_bytes());
                    write_leave(&gone, known.at, dims, out);
                } else {
                    let now_in = self.grid.cell(place.cell).at;
                    write_leave(&self.packed[usize::from(entity)], now_in, dims, out);
                }
                leaves += 1;
            }
        }
        if since.is_some() && updates == 0 && leaves == 0 {
            out.truncate(start);
        } else {
            count_section(start, dims, (updates, leaves), out);
        }
        Span::since(start, out)
    }
}
