//! The worlds of a shard that have members, or had some just now: by object, and by when they tick.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{TickClock, Ticked, World, WorldSettings, phase_of};
use crate::hashing::{HashMap, HashSeed};
use crate::ids::ObjectId;
use crate::limits::WORLD_GRACE_NS;

/// How long the ticks of a shard are watched before a rate is halved, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000_000;
/// One tick in so many may be late.
const LATE_ONE_IN: u64 = 10;
/// In so many windows in a row, since one pause is no overload.
const LATE_WINDOWS: u32 = 2;
/// So many windows without overload are waited for before a rate is doubled again.
const CALM_WINDOWS: u32 = 5;
/// The most that is waited, when overload has come back soon.
const CALM_WINDOWS_MAX: u32 = 60;

/// When a world ticks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: u64,
    slot: u32,
    /// Which of the worlds that used the slot.
    woken: u32,
}

#[derive(Debug)]
struct Awake {
    world: Box<World>,
    woken: u32,
    /// Since when nobody is in it.
    empty_since_ns: Option<u64>,
}

/// The worlds of a shard that are awake: those with members, and for a while those that had some and have
/// NPCs. Another is no more than its object.
#[derive(Debug)]
pub(crate) struct Worlds {
    slots: Vec<Option<Awake>>,
    free: Vec<u32>,
    by_id: HashMap<ObjectId, u32>,
    due: BinaryHeap<Reverse<Due>>,
    woken: u32,
    entity_count: usize,
    npc_count: usize,
    slowed_count: usize,
    overload: Overload,
    seed: HashSeed,
}

impl Worlds {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::with_hasher(seed),
            due: BinaryHeap::new(),
            woken: 0,
            entity_count: 0,
            npc_count: 0,
            slowed_count: 0,
            overload: Overload::default(),
            seed,
        }
    }

    /// Number of worlds that are awake.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The world, if it is awake.
    pub(crate) fn get(&self, id: ObjectId) -> Option<&World> {
        let slot = *self.by_id.get(&id)?;
        self.slots[slot as usize].as_ref().map(|awake| &*awake.world)
    }

    /// The place of the world, and the world.
    pub(crate) fn slot_of(&self, id: ObjectId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The world at a place, if it is that one still.
    pub(crate) fn at_mut(&mut self, slot: u32, id: ObjectId) -> Option<&mut World> {
        let awake = self.slots.get_mut(slot as usize)?.as_mut()?;
        (awake.world.id == id).then_some(&mut *awake.world)
    }

    /// Which waking this place's world is from.
    pub(crate) fn waking_of(&self, slot: u32) -> u32 {
        self.slots[slot as usize].as_ref().expect("it is awake").woken
    }

    /// The world at a place, if it has not slept since that waking.
    pub(crate) fn since_mut(&mut self, slot: u32, woken: u32) -> Option<&mut World> {
        let awake = self.slots.get_mut(slot as usize)?.as_mut()?;
        (awake.woken == woken).then_some(&mut *awake.world)
    }

    /// The world, for a member.
    pub(crate) fn wake(
        &mut self,
        id: ObjectId,
        settings: WorldSettings,
        bytes_per_s: usize,
        now_ns: u64,
    ) -> u32 {
        if let Some(slot) = self.by_id.get(&id) {
            let awake = self.slots[*slot as usize].as_mut().expect("it is awake");
            awake.empty_since_ns = None;
            return *slot;
        }
        let clock = TickClock::new(now_ns, settings.tick_hz, phase_of(self.woken));
        self.woken = self.woken.wrapping_add(1);
        let world = Box::new(World::new(id, settings, clock, bytes_per_s, self.seed));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.due.push(Reverse(Due { at_ns: clock.due_ns(), slot, woken: self.woken }));
        self.slots[slot as usize] = Some(Awake { world, woken: self.woken, empty_since_ns: None });
        self.by_id.insert(id, slot);
        slot
    }

    /// The world has nobody in it any more, and may sleep when it has been so for a while.
    pub(crate) fn note_empty(&mut self, slot: u32, now_ns: u64) {
        let awake = self.slots[slot as usize].as_mut().expect("it was awake");
        awake.empty_since_ns = Some(now_ns);
    }

    /// Whether nobody was in the world for so long that nobody is waited for.
    pub(crate) fn is_abandoned(&self, slot: u32, now_ns: u64) -> bool {
        let awake = self.slots[slot as usize].as_ref().expect("it is awake");
        awake.empty_since_ns.is_some_and(|since_ns| now_ns - since_ns >= WORLD_GRACE_NS)
    }

    /// The world has nobody in it any more, and its entities are not there.
    pub(crate) fn put_to_sleep(&mut self, slot: u32) {
        let awake = self.slots[slot as usize].take().expect("it was awake");
        assert!(awake.world.member_count() == 0);
        self.slowed_count -= usize::from(awake.world.clock.halvings() > 0);
        self.by_id.remove(&awake.world.id);
        self.free.push(slot);
        // What it had due is passed over when its time has come.
        if self.by_id.is_empty() {
            self.due.clear();
        }
    }

    /// When the next world ticks.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.due.peek().map(|Reverse(due)| due.at_ns)
    }

    /// The next world whose tick is due, and which tick that is.
    pub(crate) fn next_due(&mut self, now_ns: u64) -> Option<(u32, Ticked)> {
        loop {
            let mut first = self.due.peek_mut().filter(|due| due.0.at_ns <= now_ns)?;
            let Due { slot, woken, .. } = first.0;
            let awake = self.slots[slot as usize].as_mut().filter(|awake| awake.woken == woken);
            let Some(awake) = awake else {
                alloc::collections::binary_heap::PeekMut::pop(first);
                continue;
            };
            let ticked = awake.world.clock.advance(now_ns);
            first.0.at_ns = awake.world.clock.due_ns();
            // Its rate may have been halved since.
            let Some(ticked) = ticked else { continue };
            let period_ns = awake.world.clock.period_ns();
            self.overload.note(ticked, period_ns);
            return Some((slot, ticked));
        }
    }

    /// The world at a place.
    pub(crate) fn world_mut(&mut self, slot: u32) -> &mut World {
        &mut self.slots[slot as usize].as_mut().expect("it was due").world
    }

    /// Looks at the ticks since the last look, and halves or doubles the rate of a world where there
    /// is reason to. Returns which.
    pub(crate) fn balance(&mut self, now_ns: u64) -> Option<u32> {
        let verdict = self.overload.judge(now_ns)?;
        let worlds = self.slots.iter().enumerate();
        let worlds = worlds.filter_map(|(slot, awake)| Some((slot, &awake.as_ref()?.world)));
        let worlds = worlds.filter(|(_, world)| world.member_count() > 0);
        let chosen = match verdict {
            // Where it helps most.
            Verdict::TooMuch => worlds
                .filter(|(_, world)| world.clock.halvings() < super::clock::HALVINGS_MAX)
                .max_by_key(|(slot, world)| (world.cost(), Reverse(*slot))),
            // Where it costs least, of those that are slowest.
            Verdict::Calm => {
                let halved = worlds.filter(|(_, world)| world.clock.halvings() > 0);
                halved.min_by_key(|(slot, world)| {
                    (Reverse(world.clock.halvings()), world.cost(), *slot)
                })
            }
        };
        let slot = chosen?.0 as u32;
        let world = self.world_mut(slot);
        let halvings = world.clock.halvings();
        let (halvings, was_halved) = match verdict {
            Verdict::TooMuch => (halvings + 1, true),
            Verdict::Calm => (halvings - 1, false),
        };
        world.set_halvings(halvings);
        match (was_halved, halvings) {
            (true, 1) => self.slowed_count += 1,
            (false, 0) => self.slowed_count -= 1,
            _ => {}
        }
        self.overload.changed(was_halved);
        Some(slot)
    }

    /// Worlds whose rate is halved.
    pub(crate) fn slowed_count(&self) -> usize {
        self.slowed_count
    }

    /// Entities of all worlds changed from one number to another.
    pub(crate) fn count_entities(&mut self, before: usize, after: usize) {
        self.entity_count = self.entity_count + after - before;
    }

    /// NPCs of a world changed from one number to another.
    pub(crate) fn count_npcs(&mut self, before: usize, after: usize) {
        self.npc_count = self.npc_count + after - before;
    }

    /// NPCs of all worlds.
    pub(crate) fn npc_count(&self) -> usize {
        self.npc_count
    }

    /// Entities of all worlds.
    pub(crate) fn entity_count(&self) -> usize {
        self.entity_count
    }
}

/// What a look at the ticks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too many were late.
    TooMuch,
    /// Long enough none was.
    Calm,
}

/// Whether a shard gets along with its worlds: by how late their ticks are.
#[derive(Debug)]
pub(crate) struct Overload {
    window_ends_ns: u64,
    ticks: u64,
    late: u64,
    late_windows: u32,
    calm_windows: u32,
    /// So many are waited for.
    patience: u32,
    /// Windows since a rate was doubled.
    since_doubled: u32,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            window_ends_ns: 0,
            ticks: 0,
            late: 0,
            late_windows: 0,
            calm_windows: 0,
            patience: CALM_WINDOWS,
            since_doubled: u32::MAX,
        }
    }
}

impl Overload {
    /// A tick was run.
    fn note(&mut self, ticked: Ticked, period_ns: u64) {
        self.ticks += 1;
        self.late += u64::from(ticked.is_late(period_ns));
    }

    /// At the end of a window: what is to be done, if anything is.
    fn judge(&mut self, now_ns: u64) -> Option<Verdict> {
        if now_ns < self.window_ends_ns {
            return None;
        }
        let is_late = self.late > 0 && self.late * LATE_ONE_IN >= self.ticks;
        self.window_ends_ns = now_ns + WINDOW_NS;
        (self.ticks, self.late) = (0, 0);
        self.since_doubled = self.since_doubled.saturating_add(1);
        if is_late {
            self.calm_windows = 0;
            self.late_windows += 1;
            return (self.late_windows >= LATE_WINDOWS).then_some(Verdict::TooMuch);
        }
        self.late_windows = 0;
        self.calm_windows += 1;
        (self.calm_windows >= self.patience).then_some(Verdict::Calm)
    }

    /// A rate was changed.
    fn changed(&mut self, was_halved: bool) {
        self.calm_windows = 0;
        if !was_halved {
            self.since_doubled = 0;
        } else if self.since_doubled <= CALM_WINDOWS {
            // It was too early.
            self.patience = (2 * self.patience).min(CALM_WINDOWS_MAX);
        } else {
            self.patience = CALM_WINDOWS;
        }
    }
}
