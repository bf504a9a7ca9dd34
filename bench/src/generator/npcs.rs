//! NPCs as frames tell of them: nobody says where they are, so what is checked is what any of them has to
//! keep to, and that they move. Pure.

use crate::path::CELL_WIDTH;
use crate::profile::ai::{Ai, MIDDLE, REACH, SPEED_MAX};

/// Steps of a position in a unit.
const STEPS_PER_UNIT: f32 = 65_536.0 / CELL_WIDTH;
/// Steps of a velocity in a unit in a second: 128 for the width of a cell.
const SPEED_STEPS_PER_UNIT: f32 = 128.0 / CELL_WIDTH;
/// What rounding may add to either, in steps.
const ROUNDED_STEPS: f32 = 2.0;

fn offsets(state: u64) -> [u16; 2] {
    [state as u16, (state >> 16) as u16]
}

/// The square of the distance between two places, or of a velocity.
fn square(x: i32, y: i32) -> f32 {
    (x as f32).powi(2) + (y as f32).powi(2)
}

/// Whether an NPC may be like this: where it can get from its circle, and no faster than the fastest.
#[inline]
pub(super) fn may_be(state: u64) -> bool {
    let middle = (MIDDLE * STEPS_PER_UNIT) as i32;
    let [x, y] = offsets(state).map(|offset| i32::from(offset) - middle);
    let [vx, vy] = [state >> 32, state >> 40].map(|bits| i32::from(bits as i8));
    let far = REACH * STEPS_PER_UNIT + ROUNDED_STEPS;
    let fast = SPEED_MAX * SPEED_STEPS_PER_UNIT + ROUNDED_STEPS;
    square(x, y) <= far * far && square(vx, vy) <= fast * fast
}

/// How a member has seen an entity.
#[derive(Clone, Copy, Debug)]
struct Sight {
    place: [u16; 2],
    /// At which tick it was told last.
    told: u32,
    /// At which tick it was first told to be there.
    there_since: u32,
    /// At which tick it was first told to be where it was before.
    before_since: Option<u32>,
    /// The copy has it.
    is_known: bool,
}

/// What a watched member knows of NPCs. Before the start nobody is known to be somebody, so it is kept of
/// all entities.
#[derive(Debug, Default)]
pub(super) struct Sights(Vec<Option<Sight>>);

impl Sights {
    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.0.iter_mut().flatten().for_each(|sight| sight.is_known = false);
    }

    /// Forgets those that a key of the only cell at this tick did not tell of.
    pub(super) fn forget_before(&mut self, tick: u32) {
        self.0.iter_mut().flatten().for_each(|sight| sight.is_known &= sight.told == tick);
    }

    /// It is so at this tick. False when it cannot have got there since it was told last.
    ///
    /// A server moves an NPC after a tick, for the next one. Where that one is skipped, the move is told later,
    /// and the next makes up for it: so a move is as long as the ticks since the tick after which the one before
    /// was made, and that is not before the one at which the place before that was told. No move is longer than
    /// for a second.
    pub(super) fn see(&mut self, entity: u16, state: u64, tick: u32, tick_hz: u32) -> bool {
        let at = usize::from(entity);
        self.0.resize(self.0.len().max(at + 1), None);
        let place = offsets(state);
        let Some(sight) = &mut self.0[at] else {
            let (told, there_since) = (tick, tick);
            let sight = Sight { place, told, there_since, before_since: None, is_known: true };
            self.0[at] = Some(sight);
            return true;
        };
        (sight.told, sight.is_known) = (tick, true);
        let before = std::mem::replace(&mut sight.place, place);
        if before == place {
            return true;
        }
        let ticks =
            sight.before_since.map_or(tick_hz, |since| tick.wrapping_sub(since).wrapping_sub(1));
        let far = SPEED_MAX * STEPS_PER_UNIT * ticks.min(tick_hz) as f32 / tick_hz as f32;
        sight.before_since = Some(std::mem::replace(&mut sight.there_since, tick));
        let [x, y] = [0, 1].map(|axis| i32::from(place[axis]) - i32::from(before[axis]));
        square(x, y) <= (far + ROUNDED_STEPS).powi(2)
    }

    /// How many of a world's NPCs are not known, and how many never moved besides those that may stand,
    /// where `is_npc` tells which they are.
    pub(super) fn amiss(&self, ai: &Ai, is_npc: impl Fn(u16) -> bool) -> Amiss {
        let npcs = (0..).zip(&self.0).filter(|(entity, _)| is_npc(*entity));
        let known: Vec<&Sight> =
            npcs.filter_map(|(_, sight)| sight.as_ref()).filter(|sight| sight.is_known).collect();
        let stood = known.iter().filter(|sight| sight.before_since.is_none()).count() as u64;
        Amiss {
            missing: u64::from(ai.npcs()).abs_diff(known.len() as u64),
            still: stood.saturating_sub(u64::from(ai.seekers)),
        }
    }
}

/// NPCs that are not as they are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amiss {
    /// Not known to a member, or more of them than there are.
    pub(super) missing: u64,
    /// Never seen to move.
    pub(super) still: u64,
}

#[cfg(test)]
mod tests;
