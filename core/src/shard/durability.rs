//! What of a shard's changes is durable, as the log says, and what is told only then.
//!
//! A request with `ack=durable` changes the state at once, like any other: whoever reads sees it. Its
//! reply and the notices to the rooms of its object wait until the log has its delta batch; a room
//! numbers a notice when it comes, which is then. Later notices of the same group wait behind, so that
//! a room hears of an object's versions in order.
//!
//! Watchers do not wait: a watch is a reading that goes on, and what it reads is the state. A watch that
//! begins or ends while a change waits could otherwise not be told all versions from the one of its
//! reply on.

use super::Shard;
use super::reply::{write_refusal, write_reply};
use super::tasks::WAY_RETRY_NS;
use crate::acknowledgement::AckLevel;
use crate::effects::Effects;
use crate::event_queue::QueuedEvent;
use crate::ids::{GroupId, Sequence};
use crate::limits::TURN_OUTPUT_BYTES_MAX;
use crate::log_wait::{Telling, Waiting};
use crate::mesh::{EventHeader, MeshMessage, Origin};
use crate::message::Message;
use crate::reason::Reason;
use crate::turn::{LogCondition, ShardOutputs, Span};

impl Shard {
    /// Up to this sequence every delta batch of the group is durable: the last one, when there is no
    /// log whose word there would be to wait for.
    #[must_use]
    pub fn durable_sequence(&self, group: GroupId) -> Sequence {
        let has_log = self.settings.has_log;
        let sequences = if has_log { &self.durable_sequences } else { &self.group_sequences };
        Sequence(sequences[usize::from(group.0)])
    }

    /// The log has every delta batch of the group up to this one. What waits for that is told in the
    /// next turn.
    ///
    /// # Panics
    /// When there is no log, when the group has no such batch, or when the log had more already.
    pub fn note_durable(&mut self, group: GroupId, sequence: Sequence) {
        assert!(self.settings.has_log, "only a log says what is durable");
        let last = self.group_sequences[usize::from(group.0)];
        let durable = &mut self.durable_sequences[usize::from(group.0)];
        assert!(sequence.0 <= last, "what is durable was made");
        assert!(sequence.0 >= *durable, "what was durable is");
        self.counters.delta_batches_waiting -= sequence.0 - *durable;
        *durable = sequence.0;
    }

    /// The log takes nothing more. In the next turn all that waits for it hears `not-durable`; from
    /// now on nothing is promised, until [`log_works`](Self::log_works).
    pub fn log_failed(&mut self) {
        assert!(self.settings.has_log, "only a log fails");
        self.has_log_failed = true;
        self.counters.log_failed = 1;
    }

    /// The log goes on. All delta batches that were made meanwhile go to it too.
    pub fn log_works(&mut self) {
        assert!(self.settings.has_log, "only a log goes on");
        self.has_log_failed = false;
        self.counters.log_failed = 0;
    }

    pub(super) fn note_log(&mut self, condition: LogCondition) {
        self.is_log_behind = condition.is_behind;
        if condition.fails {
            self.log_failed();
        } else {
            self.log_works();
        }
    }

    /// Whether the level can be given: asked before the event runs.
    pub(super) fn check_level(&self, level: AckLevel) -> Result<(), Reason> {
        let gives_durable = self.settings.has_log && !self.has_log_failed;
        let is_given = level == AckLevel::Applied || gives_durable;
        if is_given { Ok(()) } else { Err(Reason::LevelUnavailable) }
    }

    /// Whether one more reply may wait, with the notices of its event: asked before anything changes.
    pub(super) fn check_log_wait(&self) -> Result<(), Reason> {
        let has_room = self.log_wait.size_bytes() < self.settings.limits.log_wait_bytes_max;
        if has_room { Ok(()) } else { Err(Reason::LogBehind) }
    }

    /// Keeps the reply until the delta batch that the event is about to make is durable.
    pub(super) fn keep_reply(&mut self, event: &QueuedEvent, effects: &Effects) {
        let group = event.header.partition.group();
        self.keep_reply_to(event.header.origin, group, event.message(), effects.reply_message());
    }

    /// Keeps a reply until the delta batch that the group is about to get is durable.
    pub(super) fn keep_reply_to(
        &mut self,
        origin: Origin,
        group: GroupId,
        request: Message<'_>,
        own: Message<'_>,
    ) {
        let next = Sequence(self.group_sequences[usize::from(group.0)] + 1);
        self.keep_reply_until((group, next), origin, request, own);
    }

    /// Keeps what is told later of the group's next delta batch until that is durable, although nobody waits
    /// for a reply.
    pub(super) fn keep_place(&mut self, group: GroupId) {
        let next = Sequence(self.group_sequences[usize::from(group.0)] + 1);
        self.log_wait.push((group, next), Telling::Nobody, |_| {});
    }

    /// Keeps a reply until all that the group has is durable: what it tells of has happened before.
    pub(super) fn keep_known_reply(
        &mut self,
        origin: Origin,
        group: GroupId,
        request: Message<'_>,
        own: Message<'_>,
    ) {
        let last = Sequence(self.group_sequences[usize::from(group.0)]);
        self.keep_reply_until((group, last), origin, request, own);
    }

    fn keep_reply_until(
        &mut self,
        (group, sequence): (GroupId, Sequence),
        origin: Origin,
        request: Message<'_>,
        own: Message<'_>,
    ) {
        self.log_wait.push((group, sequence), Telling::Reply(origin), |buffer| {
            write_reply(buffer, request, origin.echoes_request, own);
        });
    }

    /// Keeps a notice of this group behind what waits of it already; false when nothing does. One that
    /// finds no room is dropped, and the next one's version tells of the gap.
    pub(super) fn keep_notice(
        &mut self,
        group: GroupId,
        header: EventHeader,
        user: &str,
        message: &[u8],
    ) -> bool {
        if !self.log_wait.has(group) {
            return false;
        }
        if self.check_log_wait().is_err() {
            self.counters.object_notices_dropped += 1;
            return true;
        }
        // The queue's order is enough: if its own batch has to be durable, that of the reply before it
        // is the same.
        let telling = Telling::Notice { header, user_length: user.len() };
        self.log_wait.push((group, Sequence(0)), telling, |buffer| {
            buffer.extend_from_slice(user.as_bytes());
            buffer.extend_from_slice(message);
        });
        true
    }

    /// Keeps what is asked of another partition until this delta batch is durable: after a crash a task would be done
    /// again, and ask again.
    pub(super) fn keep_made_event(
        &mut self,
        batch: (GroupId, Sequence),
        header: EventHeader,
        user: &[u8],
        message: &[u8],
    ) {
        let telling = Telling::Notice { header, user_length: user.len() };
        self.event_wait.push(batch, telling, |buffer| {
            buffer.extend_from_slice(user);
            buffer.extend_from_slice(message);
        });
    }

    /// Whether one more event for another partition may wait.
    pub(super) fn check_event_wait(&self) -> Result<(), Reason> {
        let has_room = self.event_wait.size_bytes() < self.settings.limits.log_wait_bytes_max;
        if has_room { Ok(()) } else { Err(Reason::LogBehind) }
    }

    /// Whether the event that has waited longest may be sent. When the log has failed all are: what they come
    /// from has happened, as far as anybody can see.
    pub(super) fn has_event_to_send(&self) -> bool {
        let may_go = |first: &Waiting| self.has_log_failed || self.is_durable(first);
        let is_time = self.event_retry_ns.is_none_or(|retry_ns| retry_ns <= self.now.monotonic_ns);
        is_time && self.event_wait.first().is_some_and(may_go)
    }

    /// Sends events of tasks to their partitions. A way that is full holds them up, and none is dropped.
    pub(super) fn send_made_events(&mut self, outputs: &mut ShardOutputs) {
        let staged_bytes = outputs.size_bytes();
        while self.has_event_to_send()
            && outputs.size_bytes() - staged_bytes <= TURN_OUTPUT_BYTES_MAX
            && let Some(Telling::Notice { header, .. }) =
                self.event_wait.first().map(|first| first.telling)
        {
            let to = self.settings.routing.shard_of(header.partition);
            if self.staging(outputs).check_shard(to).is_err() {
                self.event_retry_ns = Some(self.now.monotonic_ns + WAY_RETRY_NS);
                return;
            }
            self.event_retry_ns = None;
            let waiting = self.event_wait.pop().expect("it is the first");
            let (user, message) = (waiting.user(), waiting.message().as_bytes());
            self.post_event_of_task(header, user, message, outputs);
            self.event_wait.recycle(waiting);
        }
    }

    /// Whether replies, notices or events for other partitions wait until they are durable.
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        self.log_wait.first().is_some() || self.event_wait.first().is_some()
    }

    /// Whether what has waited longest may be told.
    pub(super) fn has_durable_to_tell(&self) -> bool {
        self.log_wait.first().is_some_and(|first| self.has_log_failed || self.is_durable(first))
    }

    fn is_durable(&self, waiting: &Waiting) -> bool {
        self.durable_sequence(waiting.group) >= waiting.sequence
    }

    /// Tells what has become durable; and when the log has failed, all that waits, each whether it is.
    pub(super) fn tell_durable(&mut self, outputs: &mut ShardOutputs) {
        let staged_bytes = outputs.size_bytes();
        while self.has_durable_to_tell()
            && outputs.size_bytes() - staged_bytes <= TURN_OUTPUT_BYTES_MAX
            && let Some(waiting) = self.log_wait.pop()
        {
            match waiting.telling {
                Telling::Reply(origin) if self.is_durable(&waiting) => {
                    self.post_kept_reply(origin, waiting.message(), outputs);
                }
                Telling::Reply(origin) => {
                    self.post_not_durable(origin, waiting.message(), outputs);
                }
                Telling::Nobody => {}
                Telling::Notice { header, .. } => {
                    let message = waiting.message().as_bytes();
                    self.post_notice_event(header, waiting.user(), message, outputs);
                }
            }
            self.log_wait.recycle(waiting);
        }
    }

    fn post_kept_reply(&mut self, origin: Origin, reply: Message<'_>, outputs: &mut ShardOutputs) {
        let message = outputs.mesh[origin.shard().index()].push_bytes(reply.as_bytes());
        self.post(origin.shard(), outputs, MeshMessage::Reply { origin, message });
    }

    /// The request has changed what its reply says: all of that is told, with another status.
    fn post_not_durable(&mut self, origin: Origin, reply: Message<'_>, outputs: &mut ShardOutputs) {
        self.counters.refusals[Reason::NotDurable as usize] += 1;
        let bytes = &mut outputs.mesh[origin.shard().index()].bytes;
        let start = bytes.len();
        let reason = Reason::NotDurable;
        write_refusal(bytes, reply, true, (reason, reason.limit()));
        let message = Span::since(start, bytes);
        self.post(origin.shard(), outputs, MeshMessage::Reply { origin, message });
    }
}
