//! The grid: cells that have something in them, or had a moment ago, or around which somebody sees.
//!
//! A cell is *active* for a while after anything of it has changed: so long that whoever sees it has
//! been told in the slowest class, and that its views have chosen their classes. A tick looks at active
//! cells alone, so one in which nothing has happened costs nothing. What happens in a cell that nobody
//! sees is no reason to look: whoever comes to see it is told all there is.
//!
//! Cells in use are at most [`CELLS_PER_ENTITY_MAX`] for each entity that the world ever had at once:
//! one in which it is, one around which it sees, and one for each time that it has left a cell within
//! the slowest class's period. Nobody needs to hear that somebody left who came since the last tick.

use alloc::vec::Vec;

use super::SLOWEST_PERIOD;
use super::departures::{Departures, NEVER};
use super::lists::Lists;
use super::motion::Place;
use crate::hashing::{HashMap, HashSeed};

/// The index of no cell.
pub(super) const NO_CELL: u32 = u32::MAX;
/// Cells of a view in 3D.
pub(super) const NEIGHBOURS_MAX: usize = 27;

/// Cells in use for each entity, at most.
pub(super) const CELLS_PER_ENTITY_MAX: usize = 2 + SLOWEST_PERIOD as usize;
/// So many runs a cell is active: until its slowest class has been told, and until its views have
/// chosen classes and taken them over.
const ACTIVE_RUNS: u32 = 2 * SLOWEST_PERIOD;

/// How often a view's cells are told, as powers of two, by the cell's place in the view.
pub(super) type Classes = [u8; NEIGHBOURS_MAX];

/// A cell, and the view of which it is the centre.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) at: [i16; 3],
    pub(super) entities: Vec<u16>,
    /// The last departure from it.
    left: u64,
    /// The latest run at which anything of it changed.
    pub(super) changed: u32,
    /// Members whose centre it is.
    pub(super) viewers: Vec<u16>,
    /// Centres with somebody who sees around them, in whose views it is.
    seen_from: u8,
    /// The cells that touch it and itself, by their place.
    pub(super) neighbours: [u32; NEIGHBOURS_MAX],
    /// How often this view is told of each.
    pub(super) classes: Classes,
    /// How often it is going to be told.
    pub(super) wanted: Classes,
    /// Some of its viewers are to be told something else than the others.
    pub(super) has_news: bool,
    /// At which run its view was looked at last.
    planned: u32,
    /// It is in use.
    is_used: bool,
    /// It stands in the list of active cells.
    is_active: bool,
    /// The last run at which it is active.
    active_until: u32,
}

impl Cell {
    fn new(at: [i16; 3]) -> Self {
        Self {
            at,
            entities: Vec::new(),
            left: NEVER,
            changed: 0,
            viewers: Vec::new(),
            seen_from: 0,
            neighbours: [NO_CELL; NEIGHBOURS_MAX],
            classes: [0; NEIGHBOURS_MAX],
            wanted: [0; NEIGHBOURS_MAX],
            has_news: false,
            planned: 0,
            is_used: true,
            is_active: false,
            active_until: 0,
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
    /// Cells of which something may be to tell, in an order that depends on nothing but what happened.
    active: Vec<u32>,
    free: Vec<u32>,
    departures: Departures,
    lists: Lists,
}

impl Grid {
    pub(super) fn new(dims: u8, seed: HashSeed) -> Self {
        Self {
            dims,
            cells: Vec::new(),
            by_coordinates: HashMap::with_hasher(seed),
            active: Vec::new(),
            free: Vec::new(),
            departures: Departures::default(),
            lists: Lists::default(),
        }
    }

    pub(super) fn cell(&self, index: u32) -> &Cell {
        &self.cells[index as usize]
    }

    pub(super) fn cell_mut(&mut self, index: u32) -> &mut Cell {
        &mut self.cells[index as usize]
    }

    /// Number of cells in use.
    pub(super) fn used_count(&self) -> usize {
        self.by_coordinates.len()
    }

    /// Number of cells at which a tick looks.
    #[cfg(test)]
    pub(super) fn active_count(&self) -> usize {
        self.active.len()
    }

    /// Makes room for what so many entities may do between two ticks.
    pub(super) fn reserve(&mut self, entities: usize) {
        self.departures.reserve(SLOWEST_PERIOD as usize * entities);
    }

    /// Who has left a cell after that run, the last first; some more than once.
    pub(super) fn departed_since(&self, cell: u32, since: u32) -> impl Iterator<Item = u16> {
        let departed = self.departures.of(self.cells[cell as usize].left);
        departed.take_while(move |departed| departed.run > since).map(|departed| departed.entity)
    }

    /// Appends the centres, with somebody who sees around them, in whose views are active cells.
    pub(super) fn collect_centres(&mut self, run: u32, out: &mut Vec<u32>) {
        for at in 0..self.active.len() {
            for place in 0..self.neighbour_count() {
                let centre = self.cells[self.active[at] as usize].neighbours[place];
                let Some(cell) = self.cells.get_mut(centre as usize) else { continue };
                if cell.planned != run && !cell.viewers.is_empty() {
                    cell.planned = run;
                    out.push(centre);
                }
            }
        }
    }

    /// The cell is looked at by the next ticks.
    pub(super) fn activate(&mut self, index: u32, run: u32) {
        let cell = &mut self.cells[index as usize];
        cell.active_until = run + ACTIVE_RUNS;
        if !core::mem::replace(&mut cell.is_active, true) {
            self.active.push(index);
        }
    }

    /// So are all cells that somebody sees.
    pub(super) fn activate_all(&mut self, run: u32) {
        for index in 0..self.cells.len() as u32 {
            let cell = &self.cells[index as usize];
            if cell.is_used && cell.seen_from > 0 {
                self.activate(index, run);
            }
        }
    }

    /// One who sees around this cell is to be told something else than the others.
    pub(super) fn note_news(&mut self, index: u32, run: u32) {
        self.cells[index as usize].has_news = true;
        self.activate(index, run);
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

    /// The cell at these coordinates, if it is in use.
    pub(super) fn find(&self, at: [i16; 3]) -> Option<u32> {
        self.by_coordinates.get(&at).copied()
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
                cell.left = NEVER;
                cell.is_used = true;
                cell.seen_from = 0;
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
            let has_viewers = !self.cells[neighbour as usize].viewers.is_empty();
            let cell = &mut self.cells[index as usize];
            cell.neighbours[place] = neighbour;
            cell.seen_from += u8::from(has_viewers);
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
        self.lists.push(entities, entity);
        Place { cell, index: entities.len() as u32 - 1, steps }
    }

    /// Takes an entity out of its cell. Who sees that has to hear of it if it `was_told` of the entity.
    /// Returns the one that stands in its place now, if another does.
    pub(super) fn exit(
        &mut self,
        place: Place,
        entity: u16,
        run: u32,
        was_told: bool,
    ) -> Option<u16> {
        let cell = &mut self.cells[place.cell as usize];
        let gone = self.lists.swap_remove(&mut cell.entities, place.index);
        assert!(gone == entity, "an entity stands where its place says");
        let moved = cell.entities.get(place.index as usize).copied();
        if was_told && cell.seen_from > 0 {
            cell.left = self.departures.push(entity, run, cell.left);
        }
        if cell.seen_from == 0 && cell.entities.is_empty() {
            // To be freed behind the tick.
            self.activate(place.cell, run);
        }
        self.touch(place.cell, run);
        moved
    }

    /// Something of the cell has changed.
    pub(super) fn touch(&mut self, index: u32, run: u32) {
        let cell = &mut self.cells[index as usize];
        cell.changed = run;
        if cell.seen_from > 0 {
            self.activate(index, run);
        }
    }

    /// A member sees around this cell. Returns where it stands.
    pub(super) fn add_viewer(&mut self, cell: u32, entity: u16) -> u32 {
        let viewers = &mut self.cells[cell as usize].viewers;
        self.lists.push(viewers, entity);
        let place = viewers.len() as u32 - 1;
        if place == 0 {
            self.count_seen(cell, 1);
        }
        place
    }

    /// A view has somebody in it from now on, or nobody any more.
    fn count_seen(&mut self, centre: u32, change: i8) {
        for place in 0..self.neighbour_count() {
            let index = self.cells[centre as usize].neighbours[place];
            if let Some(cell) = self.cells.get_mut(index as usize) {
                cell.seen_from = cell.seen_from.checked_add_signed(change).expect("it is counted");
            }
        }
    }

    /// Takes a member out of its centre. Returns the one that stands in its place now.
    pub(super) fn remove_viewer(&mut self, cell: u32, place: u32, run: u32) -> Option<u16> {
        let viewers = &mut self.cells[cell as usize].viewers;
        self.lists.swap_remove(viewers, place);
        let moved = viewers.get(place as usize).copied();
        if viewers.is_empty() {
            self.count_seen(cell, -1);
        }
        self.activate(cell, run);
        moved
    }

    /// After a run: forgets who left so long ago that every class was told, cells without anything, and
    /// which are active no more.
    pub(super) fn tidy(&mut self, run: u32) {
        self.departures.forget(run);
        let mut at = 0;
        while let Some(&index) = self.active.get(at) {
            self.free_if_unused(index, run);
            let cell = &mut self.cells[index as usize];
            if cell.is_used && run < cell.active_until {
                at += 1;
            } else {
                cell.is_active = false;
                self.active.swap_remove(at);
            }
        }
    }

    /// Frees a cell, if nothing is in it, nobody sees around it and all have heard who has left.
    pub(super) fn free_if_unused(&mut self, index: u32, run: u32) {
        let cell = &mut self.cells[index as usize];
        let is_empty = cell.entities.is_empty() && cell.viewers.is_empty();
        if !cell.is_used || !is_empty || self.departures.has(cell.left) {
            return;
        }
        cell.is_used = false;
        cell.has_news = false;
        self.by_coordinates.remove(&cell.at);
        let neighbours = core::mem::replace(&mut cell.neighbours, [NO_CELL; NEIGHBOURS_MAX]);
        for (place, neighbour) in neighbours.iter().enumerate().take(self.neighbour_count()) {
            let opposite = self.neighbour_count() - 1 - place;
            if *neighbour != NO_CELL && *neighbour != index {
                let known = &mut self.cells[*neighbour as usize];
                known.neighbours[opposite] = NO_CELL;
                if !known.viewers.is_empty() {
                    // Its view has become smaller, and may be told more often.
                    self.activate(*neighbour, run);
                }
            }
        }
        self.free.push(index);
    }
}
