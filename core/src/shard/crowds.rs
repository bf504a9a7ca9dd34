//! Rooms with many members. Above `presence_members_max` a room is told how many it has, not who
//! comes and goes. Above `gather_members_min` its messages are gathered at its home: the first
//! after a silence leaves at once and opens a window, and what is said until its end leaves
//! together, so that a member gets one send a window however many speak.
//!
//! What is gathered is numbered, so none of it may be lost, and its order to joins and leaves is
//! kept. Who joins waits among the messages for their turn; the reply does not. Who leaves gets
//! what waits alone, before the reply. When many join or leave in one window, what waits is sent to
//! all before its time: that costs less than a copy for each.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Shard;
use crate::effects::{Effect, Effects};
use crate::gathered::{Gathered, Waiting};
use crate::handlers::Staging;
use crate::ids::{ObjectId, SessionId};
use crate::limits::ROOM_LOOK_NS_MIN;
use crate::mesh::MeshMessage;
use crate::message::{MessageBuilder, Value};
use crate::room::Room;
use crate::turn::ShardOutputs;

/// Emptied buffers that are kept for the next window.
const SPARE_BUFFERS_MAX: usize = 64;

/// What a shard keeps of its crowded rooms beside the rooms themselves.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// Rooms with an open window, with its end. All are as long, so the first is the earliest.
    windows: VecDeque<(u64, ObjectId)>,
    /// Rooms that were told a count, or are still to be, with the time of the next. The same.
    counts: VecDeque<(u64, ObjectId)>,
    /// Bytes of all that is gathered: what they would come to on the way to any one shard.
    pub(super) gathered_bytes: usize,
    #[expect(clippy::vec_box, reason = "rooms hold boxes, and these go back to them")]
    spare: Vec<Box<Gathered>>,
    /// A `members` message while it is built.
    message: Vec<u8>,
    /// Nothing is gathered any more.
    pub(super) is_over: bool,
}

impl Crowds {
    /// When a window ends or a count may be told.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let firsts = [self.windows.front(), self.counts.front()];
        firsts.into_iter().flatten().map(|(due_ns, _)| *due_ns).min()
    }
}

impl Shard {
    /// Bytes of room messages that are numbered and not yet sent.
    #[must_use]
    pub fn gathered_bytes(&self) -> usize {
        self.crowds.gathered_bytes
    }

    /// Whether a room's message or count is still to be sent.
    #[must_use]
    pub fn owes_crowds(&self) -> bool {
        let is_untold = |(_, id): &(u64, ObjectId)| {
            let partition = self.partition(id.partition());
            let room = partition.and_then(|partition| partition.room(*id));
            room.is_some_and(|room| room.is_count_untold)
        };
        self.crowds.gathered_bytes > 0 || self.crowds.counts.iter().any(is_untold)
    }

    /// The shard is about to end: what is gathered leaves in the next turn, and nothing is gathered
    /// from now on.
    pub fn stop_gathering(&mut self) {
        self.crowds.is_over = true;
    }

    /// How full the ways to the other shards are.
    pub(super) fn staging<'a>(&self, outputs: &'a ShardOutputs) -> Staging<'a> {
        Staging {
            own: self.id(),
            batches: &outputs.mesh,
            gathered_bytes: self.crowds.gathered_bytes,
            bytes_max: self.settings.limits.mesh_staging_bytes_max,
        }
    }

    /// Ends the windows and tells the counts whose time has come.
    pub(super) fn advance_crowds(&mut self, outputs: &mut ShardOutputs) {
        let now_ns = self.now.monotonic_ns;
        while let Some(&(due_ns, id)) = self.crowds.windows.front()
            && (due_ns <= now_ns || self.crowds.is_over)
        {
            self.crowds.windows.pop_front();
            self.end_window(id, outputs);
        }
        while let Some(&(due_ns, id)) = self.crowds.counts.front()
            && due_ns <= now_ns
        {
            self.crowds.counts.pop_front();
            let Some(room) = self.partition_mut(id.partition()).room_mut(id) else { continue };
            room.is_count_timed = false;
            if room.is_count_untold {
                self.tell_count(id, outputs);
            }
        }
    }

    /// Sends what was gathered, and gathers on; after a silence, the next message leaves at once.
    fn end_window(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let Some(room) = self.partition_mut(id.partition()).room_mut(id) else { return };
        let gathered = room.gathered.as_ref().expect("a window that ends was open");
        if gathered.is_empty() || self.crowds.is_over {
            self.send_gathered(id, outputs);
            let room = self.partition_mut(id.partition()).room_mut(id);
            let buffer = room.and_then(|room| room.gathered.take()).expect("it was there before");
            if self.crowds.spare.len() < SPARE_BUFFERS_MAX {
                self.crowds.spare.push(buffer);
            }
            return;
        }
        self.send_gathered(id, outputs);
        let end_ns = self.now.monotonic_ns + self.settings.limits.gather_ns;
        self.crowds.windows.push_back((end_ns, id));
    }

    /// Gives the room's next number away, and sends the message to every shard with members: now,
    /// or with what else is gathered.
    pub(super) fn broadcast(
        &mut self,
        id: ObjectId,
        sequence: u64,
        bytes: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let limits = &self.settings.limits;
        let (gather_ns, bytes_max) = (limits.gather_ns, limits.gather_bytes_max);
        let crowd_min = if self.crowds.is_over { usize::MAX } else { limits.gather_members_min };
        let mut partition = self.partitions[usize::from(id.partition().0)].take();
        let state = partition.as_mut().expect("a room that speaks exists");
        let room = state.room_mut(id).expect("a room that speaks exists");
        room.take_sequence(sequence);
        self.counters.room_messages += 1;
        let gathers = gather_ns > 0 && room.member_count() > crowd_min;
        if gathers && let Some(gathered) = &mut room.gathered {
            let before = gathered.size_bytes();
            gathered.push_message(sequence, bytes);
            self.counters.room_messages_gathered += 1;
            self.crowds.gathered_bytes += gathered.size_bytes() - before;
            let is_full = gathered.size_bytes() > bytes_max;
            self.partitions[usize::from(id.partition().0)] = partition;
            if is_full {
                self.send_gathered(id, outputs);
            }
            return;
        }
        assert!(room.gathered_bytes() == 0, "a room sends in the order of its numbers");
        self.post_room_message(id, room, sequence, bytes, outputs);
        if gathers {
            room.gathered = Some(self.crowds.spare.pop().unwrap_or_default());
            self.crowds.windows.push_back((self.now.monotonic_ns + gather_ns, id));
        }
        self.partitions[usize::from(id.partition().0)] = partition;
    }

    /// Charges a message to the one who has it sent.
    pub(super) fn charge_fan_out(&mut self, id: ObjectId, user: &str, bytes: usize) {
        let (rate, now_ns) = (self.settings.limits.fan_out, self.now.monotonic_ns);
        let room = self.partition_mut(id.partition()).room_mut(id);
        room.expect("a room that speaks exists").charge_fan_out(user, bytes, rate, now_ns);
    }

    /// One copy for every shard with members.
    fn post_room_message(
        &mut self,
        id: ObjectId,
        room: &Room,
        sequence: u64,
        bytes: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        for shard in room.shards() {
            let message = outputs.mesh[shard.index()].push_bytes(bytes);
            self.post(shard, outputs, MeshMessage::RoomMessage { room: id, sequence, message });
        }
    }

    /// Sends what is gathered. The window stays open.
    fn send_gathered(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let mut partition = self.partitions[usize::from(id.partition().0)].take();
        let state = partition.as_mut().expect("a room that gathers exists");
        let room = state.room_mut(id).expect("a room that gathers exists");
        let mut gathered = room.gathered.take().expect("its window is open");
        self.crowds.gathered_bytes -= gathered.size_bytes();
        for waiting in gathered.list() {
            match *waiting {
                Waiting::Message { sequence, message } => {
                    let bytes = gathered.bytes_of(message);
                    self.post_room_message(id, room, sequence, bytes, outputs);
                }
                Waiting::Join { session, user } => {
                    self.post_relay_join(id, session, gathered.bytes_of(user), outputs);
                }
            }
        }
        gathered.clear();
        room.gathered = Some(gathered);
        self.partitions[usize::from(id.partition().0)] = partition;
    }

    /// A room that is no crowd any more sends what it has gathered.
    pub(super) fn send_if_small(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let crowd_min = self.settings.limits.gather_members_min;
        let room = self.partition_mut(id.partition()).room_mut(id).expect("the room is there");
        if room.gathered_bytes() > 0 && room.member_count() <= crowd_min {
            self.send_gathered(id, outputs);
        }
    }

    /// The session hears the room from the next message on: behind what is gathered, if anything
    /// is.
    pub(super) fn relay_join_in_turn(
        &mut self,
        id: ObjectId,
        session: SessionId,
        user: &str,
        outputs: &mut ShardOutputs,
    ) {
        let room = self.partition_mut(id.partition()).room_mut(id).expect("a joined room exists");
        match &mut room.gathered {
            Some(gathered) if !gathered.is_empty() => {
                let before = gathered.size_bytes();
                gathered.push_join(session, user.as_bytes());
                let (bytes, max) = (gathered.size_bytes(), self.settings.limits.gather_bytes_max);
                self.crowds.gathered_bytes += bytes - before;
                if bytes > max {
                    self.send_gathered(id, outputs);
                }
            }
            _ => self.post_relay_join(id, session, user.as_bytes(), outputs),
        }
    }

    fn post_relay_join(
        &mut self,
        room: ObjectId,
        session: SessionId,
        user: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let user = outputs.mesh[session.shard.index()].push_bytes(user);
        let join = MeshMessage::RelayJoin { room, session, user };
        self.post(session.shard, outputs, join);
    }

    /// Whoever leaves a room by these effects hears what was gathered for it, before the reply
    /// says that it has left.
    pub(super) fn catch_up(&mut self, effects: &Effects, outputs: &mut ShardOutputs) {
        for effect in &effects.list {
            let Effect::RelayLeave { room: id, session } = *effect else { continue };
            if !self.count_catch_up(id, session, outputs) {
                // Nothing is left to copy, and the way is no fuller than it counted before: what is
                // gathered counts on the way to every shard.
                self.send_gathered(id, outputs);
                continue;
            }
            let mut partition = self.partitions[usize::from(id.partition().0)].take();
            let room = partition.as_mut().and_then(|partition| partition.room_mut(id));
            let gathered = room.and_then(|room| room.gathered.as_ref());
            for bytes in gathered.iter().flat_map(|gathered| gathered.messages_for(session)) {
                self.direct(session, bytes, outputs);
            }
            self.partitions[usize::from(id.partition().0)] = partition;
        }
    }

    /// Whether what is gathered may be copied for one who leaves, which then counts. Copies for many
    /// would come to more than the room's one sending, and would fill the way to their shard.
    fn count_catch_up(&mut self, id: ObjectId, session: SessionId, outputs: &ShardOutputs) -> bool {
        let bytes_max = self.settings.limits.gather_bytes_max;
        let room = self.partition(id.partition()).and_then(|partition| partition.room(id));
        let bytes = room.map_or(0, Room::gathered_bytes);
        let fits = self.staging(outputs).check_catch_up(session.shard, bytes).is_ok();
        let room = self.partition_mut(id.partition()).room_mut(id);
        let gathered = room.and_then(|room| room.gathered.as_mut());
        let Some(gathered) = gathered.filter(|gathered| !gathered.is_empty()) else { return true };
        gathered.copied_bytes += bytes;
        fits && gathered.copied_bytes <= bytes_max
    }

    /// The session no longer hears the room. It may not have begun to.
    pub(super) fn relay_leave_in_turn(
        &mut self,
        id: ObjectId,
        session: SessionId,
        outputs: &mut ShardOutputs,
    ) {
        let room = self.partition_mut(id.partition()).room_mut(id).expect("a left room exists");
        let mut message = MeshMessage::RelayLeave { room: id, session };
        if let Some(gathered) = &mut room.gathered {
            let before = gathered.size_bytes();
            if gathered.cancel_join(session) {
                message = MeshMessage::JoinRefused { session };
            }
            self.crowds.gathered_bytes -= before - gathered.size_bytes();
        }
        self.post(session.shard, outputs, message);
    }

    /// The number of members has changed, and no `joined` or `left` says so.
    pub(super) fn count_changed(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let room = self.partition_mut(id.partition()).room_mut(id).expect("the room is there");
        // Nobody has to be told; who joins next hears the count in the reply.
        room.is_count_untold = room.member_count() > 0;
        if room.is_count_untold && !room.is_count_timed {
            self.tell_count(id, outputs);
        }
    }

    /// Tells a room how many members it has, unless the way to one of them is full: then it is
    /// told later, and what it is by then.
    fn tell_count(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let staging = self.staging(outputs);
        // None at all would try for ever in this turn, while a way is full.
        let interval_ns = self.settings.limits.count_interval_ns.max(ROOM_LOOK_NS_MIN);
        let due_ns = self.now.monotonic_ns + interval_ns;
        let room = self.partition_mut(id.partition()).room_mut(id).expect("the room is there");
        room.is_count_timed = true;
        let told = staging.check_room(room).is_ok();
        room.is_count_untold = !told;
        let sequence = room.next_sequence();
        let mut bytes = core::mem::take(&mut self.crowds.message);
        bytes.clear();
        let mut message = MessageBuilder::new(&mut bytes, "members");
        let room = self.partition(id.partition()).and_then(|partition| partition.room(id));
        let room = room.expect("the room is there");
        message.field("room", Value::Text(room.name()));
        message.field("count", Value::Integer(room.member_count() as i64));
        message.field("seq", Value::Integer(sequence as i64));
        if told {
            self.broadcast(id, sequence, &bytes, outputs);
        }
        self.crowds.message = bytes;
        self.crowds.counts.push_back((due_ns, id));
    }
}
