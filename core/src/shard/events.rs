//! From events to effects, and from effects to changes and messages.

use alloc::vec::Vec;

use super::{Shard, WorkerStep};
use crate::acknowledgement::AckLevel;
use crate::authorize::Roles;
use crate::delta::{Delta, DeltaBatch};
use crate::effects::{Effect, Effects};
use crate::event_queue::QueuedEvent;
use crate::handlers::{Method, Request, handle, session_left};
use crate::ids::{ObjectId, PartitionId, Sequence, SessionId, ShardId};
use crate::limits::{ROOM_LOOK_NS_MIN, SCANNED_PER_EVENT};
use crate::mesh::{EventKind, MeshMessage};
use crate::reason::Reason;
use crate::turn::ShardOutputs;

impl Shard {
    /// Handles the next event of the queues, and says what it costs of the turn's budget of
    /// events; nothing if there is none.
    pub(super) fn run_next_event(&mut self, outputs: &mut ShardOutputs) -> Option<usize> {
        let mut event = self.queue.pop()?;
        self.counters.events += 1;
        let mut effects = core::mem::take(&mut self.effects);
        match event.header.kind {
            EventKind::Request { level } => {
                let method = Method::from_name(event.message().method());
                let method = method.expect("it was routed by its method");
                match method.worker_step() {
                    None if method == Method::Thought => {
                        self.run_thought(&event, &mut effects, outputs);
                    }
                    None => self.run_request(&event, (method, level), &mut effects, outputs),
                    Some(step) => {
                        if step == WorkerStep::Done {
                            // What comes of a task is the task's, whoever the worker is.
                            event.header.roles = event.header.roles.with(Roles::TASK);
                        }
                        self.run_worker_step(&event, step, &mut effects, outputs);
                    }
                }
            }
            EventKind::Task { level } => {
                if !self.run_inline(&mut event, level, &mut effects, outputs) {
                    self.run_task_request(&event, level, &mut effects, outputs);
                }
            }
            EventKind::LeaveRoom { room } => {
                self.run_leave_room(&event, room, &mut effects, outputs);
            }
            EventKind::LogOut => self.run_log_out(&event, &mut effects, outputs),
            EventKind::EndWatch { object } => {
                self.run_end_watch(&event, object, &mut effects, outputs);
            }
            EventKind::LoseTask { task } => {
                self.lose_task(task, event.header.origin.session, outputs);
            }
            EventKind::RunTask { task, token } => {
                self.run_inline_task(&event, (task, token), &mut effects, outputs);
            }
            EventKind::ObjectNotice => self.run_object_notice(&event, &mut effects, outputs),
            EventKind::MakeEvent => self.run_made_event(&event, &mut effects, outputs),
        }
        let cost = 1 + effects.scanned / SCANNED_PER_EVENT;
        self.effects = effects;
        self.queue.recycle(event);
        Some(cost)
    }

    fn run_request(
        &mut self,
        event: &QueuedEvent,
        (method, level): (Method, AckLevel),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let (header, message) = (&event.header, event.message());
        if let Err(reason) = self.check_level(level) {
            return self.post_refusal(header.origin, message, reason, outputs);
        }
        effects.start(message.method());
        self.partition_mut(header.partition);
        let may_begin = match method {
            Method::NewEvent => {
                self.check_room_for_event((header.partition, event.user()), message)
            }
            _ => Ok(()),
        };
        let request = self.handler_request(event, outputs);
        let mut result = may_begin.and_then(|()| handle(method, &request, effects));
        let is_behind = self.is_storage_behind() && effects.changes_objects();
        if is_behind || self.is_log_behind && effects.changes_state() {
            result = result.and(Err(Reason::Busy));
        }
        let waits = level == AckLevel::Durable && effects.changes_objects();
        if waits {
            result = result.and_then(|()| self.check_log_wait());
        }
        if method == Method::Login {
            result = result.and_then(|()| self.count_account_login(event));
        }
        match result {
            Ok(()) => {
                self.catch_up(effects, outputs);
                if waits {
                    self.keep_reply(event, effects);
                } else {
                    self.post_reply(header.origin, message, effects.reply_message(), outputs);
                }
                self.commit(event, effects, outputs);
            }
            Err(reason) => self.post_refusal(header.origin, message, reason, outputs),
        }
    }

    /// What the handler of the event may look at.
    pub(super) fn handler_request<'a>(
        &'a self,
        event: &'a QueuedEvent,
        outputs: &'a ShardOutputs,
    ) -> Request<'a> {
        let partition = self.partition(event.header.partition);
        Request {
            header: &event.header,
            user: event.user(),
            message: event.message(),
            partition: partition.expect("a partition is made for its first event"),
            policy: &self.settings.policy,
            limits: &self.settings.limits,
            staging: self.staging(outputs),
            state_bytes: self.counters.state_bytes,
            join_creates_rooms: self.settings.join_creates_rooms,
            bans: &self.bans,
            task_methods: &self.tasks.methods,
            behaviours: &self.inline.behaviours,
            worlds: &self.worlds,
            now_ns: self.now.monotonic_ns,
            wall_ms: self.now.wall_ms,
        }
    }

    fn run_leave_room(
        &mut self,
        event: &QueuedEvent,
        room: ObjectId,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.start("leave");
        let partition = self.partition(event.header.partition);
        let Some(home) = partition.and_then(|partition| partition.room(room)) else { return };
        let presence_members_max = self.settings.limits.presence_members_max;
        let session = event.header.origin.session;
        session_left((room, home), event.user(), session, presence_members_max, effects);
        self.commit(event, effects, outputs);
    }

    fn run_log_out(
        &mut self,
        event: &QueuedEvent,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.start("quit");
        let partition = self.partition(event.header.partition);
        let user = partition.and_then(|partition| partition.user(event.user()));
        // A newer session of the user may have taken the place.
        if user.and_then(|user| user.session) == Some(event.header.origin.session) {
            effects.change(Delta::UserAbsent { user: event.user().into() });
            self.commit(event, effects, outputs);
        }
    }

    /// Carries out what a handler asked for, in order.
    pub(super) fn commit(
        &mut self,
        event: &QueuedEvent,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let partition = event.header.partition;
        let mut deltas = Vec::new();
        let list = core::mem::take(&mut effects.list);
        for effect in &list {
            match effect {
                Effect::Change(delta) => {
                    self.apply(partition, delta);
                    if let Delta::MemberLeft { room, .. } = delta {
                        self.send_if_small(ObjectId(*room), outputs);
                        self.note_empty_room(ObjectId(*room));
                    }
                }
                Effect::Broadcast { room, sequence, message, is_charged } => {
                    let message = effects.bytes_of(*message);
                    if *is_charged {
                        self.charge_fan_out(*room, event.user(), message.len());
                    }
                    self.broadcast(*room, *sequence, message, outputs);
                }
                Effect::Direct { session, message } => {
                    self.direct(*session, effects.bytes_of(*message), outputs);
                }
                Effect::RelayJoin { room, session } => {
                    self.relay_join_in_turn(*room, *session, event.user(), outputs);
                }
                Effect::RelayLeave { room, session } => {
                    self.relay_leave_in_turn(*room, *session, outputs);
                }
                Effect::WorldJoin { room, session, entity, motion } => {
                    let waking = effects.waking.as_ref();
                    self.world_join(*room, (*session, *entity), *motion, waking, outputs);
                }
                Effect::WorldLeave { room, session } => {
                    self.world_leave(*room, *session, outputs);
                }
                Effect::CountChanged { room } => self.count_changed(*room, outputs),
                Effect::Displace { session } => {
                    let reason = Reason::Displaced;
                    let displace = MeshMessage::Displace { session: *session, reason };
                    self.post(session.shard, outputs, displace);
                }
                Effect::LoggedIn { object, login } => {
                    let origin = event.header.origin;
                    let user = event.user().as_bytes();
                    let user = outputs.mesh[origin.shard().index()].push_bytes(user);
                    let (object, login) = (*object, *login);
                    let logged_in = MeshMessage::LoggedIn { origin, object, login, user };
                    self.post(origin.shard(), outputs, logged_in);
                }
                Effect::Watch(watch) => self.carry_out_watch(*watch, effects, outputs),
                Effect::Notice { home, message } => {
                    self.post_notice(event, *home, effects.bytes_of(*message), outputs);
                }
                Effect::MakeEvent { home, user, message } => {
                    // What changes nothing makes no batch: what it has seen is in those before.
                    let has_batch = list.iter().any(|effect| matches!(effect, Effect::Change(_)));
                    let last = self.group_sequences[usize::from(partition.group().0)];
                    let batch = (partition.group(), Sequence(last + u64::from(has_batch)));
                    let told = (effects.bytes_of(*user), effects.bytes_of(*message));
                    self.post_made_event(batch, *home, told, outputs);
                }
            }
        }
        effects.list = list;
        deltas.extend(effects.list.drain(..).filter_map(|effect| match effect {
            Effect::Change(delta) => Some(delta),
            _ => None,
        }));
        self.record(partition, deltas, outputs);
    }

    pub(super) fn direct(&mut self, session: SessionId, bytes: &[u8], outputs: &mut ShardOutputs) {
        let to: ShardId = session.shard;
        let message = outputs.mesh[to.index()].push_bytes(bytes);
        self.post(to, outputs, MeshMessage::Direct { session, message });
    }

    /// Makes the delta batch of an event that changed something.
    pub(super) fn record(
        &mut self,
        partition: PartitionId,
        deltas: Vec<Delta>,
        outputs: &mut ShardOutputs,
    ) {
        if deltas.is_empty() {
            return;
        }
        let group = partition.group();
        let epoch = self.settings.routing.epoch_of(group);
        let sequence = &mut self.group_sequences[usize::from(group.0)];
        *sequence += 1;
        self.counters.delta_batches += 1;
        self.counters.delta_batches_waiting += u64::from(self.settings.has_log);
        let batch = DeltaBatch { group: group.0, epoch: epoch.0, sequence: *sequence, deltas };
        self.note_changes(&batch);
        outputs.deltas.push(batch);
    }

    /// Looks after the grace time whether the room is still empty, if it is a room that goes then.
    pub(super) fn note_empty_room(&mut self, id: ObjectId) {
        let now_ns = self.now.monotonic_ns;
        let Some(room) = self.partition_mut(id.partition()).room_mut(id) else { return };
        if room.member_count() > 0 || !room.is_transient {
            return;
        }
        room.empty_since_ns = now_ns;
        // One look at a time is enough for a room, however often it empties.
        if !core::mem::replace(&mut room.is_look_due, true) {
            let due_ns = now_ns + self.settings.limits.room_grace_ns;
            self.room_expiries.push_back((due_ns, id));
        }
    }

    /// Removes rooms that have been empty for the grace time.
    pub(super) fn expire_rooms(&mut self, outputs: &mut ShardOutputs) {
        let now_ns = self.now.monotonic_ns;
        let grace_ns = self.settings.limits.room_grace_ns;
        while let Some(&(due_ns, id)) = self.room_expiries.front()
            && due_ns <= now_ns
        {
            self.room_expiries.pop_front();
            let Some(room) = self.partition_mut(id.partition()).room_mut(id) else { continue };
            room.is_look_due = false;
            if room.member_count() > 0 {
                continue;
            }
            let is_empty_anew = room.empty_since_ns + grace_ns > now_ns;
            // Whoever watches the room's object has to hear of its end.
            if is_empty_anew || !self.tell_of_end(id, outputs) {
                // A whole grace time from now keeps the list in order. None at all would look for
                // ever in this turn, while a way is full.
                let room = self.partition_mut(id.partition()).room_mut(id);
                room.expect("it is there").is_look_due = true;
                self.room_expiries.push_back((now_ns + grace_ns.max(ROOM_LOOK_NS_MIN), id));
                continue;
            }
            let delta = Delta::ObjectDeleted { object: id.0 };
            self.apply(id.partition(), &delta);
            self.record(id.partition(), alloc::vec![delta], outputs);
        }
    }
}
