//! Requests of methods that code beside the server's own does in their turn.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use super::Shard;
use crate::acknowledgement::AckLevel;
use crate::authorize::Roles;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::handlers::{Request, run_effects};
use crate::ids::ShardId;
use crate::inline::{InlineBuffers, InlineCall, InlineMethod, InlineMethods, InlineTable};
use crate::limits::SCANNED_PER_EVENT;
use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;
use crate::turn::ShardOutputs;
use crate::world::behaviours::ShardBehaviours;

/// A call that took so long counts as one more event of its turn.
const NS_PER_EVENT: u64 = 1_000;

/// What a shard has for what other code does inline.
#[derive(Debug)]
pub(super) struct Inline {
    /// None: there are none.
    pub(super) methods: Option<Arc<InlineMethods>>,
    pub(super) behaviours: ShardBehaviours,
    pub(super) buffers: InlineBuffers,
}

impl Inline {
    pub(super) fn new(shard: ShardId) -> Self {
        let (behaviours, buffers) = (ShardBehaviours::new(shard), InlineBuffers::default());
        Self { methods: None, behaviours, buffers }
    }

    /// From here on it is done by the code of this table.
    pub(super) fn replace(&mut self, table: &InlineTable) {
        self.methods = Some(Arc::clone(&table.methods));
        self.behaviours.replace(Arc::clone(&table.behaviours));
    }
}

impl Shard {
    /// Whether the server does not do the method itself, but somebody does.
    pub(super) fn is_asked_for(&self, method: &str) -> bool {
        let methods = self.inline.methods.as_ref();
        let is_inline = methods.is_some_and(|methods| methods.get(method).is_some());
        is_inline || self.tasks.methods.get(method).is_some()
    }

    /// Does a request inline, by the table of this turn; false when its method is none of the table's.
    pub(super) fn run_inline(
        &mut self,
        event: &mut QueuedEvent,
        level: AckLevel,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) -> bool {
        // Taken, so that shards do not count on one cache line whoever uses the table.
        let Some(methods) = self.inline.methods.take() else { return false };
        let found = methods.get(event.message().method());
        if let Some(method) = found {
            // What comes of it is the code's, whoever the user is.
            event.header.roles = event.header.roles.with(Roles::TASK);
            self.run_inline_method(event, (method, level), effects, outputs);
        }
        let is_done = found.is_some();
        self.inline.methods = Some(methods);
        is_done
    }

    fn run_inline_method(
        &mut self,
        event: &QueuedEvent,
        method: (&InlineMethod, AckLevel),
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        let level = method.1;
        let (origin, message) = (event.header.origin, event.message());
        effects.start(message.method());
        self.partition_mut(event.header.partition);
        let mut buffers = core::mem::take(&mut self.inline.buffers);
        let result = self.call_inline(event, method, &mut buffers, effects, outputs);
        match result {
            Ok(()) => {
                self.catch_up(effects, outputs);
                let own = Message::from_checked(&buffers.reply);
                if level == AckLevel::Durable && effects.changes_objects() {
                    self.keep_reply_to(origin, event.header.partition.group(), message, own);
                } else {
                    self.post_reply(origin, message, own, outputs);
                }
                self.commit(event, effects, outputs);
            }
            Err(reason) => self.post_refusal(origin, message, reason, outputs),
        }
        self.inline.buffers = buffers;
    }

    /// Everything that the call asks for is among the effects then, and its answer in the buffers.
    fn call_inline(
        &self,
        event: &QueuedEvent,
        (method, level): (&InlineMethod, AckLevel),
        buffers: &mut InlineBuffers,
        effects: &mut Effects,
        outputs: &ShardOutputs,
    ) -> Result<(), Reason> {
        self.check_level(level)?;
        // Nothing is kept of what was done: rather refused than done twice.
        if event.message().get("key").is_some() {
            return Err(Reason::FieldInvalid);
        }
        let asks = event.message().get("plugin");
        let asks = asks.map(|asks| asks.as_boolean().ok_or(Reason::FieldInvalid)).transpose()?;
        let tells_code = asks == Some(true);
        let request = self.handler_request(event, outputs);
        call(method, request, buffers, effects)?;
        let staged = if buffers.has_events {
            let place = (event.header.partition, event.user());
            self.check_staged_events(place, 0, &buffers.staged, outputs)?
        } else {
            Cow::Borrowed(&*buffers.staged)
        };
        run_effects(&request, &staged, effects)?;
        let is_behind = self.is_storage_behind() && effects.changes_objects();
        if is_behind || self.is_log_behind && effects.changes_state() {
            return Err(Reason::Busy);
        }
        if level == AckLevel::Durable && effects.changes_objects() {
            self.check_log_wait()?;
        }
        if tells_code {
            let mut answer = MessageBuilder::resume(&mut buffers.reply, 0);
            answer.field("plugin", Value::Text(&method.label));
        }
        Ok(())
    }
}

/// Calls the code. Everything that it says is in the buffers then.
pub(super) fn call(
    method: &InlineMethod,
    request: Request<'_>,
    buffers: &mut InlineBuffers,
    effects: &mut Effects,
) -> Result<(), Reason> {
    buffers.start(request.message.method());
    let mut call = InlineCall::new(request, buffers);
    let called = method.call(&mut call);
    let busy_events = usize::try_from(call.busy_ns / NS_PER_EVENT).unwrap_or(usize::MAX);
    effects.scanned = busy_events.saturating_mul(SCANNED_PER_EVENT);
    called
}
