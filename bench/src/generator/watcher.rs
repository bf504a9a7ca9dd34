//! A member's copy of what is around it, kept as `docs/protocol.md` says that clients keep it, and
//! compared with where everyone is. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::checks::Checks;
use super::npcs::{Amiss, Sights};
use super::walkers::{Moment, Walkers, touch};
use crate::path::BEFORE_FIRST;
use crate::profile::ai::Ai;
use crate::wire::world::{Section, WorldFrame, read_leave, read_update};

/// An entity as the member knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    cell: [i16; 2],
    /// Of which move it was told last.
    number: i32,
    /// At which tick that was.
    tick: u32,
}

/// One member whose copy is kept.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    known: HashMap<u16, Known>,
    /// Where there are NPCs: ticks a second, and how it has seen them.
    sights: Option<(u32, Sights)>,
    centre: [i16; 2],
    frames: u32,
}

/// What an update or a leave says.
struct News {
    entity: u16,
    cell: [i16; 2],
    number: i32,
    /// The section is a key, or this is how it is in the next cell: it may be known already.
    may_repeat: bool,
}

impl Watcher {
    /// Nothing is known yet, in a world with NPCs that ticks so often.
    pub(super) fn among_npcs(tick_hz: u32) -> Self {
        Self { sights: Some((tick_hz, Sights::default())), ..Self::default() }
    }

    /// Takes in a frame before the start, when nobody has moved.
    pub(super) fn settle(&mut self, frame: &WorldFrame<'_>) {
        self.begin(frame);
        let tick = frame.tick;
        for section in frame.sections().map_while(Result::ok) {
            if section.is_key {
                self.known.retain(|_, known| known.cell != section.cell);
            }
            for update in section.updates {
                let (entity, state) = read_update(update);
                if let Some((tick_hz, sights)) = &mut self.sights {
                    sights.see(entity, state, tick, *tick_hz);
                }
                let known = Known { cell: section.cell, number: BEFORE_FIRST, tick };
                self.known.insert(entity, known);
            }
        }
    }

    /// Takes in the frame's head.
    pub(super) fn begin(&mut self, frame: &WorldFrame<'_>) {
        self.frames = self.frames.wrapping_add(1);
        if frame.is_whole {
            self.known.clear();
            self.sights.iter_mut().for_each(|(_, sights)| sights.forget());
        } else if frame.centre != self.centre {
            self.known.retain(|_, known| touch(known.cell, frame.centre));
        }
        self.centre = frame.centre;
    }

    /// Takes in a section whose news `walkers` can tell; latency is recorded of what was not known.
    pub(super) fn section(
        &mut self,
        section: &Section<'_>,
        tick: u32,
        walkers: &Walkers,
        moment: Moment,
        checks: &mut Checks,
    ) {
        for update in section.updates {
            let (entity, state) = read_update(update);
            if let Some(number) = walkers.number(entity, section.cell, state, moment) {
                let news = News { entity, cell: section.cell, number, may_repeat: section.is_key };
                self.learn(news, tick, walkers, moment, checks);
            } else if let Some((tick_hz, sights)) = &mut self.sights
                && walkers.may_be_npc(entity, section.cell, state)
            {
                checks.tally.corrupted += u64::from(!sights.see(entity, state, tick, *tick_hz));
            }
        }
        if section.is_key {
            self.sights.iter_mut().for_each(|(_, sights)| sights.forget_before(tick));
            self.known.retain(|_, known| known.cell != section.cell || known.tick == tick);
        }
        for leave in section.leaves {
            let (entity, cell, state) = read_leave(leave);
            if cell == section.cell || !touch(cell, self.centre) {
                self.known.remove(&entity);
            } else if let Some(number) = walkers.number(entity, cell, state, moment) {
                let news = News { entity, cell, number, may_repeat: true };
                self.learn(news, tick, walkers, moment, checks);
            }
        }
    }

    fn learn(
        &mut self,
        news: News,
        tick: u32,
        walkers: &Walkers,
        moment: Moment,
        checks: &mut Checks,
    ) {
        let News { entity, cell, number, may_repeat } = news;
        let known = match self.known.entry(entity) {
            Entry::Vacant(vacant) => {
                vacant.insert(Known { cell, number, tick });
                return;
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        if number < known.number {
            checks.tally.out_of_order += 1;
        } else if number == known.number && known.tick != tick && !may_repeat {
            checks.tally.duplicated += 1;
        }
        for seen in known.number + 1..=number {
            let intended_ns = walkers.intended_ns(entity, seen);
            checks.measure(walkers.schedule(), intended_ns, moment.now_ns);
        }
        *known = Known { cell, number: known.number.max(number), tick };
    }

    /// At the end: NPCs that are not as they are to be.
    pub(super) fn npcs_amiss(&self, ai: &Ai, walkers: &Walkers) -> Amiss {
        let amiss = |(_, sights): &(u32, Sights)| sights.amiss(ai, |npc| walkers.is_npc(npc));
        self.sights.as_ref().map(amiss).unwrap_or_default()
    }

    /// Whether it is time to look around, once in so many frames.
    pub(super) fn is_to_look(&self, frames: u32) -> bool {
        self.frames.is_multiple_of(frames)
    }

    /// Counts entities that are in view and not known, or known as they were longer ago than the bound; and
    /// ghosts, which are known as they were then and have not been in view since.
    pub(super) fn look(&self, own: u16, walkers: &Walkers, moment: Moment, bound_ns: u64) -> u64 {
        // Whoever is told of a place far from its own sees nobody there, and would miss nobody.
        let in_place = match self.known.get(&own) {
            Some(known) => touch(known.cell, self.centre),
            None => walkers.is_fresh(own, BEFORE_FIRST, moment, bound_ns),
        };
        let mut lost = u64::from(!in_place);
        for entity in walkers.entities() {
            let known = self.known.get(&entity);
            let number = known.map_or(BEFORE_FIRST, |known| known.number);
            if walkers.is_fresh(entity, number, moment, bound_ns) {
                continue;
            }
            let is_missed = walkers.is_in_view(entity, self.centre, moment, bound_ns);
            let is_ghost = || walkers.is_out_of_view(entity, self.centre, moment, bound_ns);
            lost += u64::from(is_missed || known.is_some() && is_ghost());
        }
        lost
    }
}

#[cfg(test)]
mod tests;
