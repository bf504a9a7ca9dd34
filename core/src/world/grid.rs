//! The grid: cells that have something in them, or had a moment ago, or around which somebody sees.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::SLOWEST_PERIOD;
use super::motion::Place;
use crate::hashing::{HashMap, HashSeed};

/// The index of no cell.
pub(super) const NO_CELL: u32 = u32::MAX;
/// Cells of a view in 3D.
pub(super) const NEIGHBOURS_MAX: usize = 27;

/// An entity that has gone from a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) entity: u16,
    pub(super) run: u32,
}

/// How often a view's cells are told, as powers of two, by the cell's place in the view.
pub(super) type Classes = [u8; NEIGHBOURS_MAX];

/// A cell, and the view of which it is the centre.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) at: [i16; 3],
    pub(super) entities: Vec<u16>,
    /// Who went within the last ticks, each once.
    pub(super) left: VecDeque<Left>,
    /// The latest run at which anything of it changed.
    pub(super) changed: u32,
    /// Members whose centre it is.
    pub(super) viewers: Vec<u16>,
    /// The cells that touch it and itself, by their place.
    pub(super) neighbours: [u32; NEIGHBOURS_MAX],
    /// How often this view is told of each.
    pub(super) classes: Classes,
    /// How often it is going to be told.
    pub(super) wanted: Classes,
    /// Where it stands in the list of cells.
    listed_at: u32,
}

impl Cell {
    fn new(at: [i16; 3]) -> Self {
        Self {
            at,
            entities: Vec::new(),
            left: VecDeque::new(),
            changed: 0,
            viewers: Vec::new(),
            neighbours: [NO_CELL; NEIGHBOURS_MAX],
            classes: [0; NEIGHBOURS_MAX],
            wanted: [0; NEIGHBOURS_MAX],
            listed_at: 0,
        }
    }

    /// At which of the slowest class's ticks it is told, so that not all far cells are told at one.
    pub(super) fn phase(&self) -> u32 {
        let [x, y, z] = self.at.map(|axis| u32::from(axis as u16));
        (x + 3 * y + 5 * z) % SLOWEST_PERIOD
    }

    /// Whether it is told at this run in this class.
    pub(super) fn is_due(&self, class: u8, run: u32) -> bool {
        run.wrapping_add(self.phase()).is_multiple_of(1 << class)
    }
}

/// The cells of a world.
#[derive(Debug)]
pub(super) struct Grid {
    dims: u8,
    cells: Vec<Cell>,
    by_coordinates: HashMap<[i16; 3], u32>,
    /// Cells in use, in an order that depends on nothing but what happened.
    listed: Vec<u32>,
    free: Vec<u32>,
}

impl Grid {
    pub(super) fn new(dims: u8, seed: HashSeed) -> Self {
        Self {
            dims,
            cells: Vec::new(),
            by_coordinates: HashMap::with_hasher(seed),
            listed: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn cell(&self, index: u32) -> &Cell {
        &self.cells[index as usize]
    }

    pub(super) fn cell_mut(&mut self, index: u32) -> &mut Cell {
        &mut self.cells[index as usize]
    }

    /// Cells in use.
    pub(super) fn listed(&self) -> &[u32] {
        &self.listed
    }

    /// Number of cells of a view.
    pub(super) fn neighbour_count(&self) -> usize {
        if self.dims == 2 { 9 } else { 27 }
    }

    /// The place of a cell in the view around another, if it is in it.
    pub(super) fn place_in_view(&self, cell: [i16; 3], centre: [i16; 3]) -> Option<usize> {
        let mut place = 0;
        for axis in (0..usize::from(self.dims)).rev() {
            let offset = i32::from(cell[axis]) - i32::from(centre[axis]) + 1;
            place = 3 * place + usize::try_from(offset).ok().filter(|offset| *offset < 3)?;
        }
        Some(place)
    }

    /// Whether a cell is in both views.
    pub(super) fn views_overlap(&self, one: [i16; 3], other: [i16; 3]) -> bool {
        let axes = one.iter().zip(other).take(usize::from(self.dims));
        axes.into_iter().all(|(one, other)| one.abs_diff(other) <= 2)
    }

    /// How many coordinates of the cell at this place differ from the centre's.
    pub(super) fn steps_off(&self, place: usize) -> u32 {
        let digits = [place % 3, place / 3 % 3, place / 9];
        let axes = digits.iter().take(usize::from(self.dims));
        axes.filter(|digit| **digit != 1).count() as u32
    }

    /// The cell at these coordinates. It comes to be if it was not there.
    pub(super) fn cell_at(&mut self, at: [i16; 3]) -> u32 {
        if let Some(index) = self.by_coordinates.get(&at) {
            return *index;
        }
        let index = match self.free.pop() {
            Some(index) => {
                let cell = &mut self.cells[index as usize];
                cell.at = at;
                cell.changed = 0;
                cell.classes = [0; NEIGHBOURS_MAX];
                cell.wanted = [0; NEIGHBOURS_MAX];
                index
            }
            None => {
                self.cells.push(Cell::new(at));
                self.cells.len() as u32 - 1
            }
        };
        self.by_coordinates.insert(at, index);
        self.cells[index as usize].listed_at = self.listed.len() as u32;
        self.listed.push(index);
        self.link(index);
        index
    }

    /// Makes a new cell and those that touch it know each other. Nobody was told of anything in it,
    /// so it may be told at every tick.
    fn link(&mut self, index: u32) {
        let at = self.cells[index as usize].at;
        for place in 0..self.neighbour_count() {
            let offsets = [place % 3, place / 3 % 3, place / 9];
            let mut other = at;
            for (axis, offset) in other.iter_mut().zip(offsets).take(usize::from(self.dims)) {
                *axis += offset as i16 - 1;
            }
            let Some(&neighbour) = self.by_coordinates.get(&other) else { continue };
            self.cells[index as usize].neighbours[place] = neighbour;
            let opposite = self.neighbour_count() - 1 - place;
            let known = &mut self.cells[neighbour as usize];
            known.neighbours[opposite] = index;
            known.classes[opposite] = 0;
            known.wanted[opposite] = 0;
        }
    }

    /// Puts an entity into a cell.
    pub(super) fn enter(&mut self, cell: u32, entity: u16, steps: [i32; 3]) -> Place {
        let entities = &mut self.cells[cell as usize].entities;
        entities.push(entity);
        Place { cell, index: entities.len() as u32 - 1, steps }
    }

    /// Takes an entity out of its cell. Returns the one that stands in its place now, if another
    /// does.
    pub(super) fn exit(&mut self, place: Place, entity: u16, run: u32) -> Option<u16> {
        let cell = &mut self.cells[place.cell as usize];
        let gone = cell.entities.swap_remove(place.index as usize);
        assert!(gone == entity, "an entity stands where its place says");
        cell.left.push_back(Left { entity, run });
        cell.changed = run;
        cell.entities.get(place.index as usize).copied()
    }

    /// Something of the cell has changed.
    pub(super) fn touch(&mut self, cell: u32, run: u32) {
        self.cells[cell as usize].changed = run;
    }

    /// A member sees around this cell. Returns where it stands.
    pub(super) fn add_viewer(&mut self, cell: u32, entity: u16) -> u32 {
        let viewers = &mut self.cells[cell as usize].viewers;
        viewers.push(entity);
        viewers.len() as u32 - 1
    }

    /// Takes a member out of its centre. Returns the one that stands in its place now.
    pub(super) fn remove_viewer(&mut self, cell: u32, place: u32) -> Option<u16> {
        let viewers = &mut self.cells[cell as usize].viewers;
        viewers.swap_remove(place as usize);
        viewers.get(place as usize).copied()
    }

    /// After a run: forgets who left so long ago that every class was told, and cells without
    /// anything.
    pub(super) fn tidy(&mut self, run: u32) {
        let mut at = 0;
        while let Some(&index) = self.listed.get(at) {
            let cell = &mut self.cells[index as usize];
            while cell.left.front().is_some_and(|left| left.run + SLOWEST_PERIOD <= run + 1) {
                cell.left.pop_front();
            }
            let is_idle = cell.entities.is_empty() && cell.viewers.is_empty();
            if is_idle && cell.left.is_empty() {
                self.unlist(index);
            } else {
                at += 1;
            }
        }
    }

    fn unlist(&mut self, index: u32) {
        let cell = &mut self.cells[index as usize];
        self.by_coordinates.remove(&cell.at);
        let listed_at = cell.listed_at as usize;
        let neighbours = core::mem::replace(&mut cell.neighbours, [NO_CELL; NEIGHBOURS_MAX]);
        for (place, neighbour) in neighbours.iter().enumerate().take(self.neighbour_count()) {
            let opposite = self.neighbour_count() - 1 - place;
            if *neighbour != NO_CELL && *neighbour != index {
                self.cells[*neighbour as usize].neighbours[opposite] = NO_CELL;
            }
        }
        self.listed.swap_remove(listed_at);
        if let Some(moved) = self.listed.get(listed_at) {
            self.cells[*moved as usize].listed_at = listed_at as u32;
        }
        self.free.push(index);
    }
}
