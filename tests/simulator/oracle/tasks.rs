//! What the deltas say of tasks: who has them, and what may not be out at one time.

use warren_core::delta::Delta;
use warren_core::ids::ObjectId;
use warren_core::message::{Message, Value};

use super::Oracle;
use crate::tasks::DEED;

/// What is known of a task.
#[derive(Debug, Default)]
pub(crate) struct TaskFacts {
    /// Those of all of its leases.
    pub(crate) tokens: Vec<i64>,
    /// Objects that its effects have made.
    pub(crate) deeds: i64,
    /// It is gone, or kept with its answer.
    pub(crate) is_over: bool,
    /// Nobody could do it, and it is kept because of that.
    pub(crate) is_dead: bool,
    /// It went without anybody having had it then.
    pub(crate) is_expired: bool,
    /// A task has made it.
    pub(crate) is_event: bool,
    /// Until when it has to be leased, in milliseconds since 1970, unless somebody has begun.
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) attempt: i64,
    pub(crate) attempts_max: i64,
    /// The object that it is about.
    target: Option<ObjectId>,
    /// Whose it is, where it waits behind the others of the same user in its partition.
    line: Option<String>,
    /// A worker has it.
    is_out: bool,
}

impl TaskFacts {
    fn new(record: Message<'_>) -> Self {
        let integer = |name: &str| record.get(name).and_then(Value::as_integer);
        let is_ordered = record.get("ordered") == Some(Value::Boolean(true));
        let owner = record.get("owner").and_then(Value::as_text).expect("a task is a user's");
        let is_event = integer("at_ms").is_some();
        Self {
            is_event,
            deadline_ms: integer("deadline_ms"),
            attempts_max: integer("attempts_max").expect("it has so many attempts"),
            target: record.get("target").and_then(Value::as_object),
            // An event goes behind those who are there when its time comes.
            line: (is_ordered && !is_event).then(|| owner.to_owned()),
            ..Self::default()
        }
    }

    fn is_open(&self) -> bool {
        !self.is_over && !self.is_dead
    }

    /// It is gone.
    pub(super) fn end(&mut self) {
        self.is_expired = self.is_open() && !self.is_out;
        self.is_over = true;
        self.is_out = false;
    }
}

/// What a task was asked for with.
fn request_of(task: Message<'_>) -> Message<'_> {
    let Some(Value::Bytes(request)) = task.get("request") else { panic!("a task has its request") };
    Message::parse(request).expect("a request is a message")
}

/// The task that has made the object or the event, if the delta makes one of a task.
pub(super) fn deed_of(delta: &Delta) -> Option<u64> {
    let Delta::ObjectCreated { record, .. } = delta else { return None };
    let record = Message::parse(record).expect("a record is a message");
    let deed = match record.method() {
        DEED => record,
        "task" => request_of(record),
        _ => return None,
    };
    deed.get("of").and_then(Value::as_integer).map(|task| task as u64)
}

impl Oracle {
    pub(super) fn note_task_made(&mut self, task: u64, record: Message<'_>) {
        let request = request_of(record);
        if let Some(id) = request.get("id").and_then(Value::as_integer) {
            self.task_requests.entry(id).or_default().push(task);
        }
        let facts = TaskFacts::new(record);
        // The watchtower is told, where nobody is.
        self.notices_made += u64::from(facts.is_event);
        self.tasks.insert(task, facts);
    }

    pub(super) fn note_task_changed(&mut self, task: u64, changes: Message<'_>) {
        let Some(facts) = self.tasks.get_mut(&task) else { return };
        if let Some(attempt) = changes.get("attempt").and_then(Value::as_integer) {
            facts.attempt = attempt;
        }
        let is_gone = |name: &str| changes.fields().any(|field| field == (name, Value::Null));
        if is_gone("deadline_ms") {
            facts.deadline_ms = None;
        }
        let token = changes.get("lease").and_then(Value::as_integer);
        self.lease_count += u64::from(token.is_some());
        facts.tokens.extend(token);
        let Some(state) = changes.get("state").and_then(Value::as_text) else { return };
        facts.is_out = state == "leased";
        facts.is_over |= state == "done";
        facts.is_dead |= state == "dead";
        if facts.is_out {
            self.check_lease(task);
        }
    }

    /// Of two tasks about one object one is out at a time, and of those that go in order the first.
    fn check_lease(&self, task: u64) {
        let facts = &self.tasks[&task];
        for (other, known) in self.tasks.iter().filter(|(other, _)| **other != task) {
            let is_same_target = facts.target.is_some() && known.target == facts.target;
            assert!(!(known.is_out && is_same_target), "{task} and {other} are out at once");
            let is_near = ObjectId(*other).partition() == ObjectId(task).partition();
            let is_same_line = is_near && facts.line.is_some() && known.line == facts.line;
            let is_before = is_same_line && known.is_open() && *other < task;
            assert!(!is_before, "{task} is out before {other}");
        }
    }
}
