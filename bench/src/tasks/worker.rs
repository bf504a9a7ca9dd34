//! A worker of the harness: it begins each task, adds one to the counter of the object that it is about, and
//! is done.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::encode_request;

use super::METHOD;
use super::wire::{Wire, check_status};

/// How often it looks whether all is over.
const LOOK_WAIT: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    wire: Wire,
}

impl Worker {
    pub(super) fn open(address: SocketAddrV4, ticket: &str) -> Result<Self> {
        Ok(Self { wire: Wire::open(address, ticket).context("a worker")? })
    }

    /// From here on it takes so many tasks at a time. Returns when the server knows that: no task may be
    /// there for it yet, since it would be passed over.
    pub(super) fn set_credits(&mut self, credits: u32) -> Result<()> {
        self.wire.ask_once("work", &work_of(credits), |_| Ok(())).context("a worker")
    }

    /// Does tasks, each in this time, until all is over. What it has then is for others.
    pub(super) fn run(
        &mut self,
        is_over: &AtomicBool,
        (credits, work): (u32, Duration),
    ) -> Result<()> {
        self.wire.push("work", &work_of(credits));
        self.wire.send()?;
        let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
        while !is_over.load(Relaxed) {
            if let Some(task) = waiting.pop_front() {
                take_time(work);
                do_task(Message::from_checked(&task), self.wire.output())?;
                self.wire.send()?;
                continue;
            }
            self.wire.receive(LOOK_WAIT, |message, output| match message.method() {
                "task" if work.is_zero() => do_task(message, output),
                "task" => {
                    waiting.push_back(message.as_bytes().to_vec());
                    Ok(())
                }
                _ => check_step(message),
            })?;
            self.wire.send()?;
        }
        Ok(())
    }

    /// Waits for tasks for a while, and does them at once; tells of each.
    pub(super) fn do_some(&mut self, mut tell: impl FnMut()) -> Result<()> {
        self.wire.receive(LOOK_WAIT, |message, output| match message.method() {
            "task" => {
                tell();
                do_task(message, output)
            }
            _ => check_step(message),
        })?;
        self.wire.send()
    }
}

#[expect(clippy::disallowed_methods, reason = "a task takes so long")]
fn take_time(work: Duration) {
    thread::sleep(work);
}

fn work_of(credits: u32) -> [(&'static str, Value<'static>); 2] {
    [("methods", Value::Text(METHOD)), ("credits", Value::Integer(credits.into()))]
}

/// What it says has to be taken.
fn check_step(message: Message<'_>) -> Result<()> {
    match message.method() {
        "work" | "begin" | "effect" | "done" => check_status(message).context("a worker's step"),
        _ => Ok(()),
    }
}

fn do_task(task: Message<'_>, output: &mut Vec<u8>) -> Result<()> {
    let field = |name: &'static str| task.get(name).with_context(|| format!("a task's {name}"));
    let (id, token) = (("task", field("task")?), ("token", field("token")?));
    let Value::Bytes(record) = field("target_record")? else { bail!("a record is bytes") };
    let Ok(record) = Message::parse(record) else { bail!("a record is a field list") };
    let count = record.get("counted").and_then(Value::as_integer).context("a target's counter")?;
    let mut say = |method: &str, fields: &[(&str, Value<'_>)]| {
        encode_request(Message::from_checked(&packed(method, fields)), output);
    };
    say("begin", &[id, token]);
    let set = [
        id,
        token,
        ("do", Value::Text("set")),
        ("object", field("target")?),
        ("version", field("target_version")?),
        ("counted", Value::Integer(count + 1)),
    ];
    say("effect", &set);
    say("done", &[id, token, ("effects", Value::Integer(1))]);
    Ok(())
}
