//! Bands that a worker moves: what it is asked, and what becomes of its answer.
//!
//! A band is in the ring of those that are moved here, or a worker is asked for it; which of both is decided at
//! each tick, and between two ticks nothing changes that. Of a band that is asked for, at each tick all NPCs
//! become due, as they do in the ring; some of them are asked for at a time, and the next when these are answered or
//! given up. What holds meanwhile: nobody but the answer moves those that are asked for, and only an answer says for
//! which tick they were moved. So the time of who is given up goes on, nobody is moved twice for one tick, and
//! nobody is due again before all others of the band were asked for.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Band, Thought, World};
use crate::ids::SessionId;
use crate::limits::WORLD_GRACE_NS;
use crate::message::{MessageBuilder, Value};
use crate::reason::Reason;
use crate::world::behaviours::vector::{Vector, square, sub};
use crate::world::behaviours::{AskedWorker, Mover, ShardBehaviours, WorkerBehaviours};
use crate::world::{NOBODY, WORLD_ENTITIES_MAX, WorldSettings};

/// NPCs that a worker is asked for at once.
const NPCS_PER_THINK_MAX: usize = 512;
/// What each of them has in an answer, in hexadecimal, and what the answer has besides, in bytes.
const ANSWER_BYTES: (usize, usize) = (2 * 36, 256);
/// How long an answer is waited for, in nanoseconds.
const THINK_NS_MAX: u64 = 1_000_000_000;
const _: () =
    assert!(THINK_NS_MAX < WORLD_GRACE_NS, "nothing is open in a world that goes to sleep");
/// Members whose positions a worker is told.
const MEMBERS_TOLD_MAX: usize = 64;
/// Members that are looked at for that, or cells in a world with more members.
const MEMBERS_LOOKED_AT_MAX: usize = 1024;
const CELLS_LOOKED_AT_MAX: usize = 256;
/// Whatever has 8 bytes stands at a multiple of it.
const ALIGNMENT: usize = 8;

/// What a band is asked of workers.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Whether a worker moves the band, as of the last tick.
    pub(super) is_on: bool,
    /// It stands in the shard's list of bands to be asked for.
    is_listed: bool,
    /// Which NPC is asked for next.
    next: usize,
    /// How many are due, from there on and round.
    due: usize,
    /// What was asked last, until it is answered or given up.
    open: Option<Open>,
}

/// What was asked and is not answered.
#[derive(Clone, Debug)]
struct Open {
    token: i64,
    worker: AskedWorker,
    since_ns: u64,
    bytes: usize,
    /// For which tick.
    tick: u64,
    range: Range<usize>,
}

/// Who is asked, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) token: i64,
    pub(crate) worker: AskedWorker,
    pub(crate) now_ns: u64,
    /// NPCs that are asked for at once.
    pub(crate) npcs_max: usize,
}

/// Kept for their memory.
#[derive(Debug, Default)]
pub(crate) struct ThinkBuffers {
    seconds: Vec<f32>,
    batch: Vec<u8>,
    members: Vec<u8>,
}

/// Those of a world's entities who are members, as of a tick.
#[derive(Debug, Default)]
pub(super) struct Members {
    run: u32,
    numbers: Vec<u16>,
}

/// What a tick finds of bands that workers move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// NPCs that were due and were not moved.
    pub(crate) put_off: usize,
    /// Questions that were given up.
    pub(crate) lost: usize,
}

/// How many NPCs a worker is asked for at once that may answer in frames of so many bytes.
pub(crate) fn npcs_per_think(frame_bytes_max: u64) -> usize {
    let (each, besides) = ANSWER_BYTES;
    let bytes = usize::try_from(frame_bytes_max).unwrap_or(usize::MAX);
    (bytes.saturating_sub(besides) / each).clamp(1, NPCS_PER_THINK_MAX)
}

impl World {
    /// A tick, seen to before [`expect_npcs`](Self::expect_npcs): each band finds out what moves it. What its worker has not
    /// answered in time is given up; those that workers move are due again, and `list` is told of each that
    /// can be asked for.
    pub(crate) fn expect_thoughts(
        &mut self,
        behaviours: &mut ShardBehaviours,
        now_ns: u64,
        mut list: impl FnMut(usize),
    ) -> Unanswered {
        let mut unanswered = Unanswered::default();
        let mut ring_count = self.npcs.count;
        for (at, band) in self.npcs.bands.iter_mut().enumerate() {
            unanswered.put_off += band.asking.put_off(band.numbers.len());
            unanswered.lost += usize::from(band.asking.give_up_late(behaviours, now_ns));
            let is_on = band.behaviour.look_up(behaviours) == Mover::Worker;
            if !is_on {
                unanswered.lost += usize::from(band.asking.give_up(&mut behaviours.workers));
            }
            band.asking.is_on = is_on;
            band.asking.due = if is_on { band.numbers.len() } else { 0 };
            ring_count -= band.asking.due;
            if band.asking.can_be_listed() {
                band.asking.is_listed = true;
                list(at);
            }
        }
        self.npcs.ring_count = ring_count;
        unanswered
    }

    /// Gives up what is not answered in time, though the world does not tick. Returns how many questions those are.
    pub(crate) fn give_up_late(&mut self, behaviours: &mut ShardBehaviours, now_ns: u64) -> usize {
        let bands = self.npcs.bands.iter_mut();
        bands.filter_map(|band| band.asking.give_up_late(behaviours, now_ns).then_some(())).count()
    }

    /// A band leaves the shard's list. Its behaviour, if it is still to be asked for: nobody is asked when nobody
    /// is in the world.
    pub(crate) fn unlist(&mut self, at: usize) -> Option<&str> {
        let is_alone = self.member_count == 0;
        let band = &mut self.npcs.bands[at];
        band.asking.is_listed = false;
        (band.asking.can_be_listed() && !is_alone).then(|| band.behaviour.name())
    }

    /// It stands there again.
    pub(crate) fn list_again(&mut self, at: usize) {
        self.npcs.bands[at].asking.is_listed = true;
    }

    /// Asks for the next NPCs of a band, with the fields of `think`.
    pub(crate) fn ask(
        &mut self,
        at: usize,
        question: Question,
        buffers: &mut ThinkBuffers,
        think: &mut MessageBuilder<'_>,
    ) {
        let tick = self.clock.next_tick();
        self.note_members();
        let band = &mut self.npcs.bands[at];
        let range = band.asking.take_due(band.numbers.len(), question.npcs_max);
        band.write_batch(range.clone(), (tick, self.settings.tick_hz), buffers);
        let band = &self.npcs.bands[at];
        self.write_members(band, tick, &mut buffers.members);
        let manner = band.manner;
        let mut home = [0; 12];
        for (bytes, axis) in home.chunks_exact_mut(4).zip(manner.home) {
            bytes.copy_from_slice(&axis.to_le_bytes());
        }
        think.field("world", Value::Object(self.id));
        think.field("band", Value::Integer(at as i64));
        think.field("token", Value::Integer(question.token));
        think.field("behaviour", Value::Text(band.behaviour.name()));
        think.field("tick", Value::Integer(tick as i64));
        think.field("speed", Value::Float(f64::from(manner.speed)));
        think.field("radius", Value::Float(f64::from(manner.radius)));
        think.field("home", Value::Bytes(&home));
        think.field("dims", Value::Integer(i64::from(manner.dims)));
        think.field("count", Value::Integer(range.len() as i64));
        think.field("batch", Value::Bytes(&buffers.batch));
        think.field("members", Value::Bytes(&buffers.members));
        let Question { token, worker, now_ns, .. } = question;
        let bytes = buffers.batch.len() + buffers.members.len();
        let open = Open { token, worker, since_ns: now_ns, bytes, tick, range };
        self.npcs.bands[at].asking.open = Some(open);
    }

    /// How many bytes the worker was told of what is open in the band.
    pub(crate) fn open_bytes(&self, at: usize) -> usize {
        self.npcs.bands[at].asking.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// The band for which the session was asked by this token, if that is still open.
    pub(crate) fn asked_band(&self, token: i64, session: SessionId) -> Option<usize> {
        let is_it = |open: &Open| open.token == token && open.worker.session == session;
        self.npcs.bands.iter().position(|band| band.asking.open.as_ref().is_some_and(is_it))
    }

    /// Moves the NPCs of a band by the answer to what is open in it; without one they stand. Returns what came of it, and whether there
    /// are more to be asked for, of which the list is to be told.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when it is of another length; it can be answered still.
    pub(crate) fn take_thought(
        &mut self,
        at: usize,
        batch: Option<&[u8]>,
        workers: &mut WorkerBehaviours,
    ) -> Result<(Thought, bool), Reason> {
        let band = &mut self.npcs.bands[at];
        let open = band.asking.open.take().expect("the band was asked for");
        match batch {
            None => band.velocities[open.range.clone()].fill([0.0; 3]),
            Some(batch) => {
                if let Err(reason) = band.read_batch(open.range.clone(), batch) {
                    band.asking.open = Some(open);
                    return Err(reason);
                }
            }
        }
        workers.returned(open.worker, open.bytes);
        let range = open.range;
        band.moved_for[range.clone()].fill(open.tick);
        let is_more = band.asking.can_be_listed();
        band.asking.is_listed |= is_more;
        let mut npcs = core::mem::take(&mut self.npcs);
        let updates = range.len();
        let invalid = npcs.bands[at].tell(range, self);
        self.npcs = npcs;
        Ok((Thought { updates, unmoved: 0, invalid }, is_more))
    }

    /// Who is a member, once for each tick.
    fn note_members(&mut self) {
        let members = &mut self.npcs.members;
        if members.run != self.run || members.numbers.is_empty() {
            members.run = self.run;
            members.numbers.clear();
            let sessions = self.sessions.iter().zip(0..=WORLD_ENTITIES_MAX as u16);
            let sessions = sessions.filter(|(session, _)| **session != NOBODY);
            members.numbers.extend(sessions.map(|(_, number)| number));
        }
    }

    /// Positions of members in the band's circle, or within a cell of it: the first that are found, from another
    /// place on at each tick. Where there are many members only cells there are looked at, if they are not too many.
    fn write_members(&self, band: &Band, tick: u64, positions: &mut Vec<u8>) {
        positions.clear();
        let members = &self.npcs.members.numbers;
        let reach = band.manner.radius + self.settings.cell;
        let cells = Cells::around(band.manner.home, reach, self.settings);
        match cells.filter(|_| members.len() > MEMBERS_LOOKED_AT_MAX) {
            Some(cells) => {
                let found = cells.from(tick).filter_map(|at| self.grid.find(at));
                let found = found.flat_map(|cell| &self.grid.cell(cell).viewers);
                self.push_near(found, (band.manner.home, reach), positions);
            }
            None => {
                let start = (tick as usize).wrapping_mul(MEMBERS_TOLD_MAX);
                let (before, after) = members.split_at(start % members.len().max(1));
                self.push_near(after.iter().chain(before), (band.manner.home, reach), positions);
            }
        }
    }

    /// Positions of those of the members who are there and near.
    fn push_near<'n>(
        &self,
        members: impl Iterator<Item = &'n u16>,
        (home, reach): (Vector, f32),
        positions: &mut Vec<u8>,
    ) {
        let found = members.take(MEMBERS_LOOKED_AT_MAX).map(|number| usize::from(*number));
        let found = found.filter(|number| self.sessions[*number] != NOBODY);
        let found = found.map(|number| self.entities[number].motion.position);
        let is_near = |at: &Vector| square(sub(*at, home)) <= reach * reach;
        for position in found.filter(is_near).take(MEMBERS_TOLD_MAX) {
            push_floats(positions, &position);
        }
    }
}

/// The cells of a square, in 3D of a cube.
#[derive(Clone, Copy, Debug)]
struct Cells {
    first: [i16; 3],
    counts: [usize; 3],
}

impl Cells {
    /// Those around a place, if they are no more than are looked at.
    fn around(place: Vector, reach: f32, settings: WorldSettings) -> Option<Self> {
        let (mut first, mut counts) = ([0; 3], [1; 3]);
        for axis in 0..usize::from(settings.dims) {
            let cell_of = |at: f32| whole_below(f64::from(at) / f64::from(settings.cell));
            let least = cell_of(place[axis] - reach).max(i16::MIN.into());
            let most = cell_of(place[axis] + reach).min(i16::MAX.into());
            first[axis] = i16::try_from(least).ok()?;
            counts[axis] = usize::try_from(most - least + 1).ok()?;
        }
        let [x, y, z] = counts;
        let count = x.saturating_mul(y).saturating_mul(z);
        (count <= CELLS_LOOKED_AT_MAX).then_some(Self { first, counts })
    }

    /// All of them, another first at each tick.
    fn from(self, tick: u64) -> impl Iterator<Item = [i16; 3]> {
        let [x, y, z] = self.counts;
        let count = x * y * z;
        let start = (tick % count as u64) as usize;
        (start..count).chain(0..start).map(move |at| {
            let offsets = [at % x, at / x % y, at / (x * y)];
            core::array::from_fn(|axis| self.first[axis] + offsets[axis] as i16)
        })
    }
}

/// Rounded down.
fn whole_below(number: f64) -> i64 {
    let whole = number as i64;
    if number < whole as f64 { whole.saturating_sub(1) } else { whole }
}

impl Asking {
    fn can_be_listed(&self) -> bool {
        self.is_on && self.due > 0 && self.open.is_none() && !self.is_listed
    }

    /// How many of the band were not moved before the tick that has come.
    fn put_off(&self, count: usize) -> usize {
        let asked = self.open.as_ref().map_or(0, |open| open.range.len());
        (self.due + asked).min(count)
    }

    /// The next that are due, as many as are asked for at once.
    fn take_due(&mut self, count: usize, npcs_max: usize) -> Range<usize> {
        let start = self.next;
        let end = count.min(start + self.due.min(npcs_max));
        self.due -= end - start;
        self.next = if end == count { 0 } else { end };
        start..end
    }

    /// Nobody waits for the answer any more. Whether there was one to wait for.
    fn give_up(&mut self, workers: &mut WorkerBehaviours) -> bool {
        let Some(open) = self.open.take() else { return false };
        workers.returned(open.worker, open.bytes);
        // Those who have waited longest are first.
        self.next = open.range.start;
        true
    }

    /// The same if it is too late, or who was asked is gone. Who lets one wait too long is silent.
    fn give_up_late(&mut self, behaviours: &mut ShardBehaviours, now_ns: u64) -> bool {
        let Some(open) = &self.open else { return false };
        let (worker, token) = (open.worker, open.token);
        let is_late = now_ns - open.since_ns >= THINK_NS_MAX;
        if !is_late && behaviours.workers.is_there(worker) {
            return false;
        }
        self.give_up(&mut behaviours.workers);
        if is_late {
            behaviours.note_silence(worker, token, now_ns);
        }
        true
    }
}

impl Band {
    /// What a worker is told of these: each array begins at a multiple of what its items have in bytes.
    fn write_batch(
        &self,
        range: Range<usize>,
        (tick, tick_hz): (u64, u8),
        buffers: &mut ThinkBuffers,
    ) {
        let ThinkBuffers { seconds, batch, .. } = buffers;
        seconds.clear();
        self.push_seconds(range.clone(), (tick, tick_hz), seconds);
        batch.clear();
        for number in &self.numbers[range.clone()] {
            batch.extend_from_slice(&number.to_le_bytes());
        }
        batch.resize(batch.len().next_multiple_of(ALIGNMENT), 0);
        push_floats(batch, seconds);
        push_floats(batch, &self.headings[range.clone()]);
        push_floats(batch, self.positions[range.clone()].as_flattened());
        push_floats(batch, self.velocities[range.clone()].as_flattened());
        for state in &self.states[range] {
            batch.extend_from_slice(&state.to_le_bytes());
        }
    }

    /// What a worker says of them.
    fn read_batch(&mut self, range: Range<usize>, batch: &[u8]) -> Result<(), Reason> {
        let floats = 4 * (1 + 3 + 3) * range.len();
        let states = floats.next_multiple_of(ALIGNMENT);
        if batch.len() != states + 8 * range.len() {
            return Err(Reason::FieldInvalid);
        }
        let (floats, states) = (&batch[..floats], &batch[states..]);
        let mut floats = floats.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let headings = self.headings[range.clone()].iter_mut();
        let positions = self.positions[range.clone()].as_flattened_mut().iter_mut();
        let velocities = self.velocities[range.clone()].as_flattened_mut().iter_mut();
        for (value, said) in headings.chain(positions).chain(velocities).zip(&mut floats) {
            *value = said;
        }
        for (state, bytes) in self.states[range].iter_mut().zip(states.as_chunks().0) {
            *state = u64::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

fn push_floats(out: &mut Vec<u8>, floats: &[f32]) {
    for float in floats {
        out.extend_from_slice(&float.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
