//! Worlds at their home: who comes and goes, moves, and ticks. What members' shards do with a tick:
//! `shard/frames.rs`.

use alloc::vec::Vec;

use super::Shard;
use crate::ids::{ObjectId, SessionId};
use crate::limits::WORLD_TICKED_PER_TURN_MAX;
use crate::mesh::MeshMessage;
use crate::message::{MessageBuilder, Value};
use crate::reason::Reason;
use crate::turn::ShardOutputs;
use crate::world::motion::Motion;
use crate::world::npcs::Entry;
use crate::world::{TickHeader, Ticked};

impl Shard {
    /// Number of worlds that are awake, whose home is here.
    #[must_use]
    pub fn world_count(&self) -> usize {
        self.worlds.len()
    }

    /// The session has an entity from now on, and its shard is told which. Of a world that wakes for it
    /// there is what its record says of NPCs: those that were checked when it was set, or none.
    pub(super) fn world_join(
        &mut self,
        id: ObjectId,
        (session, entity): (SessionId, u16),
        motion: Motion,
        waking: Option<&Result<Vec<Entry>, Reason>>,
        outputs: &mut ShardOutputs,
    ) {
        let partition = self.partition(id.partition()).expect("a joined world exists");
        let room = partition.room(id).expect("a joined world exists");
        let settings = *room.world.as_deref().expect("a joined world is one");
        let name = outputs.mesh[session.shard.index()].push_bytes(room.name().as_bytes());
        let limits = &self.settings.limits;
        let (bytes_per_s, now_ns) = (limits.world_bytes_per_s, self.now.monotonic_ns);
        let slot = self.worlds.wake(id, settings.within(limits), bytes_per_s, now_ns);
        let world = self.worlds.world_mut(slot);
        let before = world.entity_count();
        assert!(world.join(session, motion) == entity, "the reply has said which");
        match waking {
            Some(Ok(npcs)) => {
                let limits = &self.settings.limits;
                let most = limits.world_npcs_max.min(limits.world_entities_max - 1);
                world.populate(npcs, most, self.settings.seed);
            }
            // It was stored before a field of that name was checked.
            Some(Err(_)) => self.counters.npc_fields_invalid += 1,
            None => {}
        }
        let after = world.entity_count();
        self.worlds.count_entities(before, after);
        // Besides the member there are the NPCs of a world that has just woken.
        self.worlds.count_npcs(0, after - before - 1);
        self.count_worlds();
        let seat = MeshMessage::WorldSeat { world: id, slot, entity, session, name };
        self.post(session.shard, outputs, seat);
    }

    /// The session has no entity any more.
    pub(super) fn world_leave(
        &mut self,
        id: ObjectId,
        session: SessionId,
        outputs: &mut ShardOutputs,
    ) {
        let Some(slot) = self.worlds.slot_of(id) else { return };
        let world = self.worlds.world_mut(slot);
        let before = world.entity_count();
        if !world.leave(session) {
            return;
        }
        let (after, is_empty) = (world.entity_count(), world.member_count() == 0);
        let has_npcs = world.npc_count() > 0;
        self.worlds.count_entities(before, after);
        match (is_empty, has_npcs) {
            (true, true) => self.worlds.note_empty(slot, self.now.monotonic_ns),
            (true, false) => self.worlds.put_to_sleep(slot),
            (false, _) => {}
        }
        self.count_worlds();
        let unseat = MeshMessage::WorldUnseat { world: id, session };
        self.post(session.shard, outputs, unseat);
    }

    /// A member has moved.
    pub(super) fn world_move(
        &mut self,
        (id, slot, entity): (ObjectId, u32, u16),
        session: SessionId,
        motion: Motion,
        outputs: &mut ShardOutputs,
    ) {
        let now_ns = self.now.monotonic_ns;
        self.counters.world_moves += 1;
        // It has left while the move was on its way: nobody waits for an answer.
        let Some(world) = self.worlds.at_mut(slot, id) else { return };
        let Err(reason) = world.set_motion(entity, session, motion, now_ns) else { return };
        if reason == Reason::NotAMember {
            return;
        }
        let (position, dims) = (world.position(entity), world.settings.dims);
        self.counters.refusals[reason as usize] += 1;
        let partition = self.partition(id.partition());
        let room = partition.and_then(|partition| partition.room(id));
        let room = room.expect("a world with members exists");
        let batch = &mut outputs.mesh[session.shard.index()];
        let start = batch.bytes.len();
        let mut refusal = MessageBuilder::new(&mut batch.bytes, "move");
        refusal.field("status", Value::Integer(i64::from(reason.status())));
        refusal.field("error", Value::Text(reason.word()));
        if let Some(limit) = reason.limit() {
            refusal.field("limit", Value::Text(limit));
        }
        refusal.field("room", Value::Text(room.name()));
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate().take(usize::from(dims)) {
            refusal.field(name, Value::Float(f64::from(position[axis])));
        }
        let message = crate::turn::Span::since(start, &batch.bytes);
        self.post(session.shard, outputs, MeshMessage::Direct { session, message });
    }

    /// A member has missed frames, and can take them again.
    pub(super) fn world_resync(&mut self, id: ObjectId, session: SessionId) {
        if let Some(slot) = self.worlds.slot_of(id) {
            self.worlds.world_mut(slot).resync(session);
        }
    }

    /// Runs the ticks that are due, as many as fit into a turn: the others run in the next.
    pub(super) fn tick_worlds(&mut self, outputs: &mut ShardOutputs) {
        let now_ns = self.now.monotonic_ns;
        let mut left = WORLD_TICKED_PER_TURN_MAX;
        while left > 0
            && let Some((slot, ticked)) = self.worlds.next_due(now_ns)
        {
            let world = self.worlds.world_mut(slot);
            if world.member_count() == 0 {
                self.rest_world(slot);
                left -= 1;
                continue;
            }
            left = left.saturating_sub(world.member_count() + world.moved_count());
            self.tick_world(slot, ticked, outputs);
        }
        if let Some(slot) = self.worlds.balance(now_ns) {
            self.count_worlds();
            self.tell_tick_rate(slot, outputs);
        }
    }

    /// A tick of a world with nobody in it: nothing happens there, and after a while its NPCs are gone.
    fn rest_world(&mut self, slot: u32) {
        let now_ns = self.now.monotonic_ns;
        let is_abandoned = self.worlds.is_abandoned(slot, now_ns);
        let world = self.worlds.world_mut(slot);
        world.rest();
        let behaviours = &mut self.inline.behaviours;
        let lost = world.give_up_late(behaviours, now_ns);
        self.counters.npc_thinks_lost += lost as u64;
        if !is_abandoned {
            return;
        }
        let npcs = world.npc_count();
        assert!(world.entity_count() == npcs, "only NPCs are in it");
        self.asking.forget(slot, self.worlds.waking_of(slot));
        self.worlds.count_npcs(npcs, 0);
        self.worlds.count_entities(npcs, 0);
        self.worlds.put_to_sleep(slot);
        self.count_worlds();
    }

    /// Where it changes, so that a turn without worlds does not look.
    fn count_worlds(&mut self) {
        self.counters.worlds = self.worlds.len() as u64;
        self.counters.worlds_slowed = self.worlds.slowed_count() as u64;
        self.counters.world_entities = self.worlds.entity_count() as u64;
        self.counters.npcs = self.worlds.npc_count() as u64;
    }

    /// Whether a world's tick is due.
    pub(super) fn is_world_due(&self) -> bool {
        self.worlds.next_due_ns().is_some_and(|due_ns| due_ns <= self.now.monotonic_ns)
    }

    fn tick_world(&mut self, slot: u32, ticked: Ticked, outputs: &mut ShardOutputs) {
        self.counters.world_ticks += 1;
        self.counters.world_ticks_skipped += ticked.skipped;
        let staging = self.staging(outputs);
        let (own, staged_max) = (staging.own, staging.bytes_max);
        let gathered_bytes = staging.gathered_bytes;
        let ticked_in = self.worlds.waking_of(slot);
        let world = self.worlds.world_mut(slot);
        self.counters.world_ticks_late += u64::from(ticked.is_late(world.clock.period_ns()));
        world.tick();
        self.expect_thoughts(slot);
        let world = self.worlds.world_mut(slot);
        let put_off = world.expect_npcs();
        self.counters.npc_carried_over += put_off as u64;
        if world.npcs_due() > 0 && !world.waits_to_think(true) {
            self.thinkers.push_back((slot, ticked_in));
        }
        let header = TickHeader {
            world: world.id.0,
            tick: ticked.tick as u32,
            cell: world.settings.cell,
            dims: world.settings.dims,
        };
        let mut lost = Vec::new();
        let sections = world.tick_sections();
        let mut posted = 0;
        for part in world.tick_parts() {
            let batch = &mut outputs.mesh[part.shard.index()];
            // A tick may be larger than all that should be staged: what is there already decides.
            let is_full = batch.size_bytes() + gathered_bytes >= staged_max && !batch.is_empty();
            if part.shard != own && is_full {
                lost.push(part.shard);
                continue;
            }
            let (sections, plan) = (batch.push_bytes(sections), batch.push_bytes(part.plan));
            batch.list.push(MeshMessage::WorldFrames { header, sections, plan });
            posted += u64::from(part.shard != own);
        }
        // Only a full way is a reason to allocate.
        for shard in lost {
            world.resync_shard(shard);
            self.counters.world_frames_lost += 1;
        }
        self.counters.mesh_messages_out += posted;
    }

    /// The members of a world hear how often it ticks now.
    fn tell_tick_rate(&mut self, slot: u32, outputs: &mut ShardOutputs) {
        let world = self.worlds.world_mut(slot);
        let (id, tick_hz) = (world.id, world.clock.hz());
        let staging = self.staging(outputs);
        let partition = self.partition(id.partition());
        let room = partition.and_then(|partition| partition.room(id));
        let room = room.expect("a world with members exists");
        // The frames show it too: who cannot be told now sees their ticks skip numbers.
        if staging.check_room(room).is_err() {
            return;
        }
        let sequence = room.next_sequence();
        let mut bytes = Vec::new();
        let mut message = MessageBuilder::new(&mut bytes, "tick-rate");
        message.field("room", Value::Text(room.name()));
        message.field("tick_hz", Value::Float(tick_hz));
        message.field("seq", Value::Integer(sequence as i64));
        self.broadcast(id, sequence, &bytes, outputs);
    }
}
