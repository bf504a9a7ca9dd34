//! From connections to events: sessions, and the methods that are answered where the connection
//! is.

use alloc::vec::Vec;

use super::reply::{write_refusal, write_reply};
use super::{Shard, ShardSettings};
use crate::acknowledgement::{AckDefaults, AckLevel};
use crate::authentication::Identity;
use crate::authorize::{Roles, Subject, Target, Verb};
use crate::handlers::{Method, Route, page_after, page_count, target_of_task};
use crate::ids::{ConnectionId, ObjectId, PartitionId, SessionId, ShardId};
use crate::limits::REFUSED_LOGINS_MAX;
use crate::mesh::{EventHeader, EventKind, MeshMessage, Origin};
use crate::message::{Message, MessageBuilder, REQUEST_FIELDS_MAX, Value};
use crate::parked::Parked;
use crate::reason::Reason;
use crate::remembered::id_of;
use crate::session::{Phase, Session};
use crate::turn::{ShardOutput, ShardOutputs, Span};

/// The version of the message protocol, told in `hello`.
const PROTOCOL_VERSION: i64 = 1;
/// Who answers, told in `hello`.
const SERVER_NAME: &str = concat!("warren/", env!("CARGO_PKG_VERSION"));

impl Shard {
    /// Takes a client's message.
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) {
        debug_assert!(message.field_count() <= REQUEST_FIELDS_MAX, "gateways see to that");
        let Some(known) = self.connections.get(connection) else { return };
        if let Some(to) = known.moving_to {
            self.hand_over(connection, to, message, None, outputs);
            return;
        }
        let session = known.session;
        let parked_bytes_max = self.settings.limits.parked_bytes_max;
        if let Some(place) = known.waiting {
            if !self.waiting_logins.parked_mut(place).push(message, parked_bytes_max) {
                self.refuse(connection, message, Reason::Busy, outputs);
            }
            return;
        }
        if let Some(open) = session.and_then(|session| self.sessions.get_mut(session)) {
            if let Phase::LoggingIn { parked } = &mut open.phase {
                // Its user's partition was asked, and answers in a moment: the order is kept.
                if !parked.push(message, parked_bytes_max) {
                    self.refuse(connection, message, Reason::Busy, outputs);
                }
                return;
            }
            // A reply that was lost on the way locks nobody out: until now the token before the
            // latest was valid too.
            open.tokens.confirm();
        }
        if let Err(reason) = self.dispatch(connection, session, message, outputs) {
            self.refuse(connection, message, reason, outputs);
            if session.is_none() && matches!(message.method(), "login" | "resume") {
                self.count_refused_login(connection, reason, outputs);
            }
        }
    }

    /// Answers a client's message that is not to be run. Nothing of it is remembered: when it is sent
    /// again with the same `id`, it runs. One that an earlier connection of the session brought has
    /// run already: it is a repeat like any other.
    pub(super) fn request_refused(
        &mut self,
        connection: ConnectionId,
        message: Message<'_>,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        let Some(known) = self.connections.get(connection) else { return };
        if let Some(to) = known.moving_to {
            // Whether the answer counts is known where the session is.
            self.hand_over(connection, to, message, Some(reason), outputs);
            return;
        }
        let session = known.session;
        if !self.has_run(session, message) {
            self.refuse(connection, message, reason, outputs);
        }
    }

    /// Whether the request is a repeat of one that an earlier connection of the session brought to its
    /// partition.
    fn has_run(&mut self, session: Option<SessionId>, message: Message<'_>) -> bool {
        let Some(session) = session.filter(|_| self.hearing.is_kept()) else { return false };
        let open = self.sessions.get(session).expect("a connection's session exists");
        let goes_to_partition = match Method::from_name(message.method()) {
            Some(method) => {
                let route = method.route(message, open.user_partition);
                matches!(route, Ok(Route::Partition(_)))
            }
            None => self.is_asked_for(message.method()),
        };
        match id_of(message, self.settings.seed) {
            Some(id) if goes_to_partition => self.is_repeat(session, id),
            _ => false,
        }
    }

    fn dispatch(
        &mut self,
        connection: ConnectionId,
        session: Option<SessionId>,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let method = Method::from_name(message.method());
        let (verb, target) = match method {
            Some(method) => (Verb::Call(method), Target::Server),
            None if self.is_asked_for(message.method()) => {
                (Verb::Ask, Target::Method { name: message.method() })
            }
            None => return Err(Reason::UnknownMethod),
        };
        self.settings.policy.authorize(self.subject(session), verb, target)?;
        let Some(method) = method else { return self.ask(session, message, outputs) };
        let Some(session) = session else {
            return match method {
                Method::Login => self.log_in(connection, message, outputs),
                Method::Resume => self.resume(connection, message, outputs),
                open => self.answer(open, connection, message, outputs),
            };
        };
        let open = self.sessions.get(session).expect("a connection's session exists");
        let user_partition = open.user_partition;
        match method.route(message, user_partition)? {
            Route::Here if matches!(method, Method::Login | Method::Resume) => {
                Err(Reason::AlreadyLoggedIn)
            }
            Route::Here if method == Method::Work => {
                self.start_work(session, message, outputs)?;
                self.answer(method, connection, message, outputs)
            }
            Route::Here if method == Method::Move => {
                self.take_move_message(session, message, outputs)
            }
            Route::Here => self.answer(method, connection, message, outputs),
            Route::EveryShard => self.start_rooms_page(session, message, outputs),
            Route::Partition(partition) => {
                let id =
                    if self.hearing.is_kept() { id_of(message, self.settings.seed) } else { None };
                if let Some(id) = id
                    && self.is_repeat(session, id)
                {
                    return Ok(());
                }
                let level = self.settings.ack_defaults.level_of(method, message)?;
                match method {
                    Method::Join | Method::RegisterWatcher => self.count_join(session)?,
                    Method::Watch => self.count_watch(session)?,
                    _ => {}
                }
                if let Some(id) = id {
                    let open = self.sessions.get_mut(session).expect("it was there");
                    open.requests.asked(id, open.connection_number);
                }
                self.post_request(session, (partition, level), message, outputs);
                Ok(())
            }
        }
    }

    /// A request of a method that the server does not do itself: other code does, inline or as a worker.
    fn ask(
        &mut self,
        session: Option<SessionId>,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let session = session.ok_or(Reason::NotLoggedIn)?;
        let level = AckDefaults::level_of_task(message)?;
        let target = target_of_task(message)?;
        let id = if self.hearing.is_kept() { id_of(message, self.settings.seed) } else { None };
        if let Some(id) = id
            && self.is_repeat(session, id)
        {
            return Ok(());
        }
        let open = self.sessions.get_mut(session).expect("who asks is there");
        let partition = target.map_or(open.user_partition, ObjectId::partition);
        if let Some(id) = id {
            open.requests.asked(id, open.connection_number);
        }
        let origin = self.origin(session);
        self.count_unanswered(origin.connection);
        let kind = EventKind::Task { level };
        self.post_event(partition, kind, origin, message.as_bytes(), outputs);
        Ok(())
    }

    pub(super) fn subject(&self, session: Option<SessionId>) -> Subject<'_> {
        let open = session.and_then(|session| self.sessions.get(session));
        open.map_or(Subject::STRANGER, |open| Subject {
            user: &open.user,
            session,
            roles: open.roles,
        })
    }

    /// One more join is under way, if the session may be in one more room.
    fn count_join(&mut self, session: SessionId) -> Result<(), Reason> {
        let most = self.settings.limits.rooms_per_session_max;
        let open = self.sessions.get_mut(session).expect("a connection's session exists");
        if open.rooms.len() + open.joins_pending >= most {
            return Err(Reason::TooManyRooms);
        }
        open.joins_pending += 1;
        Ok(())
    }

    fn origin(&self, session: SessionId) -> Origin {
        let connection = self.hearing.connection(session).expect("who asks has a connection");
        let traits = self.connections.get(connection).map(|known| known.traits);
        let echoes_request = traits.is_some_and(|traits| traits.echoes_request);
        Origin { session, connection, echoes_request }
    }

    fn post_request(
        &mut self,
        session: SessionId,
        (partition, level): (PartitionId, AckLevel),
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) {
        let origin = self.origin(session);
        self.count_unanswered(origin.connection);
        self.post_event(
            partition,
            EventKind::Request { level },
            origin,
            message.as_bytes(),
            outputs,
        );
    }

    fn count_unanswered(&mut self, connection: ConnectionId) {
        // A session's first room may be asked for when its connection is on its way out.
        if let Some(known) = self.connections.get_mut(connection) {
            known.unanswered += 1;
        }
    }

    /// Sends an event of a session to the owner of its partition: the one hop.
    pub(super) fn post_event(
        &mut self,
        partition: PartitionId,
        kind: EventKind,
        origin: Origin,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let session = self.sessions.get(origin.session).expect("the session exists");
        let header = EventHeader {
            partition,
            epoch: self.settings.routing.epoch_of(partition.group()),
            kind,
            origin,
            user_partition: session.user_partition,
            login: session.login,
            roles: session.roles,
        };
        let to = self.settings.routing.shard_of(partition);
        let batch = &mut outputs.mesh[to.index()];
        let user = batch.push_bytes(session.user.as_bytes());
        let message = batch.push_bytes(message);
        self.post(to, outputs, MeshMessage::Event { header, user, message });
    }

    /// `login`: asks the partition of the user's name. The session is there from now on, and opens
    /// when the partition agrees.
    fn log_in(
        &mut self,
        connection: ConnectionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        if self.settings.authentication.checks_ticket(message) {
            if self.tickets_left == 0 {
                return self.let_wait(connection, message);
            }
            self.tickets_left -= 1;
        }
        self.count_login(connection, outputs);
        let ShardSettings { authentication, policy, .. } = &self.settings;
        let Identity { user, roles, room } =
            authentication.identify(message, policy, self.now.wall_ms)?;
        let user_partition = PartitionId::of_name(&user);
        let session = self.sessions.insert(Session::logging_in(user, roles, room));
        self.hearing.begin(session, connection);
        let known = self.connections.get_mut(connection).expect("the connection sent a message");
        known.session = Some(session);
        self.post_request(session, (user_partition, AckLevel::Applied), message, outputs);
        Ok(())
    }

    /// The login waits for a later turn, and what follows on its connection waits behind it.
    fn let_wait(&mut self, connection: ConnectionId, login: Message<'_>) -> Result<(), Reason> {
        let mut parked = Parked::default();
        if !parked.push(login, self.settings.limits.parked_bytes_max) {
            return Err(Reason::Busy);
        }
        let known = self.connections.get_mut(connection).expect("the connection sent a message");
        known.waiting = Some(self.waiting_logins.insert(connection, parked));
        Ok(())
    }

    /// Takes up logins that have waited, as many as this turn may check.
    pub(super) fn run_waiting_logins(&mut self, outputs: &mut ShardOutputs) {
        while self.tickets_left > 0
            && let Some((connection, parked)) = self.waiting_logins.take_first()
        {
            let known = self.connections.get_mut(connection).expect("who is closed does not wait");
            known.waiting = None;
            for message in parked.messages() {
                self.request(connection, message, outputs);
            }
            self.close_if_answered(connection, outputs);
        }
    }

    /// A stranger's `login` or `resume` was refused. Who goes on trying is closed: it takes time to
    /// look at each.
    fn count_refused_login(
        &mut self,
        connection: ConnectionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        // Trying again is what it asks for.
        if reason == Reason::Busy {
            return;
        }
        let Some(known) = self.connections.get_mut(connection) else { return };
        known.refused_logins += 1;
        if known.refused_logins >= REFUSED_LOGINS_MAX {
            self.close(connection, reason, outputs);
        }
    }

    /// Answers what needs no partition.
    fn answer(
        &mut self,
        method: Method,
        connection: ConnectionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let mut effects = core::mem::take(&mut self.effects);
        effects.start(message.method());
        let result = match method {
            Method::Hello => check_version(message).map(|()| {
                effects.reply(|reply| {
                    reply.field("server", Value::Text(SERVER_NAME));
                    reply.field("protocol", Value::Integer(PROTOCOL_VERSION));
                    let frame_bytes_max = self.settings.frame_bytes_max as i64;
                    reply.field("frame_bytes_max", Value::Integer(frame_bytes_max));
                    let heartbeat_ms = self.settings.heartbeat_ms as i64;
                    reply.field("heartbeat_ms", Value::Integer(heartbeat_ms));
                    let grace_ms = (self.settings.limits.session_grace_ns / 1_000_000) as i64;
                    reply.field("resume_grace_ms", Value::Integer(grace_ms));
                    for (name, value) in [
                        ("messages_per_s", self.settings.messages_per_s),
                        ("bytes_per_s", self.settings.bytes_per_s),
                        ("login_ms", self.settings.login_ms),
                    ] {
                        reply.field(name, Value::Integer(value as i64));
                    }
                });
            }),
            Method::Ping | Method::Time => {
                let time_ms = self.now.wall_ms as i64;
                effects.reply(|reply| reply.field("time_ms", Value::Integer(time_ms)));
                if method == Method::Ping { self.note_heard(connection, message) } else { Ok(()) }
            }
            Method::Quit | Method::Work => Ok(()),
            _ => panic!("{method:?} is answered by a partition"),
        };
        if result.is_ok() {
            let echoes = self.connections.get(connection).is_some_and(|c| c.traits.echoes_request);
            let start = outputs.bytes.len();
            write_reply(&mut outputs.bytes, message, echoes, effects.reply_message());
            self.send_answer(connection, start, outputs);
        }
        self.effects = effects;
        if method == Method::Quit {
            self.close_for_good(connection, Reason::Quit, outputs);
        }
        result
    }

    /// `ping` may say how many messages the client has heard.
    fn note_heard(&mut self, connection: ConnectionId, message: Message<'_>) -> Result<(), Reason> {
        let Some(count) = message.get("received") else { return Ok(()) };
        let count = count.as_integer().and_then(|count| u64::try_from(count).ok());
        let count = count.ok_or(Reason::FieldInvalid)?;
        let session = self.connections.get(connection).and_then(|known| known.session);
        match session.filter(|_| self.hearing.is_kept()) {
            Some(session) => self.hearing.missed_count(session, count).map(drop),
            None => Ok(()),
        }
    }

    /// Answers a message that goes no further.
    pub(super) fn refuse(
        &mut self,
        connection: ConnectionId,
        message: Message<'_>,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        self.counters.refusals[reason as usize] += 1;
        let Some(known) = self.connections.get(connection) else { return };
        let (traits, limit) = (known.traits, reason.limit_of(self.is_worker(known.session)));
        let start = outputs.bytes.len();
        write_refusal(&mut outputs.bytes, message, traits.echoes_request, (reason, limit));
        self.send_answer(connection, start, outputs);
        if reason == Reason::UnknownMethod && traits.closes_on_unknown_method {
            self.close_for_good(connection, reason, outputs);
        }
    }

    /// Whether the session has the role of workers, for whom limits of their own hold.
    pub(super) fn is_worker(&self, session: Option<SessionId>) -> bool {
        self.subject(session).roles.meets(Roles::WORKER)
    }

    /// Tells the gateway to close the connection, and ends its session.
    fn close_for_good(
        &mut self,
        connection: ConnectionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        match self.connections.get(connection).and_then(|known| known.session) {
            Some(session) => self.close_session(session, reason, outputs),
            None => self.close(connection, reason, outputs),
        }
    }

    /// Tells the gateway to close the connection. Its session is detached when the gateway says
    /// that the connection is gone, as it does whoever closed it.
    pub(super) fn close(
        &mut self,
        connection: ConnectionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        let Some(known) = self.connections.get_mut(connection) else { return };
        known.is_closing = true;
        if let Some(place) = known.waiting.take() {
            self.waiting_logins.remove(place);
        }
        outputs.list.push(ShardOutput::Close { connection, reason });
    }

    /// The client has said all it will say: it hears the answers, and then the end.
    pub(super) fn connection_ended(
        &mut self,
        connection: ConnectionId,
        outputs: &mut ShardOutputs,
    ) {
        if let Some(known) = self.connections.get_mut(connection) {
            known.has_ended = true;
            self.close_if_answered(connection, outputs);
        }
    }

    /// Closes a connection that has ended, when nothing is under way for it any more.
    pub(super) fn close_if_answered(
        &mut self,
        connection: ConnectionId,
        outputs: &mut ShardOutputs,
    ) {
        let Some(known) = self.connections.get(connection) else { return };
        // One that goes to another shard is closed there.
        let is_awaited = known.unanswered > 0 || known.waiting.is_some();
        if !known.has_ended || is_awaited || known.moving_to.is_some() {
            return;
        }
        let session = known.session.and_then(|session| self.sessions.get(session));
        if session.is_none_or(Session::is_open) {
            self.close(connection, Reason::PeerClosed, outputs);
        }
    }

    /// The partition agreed: the session is open, and what waited for that goes on.
    pub(super) fn session_opened(&mut self, session: SessionId, outputs: &mut ShardOutputs) {
        let open = self.sessions.get_mut(session).expect("the session is there");
        let phase = core::mem::replace(&mut open.phase, Phase::Open);
        let room = open.first_room.take();
        let connection = self.hearing.connection(session).expect("it would be gone with it");
        if self.connections.get(connection).is_some() {
            let is_worker = self.is_worker(Some(session));
            outputs.list.push(ShardOutput::Admit { connection, is_worker });
        }
        if let Some(room) = room {
            let mut bytes = Vec::new();
            MessageBuilder::new(&mut bytes, "join").field("room", Value::Text(&room));
            self.request(connection, Message::from_checked(&bytes), outputs);
        }
        self.unpark(connection, phase, outputs);
        self.close_if_answered(connection, outputs);
    }

    /// The partition refused: there is no session, and what waited hears so.
    pub(super) fn session_refused(
        &mut self,
        session: SessionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        let Some(refused) = self.sessions.remove(session) else { return };
        let connection = self.hearing.end(session).expect("it would be gone with it");
        self.connections.unlink(connection);
        self.count_refused_login(connection, reason, outputs);
        self.unpark(connection, refused.phase, outputs);
        self.close_if_answered(connection, outputs);
    }

    fn unpark(&mut self, connection: ConnectionId, phase: Phase, outputs: &mut ShardOutputs) {
        let Phase::LoggingIn { parked } = phase else { panic!("a session opens once") };
        for message in parked.messages() {
            self.request(connection, message, outputs);
        }
    }

    /// `rooms`: the request goes round all shards, beginning here, and gathers names.
    fn start_rooms_page(
        &mut self,
        session: SessionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        page_count(message)?;
        page_after(message)?;
        let origin = self.origin(session);
        let roles = self.subject(Some(session)).roles;
        let shards_left = self.settings.routing.shard_count() - 1;
        self.count_unanswered(origin.connection);
        self.post_rooms_page(self.id(), (origin, roles), shards_left, message, &[], outputs);
        Ok(())
    }

    pub(super) fn post_rooms_page(
        &mut self,
        to: ShardId,
        (origin, roles): (Origin, Roles),
        shards_left: u16,
        request: Message<'_>,
        names: &[&str],
        outputs: &mut ShardOutputs,
    ) {
        let batch = &mut outputs.mesh[to.index()];
        let request = batch.push_bytes(request.as_bytes());
        let start = batch.bytes.len();
        MessageBuilder::new(&mut batch.bytes, "rooms").list("rooms", names.iter().copied());
        let gathered = Span::since(start, &batch.bytes);
        let page = MeshMessage::RoomsPage { origin, roles, shards_left, request, gathered };
        self.post(to, outputs, page);
    }
}

fn check_version(message: Message<'_>) -> Result<(), Reason> {
    match message.get("protocol") {
        None => Ok(()),
        Some(version) => match version.as_integer() {
            Some(PROTOCOL_VERSION) => Ok(()),
            Some(_) => Err(Reason::VersionUnsupported),
            None => Err(Reason::FieldInvalid),
        },
    }
}
