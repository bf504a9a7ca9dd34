//! What a worker says of a task that it has, and what comes of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Shard;
use crate::acknowledgement::AckLevel;
use crate::delta::Delta;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::handlers::{
    Request, check_effect, check_room_for_answer, count_effects, push_effect, run_effects,
};
use crate::ids::ObjectId;
use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;
use crate::tasks::TaskEvent;
use crate::tasks::record::{
    FIELD_ATTEMPT, FIELD_BEGUN, FIELD_DEADLINE, FIELD_DURABLE, FIELD_EXTENDED, FIELD_KEY,
    FIELD_LEASE, FIELD_LIMIT, FIELD_REPLY, FIELD_STATE, FIELD_UNTIL, TaskRecord, TaskState,
    number_of,
};
use crate::turn::ShardOutputs;

/// How long a task waits when an object that it would change was at another version.
const CONFLICT_MS: u64 = 20;
/// How long a task with a key is remembered when it is done.
const REMEMBERED_MS: u64 = 600_000;
/// Bytes of all effects of a shard that wait for their tasks to be done.
const STAGED_BYTES_MAX: usize = 16 << 20;
/// Longest text of an error that is kept.
const ERROR_BYTES_MAX: usize = 1024;

/// What a worker says of a task that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerStep {
    /// It begins: from now on the attempt counts.
    Begin,
    /// It does this when it is done.
    Effect,
    /// It needs more time.
    Extend,
    /// It has done it.
    Done,
    /// It could not do it.
    Fail,
    /// It gives it back untouched.
    Release,
}

impl Shard {
    /// What a worker says of a task.
    pub(super) fn run_worker_step(
        &mut self,
        event: &QueuedEvent,
        step: WorkerStep,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let (origin, message) = (event.header.origin, event.message());
        if self.tasks.workers.heard(origin.session) {
            self.tasks.may_lease_more();
        }
        effects.start(message.method());
        self.partition_mut(event.header.partition);
        let result = self.leased_task(message).and_then(|task| match step {
            WorkerStep::Begin => Ok(self.begun_delta(task)),
            WorkerStep::Extend => Ok(Some(self.extended_delta(task))),
            WorkerStep::Release => self.released_delta(task, message).map(Some),
            WorkerStep::Effect => self.stage_effect(event, task, outputs).map(|()| None),
            WorkerStep::Done => self.finish_task(event, task, effects, outputs).map(|()| None),
            WorkerStep::Fail => self.fail_task(event, task, effects, outputs).map(|()| None),
        });
        let result = result.map(|delta| {
            if let Some(delta) = delta {
                effects.change(delta);
                self.commit(event, effects, outputs);
            }
        });
        match result {
            Ok(()) => {
                effects.start(message.method());
                self.post_reply(origin, message, effects.reply_message(), outputs);
            }
            Err(reason) => self.post_refusal(origin, message, reason, outputs),
        }
    }

    /// The task that the message names, if its token is that of the lease: whoever shows it has the task.
    fn leased_task(&self, message: Message<'_>) -> Result<ObjectId, Reason> {
        let id = message.get("task").and_then(Value::as_object).expect("it was routed by its task");
        let token = message.get("token").ok_or(Reason::FieldMissing)?;
        let token = token.as_integer().and_then(|token| u64::try_from(token).ok());
        let is_leased = token.is_some_and(|token| self.is_leased(id, token));
        if is_leased { Ok(id) } else { Err(Reason::LeaseLost) }
    }

    /// Whether the task is there, and leased by this number.
    pub(super) fn is_leased(&self, id: ObjectId, token: u64) -> bool {
        let object = self.partition(id.partition()).and_then(|partition| partition.object(id));
        let Some(record) = object.and_then(TaskRecord::of) else { return false };
        let [state, lease] = record.get_all([FIELD_STATE, FIELD_LEASE]);
        state == Some(Value::Text(TaskState::Leased.word())) && token == lease.map_or(0, number_of)
    }

    /// None when it has begun already.
    fn begun_delta(&self, id: ObjectId) -> Option<Delta> {
        let [attempt, begun] = self.task(id).1.get_all([FIELD_ATTEMPT, FIELD_BEGUN]);
        let attempt = attempt.map_or(0, number_of) as i64 + 1;
        let fields = [
            (FIELD_ATTEMPT, Value::Integer(attempt)),
            (FIELD_BEGUN, Value::Boolean(true)),
            // Somebody has begun in time.
            (FIELD_DEADLINE, Value::Null),
        ];
        begun.is_none().then(|| self.task_delta(id, &fields))
    }

    fn extended_delta(&self, id: ObjectId) -> Delta {
        let record = self.task(id).1;
        let until_ms = self.now.wall_ms + record.number(FIELD_LIMIT);
        let fields = [
            (FIELD_UNTIL, Value::Integer(until_ms as i64)),
            (FIELD_EXTENDED, Value::Integer(record.number(FIELD_EXTENDED) as i64 + 1)),
        ];
        self.task_delta(id, &fields)
    }

    fn released_delta(&self, id: ObjectId, release: Message<'_>) -> Result<Delta, Reason> {
        let delay_ms = match release.get("delay_ms") {
            None => 0,
            Some(delay) => {
                let delay = delay.as_integer().and_then(|delay| u64::try_from(delay).ok());
                delay.filter(|delay| *delay <= 3_600_000).ok_or(Reason::FieldInvalid)?
            }
        };
        Ok(self.untouched_delta(id, delay_ms))
    }

    fn fail_task(
        &mut self,
        event: &QueuedEvent,
        id: ObjectId,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let message = event.message();
        let retries = match message.get("retry") {
            None => true,
            Some(retry) => retry.as_boolean().ok_or(Reason::FieldInvalid)?,
        };
        let text = match message.get("error_text") {
            None => "",
            Some(text) => text.as_text().ok_or(Reason::FieldInvalid)?,
        };
        let text: Box<str> = shortened(text).into();
        self.fail_attempt(event, id, (&text, retries), effects, outputs);
        Ok(())
    }

    /// An attempt has failed, for this reason; another may follow.
    pub(super) fn fail_attempt(
        &mut self,
        event: &QueuedEvent,
        id: ObjectId,
        (text, retries): (&str, bool),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let record = self.task(id).1;
        let begun = u64::from(record.is_set(FIELD_BEGUN));
        let attempt = record.number(FIELD_ATTEMPT) + 1 - begun;
        let (delta, dies) = self.failed_delta(id, (attempt, retries), text);
        effects.change(delta);
        self.count_task(id, TaskEvent::Failed);
        if dies {
            self.answer_failed(id, Reason::TaskFailed, outputs);
        }
        self.commit(event, effects, outputs);
        if dies {
            self.bury_dead(id.partition(), outputs);
        }
    }

    /// Keeps an effect of a task until it is done.
    fn stage_effect(
        &mut self,
        event: &QueuedEvent,
        id: ObjectId,
        outputs: &ShardOutputs,
    ) -> Result<(), Reason> {
        let staged = self.tasks.staged.get(&id).map_or(&[][..], Vec::as_slice);
        let request = self.handler_request(event, outputs);
        let effect = check_effect(&request, id.partition(), staged)?;
        let limits = &self.settings.limits;
        if staged.len() + effect.len() + 4 > limits.effects_bytes_max {
            return Err(Reason::EffectsTooLarge);
        }
        if self.tasks.staged_bytes + effect.len() + 4 > STAGED_BYTES_MAX {
            return Err(Reason::Busy);
        }
        self.tasks.staged_bytes += effect.len() + 4;
        push_effect(&effect, self.tasks.staged.entry(id).or_default());
        Ok(())
    }

    fn answer_of_task(&self, id: ObjectId, done: Message<'_>) -> Result<Vec<u8>, Reason> {
        let record = self.task(id).1;
        let is_asked = record.request().get("plugin").and_then(Value::as_boolean) == Some(true);
        let holder = self.tasks.workers.holder(id).filter(|_| is_asked);
        let worker = holder.and_then(|session| self.tasks.workers.get(session));
        let plugin = worker.and_then(|worker| worker.plugin_of(record.method()));
        answer_of(done, record.method(), plugin)
    }

    /// Effects and end of a task are one delta batch.
    fn finish_task(
        &mut self,
        event: &QueuedEvent,
        id: ObjectId,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let message = event.message();
        self.check_end(id)?;
        let own = self.answer_of_task(id, message)?;
        let staged = self.tasks.staged.get(&id).map_or(&[][..], Vec::as_slice);
        if count_effects(staged) != effect_count(message)? {
            return Err(Reason::EffectsMissing);
        }
        let result = self.stage_end(event, id, (staged, &own), effects, outputs);
        if result == Err(Reason::VersionConflict) {
            // That it comes again is what whoever asked wants; the worker hears why.
            effects.start(message.method());
            effects.change(self.untouched_delta(id, CONFLICT_MS));
            self.commit(event, effects, outputs);
            return result;
        }
        result?;
        self.end_task(event, id, &own, effects, outputs);
        Ok(())
    }

    /// Whether a task may end now.
    pub(super) fn check_end(&self, id: ObjectId) -> Result<(), Reason> {
        let waits = self.task(id).1.is_set(FIELD_DURABLE);
        self.check_level(if waits { AckLevel::Durable } else { AckLevel::Applied })?;
        if self.is_storage_behind() || self.is_log_behind {
            return Err(Reason::Busy);
        }
        if waits { self.check_log_wait() } else { Ok(()) }
    }

    /// What was staged for the task is among the effects then, as if who asked for it had: what it makes is
    /// theirs.
    pub(super) fn stage_end(
        &self,
        event: &QueuedEvent,
        id: ObjectId,
        (staged, own): (&[u8], &[u8]),
        effects: &mut Effects,
        outputs: &ShardOutputs,
    ) -> Result<(), Reason> {
        if own.len() > self.settings.limits.object_bytes_max {
            return Err(Reason::ObjectTooLarge);
        }
        let (object, record) = self.task(id);
        let (user, has_key) = (object.owner(), record.text(FIELD_KEY).is_some());
        // Its own place is free then, unless it is remembered.
        let freed = u64::from(!has_key);
        let staged = self.check_staged_events((id.partition(), user), freed, staged, outputs)?;
        let request = Request { user, ..self.handler_request(event, outputs) };
        if has_key {
            // It is kept with its answer.
            check_room_for_answer(&request, own.len())?;
        }
        run_effects(&request, &staged, effects)
    }

    /// The task is done, with what is among the effects, and whoever asked hears the answer.
    pub(super) fn end_task(
        &mut self,
        event: &QueuedEvent,
        id: ObjectId,
        own: &[u8],
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let record = self.task(id).1;
        let (waits, has_key) = (record.is_set(FIELD_DURABLE), record.text(FIELD_KEY).is_some());
        let request = record.request().as_bytes().to_vec();
        let end = if has_key {
            let until_ms = (self.now.wall_ms + REMEMBERED_MS) as i64;
            self.task_delta(
                id,
                &[
                    (FIELD_STATE, Value::Text(TaskState::Done.word())),
                    (FIELD_UNTIL, Value::Integer(until_ms)),
                    (FIELD_REPLY, Value::Bytes(own)),
                    (FIELD_LEASE, Value::Null),
                ],
            )
        } else {
            Delta::ObjectDeleted { object: id.0 }
        };
        effects.change(end);
        if let Some(asker) = self.tasks.askers.remove(&id) {
            let (request, own) = (Message::from_checked(&request), Message::from_checked(own));
            if waits {
                self.keep_reply_to(asker, id.partition().group(), request, own);
            } else {
                self.post_reply(asker, request, own, outputs);
            }
        } else if waits {
            self.keep_place(id.partition().group());
        }
        self.count_task(id, TaskEvent::Done);
        self.commit(event, effects, outputs);
    }
}

/// The fields of an answer that a worker gives, packed, and what it is if that is asked for.
fn answer_of(done: Message<'_>, method: &str, plugin: Option<&str>) -> Result<Vec<u8>, Reason> {
    let mut own = Vec::with_capacity(done.as_bytes().len() + method.len());
    let mut builder = MessageBuilder::new(&mut own, method);
    for (name, value) in done.fields() {
        match name {
            "id" | "ack" | "task" | "token" | "effects" => {}
            "status" | "error" | "limit" | "plugin" => return Err(Reason::ReservedField),
            _ => builder.field(name, value),
        }
    }
    if let Some(plugin) = plugin {
        builder.field("plugin", Value::Text(plugin));
    }
    Ok(own)
}

/// How many effects the worker means: one may have been refused before.
fn effect_count(done: Message<'_>) -> Result<usize, Reason> {
    let Some(count) = done.get("effects") else { return Ok(0) };
    let count = count.as_integer().and_then(|count| usize::try_from(count).ok());
    count.ok_or(Reason::FieldInvalid)
}

/// As much of a text as is kept.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
