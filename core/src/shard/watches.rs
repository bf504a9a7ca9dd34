//! Watched objects and objects in rooms, on both ways: at the object's partition what is told to
//! whom, on the watchers' shards who hears it.

use super::Shard;
use super::deliver::push_send_many;
use crate::delta::Delta;
use crate::effects::{Effects, WatchEffect};
use crate::event_queue::QueuedEvent;
use crate::handlers::{build_deleted, hear_notice};
use crate::ids::{ObjectId, PartitionId, SessionId};
use crate::mesh::{EventHeader, EventKind, MeshMessage, Origin};
use crate::reason::Reason;
use crate::turn::ShardOutputs;

impl Shard {
    /// One more watch is under way, if the session may watch one more object.
    pub(super) fn count_watch(&mut self, session: SessionId) -> Result<(), Reason> {
        let most = self.settings.limits.watches_per_session_max;
        let open = self.sessions.get_mut(session).expect("a connection's session exists");
        if open.watches.len() + open.watches_pending >= most {
            return Err(Reason::TooManyWatches);
        }
        open.watches_pending += 1;
        Ok(())
    }

    /// The session is going: it watches nothing any more.
    pub(super) fn end_watches(&mut self, origin: Origin, outputs: &mut ShardOutputs) {
        let open = self.sessions.get_mut(origin.session).expect("the session is there");
        for object in core::mem::take(&mut open.watches) {
            // Of an object that is gone there is no watch left to end.
            if self.watch_relays.leave(object, origin.session) {
                let kind = EventKind::EndWatch { object };
                self.post_event(object.partition(), kind, origin, &[], outputs);
            }
        }
    }

    pub(super) fn watch_started(
        &mut self,
        object: ObjectId,
        id: SessionId,
        outputs: &mut ShardOutputs,
    ) {
        match self.sessions.get_mut(id) {
            Some(session) => {
                session.watches_pending -= 1;
                session.watches.push(object);
                self.watch_relays.join(object, id);
            }
            // It went while its watch was under way: take it back.
            None => self.post_end(object, EventKind::EndWatch { object }, id, &[], outputs),
        }
    }

    /// Whether the session heard of the object until now.
    pub(super) fn watch_ended(&mut self, object: ObjectId, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session.watches.retain(|watched| *watched != object);
        self.watch_relays.leave(object, id)
    }

    pub(super) fn watch_revoked(
        &mut self,
        object: ObjectId,
        session: SessionId,
        outputs: &mut ShardOutputs,
    ) {
        if !self.watch_ended(object, session) {
            return;
        }
        let mut effects = core::mem::take(&mut self.effects);
        effects.start("deleted");
        let message = build_deleted(object, &mut effects);
        self.tell_alone(session, effects.bytes_of(message), outputs);
        self.effects = effects;
    }

    pub(super) fn watch_refused(&mut self, session: SessionId) {
        if let Some(open) = self.sessions.get_mut(session) {
            open.watches_pending -= 1;
        }
    }

    pub(super) fn send_to_watchers(
        &mut self,
        object: ObjectId,
        is_last: bool,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let list = &mut outputs.recipients;
        let watchers = self.watch_relays.tell(object, message, &mut self.hearing, list);
        if watchers.length > 0 {
            self.counters.deliveries += u64::from(watchers.length);
            push_send_many(watchers, message, outputs);
        }
        if !is_last {
            return;
        }
        for session in self.watch_relays.take(object) {
            let session = self.sessions.get_mut(session).expect("who watches is there");
            session.watches.retain(|watched| *watched != object);
        }
    }

    pub(super) fn run_end_watch(
        &mut self,
        event: &QueuedEvent,
        object: ObjectId,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.start("unwatch");
        let session = event.header.origin.session;
        let partition = self.partition(event.header.partition);
        // The object may be gone, or the session may have ended the watch itself.
        if partition.is_some_and(|partition| partition.is_watching(object, session)) {
            let (object, session) = (object.0, session.to_bits());
            effects.change(Delta::WatchEnded { object, session });
            self.commit(event, effects, outputs);
        }
    }

    /// A room hears of one of its objects.
    pub(super) fn run_object_notice(
        &mut self,
        event: &QueuedEvent,
        effects: &mut Effects,
        outputs: &mut ShardOutputs,
    ) {
        effects.start(event.message().method());
        self.partition_mut(event.header.partition);
        match hear_notice(&self.handler_request(event, outputs), effects) {
            Ok(()) => {
                self.counters.object_notices += 1;
                self.commit(event, effects, outputs);
            }
            Err(Reason::Busy | Reason::FanOutRate) => self.counters.object_notices_dropped += 1,
            Err(_) => self.counters.object_notices_unheard += 1,
        }
    }

    pub(super) fn carry_out_watch(
        &mut self,
        effect: WatchEffect,
        effects: &Effects,
        outputs: &mut ShardOutputs,
    ) {
        match effect {
            WatchEffect::Start { object, session } => {
                self.post(session.shard, outputs, MeshMessage::WatchStarted { object, session });
            }
            WatchEffect::End { object, session } => {
                self.post(session.shard, outputs, MeshMessage::WatchEnded { object, session });
            }
            WatchEffect::Revoke { object, session } => {
                self.post(session.shard, outputs, MeshMessage::WatchRevoked { object, session });
            }
            WatchEffect::Tell { object, message, is_last } => {
                self.tell_watchers(object, is_last, effects.bytes_of(message), outputs);
            }
        }
    }

    /// Sends the message once to every shard with watchers.
    fn tell_watchers(
        &mut self,
        object: ObjectId,
        is_last: bool,
        bytes: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let at = usize::from(object.partition().0);
        let partition = self.partitions[at].take().expect("a watched object is somewhere");
        for shard in partition.watchers(object).into_iter().flat_map(|all| all.shards()) {
            let message = outputs.mesh[shard.index()].push_bytes(bytes);
            self.post(shard, outputs, MeshMessage::ObjectMessage { object, is_last, message });
        }
        self.partitions[at] = Some(partition);
    }

    /// Sends a notice to the room's home, or keeps it behind what waits for the log.
    pub(super) fn post_notice(
        &mut self,
        event: &QueuedEvent,
        home: PartitionId,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let epoch = self.settings.routing.epoch_of(home.group());
        let kind = EventKind::ObjectNotice;
        let header = EventHeader { partition: home, epoch, kind, ..event.header };
        let group = event.header.partition.group();
        if !self.keep_notice(group, header, event.user(), message) {
            self.post_notice_event(header, event.user().as_bytes(), message, outputs);
        }
    }

    /// Sends a notice to the room's home, unless the way there is full: then it is dropped, and
    /// the next one's version tells of the gap.
    pub(super) fn post_notice_event(
        &mut self,
        header: EventHeader,
        user: &[u8],
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let to = self.settings.routing.shard_of(header.partition);
        if self.staging(outputs).check_shard(to).is_err() {
            self.counters.object_notices_dropped += 1;
            return;
        }
        let user = outputs.mesh[to.index()].push_bytes(user);
        let message = outputs.mesh[to.index()].push_bytes(message);
        self.post(to, outputs, MeshMessage::Event { header, user, message });
    }

    /// Tells those who watch an object that it is about to go; false when a way to them is full.
    pub(super) fn tell_of_end(&mut self, object: ObjectId, outputs: &mut ShardOutputs) -> bool {
        let watchers =
            self.partition(object.partition()).and_then(|partition| partition.watchers(object));
        if watchers.is_none() {
            return true;
        }
        if self.staging(outputs).check_watchers(watchers).is_err() {
            return false;
        }
        let mut effects = core::mem::take(&mut self.effects);
        effects.start("deleted");
        let message = build_deleted(object, &mut effects);
        self.tell_watchers(object, true, effects.bytes_of(message), outputs);
        self.effects = effects;
        true
    }
}
