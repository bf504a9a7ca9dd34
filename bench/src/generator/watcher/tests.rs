use super::*;
use crate::ledger::Tally;
use crate::pacing::Schedule;
use crate::path::{CELL_WIDTH, Path, Square};
use crate::profile::Rooms;
use crate::wire::world::write_update;

const RUN: u64 = 77;
const SIDE_CELLS: u32 = 5;
const USERS: u32 = 300;
const SCHEDULE: Schedule = Schedule {
    start_ns: 50_000_000_000,
    measure_from_ns: 50_000_000_000,
    end_ns: 90_000_000_000,
    period_ns: 100_000_000,
};
const BOUND_NS: u64 = 150_000_000;

/// A world in which user 0, who is entity 0 as all are their numbers, is told by the book.
struct Book {
    square: Square,
    walkers: Walkers,
    paths: Vec<Path>,
    watcher: Watcher,
    checks: Checks,
    centre: [i16; 2],
    /// The cell of each at the tick before.
    cells: Vec<[i16; 2]>,
}

/// One cell of a frame.
#[derive(Default)]
struct Cell {
    at: [i16; 2],
    is_key: bool,
    updates: Vec<u8>,
    leaves: Vec<u8>,
}

impl Book {
    fn new() -> Self {
        let square = Square::new(SIDE_CELLS);
        let mut walkers = Walkers::new(SCHEDULE, square, 0);
        (0..USERS).for_each(|user| walkers.add(user as u16, user, RUN));
        let paths: Vec<Path> = (0..USERS).map(|user| Path::new(RUN, user, square)).collect();
        let cells = paths.iter().map(|path| path.cell(square, BEFORE_FIRST)).collect();
        let checks = Checks::new(Tally::new(USERS, Rooms::new(USERS, USERS)));
        let watcher = Watcher::default();
        Self { square, walkers, paths, watcher, checks, centre: [-9, -9], cells }
    }

    /// What is told at the tick after everyone's move of this number.
    fn sections(&mut self, number: i32) -> Vec<Cell> {
        let centre = self.paths[0].cell(self.square, number);
        let mut cells: Vec<Cell> = Vec::new();
        for x in -1..=1 {
            for y in -1..=1 {
                let at = [centre[0] + x, centre[1] + y];
                cells.push(Cell { at, is_key: !touch(at, self.centre), ..Cell::default() });
            }
        }
        for (entity, path) in (0..).zip(&self.paths) {
            let told = path.told(self.square, number);
            let before = self.cells[usize::from(entity)];
            for cell in &mut cells {
                if cell.at == told.cell {
                    write_update(entity, told.state, &mut cell.updates);
                } else if cell.at == before && !cell.is_key {
                    cell.leaves.extend_from_slice(&entity.to_le_bytes());
                    told.cell
                        .iter()
                        .for_each(|axis| cell.leaves.extend_from_slice(&axis.to_le_bytes()));
                    cell.leaves.extend_from_slice(&told.state.to_le_bytes()[..7]);
                }
            }
            self.cells[usize::from(entity)] = told.cell;
        }
        self.centre = centre;
        cells
    }

    fn receive(&mut self, number: i32, cells: &[Cell]) -> u64 {
        let now_ns = SCHEDULE.start_ns + (number as u64 + 1) * SCHEDULE.period_ns - 1;
        let mut payload = 1_u64.to_le_bytes().to_vec();
        payload.extend_from_slice(&(number as u32).to_le_bytes());
        payload.extend_from_slice(&CELL_WIDTH.to_le_bytes());
        payload.push(2);
        self.centre.iter().for_each(|axis| payload.extend_from_slice(&axis.to_le_bytes()));
        for cell in cells {
            cell.at.iter().for_each(|axis| payload.extend_from_slice(&axis.to_le_bytes()));
            payload.push(u8::from(cell.is_key));
            for (list, bytes) in [(&cell.updates, 9), (&cell.leaves, 13)] {
                payload.extend_from_slice(&((list.len() / bytes) as u16).to_le_bytes());
            }
            payload.extend_from_slice(&cell.updates);
            payload.extend_from_slice(&cell.leaves);
        }
        let frame = WorldFrame::read(&payload).unwrap();
        let moment = Moment::new(SCHEDULE, now_ns);
        self.watcher.begin(&frame);
        for section in frame.sections() {
            let section = section.unwrap();
            self.watcher.section(&section, frame.tick, &self.walkers, moment, &mut self.checks);
        }
        self.watcher.look(0, &self.walkers, moment, BOUND_NS)
    }

    fn in_view(&self) -> usize {
        self.cells.iter().filter(|cell| touch(**cell, self.centre)).count()
    }
}

#[test]
fn a_member_that_is_told_by_the_book_knows_all_in_view_and_nobody_else() {
    let mut book = Book::new();
    let mut centres = std::collections::BTreeSet::new();
    for number in 0..400 {
        let cells = book.sections(number);
        assert_eq!(book.receive(number, &cells), 0, "{number}");
        assert_eq!(book.watcher.known.len(), book.in_view(), "{number}");
        centres.insert(book.centre);
    }
    assert!(centres.len() > 3, "it has walked: {centres:?}");
    let Checks { tally, latencies, .. } = &book.checks;
    assert_eq!((tally.duplicated, tally.out_of_order), (0, 0));
    assert!(latencies.count() > 300 * 50, "{}", latencies.count());
}

#[test]
fn a_section_that_is_left_out_or_an_entity_that_is_not_told_of_is_missed() {
    for (name, damage) in [
        ("the own cell", (|cells: &mut Vec<Cell>| drop(cells.remove(4))) as fn(&mut Vec<Cell>)),
        ("another cell", |cells| drop(cells.remove(0))),
        ("the last entity", |cells| {
            let kept = cells[4].updates.len() - 9;
            cells[4].updates.truncate(kept);
        }),
    ] {
        let mut book = Book::new();
        let mut missed = 0;
        for number in 0..60 {
            let mut cells = book.sections(number);
            if number >= 40 {
                damage(&mut cells);
            }
            missed += book.receive(number, &cells);
            assert!(number >= 41 || missed == 0, "{name} at {number}");
        }
        assert!(missed > 0, "{name}");
    }
}

#[test]
fn a_ghost_whose_leave_was_left_out_is_missed() {
    let mut book = Book::new();
    let mut missed = 0;
    let mut left = None;
    for number in 0..100 {
        let centre = book.centre;
        let mut cells = book.sections(number);
        // One that goes out of view, while the member stays in its cell: nothing else tells of that.
        for cell in cells.iter_mut().filter(|_| left.is_none() && centre == book.centre) {
            let leaves: Vec<&[u8]> = cell.leaves.chunks_exact(13).collect();
            let is_gone = |leave: &&[u8]| {
                let leave: &[u8; 13] = (*leave).try_into().unwrap();
                !touch(read_leave(leave).1, centre)
            };
            if let Some(at) = leaves.iter().position(is_gone) {
                cell.leaves.drain(at * 13..(at + 1) * 13);
                left = Some(number);
                break;
            }
        }
        missed += book.receive(number, &cells);
        assert!(left.is_some() || missed == 0, "{number}");
        if left.is_some_and(|left| number > left + 8) {
            break;
        }
    }
    assert!(left.is_some() && missed > 0, "{left:?}");
}

#[test]
fn a_member_that_is_told_of_another_place_is_missed_there() {
    let mut book = Book::new();
    for number in 0..10 {
        let cells = book.sections(number);
        assert_eq!(book.receive(number, &cells), 0);
    }
    let centre = book.paths[0].cell(book.square, 10);
    book.centre = [100, 100];
    assert_eq!(book.receive(10, &[]), 1, "it is not where {centre:?} is");
}
