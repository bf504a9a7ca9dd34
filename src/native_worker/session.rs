//! A worker's session with a server: one connection, from the login to its end.
//!
//! Nothing is waited for while there are tasks: what is said of one leaves together with the `begin` of the
//! next, and what the server answers is looked at when it comes. Refusals are told by their `id`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use warren_core::inline::{InlineBuffers, InlineCall, InlineTask};
use warren_core::limits::Limits;
use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::object::Object;
use warren_core::reason::Reason;
use warren_net::gateway::binary::{ServerFrame, decode_server_frame, encode_request};
use warren_plugins::{CallFailure, Library, TaskOptions};

use super::connection::{Connection, Lost};
use super::told::{Lease, Told};
use super::watch::{Watch, kill_this_process};

const PROTOCOL_VERSION: i64 = 1;
/// Tasks that it takes at a time from each shard.
const CREDITS: i64 = 16;
/// Names that one `work` may have.
const METHODS_PER_WORK: usize = 64;
const MS_NS: u64 = 1_000_000;
/// Longest wait for the answer to what is asked and waited for.
const ANSWER_NS: u64 = 10_000 * MS_NS;
/// Silence of a server whose heartbeats are not known.
const SILENCE_NS: u64 = 30_000 * MS_NS;
/// After a refusal for want of room it waits so long, and the task longer.
const PAUSE: Duration = Duration::from_millis(50);
const RELEASE_MS: i64 = 1000;
const ERROR_BYTES_MAX: usize = 300;
/// An id is a number of the attempt, and which step of it.
const STEP_BITS: u32 = 12;
const LAST: i64 = 0;
const BEGIN: i64 = 1;
const EXTEND: i64 = 2;
const EFFECT: i64 = 3;

/// Why a session did not begin.
pub(super) enum Unbegun {
    Lost(Lost),
    /// The server has refused this, with that reason.
    Refused(&'static str, String),
}

impl From<Lost> for Unbegun {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// What became of an attempt that its method did not do.
struct Failure(String);

pub(super) struct Session<'w> {
    connection: Connection,
    library: &'w Library,
    watch: Arc<Watch>,
    frame_bytes_max: usize,
    silence_ns: u64,
    /// What has come and was not begun, with its time.
    tasks: VecDeque<(Vec<u8>, u64)>,
    /// Tasks that were begun, until the server has taken their end.
    leases: HashMap<i64, Lease>,
    serial: i64,
    asked: i64,
    answers: HashMap<i64, Vec<u8>>,
    is_leaving: bool,
    /// What leaves with the next write, and the message that is being made.
    out: Vec<u8>,
    message: Vec<u8>,
    request: Vec<u8>,
    buffers: InlineBuffers,
}

impl<'w> Session<'w> {
    pub(super) fn new(connection: Connection, library: &'w Library, watch: Arc<Watch>) -> Self {
        Self {
            connection,
            library,
            watch,
            frame_bytes_max: 64 << 10,
            silence_ns: SILENCE_NS,
            tasks: VecDeque::new(),
            leases: HashMap::new(),
            serial: 0,
            asked: 0,
            answers: HashMap::new(),
            is_leaving: false,
            out: Vec::new(),
            message: Vec::new(),
            request: Vec::new(),
            buffers: InlineBuffers::default(),
        }
    }

    /// Logs in, and says what it does.
    pub(super) fn begin(
        &mut self,
        user: Option<&str>,
        ticket: Option<&str>,
    ) -> Result<(), Unbegun> {
        let hello = self.ask("hello", |hello| {
            hello.field("protocol", Value::Integer(PROTOCOL_VERSION));
        })?;
        let number = |name: &str| {
            let value = Message::from_checked(&hello).get(name).and_then(Value::as_integer);
            value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
        };
        if let Some(bytes) = number("frame_bytes_max") {
            self.frame_bytes_max = bytes as usize;
        }
        if let Some(heartbeat_ms) = number("heartbeat_ms") {
            self.silence_ns = heartbeat_ms * MS_NS * 5 / 2;
            self.connection.outlet().set_ping_ns(heartbeat_ms * MS_NS);
        }
        self.ask("login", |login| {
            for (name, value) in [("user", user), ("ticket", ticket)] {
                if let Some(value) = value {
                    login.field(name, Value::Text(value));
                }
            }
        })?;
        let mut groups: BTreeMap<TaskOptions, Vec<&str>> = BTreeMap::new();
        for method in self.library.methods() {
            groups.entry(method.options()).or_default().push(method.name());
        }
        let label = self.library.label();
        for (options, names) in &groups {
            for names in names.chunks(METHODS_PER_WORK) {
                self.ask("work", |work| write_work(work, names, *options, &label))?;
            }
        }
        Ok(())
    }

    /// Does tasks until the worker is told to end.
    pub(super) fn serve(&mut self) -> Result<(), Lost> {
        while !self.watch.is_stopped() {
            match self.tasks.pop_front() {
                Some((task, arrived_ns)) => self.run(&task, arrived_ns)?,
                None => {
                    self.flush()?;
                    self.hear(self.silence_ns)?;
                }
            }
        }
        self.leave()
    }

    /// Why the server has closed the connection, if it has said so before the end.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let _ = self.connection.receive(Duration::ZERO);
        let mut rest = &*self.connection.received;
        while let Some((frame, taken)) = decode_server_frame(rest) {
            rest = &rest[taken..];
            match frame {
                ServerFrame::Message(message) if message.method() == "closed" => {
                    return Some(outcome_of(message).1);
                }
                _ => {}
            }
        }
        None
    }

    /// Takes no more, gives back what was not begun, and waits for the answers to the rest.
    fn leave(&mut self) -> Result<(), Lost> {
        self.is_leaving = true;
        let asked = self.ask("work", |work| {
            work.list("methods", std::iter::empty());
            work.field("credits", Value::Integer(0));
        });
        if let Err(Unbegun::Lost(lost)) = asked {
            return Err(lost);
        }
        while let Some((task, _)) = self.tasks.pop_front() {
            self.release(&task);
        }
        self.flush()?;
        let until_ns = self.now_ns() + ANSWER_NS;
        while !self.leases.is_empty() && self.now_ns() < until_ns {
            self.hear(until_ns - self.now_ns())?;
            self.flush()?;
        }
        if !self.leases.is_empty() {
            tracing::warn!(tasks = self.leases.len(), "tasks without an answer to their end");
        }
        let _ = self.say_or_refuse("quit", |_| Ok(()));
        self.flush()
    }

    fn now_ns(&self) -> u64 {
        self.watch.clock.monotonic_ns()
    }

    // What is said.

    /// Adds a message to what leaves next, or nothing if it is none that the server takes.
    fn say_or_refuse(
        &mut self,
        method: &str,
        fill: impl FnOnce(&mut MessageBuilder<'_>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.message.clear();
        fill(&mut MessageBuilder::new(&mut self.message, method))?;
        // With its length and its kind.
        if self.message.len() + 5 > self.frame_bytes_max {
            return Err(Reason::FrameTooLarge);
        }
        encode_request(Message::from_checked(&self.message), &mut self.out);
        Ok(())
    }

    /// Says something of a lease that is never refused here.
    fn say(&mut self, method: &str, (serial, step): (i64, i64), more: &[(&str, Value<'_>)]) {
        let Some(lease) = self.leases.get(&serial) else { return };
        let (task, token) = (lease.task, lease.token);
        let said = self.say_or_refuse(method, |message| {
            write_lease(message, (serial, step), (task, token))?;
            more.iter().try_for_each(|(name, value)| message.try_field(name.as_bytes(), *value))
        });
        debug_assert!(said.is_ok(), "{method}: {said:?}");
    }

    fn flush(&mut self) -> Result<(), Lost> {
        if !self.out.is_empty() {
            self.connection.send(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Asks, and waits for the answer; tasks that come meanwhile are kept.
    fn ask(
        &mut self,
        method: &'static str,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Result<Vec<u8>, Unbegun> {
        self.asked -= 1;
        let asked = self.asked;
        let said = self.say_or_refuse(method, |message| {
            message.field("id", Value::Integer(asked));
            fill(message);
            Ok(())
        });
        said.map_err(|reason| Unbegun::Refused(method, reason.word().to_owned()))?;
        self.flush()?;
        let until_ns = self.now_ns() + ANSWER_NS;
        loop {
            if let Some(answer) = self.answers.remove(&asked) {
                let (status, error) = outcome_of(Message::from_checked(&answer));
                return if status == 0 { Ok(answer) } else { Err(Unbegun::Refused(method, error)) };
            }
            let now_ns = self.now_ns();
            if now_ns >= until_ns {
                return Err(Lost("timeout".to_owned()).into());
            }
            self.hear(until_ns - now_ns)?;
        }
    }

    // What is heard.

    /// Waits so long for something to come, and looks at all that has.
    fn hear(&mut self, time_ns: u64) -> Result<(), Lost> {
        let began_ns = self.now_ns();
        self.connection.receive(Duration::from_nanos(time_ns))?;
        let now_ns = self.now_ns();
        let mut received = std::mem::take(&mut self.connection.received);
        let is_silent = received.is_empty() && now_ns - began_ns >= self.silence_ns;
        if is_silent {
            return Err(Lost("timeout".to_owned()));
        }
        let mut at = 0;
        while let Some((frame, taken)) = decode_server_frame(&received[at..]) {
            match frame {
                ServerFrame::Message(message) => self.heard(message, now_ns)?,
                ServerFrame::Faulty(reason) => return Err(Lost(reason.word().to_owned())),
                ServerFrame::Heard { .. } | ServerFrame::World(_) => {}
            }
            at += taken;
        }
        received.drain(..at);
        self.connection.received = received;
        Ok(())
    }

    fn heard(&mut self, message: Message<'_>, now_ns: u64) -> Result<(), Lost> {
        match (message.method(), message.get("id").and_then(Value::as_integer)) {
            ("task", _) if self.is_leaving => self.release(message.as_bytes()),
            ("task", _) => self.tasks.push_back((message.as_bytes().to_vec(), now_ns)),
            ("closed", _) => return Err(Lost(outcome_of(message).1)),
            (_, Some(id)) if id < 0 => {
                self.answers.insert(id, message.as_bytes().to_vec());
            }
            (_, Some(id)) => self.answered(id >> STEP_BITS, id & ((1 << STEP_BITS) - 1), message),
            ("error", None) => {
                let error = outcome_of(message).1;
                tracing::error!(error, "the server did not understand the worker");
            }
            _ => {}
        }
        Ok(())
    }

    /// The server's answer to a step of an attempt.
    fn answered(&mut self, serial: i64, step: i64, message: Message<'_>) {
        let (status, error) = outcome_of(message);
        let Some(lease) = self.leases.get_mut(&serial) else { return };
        if step != LAST {
            if status != 0 {
                lease.refusal.get_or_insert((status, error));
            }
        } else if status == 0 {
            self.leases.remove(&serial);
        } else {
            let refusal = lease.refusal.clone().filter(|_| error == "effects-missing");
            self.end_refused(serial, refusal.unwrap_or((status, error)));
        }
    }

    /// The server did not take the end of a task: what becomes of it.
    fn end_refused(&mut self, serial: i64, (status, error): (i64, String)) {
        let task = self.leases.get(&serial).map_or("", |lease| &lease.name).to_owned();
        if matches!(&*error, "lease-lost" | "version-conflict") {
            // Another attempt is on its way, of the server's accord.
            self.leases.remove(&serial);
            tracing::warn!(task, error, "nothing has changed");
        } else if has_no_room(status, &error) {
            self.fail(serial, &format!("refused: {error}"), true);
        } else if matches!(status, 409 | 429 | 500..) {
            self.watch.wait(None, PAUSE);
            self.say("release", (serial, LAST), &[("delay_ms", Value::Integer(RELEASE_MS))]);
        } else {
            self.fail(serial, &format!("refused: {error}"), false);
        }
    }

    // What is done.

    /// One attempt.
    fn run(&mut self, task: &[u8], arrived_ns: u64) -> Result<(), Lost> {
        let Some(told) = Told::of(Message::from_checked(task)) else {
            tracing::error!("a task that lacks what it should have");
            return Ok(());
        };
        let (now_ns, limit_ns) = (self.now_ns(), told.limit_ms * MS_NS);
        if now_ns - arrived_ns >= limit_ns {
            // It is another's; but whoever says nothing of it is taken for stuck.
            self.release(task);
            return Ok(());
        }
        let mut until_ns = arrived_ns + limit_ns;
        let serial = self.add_lease(&told);
        self.say("begin", (serial, BEGIN), &[]);
        if now_ns - arrived_ns >= limit_ns / 2 {
            // It has waited here for others.
            self.say("extend", (serial, EXTEND), &[]);
            until_ns = now_ns + limit_ns;
        }
        // Whatever the method does to this process: that it has begun is known.
        self.flush()?;
        match self.call(&told, until_ns).and_then(|()| self.done(serial, &told)) {
            Ok(()) => {}
            // Trying again would go as badly.
            Err(Failure(why)) => self.fail(serial, &why, false),
        }
        Ok(())
    }

    fn add_lease(&mut self, told: &Told<'_>) -> i64 {
        self.serial += 1;
        self.leases.insert(self.serial, Lease::of(told));
        self.serial
    }

    fn call(&mut self, told: &Told<'_>, until_ns: u64) -> Result<(), Failure> {
        let mut methods = self.library.methods().iter();
        let method = methods.find(|method| method.name() == told.method);
        let method = method.ok_or_else(|| Failure("no such method".to_owned()))?;
        let target = told.target().map_err(|reason| Failure(reason.word().to_owned()))?;
        self.request.clear();
        told.write_request(&mut self.request);
        let task = InlineTask {
            user: told.user,
            message: Message::from_checked(&self.request),
            partition: told.task.partition(),
            target: target.as_ref().map(|(id, object): &(_, Object)| (*id, object)),
            wall_ms: self.watch.clock.now().wall_ms,
            bytes_max: Limits::PRODUCTION.effects_bytes_max,
        };
        let mut call = InlineCall::of_task(task, &mut self.buffers);
        let process = rustix::process::getpid();
        self.watch.begin(until_ns);
        let called = method.call(&mut call);
        if rustix::process::getpid() != process {
            // The method has forked: the worker is the other process.
            kill_this_process();
        }
        self.watch.end();
        if let Some(reason) = call.refusal() {
            return Err(Failure(format!("refused: {}", reason.word())));
        }
        called.map_err(|CallFailure { status, why }| {
            Failure(format!("plugin-failed: {status} {why}").trim_end().to_owned())
        })
    }

    /// Says the effects, and that the task is done; or, when one cannot be said, nothing.
    fn done(&mut self, serial: i64, told: &Told<'_>) -> Result<(), Failure> {
        let start = self.out.len();
        let buffers = std::mem::take(&mut self.buffers);
        let said = self.say_done(&buffers, serial, told);
        self.buffers = buffers;
        said.map_err(|reason| {
            self.out.truncate(start);
            Failure(format!("refused: {}", reason.word()))
        })
    }

    fn say_done(
        &mut self,
        buffers: &InlineBuffers,
        serial: i64,
        told: &Told<'_>,
    ) -> Result<(), Reason> {
        let lease = (told.task, told.token);
        let mut count = 0;
        for effect in buffers.effects() {
            self.say_or_refuse("effect", |message| {
                write_lease(message, (serial, EFFECT + count), lease)?;
                message.try_field(b"do", Value::Text(effect.method()))?;
                write_fields(message, effect)
            })?;
            count += 1;
        }
        self.say_or_refuse("done", |message| {
            write_lease(message, (serial, LAST), lease)?;
            message.try_field(b"effects", Value::Integer(count))?;
            write_fields(message, buffers.reply())
        })
    }

    fn fail(&mut self, serial: i64, why: &str, retries: bool) {
        let why: String = why.chars().filter(|c| !c.is_control()).collect();
        let why = &why[..why.floor_char_boundary(ERROR_BYTES_MAX)];
        if let Some(lease) = self.leases.get(&serial) {
            tracing::warn!(task = lease.name, why, "a task failed");
        }
        let more = [("error_text", Value::Text(why)), ("retry", Value::Boolean(retries))];
        self.say("fail", (serial, LAST), &more);
    }

    fn release(&mut self, task: &[u8]) {
        if let Some(told) = Told::of(Message::from_checked(task)) {
            let serial = self.add_lease(&told);
            self.say("release", (serial, LAST), &[]);
        }
    }
}

fn write_work(work: &mut MessageBuilder<'_>, names: &[&str], options: TaskOptions, label: &str) {
    work.list("methods", names.iter().copied());
    work.field("credits", Value::Integer(CREDITS));
    work.field("plugin", Value::Text(label));
    for (name, option) in [
        ("priority", options.priority.map(u64::from)),
        ("attempts_max", options.attempts_max.map(u64::from)),
        ("limit_ms", options.limit_ms),
        ("deadline_ms", options.deadline_ms),
    ] {
        if let Some(option) = option {
            work.field(name, Value::Integer(i64::try_from(option).unwrap_or(i64::MAX)));
        }
    }
}

fn write_lease(
    message: &mut MessageBuilder<'_>,
    (serial, step): (i64, i64),
    (task, token): (warren_core::ids::ObjectId, i64),
) -> Result<(), Reason> {
    message.try_field(b"id", Value::Integer(serial << STEP_BITS | step))?;
    message.try_field(b"task", Value::Object(task))?;
    message.try_field(b"token", Value::Integer(token))
}

fn write_fields(message: &mut MessageBuilder<'_>, from: Message<'_>) -> Result<(), Reason> {
    from.fields().try_for_each(|(name, value)| message.try_field(name.as_bytes(), value))
}

/// Whether what the task makes has no room: that may stay so for long, while the server is well otherwise. Another
/// attempt is later each time, and there is a last one.
fn has_no_room(status: i64, error: &str) -> bool {
    status == 507 || error == "queue-full"
}

/// Status and reason of an answer.
fn outcome_of(message: Message<'_>) -> (i64, String) {
    let status = message.get("status").and_then(Value::as_integer).unwrap_or(0);
    let error = message.get("error").and_then(Value::as_text).unwrap_or_default();
    (status, error.to_owned())
}
