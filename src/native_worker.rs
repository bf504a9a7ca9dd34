//! `warren worker FILE.so`: does tasks with the methods of a native library, which runs in this process and no
//! other. What it does to the process ends one attempt: `docs/plugins.md`.
//!
//! Files: `told.rs` a task as it is told, `session.rs` one connection's tasks, `connection.rs` what goes over its
//! socket, `link.rs` the socket, `trust.rs` whom it trusts by TLS, `watch.rs` what goes on beside a method: signals,
//! its time, signs of life.

mod connection;
mod link;
mod session;
mod told;
mod trust;
mod watch;

use std::env::var;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use warren_plugins::Library;

use crate::config::{LogConfig, LogFormat};
use crate::fatal::{Fatal, FatalReason};
use crate::logging;
use crate::worker::{TICKET_VARIABLE, URL_DEFAULT, URL_VARIABLE, USER_VARIABLE};
use connection::{Connection, Lost};
use link::Server;
use session::{Session, Unbegun};
use watch::Watch;

/// The library does not load, as the worker in Python ends then.
const EXIT_LIBRARY: u8 = 65;
/// The server does not let the worker in, or not work.
const EXIT_REFUSED: u8 = 77;
/// Between two tries to connect; twice as long after each other.
const BACKOFF_MS: u64 = 100;
const BACKOFF_MS_MAX: u64 = 10_000;
/// Trying again is of no use: an operator has to do something.
const FINAL: [&str; 16] = [
    "displaced",
    "taken-over",
    "kicked",
    "banned",
    "version-unsupported",
    "tls-required",
    "ticket-missing",
    "ticket-invalid",
    "ticket-audience",
    "ticket-expired",
    "forbidden",
    "name-taken",
    "bad-name",
    "field-invalid",
    "unknown-method",
    "unknown-protocol",
];

/// `warren native-worker FILE`, which `warren worker` becomes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct NativeWorkerArguments {
    /// A native library with methods
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Does tasks until it is told to end.
///
/// # Errors
/// The system lacks something, or the URL is none.
pub fn run(arguments: &NativeWorkerArguments) -> Result<ExitCode, Fatal> {
    let url = var(URL_VARIABLE).unwrap_or_else(|_| URL_DEFAULT.to_owned());
    let invalid = |detail| Fatal::new(FatalReason::ConfigInvalid, detail);
    let server = Server::of(&url).map_err(invalid)?;
    let log = LogConfig { format: LogFormat::Text, level: tracing::Level::INFO };
    let log = Arc::new(logging::start(log)?);
    let library = match Library::load(&arguments.file) {
        Ok(library) => library,
        Err(error) => {
            let (file, word) = (arguments.file.display(), error.word());
            tracing::error!("plugin-refused: {file}: {word}: {error}");
            log.flush();
            return Ok(ExitCode::from(EXIT_LIBRARY));
        }
    };
    if library.methods().is_empty() {
        let file = arguments.file.display();
        tracing::error!("plugin-refused: {file}: no-methods: a worker does methods alone");
        log.flush();
        return Ok(ExitCode::from(EXIT_LIBRARY));
    }
    if !library.behaviours().is_empty() {
        tracing::info!(
            plugin = library.label(),
            "its behaviours are left out: a worker moves no NPCs"
        );
    }
    let watch = Watch::start(Arc::clone(&log))?;
    let ended = work_on(&library, &server, &watch);
    log.flush();
    Ok(ended.map_or_else(|()| ExitCode::from(EXIT_REFUSED), |()| ExitCode::SUCCESS))
}

/// Works whatever happens to the connection. An error when the server does not want the worker.
fn work_on(library: &Library, server: &Server, watch: &Arc<Watch>) -> Result<(), ()> {
    let mut delay_ms = BACKOFF_MS;
    while !watch.is_stopped() {
        let lost = match work(library, server, watch, &mut delay_ms) {
            Ok(()) => break,
            Err(lost) => lost.0,
        };
        if FINAL.contains(&&*lost) {
            tracing::error!(reason = lost, "the server does not want the worker");
            return Err(());
        }
        if !watch.is_stopped() {
            tracing::warn!(reason = lost, delay_ms, "no connection: it is tried again");
            watch.wait(None, Duration::from_millis(delay_ms));
            delay_ms = (delay_ms * 2).min(BACKOFF_MS_MAX);
        }
    }
    tracing::info!("the worker has ended");
    Ok(())
}

/// One connection.
fn work(
    library: &Library,
    server: &Server,
    watch: &Arc<Watch>,
    delay_ms: &mut u64,
) -> Result<(), Lost> {
    let connection = Connection::open(server, watch)?;
    let mut session = Session::new(connection, library, Arc::clone(watch));
    let ticket = var(TICKET_VARIABLE).ok().filter(|ticket| !ticket.is_empty());
    let user = var(USER_VARIABLE).ok().filter(|user| !user.is_empty());
    // A ticket says who comes; another name than its own would be refused.
    let own_name = || ticket.is_none().then(|| format!("worker-{}", std::process::id()));
    let user = user.or_else(own_name);
    match session.begin(user.as_deref(), ticket.as_deref()) {
        Ok(()) => {}
        Err(Unbegun::Lost(lost)) => return Err(lost),
        Err(Unbegun::Refused(said, reason)) => {
            tracing::error!(said, reason, "the server refuses the worker");
            return Err(Lost(reason));
        }
    }
    *delay_ms = BACKOFF_MS;
    let methods: Vec<&str> = library.methods().iter().map(|method| method.name()).collect();
    let address = &*server.address;
    tracing::info!(plugin = library.label(), ?methods, address, "the worker works");
    session.serve().map_err(|lost| session.last_words().map_or(lost, Lost))
}
