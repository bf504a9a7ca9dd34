//! What the service manager is told: systemd's notifications, sent where `NOTIFY_SOCKET` says.
//! Without that variable nothing is sent.

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// How often a draining server asks for more time.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// How much more time it asks for.
const DRAIN_EXTENSION_US: u32 = 30_000_000;
/// After so long it asks no more: a drain ends within seconds, or never.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(120);

/// Tells the service manager how the server is.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    /// How often it wants to hear that the server is alive, if it does.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often [`alive`](Self::alive) is due: twice as often as the service manager asks.
    pub(crate) fn report_interval(&self) -> Duration {
        let watchdog = self.watchdog.map_or(DRAIN_REPORT_INTERVAL, |interval| interval / 2);
        // An interval of zero would be no interval.
        watchdog.clamp(Duration::from_millis(1), DRAIN_REPORT_INTERVAL)
    }

    /// How often [`draining`](Self::draining) may be said.
    pub(crate) fn drain_reports_max(&self) -> u32 {
        let reports = DRAIN_TIME_MAX.as_millis() / self.report_interval().as_millis().max(1);
        u32::try_from(reports).unwrap_or(u32::MAX)
    }

    /// The server serves.
    pub(crate) fn ready(&self, listen: SocketAddr, admin: SocketAddr) {
        let status = format!("serving on {listen}, admin on {admin}");
        send(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The server reads its configuration again; [`reloaded`](Self::reloaded) is to follow.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the service manager's clock cannot be read"),
        }
    }

    /// The configuration has been read again.
    pub(crate) fn reloaded(&self) {
        send(&[NotifyState::Ready]);
    }

    /// All shards have turned lately.
    pub(crate) fn alive(&self) {
        if self.watchdog.is_some() {
            send(&[NotifyState::Watchdog]);
        }
    }

    /// The server still drains, and needs time for it.
    pub(crate) fn draining(&self) {
        send(&[NotifyState::ExtendTimeoutUsec(DRAIN_EXTENSION_US)]);
    }
}

/// The server begins to drain.
pub(crate) fn stopping() {
    send(&[
        NotifyState::Stopping,
        NotifyState::Status("draining"),
        NotifyState::ExtendTimeoutUsec(DRAIN_EXTENSION_US),
    ]);
}

fn send(states: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop serving.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
