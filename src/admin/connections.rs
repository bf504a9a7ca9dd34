//! The endpoint's connections: so many at a time, each with a bounded time for its next request.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::listener::{AdminListener, SocketFile};

/// Connections at a time; one more is closed at once.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// A connection's next request has to be there so soon, up to the end of its headers.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Requests under way when the endpoint stops get so long to end.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// When there is no room for a connection in this process, the next is looked for after this.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

enum Sockets {
    Tcp(tokio::net::TcpListener),
    Unix(
        tokio::net::UnixListener,
        #[expect(dead_code, reason = "it goes with the listener")] SocketFile,
    ),
}

impl Sockets {
    fn of(listener: AdminListener) -> io::Result<Self> {
        Ok(match listener {
            AdminListener::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            AdminListener::Unix(listener, file) => {
                Self::Unix(tokio::net::UnixListener::from_std(listener)?, file)
            }
        })
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Answers until `shutdown` is ready, and a moment longer.
pub(super) async fn serve(
    listener: AdminListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let sockets = Sockets::of(listener)?;
    let (stop, stopped) = watch::channel(false);
    // It goes on beside what the caller waits for, and answers also while that drains.
    let accepting = tokio::spawn(accept_all(sockets, router, stopped));
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

async fn accept_all(sockets: Sockets, router: Router, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            accepted = sockets.accept() => accepted,
            // What has ended needs no more memory.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
                    let (router, stopped) = (router.clone(), stopped.clone());
                    connections.spawn(answer(stream, router, stopped, place));
                }
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

async fn answer(
    stream: Box<dyn Stream>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // What the peer does wrong is the peer's.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the admin endpoint");
    }
}
