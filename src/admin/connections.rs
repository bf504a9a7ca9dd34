//! The endpoint's connections: so many at a time, each with a bounded time for its next request and a
//! bounded life. Whoever does not read what it has asked for holds a place no longer than that, and
//! keeps nobody out meanwhile: when all places are taken, the oldest connection that has shown no token
//! makes room for the next.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::REQUEST_WAIT;
use super::listener::{AdminListener, SocketFile};
use crate::metrics::ServerState;

/// Connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// A connection's life: it takes requests for half of it, and has the rest for its last answer.
pub(super) const LIFE: Duration = Duration::from_secs(60);
/// A connection's next request has to be there so soon, up to the end of its headers.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Requests under way when the endpoint stops get so long to end.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// When there is no room for a connection in this process, the next is looked for after this.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

// The last request can end, and its answer be read.
const _: () = assert!(LIFE.as_secs() / 2 > REQUEST_WAIT.as_secs());

enum Sockets {
    Tcp(tokio::net::TcpListener),
    Unix(
        #[expect(dead_code, reason = "it goes with the listener, and before it")] SocketFile,
        tokio::net::UnixListener,
    ),
}

impl Sockets {
    fn of(listener: AdminListener) -> io::Result<Self> {
        Ok(match listener {
            AdminListener::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            AdminListener::Unix(file, listener) => {
                Self::Unix(file, tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Unix(_, listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What is known of who is at the other end of a connection. It goes along with each request.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    has_shown_token: Arc<AtomicBool>,
}

impl Caller {
    /// The caller has shown the token: nobody else makes it lose its place.
    pub(super) fn trust(&self) {
        self.has_shown_token.store(true, Relaxed);
    }

    fn is_trusted(&self) -> bool {
        self.has_shown_token.load(Relaxed)
    }
}

/// What answers on all connections.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) router: Router,
    pub(super) state: Arc<ServerState>,
    /// How long a connection lives.
    pub(super) life: Duration,
}

/// Answers until `shutdown` is ready, and a moment longer.
pub(super) async fn serve(
    listener: AdminListener,
    answering: Answering,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let sockets = Sockets::of(listener)?;
    let (stop, stopped) = watch::channel(false);
    // It goes on beside what the caller waits for, and answers also while that drains.
    let accepting = tokio::spawn(accept_all(sockets, answering, stopped));
    shutdown.await;
    // A receiver that is gone means that it has ended by itself.
    let _ = stop.send(true);
    // A request that does not end must not keep the process alive.
    let _ = tokio::time::timeout(STOP_GRACE, accepting).await;
    Ok(())
}

/// Ready when the endpoint is to stop; who said so may be gone.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn accept_all(sockets: Sockets, answering: Answering, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    loop {
        let accepted = tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            accepted = sockets.accept() => accepted,
            // What has ended needs no more memory.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                let room = places.make_room();
                if room != Room::Free {
                    answering.state.count_admin_cut();
                }
                if room != Room::None {
                    let caller = Caller::default();
                    let (answering, stopped) = (answering.clone(), stopped.clone());
                    let answer = answer(stream, answering, caller.clone(), stopped);
                    places.take(caller, connections.spawn(answer));
                }
                // Whoever has come, and whoever is to go, has its turn before the next comes.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::debug!(%error, "the admin endpoint cannot accept");
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
            }
        }
    }
    drop(sockets);
    while connections.join_next().await.is_some() {}
}

/// The connections that are there, the oldest first.
#[derive(Default)]
struct Places(VecDeque<(Caller, AbortHandle)>);

/// Whether there is room for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Free,
    /// Another one had to go.
    Made,
    /// All that are there have shown the token.
    None,
}

impl Places {
    fn make_room(&mut self) -> Room {
        if self.0.len() < CONNECTIONS_MAX {
            return Room::Free;
        }
        self.0.retain(|(_, connection)| !connection.is_finished());
        if self.0.len() < CONNECTIONS_MAX {
            return Room::Free;
        }
        let Some(oldest) = self.0.iter().position(|(caller, _)| !caller.is_trusted()) else {
            return Room::None;
        };
        let (_, connection) = self.0.remove(oldest).expect("it was found there");
        connection.abort();
        Room::Made
    }

    fn take(&mut self, caller: Caller, connection: AbortHandle) {
        self.0.push_back((caller, connection));
    }
}

async fn answer(
    stream: Box<dyn Stream>,
    Answering { router, state, life }: Answering,
    caller: Caller,
    mut stopped: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::time::timeout(life, async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = told_to_stop(&mut stopped) => {}
            () = tokio::time::sleep(life / 2) => {}
        }
        // What it has asked for is still answered.
        connection.as_mut().graceful_shutdown();
        connection.await
    });
    match ended.await {
        Ok(Ok(())) => {}
        // What the peer does wrong is the peer's.
        Ok(Err(error)) => tracing::debug!(%error, "a connection of the admin endpoint"),
        // Its timers do not help against a peer that does not read.
        Err(_) => state.count_admin_cut(),
    }
}
