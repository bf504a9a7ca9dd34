//! The admin endpoint: `/livez`, `/readyz` and `/metrics` over HTTP/1.1, on one thread with a
//! tokio runtime of its own. It only reads what shards have published, so a scrape costs them
//! nothing.
//!
//! `/livez` fails when a shard makes no turns: restart the process. `/readyz` fails while the
//! server starts or drains: send no new clients. The two must stay apart, or a drain is cut short.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::demo_page;
use crate::fatal::{Fatal, FatalReason};
use crate::metrics::{self, Phase, ServerState};

/// Requests under way when the endpoint stops get so long to end.
const STOP_GRACE: Duration = Duration::from_secs(1);

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
    listener: std::net::TcpListener,
    listen: SocketAddr,
    /// Where clients connect to the server.
    game: SocketAddr,
    state: Arc<ServerState>,
}

impl AdminServer {
    /// Listens. Port 0 takes a free one. Clients of the server connect to `game`.
    ///
    /// # Errors
    /// `ListenFailed` when the address cannot be listened on.
    pub fn bind(
        listen: SocketAddr,
        game: SocketAddr,
        state: Arc<ServerState>,
    ) -> Result<Self, Fatal> {
        let open = || {
            let listener = std::net::TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            let listen = listener.local_addr()?;
            Ok((listener, listen))
        };
        let (listener, listen) = open().map_err(|error: std::io::Error| {
            let detail = format!("`admin.listen` (`--admin`) {listen}: {error}");
            Fatal::new(FatalReason::ListenFailed, detail)
        })?;
        Ok(Self { listener, listen, game, state })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Answers until `shutdown` is ready. Blocks the calling thread; `shutdown` runs in the same
    /// runtime.
    ///
    /// # Errors
    /// `SystemRefused` when the runtime does not take the listener.
    pub fn run(self, runtime: &Runtime, shutdown: impl Future<Output = ()>) -> Result<(), Fatal> {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(refused)?;
            let (stop, stopped) = oneshot::channel::<()>();
            let server = axum::serve(listener, router(self.game, self.state))
                .with_graceful_shutdown(async {
                    // A sender that is gone means the same.
                    let _ = stopped.await;
                });
            let server = tokio::spawn(server.into_future());
            shutdown.await;
            let _ = stop.send(());
            // A request that does not end must not keep the process alive.
            let _ = tokio::time::timeout(STOP_GRACE, server).await;
            Ok(())
        })
    }

    /// Answers on a thread of its own until the returned value is dropped or stopped.
    ///
    /// # Errors
    /// `SystemRefused` when the thread cannot be started.
    pub fn start(self) -> Result<AdminThread, Fatal> {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("warren-admin".to_owned())
            .spawn(move || {
                self.run(&make_runtime()?, async {
                    let _ = stopped.await;
                })
            })
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok(AdminThread { stop: Some(stop), thread: Some(thread) })
    }
}

/// A running endpoint. Dropping it stops it.
#[derive(Debug)]
pub struct AdminThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Fatal>>>,
}

impl AdminThread {
    /// Stops the endpoint and waits for its thread.
    ///
    /// # Errors
    /// What ended the thread, if it was not this.
    pub fn stop(mut self) -> Result<(), Fatal> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Fatal> {
        if let Some(stop) = self.stop.take() {
            // It fails when the thread has ended already.
            let _ = stop.send(());
        }
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Fatal::new(FatalReason::ThreadFailed, "the admin thread panicked")),
        }
    }
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        if let Err(fatal) = self.end() {
            tracing::error!(reason = fatal.reason.word(), detail = fatal.detail, "admin");
        }
    }
}

fn router(game: SocketAddr, state: Arc<ServerState>) -> Router {
    Router::new()
        .merge(demo_page::routes(game))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(state)
}

async fn livez(State(state): State<Arc<ServerState>>) -> (StatusCode, String) {
    let stalled = state.stalled_shards();
    if stalled.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let lines = stalled.iter().map(|shard| {
        let age_s = shard.turn_age_ns as f64 / 1e9;
        format!("shard {} has made no turn for {age_s:.1} s\n", shard.index)
    });
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

async fn readyz(State(state): State<Arc<ServerState>>) -> (StatusCode, String) {
    let phase = state.phase();
    let status = match phase {
        Phase::Serving => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", phase.word()))
}

async fn metrics_text(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&state))
}

#[cfg(test)]
mod tests;
