//! A worker of the harness: it begins each task, adds one to the counter of the object that it is about, and
//! is done.

use std::net::SocketAddrV4;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
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
    pub(super) fn open(address: SocketAddrV4, ticket: &str, credits: u32) -> Result<Self> {
        let mut wire = Wire::open(address, ticket).context("a worker")?;
        let work = [("methods", Value::Text(METHOD)), ("credits", Value::Integer(credits.into()))];
        wire.ask_once("work", &work, |_| Ok(())).context("a worker")?;
        Ok(Self { wire })
    }

    pub(super) fn run(&mut self, is_over: &AtomicBool) -> Result<()> {
        while !is_over.load(Relaxed) {
            self.wire.receive(LOOK_WAIT, |message, output| match message.method() {
                "task" => do_task(message, output),
                "begin" | "effect" | "done" => check_status(message).context("a worker's step"),
                _ => Ok(()),
            })?;
            self.wire.send()?;
        }
        Ok(())
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
