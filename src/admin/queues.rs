//! Tasks: the queues of all shards together, and dead tasks, which the operator looks at, tries again or
//! removes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warren_core::control::{
    Answer, Command, DeadOrder, DeadRow, DeadTasks, PartitionRow, QueueRow, SettledRow, TaskCounts,
    TaskTotals,
};
use warren_core::ids::{ObjectId, PartitionId};
use warren_core::message::{Message, Value as FieldValue};
use warren_core::name::check_name;
use warren_core::reason::Reason;

use super::answers::{ApiError, ErrorWord, ok};
use super::desk::Desk;
use super::pages::{begin, gather, gather_all};
use super::requests::{COUNT_MAX, PageQuery, body_of, parameters};

/// Dead tasks that one request tries again or removes; the answer says where to go on.
const SETTLED_MAX: usize = 10_000;

type Answered = Result<Response, ApiError>;

/// How the tasks of each method stand, and of the deepest partitions if anybody asks for these.
pub(super) async fn queues(State(desk): State<Arc<Desk>>, uri: Uri) -> Answered {
    let mut partitions = None;
    for (name, value) in parameters(&uri)? {
        let count = value.parse().ok().filter(|count: &usize| *count <= COUNT_MAX);
        match (name.as_str(), count) {
            ("partitions", Some(count)) => partitions = Some(count),
            ("partitions", None) => {
                let told = format!("`partitions` is a number up to {COUNT_MAX}");
                return Err(ApiError::malformed(told));
            }
            _ => return Err(ApiError::malformed("a parameter that is not known here")),
        }
    }
    let command = |from, count| Command::ListQueues { from, count };
    let rows = gather_all(&desk, 0, command, |reply| {
        let Answer::Queues(page) = reply.answer else { panic!("it was asked for queues") };
        (page.rows, page.next)
    })
    .await?;
    let mut queues: BTreeMap<Box<str>, QueueRow> = BTreeMap::new();
    for row in rows {
        match queues.get_mut(&row.method) {
            Some(sum) => add(sum, &row),
            None => _ = queues.insert(row.method.clone(), row),
        }
    }
    let mut answer = json!({ "queues": queues.values().map(queue_row).collect::<Vec<_>>() });
    if let Some(count) = partitions {
        answer["partitions"] = deepest(&desk, count).await?;
    }
    Ok(ok(&answer))
}

async fn deepest(desk: &Desk, count: usize) -> Result<Value, ApiError> {
    let command = |from, _| Command::DeepestPartitions { from: PartitionId(from), count };
    let mut rows = gather_all(desk, 0, command, |reply| {
        let Answer::Partitions(page) = reply.answer else { panic!("it was asked for partitions") };
        (page.rows, page.next.map(|next| next.0))
    })
    .await?;
    rows.sort_by_key(|row: &PartitionRow| (core::cmp::Reverse(row.counts.open()), row.partition.0));
    rows.truncate(count);
    let row = |row: &PartitionRow| {
        let mut told = json!({
            "partition": row.partition.0,
            "shard": desk.routing.shard_of(row.partition).0,
        });
        tell_counts(&mut told, row.counts);
        told
    };
    Ok(rows.iter().map(row).collect())
}

fn add(sum: &mut QueueRow, row: &QueueRow) {
    let (counts, totals) = (&mut sum.counts, &mut sum.totals);
    let TaskCounts { delayed, ready, leased, done, dead } = row.counts;
    counts.delayed += delayed;
    counts.ready += ready;
    counts.leased += leased;
    counts.done += done;
    counts.dead += dead;
    sum.oldest_ms = sum.oldest_ms.max(row.oldest_ms);
    let TaskTotals { taken, leased, done, failed, lost, expired } = row.totals;
    totals.taken += taken;
    totals.leased += leased;
    totals.done += done;
    totals.failed += failed;
    totals.lost += lost;
    totals.expired += expired;
}

fn tell_counts(row: &mut Value, counts: TaskCounts) {
    row["ready"] = counts.ready.into();
    row["delayed"] = counts.delayed.into();
    row["leased"] = counts.leased.into();
    row["remembered"] = counts.done.into();
    row["dead"] = counts.dead.into();
}

fn queue_row(queue: &QueueRow) -> Value {
    let totals = queue.totals;
    let mut row = json!({
        "method": queue.method,
        "oldest_wait_ms": queue.oldest_ms,
        "taken_total": totals.taken,
        "leased_total": totals.leased,
        "done_total": totals.done,
        "failed_total": totals.failed,
        "lost_total": totals.lost,
        "expired_total": totals.expired,
    });
    tell_counts(&mut row, queue.counts);
    row
}

/// `?after=…&count=…&method=…` of a page, or `?task=…`.
pub(super) async fn dead(State(desk): State<Arc<Desk>>, uri: Uri) -> Answered {
    let (mut method, mut task) = (None, None);
    let mut query = PageQuery::DEFAULT;
    for (name, value) in parameters(&uri)? {
        match name.as_str() {
            "method" => method = Some(checked_method(&value)?.into()),
            "task" => task = Some(checked_task(&value)?),
            _ => query.take(&name, value, false)?,
        }
    }
    if let Some(task) = task {
        return show(&desk, task).await;
    }
    let command = |from, count| Command::ListDead { from, count, method: method.clone() };
    let first = ObjectId(0);
    let at = begin(&desk, query.after.as_deref(), first)?;
    let (rows, next) = gather(&desk, at, first, query.count, command, |reply| {
        let Answer::Dead(page) = reply.answer else { panic!("it was asked for dead tasks") };
        (page.rows, page.next)
    })
    .await?;
    let rows: Vec<_> = rows.iter().map(dead_row).collect();
    Ok(ok(&json!({ "dead": rows, "after": next.map(|next| next.text()) })))
}

async fn show(desk: &Desk, task: ObjectId) -> Answered {
    let shard = desk.routing.shard_of(task.partition());
    match desk.controls.ask(shard, Command::ShowDead(task)).await?.answer {
        Answer::DeadTask(Some(row)) => {
            let mut told = dead_row(&row);
            told["request"] = fields(Message::from_checked(&row.request));
            Ok(ok(&told))
        }
        Answer::DeadTask(None) => Err(unknown(task)),
        other => panic!("a shard answers what it was asked: {other:?}"),
    }
}

fn unknown(task: ObjectId) -> ApiError {
    ApiError::new(ErrorWord::UnknownTask, format!("{task} is no dead task"))
}

fn dead_row(row: &DeadRow) -> Value {
    json!({
        "task": row.task.to_string(),
        "method": row.method,
        "user": row.user,
        "attempts": row.attempts,
        "error_text": row.error_text,
        "key": row.key,
        "target": row.target.map(|target| target.to_string()),
    })
}

/// The fields of a message as JSON has them.
fn fields(message: Message<'_>) -> Value {
    let value = |value: FieldValue<'_>| match value {
        FieldValue::Null => Value::Null,
        FieldValue::Integer(number) => number.into(),
        FieldValue::Float(number) => number.into(),
        FieldValue::Boolean(is_true) => is_true.into(),
        FieldValue::List(texts) => texts.iter().collect(),
        FieldValue::Text(_) | FieldValue::Bytes(_) | FieldValue::Object(_) => {
            value.to_string().into()
        }
    };
    message.fields().map(|(name, of)| (name.to_owned(), value(of))).collect::<Map<_, _>>().into()
}

/// `{"order": "retry" or "drop", "task": …}`, or in place of the task `"all": true`, with which go `method`
/// and `after`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadBody {
    order: OrderWord,
    task: Option<String>,
    #[serde(default)]
    all: bool,
    method: Option<String>,
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderWord {
    Retry,
    Drop,
}

pub(super) async fn settle_dead(State(desk): State<Arc<Desk>>, body: Body) -> Answered {
    let body: DeadBody = body_of(body).await?;
    let (order, word) = match body.order {
        OrderWord::Retry => (DeadOrder::Retry, "retry"),
        OrderWord::Drop => (DeadOrder::Drop, "drop"),
    };
    let (rows, next) = match (&body.task, body.all) {
        (Some(task), false) if body.method.is_none() && body.after.is_none() => {
            (vec![settle_one(&desk, order, checked_task(task)?).await?], None)
        }
        (None, true) => settle_all(&desk, order, &body).await?,
        _ => {
            let told = "either `task`, or `all` and perhaps `method` and `after`";
            return Err(ApiError::malformed(told));
        }
    };
    let kept: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.task, row.refused?)))
        .map(|(task, reason)| json!({ "task": task.to_string(), "error": reason.word() }))
        .collect();
    let settled = rows.len() - kept.len();
    tracing::info!(order = word, task = body.task, method = body.method, settled, "dead tasks");
    Ok(ok(&json!({ "order": word, "settled": settled, "kept": kept, "after": next })))
}

/// What is not done is a refusal.
async fn settle_one(desk: &Desk, order: DeadOrder, task: ObjectId) -> Result<SettledRow, ApiError> {
    let shard = desk.routing.shard_of(task.partition());
    let tasks = DeadTasks::One(task);
    let reply = desk.controls.ask(shard, Command::SettleDead { order, tasks }).await?;
    let Answer::DeadSettled(page) = reply.answer else { panic!("it was asked for an order") };
    let row = page.rows[0];
    match row.refused {
        None => Ok(row),
        Some(Reason::UnknownObject) => Err(unknown(task)),
        Some(Reason::TaskPending) => {
            let detail = format!("the user of {task} has asked for the same `key` again since");
            Err(ApiError::new(ErrorWord::KeyTaken, detail))
        }
        Some(Reason::QueueFull) => {
            let detail = "the partition has `limits.tasks_per_partition_max` tasks";
            Err(ApiError::new(ErrorWord::QueueFull, detail))
        }
        Some(_) => {
            Err(ApiError::new(ErrorWord::Busy, "what changes is not stored fast enough: try again"))
        }
    }
}

async fn settle_all(
    desk: &Desk,
    order: DeadOrder,
    body: &DeadBody,
) -> Result<(Vec<SettledRow>, Option<String>), ApiError> {
    let method = body.method.as_deref().map(checked_method).transpose()?;
    let command = |from, count| {
        let tasks = DeadTasks::From { from, count, method: method.map(Into::into) };
        Command::SettleDead { order, tasks }
    };
    let first = ObjectId(0);
    let at = begin(desk, body.after.as_deref(), first)?;
    let (rows, next) = gather(desk, at, first, SETTLED_MAX, command, |reply| {
        let Answer::DeadSettled(page) = reply.answer else { panic!("it was asked for an order") };
        (page.rows, page.next)
    })
    .await?;
    Ok((rows, next.map(|next| next.text())))
}

fn checked_method(method: &str) -> Result<&str, ApiError> {
    let told = |_| ApiError::malformed("`method` is no name of a method");
    check_name(method.as_bytes()).map_err(told)
}

fn checked_task(task: &str) -> Result<ObjectId, ApiError> {
    task.parse().map_err(|_| ApiError::malformed("`task` is no id of a task, as 171.9 is"))
}
