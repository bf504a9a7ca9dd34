//! Users in worlds: what they say, and the check of every frame that they get. Of every frame the layout,
//! the tick, and each update bit for bit; of some members, the watched, also latency and what they do not
//! know. Pure: bytes and times in, bytes out.

use std::ops::Range;

use super::checks::Checks;
use super::walkers::{Moment, Walkers};
use super::watcher::Watcher;
use crate::ledger::WorldTally;
use crate::pacing::Schedule;
use crate::path::{BEFORE_FIRST, CELL_WIDTH, Path, Square};
use crate::profile::Profile;
use crate::profile::ai::Ai;
use crate::wire::world::{Section, WorldFrame, read_leave, read_update};
use crate::wire::{Seat, Wire};

/// All members are watched of so many, and of more one in so many: who watches a thousand is late with
/// their moves after each tick.
const WATCHED_ALL_MAX: u32 = 500;
const WATCHED_ONE_IN: u32 = 8;
/// In a second watched members look for so many entities, so that it takes a few per cent of a core.
const LOOKS_PER_S: u64 = 1_000_000;

/// A user's place in its world.
#[derive(Debug)]
struct Place {
    room: u32,
    path: Path,
    /// What it is told when it comes in.
    world: u64,
    entity: u16,
    /// Of the last frame.
    tick: Option<u32>,
    watcher: Option<usize>,
}

/// Ticks of which a room's members were told while everyone moved.
#[derive(Clone, Copy, Debug)]
struct Moving {
    first: u32,
    last: u32,
}

impl Moving {
    /// How many of them are between two ticks.
    fn missed(self, before: u32, tick: u32) -> u64 {
        let from = later(before, self.first.wrapping_sub(1));
        let until = tick.wrapping_sub(1);
        let until = until.wrapping_sub(ahead(self.last, until));
        u64::from(ahead(from, until))
    }
}

/// All users of a generator, in their worlds.
#[derive(Debug)]
pub(super) struct Worlds {
    run: u64,
    /// Whether there may be entities that are nobody of the run.
    has_strangers: bool,
    square: Square,
    tick_hz: u32,
    bound_ns: u64,
    ai: Option<Ai>,
    /// The number below which all entities of a world are numbered where there are NPCs; 0 elsewhere.
    with_npcs: usize,
    /// By connection.
    places: Vec<Place>,
    watchers: Vec<Watcher>,
    /// Watched members look around with one in so many frames.
    look_every: u32,
    /// By room, from the start on.
    walkers: Vec<Walkers>,
    /// By room, from the first frame on.
    moving: Vec<Option<Moving>>,
    schedule: Option<Schedule>,
}

impl Worlds {
    /// These users, in the order of their connections; nothing where they do not move.
    pub(super) fn new(
        profile: &Profile,
        run: u64,
        has_strangers: bool,
        seats: impl ExactSizeIterator<Item = Seat>,
    ) -> Option<Self> {
        let square = Square::new(profile.side_cells?);
        let one_in = if seats.len() as u32 <= WATCHED_ALL_MAX { 1 } else { WATCHED_ONE_IN };
        let mut watched = 0;
        let places: Vec<Place> = (0_u32..)
            .zip(seats)
            .map(|(index, seat)| Place {
                room: seat.room,
                path: Path::new(run, seat.user, square),
                world: 0,
                entity: 0,
                tick: None,
                watcher: index.is_multiple_of(one_in).then(|| {
                    watched += 1;
                    watched - 1
                }),
            })
            .collect();
        let tick_hz = profile.tick_hz.expect("worlds tick");
        let looks_per_s = watched as u64 * u64::from(tick_hz) * u64::from(profile.room_size);
        let look_every = looks_per_s.div_ceil(LOOKS_PER_S).max(1);
        Some(Self {
            run,
            has_strangers,
            square,
            tick_hz,
            bound_ns: profile.bound_p99_ns,
            ai: profile.ai,
            with_npcs: profile.ai.map_or(0, |ai| (profile.room_size + ai.npcs()) as usize),
            places,
            watchers: (0..watched)
                .map(|_| match profile.ai {
                    Some(_) => Watcher::among_npcs(tick_hz),
                    None => Watcher::default(),
                })
                .collect(),
            look_every: u32::try_from(look_every).unwrap_or(u32::MAX),
            walkers: Vec::new(),
            moving: Vec::new(),
            schedule: None,
        })
    }

    /// How many members are watched.
    pub(super) fn watched(&self) -> u64 {
        self.watchers.len() as u64
    }

    /// Appends the request to make a user's world.
    pub(super) fn create(&self, wire: Wire, seat: Seat, out: &mut Vec<u8>) {
        let npcs = self.ai.map(|ai| ai.field());
        wire.create(seat, self.tick_hz, npcs.as_deref(), out);
    }

    /// Appends the request to enter it, where the user's way begins.
    pub(super) fn enter(&self, wire: Wire, index: usize, seat: Seat, out: &mut Vec<u8>) {
        let place = self.places[index].path.motion(self.square, BEFORE_FIRST);
        wire.enter(seat, place, self.tick_hz, out);
    }

    /// The user is in.
    pub(super) fn entered(&mut self, index: usize, world: u64, entity: u16) {
        self.places[index].world = world;
        self.places[index].entity = entity;
    }

    /// The entity of each connection.
    pub(super) fn entities(&self) -> impl Iterator<Item = u16> {
        self.places.iter().map(|place| place.entity)
    }

    /// From now on users move by this schedule. Who is which entity is told for users of all generators,
    /// with their rooms.
    pub(super) fn start(
        &mut self,
        schedule: Schedule,
        entities: impl Iterator<Item = (Seat, u16)>,
    ) {
        self.schedule = Some(schedule);
        for (seat, entity) in entities {
            let rooms = self.walkers.len().max(seat.room as usize + 1);
            let walkers = || Walkers::new(schedule, self.square, self.with_npcs);
            self.walkers.resize_with(rooms, walkers);
            self.moving.resize(rooms, None);
            self.walkers[seat.room as usize].add(entity, seat.user, self.run);
        }
    }

    /// Appends the user's move of this number.
    pub(super) fn walk(&self, wire: Wire, index: usize, number: u32, out: &mut Vec<u8>) {
        let Place { path, world, entity, .. } = &self.places[index];
        let number = i32::try_from(number).expect("a run ends");
        let motion = || path.motion(self.square, number);
        wire.walk((*world, *entity), motion, || path.told(self.square, number), out);
    }

    /// Takes in a frame.
    pub(super) fn frame(
        &mut self,
        index: usize,
        frame: &WorldFrame<'_>,
        now_ns: u64,
        checks: &mut Checks,
    ) {
        let place = &mut self.places[index];
        if frame.world != place.world || frame.cell_width != CELL_WIDTH {
            checks.tally.corrupted += 1;
            return;
        }
        let tick_before = place.tick.replace(frame.tick);
        checks.worlds.whole_frames += u64::from(frame.is_whole);
        let watcher = place.watcher.map(|watcher| &mut self.watchers[watcher]);
        let Some(schedule) = self.schedule else {
            if let Some(watcher) = watcher {
                watcher.settle(frame);
            }
            return;
        };
        let moving = &mut self.moving[place.room as usize];
        if everyone_moves(schedule).contains(&now_ns) {
            let tick = frame.tick;
            let Moving { first, last } = moving.unwrap_or(Moving { first: tick, last: tick });
            *moving = Some(Moving { first, last: later(last, tick) });
        }
        if let Some(before) = tick_before {
            count_tick(*moving, before, frame.tick, checks);
        }
        let moment = Moment::new(schedule, now_ns);
        let walkers = &self.walkers[place.room as usize];
        let mut found = Found::default();
        for section in frame.sections() {
            let Ok(section) = section else {
                checks.tally.corrupted += 1;
                break;
            };
            found.check(&section, walkers, self.has_strangers, moment);
        }
        checks.tally.corrupted += found.corrupted;
        checks.worlds.strangers += found.strangers;
        checks.count_frame(found.entities, found.npcs, now_ns);
        let Some(watcher) = watcher else { return };
        watcher.begin(frame);
        for section in frame.sections().map_while(Result::ok) {
            watcher.section(&section, frame.tick, walkers, moment, checks);
        }
        if watcher.is_to_look(self.look_every) {
            let lost = watcher.look(place.entity, walkers, moment, self.bound_ns);
            checks.worlds.stale += lost;
        }
    }

    /// The end: all that was said has been told to each watched member, who knows all NPCs, and every tick to
    /// each.
    pub(super) fn finish(&self, now_ns: u64, tally: &mut WorldTally) {
        let Some(schedule) = self.schedule else { return };
        for place in &self.places {
            let Some(moving) = self.moving[place.room as usize] else { continue };
            let before = place.tick.unwrap_or(moving.first.wrapping_sub(1));
            tally.frames_missing += moving.missed(before, moving.last.wrapping_add(1));
        }
        let moment = Moment::new(schedule, now_ns);
        for place in &self.places {
            let Some(watcher) = place.watcher.map(|watcher| &self.watchers[watcher]) else {
                continue;
            };
            let walkers = &self.walkers[place.room as usize];
            tally.stale += watcher.look(place.entity, walkers, moment, self.bound_ns);
            if let Some(ai) = &self.ai {
                let amiss = watcher.npcs_amiss(ai, walkers);
                tally.npcs_missing += amiss.missing;
                tally.npcs_still += amiss.still;
            }
        }
    }
}

/// When all have moved, and for long enough that it was told.
fn everyone_moves(schedule: Schedule) -> Range<u64> {
    schedule.start_ns + 3 * schedule.period_ns..schedule.end_ns
}

/// How many ticks one is ahead of another; none when it is not.
fn ahead(before: u32, tick: u32) -> u32 {
    tick.wrapping_sub(before).cast_signed().max(0).cast_unsigned()
}

fn later(one: u32, other: u32) -> u32 {
    one.wrapping_add(ahead(one, other))
}

/// A frame of each tick is to come while everyone moves: until the last of which anybody was told then.
fn count_tick(moving: Option<Moving>, before: u32, tick: u32, checks: &mut Checks) {
    if ahead(before, tick) == 0 {
        checks.tally.out_of_order += 1;
    } else if let Some(moving) = moving {
        checks.worlds.frames_missing += moving.missed(before, tick);
    }
}

/// What a frame tells of.
#[derive(Debug, Default)]
struct Found {
    /// Entities of users and NPCs, right or not.
    entities: u64,
    /// Those that are not as some user said it, and not as an NPC may be.
    corrupted: u64,
    /// Those that are as an NPC may be.
    npcs: u64,
    /// Entities that are nobody of the run.
    strangers: u64,
}

impl Found {
    fn check(
        &mut self,
        section: &Section<'_>,
        walkers: &Walkers,
        has_strangers: bool,
        moment: Moment,
    ) {
        for update in section.updates {
            let (entity, state) = read_update(update);
            if has_strangers && walkers.is_stranger(entity) {
                self.strangers += 1;
                continue;
            }
            self.entities += 1;
            if walkers.number(entity, section.cell, state, moment).is_none() {
                let is_npc = walkers.may_be_npc(entity, section.cell, state);
                self.npcs += u64::from(is_npc);
                self.corrupted += u64::from(!is_npc);
            }
        }
        for leave in section.leaves {
            let (entity, cell, state) = read_leave(leave);
            // They may leave the world too.
            if has_strangers && walkers.is_stranger(entity) {
                self.strangers += 1;
                continue;
            }
            self.entities += 1;
            // No user leaves the world, NPCs stay in their cell, and who has come back is told of by an update.
            let is_right =
                cell != section.cell && walkers.number(entity, cell, state, moment).is_some();
            self.corrupted += u64::from(!is_right);
        }
    }
}

#[cfg(test)]
mod tests;
