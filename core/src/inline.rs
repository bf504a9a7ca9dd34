//! Methods that code beside the server's own does inline: in the turn in which a request's number is up,
//! where its partition is. Such a call is like a task that is leased, done and answered in one: it reads what
//! is there, and what it is to change or tell is carried out as a whole behind it, or not at all.
//!
//! Core neither knows where the code comes from nor what time it takes: [`InlineCode`] says the latter.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::handlers::{Method, Request, check_staged, effects_of, target_of_task};
use crate::ids::{ObjectId, PartitionId, ShardId};
use crate::message::{Message, MessageBuilder, Value};
use crate::name::is_name;
use crate::object::Object;
use crate::partition::Partition;
use crate::reason::Reason;
use crate::world::behaviours::Behaviours;

/// Methods that one server does inline.
pub const INLINE_METHODS_MAX: usize = 1024;
/// Effects of one call: each is held against all others.
pub const INLINE_EFFECTS_MAX: usize = 256;
/// What an answer has besides the code's own fields.
const RESERVED_IN_ANSWERS: &[&[u8]] = &[b"id", b"ack", b"status", b"error", b"limit", b"plugin"];
/// What a scheduled event has no field of: the call says its time.
const RESERVED_IN_EVENTS: &[&[u8]] = &[b"id", b"ack", b"time", b"at_ms"];
/// A buffer that grew beyond this is freed instead of kept.
const BUFFER_BYTES_KEPT_MAX: usize = 64 << 10;

/// Code that does methods inline. Shards call it at the same time, each on its own thread.
pub trait InlineCode: fmt::Debug + Send + Sync {
    /// Does the method of this number, as its table was told.
    ///
    /// # Errors
    /// What whoever asked hears; nothing has changed then.
    fn call(&self, method: usize, call: &mut InlineCall<'_>) -> Result<(), Reason>;
}

/// A method, and which code does it.
#[derive(Clone, Debug)]
pub(crate) struct InlineMethod {
    code: Arc<dyn InlineCode>,
    number: usize,
    /// What is told of the code to whoever asks: name and version.
    pub(crate) label: Box<str>,
}

impl InlineMethod {
    pub(crate) fn call(&self, call: &mut InlineCall<'_>) -> Result<(), Reason> {
        self.code.call(self.number, call)?;
        // Code that goes on after a refusal has not done what it meant.
        call.refusal.map_or(Ok(()), Err)
    }
}

/// Why other code than the server's cannot do a method, or bring a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InlineFault {
    /// It is no name.
    NameInvalid,
    /// The server has it itself.
    BuiltIn,
    /// Other code has it.
    Taken,
    /// There are as many as there may be.
    TooMany,
}

/// All methods that are done inline. A shard changes from one table to the next between two turns.
#[derive(Clone, Debug, Default)]
pub struct InlineMethods {
    methods: BTreeMap<Box<str>, InlineMethod>,
}

impl InlineMethods {
    /// The code does the method from here on, which it knows by this number.
    ///
    /// # Errors
    /// [`InlineFault`].
    pub fn add(
        &mut self,
        name: &str,
        (code, number): (Arc<dyn InlineCode>, usize),
        label: &str,
    ) -> Result<(), InlineFault> {
        Self::check(name)?;
        if self.methods.contains_key(name) {
            return Err(InlineFault::Taken);
        }
        if self.methods.len() >= INLINE_METHODS_MAX {
            return Err(InlineFault::TooMany);
        }
        self.methods.insert(name.into(), InlineMethod { code, number, label: label.into() });
        Ok(())
    }

    /// Whether a method may be done by other code than the server's.
    ///
    /// # Errors
    /// [`InlineFault::NameInvalid`], [`InlineFault::BuiltIn`].
    pub fn check(name: &str) -> Result<(), InlineFault> {
        if !is_name(name.as_bytes()) {
            return Err(InlineFault::NameInvalid);
        }
        if Method::from_name(name).is_some() {
            return Err(InlineFault::BuiltIn);
        }
        Ok(())
    }

    /// All of them, in the order of their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(|name| &**name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&InlineMethod> {
        self.methods.get(name)
    }
}

/// What other code than the server's own does for shards. They change from one table to the next between two
/// turns.
#[derive(Clone, Debug, Default)]
pub struct InlineTable {
    /// Methods.
    pub methods: Arc<InlineMethods>,
    /// What moves NPCs.
    pub behaviours: Arc<Behaviours>,
}

/// What a call writes to, reused from call to call.
#[derive(Debug, Default)]
pub struct InlineBuffers {
    /// Packed messages, each behind its length, as those of a task.
    pub(crate) staged: Vec<u8>,
    /// The answer's own fields, packed.
    pub(crate) reply: Vec<u8>,
    /// There may be scheduled events among them.
    pub(crate) has_events: bool,
}

impl InlineBuffers {
    pub(crate) fn start(&mut self, method: &str) {
        self.has_events = false;
        for buffer in [&mut self.staged, &mut self.reply] {
            if buffer.capacity() > BUFFER_BYTES_KEPT_MAX {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
        let _ = MessageBuilder::new(&mut self.reply, method);
    }

    /// What the last call said that is to happen: `set`, `create`, `delete`, `emit` and `new-event`, in its order.
    pub fn effects(&self) -> impl Iterator<Item = Message<'_>> {
        effects_of(&self.staged)
    }

    /// The last call's answer: its own fields.
    #[must_use]
    pub fn reply(&self) -> Message<'_> {
        Message::from_checked(&self.reply)
    }
}

/// A task that is done as such a call, away from its shard: by a worker.
#[derive(Clone, Copy, Debug)]
pub struct InlineTask<'a> {
    /// Name of the user who asks.
    pub user: &'a str,
    /// The request.
    pub message: Message<'a>,
    /// Where the task is.
    pub partition: PartitionId,
    /// The object that it is about, if it is there.
    pub target: Option<(ObjectId, &'a Object)>,
    /// The time, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Bytes that effects and answer may have.
    pub bytes_max: usize,
}

/// Objects that a call can read.
enum Objects<'a> {
    Partition(&'a Partition),
    Target(Option<(ObjectId, &'a Object)>),
}

/// One request that code does inline: what it may read, and what it says that is to happen.
pub struct InlineCall<'a> {
    user: &'a str,
    message: Message<'a>,
    partition: PartitionId,
    objects: Objects<'a>,
    wall_ms: u64,
    shard: ShardId,
    bytes_max: usize,
    buffers: &'a mut InlineBuffers,
    effect_count: usize,
    /// Why the first of what the code said cannot be.
    refusal: Option<Reason>,
    /// Time that the call took.
    pub(crate) busy_ns: u64,
}

impl<'a> InlineCall<'a> {
    pub(crate) fn new(request: Request<'a>, buffers: &'a mut InlineBuffers) -> Self {
        Self {
            user: request.user,
            message: request.message,
            partition: request.header.partition,
            objects: Objects::Partition(request.partition),
            wall_ms: request.wall_ms,
            shard: request.staging.own,
            bytes_max: request.limits.effects_bytes_max,
            buffers,
            effect_count: 0,
            refusal: None,
            busy_ns: 0,
        }
    }

    /// The call that does this task. What it says is in the buffers then.
    pub fn of_task(task: InlineTask<'a>, buffers: &'a mut InlineBuffers) -> Self {
        buffers.start(task.message.method());
        Self {
            user: task.user,
            message: task.message,
            partition: task.partition,
            objects: Objects::Target(task.target),
            wall_ms: task.wall_ms,
            shard: ShardId(0),
            bytes_max: task.bytes_max,
            buffers,
            effect_count: 0,
            refusal: None,
            busy_ns: 0,
        }
    }

    /// Name of the user who asks.
    #[must_use]
    pub fn user(&self) -> &'a str {
        self.user
    }

    /// The request.
    #[must_use]
    pub fn message(&self) -> Message<'a> {
        self.message
    }

    /// The object that it is about, if it names one.
    #[must_use]
    pub fn target(&self) -> Option<ObjectId> {
        target_of_task(self.message).ok().flatten()
    }

    /// An object of the request's partition, as it was before the call; of a task that a worker does, its
    /// target.
    #[must_use]
    pub fn object(&self, id: ObjectId) -> Option<&'a Object> {
        if id.partition() != self.partition {
            return None;
        }
        match self.objects {
            Objects::Partition(partition) => partition.object(id),
            Objects::Target(target) => {
                target.filter(|(number, _)| *number == id).map(|(_, object)| object)
            }
        }
    }

    /// The time, in milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// The shard on which the call runs; in a worker the first.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The first refusal, after which the call comes to nothing.
    #[must_use]
    pub fn refusal(&self) -> Option<Reason> {
        self.refusal
    }

    /// The call took so long: it counts against its turn's budget.
    pub fn note_busy_ns(&mut self, busy_ns: u64) {
        self.busy_ns = busy_ns;
    }

    /// The object changes by these fields; only from this version, if one is named.
    ///
    /// # Errors
    /// Why it cannot be. The call comes to nothing then, whatever follows.
    pub fn set(
        &mut self,
        object: ObjectId,
        version: Option<u64>,
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.stage((Method::Set, &[]), |fields| {
            fields.field(b"object", Value::Object(object))?;
            if let Some(version) = version {
                let version = i64::try_from(version).map_err(|_| Reason::FieldInvalid)?;
                fields.field(b"version", Value::Integer(version))?;
            }
            fill(fields)
        })
    }

    /// A new object comes to be in the request's partition. It is the user's who asked, or whose the field `owner`
    /// says: with an empty text the server's.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn create(
        &mut self,
        kind: &str,
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.stage((Method::Create, &[]), |fields| {
            fields.field(b"kind", Value::Text(kind))?;
            fill(fields)
        })
    }

    /// The object goes.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn delete(&mut self, object: ObjectId) -> Result<(), Reason> {
        self.stage((Method::Delete, &[]), |fields| fields.field(b"object", Value::Object(object)))
    }

    /// A room's members hear an event, as of the user who asked. The room may be anywhere.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn emit(
        &mut self,
        room: &str,
        event: &str,
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.stage((Method::Emit, &[]), |fields| {
            fields.field(b"to", Value::Text(room))?;
            fields.field(b"event", Value::Text(event))?;
            fill(fields)
        })
    }

    /// A scheduled event of whoever asked: a task of the method `event`, which nobody takes before so many
    /// milliseconds have passed from the moment when the call is done. `target` and `key` are its own as those of a
    /// request are.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn new_event(
        &mut self,
        event: &str,
        delay_ms: u64,
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.buffers.has_events = true;
        self.stage((Method::NewEvent, RESERVED_IN_EVENTS), |fields| {
            fields.field(b"event", Value::Text(event))?;
            let delay_ms = i64::try_from(delay_ms).map_err(|_| Reason::FieldInvalid)?;
            fields.field(b"delay_ms", Value::Integer(delay_ms))?;
            fill(fields)
        })
    }

    /// Adds fields to the answer.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn reply(
        &mut self,
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let bytes_left = self.bytes_left();
        let builder = MessageBuilder::resume_checked(&mut self.buffers.reply);
        let mut fields = EffectFields { builder, bytes_left, reserved: RESERVED_IN_ANSWERS };
        let result = fill(&mut fields);
        self.note(result)
    }

    fn stage(
        &mut self,
        (method, reserved): (Method, &'static [&'static [u8]]),
        fill: impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        if let Some(reason) = self.refusal {
            return Err(reason);
        }
        let bytes_left = self.bytes_left();
        if self.effect_count == INLINE_EFFECTS_MAX || bytes_left == 0 {
            return self.note(Err(Reason::EffectsTooLarge));
        }
        let staged = &mut self.buffers.staged;
        let start = staged.len();
        staged.extend_from_slice(&[0; 4]);
        let builder = MessageBuilder::new(staged, method.name());
        let result = fill(&mut EffectFields { builder, bytes_left, reserved });
        let result = result.and_then(|()| {
            let (before, effect) = staged.split_at(start);
            let effect = Message::from_checked(&effect[4..]);
            check_staged(effect, self.partition, before)
        });
        match result {
            Ok(()) => {
                let length = u32::try_from(staged.len() - start - 4).expect("it is bounded");
                staged[start..start + 4].copy_from_slice(&length.to_le_bytes());
                self.effect_count += 1;
            }
            Err(_) => staged.truncate(start),
        }
        self.note(result)
    }

    /// What effects and answer may still have.
    fn bytes_left(&self) -> usize {
        let bytes = self.buffers.staged.len() + self.buffers.reply.len();
        self.bytes_max.saturating_sub(bytes)
    }

    fn note(&mut self, result: Result<(), Reason>) -> Result<(), Reason> {
        if let Err(reason) = result {
            self.refusal.get_or_insert(reason);
        }
        result
    }
}

impl fmt::Debug for InlineCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineCall").field("message", &self.message()).finish_non_exhaustive()
    }
}

/// Fields of an effect or an answer, each checked as if a client had sent it.
pub struct EffectFields<'b> {
    builder: MessageBuilder<'b>,
    bytes_left: usize,
    /// Names that none of them may have.
    reserved: &'static [&'static [u8]],
}

impl EffectFields<'_> {
    /// Adds a field.
    ///
    /// # Errors
    /// Why there cannot be such a field, or not one more.
    pub fn field(&mut self, name: &[u8], value: Value<'_>) -> Result<(), Reason> {
        if self.reserved.contains(&name) {
            return Err(Reason::ReservedField);
        }
        let bytes = name.len() + value.size_bytes();
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Reason::EffectsTooLarge)?;
        self.builder.try_field(name, value)
    }
}

impl fmt::Debug for EffectFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EffectFields").finish_non_exhaustive()
    }
}
