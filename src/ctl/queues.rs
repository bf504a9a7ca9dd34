//! `warren ctl queues` and `warren ctl dead`: how tasks stand, and what is to become of dead ones.

use core::fmt::Write as _;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use warren_core::ids::ObjectId;

use super::client::{AdminClient, path_with};
use super::tables::{Column, cell, printable, table};
use super::{Console, Count, Failure, list};

/// Most partitions that are told.
const PARTITIONS_MAX: i64 = 250;

const QUEUE_COLUMNS: &[Column] = &[
    ("method", "method"),
    ("ready", "ready"),
    ("delayed", "delayed"),
    ("leased", "leased"),
    ("remembered", "remembered"),
    ("dead", "dead"),
    ("oldest, ms", "oldest_wait_ms"),
    ("taken", "taken_total"),
    ("leases", "leased_total"),
    ("done", "done_total"),
    ("failed", "failed_total"),
    ("lost", "lost_total"),
    ("expired", "expired_total"),
];

const PARTITION_COLUMNS: &[Column] = &[
    ("partition", "partition"),
    ("shard", "shard"),
    ("ready", "ready"),
    ("delayed", "delayed"),
    ("leased", "leased"),
    ("remembered", "remembered"),
    ("dead", "dead"),
];

const DEAD_COLUMNS: &[Column] = &[
    ("task", "task"),
    ("method", "method"),
    ("user", "user"),
    ("attempts", "attempts"),
    ("target", "target"),
    ("key", "key"),
    ("error", "error_text"),
];

/// `warren ctl queues`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct QueuesArguments {
    /// Also of so many partitions that have most tasks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=PARTITIONS_MAX))]
    pub partitions: Option<u32>,
}

/// What to do with dead tasks.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DeadOrder {
    /// Tell them
    List {
        /// Only those of this method
        #[arg(long, value_name = "METHOD")]
        method: Option<String>,
        /// How many to tell
        #[command(flatten)]
        count: Count,
    },
    /// Tell all of one, with the request that made it
    Show {
        /// The task's id
        #[arg(value_parser = checked_task)]
        task: ObjectId,
    },
    /// Have them wait for a worker again, as if nobody had begun
    Retry {
        /// Which
        #[command(flatten)]
        which: Which,
    },
    /// Remove them for good
    Drop {
        /// Which
        #[command(flatten)]
        which: Which,
    },
}

/// Which dead tasks are meant.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// The task's id
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = checked_task)]
    pub task: Option<ObjectId>,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// Of all those of this method alone
    #[arg(long, value_name = "METHOD", requires = "all", conflicts_with = "task")]
    pub method: Option<String>,
}

fn checked_task(text: &str) -> Result<ObjectId, String> {
    text.parse().map_err(|_| "no id of a task, as 171.9 is".to_owned())
}

pub(super) async fn queues(
    client: &AdminClient,
    arguments: &QueuesArguments,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let count = arguments.partitions.map(|count| count.to_string());
    let parameters = count.as_deref().map(|count| ("partitions", count));
    let path = path_with("/api/queues", parameters.into_iter());
    let answer = client.ask(Method::GET, &path, None).await?.done()?;
    console.tell(&answer, queues_text);
    Ok(())
}

pub(super) async fn dead(
    client: &AdminClient,
    order: &DeadOrder,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match order {
        DeadOrder::List { method, count } => {
            let method = method.as_deref().map(|method| ("method", method));
            let answer = list(client, "dead", method, count.count, console).await?;
            console.tell(&answer, dead_text);
        }
        DeadOrder::Show { task } => {
            let task = task.to_string();
            let path = path_with("/api/dead", [("task", task.as_str())].into_iter());
            let answer = client.ask(Method::GET, &path, None).await?.done()?;
            console.tell(&answer, task_text);
        }
        DeadOrder::Retry { which } => settle(client, "retry", which, console).await?,
        DeadOrder::Drop { which } => settle(client, "drop", which, console).await?,
    }
    Ok(())
}

/// All of them are settled page after page; what was kept is told of all pages together.
async fn settle(
    client: &AdminClient,
    order: &str,
    which: &Which,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut body = json!({ "order": order });
    match which.task {
        Some(task) => body["task"] = task.to_string().into(),
        None => body["all"] = true.into(),
    }
    if let Some(method) = &which.method {
        body["method"] = method.as_str().into();
    }
    let (mut settled, mut kept) = (0, Vec::new());
    loop {
        let page = client.ask(Method::POST, "/api/dead", Some(body.clone())).await?.done()?;
        settled += page["settled"].as_u64().unwrap_or(0);
        kept.extend(page["kept"].as_array().cloned().unwrap_or_default());
        if page["after"].is_null() {
            break;
        }
        body["after"] = page["after"].clone();
    }
    console.tell(&json!({ "order": order, "settled": settled, "kept": kept }), settled_text);
    Ok(())
}

pub(super) fn queues_text(answer: &Value) -> String {
    let rows = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let queues = rows("queues");
    if queues.is_empty() {
        return "no methods of workers\n".to_owned();
    }
    let mut text = table(QUEUE_COLUMNS, &queues);
    if answer["partitions"].is_array() {
        text.push('\n');
        let partitions = rows("partitions");
        if partitions.is_empty() {
            text.push_str("no tasks\n");
        } else {
            text.push_str(&table(PARTITION_COLUMNS, &partitions));
        }
    }
    text
}

pub(super) fn dead_text(answer: &Value) -> String {
    let rows = answer["dead"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() { "no dead tasks\n".to_owned() } else { table(DEAD_COLUMNS, rows) }
}

pub(super) fn task_text(answer: &Value) -> String {
    let mut text = String::new();
    for (title, name) in DEAD_COLUMNS {
        let _ = writeln!(text, "{title}: {}", cell(&answer[name]));
    }
    for (name, value) in answer["request"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "request.{}: {}", printable(name), cell(value));
    }
    text
}

pub(super) fn settled_text(answer: &Value) -> String {
    let outcome = if answer["order"] == "drop" { "removed" } else { "wait for a worker again" };
    let mut text = format!("{} tasks: {outcome}\n", cell(&answer["settled"]));
    for row in answer["kept"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{} stays as it is: {}", cell(&row["task"]), cell(&row["error"]));
    }
    text
}
