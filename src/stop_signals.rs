//! The signals that stop the server.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::LogGuard;

/// The signals that stop the server, from the moment at which they are watched.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    Terminate,
    Interrupt,
}

impl StopSignals {
    /// Call it in a runtime.
    pub(crate) fn watch() -> Self {
        let watch = |kind| signal(kind).expect("the runtime was made with io");
        Self {
            terminate: watch(SignalKind::terminate()),
            interrupt: watch(SignalKind::interrupt()),
        }
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

impl StopSignal {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// When a second one cuts the drain short: 128 + the signal's number.
    const fn exit_status(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }

    /// Ends the process at once, since it was asked to a second time.
    pub(crate) fn end_process(self, log: &LogGuard) -> ! {
        tracing::warn!(signal = self.name(), "stopped before the drain ended");
        log.flush();
        std::process::exit(self.exit_status())
    }
}
