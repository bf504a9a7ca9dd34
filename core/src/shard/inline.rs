//! Requests of methods that code beside the server's own does in their turn.

use alloc::sync::Arc;

use super::Shard;
use crate::acknowledgement::AckLevel;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::handlers::run_effects;
use crate::inline::{InlineBuffers, InlineCall, InlineMethod, InlineMethods};
use crate::limits::SCANNED_PER_EVENT;
use crate::message::{Message, Value};
use crate::reason::Reason;
use crate::turn::ShardOutputs;

/// A call that took so long counts as one more event of its turn.
const NS_PER_EVENT: u64 = 1_000;

/// What a shard has for methods that are done inline.
#[derive(Debug, Default)]
pub(super) struct Inline {
    /// None: there are none.
    pub(super) methods: Option<Arc<InlineMethods>>,
    buffers: InlineBuffers,
}

impl Shard {
    /// Whether the server does not do the method itself, but somebody does.
    pub(super) fn is_asked_for(&self, method: &str) -> bool {
        self.is_inline(method) || self.tasks.methods.get(method).is_some()
    }

    pub(super) fn is_inline(&self, method: &str) -> bool {
        self.inline.methods.as_ref().is_some_and(|methods| methods.get(method).is_some())
    }

    /// Does a request inline, by the table of this turn. The event has the rights of a task.
    pub(super) fn run_inline(
        &mut self,
        event: &QueuedEvent,
        level: AckLevel,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let (origin, message) = (event.header.origin, event.message());
        effects.start(message.method());
        self.partition_mut(event.header.partition);
        let mut buffers = core::mem::take(&mut self.inline.buffers);
        // Taken, so that shards do not count on one cache line whoever uses the table.
        let methods = self.inline.methods.take().expect("it has the method");
        let method = methods.get(message.method()).expect("it was looked for");
        let result = self.call_inline(event, (method, level), &mut buffers, effects, outputs);
        self.inline.methods = Some(methods);
        self.inline.buffers = buffers;
        match result {
            Ok(()) => {
                self.catch_up(effects, outputs);
                if level == AckLevel::Durable && effects.changes_objects() {
                    self.keep_reply(event, effects);
                } else {
                    self.post_reply(origin, message, effects.reply_message(), outputs);
                }
                self.commit(event, effects, outputs);
            }
            Err(reason) => self.post_refusal(origin, message, reason, outputs),
        }
    }

    /// Everything that the call asks for is among the effects then, and its answer is theirs.
    fn call_inline(
        &self,
        event: &QueuedEvent,
        (method, level): (&InlineMethod, AckLevel),
        buffers: &mut InlineBuffers,
        effects: &mut Effects,
        outputs: &ShardOutputs,
    ) -> Result<(), Reason> {
        self.check_level(level)?;
        let request = self.handler_request(event, outputs);
        let message = event.message();
        buffers.start(message.method());
        let mut call = InlineCall::new(request, buffers);
        let called = method.call(&mut call);
        let busy_events = usize::try_from(call.busy_ns / NS_PER_EVENT).unwrap_or(usize::MAX);
        effects.scanned = busy_events.saturating_mul(SCANNED_PER_EVENT);
        called?;
        run_effects(&request, &buffers.staged, effects)?;
        let is_behind = self.is_storage_behind() && effects.changes_objects();
        if is_behind || self.is_log_behind && effects.changes_state() {
            return Err(Reason::Busy);
        }
        if level == AckLevel::Durable && effects.changes_objects() {
            self.check_log_wait()?;
        }
        effects.restart_reply(message.method());
        effects.reply(|reply| {
            reply.fields_of(Message::from_checked(&buffers.reply));
            if message.get("plugin").and_then(Value::as_boolean) == Some(true) {
                reply.field("plugin", Value::Text(&method.label));
            }
        });
        Ok(())
    }
}
