//! What each client must hear. Every request is answered once, with a status that a model allows;
//! every message in a room comes in its number's order, from the client's join to its leave, and
//! says the same to all; what was granted is heard, and what was refused is not.
//!
//! Files: `auditor/replies.rs` what a granted request promises, `auditor/refusals.rs` which
//! refusals are just, `auditor/talk.rs` what is heard, `auditor/objects.rs` what is heard of objects, `auditor/durable.rs` what is promised of them,
//! `auditor/worlds.rs` what is seen of worlds, `auditor/tasks.rs` what is promised of tasks, `auditor/resume.rs` how conversations that are cut go on, `auditor/rest.rs` what holds when all is
//! quiet.

use std::collections::{BTreeMap, BTreeSet};

use warren_core::limits::Limits;
use warren_core::message::{Message, Value};
use warren_core::reason::Reason;
use warren_core::turn::ConnectionTraits;

use crate::log::Synced;
use crate::oracle::Oracle;
use crate::workload::Draft;
pub(crate) use tasks::Lease;

use resume::Bond;

mod durable;
mod objects;
mod refusals;
mod replies;
mod rest;
mod resume;
mod talk;
mod tasks;
mod worlds;

/// What a client knows of a room in which it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StayView {
    pub(crate) stay: usize,
    /// The number after the last that it heard.
    pub(crate) next_sequence: Option<u64>,
    /// How many members it believes the room to have, by all that it was told.
    pub(crate) count: i64,
}

/// A request without an answer.
#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    is_malformed: bool,
    /// By which session the recipient was here when the request was made.
    recipient: Option<u64>,
    /// The line on which it was first sent, and which of the conversation's requests it is.
    line: Option<usize>,
    ordinal: u64,
    is_resent: bool,
    /// Every line on which it was sent wants requests repeated in replies.
    echoes: bool,
}

/// What a client knows, in one conversation: over one line, or several one after the other.
#[derive(Debug)]
pub(crate) struct View {
    shard: usize,
    traits: ConnectionTraits,
    pub(crate) has_sent_login: bool,
    user: Option<String>,
    session: Option<u64>,
    /// The rooms in which it is.
    pub(crate) stays: BTreeMap<String, StayView>,
    /// By world, the entities of which it knows, once it was told all.
    seen: BTreeMap<u64, BTreeSet<u16>>,
    /// The objects that it watches, each with the version of which it last heard.
    pub(crate) watches: BTreeMap<u64, u64>,
    /// By room and object, the last version of which the room heard.
    noticed: BTreeMap<(String, u64), u64>,
    pending: BTreeMap<i64, Pending>,
    /// Tasks of which it was told of late.
    pub(crate) leases: Vec<Lease>,
    /// The room that its login asked for and of which it has not heard.
    first_room: Option<String>,
    has_quit: bool,
    was_refused_unknown: bool,
    pub(crate) bond: Bond,
    /// Its connection is closed, by whichever side, and its session will not be resumed.
    pub(crate) is_over: bool,
}

impl View {
    /// The user as whom it is logged in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// What became of something that a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Refused,
    InRoom { room: u64, sequence: u64 },
    ToUser { recipient: Option<u64> },
}

/// Something that a client said.
#[derive(Debug)]
struct Utterance {
    speaker: usize,
    to: String,
    fate: Fate,
    heard_in_room: Option<(u64, u64)>,
    heard_directly: u32,
}

/// The judge of all that clients hear.
#[derive(Debug)]
pub(crate) struct Auditor {
    pub(crate) oracle: Oracle,
    limits: Limits,
    join_creates_rooms: bool,
    pub(crate) views: Vec<View>,
    /// By the id of the request.
    utterances: BTreeMap<i64, Utterance>,
    /// Conversation of each session.
    sessions: BTreeMap<u64, usize>,
    /// Stays that a connection's end cut short.
    cut_stays: Vec<StayView>,
    /// By object and version, whose change made it.
    changes: BTreeMap<(u64, u64), i64>,
    /// Tokens that open no session any more, each with the one that it opened.
    loot: Vec<(u64, String)>,
    /// Conversations that were resumed in this turn.
    pub(crate) resumed_now: Vec<usize>,
    pub(crate) now_ns: u64,
    tasks: tasks::Heard,
    /// What the logs have synced.
    pub(crate) synced: Synced,
    /// Versions of objects, of which some room heard before they were synced.
    early_notices: BTreeSet<(u64, u64)>,
    /// Methods that are durable unless a request says otherwise.
    durable_methods: Vec<&'static str>,
    /// By shard, how many sessions it has ended because too many were without connections.
    pub(crate) evictions: Vec<u64>,
    /// No shard has dropped anything from its log of what was told.
    pub(crate) are_logs_roomy: bool,
    /// A session had had its share of a log, and was told something that was not kept.
    pub(crate) is_some_unkept: bool,
    /// Methods with the words of their replies, `granted` or a reason: what was reached.
    pub(crate) reached: BTreeMap<(String, &'static str), u64>,
    /// Replies heard, for the report.
    pub(crate) reply_count: u64,
    /// Room and direct messages heard, for the report.
    pub(crate) heard_count: u64,
}

impl Auditor {
    pub(crate) fn new(
        oracle: Oracle,
        shard_count: usize,
        limits: Limits,
        join_creates_rooms: bool,
        durable_methods: Vec<&'static str>,
    ) -> Self {
        Self {
            tasks: tasks::Heard::default(),
            synced: Synced::new(),
            early_notices: BTreeSet::new(),
            durable_methods,
            loot: vec![],
            resumed_now: vec![],
            now_ns: 0,
            evictions: vec![0; shard_count],
            are_logs_roomy: true,
            is_some_unkept: false,
            oracle,
            limits,
            join_creates_rooms,
            views: vec![],
            utterances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            cut_stays: vec![],
            changes: BTreeMap::new(),
            reached: BTreeMap::new(),
            reply_count: 0,
            heard_count: 0,
        }
    }

    /// A client has connected, and begins this conversation.
    pub(crate) fn open(&mut self, line: usize, shard: usize, traits: ConnectionTraits) -> usize {
        self.views.push(View {
            shard,
            traits,
            has_sent_login: false,
            user: None,
            session: None,
            stays: BTreeMap::new(),
            seen: BTreeMap::new(),
            watches: BTreeMap::new(),
            noticed: BTreeMap::new(),
            pending: BTreeMap::new(),
            leases: vec![],
            first_room: None,
            has_quit: false,
            was_refused_unknown: false,
            bond: Bond::default(),
            is_over: false,
        });
        let conversation = self.views.len() - 1;
        self.reconnected(conversation, line, shard, traits);
        conversation
    }

    /// A client has asked for something.
    pub(crate) fn sent(&mut self, conversation: usize, id: i64, draft: &Draft) {
        let message = Message::from_checked(&draft.bytes);
        let ordinal = self.asks(conversation, id, message.method());
        if message.method() == "fail" && !draft.is_malformed {
            self.note_failure(message);
        }
        let view = &mut self.views[conversation];
        let mut recipient = None;
        match message.method() {
            "login" => view.has_sent_login |= !draft.is_malformed,
            "chat" | "say" | "emit" => {
                if let Some(to) = text_of(message, "to") {
                    recipient = self.oracle.session_of(to);
                    let utterance = Utterance {
                        speaker: conversation,
                        to: to.to_owned(),
                        fate: Fate::Unknown,
                        heard_in_room: None,
                        heard_directly: 0,
                    };
                    self.utterances.insert(id, utterance);
                }
            }
            _ => {}
        }
        let pending = Pending {
            bytes: draft.bytes.clone(),
            is_malformed: draft.is_malformed,
            recipient,
            line: view.bond.line,
            ordinal,
            is_resent: false,
            echoes: view.traits.echoes_request,
        };
        view.pending.insert(id, pending);
    }

    /// The shard has closed a client's connection.
    pub(crate) fn closed_by_shard(&mut self, conversation: usize, line: usize, reason: Reason) {
        let view = &self.views[conversation];
        if view.is_over || view.bond.line != Some(line) {
            self.reach("deaf", reason.word());
            return;
        }
        if matches!(reason, Reason::TakenOver | Reason::TooManyConnections) {
            let is_just = reason != Reason::TakenOver || view.bond.has_rival();
            assert!(is_just, "client {conversation} was taken over by nobody");
            self.reach("close", reason.word());
            self.cut(conversation);
            return;
        }
        if reason == Reason::SlowConsumer {
            // It takes no frames, for longer than it may. Its session waits for another line.
            let is_short = self.limits.frame_stall_ns < Limits::PRODUCTION.frame_stall_ns;
            assert!(is_short, "client {conversation} has not been slow for so long");
            self.reach("close", reason.word());
            self.cut(conversation);
            return;
        }
        if view.bond.is_refused_for_good(reason) {
            self.reach("close", "third-refusal");
            self.cut(conversation);
            return;
        }
        let is_just = match reason {
            Reason::Quit => view.has_quit,
            Reason::Displaced => self.is_superseded(conversation),
            Reason::UnknownMethod => view.was_refused_unknown,
            _ => false,
        };
        assert!(is_just, "client {conversation} was closed with {reason:?}");
        self.reach("close", reason.word());
        self.end(conversation);
    }

    /// A client has got a message.
    pub(crate) fn heard(&mut self, conversation: usize, line: usize, bytes: &[u8]) {
        let message = Message::parse(bytes).expect("a client gets what can be read");
        let view = &self.views[conversation];
        if view.is_over || view.bond.line != Some(line) {
            return;
        }
        self.count(conversation, message);
        if message.get("status").is_some() {
            self.reply_count += 1;
            self.reply(conversation, message);
        } else {
            self.heard_count += 1;
            self.talk(conversation, message);
        }
    }

    /// A reply answers a request that has none, and only one.
    fn reply(&mut self, conversation: usize, reply: Message<'_>) {
        let view = &mut self.views[conversation];
        let status = integer_of(reply, "status").expect("a status is a number");
        let Some(id) = integer_of(reply, "id") else {
            let room = view.first_room.take();
            let room =
                room.unwrap_or_else(|| panic!("client {conversation} did not ask: {reply:?}"));
            assert!(reply.method() == "join");
            if status == 0 {
                self.begin_stay(conversation, &room, reply);
            }
            return;
        };
        let Some(pending) = view.pending.remove(&id) else {
            self.told_again(conversation, id, reply);
            return;
        };
        let request = Message::from_checked(&pending.bytes);
        assert!(reply.method() == request.method(), "{request:?} was answered {reply:?}");
        check_repeated(pending.echoes, request, reply);
        // What came over the rate says nothing of tokens.
        if reply.get("error") != Some(Value::Text(Reason::MessageRate.word())) {
            self.confirm(conversation, &pending);
        }
        if status == 0 {
            self.remember(conversation, &pending);
            assert!(reply.get("error").is_none());
            assert!(!pending.is_malformed, "{request:?} was granted");
            self.reach(request.method(), "granted");
            self.granted(conversation, id, &pending, request, reply);
        } else {
            let word = text_of(reply, "error").expect("a refusal says why");
            let reason = Reason::ALL.iter().find(|reason| reason.word() == word);
            let reason = *reason.expect("a refusal has a known reason");
            assert!(i64::from(reason.status()) == status);
            assert!(text_of(reply, "limit") == reason.limit());
            self.reach(request.method(), reason.word());
            if reason == Reason::NotDurable {
                // It has run.
                self.remember(conversation, &pending);
                assert!(self.is_justly_not_durable(request, reply), "{request:?}: {reply:?}");
                return;
            }
            self.refused(conversation, id, &pending, request, reason);
        }
    }

    fn reach(&mut self, method: &str, word: &'static str) {
        *self.reached.entry((method.to_owned(), word)).or_default() += 1;
    }

    /// The conversation is over: nobody goes on with its session.
    pub(crate) fn end(&mut self, conversation: usize) {
        let view = &mut self.views[conversation];
        view.is_over = true;
        view.bond.is_attached = false;
        view.pending.clear();
        view.leases.clear();
        view.watches.clear();
        let stays = std::mem::take(&mut view.stays);
        self.cut_stays.extend(stays.into_values());
    }

    /// Whether the user has logged in elsewhere since, so that partitions may know better than
    /// the client.
    fn is_superseded(&self, conversation: usize) -> bool {
        let session = self.views[conversation].session;
        session.is_some_and(|session| self.oracle.superseded.contains(&session))
    }
}

/// A reply repeats the request's id, or all of it where the protocol wants that; secrets never.
fn check_repeated(echoes: bool, request: Message<'_>, reply: Message<'_>) {
    assert!(reply.get("pw").is_none(), "a secret was repeated: {reply:?}");
    let shown = request.get("token");
    assert!(shown.is_none() || reply.get("token") != shown, "a secret was repeated: {reply:?}");
    for (name, value) in request.fields() {
        let is_overlaid = matches!(name, "status" | "version" | "after" | "pw" | "token");
        if echoes && !is_overlaid {
            let repeated = reply.get(name);
            assert!(repeated.is_some(), "{name} of {request:?} is missing in {reply:?}");
            let is_own = matches!(name, "object" | "kind" | "number" | "note" | "room" | "owner");
            assert!(is_own || repeated == Some(value), "{request:?} was repeated as {reply:?}");
        }
    }
}

fn text_of<'m>(message: Message<'m>, name: &str) -> Option<&'m str> {
    message.get(name).and_then(Value::as_text)
}

fn integer_of(message: Message<'_>, name: &str) -> Option<i64> {
    message.get(name).and_then(Value::as_integer)
}
