//! What goes on beside a worker's methods, on a thread of its own: signals that end the worker, methods that
//! take too long, and signs of life to the server while a method is at work.

use std::io::{self, PipeReader, PipeWriter, Write, pipe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};

use super::connection::Outlet;
use crate::clock::Clock;
use crate::fatal::{Fatal, FatalReason};
use crate::logging::LogGuard;
use crate::stop_signals::StopSignals;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(50);

/// What the worker and the thread beside it share.
pub(super) struct Watch {
    pub(super) clock: Clock,
    is_stopped: AtomicBool,
    /// Readable from the moment at which the worker is to end.
    woken: PipeReader,
    /// Until when the method at work has to return; 0: none is at work.
    until_ns: AtomicU64,
    outlet: Mutex<Option<Arc<Outlet>>>,
}

impl Watch {
    /// Starts the thread. It lives as long as the process.
    ///
    /// # Errors
    /// The system lacks something.
    pub(super) fn start(log: Arc<LogGuard>) -> Result<Arc<Self>, Fatal> {
        let refused = |error: io::Error| Fatal::new(FatalReason::SystemRefused, error);
        let (woken, wake) = pipe().map_err(refused)?;
        let watch = Arc::new(Self {
            clock: Clock::start(),
            is_stopped: AtomicBool::new(false),
            woken,
            until_ns: AtomicU64::new(0),
            outlet: Mutex::new(None),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        // From here on no signal is missed.
        let signals = runtime.block_on(async { StopSignals::watch() });
        let shared = Arc::clone(&watch);
        std::thread::Builder::new()
            .name("warren-watch".to_owned())
            .spawn(move || runtime.block_on(shared.look_on(signals, wake, &log)))
            .map_err(refused)?;
        Ok(watch)
    }

    async fn look_on(&self, mut signals: StopSignals, mut wake: PipeWriter, log: &LogGuard) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                signal = signals.next() => {
                    if self.is_stopped.swap(true, SeqCst) {
                        signal.end_process(log);
                    }
                    tracing::info!(signal = signal.name(), "the worker finishes what it has begun");
                    // Nobody closes the other end.
                    let _ = wake.write_all(&[0]);
                }
                _ = looks.tick() => self.look(log),
            }
        }
    }

    fn look(&self, log: &LogGuard) {
        let (now_ns, until_ns) = (self.clock.monotonic_ns(), self.until_ns.load(SeqCst));
        if until_ns != 0 && now_ns > until_ns {
            tracing::error!("a method took longer than its limit_ms: the worker ends");
            log.flush();
            // Its code is in the middle of something: nothing else of this process is to run.
            kill_this_process();
        }
        let outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(outlet) = outlet {
            outlet.ping_if_due(now_ns);
        }
    }

    /// Whether the worker is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(SeqCst)
    }

    /// A method is at work until then.
    pub(super) fn begin(&self, until_ns: u64) {
        self.until_ns.store(until_ns.max(1), SeqCst);
    }

    /// No method is at work.
    pub(super) fn end(&self) {
        self.until_ns.store(0, Relaxed);
    }

    /// From here on this is the way to the server.
    pub(super) fn set_outlet(&self, outlet: Option<Arc<Outlet>>) {
        *self.outlet.lock().unwrap_or_else(PoisonError::into_inner) = outlet;
    }

    /// Waits so long, until there is something to read or `stream` takes more, or until the worker is to
    /// end, unless it is to already.
    pub(super) fn wait(&self, stream: Option<(&std::net::TcpStream, PollFlags)>, time: Duration) {
        let limit = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let mut polled = Vec::with_capacity(2);
        polled.extend(stream.map(|(stream, flags)| PollFd::new(stream, flags)));
        if !self.is_stopped() {
            polled.push(PollFd::new(&self.woken, PollFlags::IN));
        }
        // A signal ends it early, and then it is looked again.
        let _ = poll(&mut polled, Some(&limit));
    }
}

/// Ends this process at once.
pub(super) fn kill_this_process() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
