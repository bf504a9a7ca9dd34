//! A task's way through the engine: a request becomes one, a worker is told of it, begins, says its effect
//! and is done, and whoever asked is answered.

use warren_core::authorize::Policy;
use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::shard::{Shard, ShardSettings};
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};

use super::Path;
use super::shard::{connection, settings};
use crate::callgrind::measured;

/// Tasks before those that are counted.
const WARM_UP_TASKS: u32 = 300;
/// Time between two turns.
const TURN_NS: u64 = 1_000_000;
const ASKER: u32 = 0;
const WORKER: u32 = 1;

struct Queue {
    shard: Shard,
    now: Now,
    inputs: ShardInputs,
    outputs: ShardOutputs,
}

/// Two turns for each: one that takes the request and leases the task, and one that does it.
pub(super) fn from_request_to_answer(path: &Path) {
    let mut queue = Queue::new();
    for task in 0..WARM_UP_TASKS + path.events {
        let is_counted = task >= WARM_UP_TASKS;
        let object = Value::Object("9.1".parse().expect("an id"));
        queue.request(ASKER, "hit", &[("target", object), ("with", Value::Text("axe"))]);
        queue.turn(is_counted);
        let told = queue.heard(WORKER, "task");
        let told = Message::from_checked(&told);
        let about = ["task", "token"].map(|name| (name, told.get(name).expect("it is told")));
        let effect = [("do", Value::Text("set")), ("object", object), ("hp", Value::Integer(7))];
        queue.request(WORKER, "begin", &about);
        queue.request(WORKER, "effect", &[&about[..], &effect].concat());
        queue.request(WORKER, "done", &[&about[..], &[("effects", Value::Integer(1))]].concat());
        queue.turn(is_counted);
        let answer = queue.heard(ASKER, "hit");
        let status = Message::from_checked(&answer).get("status").and_then(Value::as_integer);
        assert_eq!(status, Some(0));
    }
}

impl Queue {
    fn new() -> Self {
        let mut policy = Policy::default();
        for method in ["work", "begin", "effect", "done"] {
            policy.set_rule(method, ["user"]).expect("a method of the server");
        }
        let mut queue = Self {
            shard: Shard::new(ShardSettings { policy, ..settings() }),
            now: Now { monotonic_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 },
            inputs: ShardInputs::default(),
            outputs: ShardOutputs::new(1),
        };
        for (index, user) in [(ASKER, "ann"), (WORKER, "dwarf")] {
            let traits = ConnectionTraits::default();
            queue.inputs.list.push(ShardInput::Opened { connection: connection(index), traits });
            queue.request(index, "login", &[("user", Value::Text(user))]);
            queue.turn(false);
        }
        let wolf = [("kind", Value::Text("wolf")), ("partition", Value::Integer(9))];
        queue.request(ASKER, "create", &wolf);
        queue.request(WORKER, "work", &[("methods", Value::Text("hit"))]);
        queue.turn(false);
        queue
    }

    fn request(&mut self, index: u32, method: &str, fields: &[(&str, Value<'_>)]) {
        let start = self.inputs.bytes.len();
        let mut builder = MessageBuilder::new(&mut self.inputs.bytes, method);
        for (name, value) in fields {
            builder.field(name, *value);
        }
        self.inputs.push_message(connection(index), start);
    }

    fn turn(&mut self, is_counted: bool) {
        self.now.monotonic_ns += TURN_NS;
        self.outputs.clear();
        let mut turn = || self.shard.turn(self.now, &self.inputs, &mut self.outputs);
        if is_counted {
            measured(&mut turn)
        } else {
            turn()
        }
        self.inputs.clear();
    }

    /// The message of that method that the connection was sent in this turn.
    fn heard(&self, index: u32, method: &str) -> Vec<u8> {
        let sent = self.outputs.list.iter().find_map(|output| match output {
            ShardOutput::Send { connection: to, message } if *to == connection(index) => {
                let message = self.outputs.message(*message);
                (message.method() == method).then(|| message.as_bytes().to_vec())
            }
            _ => None,
        });
        sent.expect("it is told in this turn")
    }
}
