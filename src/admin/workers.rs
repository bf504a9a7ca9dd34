//! Workers: sessions that do tasks, processes that the server has started for that, and orders for these.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use warren_core::control::{Answer, Command, Leases, WorkerRow};

use super::answers::{ApiError, ErrorWord, json as json_answer, ok};
use super::api::{END_WAIT, only};
use super::desk::Desk;
use super::pages::{begin, gather, session_text};
use super::requests::{PageQuery, body_of};
use crate::control::{Asking, Reply};
use crate::workers::{NotTaken, WorkerOrder};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/api/workers", only("GET, HEAD, POST", get(workers).post(order)))
        .route("/api/workers/order", only("POST", post(order_end)))
}

/// A page of sessions that do tasks, and all processes.
async fn workers(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<Response, ApiError> {
    let query = PageQuery::of(&uri, false)?;
    let command = |from, count| Command::ListWorkers { from, count };
    let part_of = |reply: Reply| match reply.answer {
        Answer::Workers(page) => (page.rows, page.next),
        other => panic!("a shard answers what it was asked: {other:?}"),
    };
    let at = begin(&desk, query.after.as_deref(), 0)?;
    let (rows, next) = gather(&desk, at, 0, query.count, command, part_of).await?;
    let sessions = rows.iter().map(|row| row.session).collect();
    let leases = desk.leases_of(Asking::Operator, sessions).await?;
    let rows: Vec<Value> =
        rows.iter().zip(leases).map(|(row, leases)| row_of(row, leases)).collect();
    let after = next.map(|next| next.text());
    Ok(ok(&json!({ "workers": rows, "after": after, "processes": desk.workers.rows() })))
}

fn row_of(row: &WorkerRow, leases: Leases) -> Value {
    json!({
        "session": session_text(row.session),
        "user": row.user,
        "shard": row.session.shard.0,
        "plugins": row.plugins,
        "methods": row.methods,
        "behaviours": row.behaviours,
        "credits": row.credits,
        "leased": leases.count,
        "oldest_ms": (leases.count > 0).then_some(leases.oldest_ms),
        "asked": leases.thinks,
        "silent_ms": leases.silent_ms,
    })
}

/// `{"workers": …, "order": …}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    workers: String,
    order: String,
}

/// Gives an order to the processes of a section. What comes of it is asked for by its number.
async fn order(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, ApiError> {
    let OrderBody { workers, order } = body_of(body).await?;
    let order =
        [WorkerOrder::Restart, WorkerOrder::Reload].into_iter().find(|it| it.word() == order);
    let order = order.ok_or_else(|| ApiError::malformed("`order` is `restart` or `reload`"))?;
    let number = desk.workers.order(&workers, order).map_err(|error| match error {
        NotTaken::Unknown => unknown(&workers),
        NotTaken::Busy => ApiError::new(
            ErrorWord::Busy,
            "orders for these workers wait already, or the server ends",
        ),
    })?;
    let begun = json!({ "phase": "running", "workers": workers, "number": number });
    Ok(json_answer(StatusCode::ACCEPTED, &begun))
}

/// `{"workers": …, "number": …}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderEndBody {
    workers: String,
    number: u64,
}

/// Waits a while for the end of an order, and tells how far it is.
async fn order_end(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, ApiError> {
    let OrderEndBody { workers, number } = body_of(body).await?;
    let wait: Duration = END_WAIT;
    let phase = match tokio::time::timeout(wait, desk.workers.end(&workers, number)).await {
        Err(_) => "running",
        Ok(None) => return Err(unknown(&workers)),
        Ok(Some(Err(why))) => return Err(ApiError::new(ErrorWord::OrderFailed, why)),
        Ok(Some(Ok(()))) => "done",
    };
    Ok(ok(&json!({ "phase": phase, "workers": workers, "number": number })))
}

fn unknown(workers: &str) -> ApiError {
    let detail = format!("there is no section `workers.{workers}`");
    ApiError::new(ErrorWord::UnknownWorkers, detail)
}
