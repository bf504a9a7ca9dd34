//! Who has left which cell lately: one queue for a world, in which each entry leads to the one of the
//! same cell before it.

use alloc::collections::VecDeque;

use super::SLOWEST_PERIOD;

/// The number of no departure.
pub(super) const NEVER: u64 = 0;

/// An entity that has gone from a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departed {
    pub(super) entity: u16,
    /// The run at which this is told first.
    pub(super) run: u32,
    /// The departure from the same cell before.
    before: u64,
}

/// The departures that the slowest class has not heard of. Their numbers rise from 1.
#[derive(Debug)]
pub(super) struct Departures {
    queue: VecDeque<Departed>,
    /// The number of the oldest in the queue.
    first: u64,
}

impl Default for Departures {
    fn default() -> Self {
        Self { queue: VecDeque::new(), first: NEVER + 1 }
    }
}

impl Departures {
    /// Makes room for so many.
    pub(super) fn reserve(&mut self, count: usize) {
        self.queue.reserve(count.saturating_sub(self.queue.len()));
    }

    /// Whether this one is kept still.
    pub(super) fn has(&self, number: u64) -> bool {
        number >= self.first
    }

    /// An entity has left a cell, from which `before` was the last departure. Returns this one's number.
    pub(super) fn push(&mut self, entity: u16, run: u32, before: u64) -> u64 {
        self.queue.push_back(Departed { entity, run, before });
        self.first + self.queue.len() as u64 - 1
    }

    /// This departure, and those from the same cell before it.
    pub(super) fn of(&self, last: u64) -> impl Iterator<Item = Departed> {
        let mut next = last;
        core::iter::from_fn(move || {
            let at = next.checked_sub(self.first)?;
            let departed = self.queue[at as usize];
            next = departed.before;
            Some(departed)
        })
    }

    /// Forgets those of which every class was told, up to this run.
    pub(super) fn forget(&mut self, run: u32) {
        while self.queue.front().is_some_and(|left| left.run + SLOWEST_PERIOD <= run + 1) {
            self.queue.pop_front();
            self.first += 1;
        }
    }
}
