//! NPCs: entities of a world without a session, each moved by a behaviour (`behaviours.rs`).
//!
//! ```text
//! field npcs ──wake──► bands ──tick──► due ──think, as much as fits into a turn──► motions ──tick──► frames
//!                                └──────► `think` ──► a worker ──► `thought` ─────────┘     asked.rs
//! ```
//!
//! A *band* is what one entry of the field has made. Its behaviour is looked for by name when a shard gets another
//! table of them; a band whose behaviour nobody has stands. At each tick every NPC becomes due; until the
//! next tick each is moved once, for where it is going to be at that tick. Those who are not reached in
//! time are first afterwards, and are moved for the time that has passed, so none starves.

use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::ops::Range;

use super::behaviours::vector::{Vector, random, random_place};
use super::behaviours::{Batch, Manner, Mover, NamedMover, ShardBehaviours, Surroundings};
use super::motion::{CELLS_FROM_ZERO_MAX, Motion};
use super::{NOBODY, World, WorldSettings};
use crate::hashing::HashSeed;
use crate::limits::Limits;
use crate::message::{Message, Value};
use crate::name::is_name;
use crate::reason::Reason;

mod asked;

use asked::{Asking, Members};
pub(crate) use asked::{Question, ThinkBuffers, npcs_per_think};

/// Most entries of the field.
pub(crate) const NPC_ENTRIES_MAX: usize = 64;
/// Longest time for which one is moved at once, in seconds.
pub(crate) const THINK_S_MAX: f32 = 1.0;

/// An entry of a world's field `npcs`: `behaviour:count:speed:x:y:radius`, with `z` in 3D.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    behaviour: NamedMover,
    pub(crate) count: usize,
    manner: Manner,
}

impl Entry {
    fn parse(text: &str, settings: WorldSettings) -> Result<Self, Reason> {
        let axes = usize::from(settings.dims);
        let mut parts = text.split(':');
        let name = parts.next().filter(|name| is_name(name.as_bytes()));
        let behaviour = NamedMover::new(name.ok_or(Reason::FieldInvalid)?);
        let count = parts.next().and_then(|part| part.parse::<u16>().ok());
        let count = count.filter(|count| *count > 0).ok_or(Reason::FieldInvalid)?;
        let mut numbers = [0.0_f32; 5];
        for number in &mut numbers[..axes + 2] {
            let parsed = parts.next().and_then(|part| part.parse::<f32>().ok());
            *number = parsed.filter(|number| number.is_finite()).ok_or(Reason::FieldInvalid)?;
        }
        let (speed, radius) = (numbers[0], numbers[axes + 1]);
        let mut home = [0.0; 3];
        home[..axes].copy_from_slice(&numbers[1..=axes]);
        // They may be outside of the circle for a moment: there have to be cells too, one to spare for
        // what is rounded.
        let reach = radius + 2.0 * THINK_S_MAX * speed;
        let edge = (CELLS_FROM_ZERO_MAX - 1) as f32 * settings.cell;
        let is_in_grid = home.iter().all(|axis| axis.abs() + reach < edge);
        let is_slow_enough = (0.0..=speed_most(settings)).contains(&speed);
        if parts.next().is_some() || !is_slow_enough || radius < 0.0 || !is_in_grid {
            return Err(Reason::FieldInvalid);
        }
        let manner = Manner { speed, home, radius, dims: settings.dims };
        Ok(Self { behaviour, count: usize::from(count), manner })
    }
}

/// The highest speed of an NPC: a cell in a tick, or members would be told of those that they never see
/// near; and no more than the world lets members have.
fn speed_most(settings: WorldSettings) -> f32 {
    let cell_per_tick = settings.cell * f32::from(settings.tick_hz);
    let is_bounded = settings.speed_max > 0.0;
    if is_bounded { cell_per_tick.min(settings.speed_max) } else { cell_per_tick }
}

/// The entries of a world's record. In text protocols they stand in one text, with `|` between them.
///
/// # Errors
/// [`Reason::FieldInvalid`] when one is none, or does not fit the world's other fields.
pub(crate) fn entries(record: Message<'_>) -> Result<Vec<Entry>, Reason> {
    let settings = WorldSettings::of(record);
    let parse = |text| Entry::parse(text, settings);
    // One more than there may be, so that more are seen and not parsed.
    const LOOKED_AT: usize = NPC_ENTRIES_MAX + 1;
    let entries: Vec<Entry> = match record.get("npcs") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Text(text)) => {
            text.split('|').take(LOOKED_AT).map(parse).collect::<Result<_, _>>()?
        }
        Some(Value::List(texts)) => {
            texts.iter().take(LOOKED_AT).map(parse).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(Reason::FieldInvalid),
    };
    if entries.len() <= NPC_ENTRIES_MAX { Ok(entries) } else { Err(Reason::FieldInvalid) }
}

/// How many NPCs the entries ask for.
pub(crate) fn count_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.count).sum()
}

/// Whether a world may have this record. Behaviours have to be there when they are named, and not later.
///
/// # Errors
/// [`Reason::FieldInvalid`], [`Reason::UnknownBehaviour`], [`Reason::TooManyNpcs`], and
/// [`Reason::WorldFull`] when there would be no room for a member.
pub(crate) fn check(
    record: Message<'_>,
    said: Message<'_>,
    limits: &Limits,
    behaviours: &ShardBehaviours,
) -> Result<(), Reason> {
    let entries = entries(record)?;
    let is_there = |entry: &Entry| behaviours.has(entry.behaviour.name());
    if said.get("npcs").is_some() && !entries.iter().all(is_there) {
        return Err(Reason::UnknownBehaviour);
    }
    let count = count_of(&entries);
    if count > limits.world_npcs_max {
        return Err(Reason::TooManyNpcs);
    }
    if count >= limits.world_entities_max {
        return Err(Reason::WorldFull);
    }
    Ok(())
}

/// What one entry has made, as structures of arrays.
#[derive(Debug)]
struct Band {
    behaviour: NamedMover,
    manner: Manner,
    /// Ascending.
    numbers: Vec<u16>,
    positions: Vec<Vector>,
    velocities: Vec<Vector>,
    headings: Vec<f32>,
    states: Vec<u64>,
    /// For which tick each was moved.
    moved_for: Vec<u64>,
    /// Whether a worker moves them, and what of them it is asked.
    asking: Asking,
}

/// The NPCs of a world: a ring of bands. Those that workers move are passed over in it.
#[derive(Debug, Default)]
pub(super) struct Npcs {
    bands: Vec<Band>,
    /// Whose turn it is: which band, and where in it.
    next: (usize, usize),
    count: usize,
    /// How many are in the ring: all but those that workers move.
    ring_count: usize,
    /// How many are due, from there on and round.
    due: usize,
    /// The shard is going to move some of them.
    waits: bool,
    /// Kept for its memory.
    seconds: Vec<f32>,
    members: Members,
}

/// What came of thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thought {
    /// NPCs that were moved.
    pub(crate) updates: usize,
    /// Those of them whose behaviour nobody has, and which stand.
    pub(crate) unmoved: usize,
    /// Those of them whose behaviour moved them to where nobody can be, and which stay.
    pub(crate) invalid: usize,
}

impl World {
    /// NPCs come into being: as many as the entries say, but no more than this. Only once, when the
    /// world has woken. One seed puts them to the same places.
    pub(crate) fn populate(&mut self, entries: &[Entry], count_max: usize, seed: HashSeed) {
        assert!(self.npcs.bands.is_empty());
        // Through a hash, so that nothing that is told leads back to the seed.
        let mut state = seed.hash_one(self.id);
        let tick = self.clock.next_tick();
        for entry in entries {
            let Manner { home, radius, dims, .. } = entry.manner;
            let count = entry.count.min(count_max - self.npcs.count);
            if count == 0 {
                break;
            }
            let mut band = Band::new(entry, count);
            for _ in 0..count {
                let position = random_place(&mut state, home, radius, dims);
                let number = self.spawn(NOBODY, Motion { position, ..Motion::default() });
                band.push(number, position, random(&mut state), tick);
            }
            self.npcs.count += count;
            self.npcs.bands.push(band);
        }
        self.npcs.ring_count = self.npcs.count;
    }

    /// Number of NPCs.
    pub(crate) fn npc_count(&self) -> usize {
        self.npcs.count
    }

    /// The behaviour of an NPC.
    pub(crate) fn npc_behaviour(&self, number: u16) -> Option<&str> {
        let is_in = |band: &&Band| band.numbers.binary_search(&number).is_ok();
        self.npcs.bands.iter().find(is_in).map(|band| band.behaviour.name())
    }

    /// After a tick all NPCs of the ring are due. Returns how many still were: they are put off beyond their tick.
    pub(crate) fn expect_npcs(&mut self) -> usize {
        core::mem::replace(&mut self.npcs.due, self.npcs.ring_count)
    }

    /// Whether the shard has it among those whose NPCs wait to be moved, from here on. Returns whether it had.
    pub(crate) fn waits_to_think(&mut self, waits: bool) -> bool {
        core::mem::replace(&mut self.npcs.waits, waits)
    }

    /// NPCs that are due.
    pub(crate) fn npcs_due(&self) -> usize {
        self.npcs.due
    }

    /// Moves as many of those that are due, those that wait for longest first; only of one band, by one call of its
    /// behaviour, so that whoever has a clock looks at it after each.
    pub(crate) fn think(
        &mut self,
        updates_max: usize,
        behaviours: &mut ShardBehaviours,
    ) -> Thought {
        let mut npcs = core::mem::take(&mut self.npcs);
        let mut thought = Thought::default();
        let left = npcs.due.min(updates_max);
        if left > 0 {
            npcs.pass_over_asked();
            let (at, start) = npcs.next;
            let band = &mut npcs.bands[at];
            let end = band.numbers.len().min(start.saturating_add(left));
            thought = band.think(start..end, self, behaviours, &mut npcs.seconds);
            npcs.due -= end - start;
            let is_over = end == band.numbers.len();
            npcs.next = if is_over { ((at + 1) % npcs.bands.len(), 0) } else { (at, end) };
        }
        self.npcs = npcs;
        thought
    }
}

impl Npcs {
    /// Some band is in the ring, or nobody would be due.
    fn pass_over_asked(&mut self) {
        while self.bands[self.next.0].asking.is_on {
            self.next = ((self.next.0 + 1) % self.bands.len(), 0);
        }
    }
}

impl Band {
    fn new(entry: &Entry, count: usize) -> Self {
        Self {
            behaviour: entry.behaviour.clone(),
            manner: entry.manner,
            numbers: Vec::with_capacity(count),
            positions: Vec::with_capacity(count),
            velocities: Vec::with_capacity(count),
            headings: Vec::with_capacity(count),
            states: Vec::with_capacity(count),
            moved_for: Vec::with_capacity(count),
            asking: Asking::default(),
        }
    }

    fn push(&mut self, number: u16, position: Vector, state: u64, tick: u64) {
        self.numbers.push(number);
        self.positions.push(position);
        self.velocities.push([0.0; 3]);
        self.headings.push(0.0);
        self.states.push(state);
        self.moved_for.push(tick);
    }

    /// Moves these.
    fn think(
        &mut self,
        range: Range<usize>,
        world: &mut World,
        behaviours: &mut ShardBehaviours,
        seconds: &mut Vec<f32>,
    ) -> Thought {
        let mover = self.behaviour.look_up(behaviours);
        if mover == Mover::Worker {
            // It has come since the tick, and is asked from the next one on.
            return Thought::default();
        }
        let tick = world.clock.next_tick();
        seconds.clear();
        self.push_seconds(range.clone(), (tick, world.settings.tick_hz), seconds);
        self.moved_for[range.clone()].fill(tick);
        let mut batch = Batch {
            manner: self.manner,
            shard: behaviours.shard,
            tick,
            numbers: &self.numbers[range.clone()],
            seconds,
            positions: &mut self.positions[range.clone()],
            velocities: &mut self.velocities[range.clone()],
            headings: &mut self.headings[range.clone()],
            states: &mut self.states[range.clone()],
        };
        let mut thought = Thought { updates: range.len(), ..Thought::default() };
        if let Some(behaviour) = behaviours.get(mover) {
            behaviour.think(&mut batch, &Surroundings::new(world, tick));
        } else {
            batch.stand_all();
            thought.unmoved = range.len();
        }
        thought.invalid = self.tell(range, world);
        thought
    }

    /// For how long each of these is to be moved.
    fn push_seconds(
        &self,
        range: Range<usize>,
        (tick, tick_hz): (u64, u8),
        seconds: &mut Vec<f32>,
    ) {
        seconds.extend(self.moved_for[range].iter().map(|moved_for| {
            let ticks = tick - moved_for;
            (ticks as f32 / f32::from(tick_hz)).min(THINK_S_MAX)
        }));
    }

    /// The world takes them to be as they are said to be here. Returns how many cannot be so, and stay.
    fn tell(&mut self, range: Range<usize>, world: &mut World) -> usize {
        let mut invalid = 0;
        for at in range {
            let (position, velocity) = (self.positions[at], self.velocities[at]);
            let wanted = Motion { position, velocity, heading: self.headings[at] };
            let (motion, is_valid) = world.move_npc(self.numbers[at], wanted);
            // A third axis in a world that has two comes back as zero.
            (self.positions[at], self.velocities[at]) = (motion.position, motion.velocity);
            self.headings[at] = motion.heading;
            invalid += usize::from(!is_valid);
        }
        invalid
    }
}

impl World {
    /// An NPC is going to be told so; one that cannot be there stands where it was. Returns how it is then, and
    /// whether that was what was wanted.
    pub(super) fn move_npc(&mut self, number: u16, wanted: Motion) -> (Motion, bool) {
        let known = &mut self.entities[usize::from(number)];
        let wanted = wanted.in_dims(self.settings.dims);
        if wanted == known.motion {
            return (wanted, true);
        }
        let is_valid = wanted.check(self.settings.cell).is_ok();
        let stands = Motion { velocity: [0.0; 3], ..known.motion };
        let motion = if is_valid { wanted } else { stands };
        if motion != known.motion {
            known.motion = motion;
            if !core::mem::replace(&mut known.is_dirty, true) {
                self.dirty.push(number);
            }
        }
        (motion, is_valid)
    }
}

#[cfg(test)]
pub(super) mod tests;
