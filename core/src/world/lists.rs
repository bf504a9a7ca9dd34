//! The memory of cells' lists: a list that becomes too long for its memory gets a larger piece, and an
//! empty one gives its piece back, so that a warm world does not allocate for a cell that is new.

use alloc::vec::Vec;

/// Entities in the smallest piece, as a power of two.
const SMALLEST: usize = 3;
/// Sizes up to that of the largest list.
const SIZES: usize = 16 - SMALLEST + 1;

/// Pieces that no list has, by size.
#[derive(Debug, Default)]
pub(super) struct Lists {
    spare: [Vec<Vec<u16>>; SIZES],
}

impl Lists {
    /// Appends to a list.
    pub(super) fn push(&mut self, list: &mut Vec<u16>, entity: u16) {
        if list.len() == list.capacity() {
            self.enlarge(list);
        }
        list.push(entity);
    }

    /// Takes out of a list what stands at a place, and puts the last there.
    pub(super) fn swap_remove(&mut self, list: &mut Vec<u16>, place: u32) -> u16 {
        let gone = list.swap_remove(place as usize);
        if list.is_empty() {
            self.give_back(core::mem::take(list));
        }
        gone
    }

    fn enlarge(&mut self, list: &mut Vec<u16>) {
        let size = list.capacity().checked_ilog2().map_or(0, |size| size as usize + 1 - SMALLEST);
        let new = || Vec::with_capacity(1 << (size + SMALLEST));
        let mut larger = self.spare[size].pop().unwrap_or_else(new);
        larger.extend_from_slice(list);
        self.give_back(core::mem::replace(list, larger));
    }

    fn give_back(&mut self, mut piece: Vec<u16>) {
        piece.clear();
        if let Some(size) = piece.capacity().checked_ilog2() {
            self.spare[size as usize - SMALLEST].push(piece);
        }
    }
}
