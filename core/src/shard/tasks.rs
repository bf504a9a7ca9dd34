//! Tasks: what a request becomes that no handler of the server does, who takes it, and what comes of it.
//! Where tasks stand and whose turn it is: `tasks.rs`.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Shard;
use super::inline_tasks::InlineTasks;
use super::sessions::NO_CONNECTION;
use crate::acknowledgement::AckLevel;
use crate::authorize::Roles;
use crate::delta::Delta;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::handlers::{
    Method, build_start_event, effects_of, handle, home_of_event, new_task, push_effect,
};
use crate::hashing::{HashMap, HashSeed};
use crate::ids::{GroupId, ObjectId, PartitionId, Sequence, SessionId};
use crate::limits::TURN_OUTPUT_BYTES_MAX;
use crate::mesh::{EventHeader, EventKind, MeshMessage, Origin};
use crate::message::{Message, MessageBuilder, Value};
use crate::object::Object;
use crate::reason::Reason;
use crate::room::WATCHTOWER;
use crate::tasks::methods::TaskMethods;
use crate::tasks::record::{
    FIELD_AT, FIELD_ATTEMPT, FIELD_ATTEMPTS_MAX, FIELD_BEGUN, FIELD_DEADLINE, FIELD_ERROR,
    FIELD_EXTENDED, FIELD_LEASE, FIELD_LIMIT, FIELD_STATE, FIELD_UNTIL, KIND_TASK, TaskRecord,
    TaskState,
};
use crate::tasks::workers::Workers;
use crate::tasks::{Due, TaskEvent, TaskIndex};
use crate::turn::{ShardOutputs, Span};

/// When a lease, or an event for another partition, is tried again for which the way was full, in nanoseconds.
pub(super) const WAY_RETRY_NS: u64 = 1_000_000;
/// Most changes of a task fit into so many bytes.
const CHANGE_BYTES: usize = 128;
/// Leases and ends of one turn.
const STEPS_PER_TURN_MAX: usize = 1024;
/// How long a task waits after its first failed attempt, in milliseconds: twice as long after each other.
const BACKOFF_MS: u64 = 1000;
const BACKOFF_MS_MAX: u64 = 60_000;
/// Of the tasks that a partition may have one user may have this part, but so many at least.
const USERS_SHARE: u64 = 8;
const USER_TASKS_MIN: u64 = 64;
/// A scheduled event that a worker gets later than so is counted.
const LATE_NS: u64 = 1_000_000_000;
/// Dead tasks that a partition keeps; with one more the oldest goes.
const DEAD_MAX: u64 = 1024;

/// What a shard has for tasks.
#[derive(Debug)]
pub(super) struct Tasks {
    pub(super) index: TaskIndex,
    pub(super) methods: TaskMethods,
    pub(super) workers: Workers,
    /// By task, the effects that its worker has said: packed messages, each behind its length.
    pub(super) staged: HashMap<ObjectId, Vec<u8>>,
    pub(super) staged_bytes: usize,
    /// Whom to answer when a task is done. Nobody of an earlier start: sessions do not outlive it.
    pub(super) askers: HashMap<ObjectId, Origin>,
    /// There may be a task for a worker.
    pub(super) may_lease: bool,
    /// The way to a worker was full.
    pub(super) retry_ns: Option<u64>,
    /// Those of methods that are done inline.
    pub(super) inline: InlineTasks,
    /// The index is made when a start has brought everything back: rows are of different moments.
    is_restoring: bool,
}

/// What becomes of a request of a worker's method.
enum Taken {
    /// A task of its own.
    New(ObjectId),
    /// The task of the same key, which is done.
    Done(ObjectId),
}

impl Tasks {
    pub(super) fn new(methods: TaskMethods, seed: HashSeed) -> Self {
        Self {
            index: TaskIndex::new(seed),
            methods,
            workers: Workers::new(seed),
            staged: HashMap::with_hasher(seed),
            staged_bytes: 0,
            askers: HashMap::with_hasher(seed),
            may_lease: false,
            retry_ns: None,
            inline: InlineTasks::default(),
            is_restoring: false,
        }
    }

    pub(super) fn has_work(&self, now_ns: u64) -> bool {
        let is_due = [self.index.next_due_ns(), self.inline.pause_end_ns()];
        let is_due = is_due.into_iter().flatten().any(|due_ns| due_ns <= now_ns);
        is_due || self.may_lease && self.retry_ns.is_none_or(|retry_ns| retry_ns <= now_ns)
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let pause_end_ns = self.inline.pause_end_ns();
        [self.index.next_due_ns(), self.retry_ns, pause_end_ns].into_iter().flatten().min()
    }

    /// There may be a task for a worker, or a worker for a task: also for others than those whose way was full.
    pub(super) fn may_lease_more(&mut self) {
        self.may_lease = true;
        self.retry_ns = None;
    }

    fn unstage(&mut self, task: ObjectId) {
        if let Some(effects) = self.staged.remove(&task) {
            self.staged_bytes -= effects.len();
        }
    }
}

impl Shard {
    /// A start brings state back: tasks are looked at when all of it is there.
    pub(super) fn begin_restoring_tasks(&mut self) {
        self.tasks.is_restoring = true;
    }

    /// All is back.
    pub(super) fn tasks_restored(&mut self) {
        self.tasks.is_restoring = false;
        let now = self.now;
        let all = || self.partitions.iter().flatten().flat_map(|partition| partition.tasks());
        let is_leased = |task: &Object| {
            TaskRecord::of(task).is_some_and(|record| record.state() == TaskState::Leased)
        };
        // First those that have what others wait for.
        let leased = all().filter(|(_, task)| is_leased(task));
        for (id, task) in leased.chain(all().filter(|(_, task)| !is_leased(task))) {
            self.tasks.index.note(id, Some(task), now);
        }
        self.tasks.index.end_leases();
        self.tasks.may_lease_more();
    }

    /// A task was made, stands elsewhere or is gone.
    pub(super) fn note_task(&mut self, id: ObjectId) {
        if self.tasks.is_restoring {
            return;
        }
        let partition = self.partitions[usize::from(id.partition().0)].as_deref();
        let object = partition.and_then(|partition| partition.object(id));
        let noted = self.tasks.index.note(id, object, self.now);
        if noted.is_new {
            self.count_task(id, TaskEvent::Taken);
        }
        if !noted.is_leased {
            self.tasks.workers.returned(id);
            self.tasks.unstage(id);
        }
        self.tasks.may_lease_more();
    }

    /// The task that stands elsewhere by the delta.
    pub(super) fn moved_task(&self, delta: &Delta) -> Option<ObjectId> {
        let is_task = |packed: Message<'_>| packed.method() == KIND_TASK;
        match delta {
            Delta::ObjectCreated { object, record, .. } => {
                is_task(Message::from_checked(record)).then_some(ObjectId(*object))
            }
            Delta::ObjectChanged { object, changes, .. } => {
                let changes = Message::from_checked(changes);
                (is_task(changes) && TaskRecord::moves(changes)).then_some(ObjectId(*object))
            }
            Delta::ObjectDeleted { object } => {
                self.tasks.index.has(ObjectId(*object)).then_some(ObjectId(*object))
            }
            _ => None,
        }
    }

    /// A request of a method that workers do becomes a task of its partition. It is answered when that is
    /// done.
    pub(super) fn run_task_request(
        &mut self,
        event: &QueuedEvent,
        level: AckLevel,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.start(event.message().method());
        self.partition_mut(event.header.partition);
        match self.take_task(event, level, effects, outputs) {
            Ok(Taken::New(task)) => {
                self.tasks.askers.insert(task, event.header.origin);
                self.commit(event, effects, outputs);
            }
            Ok(Taken::Done(done)) => {
                let partition = self.partition(done.partition()).expect("it is there");
                let record = partition.object(done).and_then(TaskRecord::of);
                let reply =
                    record.and_then(TaskRecord::reply).map(|reply| reply.as_bytes().to_vec());
                let reply = reply.expect("a task that is done has its answer");
                let reply = Message::from_checked(&reply);
                let group = event.header.partition.group();
                match level {
                    AckLevel::Durable => {
                        self.keep_known_reply(event.header.origin, group, event.message(), reply);
                    }
                    AckLevel::Applied => {
                        self.post_reply(event.header.origin, event.message(), reply, outputs);
                    }
                }
            }
            Err(reason) => {
                self.post_refusal(event.header.origin, event.message(), reason, outputs);
            }
        }
    }

    fn take_task(
        &mut self,
        event: &QueuedEvent,
        level: AckLevel,
        effects: &mut Effects,
        outputs: &ShardOutputs,
    ) -> Result<Taken, Reason> {
        self.check_level(level)?;
        let (message, partition) = (event.message(), event.header.partition);
        let method = self.tasks.methods.get(message.method()).ok_or(Reason::UnknownMethod)?;
        if let Some(first) = self.known_by_key((partition, event.user()), message)? {
            let known = self.partition(partition).and_then(|known| known.object(first));
            let record = known.and_then(TaskRecord::of).expect("what has a key is there");
            if record.state() != TaskState::Done {
                return Err(Reason::TaskPending);
            }
            if level == AckLevel::Durable {
                self.check_log_wait()?;
            }
            return Ok(Taken::Done(first));
        }
        self.check_share(partition, event.user(), 1)?;
        if self.is_storage_behind() || self.is_log_behind {
            return Err(Reason::Busy);
        }
        let request = self.handler_request(event, outputs);
        new_task(&request, (method, level), None, effects).map(Taken::New)
    }

    /// Whether the partition takes so many more tasks of the user.
    fn check_share(&self, partition: PartitionId, user: &str, more: u64) -> Result<(), Reason> {
        let open = self.tasks.index.counts_of(partition).open() + more;
        let most = self.settings.limits.tasks_per_partition_max as u64;
        let of_user = self.tasks.index.count_of_user(partition, user) + more;
        let is_full = open > most || of_user > self.share_of_user();
        if is_full { Err(Reason::QueueFull) } else { Ok(()) }
    }

    /// How many tasks of a user a partition takes at most.
    fn share_of_user(&self) -> u64 {
        let most = self.settings.limits.tasks_per_partition_max as u64;
        (most / USERS_SHARE).max(USER_TASKS_MIN).min(most)
    }

    /// The user's task of this key that the partition knows, if the message names one.
    fn known_by_key(
        &self,
        (partition, user): (PartitionId, &str),
        message: Message<'_>,
    ) -> Result<Option<ObjectId>, Reason> {
        let Some(key) = message.get("key") else { return Ok(None) };
        let key = key.as_text().filter(|key| key.len() <= 64).ok_or(Reason::FieldInvalid)?;
        Ok(self.tasks.index.by_key(partition, user, key))
    }

    /// Whether a scheduled event may be made: one of the same key may be there.
    pub(super) fn check_room_for_event(
        &self,
        (partition, user): (PartitionId, &str),
        message: Message<'_>,
    ) -> Result<(), Reason> {
        if self.known_by_key((partition, user), message)?.is_some() {
            return Err(Reason::TaskPending);
        }
        self.check_share(partition, user, 1)
    }

    /// What is staged in the partition, of what the user has asked for: whether the scheduled events among it may
    /// be made here, where so many tasks end with it, and asked for elsewhere. Returns the effects without the
    /// events whose keys are known, which are made already.
    pub(super) fn check_staged_events<'s>(
        &self,
        (partition, user): (PartitionId, &str),
        freed: u64,
        staged: &'s [u8],
        outputs: &ShardOutputs,
    ) -> Result<Cow<'s, [u8]>, Reason> {
        let is_event = |effect: &Message<'_>| effect.method() == Method::NewEvent.name();
        if !effects_of(staged).any(|effect| is_event(&effect)) {
            return Ok(Cow::Borrowed(staged));
        }
        let mut carried_out = Vec::with_capacity(staged.len());
        let mut made_here: u64 = 0;
        for effect in effects_of(staged) {
            if is_event(&effect) {
                let home = home_of_event(effect, partition)?;
                if home != partition {
                    self.check_event_wait()?;
                    self.staging(outputs).check_shard(self.settings.routing.shard_of(home))?;
                } else if self.known_by_key((partition, user), effect)?.is_some() {
                    continue;
                } else {
                    made_here += 1;
                }
            }
            push_effect(effect.as_bytes(), &mut carried_out);
        }
        let more = made_here.saturating_sub(freed);
        if more > self.share_of_user() {
            // There will never be room for so many.
            return Err(Reason::EffectsTooLarge);
        }
        if more > 0 {
            self.check_share(partition, user, more)?;
        }
        Ok(Cow::Owned(carried_out))
    }

    /// Has another partition make an event, when the log has this batch if there is one.
    pub(super) fn post_made_event(
        &mut self,
        batch: (GroupId, Sequence),
        home: PartitionId,
        (user, message): (&[u8], &[u8]),
        outputs: &mut ShardOutputs,
    ) {
        let header = self.header_of_task(home, EventKind::MakeEvent);
        if self.settings.has_log {
            self.keep_made_event(batch, header, user, message);
        } else {
            self.post_event_of_task(header, user, message, outputs);
        }
    }

    /// The header of what a task has a partition do: nobody is answered.
    pub(super) fn header_of_task(&self, partition: PartitionId, kind: EventKind) -> EventHeader {
        let nobody = SessionId { shard: self.id(), generation: 0, index: u32::MAX };
        EventHeader {
            partition,
            epoch: self.settings.routing.epoch_of(partition.group()),
            kind,
            origin: Origin { session: nobody, connection: NO_CONNECTION, echoes_request: false },
            user_partition: partition,
            login: 0,
            roles: Roles::TASK,
        }
    }

    pub(super) fn post_event_of_task(
        &mut self,
        header: EventHeader,
        user: &[u8],
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let to = self.settings.routing.shard_of(header.partition);
        let user = outputs.mesh[to.index()].push_bytes(user);
        let message = outputs.mesh[to.index()].push_bytes(message);
        self.post(to, outputs, MeshMessage::Event { header, user, message });
    }

    /// A task of another partition has the event made here. Nobody hears of a refusal: it is counted. One whose
    /// key is known is made already.
    pub(super) fn run_made_event(
        &mut self,
        event: &QueuedEvent,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let message = event.message();
        effects.start(message.method());
        self.partition_mut(event.header.partition);
        let request = self.handler_request(event, outputs);
        let has_room = self.check_room_for_event((event.header.partition, event.user()), message);
        match has_room.and_then(|()| handle(Method::NewEvent, &request, effects)) {
            Ok(()) => self.commit(event, effects, outputs),
            Err(Reason::TaskPending) => {}
            Err(_) => self.counters.events_refused += 1,
        }
    }

    pub(super) fn task(&self, id: ObjectId) -> (&Object, TaskRecord<'_>) {
        let partition = self.partition(id.partition()).expect("a task is somewhere");
        let object = partition.object(id).expect("the task is there");
        (object, TaskRecord::of(object).expect("it is a task"))
    }

    /// The delta by which these fields of a task change.
    pub(super) fn task_delta(&self, id: ObjectId, fields: &[(&str, Value<'_>)]) -> Delta {
        let version = self.task(id).0.version() + 1;
        let mut changes = Vec::with_capacity(CHANGE_BYTES);
        let mut builder = MessageBuilder::new(&mut changes, KIND_TASK);
        for (name, value) in fields {
            builder.field(name, *value);
        }
        Delta::ObjectChanged { object: id.0, version, changes }
    }

    /// Changes a task without anybody's request.
    pub(super) fn change_task(&mut self, id: ObjectId, delta: Delta, outputs: &mut ShardOutputs) {
        self.apply(id.partition(), &delta);
        self.record(id.partition(), alloc::vec![delta], outputs);
    }

    /// The task waits again as if nobody had begun with it.
    pub(super) fn untouched_delta(&self, id: ObjectId, delay_ms: u64) -> Delta {
        let record = self.task(id).1;
        let begun = u64::from(record.is_set(FIELD_BEGUN));
        let attempt = record.number(FIELD_ATTEMPT) - begun;
        self.returned_delta(id, delay_ms, &[(FIELD_ATTEMPT, Value::Integer(attempt as i64))])
    }

    /// The task waits again, for so long at least.
    pub(super) fn returned_delta(
        &self,
        id: ObjectId,
        delay_ms: u64,
        more: &[(&str, Value<'_>)],
    ) -> Delta {
        let until_ms = if delay_ms == 0 { 0 } else { self.now.wall_ms + delay_ms };
        let mut fields = alloc::vec![
            (FIELD_STATE, Value::Text(TaskState::Ready.word())),
            (FIELD_UNTIL, Value::Integer(until_ms as i64)),
            (FIELD_BEGUN, Value::Null),
            (FIELD_LEASE, Value::Null),
        ];
        fields.extend_from_slice(more);
        self.task_delta(id, &fields)
    }

    /// What becomes of a task whose attempt failed, and whether that was its last.
    pub(super) fn failed_delta(
        &self,
        id: ObjectId,
        (attempt, retries): (u64, bool),
        text: &str,
    ) -> (Delta, bool) {
        let record = self.task(id).1;
        let attempts_max = record.number(FIELD_ATTEMPTS_MAX);
        let attempts = (FIELD_ATTEMPT, Value::Integer(attempt as i64));
        let error = (FIELD_ERROR, Value::Text(text));
        if retries && attempt < attempts_max {
            let doubled = BACKOFF_MS.saturating_mul(1 << attempt.saturating_sub(1).min(16));
            let more = [attempts, error, (FIELD_DEADLINE, Value::Null)];
            let delta = self.returned_delta(id, doubled.min(BACKOFF_MS_MAX), &more);
            return (delta, false);
        }
        let fields = [
            (FIELD_STATE, Value::Text(TaskState::Dead.word())),
            attempts,
            error,
            (FIELD_BEGUN, Value::Null),
            (FIELD_LEASE, Value::Null),
        ];
        (self.task_delta(id, &fields), true)
    }

    /// A partition keeps so many dead tasks: the oldest go.
    pub(super) fn bury_dead(&mut self, partition: PartitionId, outputs: &mut ShardOutputs) {
        self.counters.tasks_dead_total += 1;
        if self.tasks.index.counts_of(partition).dead <= DEAD_MAX {
            return;
        }
        if let Some(id) = self.tasks.index.oldest_dead(partition) {
            self.counters.tasks_dead_dropped += 1;
            self.change_task(id, Delta::ObjectDeleted { object: id.0 }, outputs);
        }
    }

    /// Whoever asked for the task hears that it is not done.
    pub(super) fn answer_failed(
        &mut self,
        id: ObjectId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        let Some(asker) = self.tasks.askers.remove(&id) else { return };
        let record = self.task(id).1;
        let request = record.request().as_bytes().to_vec();
        self.post_refusal(asker, Message::from_checked(&request), reason, outputs);
    }

    /// Ends leases whose time is over, gives up what nobody took, and leases what workers can take.
    pub(super) fn run_tasks(&mut self, outputs: &mut ShardOutputs) {
        let now_ns = self.now.monotonic_ns;
        let mut steps_left = STEPS_PER_TURN_MAX;
        let staged_bytes = outputs.size_bytes();
        let puts_out_much =
            |outputs: &ShardOutputs| outputs.size_bytes() - staged_bytes > TURN_OUTPUT_BYTES_MAX;
        // Also what only waited for its time is ready then.
        self.tasks.may_lease |= self.tasks.index.next_due_ns().is_some_and(|due| due <= now_ns);
        self.tasks.may_lease |= self.tasks.inline.end_pauses(now_ns);
        while steps_left > 0
            && !puts_out_much(outputs)
            && let Some((id, due)) = self.tasks.index.pop_due(now_ns, &mut steps_left)
        {
            match due {
                Due::LeaseOver => {
                    self.tasks.workers.note_silence(id, now_ns);
                    self.lose_lease(id, outputs);
                }
                Due::Forgotten => {
                    self.change_task(id, Delta::ObjectDeleted { object: id.0 }, outputs);
                }
                Due::Ahead => self.announce_event(id, outputs),
                Due::Expired => {
                    self.count_task(id, TaskEvent::Expired);
                    self.answer_failed(id, Reason::TaskExpired, outputs);
                    self.change_task(id, Delta::ObjectDeleted { object: id.0 }, outputs);
                }
            }
        }
        if self.tasks.retry_ns.is_some_and(|retry_ns| retry_ns <= now_ns) {
            self.tasks.retry_ns = None;
        }
        while self.tasks.may_lease
            && self.tasks.retry_ns.is_none()
            && steps_left > 0
            && !puts_out_much(outputs)
        {
            steps_left -= 1;
            self.lease_next(outputs);
        }
    }

    /// The worker is gone, or too late.
    pub(super) fn lose_lease(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let record = self.task(id).1;
        let (attempt, has_begun) = (record.number(FIELD_ATTEMPT), record.is_set(FIELD_BEGUN));
        self.count_task(id, TaskEvent::Lost);
        let (delta, dies) = if has_begun {
            self.failed_delta(id, (attempt, true), "the worker was lost")
        } else {
            (self.returned_delta(id, 0, &[]), false)
        };
        if dies {
            self.answer_failed(id, Reason::TaskFailed, outputs);
        }
        self.change_task(id, delta, outputs);
        if dies {
            self.bury_dead(id.partition(), outputs);
        }
    }

    fn lease_next(&mut self, outputs: &mut ShardOutputs) {
        let now_ns = self.now.monotonic_ns;
        let is_inline_first = self.tasks.inline.is_first();
        if is_inline_first && self.lease_inline(outputs) {
            return;
        }
        let staging = self.staging(outputs);
        let Tasks { index, workers, inline, .. } = &mut self.tasks;
        let bytes_max = self.settings.limits.resume_bytes_max / 2;
        let bytes_max = bytes_max / usize::from(self.settings.routing.shard_count());
        index.take_woken();
        // Nobody asks worker after worker when nothing is ready.
        let mut is_way_full = false;
        let found = if index.has_ready() {
            workers.find(bytes_max, |session, worker| {
                let methods = worker.methods.iter().copied();
                let id = index.next(methods.filter(|method| !inline.has(*method)), now_ns)?;
                let way = staging.check_shard(session.shard);
                is_way_full |= way.is_err();
                way.is_ok().then_some(id)
            })
        } else {
            None
        };
        let Some((session, id)) = found else {
            if !is_inline_first && self.lease_inline(outputs) {
                return;
            }
            if is_way_full || self.tasks.inline.is_held() {
                // The others have what they can take.
                self.tasks.retry_ns = Some(now_ns + WAY_RETRY_NS);
                return;
            }
            // One may have become ready for a worker that was asked before.
            self.tasks.may_lease = self.tasks.index.take_woken();
            return;
        };
        if self.is_storage_behind() || self.is_log_behind {
            self.tasks.retry_ns = Some(now_ns + WAY_RETRY_NS);
            return;
        }
        self.tasks.inline.worker_had_turn();
        let (token, delta) = self.lease_delta(id, None);
        let bytes = self.send_task(id, token, session, outputs);
        self.tasks.workers.leased(session, id, (bytes, now_ns));
        self.change_task(id, delta, outputs);
    }

    /// The delta by which a task is leased, perhaps with its attempt begun, and the number of the lease.
    pub(super) fn lease_delta(&mut self, id: ObjectId, begins: Option<u64>) -> (i64, Delta) {
        let (object, record) = self.task(id);
        let token = object.version() as i64 + 1;
        let until_ms = (self.now.wall_ms + record.number(FIELD_LIMIT)) as i64;
        let fields = [
            (FIELD_STATE, Value::Text(TaskState::Leased.word())),
            (FIELD_LEASE, Value::Integer(token)),
            (FIELD_EXTENDED, Value::Null),
            (FIELD_UNTIL, Value::Integer(until_ms)),
            (FIELD_ATTEMPT, Value::Integer(begins.unwrap_or(0) as i64)),
            (FIELD_BEGUN, Value::Boolean(true)),
        ];
        let is_begun = begins.is_some();
        let delta = self.task_delta(id, if is_begun { &fields } else { &fields[..4] });
        let now_ns = self.now.monotonic_ns;
        let waited_ns = now_ns.saturating_sub(self.tasks.index.since_ns(id));
        // Nobody was there to notice while the server was not.
        let is_overdue = || self.now.wall_ms > record.number(FIELD_AT) + LATE_NS / 1_000_000;
        let is_late = record.waits_for_event() && (waited_ns > LATE_NS || is_overdue());
        self.counters.events_late += u64::from(is_late);
        self.count_task(id, TaskEvent::Leased);
        (token, delta)
    }

    /// Members of the watchtower hear that an event begins soon.
    fn announce_event(&mut self, id: ObjectId, outputs: &mut ShardOutputs) {
        let home = PartitionId::of_name(WATCHTOWER);
        let header = self.header_of_task(home, EventKind::ObjectNotice);
        let (object, event) = self.task(id);
        let user = Vec::from(object.owner().as_bytes());
        let mut message = Vec::new();
        build_start_event(id, event, &mut message);
        self.post_notice_event(header, &user, &message, outputs);
    }

    /// Tells a worker of the task that it is about to have: the request's own fields, and what is about it.
    /// Returns how many bytes that is.
    fn send_task(
        &mut self,
        id: ObjectId,
        token: i64,
        session: SessionId,
        outputs: &mut ShardOutputs,
    ) -> usize {
        let (object, record) = self.task(id);
        let target = record.target().and_then(|target| {
            let partition = self.partition(target.partition())?;
            partition.object(target)
        });
        let (method, user) = (record.method(), object.owner());
        let batch = &mut outputs.mesh[session.shard.index()];
        let start = batch.bytes.len();
        let mut message = MessageBuilder::new(&mut batch.bytes, "task");
        message.field("task", Value::Object(id));
        message.field("token", Value::Integer(token));
        message.field("method", Value::Text(method));
        message.field("user", Value::Text(user));
        message.field("attempt", Value::Integer(record.number(FIELD_ATTEMPT) as i64 + 1));
        message.field("limit_ms", Value::Integer(record.number(FIELD_LIMIT) as i64));
        for (name, value) in record.request().fields() {
            if !matches!(name, "id" | "ack" | "plugin") {
                message.field(name, value);
            }
        }
        if let Some(target) = target {
            message.field("target_version", Value::Integer(target.version() as i64));
            message.field("target_record", Value::Bytes(target.record().as_bytes()));
        }
        let message = Span::since(start, &batch.bytes);
        self.post(session.shard, outputs, MeshMessage::Direct { session, message });
        message.length as usize
    }

    /// What is counted as it is now.
    pub(super) fn count_tasks(&mut self) {
        let counts = self.tasks.index.counts();
        self.counters.tasks_waiting = counts.ready + counts.delayed;
        self.counters.tasks_out = counts.leased;
        self.counters.tasks_dead = counts.dead;
        self.counters.task_workers = self.tasks.workers.count() as u64;
    }
}
