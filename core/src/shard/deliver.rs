//! From mesh messages to queues, sessions and connections.

use super::Shard;
use super::reply::{write_refusal, write_reply};
use super::sessions::NO_CONNECTION;
use super::thinks::token_of;
use crate::authorize::Roles;
use crate::handlers::Method;
use crate::ids::{ConnectionId, ObjectId, SessionId};
use crate::mesh::{EventHeader, EventKind, MeshMessage, Origin};
use crate::message::Message;
use crate::reason::Reason;
use crate::session::Phase;
use crate::turn::{ShardOutput, ShardOutputs, Span};

impl Shard {
    /// Takes one message of the mesh, whoever sent it.
    pub(super) fn deliver(
        &mut self,
        message: MeshMessage,
        bytes: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        match message {
            MeshMessage::Event { header, user, message } => {
                self.enqueue(header, user.of(bytes), message.of(bytes), outputs);
            }
            MeshMessage::Reply { origin, message } => {
                self.answered(origin, message.of(bytes), outputs);
            }
            MeshMessage::LoggedIn { origin, object, login, user } => {
                self.logged_in(origin, (object, login), user.of(bytes), outputs);
            }
            MeshMessage::LoginRefused { origin, reason } => {
                self.session_refused(origin.session, reason, outputs);
            }
            MeshMessage::Displace { session, reason } => {
                if self.sessions.get(session).is_some() {
                    self.close_session(session, reason, outputs);
                }
            }
            MeshMessage::RelayJoin { room, session, user } => {
                self.relay_join(room, session, user.of(bytes), outputs);
            }
            MeshMessage::RelayLeave { room, session } => self.relay_leave(room, session),
            MeshMessage::JoinRefused { session } => {
                if let Some(open) = self.sessions.get_mut(session) {
                    open.joins_pending -= 1;
                }
            }
            MeshMessage::WatchStarted { object, session } => {
                self.watch_started(object, session, outputs);
            }
            MeshMessage::WatchEnded { object, session } => _ = self.watch_ended(object, session),
            MeshMessage::WatchRevoked { object, session } => {
                self.watch_revoked(object, session, outputs);
            }
            MeshMessage::WatchRefused { session } => self.watch_refused(session),
            MeshMessage::ObjectMessage { object, is_last, message } => {
                self.send_to_watchers(object, is_last, message.of(bytes), outputs);
            }
            MeshMessage::RoomMessage { room, message, .. } => {
                self.send_to_members(room, message.of(bytes), outputs);
            }
            MeshMessage::Direct { session, message } => {
                if self.sessions.get(session).is_some() {
                    self.tell_alone(session, message.of(bytes), outputs);
                }
            }
            MeshMessage::WorldMove { world, slot, entity, session, motion } => {
                self.world_move((world, slot, entity), session, motion, outputs);
            }
            MeshMessage::WorldFrames { header, sections, plan } => {
                let parts = (sections.of(bytes), plan.of(bytes));
                self.deliver_frames(header, parts, outputs);
            }
            MeshMessage::WorldSeat { world, slot, entity, session, name } => {
                let name = core::str::from_utf8(name.of(bytes)).expect("names are ASCII");
                let seat = self.new_seat((world, slot, entity), name, session);
                self.world_seated(seat, session);
            }
            MeshMessage::WorldUnseat { world, session } => self.world_unseated(world, session),
            MeshMessage::WorldResync { world, session } => self.world_resync(world, session),
            MeshMessage::Work { session, work } => self.set_worker(session, work.of(bytes)),
            MeshMessage::WorkerGone { session } => self.worker_gone(session),
            MeshMessage::AddressEvent { peer, connection, from, event } => {
                self.take_address_event((peer, event), (connection, from), outputs);
            }
            MeshMessage::ConnectionRefused { connection, reason } => {
                self.connection_refused(connection, reason, outputs);
            }
            MeshMessage::RoomsPage { origin, roles, shards_left, request, gathered } => {
                let (request, gathered) = (request.of(bytes), gathered.of(bytes));
                self.enqueue_page((origin, roles), shards_left, (request, gathered), outputs);
            }
        }
    }

    fn enqueue(
        &mut self,
        header: EventHeader,
        user: &[u8],
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let group = header.partition.group();
        assert!(self.settings.routing.shard_of(header.partition) == self.id());
        assert!(self.settings.routing.epoch_of(group) == header.epoch, "one node, one epoch");
        if self.queue.push(header, user, message).is_err() {
            if header.kind == EventKind::ObjectNotice {
                self.counters.object_notices_dropped += 1;
                return;
            }
            if header.kind == EventKind::MakeEvent {
                self.counters.events_refused += 1;
                return;
            }
            let request = Message::from_checked(message);
            if request.method() == Method::Thought.name() {
                // Nobody is silent whose answer finds no room.
                self.heard_of_npcs(header.origin.session, token_of(request));
            }
            self.post_refusal(header.origin, request, Reason::Busy, outputs);
        }
    }

    fn answered(&mut self, origin: Origin, message: &[u8], outputs: &mut ShardOutputs) {
        if let Some(known) = self.connections.get_mut(origin.connection) {
            known.unanswered = known.unanswered.checked_sub(1).expect("a reply answers a request");
        }
        // The reply is the session's, on whichever connection it is by now.
        match self.sessions.get(origin.session) {
            None => {}
            Some(session) if session.is_open() => {
                self.tell_reply(origin.session, message, outputs);
            }
            Some(_) => self.send_login_reply(origin, message, outputs),
        }
        self.close_if_answered(origin.connection, outputs);
    }

    pub(super) fn send(
        &mut self,
        connection: ConnectionId,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        if self.connections.get(connection).is_none() {
            return;
        }
        let start = outputs.bytes.len();
        outputs.bytes.extend_from_slice(message);
        let message = Span::since(start, &outputs.bytes);
        outputs.list.push(ShardOutput::Send { connection, message });
    }

    fn send_to_members(&mut self, room: ObjectId, message: &[u8], outputs: &mut ShardOutputs) {
        let list = &mut outputs.recipients;
        let recipients = self.relays.tell(room, message, &mut self.hearing, list);
        if recipients.length == 0 {
            return;
        }
        self.counters.deliveries += u64::from(recipients.length);
        push_send_many(recipients, message, outputs);
    }

    fn logged_in(
        &mut self,
        origin: Origin,
        (object, login): (ObjectId, u64),
        user: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        match self.sessions.get_mut(origin.session) {
            Some(session) => {
                assert!(matches!(session.phase, Phase::LoggingIn { .. }));
                session.login = login;
                self.session_opened(origin.session, outputs);
            }
            // The connection went while its login was under way: take it back.
            None => self.post_end(object, EventKind::LogOut, origin.session, user, outputs),
        }
    }

    fn relay_join(
        &mut self,
        room: ObjectId,
        id: SessionId,
        user: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        match self.sessions.get_mut(id) {
            Some(session) => {
                session.joins_pending -= 1;
                session.rooms.push(room);
                self.relays.join(room, id);
            }
            None => self.post_end(room, EventKind::LeaveRoom { room }, id, user, outputs),
        }
    }

    fn relay_leave(&mut self, room: ObjectId, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.rooms.retain(|heard| *heard != room);
            self.relays.leave(room, id);
        }
    }

    /// Undoes what a partition did for a session that is gone.
    pub(super) fn post_end(
        &mut self,
        object: ObjectId,
        kind: EventKind,
        session: SessionId,
        user: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let partition = object.partition();
        let origin = Origin { session, connection: NO_CONNECTION, echoes_request: false };
        let epoch = self.settings.routing.epoch_of(partition.group());
        // Ends go by their session alone.
        let (user_partition, login, roles) = (partition, 0, Roles::NONE);
        let header = EventHeader { partition, epoch, kind, origin, user_partition, login, roles };
        let to = self.settings.routing.shard_of(partition);
        let user = outputs.mesh[to.index()].push_bytes(user);
        let message = outputs.mesh[to.index()].push_bytes(&[]);
        let event = MeshMessage::Event { header, user, message };
        self.post(to, outputs, event);
    }

    /// Sends a reply to the shard of whoever asked.
    pub(super) fn post_reply(
        &mut self,
        origin: Origin,
        request: Message<'_>,
        own: Message<'_>,
        outputs: &mut ShardOutputs,
    ) {
        let bytes = &mut outputs.mesh[origin.shard().index()].bytes;
        let start = bytes.len();
        write_reply(bytes, request, origin.echoes_request, own);
        let message = Span::since(start, bytes);
        self.post(origin.shard(), outputs, MeshMessage::Reply { origin, message });
    }

    /// Sends a refusal to the shard of whoever asked, and lets go of what waits for the request.
    pub(super) fn post_refusal(
        &mut self,
        origin: Origin,
        request: Message<'_>,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        self.counters.refusals[reason as usize] += 1;
        let bytes = &mut outputs.mesh[origin.shard().index()].bytes;
        let start = bytes.len();
        write_refusal(bytes, request, origin.echoes_request, (reason, reason.limit()));
        let message = Span::since(start, bytes);
        self.post(origin.shard(), outputs, MeshMessage::Reply { origin, message });
        let session = origin.session;
        match request.method() {
            "login" => {
                self.post(origin.shard(), outputs, MeshMessage::LoginRefused { origin, reason });
            }
            "join" | "register-watcher" => {
                self.post(origin.shard(), outputs, MeshMessage::JoinRefused { session });
            }
            "watch" => self.post(origin.shard(), outputs, MeshMessage::WatchRefused { session }),
            _ => {}
        }
    }
}

/// Puts out one message for all of these connections.
pub(super) fn push_send_many(recipients: Span, message: &[u8], outputs: &mut ShardOutputs) {
    let start = outputs.bytes.len();
    outputs.bytes.extend_from_slice(message);
    let message = Span::since(start, &outputs.bytes);
    outputs.list.push(ShardOutput::SendMany { recipients, message });
}
