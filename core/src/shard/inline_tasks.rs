//! Tasks of methods that are done inline: scheduled events, and what was left for workers. The shard leases
//! them to itself, so that they are tasks like all others.

use alloc::vec::Vec;

use super::Shard;
use super::inline::call;
use super::tasks::{Tasks, WAY_RETRY_NS};
use super::worker_steps::CONFLICT_MS;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::ids::ObjectId;
use crate::inline::{InlineBuffers, InlineMethod};
use crate::mesh::EventKind;
use crate::message::{MessageBuilder, Value};
use crate::reason::Reason;
use crate::tasks::record::{FIELD_ATTEMPT, FIELD_BEGUN, FIELD_DEADLINE};
use crate::turn::ShardOutputs;

/// Tasks that a shard has leased to itself at a time.
const INLINE_OUT_MAX: usize = 256;
/// How long a task waits that could not be done for now, in milliseconds.
const PAUSE_MS: u64 = 1_000;
/// The status of refusals for want of room.
const NO_ROOM: u16 = 507;

impl Shard {
    /// Leases a task whose method is done inline to the shard itself, which does it when its partition's turn
    /// has come. Its attempt has begun, so that one that ends the process is not tried for ever.
    pub(super) fn lease_inline(&mut self, outputs: &mut ShardOutputs) -> bool {
        let Tasks { index, inline, inline_out, .. } = &mut self.tasks;
        if inline.is_empty() || *inline_out >= INLINE_OUT_MAX || !index.has_ready() {
            return false;
        }
        let Some(id) = index.next(inline, self.now.monotonic_ns) else { return false };
        if self.is_storage_behind() || self.is_log_behind {
            self.tasks.retry_ns = Some(self.now.monotonic_ns + WAY_RETRY_NS);
            return true;
        }
        self.tasks.inline_out += 1;
        let attempt = Value::Integer(self.task(id).1.number(FIELD_ATTEMPT) as i64 + 1);
        let begun = [
            (FIELD_ATTEMPT, attempt),
            (FIELD_BEGUN, Value::Boolean(true)),
            (FIELD_DEADLINE, Value::Null),
        ];
        let (token, delta) = self.lease_delta(id, &begun);
        let kind = EventKind::RunTask { task: id, token: token as u64 };
        let header = self.header_of_task(id.partition(), kind);
        let (object, record) = self.task(id);
        let user = Vec::from(object.owner().as_bytes());
        let request = Vec::from(record.request().as_bytes());
        self.queue.push(header, &user, &request).expect("there are few, so none is refused");
        self.change_task(id, delta, outputs);
        true
    }

    /// Does a task that the shard has leased to itself: with all that the call says and the end of the task in one
    /// batch. One that was called off, or whose time is over, is none of ours.
    pub(super) fn run_inline_task(
        &mut self,
        event: &QueuedEvent,
        (task, token): (ObjectId, u64),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        self.tasks.inline_out -= 1;
        if !self.is_leased(task, token) {
            return;
        }
        let name = event.message().method();
        effects.start(name);
        let methods = self.inline.methods.take();
        let mut buffers = core::mem::take(&mut self.inline.buffers);
        let method = methods.as_ref().and_then(|methods| methods.get(name));
        // Nobody does it inline any more: a worker may.
        let result = method.map(|method| {
            self.call_for_task(event, (task, method), &mut buffers, effects, outputs)
        });
        self.inline.methods = methods;
        match result {
            Some(Ok(())) => self.end_task(event, task, &buffers.reply, effects, outputs),
            Some(Err(reason)) => {
                let scanned = effects.scanned;
                effects.start(name);
                effects.scanned = scanned;
                self.call_failed(event, (task, reason), effects, outputs);
            }
            None => {
                effects.change(self.untouched_delta(task, 0));
                self.commit(event, effects, outputs);
            }
        }
        self.inline.buffers = buffers;
    }

    /// As `call_inline`, of a task.
    fn call_for_task(
        &self,
        event: &QueuedEvent,
        (task, method): (ObjectId, &InlineMethod),
        buffers: &mut InlineBuffers,
        effects: &mut Effects,
        outputs: &ShardOutputs,
    ) -> Result<(), Reason> {
        self.check_end(task)?;
        call(method, self.handler_request(event, outputs), buffers, effects)?;
        let asks = event.message().get("plugin").and_then(Value::as_boolean);
        if asks == Some(true) {
            let mut answer = MessageBuilder::resume(&mut buffers.reply, 0);
            answer.field("plugin", Value::Text(&method.label));
        }
        let done = (&*buffers.staged, &*buffers.reply);
        self.stage_end(event, task, done, effects, outputs)
    }

    /// What becomes of a task whose call came to nothing: it is tried again where that may help.
    fn call_failed(
        &mut self,
        event: &QueuedEvent,
        (task, reason): (ObjectId, Reason),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let waits_ms = match reason {
            Reason::VersionConflict => Some(CONFLICT_MS),
            Reason::Busy | Reason::LogBehind | Reason::PluginDisabled => Some(PAUSE_MS),
            _ => None,
        };
        if let Some(delay_ms) = waits_ms {
            effects.change(self.untouched_delta(task, delay_ms));
            self.commit(event, effects, outputs);
            return;
        }
        // There may be room later; what the code refuses it would refuse again.
        let retries = reason == Reason::QueueFull || reason.status() == NO_ROOM;
        self.fail_attempt(event, task, (reason.word(), retries), effects, outputs);
    }
}
