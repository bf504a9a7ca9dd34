//! What the service manager is told: systemd's notifications, sent where `NOTIFY_SOCKET` says.
//! Without that variable nothing is sent. Nobody waits for a manager that does not read.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// How often a server that loads or drains asks for more time.
const EXTENSION_INTERVAL: Duration = Duration::from_secs(2);
/// How much more time it asks for.
const EXTENSION_US: u32 = 30_000_000;
/// After so long it asks no more: a drain ends within seconds, or never.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(120);

/// Tells the service manager how the server is.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    /// Where it listens, if it does.
    way: Option<Way>,
    /// How often it wants to hear that the server is alive, if it does.
    watchdog: Option<Duration>,
}

/// A socket that never waits, and where it sends to.
#[derive(Debug)]
struct Way {
    socket: UnixDatagram,
    manager: net::SocketAddr,
}

impl Way {
    fn to(name: &OsStr) -> io::Result<Self> {
        // A name that begins with `@` is that of no file.
        let manager = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => net::SocketAddr::from_abstract_name(name)?,
            None => net::SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        let way = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let told = |error| tracing::warn!(?name, %error, "the service manager cannot be told");
            Way::to(&name).map_err(told).ok()
        });
        Self { way, watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often [`alive`](Self::alive) is due: twice as often as the service manager asks.
    pub(crate) fn report_interval(&self) -> Duration {
        let watchdog = self.watchdog.map_or(EXTENSION_INTERVAL, |interval| interval / 2);
        // An interval of zero would be no interval.
        watchdog.clamp(Duration::from_millis(1), EXTENSION_INTERVAL)
    }

    /// How often [`draining`](Self::draining) may be said.
    pub(crate) fn drain_reports_max(&self) -> u32 {
        let reports = DRAIN_TIME_MAX.as_millis() / self.report_interval().as_millis().max(1);
        u32::try_from(reports).unwrap_or(u32::MAX)
    }

    /// The server loads its state, and needs time for it.
    pub(crate) fn loading(&self) {
        self.tell(&[
            NotifyState::Status("loading its state"),
            NotifyState::ExtendTimeoutUsec(EXTENSION_US),
        ]);
    }

    /// The server serves. False when this has to be told again, since there was no room.
    pub(crate) fn ready(&self, status: &str) -> bool {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// The server reads its configuration again; [`ready`](Self::ready) is to follow.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => drop(self.tell(&[NotifyState::Reloading, now])),
            Err(error) => tracing::debug!(%error, "the service manager's clock cannot be read"),
        }
    }

    /// All shards have turned lately.
    pub(crate) fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// The server begins to drain.
    pub(crate) fn stopping(&self) {
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::Status("draining"),
            NotifyState::ExtendTimeoutUsec(EXTENSION_US),
        ]);
    }

    /// The server still drains, and needs time for it.
    pub(crate) fn draining(&self) {
        self.tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION_US)]);
    }

    /// Sends the lines as one message. False when the manager had no room for it.
    fn tell(&self, states: &[NotifyState<'_>]) -> bool {
        let Some(Way { socket, manager }) = &self.way else { return true };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        // A service manager that does not listen is no reason to stop serving.
        match socket.send_to_addr(text.as_bytes(), manager) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "the service manager cannot be told");
                error.kind() != io::ErrorKind::WouldBlock
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_file_is_told_too_and_a_full_queue_holds_up_nobody() {
        let name = format!("warren-notify-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let way = Way::to(OsStr::new(&format!("@{name}"))).unwrap();
        let manager = ServiceManager { way: Some(way), watchdog: None };
        manager.draining();
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"EXTEND_TIMEOUT_USEC=30000000\n");
        while manager.ready("serving") {}
        drop(socket);
        // Nobody will ever listen: there is nothing to repeat.
        assert!(manager.ready("serving"));
    }
}
