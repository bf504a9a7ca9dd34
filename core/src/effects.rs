//! What a handler asks for. It writes nothing itself: its effects are carried out as a whole, in
//! order, when it succeeds, and dropped as a whole when it refuses.

use alloc::vec::Vec;

use crate::delta::Delta;
use crate::ids::{ObjectId, PartitionId, SessionId};
use crate::message::{Message, MessageBuilder};
use crate::reason::Reason;
use crate::turn::Span;
use crate::world::motion::Motion;
use crate::world::npcs;

/// A buffer that grew beyond this is freed instead of kept.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Change the state.
    Change(Delta),
    /// Send the room's next message to all its members; it may be charged to whoever asked.
    Broadcast { room: ObjectId, sequence: u64, message: Span, is_charged: bool },
    /// Send a message to one session.
    Direct { session: SessionId, message: Span },
    /// The session hears the room from here on.
    RelayJoin { room: ObjectId, session: SessionId },
    /// The session no longer hears the room.
    RelayLeave { room: ObjectId, session: SessionId },
    /// The session has an entity in the world, which gets this number.
    WorldJoin { room: ObjectId, session: SessionId, entity: u16, motion: Motion },
    /// The session has no entity in the world any more.
    WorldLeave { room: ObjectId, session: SessionId },
    /// The room has more members or fewer, and nothing told it so.
    CountChanged { room: ObjectId },
    /// Close a session whose user logged in elsewhere.
    Displace { session: SessionId },
    /// The asking session is open.
    LoggedIn { object: ObjectId, login: u64 },
    /// Tell of an object that is watched.
    Watch(WatchEffect),
    /// Have an object's room hear a message, which names the room.
    Notice { home: PartitionId, message: Span },
    /// Have another partition make a scheduled event of this user's: the message is its `new-event`.
    MakeEvent { home: PartitionId, user: Span, message: Span },
}

/// One thing to do for those who watch an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WatchEffect {
    /// The session hears of the object from here on.
    Start { object: ObjectId, session: SessionId },
    /// The session no longer hears of the object.
    End { object: ObjectId, session: SessionId },
    /// The same, because it may no longer read it: it hears that it is deleted.
    Revoke { object: ObjectId, session: SessionId },
    /// Send a message to all who watch the object; after the last one nobody does.
    Tell { object: ObjectId, message: Span, is_last: bool },
}

/// What one event asks for. Reused from event to event.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: Vec<Effect>,
    bytes: Vec<u8>,
    reply: Vec<u8>,
    /// Steps of a `find`, or NPCs that come into being, which the turn's budget is charged for.
    pub(crate) scanned: usize,
    /// Memory for what a handler has to look at before it decides.
    scratch: Vec<u8>,
    /// What a world that is going to wake says of its NPCs.
    pub(crate) waking: Option<Result<Vec<npcs::Entry>, Reason>>,
}

impl Effects {
    /// Starts the effects of the next event, whose reply carries this method.
    pub(crate) fn start(&mut self, method: &str) {
        self.list.clear();
        self.bytes.clear();
        self.reply.clear();
        self.scanned = 0;
        self.waking = None;
        let _ = MessageBuilder::new(&mut self.reply, method);
    }

    pub(crate) fn change(&mut self, delta: Delta) {
        self.list.push(Effect::Change(delta));
    }

    /// Whether an object is to be made, changed or deleted.
    pub(crate) fn changes_objects(&self) -> bool {
        self.list.iter().any(|effect| {
            let Effect::Change(delta) = effect else { return false };
            matches!(
                delta,
                Delta::ObjectCreated { .. }
                    | Delta::ObjectChanged { .. }
                    | Delta::ObjectDeleted { .. }
            )
        })
    }

    /// How many objects are to be made.
    pub(crate) fn created_count(&self) -> usize {
        let created =
            |effect: &&Effect| matches!(effect, Effect::Change(Delta::ObjectCreated { .. }));
        self.list.iter().filter(created).count()
    }

    /// Whether the log gets something.
    pub(crate) fn changes_state(&self) -> bool {
        self.list.iter().any(|effect| matches!(effect, Effect::Change(_)))
    }

    /// Builds a message for others than the one who asked.
    pub(crate) fn build(
        &mut self,
        method: &str,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Span {
        let start = self.bytes.len();
        fill(&mut MessageBuilder::new(&mut self.bytes, method));
        Span::since(start, &self.bytes)
    }

    /// Keeps a text beside the messages.
    pub(crate) fn keep(&mut self, text: &str) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        Span::since(start, &self.bytes)
    }

    /// The bytes of a message made by [`build`](Self::build).
    pub(crate) fn bytes_of(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// Adds fields to the reply.
    pub(crate) fn reply(&mut self, fill: impl FnOnce(&mut MessageBuilder<'_>)) {
        fill(&mut MessageBuilder::resume(&mut self.reply, 0));
    }

    /// Forgets what the reply says: it is that of an effect of a task, which nobody hears.
    pub(crate) fn restart_reply(&mut self, method: &str) {
        self.reply.clear();
        let _ = MessageBuilder::new(&mut self.reply, method);
    }

    /// The reply's method and own fields.
    pub(crate) fn reply_message(&self) -> Message<'_> {
        Message::from_checked(&self.reply)
    }

    /// An empty buffer. Who gives it back has it at the next event without an allocation; after a
    /// refusal it is made anew.
    pub(crate) fn take_scratch(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.scratch)
    }

    /// Takes the buffer back.
    pub(crate) fn keep_scratch(&mut self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            scratch.clear();
            self.scratch = scratch;
        }
    }

    /// Bytes of the reply and the messages, against `effects_bytes_max`.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.reply.len()
    }
}
