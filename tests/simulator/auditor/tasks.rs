//! What is promised of tasks: whoever asks is answered once, by a task that answers nobody else; a task is
//! one worker's at a time, and what it does happens once or not at all.

use std::collections::{BTreeMap, BTreeSet};

use warren_core::message::{Message, Value};
use warren_core::reason::Reason;

use super::{Auditor, View, integer_of, text_of};
use crate::clock::SimulatedClock;
use crate::tasks::{ATTEMPTS_MAX, TOIL};

/// Leases of which a client remembers.
const LEASES_MAX: usize = 12;

/// A task of which a client was told.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) task: u64,
    pub(crate) token: i64,
    /// How many effects it has said.
    pub(crate) effects: i64,
}

/// What clients have heard of tasks.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Tasks with their tokens: each is told to one client, once.
    told: BTreeSet<(u64, i64)>,
    /// By task, how many effects its worker was granted with its end.
    done: BTreeMap<u64, i64>,
    /// Tasks that have answered somebody.
    answered: BTreeSet<u64>,
    /// Tasks of which a worker has said that nobody is to try again.
    given_up: BTreeSet<u64>,
}

impl Heard {
    pub(super) fn told_count(&self) -> u64 {
        self.told.len() as u64
    }
}

fn task_of(message: Message<'_>) -> u64 {
    message.get("task").and_then(Value::as_object).expect("a task is named").0
}

/// What a worker says of a task.
pub(super) fn is_step(method: &str) -> bool {
    matches!(method, "begin" | "effect" | "extend" | "done" | "fail" | "release")
}

impl View {
    /// Whether an effect was said under this lease of which it is not known whether it was taken.
    pub(crate) fn has_effect_underway(&self, lease: &Lease) -> bool {
        self.pending.values().any(|pending| {
            let request = Message::from_checked(&pending.bytes);
            let is_about = || (task_of(request), integer_of(request, "token"));
            request.method() == "effect" && is_about() == (lease.task, Some(lease.token))
        })
    }
}

impl Auditor {
    /// A client has a task.
    pub(super) fn told_of_task(&mut self, conversation: usize, message: Message<'_>) {
        let task = task_of(message);
        let token = integer_of(message, "token").expect("a lease has a token");
        let facts = self.oracle.tasks.get(&task);
        let facts = facts.unwrap_or_else(|| panic!("there is no such task: {message:?}"));
        let is_event = facts.is_event;
        assert!(facts.tokens.contains(&token), "nobody has leased {message:?}");
        assert!(self.tasks.told.insert((task, token)), "told twice: {message:?}");
        assert!(text_of(message, "method") == Some(TOIL));
        assert!(text_of(message, "user") == Some(&*self.oracle.objects[&task].owners[0]));
        let attempt = integer_of(message, "attempt").expect("an attempt has a number");
        assert!((1..=ATTEMPTS_MAX).contains(&attempt), "{message:?}");
        self.reach("task", if is_event { "event-told" } else { "told" });
        let leases = &mut self.views[conversation].leases;
        leases.push(Lease { task, token, effects: 0 });
        if leases.len() > LEASES_MAX {
            leases.remove(0);
        }
    }

    /// A client says that it could not do a task.
    pub(super) fn note_failure(&mut self, request: Message<'_>) {
        if request.get("retry") == Some(Value::Boolean(false)) {
            self.tasks.given_up.insert(task_of(request));
        }
    }

    /// What a worker has said of a task was taken.
    pub(super) fn step_granted(&mut self, conversation: usize, request: Message<'_>) {
        let (task, method) = (task_of(request), request.method());
        if method == "done" {
            let effects = integer_of(request, "effects").expect("it says how many");
            let again = self.tasks.done.insert(task, effects);
            assert!(again.is_none(), "{task} was done twice");
            let facts = &self.oracle.tasks[&task];
            let (deeds, latest) = (facts.deeds, facts.tokens.last().copied());
            assert!(integer_of(request, "token") == latest, "{latest:?} had the task: {request:?}");
            assert!(deeds == effects, "{request:?} was granted with {deeds} deeds");
        }
        if matches!(method, "done" | "fail" | "release") {
            self.forget_lease(conversation, request);
        }
        if method == "effect" {
            let (token, leases) =
                (integer_of(request, "token"), &mut self.views[conversation].leases);
            let lease =
                leases.iter_mut().find(|lease| Some(lease.token) == token && lease.task == task);
            lease.into_iter().for_each(|lease| lease.effects += 1);
        }
    }

    pub(super) fn step_refused(
        &mut self,
        conversation: usize,
        request: Message<'_>,
        reason: Reason,
    ) {
        if matches!(reason, Reason::LeaseLost | Reason::EffectsMissing) {
            self.forget_lease(conversation, request);
        }
    }

    fn forget_lease(&mut self, conversation: usize, request: Message<'_>) {
        let (task, token) = (task_of(request), integer_of(request, "token"));
        let leases = &mut self.views[conversation].leases;
        leases.retain(|lease| (lease.task, Some(lease.token)) != (task, token));
    }

    /// Whoever asked hears that it is done.
    pub(super) fn toil_granted(&mut self, request: Message<'_>, reply: Message<'_>) {
        let task = integer_of(reply, "by").expect("its worker says which task it was") as u64;
        let is_done = self.oracle.tasks.get(&task).is_some_and(|facts| facts.is_over);
        assert!(is_done, "{request:?} is answered by what is not done: {reply:?}");
        // One of the same key is answered like the first.
        let is_first = self.tasks.answered.insert(task);
        assert!(is_first || request.get("key").is_some(), "answered twice: {reply:?}");
    }

    /// Why a task is not done: its time was over and nobody had begun, or nobody could do it in all of its
    /// attempts, or a worker has given it up.
    pub(super) fn is_toil_refused(&self, request: Message<'_>, reason: Reason) -> bool {
        let id = integer_of(request, "id").expect("a request has an id");
        let made = self.oracle.task_requests.get(&id).into_iter().flatten();
        let mut made = made.map(|task| (task, &self.oracle.tasks[task]));
        let wall_ms = SimulatedClock::wall_ms_at(self.now_ns) as i64;
        match reason {
            Reason::QueueFull => true,
            Reason::TaskExpired => made.any(|(_, facts)| {
                facts.is_expired && facts.deadline_ms.is_some_and(|deadline| deadline <= wall_ms)
            }),
            Reason::TaskFailed => made.any(|(task, facts)| {
                let is_last = facts.attempt == facts.attempts_max;
                facts.is_dead && (is_last || self.tasks.given_up.contains(task))
            }),
            Reason::TaskPending => request.get("key").is_some(),
            _ => false,
        }
    }

    /// Why a worker is not heard.
    pub(super) fn is_step_refused(&self, request: Message<'_>, reason: Reason) -> bool {
        match reason {
            Reason::LeaseLost => true,
            Reason::EffectsMissing => {
                request.method() == "done" && request.get("sure") == Some(Value::Boolean(false))
            }
            // There may be an event among them.
            Reason::QueueFull => integer_of(request, "effects").is_some_and(|effects| effects > 0),
            _ => false,
        }
    }
}
