//! NPCs that workers move: whom a shard asks for which band, and what becomes of the answers. What is asked is
//! in `world/npcs/asked.rs`.
//!
//! Bands are listed at their world's tick, and asked for at the end of that turn. A band whose worker has no room
//! stays listed until there is some: when an answer has come, another worker, or a tick.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Shard;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::ids::SessionId;
use crate::limits::TURN_OUTPUT_BYTES_MAX;
use crate::mesh::MeshMessage;
use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;
use crate::turn::{ShardOutputs, Span};
use crate::world::behaviours::{Chosen, Room};
use crate::world::npcs::{Question, ThinkBuffers, Thought, npcs_per_think};

/// Listed bands that are looked at in one turn.
const LOOKS_PER_TURN_MAX: usize = 1024;

/// Of these so many in a row for which nobody has room, while others have.
const FUTILE_LOOKS_MAX: usize = 64;

/// A band of a world: of the place and the waking of that.
#[derive(Clone, Copy, Debug)]
struct Listed {
    slot: u32,
    woken: u32,
    band: usize,
}

/// What a shard has for asking workers. Each band stands in the list once at most, so the list is no longer than
/// the shard has entries of NPCs.
#[derive(Debug, Default)]
pub(super) struct Asking {
    list: VecDeque<Listed>,
    /// How many of them may be asked for now.
    to_look_at: usize,
    last_token: i64,
    buffers: ThinkBuffers,
    /// What a worker says in hexadecimal.
    answer: Vec<u8>,
}

impl Asking {
    /// Bands that wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn has_work(&self) -> bool {
        self.to_look_at > 0
    }

    /// There may be room for what is listed.
    pub(super) fn look_again(&mut self) {
        self.to_look_at = self.list.len();
    }

    /// The world has gone to sleep.
    pub(super) fn forget(&mut self, slot: u32, woken: u32) {
        self.list.retain(|listed| (listed.slot, listed.woken) != (slot, woken));
        self.to_look_at = self.to_look_at.min(self.list.len());
    }

    pub(super) fn list(&mut self, (slot, woken): (u32, u32), band: usize) {
        self.list.push_back(Listed { slot, woken, band });
    }
}

impl Shard {
    /// A world has ticked: what workers move in it is listed, and what they have not answered given up.
    pub(super) fn expect_thoughts(&mut self, slot: u32) {
        let woken = self.worlds.waking_of(slot);
        self.inline.behaviours.probe_silent(self.now.monotonic_ns);
        let (behaviours, asking) = (&mut self.inline.behaviours, &mut self.asking);
        let list = |band| asking.list((slot, woken), band);
        let world = self.worlds.world_mut(slot);
        let unanswered = world.expect_thoughts(behaviours, self.now.monotonic_ns, list);
        self.counters.npc_carried_over += unanswered.put_off as u64;
        self.counters.npc_thinks_lost += unanswered.lost as u64;
        self.asking.look_again();
    }

    /// Asks workers for bands that are listed.
    pub(super) fn ask_workers(&mut self, outputs: &mut ShardOutputs) {
        let room = self.room_of_workers();
        let mut bytes_left = TURN_OUTPUT_BYTES_MAX;
        let mut futile_left = FUTILE_LOOKS_MAX;
        for _ in 0..LOOKS_PER_TURN_MAX.min(self.asking.to_look_at) {
            if !self.inline.behaviours.workers.has_room(room) {
                self.asking.to_look_at = 0;
                return;
            }
            if bytes_left == 0 {
                return;
            }
            self.asking.to_look_at -= 1;
            let bytes = self.ask_next(room, outputs);
            bytes_left = bytes_left.saturating_sub(bytes);
            if bytes > 0 {
                futile_left = FUTILE_LOOKS_MAX;
                continue;
            }
            futile_left -= 1;
            if futile_left == 0 {
                // The next answer, or the next tick, goes on where this ends.
                self.asking.to_look_at = 0;
                return;
            }
        }
    }

    /// What a worker may be asked at a time by this shard: of bytes as much as it is told of tasks.
    pub(super) fn room_of_workers(&self) -> Room {
        let shard_count = self.settings.routing.shard_count();
        Room::of_shard(shard_count, self.settings.limits.resume_bytes_max / 2)
    }

    /// Asks for the first band of the list. Returns how many bytes its worker is told.
    fn ask_next(&mut self, room: Room, outputs: &mut ShardOutputs) -> usize {
        let Some(listed) = self.asking.list.pop_front() else { return 0 };
        let staging = self.staging(outputs);
        let has_way = |session: SessionId| staging.check_shard(session.shard).is_ok();
        // It may have gone to sleep.
        let world = self.worlds.since_mut(listed.slot, listed.woken);
        let Some(world) = world else { return 0 };
        let Some(name) = world.unlist(listed.band) else { return 0 };
        let workers = &mut self.inline.behaviours.workers;
        let worker = match workers.choose(name, room, has_way) {
            Chosen::Worker(worker) => worker,
            Chosen::Full => {
                world.list_again(listed.band);
                self.asking.list.push_back(listed);
                return 0;
            }
            // The next tick sees to it.
            Chosen::Nobody => return 0,
        };
        self.asking.last_token += 1;
        let token = self.asking.last_token;
        let npcs_max = npcs_per_think(self.settings.frame_bytes_max);
        let question = Question { token, worker, now_ns: self.now.monotonic_ns, npcs_max };
        let session = worker.session;
        let out = &mut outputs.mesh[session.shard.index()].bytes;
        let start = out.len();
        let mut think = MessageBuilder::new(out, "think");
        world.ask(listed.band, question, &mut self.asking.buffers, &mut think);
        workers.asked(worker, world.open_bytes(listed.band));
        let message = Span::since(start, out);
        self.counters.npc_thinks_asked += 1;
        self.post(session.shard, outputs, MeshMessage::Direct { session, message });
        message.length as usize
    }

    /// The worker may be asked again if it was silent. It says something of the question of this token, or
    /// something else.
    pub(super) fn heard_of_npcs(&mut self, session: SessionId, token: Option<i64>) {
        if self.inline.behaviours.heard(session, token) {
            self.asking.look_again();
        }
    }

    /// What a worker says of NPCs for which it was asked.
    pub(super) fn run_thought(
        &mut self,
        event: &QueuedEvent,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let (origin, message) = (event.header.origin, event.message());
        self.heard_of_npcs(origin.session, token_of(message));
        effects.start(message.method());
        match self.take_thought(origin.session, message) {
            Ok(thought) => {
                effects.scanned = thought.updates;
                if thought.invalid > 0 {
                    let invalid = Value::Integer(thought.invalid as i64);
                    effects.reply(|reply| reply.field("invalid", invalid));
                }
                self.post_reply(origin, message, effects.reply_message(), outputs);
            }
            Err(reason) => self.post_refusal(origin, message, reason, outputs),
        }
    }

    /// Moves the NPCs by the answer. Returns what came of it.
    fn take_thought(
        &mut self,
        session: SessionId,
        thought: Message<'_>,
    ) -> Result<Thought, Reason> {
        let id = thought.get("world").and_then(Value::as_object);
        let id = id.expect("it was routed by its world");
        let token = thought.get("token").ok_or(Reason::FieldMissing)?;
        let token = token.as_integer().ok_or(Reason::FieldInvalid)?;
        let has_failed = thought.get("failed").map_or(Some(false), Value::as_boolean);
        let has_failed = has_failed.ok_or(Reason::FieldInvalid)?;
        let batch = match thought.get("batch") {
            None if has_failed => None,
            batch => Some(batch.ok_or(Reason::FieldMissing)?),
        };
        let slot = self.worlds.slot_of(id).ok_or(Reason::LeaseLost)?;
        let woken = self.worlds.waking_of(slot);
        let world = self.worlds.world_mut(slot);
        let band = world.asked_band(token, session).ok_or(Reason::LeaseLost)?;
        let decoded = &mut self.asking.answer;
        let batch = batch.filter(|_| !has_failed);
        let batch = batch.map(|batch| bytes_of(batch, decoded)).transpose()?;
        let workers = &mut self.inline.behaviours.workers;
        let (moved, is_more) = world.take_thought(band, batch, workers)?;
        if has_failed {
            self.counters.npc_thinks_failed += 1;
        } else {
            self.counters.npc_updates += moved.updates as u64;
        }
        self.counters.npc_moves_invalid += moved.invalid as u64;
        if is_more {
            self.asking.list((slot, woken), band);
        }
        self.asking.look_again();
        Ok(moved)
    }
}

/// Of which question a worker says something.
pub(super) fn token_of(thought: Message<'_>) -> Option<i64> {
    Some(thought.get("token").and_then(Value::as_integer).unwrap_or(0))
}

/// The bytes of a field: text protocols say them in hexadecimal.
fn bytes_of<'b>(value: Value<'b>, decoded: &'b mut Vec<u8>) -> Result<&'b [u8], Reason> {
    let text = match value {
        Value::Bytes(bytes) => return Ok(bytes),
        Value::Text(text) => text,
        _ => return Err(Reason::FieldInvalid),
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Reason::FieldInvalid);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Reason::FieldInvalid);
    decoded.clear();
    for [high, low] in pairs {
        decoded.push((digit(*high)? * 16 + digit(*low)?) as u8);
    }
    Ok(decoded)
}
