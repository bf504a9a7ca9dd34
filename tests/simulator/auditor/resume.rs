//! Conversations that are cut and go on over another line. What is heard over all lines is judged
//! as if there had been one: here is who may go on, with which token, and when not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use warren_core::limits::REFUSED_LOGINS_MAX;
use warren_core::message::{Message, Value, packed};
use warren_core::reason::Reason;
use warren_core::turn::ConnectionTraits;

use super::{Auditor, Pending, integer_of, text_of};
use crate::prng::Prng;

/// No message of the workload has more bytes.
const MESSAGE_BYTES_MAX: u64 = 2048;
/// Requests since the oldest without a reply, beyond which a client waits: the server remembers 64.
const REQUESTS_OPEN_MAX: u64 = 48;
/// A request that is so much older than the latest is asked no second time on purpose.
const REPEATED_AGE_MAX: u64 = 40;
/// What is added to a count that is wrong on purpose.
const COUNT_SURPLUS: i64 = 1 << 40;

/// A try to go on.
#[derive(Debug)]
struct Attempt {
    id: i64,
    token: String,
    is_count_right: bool,
}

/// A request that was granted, and the line on which that was heard.
#[derive(Debug)]
struct Answered {
    line: Option<usize>,
    /// It was among what had been missed.
    is_told_again: bool,
    ordinal: u64,
    request: Vec<u8>,
}

/// What ties a conversation's lines together.
#[derive(Debug, Default)]
pub(crate) struct Bond {
    /// Its present line; none when it is cut.
    pub(super) line: Option<usize>,
    /// The client knows that the line has its session.
    pub(crate) is_attached: bool,
    /// Lines that the shard has not been told to be gone.
    open_lines: BTreeSet<usize>,
    last_gone_ns: u64,
    /// Since when the session may have had no connection, and how many the shard had sent away.
    detached: Option<(u64, u64)>,
    /// Counted messages that it heard.
    heard_count: i64,
    /// Messages of which it was told that they follow.
    replays_left: i64,
    /// What it hears just now is one of them.
    hears_again: bool,
    token: String,
    /// What it showed for that one.
    token_before: Option<String>,
    attempt: Option<Attempt>,
    /// The token before the latest is to be tried next.
    tries_before: bool,
    /// A line that it has given up may take the session.
    has_rival: bool,
    /// It said more than `resume` before it heard of the next token.
    may_be_locked_out: bool,
    /// It said something that ends its session.
    has_ended_itself: bool,
    /// How often its line was refused a login or a resume, and why the last time.
    refused_logins: (u8, Option<Reason>),
    /// Requests that it made.
    request_count: u64,
    answered: VecDeque<Answered>,
    /// Requests of `rooms` that may be answered once more, and how often.
    rerun: BTreeMap<i64, u32>,
}

/// The server's side of the count is told in docs/protocol.md: all but what is of a connection.
fn is_counted(method: &str) -> bool {
    !matches!(method, "hello" | "login" | "resume" | "ping" | "pong" | "error" | "closed")
}

impl Bond {
    /// Whether a line that the client has given up may take the session.
    pub(super) fn has_rival(&self) -> bool {
        self.has_rival
    }

    /// Nobody is refused once more than closes the line. Trying again when it is `busy` is no fault,
    /// what came over the rate was not looked at, and who is logged in does no harm.
    pub(super) fn count_refused_login(&mut self, reason: Reason) {
        if !matches!(reason, Reason::Busy | Reason::MessageRate | Reason::AlreadyLoggedIn) {
            self.refused_logins = (self.refused_logins.0 + 1, Some(reason));
            assert!(self.refused_logins.0 <= REFUSED_LOGINS_MAX);
        }
    }

    /// Whether the line was refused so often that it is closed, with the last of the reasons.
    pub(super) fn is_refused_for_good(&self, reason: Reason) -> bool {
        self.refused_logins == (REFUSED_LOGINS_MAX, Some(reason))
    }
}

impl Auditor {
    /// A client tries to go on with a conversation over a new line.
    pub(crate) fn reconnected(
        &mut self,
        conversation: usize,
        line: usize,
        shard: usize,
        traits: ConnectionTraits,
    ) {
        let view = &mut self.views[conversation];
        assert!(view.bond.line.is_none(), "a conversation has one line at a time");
        view.bond.line = Some(line);
        view.seen.clear();
        view.bond.open_lines.insert(line);
        view.bond.refused_logins = (0, None);
        (view.shard, view.traits) = (shard, traits);
    }

    /// A line has gone to another shard.
    pub(crate) fn moved(&mut self, conversation: usize, line: usize, shard: usize) {
        let view = &mut self.views[conversation];
        if view.bond.line == Some(line) {
            view.shard = shard;
            view.bond.refused_logins = (0, None);
        }
        self.reach("line", "moved");
    }

    /// A shard was told that a line is gone.
    pub(crate) fn gone(&mut self, conversation: usize, line: usize, shard: usize) {
        let view = &mut self.views[conversation];
        // The line may have broken on another shard than the session's, before it could move.
        let home = view.session.map_or(shard, |session| (session >> 48) as usize);
        let (now_ns, evictions) = (self.now_ns, self.evictions[home]);
        let bond = &mut view.bond;
        bond.open_lines.remove(&line);
        bond.last_gone_ns = now_ns;
        bond.detached.get_or_insert((now_ns, evictions));
    }

    /// The line broke, or its client went: it hears nothing more on it.
    pub(crate) fn cut(&mut self, conversation: usize) {
        let has_grace = self.limits.session_grace_ns > 0;
        let view = &mut self.views[conversation];
        view.bond.line = None;
        view.bond.is_attached = false;
        view.bond.replays_left = 0;
        if let Some(attempt) = view.bond.attempt.take() {
            view.pending.remove(&attempt.id);
            view.bond.has_rival = true;
        }
        if !has_grace || view.session.is_none() || view.has_quit {
            self.end(conversation);
        }
    }

    /// The line of a conversation that is not cut.
    pub(crate) fn line_of(&self, conversation: usize) -> Option<usize> {
        self.views[conversation].bond.line
    }

    /// Whether the conversation could go on over another line.
    pub(crate) fn is_cut(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        !view.is_over && view.bond.line.is_none()
    }

    /// Whether it has a line, without its session, and nothing under way to get it.
    pub(crate) fn wants_resume(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        let bond = &view.bond;
        let is_idle = bond.line.is_some() && !bond.is_attached && bond.attempt.is_none();
        !view.is_over && view.session.is_some() && is_idle
    }

    /// Whether its `resume` is under way.
    pub(crate) fn is_resuming(&self, conversation: usize) -> bool {
        self.views[conversation].bond.attempt.is_some()
    }

    /// Whether the client asks no more until it is answered.
    pub(crate) fn is_patient(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        let oldest = view.pending.values().next().map_or(u64::MAX, |pending| pending.ordinal);
        view.bond.request_count.saturating_sub(oldest) >= REQUESTS_OPEN_MAX
    }

    /// The `resume` of a client that goes on. A wrong count is refused, and does no harm.
    pub(crate) fn draft_resume(
        &mut self,
        conversation: usize,
        id: i64,
        is_count_right: bool,
    ) -> Vec<u8> {
        let view = &mut self.views[conversation];
        let bond = &mut view.bond;
        let before = bond.token_before.clone().filter(|_| std::mem::take(&mut bond.tries_before));
        let token = before.unwrap_or_else(|| bond.token.clone());
        let surplus = if is_count_right { 0 } else { COUNT_SURPLUS };
        let session = format!("{:016x}", view.session.expect("who goes on has a session"));
        let bytes = packed(
            "resume",
            &[
                ("id", Value::Integer(id)),
                ("session", Value::Text(&session)),
                ("token", Value::Text(&token)),
                ("received", Value::Integer(bond.heard_count + surplus)),
            ],
        );
        bond.attempt = Some(Attempt { id, token, is_count_right });
        bytes
    }

    /// A `resume` with a token that is not the session's, or not any more.
    pub(crate) fn draft_theft(&self, id: i64, prng: &mut Prng) -> Option<Vec<u8>> {
        let (session, token) = if !self.loot.is_empty() && prng.chance(60) {
            prng.pick(&self.loot).clone()
        } else {
            let owner = &self.views[prng.index(self.views.len())];
            let other = &self.views[prng.index(self.views.len())];
            let random = format!("{:016x}{:016x}", prng.next(), prng.next());
            let is_foreign = other.session != owner.session && !other.bond.token.is_empty();
            let token = if is_foreign { other.bond.token.clone() } else { random };
            (owner.session?, token)
        };
        let session = format!("{session:016x}");
        let fields = [
            ("id", Value::Integer(id)),
            ("session", Value::Text(&session)),
            ("token", Value::Text(&token)),
            ("received", Value::Integer(prng.below(4) as i64)),
        ];
        Some(packed("resume", &fields))
    }

    /// The client heard that it is logged in, with its first token.
    pub(super) fn attach_first(&mut self, conversation: usize, reply: Message<'_>) {
        let bond = &mut self.views[conversation].bond;
        bond.is_attached = true;
        bond.heard_count = 0;
        bond.detached = None;
        bond.token = token_of(reply);
    }

    /// Counts what the client hears.
    pub(super) fn count(&mut self, conversation: usize, message: Message<'_>) {
        let bond = &mut self.views[conversation].bond;
        if bond.is_attached && is_counted(message.method()) {
            bond.heard_count += 1;
            bond.hears_again = bond.replays_left > 0;
            bond.replays_left -= i64::from(bond.hears_again);
        }
    }

    /// Notes what a request may do to its session.
    pub(super) fn asks(&mut self, conversation: usize, id: i64, method: &str) -> u64 {
        let view = &mut self.views[conversation];
        let is_strict = view.traits.closes_on_unknown_method;
        let bond = &mut view.bond;
        // Somebody else's session, asked for behind its own, is more than `resume` too.
        bond.may_be_locked_out |= bond.attempt.as_ref().is_some_and(|attempt| attempt.id != id);
        bond.has_ended_itself |= method == "quit" || (method == "dance" && is_strict);
        bond.request_count += 1;
        bond.request_count
    }

    /// A reply to something that was first said on this line: the server knows that the client
    /// has its latest token.
    pub(super) fn confirm(&mut self, conversation: usize, pending: &Pending) {
        let view = &mut self.views[conversation];
        let bond = &mut view.bond;
        if !bond.is_attached || pending.line != bond.line || pending.is_resent {
            return;
        }
        bond.has_rival = false;
        bond.may_be_locked_out = false;
        if let (Some(before), Some(session)) = (bond.token_before.take(), view.session) {
            self.loot.push((session, before));
        }
    }

    /// Remembers a granted request, to ask it again some time.
    pub(super) fn remember(&mut self, conversation: usize, pending: &Pending) {
        let method = Message::from_checked(&pending.bytes).method();
        let is_here =
            matches!(method, "hello" | "ping" | "time" | "quit" | "login" | "resume" | "work");
        if is_here || method == "rooms" || self.limits.session_grace_ns == 0 {
            return;
        }
        let bond = &mut self.views[conversation].bond;
        bond.answered.push_back(Answered {
            line: bond.line,
            is_told_again: bond.hears_again,
            ordinal: pending.ordinal,
            request: pending.bytes.clone(),
        });
        if bond.answered.len() > 8 {
            bond.answered.pop_front();
        }
    }

    /// A reply to what the client does not wait for: it asked twice.
    pub(super) fn told_again(&mut self, conversation: usize, id: i64, reply: Message<'_>) {
        let bond = &mut self.views[conversation].bond;
        if let Some(left) = bond.rerun.get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        panic!("client {conversation} has no open request: {reply:?}");
    }

    /// Everything that a client says again when it goes on: what has no reply, and sometimes what
    /// has been told again just now, as if it had been said before that was heard.
    pub(crate) fn take_resent(&mut self, conversation: usize, prng: &mut Prng) -> Vec<Vec<u8>> {
        let view = &mut self.views[conversation];
        if !view.bond.is_attached {
            return vec![];
        }
        assert!(view.bond.replays_left == 0, "not all that was missed followed at once");
        let mut resent = vec![];
        for (id, pending) in &mut view.pending {
            pending.is_resent |= pending.line != view.bond.line;
            if !pending.is_resent {
                // It was sent behind the `resume`.
                continue;
            }
            pending.echoes &= view.traits.echoes_request;
            match Message::from_checked(&pending.bytes).method() {
                "rooms" => *view.bond.rerun.entry(*id).or_default() += 1,
                // The line on which it is said again may be a strict one.
                "dance" => view.bond.has_ended_itself |= view.traits.closes_on_unknown_method,
                _ => {}
            }
            resent.push(pending.bytes.clone());
        }
        let bond = &mut view.bond;
        let is_young = |answered: &&Answered| {
            let age = bond.request_count.saturating_sub(answered.ordinal);
            let is_new = answered.is_told_again && answered.line == bond.line;
            is_new && age < REPEATED_AGE_MAX
        };
        if let Some(answered) = bond.answered.iter().rev().find(is_young)
            && prng.chance(40)
        {
            resent.push(answered.request.clone());
            self.reach("repeat", "said-again");
        }
        resent
    }

    /// The session goes on, on the client's present line.
    pub(super) fn resumed(&mut self, conversation: usize, id: i64, reply: Message<'_>) {
        let (now_ns, grace_ns) = (self.now_ns, self.limits.session_grace_ns);
        let view = &mut self.views[conversation];
        let session = view.session.expect("who goes on has a session");
        assert!(session >> 48 == view.shard as u64, "a session is resumed where it is");
        let bond = &mut view.bond;
        let attempt = bond.attempt.take().filter(|attempt| attempt.id == id);
        let attempt = attempt.unwrap_or_else(|| panic!("client {conversation} did not resume"));
        assert!(attempt.is_count_right, "client {conversation} heard less than it says");
        let is_alone = bond.open_lines.iter().all(|line| Some(*line) == bond.line);
        let is_late = is_alone && bond.last_gone_ns + grace_ns <= now_ns;
        assert!(!is_late, "client {conversation} resumed when its grace time was over");
        bond.replays_left = integer_of(reply, "replayed").expect("a resume says what follows");
        let most = self.limits.replay_messages_max as i64;
        assert!((0..=most).contains(&bond.replays_left), "{reply:?}");
        let token = std::mem::replace(&mut bond.token, token_of(reply));
        assert!(bond.token != token && bond.token != attempt.token, "a token is for one use");
        let before = bond.token_before.replace(attempt.token.clone());
        let is_void = |token: &String| *token != attempt.token;
        let void = [Some(token), before].into_iter().flatten().filter(is_void);
        self.loot.extend(void.map(|token| (session, token)));
        // A line that was given up may have taken the session in this very turn, and have gone.
        let is_rival_gone = bond.last_gone_ns == now_ns;
        let detached = bond.detached.take().filter(|_| is_rival_gone);
        bond.detached = detached.map(|(_, evictions)| (now_ns, evictions));
        bond.is_attached = true;
        let has_missed = bond.replays_left > 0;
        self.resumed_now.push(conversation);
        if has_missed {
            self.reach("resume", "replayed");
        }
    }

    /// The server refuses to go on: it has to be right.
    pub(super) fn resume_refused(&mut self, conversation: usize, id: i64, reason: Reason) {
        let bond = &mut self.views[conversation].bond;
        let attempt = bond.attempt.take_if(|attempt| attempt.id == id);
        let Some(attempt) = attempt else {
            // A thief, or someone who has a session already.
            let is_attached = self.views[conversation].bond.is_attached;
            let is_just = match reason {
                Reason::Busy | Reason::MessageRate => true,
                Reason::AlreadyLoggedIn => is_attached,
                Reason::SessionUnknown => !is_attached,
                _ => false,
            };
            assert!(is_just, "a thief, client {conversation}, was refused with {reason:?}");
            self.reach("theft", reason.word());
            return;
        };
        match reason {
            Reason::Busy | Reason::MessageRate => {}
            Reason::FieldInvalid => {
                assert!(!attempt.is_count_right, "client {conversation} counts what it hears");
            }
            Reason::ResumeTooOld => {
                let missed_max = self.missed_max(conversation);
                let is_just = missed_max > self.limits.replay_messages_max as u64
                    || missed_max * MESSAGE_BYTES_MAX > self.limits.resume_bytes_max as u64
                    || !self.are_logs_roomy
                    || self.is_some_unkept;
                assert!(is_just, "client {conversation} missed {missed_max} messages at most");
                self.end(conversation);
            }
            Reason::SessionUnknown => {
                let is_latest = attempt.token == bond.token;
                if is_latest && bond.has_rival && bond.token_before.is_some() {
                    bond.tries_before = true;
                    return;
                }
                let is_just = self.may_have_ended(conversation);
                assert!(is_just, "client {conversation} is locked out of its session");
                self.end(conversation);
            }
            _ => panic!("client {conversation} cannot go on: {reason:?}"),
        }
    }

    fn may_have_ended(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        let (bond, session) = (&view.bond, view.session.expect("who goes on has a session"));
        let user = view.user.as_deref().expect("who goes on is a user");
        let is_here = self.oracle.session_of(user) == Some(session);
        let evictions = self.evictions[(session >> 48) as usize];
        let is_over = |(since_ns, evicted)| {
            since_ns + self.limits.session_grace_ns <= self.now_ns || evictions > evicted
        };
        let has_ended = self.is_superseded(conversation) || bond.has_ended_itself || !is_here;
        has_ended || bond.may_be_locked_out || bond.detached.is_some_and(is_over)
    }

    /// The most that the client can have missed, by all that is true.
    fn missed_max(&self, conversation: usize) -> u64 {
        let view = &self.views[conversation];
        let session = view.session.expect("who goes on has a session");
        let stays =
            view.stays.values().map(|stay| self.oracle.numbered_in(stay.stay, stay.next_sequence));
        let watches = view.watches.iter();
        let watches = watches.map(|(object, heard)| self.oracle.versions_after(*object, *heard));
        let user = view.user.as_deref();
        let is_for_user = |(_, to, heard): &(_, &str, u32)| Some(*to) == user && *heard == 0;
        let talk = self.utterances.iter();
        let talk = talk.map(|(id, said)| (id, said.to.as_str(), said.heard_directly));
        let rerun: u32 = view.bond.rerun.values().sum();
        let replies = view.pending.len() + rerun as usize + 1;
        let unclaimed = self.oracle.unclaimed_by(session);
        let heard: u64 = stays.chain(watches).sum();
        let tasks = self.oracle.lease_count - self.tasks.told_count();
        heard + unclaimed + tasks + (talk.filter(is_for_user).count() + replies) as u64
    }
}

fn token_of(reply: Message<'_>) -> String {
    let token = text_of(reply, "token").expect("a session has a token");
    assert!(token.len() == 32, "{reply:?}");
    token.to_owned()
}
