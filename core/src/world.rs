//! Worlds: rooms with space. A world has entities with positions, a grid of cells about one view
//! radius wide, and a tick. At each tick every member is told what has changed around it.
//!
//! ```text
//! move ──► entities ──tick──► grid ──► sections, each encoded once ──► plan: who gets which
//!          motion.rs          grid.rs  section.rs                      view.rs, plan.rs
//!             ▲
//!          NPCs, between ticks: npcs.rs, behaviours.rs
//! ```
//!
//! A *section* tells of one cell; a *view* is the 3x3 (in 3D 3x3x3) cells around a centre, with the
//! members whose centre it is. All of a view are told the same, so what a tick costs is a section
//! for each cell and a list of sections for each view, however many hear them. A view's far cells
//! may be told at every second, fourth or eighth tick: the cell's *class* there.
//!
//! Pure: the time comes in with each call. What holds for a member and each cell of its view:
//! after a tick at which the cell's class is due, the member has been told of the cell as it was
//! at that tick. Whatever would break this (a new cell, a faster class, a lost frame) is told by a
//! *key*: a section that says all there is in its cell.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ObjectId, SessionId};
use crate::limits::Limits;
use crate::message::{Message, Value};
use crate::rate::{Meter, Rate};
use crate::reason::Reason;

pub mod behaviours;
pub mod clock;
mod departures;
pub mod frame;
mod grid;
mod lists;
pub mod motion;
pub(crate) mod npcs;
mod plan;
mod section;
mod view;
mod worlds;

use behaviours::ShardBehaviours;
pub(crate) use clock::{TickClock, Ticked};
use grid::{Grid, NO_CELL};
use motion::{Motion, PACKED_BYTES_MAX, Place, SPEED_STEPS_PER_UNIT, pack};
use npcs::Npcs;
pub use plan::TickHeader;
pub(crate) use plan::groups;
use section::Sections;
use view::Scratch;
pub(crate) use worlds::Worlds;

/// Most entities of a world: their numbers have 16 bits, and one of them stands for none.
pub const WORLD_ENTITIES_MAX: usize = 65_535;
/// Widest and narrowest cells.
pub const CELL_WIDTH_MIN: f32 = 0.001;
/// See there.
pub const CELL_WIDTH_MAX: f32 = 1_000_000.0;
/// Highest speed limit.
const SPEED_MAX: f32 = 1e12;
/// Lowest one, in units per second; below it there is none but 0, which is no limit.
const SPEED_MIN: f32 = 0.001;
const _: () = assert!(SPEED_MIN as f64 * SPEED_STEPS_PER_UNIT > 50.0, "it is no matter of a step");
/// Most ticks in a second.
pub const TICK_HZ_MAX: u8 = 60;
/// Ticks between two sections of a cell in the slowest class.
pub(crate) const SLOWEST_PERIOD: u32 = 8;

/// Runs for which the number of an entity that has gone is given to no other: until everybody has been
/// told that it has, in the slowest class or with the cells for which they had to wait.
const REST_RUNS: u32 = view::KEY_RUNS_MAX;
const _: () = assert!(REST_RUNS >= SLOWEST_PERIOD);

/// No session: an entity that nobody steers.
const NOBODY: u64 = u64::MAX;

/// What a world is like: the fields of its object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorldSettings {
    /// Width of a cell, in the world's units.
    pub cell: f32,
    /// 2 or 3.
    pub dims: u8,
    /// Ticks in a second.
    pub tick_hz: u8,
    /// Units in a second that an entity may move; 0: any.
    pub speed_max: f32,
    /// Where members come in who do not choose.
    pub spawn: [f32; 3],
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self { cell: 64.0, dims: 2, tick_hz: 10, speed_max: 0.0, spawn: [0.0; 3] }
    }
}

impl WorldSettings {
    /// What the fields of a world's record say. They were checked when they were set.
    pub(crate) fn of(record: Message<'_>) -> Self {
        let usual = Self::default();
        let number =
            |name: &str, usual: f64| record.get(name).and_then(Value::as_float).unwrap_or(usual);
        Self {
            cell: number("cell", f64::from(usual.cell)) as f32,
            dims: number("dims", f64::from(usual.dims)) as u8,
            tick_hz: number("tick_hz", f64::from(usual.tick_hz)) as u8,
            speed_max: number("speed_max", f64::from(usual.speed_max)) as f32,
            spawn: ["spawn_x", "spawn_y", "spawn_z"].map(|name| number(name, 0.0) as f32),
        }
    }

    /// The same with a tick rate that this server runs.
    pub(crate) fn within(self, limits: &Limits) -> Self {
        Self { tick_hz: self.tick_hz.min(limits.world_tick_hz_max), ..self }
    }

    /// Whether a world can be as this record of one says, of which `said` is new.
    ///
    /// # Errors
    /// [`Reason::TickRateTooHigh`]; [`Reason::FieldInvalid`] when who comes in would be in no cell, or an
    /// NPC; [`Reason::UnknownBehaviour`], [`Reason::TooManyNpcs`], [`Reason::WorldFull`].
    pub(crate) fn check_record(
        record: Message<'_>,
        said: Message<'_>,
        limits: &Limits,
        behaviours: &ShardBehaviours,
    ) -> Result<(), Reason> {
        let tick_hz = said.get("tick_hz").and_then(Value::as_integer);
        if tick_hz.is_some_and(|tick_hz| tick_hz > i64::from(limits.world_tick_hz_max)) {
            return Err(Reason::TickRateTooHigh);
        }
        let settings = Self::of(record);
        settings.entrance().check(settings.cell)?;
        // What is said of NPCs has to fit the grid. It is not looked at anew for other fields.
        let is_said = ["npcs", "cell", "dims", "tick_hz", "speed_max"]
            .iter()
            .any(|name| said.get(name).is_some());
        if is_said { npcs::check(record, said, limits, behaviours) } else { Ok(()) }
    }

    /// How a member comes in that does not choose.
    pub(crate) fn entrance(&self) -> Motion {
        Motion { position: self.spawn, ..Motion::default() }.in_dims(self.dims)
    }

    /// The value of a world's field as it is kept. Fields of other names are the owner's own.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it is out of range.
    pub(crate) fn check<'a>(name: &str, value: Value<'a>) -> Result<Value<'a>, Reason> {
        let float = |least: f32, most: f32| {
            let float = value
                .as_float()
                .filter(|float| (f64::from(least)..=f64::from(most)).contains(float));
            float.map(Value::Float).ok_or(Reason::FieldInvalid)
        };
        let integer = |least: i64, most: i64| {
            let integer = value.as_integer().filter(|number| (least..=most).contains(number));
            integer.map(Value::Integer).ok_or(Reason::FieldInvalid)
        };
        match name {
            "cell" => float(CELL_WIDTH_MIN, CELL_WIDTH_MAX),
            "dims" => integer(2, 3),
            "tick_hz" => integer(1, i64::from(TICK_HZ_MAX)),
            "spawn_x" | "spawn_y" | "spawn_z" => float(-f32::MAX, f32::MAX),
            "speed_max" => float(0.0, 0.0).or_else(|_| float(SPEED_MIN, SPEED_MAX)),
            // What it says has to fit the other fields: `npcs::check`.
            "npcs" if !matches!(value, Value::Text(_) | Value::List(_)) => {
                Err(Reason::FieldInvalid)
            }
            _ => Ok(value),
        }
    }
}

/// What the world keeps of an entity besides what is told of it.
#[derive(Clone, Copy, Debug)]
struct Entity {
    motion: Motion,
    /// What it may still move.
    way: Meter,
    /// It has moved since the last tick.
    is_dirty: bool,
    is_there: bool,
}

/// A member's place among those who are told.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// The cell around which it sees.
    centre: u32,
    /// Where in that cell's list it stands.
    place: u32,
    /// The centre that it had before this tick; none if the same.
    came_from: u32,
    /// It is told everything anew.
    needs_whole: bool,
    /// The run before which it is told no cell as a whole again, by what the last ones had in bytes.
    keys_from: u32,
}

/// A number that is free.
#[derive(Clone, Copy, Debug)]
struct Freed {
    number: u16,
    /// Whose it was.
    session: u64,
    /// The run after which it may be given.
    rests_until: u32,
}

/// A world, with everything in it. Entities are structures of arrays, by their numbers.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) id: ObjectId,
    pub(crate) settings: WorldSettings,
    pub(crate) clock: TickClock,
    /// Bytes that a member is told in a second.
    bytes_per_s: usize,
    entities: Vec<Entity>,
    sessions: Vec<u64>,
    seats: Vec<Seat>,
    /// Each entity as sections say it.
    packed: Vec<[u8; PACKED_BYTES_MAX]>,
    /// Where each is.
    places: Vec<Place>,
    /// At which run each last changed.
    changed: Vec<u32>,
    /// The section, counted by `section_count`, that each was last told to have left.
    told_in: Vec<u64>,
    section_count: u64,
    /// Numbers that are free, those that may be given soonest first.
    free: VecDeque<Freed>,
    /// The entity of each member; and of who has left, for as long as it is given to no other.
    by_session: HashMap<u64, u16>,
    member_count: usize,
    npcs: Npcs,
    dirty: Vec<u16>,
    grid: Grid,
    sections: Sections,
    scratch: Scratch,
    /// Ticks that were run, from 1.
    run: u32,
    /// Members by shard.
    shards: Vec<ShardMembers>,
}

/// What a world knows of a shard with members.
#[derive(Clone, Copy, Debug)]
struct ShardMembers {
    shard: crate::ids::ShardId,
    count: u32,
}

impl World {
    /// A world without anybody in it.
    pub(crate) fn new(
        id: ObjectId,
        settings: WorldSettings,
        clock: TickClock,
        bytes_per_s: usize,
        seed: HashSeed,
    ) -> Self {
        Self {
            id,
            settings,
            clock,
            bytes_per_s,
            entities: Vec::new(),
            sessions: Vec::new(),
            seats: Vec::new(),
            packed: Vec::new(),
            places: Vec::new(),
            changed: Vec::new(),
            told_in: Vec::new(),
            section_count: 0,
            free: VecDeque::new(),
            by_session: HashMap::with_hasher(seed),
            member_count: 0,
            npcs: Npcs::default(),
            dirty: Vec::new(),
            grid: Grid::new(settings.dims, seed),
            sections: Sections::default(),
            scratch: Scratch::default(),
            run: 0,
            shards: Vec::new(),
        }
    }

    /// Number of members.
    pub(crate) fn member_count(&self) -> usize {
        self.member_count
    }

    /// Number of entities, members and NPCs.
    pub(crate) fn entity_count(&self) -> usize {
        self.entities.len() - self.free.len()
    }

    /// Entities that have moved since the last tick.
    pub(crate) fn moved_count(&self) -> usize {
        self.dirty.len()
    }

    /// What its ticks cost, to compare it with others: members told in a second, and NPCs moved.
    fn cost(&self) -> u64 {
        let per_1024_s = 1024 * 1_000_000_000 / self.clock.period_ns();
        (self.member_count() + self.npc_count()) as u64 * per_1024_s
    }

    /// The number that the next entity gets, if there may be one more. One that rests still is given when
    /// there are no others.
    pub(crate) fn next_entity(&self) -> Option<u16> {
        let is_new_left = self.entities.len() < WORLD_ENTITIES_MAX;
        let freed = self.free.front();
        let freed = freed.filter(|freed| freed.rests_until <= self.run || !is_new_left);
        let new = || is_new_left.then_some(self.entities.len() as u16);
        freed.map(|freed| freed.number).or_else(new)
    }

    /// The entity of a session.
    pub(crate) fn entity_of(&self, session: SessionId) -> Option<u16> {
        let entity = *self.by_session.get(&session.to_bits())?;
        (self.session_of(entity) == Some(session)).then_some(entity)
    }

    /// The session of an entity that is there and is a member's.
    pub(crate) fn session_of(&self, entity: u16) -> Option<SessionId> {
        let bits = *self.sessions.get(usize::from(entity))?;
        (bits != NOBODY).then(|| SessionId::from_bits(bits))
    }

    /// Where an entity is, as it last said.
    pub(crate) fn position(&self, entity: u16) -> [f32; 3] {
        self.entities[usize::from(entity)].motion.position
    }

    /// A member comes in. It has no entity here, and there is room for one.
    pub(crate) fn join(&mut self, session: SessionId, motion: Motion) -> u16 {
        assert!(self.entity_of(session).is_none(), "a session has one entity in a world");
        // Who comes back goes on with what it may be told.
        let before = self.by_session.get(&session.to_bits());
        let keys_from = before.map_or(0, |before| self.seats[usize::from(*before)].keys_from);
        let entity = self.spawn(session.to_bits(), motion);
        self.by_session.insert(session.to_bits(), entity);
        self.member_count += 1;
        match self.shards.iter_mut().find(|members| members.shard == session.shard) {
            Some(members) => members.count += 1,
            None => self.shards.push(ShardMembers { shard: session.shard, count: 1 }),
        }
        let seat = &mut self.seats[usize::from(entity)];
        seat.needs_whole = true;
        seat.came_from = NO_CELL;
        seat.keys_from = keys_from;
        let cell = self.places[usize::from(entity)].cell;
        self.seat_in(entity, cell, self.run + 1);
        entity
    }

    /// A member is gone, if the session is one.
    pub(crate) fn leave(&mut self, session: SessionId) -> bool {
        let Some(entity) = self.entity_of(session) else { return false };
        self.member_count -= 1;
        let at = self.shards.iter().position(|members| members.shard == session.shard);
        let at = at.expect("a member's shard is counted");
        self.shards[at].count -= 1;
        if self.shards[at].count == 0 {
            self.shards.swap_remove(at);
        }
        let centre = self.seats[usize::from(entity)].centre;
        self.unseat(entity, self.run + 1);
        self.despawn(entity);
        self.grid.free_if_unused(centre, self.run + 1);
        true
    }

    /// A tick with nobody in it: what has to wait for ticks does not wait for members.
    pub(crate) fn rest(&mut self) {
        assert!(self.member_count == 0);
        self.run += 1;
    }

    fn spawn(&mut self, session: u64, motion: Motion) -> u16 {
        let number = self.next_entity().expect("who lets it in has asked");
        if let Some(freed) = self.free.pop_front_if(|freed| freed.number == number) {
            // Whoever had it may have come back with another since.
            if self.by_session.get(&freed.session) == Some(&number) {
                self.by_session.remove(&freed.session);
            }
        } else {
            self.entities.push(Entity {
                motion,
                way: Meter::default(),
                is_dirty: false,
                is_there: false,
            });
            self.sessions.push(NOBODY);
            let nowhere = Seat {
                centre: NO_CELL,
                place: 0,
                came_from: NO_CELL,
                needs_whole: false,
                keys_from: 0,
            };
            self.seats.push(nowhere);
            self.packed.push([0; PACKED_BYTES_MAX]);
            self.places.push(Place::NOWHERE);
            self.changed.push(0);
            self.told_in.push(0);
            self.grid.reserve(self.entities.len());
        }
        let at = usize::from(number);
        let known = &mut self.entities[at];
        assert!(!known.is_there);
        // A number that was dirty when it became free stands among the dirty still.
        let is_dirty = known.is_dirty;
        *known = Entity { motion, way: Meter::default(), is_dirty, is_there: true };
        self.sessions[at] = session;
        let packed = pack(number, motion, self.settings);
        self.packed[at] = packed.bytes;
        self.changed[at] = self.run + 1;
        let cell = self.grid.cell_at(packed.cell);
        self.places[at] = self.grid.enter(cell, number, packed.steps);
        self.grid.touch(cell, self.run + 1);
        number
    }

    fn despawn(&mut self, number: u16) {
        let at = usize::from(number);
        self.entities[at].is_there = false;
        let session = core::mem::replace(&mut self.sessions[at], NOBODY);
        let (place, run) = (self.places[at], self.run + 1);
        // Who came after the last tick comes with the next.
        let was_told = self.changed[at] != run;
        if let Some(moved) = self.grid.exit(place, number, run, was_told) {
            self.places[usize::from(moved)].index = place.index;
        }
        self.grid.free_if_unused(place.cell, run);
        self.places[at] = Place::NOWHERE;
        if was_told || self.seats[at].keys_from > run {
            let rests_until = run + REST_RUNS;
            self.free.push_back(Freed { number, session, rests_until });
        } else {
            self.free.push_front(Freed { number, session, rests_until: 0 });
        }
    }

    fn seat_in(&mut self, entity: u16, cell: u32, run: u32) {
        let seat = &mut self.seats[usize::from(entity)];
        seat.centre = cell;
        seat.place = self.grid.add_viewer(cell, entity);
        self.grid.note_news(cell, run);
    }

    fn unseat(&mut self, entity: u16, run: u32) {
        let Seat { centre, place, .. } = self.seats[usize::from(entity)];
        if let Some(moved) = self.grid.remove_viewer(centre, place, run) {
            self.seats[usize::from(moved)].place = place;
        }
    }

    /// A member says how it moves. The last word before a tick counts.
    ///
    /// # Errors
    /// [`Reason::NotAMember`] when the entity is not the session's, [`Reason::FieldInvalid`] when
    /// there is no cell so far out, [`Reason::TooFast`].
    pub(crate) fn set_motion(
        &mut self,
        entity: u16,
        session: SessionId,
        motion: Motion,
        now_ns: u64,
    ) -> Result<(), Reason> {
        let at = usize::from(entity);
        if self.sessions.get(at) != Some(&session.to_bits()) {
            return Err(Reason::NotAMember);
        }
        let motion = motion.in_dims(self.settings.dims);
        motion.check(self.settings.cell)?;
        let known = &mut self.entities[at];
        let rate = speed_rate(self.settings.speed_max);
        if rate.per_s > 0 {
            let steps = motion.distance_steps(known.motion);
            if !known.way.take(rate, steps, now_ns) {
                return Err(Reason::TooFast);
            }
        }
        known.motion = motion;
        if !core::mem::replace(&mut known.is_dirty, true) {
            self.dirty.push(entity);
        }
        Ok(())
    }

    /// A member is told everything anew at the next tick: it has missed something.
    pub(crate) fn resync(&mut self, session: SessionId) {
        if let Some(entity) = self.entity_of(session) {
            let seat = &mut self.seats[usize::from(entity)];
            seat.needs_whole = true;
            self.grid.note_news(seat.centre, self.run + 1);
        }
    }

    /// All members on a shard are told everything anew: a tick's message for it was lost.
    pub(crate) fn resync_shard(&mut self, shard: crate::ids::ShardId) {
        for (session, seat) in self.sessions.iter().zip(&mut self.seats) {
            if *session != NOBODY && SessionId::from_bits(*session).shard == shard {
                seat.needs_whole = true;
                self.grid.note_news(seat.centre, self.run + 1);
            }
        }
    }

    /// Halves its rate, or doubles it: a tick has room for more or less than before.
    pub(crate) fn set_halvings(&mut self, halvings: u8) {
        self.clock.set_halvings(halvings);
        self.grid.activate_all(self.run + 1);
    }

    /// The first half of a tick: everything that has moved is where it is now.
    fn settle(&mut self) {
        let mut dirty = core::mem::take(&mut self.dirty);
        for number in dirty.drain(..) {
            let at = usize::from(number);
            self.entities[at].is_dirty = false;
            if !self.entities[at].is_there {
                continue;
            }
            let packed = pack(number, self.entities[at].motion, self.settings);
            let place = self.places[at];
            let cell = self.grid.cell(place.cell).at;
            if packed.bytes == self.packed[at] && packed.cell == cell {
                continue;
            }
            self.packed[at] = packed.bytes;
            let was_told = core::mem::replace(&mut self.changed[at], self.run) != self.run;
            if packed.cell == cell {
                self.places[at].steps = packed.steps;
                self.grid.touch(place.cell, self.run);
            } else {
                let to = self.grid.cell_at(packed.cell);
                if let Some(moved) = self.grid.exit(place, number, self.run, was_told) {
                    self.places[usize::from(moved)].index = place.index;
                }
                self.places[at] = self.grid.enter(to, number, packed.steps);
                self.grid.touch(to, self.run);
            }
            if self.sessions[at] != NOBODY {
                self.look_around(number);
            }
        }
        self.dirty = dirty;
    }

    /// Gives a member another centre, if it has left its own by more than the margin.
    fn look_around(&mut self, entity: u16) {
        let at = usize::from(entity);
        let (centre, place) = (self.seats[at].centre, self.places[at]);
        if centre == place.cell || place.is_near(self.grid.cell(centre).at, self.settings.dims) {
            return;
        }
        self.unseat(entity, self.run);
        self.seat_in(entity, place.cell, self.run);
        self.seats[at].came_from = centre;
    }
}

/// The phase of the n-th world of a shard, in parts of 2^32 of its period: multiples of the golden
/// ratio, so that any number of worlds in a row is spread evenly (Knuth, TAOCP 3, 6.4).
pub(crate) fn phase_of(nth: u32) -> u32 {
    nth.wrapping_mul(0x9e37_79b9)
}

/// How far an entity may move, in steps.
fn speed_rate(speed_max: f32) -> Rate {
    let per_s = (f64::from(speed_max) * SPEED_STEPS_PER_UNIT) as u64;
    Rate { per_s, burst: per_s }
}

#[cfg(test)]
mod tests;
