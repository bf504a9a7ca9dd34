//! Sessions beside their connections: what they are told, how they outlive a connection, and how
//! they are resumed on another.

use super::Shard;
use super::reply::write_reply;
use crate::hearing::is_counted;
use crate::ids::{ConnectionId, SessionId, ShardId};
use crate::limits::TURN_OUTPUT_BYTES_MAX;
use crate::mesh::{EventKind, Origin};
use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;
use crate::remembered::id_of;
use crate::replay_log::ReplayLog;
use crate::token::{TOKEN_DIGITS, Token};
use crate::turn::{ShardOutput, ShardOutputs, Span};

/// The connection of an origin that is a session without one.
pub(super) const NO_CONNECTION: ConnectionId = ConnectionId { index: u32::MAX, generation: 0 };

impl Shard {
    /// Keeps a message that one session alone is about to be told, if its share of the log has room
    /// for it: who asks for much must not take from the others what they missed.
    fn keep_alone(&mut self, session: SessionId, message: &[u8]) -> Option<u64> {
        if !self.hearing.is_kept() {
            return None;
        }
        let told = self.sessions.get_mut(session).expect("who is told is there");
        let (rate, bytes) =
            (self.settings.limits.replay_alone, ReplayLog::bytes_of(message) as u64);
        if !told.kept_alone.take(rate, bytes, self.now.monotonic_ns) {
            self.counters.messages_unkept += 1;
            return None;
        }
        self.hearing.keep(message)
    }

    /// Tells an open session a message, now or when it is resumed. Returns where the message is
    /// kept, if it is.
    pub(super) fn tell(
        &mut self,
        session: SessionId,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) -> Option<u64> {
        let position = self.keep_alone(session, message);
        if let Some(connection) = self.hearing.tell(session, position) {
            self.send(connection, message, outputs);
        }
        position
    }

    /// Tells an open session what someone else sent it.
    pub(super) fn tell_alone(
        &mut self,
        session: SessionId,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        self.counters.deliveries += u64::from(self.hearing.connection(session).is_some());
        self.tell(session, message, outputs);
    }

    /// Sends the message that stands in the outputs' bytes from `start` on as an answer to a
    /// request that came on this connection.
    pub(super) fn send_answer(
        &mut self,
        connection: ConnectionId,
        start: usize,
        outputs: &mut ShardOutputs,
    ) {
        let message = Span::since(start, &outputs.bytes);
        let known = self.connections.get(connection).and_then(|known| known.session);
        let is_open =
            |session: &SessionId| self.sessions.get(*session).is_some_and(|s| s.is_open());
        if let Some(session) = known.filter(is_open)
            && is_counted(outputs.message(message).method())
        {
            let position = self.keep_alone(session, message.of(&outputs.bytes));
            self.hearing.tell(session, position);
        }
        outputs.list.push(ShardOutput::Send { connection, message });
    }

    /// The partition has answered the login: a session that comes to be gets its token.
    pub(super) fn send_login_reply(
        &mut self,
        origin: Origin,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        if self.connections.get(origin.connection).is_none() {
            return;
        }
        let start = outputs.bytes.len();
        outputs.bytes.extend_from_slice(message);
        if outputs.message(Span::since(start, &outputs.bytes)).get("status")
            == Some(Value::Integer(0))
        {
            let token = self.token_source.next();
            let session = self.sessions.get_mut(origin.session).expect("it logs in");
            session.tokens.begin(token);
            let mut digits = [0; TOKEN_DIGITS];
            let mut reply = MessageBuilder::resume(&mut outputs.bytes, start);
            reply.field("token", Value::Text(token.write(&mut digits)));
        }
        let message = Span::since(start, &outputs.bytes);
        outputs.list.push(ShardOutput::Send { connection: origin.connection, message });
    }

    /// A reply for an open session has come.
    pub(super) fn tell_reply(
        &mut self,
        session: SessionId,
        message: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let position = self.tell(session, message, outputs);
        if self.hearing.is_kept()
            && let Some(id) = id_of(Message::from_checked(message), self.settings.seed)
        {
            let open = self.sessions.get_mut(session).expect("it was told");
            open.requests.answered(id, position);
        }
    }

    /// Whether the request came before, on an earlier connection of the session: then it is not run
    /// again. Its reply is to come, or was told again when the session was resumed.
    pub(super) fn is_repeat(&mut self, session: SessionId, id: u64) -> bool {
        let open = self.sessions.get_mut(session).expect("a connection's session exists");
        let is_repeat = open.requests.take_repeat(id, open.connection_number);
        self.counters.requests_repeated += u64::from(is_repeat);
        is_repeat
    }

    /// `resume`: the session goes on where it stopped, on this connection. Nothing has changed when
    /// it is refused.
    pub(super) fn resume(
        &mut self,
        connection: ConnectionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let asked = self.parse_resume(connection, message);
        if let Ok((id, ..)) = asked
            && id.shard != self.id()
        {
            let known = self.connections.get_mut(connection).expect("it sent a message");
            known.moving_to = Some(id.shard);
            self.hand_over(connection, id.shard, message, None, outputs);
            return Ok(());
        }
        self.count_login(connection, outputs);
        let (id, token, heard_count) = asked?;
        let session = self.sessions.get(id).filter(|session| session.tokens.accept(token));
        let session = session.filter(|session| session.is_open() && self.hearing.is_kept());
        let session = session.ok_or(Reason::SessionUnknown)?;
        let is_overdue = |place| self.detached.is_overdue(place, self.now.monotonic_ns);
        if session.detached.is_some_and(is_overdue) {
            return Err(Reason::SessionUnknown);
        }
        // Thousands may come back at once, each with all that it missed.
        if outputs.size_bytes() > TURN_OUTPUT_BYTES_MAX {
            return Err(Reason::Busy);
        }
        let missed = self.hearing.missed(id, heard_count)?;
        self.attach(id, connection, outputs);
        let next = self.token_source.next();
        let log_end = self.hearing.log().end();
        let session = self.sessions.get_mut(id).expect("it was looked at before");
        session.tokens.rotate(token, next);
        session.requests.forget_heard(missed.first().copied().unwrap_or(log_end));
        self.send_resume_reply(connection, message, (next, missed.len()), outputs);
        for position in &missed {
            let start = outputs.bytes.len();
            let told = self.hearing.log().message_at(*position);
            outputs.bytes.extend_from_slice(told.expect("it was looked at before"));
            let message = Span::since(start, &outputs.bytes);
            outputs.list.push(ShardOutput::Send { connection, message });
        }
        self.counters.resumes += 1;
        self.counters.messages_replayed += missed.len() as u64;
        Ok(())
    }

    /// Which session, by which token, and how much of it the client has heard. The connection may go
    /// to the session's shard, if that is another.
    fn parse_resume(
        &self,
        connection: ConnectionId,
        message: Message<'_>,
    ) -> Result<(SessionId, Token, u64), Reason> {
        let field = |name: &str| message.get(name).ok_or(Reason::FieldMissing);
        let (id, token) = (field("session")?.as_text(), field("token")?.as_text());
        let heard_count = field("received")?.as_integer();
        let heard_count = heard_count.and_then(|count| u64::try_from(count).ok());
        let heard_count = heard_count.ok_or(Reason::FieldInvalid)?;
        let id = id.and_then(parse_session).ok_or(Reason::SessionUnknown)?;
        let token = token.and_then(Token::parse).ok_or(Reason::SessionUnknown)?;
        if id.shard != self.id() {
            let known = self.connections.get(connection).expect("it sent a message");
            // Once: a stranger who is sent to and fro takes everything behind along each time.
            let is_no_way = id.shard.0 >= self.settings.routing.shard_count();
            if is_no_way || known.traits.has_moved {
                return Err(Reason::SessionUnknown);
            }
        }
        Ok((id, token, heard_count))
    }

    fn send_resume_reply(
        &mut self,
        connection: ConnectionId,
        request: Message<'_>,
        (token, missed_count): (Token, usize),
        outputs: &mut ShardOutputs,
    ) {
        let session = self.connections.get(connection).and_then(|known| known.session);
        let is_worker = self.is_worker(session);
        let mut effects = core::mem::take(&mut self.effects);
        effects.start(request.method());
        effects.reply(|reply| {
            let mut digits = [0; TOKEN_DIGITS];
            reply.field("token", Value::Text(token.write(&mut digits)));
            reply.field("replayed", Value::Integer(missed_count as i64));
        });
        let echoes = self.connections.get(connection).is_some_and(|c| c.traits.echoes_request);
        let start = outputs.bytes.len();
        write_reply(&mut outputs.bytes, request, echoes, effects.reply_message());
        let message = Span::since(start, &outputs.bytes);
        outputs.list.push(ShardOutput::Admit { connection, is_worker });
        outputs.list.push(ShardOutput::Send { connection, message });
        self.effects = effects;
    }

    /// Gives a session a new connection. The one it had, which may look alive still, is closed.
    fn attach(&mut self, id: SessionId, connection: ConnectionId, outputs: &mut ShardOutputs) {
        if let Some(before) = self.hearing.set_connection(id, Some(connection)) {
            self.close(before, Reason::TakenOver, outputs);
            self.connections.unlink(before);
        }
        self.forget_listed();
        let session = self.sessions.get_mut(id).expect("only a session that is there is resumed");
        session.connection_number += 1;
        if let Some(place) = session.detached.take() {
            self.detached.remove(place);
        }
        let known = self.connections.get_mut(connection).expect("it sent a message");
        known.session = Some(id);
        self.miss_frames(id);
        self.ask_for_whole(id, outputs);
    }

    /// Passes on a message of a connection that goes to another shard, perhaps only to be refused
    /// there.
    pub(super) fn hand_over(
        &mut self,
        connection: ConnectionId,
        to: ShardId,
        message: Message<'_>,
        refused: Option<Reason>,
        outputs: &mut ShardOutputs,
    ) {
        let start = outputs.bytes.len();
        outputs.bytes.extend_from_slice(message.as_bytes());
        let message = Span::since(start, &outputs.bytes);
        outputs.list.push(ShardOutput::HandOver { connection, to, message, refused });
    }

    /// The connection is gone. Its session stays for the grace time.
    pub(super) fn connection_closed(
        &mut self,
        connection: ConnectionId,
        outputs: &mut ShardOutputs,
    ) {
        let closed = self.connections.close(connection);
        if let Some(place) = closed.waiting {
            self.waiting_logins.remove(place);
        }
        let Some(id) = closed.session else { return };
        self.end_work(id, outputs);
        let session = self.sessions.get(id).expect("a connection's session exists");
        if !session.is_open() {
            // It is in no room and watches nothing yet. Its end answers what the partition says.
            self.forget_session(id);
        } else if self.settings.limits.session_grace_ns == 0 || self.crowds.is_over {
            self.end_session(id, outputs);
        } else {
            self.detach(id, outputs);
        }
    }

    /// The client is at an address that is banned: neither connection nor session stay.
    pub(super) fn connection_banned(
        &mut self,
        connection: ConnectionId,
        outputs: &mut ShardOutputs,
    ) {
        let Some(known) = self.connections.get(connection) else { return };
        let session = known.session;
        self.close(connection, Reason::Banned, outputs);
        let Some(id) = session else { return };
        if self.sessions.get(id).expect("a connection's session exists").is_open() {
            self.end_session(id, outputs);
        } else {
            // Its end answers what the partition says.
            self.connections.unlink(connection);
            self.forget_session(id);
        }
    }

    /// The session has no connection any more. What it misses is kept for it; when there are too
    /// many like it, the oldest ends.
    fn detach(&mut self, id: SessionId, outputs: &mut ShardOutputs) {
        self.hearing.set_connection(id, None);
        self.miss_frames(id);
        self.forget_listed();
        while self.detached.len() >= self.settings.limits.detached_sessions_max
            && let Some((_, oldest)) = self.detached.first()
        {
            self.counters.detached_sessions_evicted += 1;
            self.end_session(oldest, outputs);
        }
        let due_ns = self.now.monotonic_ns + self.settings.limits.session_grace_ns;
        let place = self.detached.insert(due_ns, id);
        self.sessions.get_mut(id).expect("it was there").detached = Some(place);
    }

    /// Ends the sessions whose grace time is over. Thousands may have been cut together: the next
    /// turn goes on when these would be more events than a turn handles.
    pub(super) fn expire_sessions(&mut self, outputs: &mut ShardOutputs) {
        let mut ends_left = self.settings.limits.turn_events_max;
        while ends_left > 0
            && let Some(id) = self.detached.first_overdue(self.now.monotonic_ns)
        {
            let session = self.sessions.get(id).expect("it is detached");
            let end_count = session.rooms.len() + session.watches.len() + 1;
            ends_left = ends_left.saturating_sub(end_count);
            self.end_session(id, outputs);
        }
    }

    /// Closes the connection of a session, if it has one, and ends the session at once.
    pub(super) fn close_session(
        &mut self,
        id: SessionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        if let Some(connection) = self.hearing.connection(id) {
            self.close(connection, reason, outputs);
        }
        self.end_session(id, outputs);
    }

    /// The end of an open session: its user leaves every room, watches nothing and is absent.
    fn end_session(&mut self, id: SessionId, outputs: &mut ShardOutputs) {
        let connection = self.hearing.connection(id).unwrap_or(NO_CONNECTION);
        let origin = Origin { session: id, connection, echoes_request: false };
        let session = self.sessions.get_mut(id).expect("a session ends once");
        let user_partition = session.user_partition;
        for room in core::mem::take(&mut session.rooms) {
            assert!(self.relays.leave(room, id), "a session's rooms are relayed");
            let kind = EventKind::LeaveRoom { room };
            self.post_event(room.partition(), kind, origin, &[], outputs);
        }
        self.end_work(id, outputs);
        self.end_watches(origin, outputs);
        self.post_event(user_partition, EventKind::LogOut, origin, &[], outputs);
        self.forget_session(id);
    }

    /// The session is no more, and nobody but this shard has to hear of it.
    fn forget_session(&mut self, id: SessionId) {
        let session = self.sessions.remove(id).expect("a session ends once");
        if let Some(place) = session.detached {
            self.detached.remove(place);
        }
        if let Some(connection) = self.hearing.end(id) {
            self.connections.unlink(connection);
        }
        self.forget_listed();
    }

    /// Connections of sessions have changed: who hears what is listed anew.
    fn forget_listed(&mut self) {
        self.relays.forget_listed();
        self.watch_relays.forget_listed();
    }
}

/// The session that a client names: 16 lower-case hexadecimal digits, as it was told.
fn parse_session(text: &str) -> Option<SessionId> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 16 || !text.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(SessionId::from_bits)
}
