//! The admin endpoint: HTTP/1.1 over TCP or a Unix socket, on one thread with a tokio runtime of its
//! own. `/livez`, `/readyz` and `/metrics` only read what shards have published, so a scrape costs
//! them nothing; what `/api` asks of a shard is a command to its next turn.
//!
//! `/livez` fails when a shard makes no turns: restart the process. `/readyz` fails while the
//! server starts or drains: send no new clients. The two must stay apart, or a drain is cut short.
//!
//! Files: `admin/access.rs` who may ask, `admin/token.rs` the token, `admin/listener.rs` where it
//! listens, `admin/connections.rs` connections and their bounds, `admin/api.rs` the routes of `/api`,
//! `admin/workers.rs` those of workers, `admin/ban_book.rs` the list of bans,
//! `admin/plugin_book.rs` plugins, `admin/pages.rs` other lists,
//! `admin/queues.rs` tasks, `admin/requests.rs` what comes in, `admin/answers.rs` what goes out,
//! `admin/desk.rs` all that they need.

mod access;
mod answers;
mod api;
mod ban_book;
mod connections;
mod desk;
pub(crate) mod listener;
mod pages;
mod plugin_book;
mod queues;
mod requests;
pub mod token;
mod workers;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Runtime;

use crate::config::{Endpoint, ServerConfig};
use crate::demo_page;
use crate::fatal::{Fatal, FatalReason};
use crate::metrics::{self, Phase, ServerState};

pub(crate) use access::Access;
use access::Reach;
use answers::{ApiError, ErrorWord};
use api::only;
pub(crate) use ban_book::BanBook;
use connections::{Answering, Caller, LIFE};
pub(crate) use desk::{Desk, RELOADS_MAX, ReloadAsker, ServerOrders};
use listener::AdminListener;
pub(crate) use plugin_book::PluginBook;
pub(crate) use requests::COUNT_MAX as ROWS_PER_PAGE_MAX;
use token::{Token, TokenFiles, runtime_file, token_file_of_data};

/// A request gets so long, from its first byte to the last of its answer.
const REQUEST_WAIT: Duration = Duration::from_secs(15);

/// A runtime for one thread, with io, timers and signals.
///
/// # Errors
/// `SystemRefused` when it cannot be made.
pub(crate) fn make_runtime() -> Result<Runtime, Fatal> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)
}

fn refused(error: std::io::Error) -> Fatal {
    Fatal::new(FatalReason::SystemRefused, error)
}

/// An endpoint that listens and does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: AdminListener,
    endpoint: Endpoint,
    access: Arc<Access>,
    /// How long a connection lives.
    life: Duration,
    /// The token that was made for this life of the server.
    files: TokenFiles,
}

impl AdminServer {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// `ListenFailed` when the place cannot be listened on, `ConfigInvalid` when the token file is
    /// none.
    pub fn bind(config: &ServerConfig) -> Result<Self, Fatal> {
        // Before the socket, so that nobody is answered by a server that does not start.
        let token = config.admin_token_file.as_deref().map(Token::read).transpose();
        let token = token.map_err(|error| {
            let detail = format!("`admin.token_file`: {error}");
            Fatal::new(FatalReason::ConfigInvalid, detail)
        })?;
        let (listener, endpoint) =
            AdminListener::bind(&config.admin_listen).map_err(|error: std::io::Error| {
                let listen = &config.admin_listen;
                let detail = format!("`admin.listen` (`--admin`) {listen}: {error}");
                Fatal::new(FatalReason::ListenFailed, detail)
            })?;
        let reach = Reach::of(&endpoint);
        let (token, files) = match (token, reach) {
            (Some(token), _) => (Some(token), TokenFiles::default()),
            (None, Reach::Socket) => (None, TokenFiles::default()),
            (None, _) => make_token(&endpoint, config.data.as_deref())?,
        };
        let access = Arc::new(Access::new(reach, token, config.admin_token_file.clone()));
        Ok(Self { listener, endpoint, access, life: LIFE, files })
    }

    /// Where it is, with the port that was taken.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Who may ask.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    /// The files of the token that was made for this life of the server: they go when these are
    /// dropped.
    pub(crate) fn take_token_files(&mut self) -> TokenFiles {
        core::mem::take(&mut self.files)
    }

    /// Answers until `shutdown` is ready. Blocks the calling thread; `shutdown` runs in the same
    /// runtime.
    ///
    /// # Errors
    /// `SystemRefused` when the runtime does not take the listener.
    pub(crate) fn run(
        self,
        runtime: &Runtime,
        desk: Arc<Desk>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Fatal> {
        let state = Arc::clone(&desk.state);
        let answering = Answering { router: router(desk, self.access), state, life: self.life };
        runtime.block_on(connections::serve(self.listener, answering, shutdown)).map_err(refused)
    }
}

/// A token for programs of this user: left where they find it.
fn make_token(
    endpoint: &Endpoint,
    data: Option<&Path>,
) -> Result<(Option<Token>, TokenFiles), Fatal> {
    let token = Token::make().map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
    let of_port = endpoint.port().and_then(runtime_file);
    let places = of_port.into_iter().chain(data.map(token_file_of_data));
    let files = TokenFiles::write(&token, places);
    if files.paths().is_empty() {
        tracing::warn!(
            "/api of the admin endpoint is closed: there is no folder to leave its token in; set \
             `admin.token_file`, `server.data` or XDG_RUNTIME_DIR, or listen on a Unix socket"
        );
        return Ok((None, files));
    }
    for path in files.paths() {
        tracing::info!(path = %path.display(), "the token of the admin endpoint");
    }
    Ok((Some(token), files))
}

/// Every request passes the access check first, and has its bounded time.
fn router(desk: Arc<Desk>, access: Arc<Access>) -> Router {
    let state = Arc::clone(&desk.state);
    let check = middleware::from_fn(move |request: Request, next: Next| {
        guard(Arc::clone(&access), Arc::clone(&state), request, next)
    });
    Router::new()
        .route("/livez", only("GET, HEAD", get(livez)))
        .route("/readyz", only("GET, HEAD", get(readyz)))
        .route("/metrics", only("GET, HEAD", get(metrics_text)))
        .merge(api::routes())
        .merge(workers::routes())
        .merge(demo_page::routes(desk.listen))
        .fallback(|| async { ApiError::new(ErrorWord::UnknownPath, "there is nothing here") })
        .layer(check)
        .with_state(desk)
}

async fn guard(
    access: Arc<Access>,
    state: Arc<ServerState>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if let Err(error) = access.check(path, request.headers()) {
        state.count_admin_refusal();
        access.log_refusal(state.monotonic_ns(), path, error.word);
        return error.into_response();
    }
    let caller = request.extensions().get::<Caller>().expect("it comes with each request");
    if access.has_token(request.headers()) {
        caller.trust();
    }
    tokio::time::timeout(REQUEST_WAIT, next.run(request)).await.unwrap_or_else(|_| {
        ApiError::new(ErrorWord::RequestTimeout, "the request took too long").into_response()
    })
}

async fn livez(State(desk): State<Arc<Desk>>) -> (StatusCode, String) {
    let stalled = desk.state.stalled_shards();
    if stalled.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let lines = stalled.iter().map(|shard| {
        let age_s = shard.turn_age_ns as f64 / 1e9;
        format!("shard {} has made no turn for {age_s:.1} s\n", shard.index)
    });
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

async fn readyz(State(desk): State<Arc<Desk>>) -> (StatusCode, String) {
    let phase = desk.state.phase();
    let status = match phase {
        Phase::Serving => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", phase.word()))
}

async fn metrics_text(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&desk.state, desk.plugins.rows()))
}

#[cfg(test)]
mod tests;
