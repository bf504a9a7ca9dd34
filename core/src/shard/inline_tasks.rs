//! Tasks of methods that are done inline: scheduled events, and what was left for workers. The shard leases
//! them to itself, so that they are tasks like all others.

use alloc::vec::Vec;

use super::Shard;
use super::inline::call;
use super::tasks::{Tasks, WAY_RETRY_NS};
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::ids::{ObjectId, Sequence};
use crate::inline::{InlineBuffers, InlineMethod, InlineMethods};
use crate::mesh::EventKind;
use crate::message::{MessageBuilder, Value};
use crate::reason::Reason;
use crate::tasks::record::FIELD_ATTEMPT;
use crate::turn::ShardOutputs;

/// Tasks that a shard has leased to itself at a time.
const OUT_MAX: usize = 256;
/// How long a task waits that could not be done for now, and the tasks of a method whose plugin is disabled.
const PAUSE_NS: u64 = 1_000_000_000;
const PAUSE_MS: u64 = PAUSE_NS / 1_000_000;

/// What a shard has for such tasks. Methods are those of the index, by their numbers.
#[derive(Debug, Default)]
pub(super) struct InlineTasks {
    /// Methods that are done inline now.
    numbers: Vec<u32>,
    /// Those whose plugin is disabled, and until when they wait.
    paused: Vec<(u32, u64)>,
    /// By number, whether the method is one of either.
    is_inline: Vec<bool>,
    /// Tasks that are leased, and wait for the log or in the shard's queues.
    out: usize,
    /// The last lease was one of these: workers are next.
    had_turn: bool,
    /// One is ready, and nothing more may wait for the log.
    is_held: bool,
}

impl InlineTasks {
    fn replace(&mut self, numbers: Vec<u32>) {
        self.is_inline.clear();
        for number in &numbers {
            let place = *number as usize;
            self.is_inline.resize(self.is_inline.len().max(place + 1), false);
            self.is_inline[place] = true;
        }
        self.paused.clear();
        self.numbers = numbers;
    }

    /// Whether its tasks are none of a worker's.
    pub(super) fn has(&self, number: u32) -> bool {
        self.is_inline.get(number as usize) == Some(&true)
    }

    fn pause(&mut self, number: u32, until_ns: u64) {
        if let Some(at) = self.numbers.iter().position(|known| *known == number) {
            self.paused.push((self.numbers.swap_remove(at), until_ns));
        }
    }

    /// When the first pause ends.
    pub(super) fn pause_end_ns(&self) -> Option<u64> {
        self.paused.iter().map(|(_, until_ns)| *until_ns).min()
    }

    /// Ends pauses whose time is over, and says whether there were any.
    pub(super) fn end_pauses(&mut self, now_ns: u64) -> bool {
        let before = self.numbers.len();
        let over = self.paused.extract_if(.., |(_, until_ns)| *until_ns <= now_ns);
        self.numbers.extend(over.map(|(number, _)| number));
        self.numbers.len() > before
    }

    /// Whether these are first where workers could have a lease too: both take turns.
    pub(super) fn is_first(&self) -> bool {
        !self.had_turn
    }

    /// Whether one waits for room where leases wait for the log. Workers are not held up by that.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// A worker has had a lease.
    pub(super) fn worker_had_turn(&mut self) {
        self.had_turn = false;
    }
}

impl Tasks {
    /// From here on these are done inline: of their tasks, too.
    pub(super) fn set_inline(&mut self, methods: &InlineMethods) {
        self.methods.set_inline(methods.names());
        let numbers = methods.names().map(|name| self.index.number_of(name)).collect();
        self.inline.replace(numbers);
        self.may_lease_more();
    }
}

impl Shard {
    /// Leases a task whose method is done inline to the shard itself, which does it when its partition's turn
    /// has come. Its attempt has begun, and the log has that before the code is called: one that ends the process
    /// is not tried for ever.
    pub(super) fn lease_inline(&mut self, outputs: &mut ShardOutputs) -> bool {
        let now_ns = self.now.monotonic_ns;
        let Tasks { index, inline, .. } = &mut self.tasks;
        inline.is_held = false;
        if inline.numbers.is_empty() || inline.out >= OUT_MAX || !index.has_ready() {
            return false;
        }
        let Some(id) = index.next(inline.numbers.iter().copied(), now_ns) else { return false };
        if self.is_storage_behind() || self.is_log_behind {
            self.tasks.retry_ns = Some(now_ns + WAY_RETRY_NS);
            return true;
        }
        if self.check_event_wait().is_err() {
            self.tasks.inline.is_held = true;
            return false;
        }
        (self.tasks.inline.out, self.tasks.inline.had_turn) = (self.tasks.inline.out + 1, true);
        let (object, record) = self.task(id);
        let user = Vec::from(object.owner().as_bytes());
        let request = Vec::from(record.request().as_bytes());
        let attempt = record.number(FIELD_ATTEMPT) + 1;
        let (token, delta) = self.lease_delta(id, Some(attempt));
        self.change_task(id, delta, outputs);
        let kind = EventKind::RunTask { task: id, token: token as u64 };
        let header = self.header_of_task(id.partition(), kind);
        let group = id.partition().group();
        let lease = Sequence(self.group_sequences[usize::from(group.0)]);
        if self.settings.has_log {
            self.keep_made_event((group, lease), header, &user, &request);
        } else {
            self.queue.push(header, &user, &request).expect("there are few, so none is refused");
        }
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
        self.tasks.inline.out -= 1;
        // There may be room for another one.
        self.tasks.may_lease_more();
        let name = event.message().method();
        effects.start(name);
        if !self.is_leased(task, token) {
            return;
        }
        if self.check_end(task).is_err() {
            return self.give_back(event, task, PAUSE_MS, effects, outputs);
        }
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
            None => self.give_back(event, task, 0, effects, outputs),
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
        call(method, self.handler_request(event, outputs), buffers, effects)?;
        let asks = event.message().get("plugin").and_then(Value::as_boolean);
        if asks == Some(true) {
            let mut answer = MessageBuilder::resume(&mut buffers.reply, 0);
            answer.field("plugin", Value::Text(&method.label));
        }
        let done = (&*buffers.staged, &*buffers.reply);
        self.stage_end(event, task, done, effects, outputs)
    }

    fn give_back(
        &mut self,
        event: &QueuedEvent,
        task: ObjectId,
        delay_ms: u64,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.change(self.untouched_delta(task, delay_ms));
        self.commit(event, effects, outputs);
    }

    /// What becomes of a task whose call came to nothing. Whatever the server refuses may go another time; what the
    /// code could not do it would not do then.
    fn call_failed(
        &mut self,
        event: &QueuedEvent,
        (task, reason): (ObjectId, Reason),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        if reason == Reason::PluginDisabled {
            let number = self.tasks.index.number_of(event.message().method());
            self.tasks.inline.pause(number, self.now.monotonic_ns + PAUSE_NS);
        }
        if matches!(reason, Reason::Busy | Reason::LogBehind | Reason::PluginDisabled) {
            return self.give_back(event, task, PAUSE_MS, effects, outputs);
        }
        let retries = reason != Reason::PluginFailed;
        self.fail_attempt(event, task, (reason.word(), retries), effects, outputs);
    }
}
