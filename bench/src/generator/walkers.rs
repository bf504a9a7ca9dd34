//! Where everyone in a world is, as far as the schedule tells, and what an update says if it is right.
//! Pure: times are values.

use super::npcs;
use crate::pacing::Schedule;
use crate::path::{BEFORE_FIRST, NUMBERS_TOLD, Path, Square};

/// A moment, as it is in the schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The moment itself.
    pub(super) now_ns: u64,
    /// Whole periods since the start.
    periods: i32,
    /// Since the last of them, in nanoseconds.
    rest_ns: u64,
}

impl Moment {
    pub(super) fn new(schedule: Schedule, now_ns: u64) -> Self {
        let Some(since_ns) = now_ns.checked_sub(schedule.start_ns) else {
            return Self { now_ns, periods: -1, rest_ns: u64::MAX };
        };
        let periods = i32::try_from(since_ns / schedule.period_ns).unwrap_or(i32::MAX);
        Self { now_ns, periods, rest_ns: since_ns % schedule.period_ns }
    }
}

/// Whether two cells are in one view.
pub(super) fn touch(one: [i16; 2], other: [i16; 2]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.abs_diff(other) <= 1)
}

/// Who an entity is.
#[derive(Clone, Copy, Debug)]
struct Walker {
    path: Path,
    phase_ns: u64,
    /// Of its last move.
    number_max: i32,
}

/// Everyone in a world, by entity.
#[derive(Debug)]
pub(super) struct Walkers {
    schedule: Schedule,
    square: Square,
    /// Entities are numbered below this where there are NPCs; 0 where there are none.
    with_npcs: usize,
    walkers: Vec<Option<Walker>>,
}

impl Walkers {
    /// Nobody yet, in a world whose entities have numbers below `with_npcs` if there are NPCs, and that is 0
    /// otherwise.
    pub(super) fn new(schedule: Schedule, square: Square, with_npcs: usize) -> Self {
        Self { schedule, square, with_npcs, walkers: Vec::new() }
    }

    /// This entity is that user, in this run.
    pub(super) fn add(&mut self, entity: u16, user: u32, run: u64) {
        let at = usize::from(entity);
        self.walkers.resize(self.walkers.len().max(at + 1), None);
        self.walkers[at] = Some(Walker {
            path: Path::new(run, user, self.square),
            phase_ns: self.schedule.phase_ns(user),
            number_max: i32::try_from(self.schedule.message_count(user)).expect("a run ends") - 1,
        });
    }

    /// Whether this entity is an NPC, if it is any.
    #[inline]
    pub(super) fn is_npc(&self, entity: u16) -> bool {
        let at = usize::from(entity);
        at < self.with_npcs && self.walkers.get(at).is_none_or(Option::is_none)
    }

    /// Whether an update may be of an NPC: they live in the cell at 0.
    #[inline]
    pub(super) fn may_be_npc(&self, entity: u16, cell: [i16; 2], state: u64) -> bool {
        cell == [0, 0] && self.is_npc(entity) && npcs::may_be(state)
    }

    pub(super) fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Entities that there are.
    pub(super) fn entities(&self) -> impl Iterator<Item = u16> {
        let numbered = (0..).zip(&self.walkers);
        numbered.filter_map(|(entity, walker)| walker.map(|_| entity))
    }

    /// Whether the number is above those of all who are of the run: who comes in after them has such a
    /// number.
    pub(super) fn is_stranger(&self, entity: u16) -> bool {
        usize::from(entity) >= self.walkers.len()
    }

    fn walker(&self, entity: u16) -> &Walker {
        self.walkers[usize::from(entity)].as_ref().expect("who asks knows that it is there")
    }

    /// The latest move that was to be made by then.
    #[inline]
    fn latest(walker: &Walker, moment: Moment) -> i32 {
        let begun = i32::from(walker.phase_ns <= moment.rest_ns);
        (moment.periods - 1 + begun).min(walker.number_max)
    }

    /// Of which move this is told; none when it is nothing that the entity has said within the last 25 s,
    /// bit for bit.
    #[inline]
    pub(super) fn number(
        &self,
        entity: u16,
        cell: [i16; 2],
        state: u64,
        moment: Moment,
    ) -> Option<i32> {
        let walker = self.walkers.get(usize::from(entity))?.as_ref()?;
        let latest = Self::latest(walker, moment);
        let number = latest - ((latest - Path::number_bits(state)) & (NUMBERS_TOLD - 1));
        let told = walker.path.told(self.square, number.max(BEFORE_FIRST));
        (number >= BEFORE_FIRST && told.state == state && told.cell == cell).then_some(number)
    }

    pub(super) fn intended_ns(&self, entity: u16, number: i32) -> u64 {
        let number = u64::try_from(number).expect("a move");
        self.schedule.start_ns + self.walker(entity).phase_ns + number * self.schedule.period_ns
    }

    /// Whether who was told of this move last has nothing to see that is older than the bound.
    pub(super) fn is_fresh(&self, entity: u16, number: i32, moment: Moment, bound_ns: u64) -> bool {
        number >= self.walker(entity).number_max
            || self.intended_ns(entity, number + 1) + bound_ns >= moment.now_ns
    }

    /// Whether it has been in the view around this centre for as long as the bound.
    pub(super) fn is_in_view(
        &self,
        entity: u16,
        centre: [i16; 2],
        moment: Moment,
        bound_ns: u64,
    ) -> bool {
        self.places(entity, moment, bound_ns).all(|cell| touch(cell, centre))
    }

    /// Whether it has been nowhere in that view for as long.
    pub(super) fn is_out_of_view(
        &self,
        entity: u16,
        centre: [i16; 2],
        moment: Moment,
        bound_ns: u64,
    ) -> bool {
        !self.places(entity, moment, bound_ns).any(|cell| touch(cell, centre))
    }

    /// The cells in which it has been for as long as the bound.
    fn places(
        &self,
        entity: u16,
        moment: Moment,
        bound_ns: u64,
    ) -> impl Iterator<Item = [i16; 2]> + use<'_> {
        let walker = self.walker(entity);
        let latest = Self::latest(walker, moment);
        let moves = i32::try_from(bound_ns / self.schedule.period_ns).unwrap_or(i32::MAX - 1) + 2;
        (latest.saturating_sub(moves)..=latest)
            .map(|number| walker.path.cell(self.square, number.max(BEFORE_FIRST)))
    }
}

#[cfg(test)]
mod tests;
