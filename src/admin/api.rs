//! The routes of `/api`: what each asks of the desk, and what it answers.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use warren_core::bans::NEVER_MS;
use warren_core::reason::Reason;

use super::answers::{ApiError, ErrorWord, json as json_answer, ok};
use super::desk::Desk;
use super::pages::{digests_page, rooms_page, sessions_page};
use super::plugin_book::plugin_row;
use super::queues::{dead, queues, settle_dead};
use super::requests::{
    BackupBody, BanBody, KickBody, PageQuery, PluginBody, PluginFileBody, body_of, checked_reason,
    checked_user, number_of,
};
use crate::backup::{BackupState, NotBegun};
use crate::bans::{Ban, Subject};
use crate::metrics::Phase;
use crate::reload::ReloadReport;

/// Who waits for the end of a drain, a backup or another order is answered after this, and may ask again. Less than a
/// request may take.
pub(super) const END_WAIT: Duration = Duration::from_secs(10);

type Desked = State<Arc<Desk>>;
type Answered = Result<Response, ApiError>;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/api/status", only("GET, HEAD", get(status)))
        .route("/api/sessions", only("GET, HEAD", get(sessions)))
        .route("/api/rooms", only("GET, HEAD", get(rooms)))
        .route("/api/queues", only("GET, HEAD", get(queues)))
        .route("/api/dead", only("GET, HEAD, POST", post(settle_dead).get(dead)))
        .route("/api/digests", only("GET, HEAD", get(digests)))
        .route("/api/kick", only("POST", post(kick)))
        .route("/api/ban", only("POST, DELETE", post(ban).delete(unban)))
        .route("/api/bans", only("GET, HEAD", get(bans)))
        .route("/api/plugins", only("GET, HEAD", get(plugins)))
        .route("/api/plugins/load", only("POST", post(load_plugin)))
        .route("/api/plugins/rollback", only("POST", post(roll_back_plugin)))
        .route("/api/drain", only("GET, HEAD, POST", post(drain).get(drain_end)))
        .route("/api/reload", only("POST", post(reload)))
        .route("/api/backup", only("GET, HEAD, POST", post(backup).get(backup_end)))
}

/// Says which methods there are to whoever comes with another.
pub(super) fn only(
    allowed: &'static str,
    methods: MethodRouter<Arc<Desk>>,
) -> MethodRouter<Arc<Desk>> {
    methods.fallback(move || async move { ApiError::method_not_allowed(allowed) })
}

async fn status(State(desk): Desked) -> Response {
    let shards: Vec<_> = desk.state.summaries().collect();
    let sum =
        |read: fn(&crate::metrics::ShardSummary) -> u64| -> u64 { shards.iter().map(read).sum() };
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": desk.state.phase().word(),
        "listen": desk.listen,
        "uptime_ms": desk.clock.monotonic_ns() / 1_000_000,
        "connections": sum(|shard| shard.connections),
        "sessions": sum(|shard| shard.sessions),
        "rooms": sum(|shard| shard.rooms),
        "objects": sum(|shard| shard.objects),
        "bans": desk.bans.list().len(),
        "shards": shards,
    }))
}

async fn sessions(State(desk): Desked, uri: Uri) -> Answered {
    sessions_page(&desk, &PageQuery::of(&uri, true)?).await
}

async fn rooms(State(desk): Desked, uri: Uri) -> Answered {
    rooms_page(&desk, &PageQuery::of(&uri, false)?).await
}

async fn digests(State(desk): Desked, uri: Uri) -> Answered {
    digests_page(&desk, &PageQuery::of(&uri, false)?).await
}

async fn kick(State(desk): Desked, body: Body) -> Answered {
    let body: KickBody = body_of(body).await?;
    let user = checked_user(&body.user)?;
    let note = checked_reason(&body.reason)?;
    let Some(session) = desk.end_session(user, Reason::Kicked).await? else {
        return Err(ApiError::new(ErrorWord::UnknownUser, format!("{user} is not here")));
    };
    tracing::info!(user, note, "kicked");
    Ok(ok(&json!({ "user": user, "session": super::pages::session_text(session) })))
}

async fn ban(State(desk): Desked, body: Body) -> Answered {
    let body: BanBody = body_of(body).await?;
    let subject = body.subject()?;
    let since_ms = desk.clock.now().wall_ms;
    let until_ms = match body.time()? {
        None => NEVER_MS,
        Some(time) => u64::try_from(time.as_millis())
            .ok()
            .and_then(|time_ms| since_ms.checked_add(time_ms))
            .filter(|until_ms| *until_ms <= LAST_MS)
            .ok_or_else(|| ApiError::malformed("`for` ends after the year 9999; leave it out"))?,
    };
    let ban = Ban { since_ms, until_ms, reason: body.reason()? };
    let session = desk.ban(subject.clone(), ban.clone()).await?;
    let mut answer = ban_row(&subject, &ban);
    answer["stored"] = desk.bans.list().is_stored().into();
    answer["session"] = session.map(super::pages::session_text).into();
    Ok(ok(&answer))
}

async fn unban(State(desk): Desked, body: Body) -> Answered {
    let body: BanBody = body_of(body).await?;
    if !body.is_subject_alone() {
        return Err(ApiError::malformed("a ban is ended by `user` or `address` alone"));
    }
    let subject = body.subject()?;
    desk.unban(subject.clone()).await?;
    let is_stored = desk.bans.list().is_stored();
    Ok(ok(&json!({ subject_key(&subject): subject.to_string(), "stored": is_stored })))
}

async fn bans(State(desk): Desked, uri: Uri) -> Answered {
    let query = PageQuery::of(&uri, false)?;
    let after = query.after.as_deref().map(str::parse::<Subject>).transpose();
    let after = after.map_err(|_| ApiError::malformed("`after` is none of a page before"))?;
    let now_ms = desk.clock.now().wall_ms;
    let list = desk.bans.list();
    let mut rows = list.after(after.as_ref()).filter(|(_, ban)| now_ms < ban.until_ms);
    let page: Vec<_> = rows.by_ref().take(query.count).collect();
    let next = rows.next().and_then(|_| page.last().map(|(subject, _)| subject.to_string()));
    let page: Vec<Value> = page.into_iter().map(|(subject, ban)| ban_row(subject, ban)).collect();
    Ok(ok(&json!({ "bans": page, "after": next, "stored": list.is_stored() })))
}

async fn plugins(State(desk): Desked) -> Response {
    let rows: Vec<Value> = desk.plugins.rows().iter().map(plugin_row).collect();
    ok(&json!({ "plugins": rows, "libraries": warren_plugins::Library::loads() }))
}

async fn load_plugin(State(desk): Desked, body: Body) -> Answered {
    let file = body_of::<PluginFileBody>(body).await?.file()?;
    Ok(ok(&plugin_row(&desk.load_plugin(file).await?)))
}

async fn roll_back_plugin(State(desk): Desked, body: Body) -> Answered {
    let PluginBody { plugin } = body_of(body).await?;
    Ok(ok(&plugin_row(&desk.roll_back_plugin(plugin).await?)))
}

async fn drain(State(desk): Desked) -> Response {
    let is_first = desk.state.phase() != Phase::Draining;
    if is_first {
        tracing::info!("the admin endpoint was asked to drain");
    }
    // Whoever waits for it hears it, now or when it begins to wait.
    desk.orders.drain.notify_one();
    json_answer(StatusCode::ACCEPTED, &json!({ "phase": Phase::Draining.word() }))
}

/// Waits a while for the end of a drain, and tells how far it is.
async fn drain_end(State(desk): Desked) -> Answered {
    match tokio::time::timeout(END_WAIT, desk.orders.end()).await {
        Err(_) => Ok(ok(&json!({ "phase": desk.state.phase().word() }))),
        Ok(Ok(())) => Ok(ok(&json!({ "phase": "drained" }))),
        Ok(Err(error)) => Err(ApiError::new(ErrorWord::NotStored, error)),
    }
}

async fn backup(State(desk): Desked, body: Body) -> Answered {
    let folder = body_of::<BackupBody>(body).await?.folder()?;
    let taken_ms = desk.clock.now().wall_ms;
    let number = desk.backups.begin(folder, taken_ms).map_err(|error| match error {
        NotBegun::NothingStored => {
            ApiError::new(ErrorWord::NothingStored, "this server has no data folder")
        }
        NotBegun::Busy => {
            ApiError::new(ErrorWord::Busy, "a backup is being made, or the server ends")
        }
    })?;
    let begun = json!({ "phase": "running", "number": number });
    Ok(json_answer(StatusCode::ACCEPTED, &begun))
}

/// Waits a while for the end of a backup, and tells how far it is.
async fn backup_end(State(desk): Desked, uri: Uri) -> Answered {
    let number = number_of(&uri)?;
    let mut state = desk.backups.state(number);
    if let BackupState::Running(number) = state {
        // Of no other that begins when this one has ended.
        let ended = tokio::time::timeout(END_WAIT, desk.backups.end(number)).await;
        state = ended.unwrap_or(state);
    }
    match (state, number) {
        (BackupState::Running(number), _) => {
            Ok(ok(&json!({ "phase": "running", "number": number })))
        }
        (BackupState::Ended(Ok(answer)), _) => Ok(ok(&answer)),
        (BackupState::Ended(Err(error)), _) => Err(ApiError::new(ErrorWord::BackupFailed, error)),
        (BackupState::Unknown, None) => Ok(ok(&json!({ "phase": "none" }))),
        (BackupState::Unknown, Some(number)) => {
            let detail = format!("backup {number} is none of this server's last ones");
            Err(ApiError::new(ErrorWord::UnknownBackup, detail))
        }
    }
}

async fn reload(State(desk): Desked) -> Answered {
    let nothing = || {
        let detail = "this server reads no configuration file";
        ApiError::new(ErrorWord::NothingToReload, detail)
    };
    let reloads = desk.orders.reloads.as_ref().ok_or_else(nothing)?;
    let (asker, told) = oneshot::channel();
    reloads.try_send(asker).map_err(|_| {
        ApiError::new(ErrorWord::Busy, "the configuration is being read again already")
    })?;
    let gone = |_| ApiError::new(ErrorWord::Busy, "the server is on its way out");
    match told.await.map_err(gone)? {
        ReloadReport::NoFile => Err(nothing()),
        ReloadReport::Refused(error) => Err(ApiError::new(ErrorWord::ConfigInvalid, error)),
        ReloadReport::Read { token: Some(Err(error)), .. } => {
            let detail = format!("the token stays as it was, all else was read: {error}");
            Err(ApiError::new(ErrorWord::ConfigInvalid, detail))
        }
        ReloadReport::Read { certificate: Some(Err(error)), .. } => {
            let detail = format!("the certificate stays as it was, all else was read: {error}");
            Err(ApiError::new(ErrorWord::ConfigInvalid, detail))
        }
        ReloadReport::Read { log_level, waiting, token, .. } => Ok(ok(&json!({
            "log_level": log_level.map(|level| level.to_string().to_lowercase()),
            "waiting": waiting,
            "token": token.is_some(),
        }))),
    }
}

/// The last moment that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

pub(crate) fn time_text(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// None: it has no end.
pub(super) fn until_text(until_ms: u64) -> Option<String> {
    (until_ms != NEVER_MS).then(|| time_text(until_ms))
}

fn subject_key(subject: &Subject) -> &'static str {
    match subject {
        Subject::User(_) => "user",
        Subject::Addresses(_) => "address",
    }
}

fn ban_row(subject: &Subject, ban: &Ban) -> Value {
    json!({
        subject_key(subject): subject.to_string(),
        "since": time_text(ban.since_ms),
        "until": until_text(ban.until_ms),
        "reason": ban.reason,
    })
}
