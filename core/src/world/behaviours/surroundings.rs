//! What a behaviour may know of others: who is near, as it was at the world's last tick or is since.

use core::ops::Deref;

use super::vector::{Vector, square, sub};
use crate::world::World;
use crate::world::grid::{Cell, NO_CELL};

/// An NPC looks at so many others at most, whoever is near: a crowd costs no more than a few.
pub const LOOKED_AT_MAX: usize = 16;

/// Somebody near.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Neighbour {
    /// The number of the entity.
    pub number: u16,
    /// Whether it is a member's.
    pub is_member: bool,
    /// Where it is.
    pub position: Vector,
    /// How it moves.
    pub velocity: Vector,
}

/// Those who are near.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours {
    list: [Neighbour; LOOKED_AT_MAX],
    count: usize,
}

impl Deref for Neighbours {
    type Target = [Neighbour];

    fn deref(&self) -> &[Neighbour] {
        &self.list[..self.count]
    }
}

/// The world around its NPCs, to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    world: &'a World,
    tick: u64,
}

impl<'a> Surroundings<'a> {
    pub(in crate::world) fn new(world: &'a World, tick: u64) -> Self {
        Self { world, tick }
    }

    /// Entities in the cell of an NPC and then in those that touch it, 16 at most, without the NPC
    /// itself. Of a cell with more it sees others at every tick. None for a number that is nobody's.
    #[must_use]
    pub fn entities(&self, number: u16) -> Neighbours {
        self.look(number, |cell| &cell.entities)
    }

    /// Entities of members whose centre is the cell of an NPC or one that touches it, 16 at most.
    #[must_use]
    pub fn members(&self, number: u16) -> Neighbours {
        self.look(number, |cell| &cell.viewers)
    }

    fn look(&self, number: u16, list_of: impl Fn(&'a Cell) -> &'a [u16]) -> Neighbours {
        let grid = &self.world.grid;
        let mut found = Neighbours::default();
        let place = self.world.places.get(usize::from(number));
        let Some(place) = place.filter(|place| place.cell != NO_CELL) else { return found };
        let own = grid.cell(place.cell);
        self.add(number, list_of(own), &mut found);
        let middle = grid.neighbour_count() / 2;
        for (place, cell) in own.neighbours[..grid.neighbour_count()].iter().enumerate() {
            if found.count == LOOKED_AT_MAX {
                break;
            }
            if place != middle && *cell != NO_CELL {
                self.add(number, list_of(grid.cell(*cell)), &mut found);
            }
        }
        found
    }

    /// Adds those of a list, from some place on and then what stands before that.
    fn add(&self, number: u16, list: &[u16], found: &mut Neighbours) {
        let turned_by = self.tick as usize * LOOKED_AT_MAX + usize::from(number);
        let start = if list.len() > LOOKED_AT_MAX { turned_by % list.len() } else { 0 };
        let (before, after) = list.split_at(start);
        for part in [after, before] {
            for other in part.iter().filter(|other| **other != number) {
                if found.count == LOOKED_AT_MAX {
                    return;
                }
                let motion = &self.world.entities[usize::from(*other)].motion;
                found.list[found.count] = Neighbour {
                    number: *other,
                    is_member: self.world.session_of(*other).is_some(),
                    position: motion.position,
                    velocity: motion.velocity,
                };
                found.count += 1;
            }
        }
    }
}

/// Who of them is nearest to a place.
pub(super) fn nearest<'n>(
    others: impl Iterator<Item = &'n Neighbour>,
    place: Vector,
) -> Option<&'n Neighbour> {
    let (mut nearest, mut least) = (None, f32::INFINITY);
    for other in others {
        let distance = square(sub(other.position, place));
        if distance < least {
            (nearest, least) = (Some(other), distance);
        }
    }
    nearest
}
