//! A worker's way to its server: the binary protocol over one socket.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rustix::event::PollFlags;
use warren_core::message::{Message, packed};
use warren_net::gateway::binary::{PREAMBLE, encode_request};

use super::link::{Link, Server};
use super::watch::Watch;

const RECEIVE_BYTES: usize = 64 << 10;
/// How long a server may take nothing before it is gone.
const SEND_TIME: Duration = Duration::from_secs(20);

/// The connection is of no more use: the server's reason, or what became of the socket.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

impl Lost {
    fn of(error: &io::Error) -> Self {
        Self(format!("socket-error: {error}"))
    }
}

/// The socket, by which the thread beside the worker sends too while a method is at work.
pub(super) struct Outlet {
    link: Mutex<Link>,
    sent_ns: AtomicU64,
    ping_ns: AtomicU64,
}

impl Outlet {
    /// Says a sign of life after so long without another message.
    pub(super) fn set_ping_ns(&self, ping_ns: u64) {
        self.ping_ns.store(ping_ns, Relaxed);
    }

    pub(super) fn ping_if_due(&self, now_ns: u64) {
        let ping_ns = self.ping_ns.load(Relaxed);
        if ping_ns == 0 || now_ns.saturating_sub(self.sent_ns.load(Relaxed)) < ping_ns {
            return;
        }
        // Who sends now is heard of.
        let mut link = match self.link.try_lock() {
            Ok(link) => link,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut ping = Vec::new();
        encode_request(Message::from_checked(&packed("ping", &[])), &mut ping);
        self.sent_ns.store(now_ns, Relaxed);
        if link.write(&ping).is_ok_and(|count| count < ping.len()) {
            // What follows half a frame is none.
            link.shut_down();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Connection {
    /// To wait for.
    socket: TcpStream,
    outlet: Arc<Outlet>,
    watch: Arc<Watch>,
    /// What has come and was not looked at.
    pub(super) received: Vec<u8>,
}

impl Connection {
    /// Connects, and says which protocol it speaks.
    pub(super) fn open(server: &Server, watch: &Arc<Watch>) -> Result<Self, Lost> {
        let refused = |error: io::Error| Lost(format!("connect-failed: {error}"));
        let link = Link::open(server, PREAMBLE).map_err(refused)?;
        let socket = link.socket().map_err(refused)?;
        let outlet = Arc::new(Outlet {
            link: Mutex::new(link),
            sent_ns: AtomicU64::new(watch.clock.monotonic_ns()),
            ping_ns: AtomicU64::new(0),
        });
        watch.set_outlet(Some(Arc::clone(&outlet)));
        Ok(Self { socket, outlet, watch: Arc::clone(watch), received: Vec::new() })
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Sends all of it. What comes meanwhile is kept, so that neither side waits for the other.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Lost> {
        let outlet = Arc::clone(&self.outlet);
        let mut link = outlet.lock();
        let until_ns = self.watch.clock.monotonic_ns() + SEND_TIME.as_nanos() as u64;
        loop {
            let sent = if bytes.is_empty() { link.flush().map(|()| 0) } else { link.write(bytes) };
            match sent {
                Ok(_) if bytes.is_empty() => break,
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.watch.clock.monotonic_ns() > until_ns {
                        return Err(Lost("timeout".to_owned()));
                    }
                    let flags = PollFlags::IN | PollFlags::OUT;
                    self.watch.wait(Some((&self.socket, flags)), SEND_TIME);
                    fill(&mut link, &mut self.received)?;
                }
                Err(error) => return Err(Lost::of(&error)),
            }
        }
        self.outlet.sent_ns.store(self.watch.clock.monotonic_ns(), Relaxed);
        Ok(())
    }

    /// Waits for something to come, at most so long.
    pub(super) fn receive(&mut self, time: Duration) -> Result<(), Lost> {
        if !self.fill()? {
            self.watch.wait(Some((&self.socket, PollFlags::IN)), time);
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<bool, Lost> {
        fill(&mut self.outlet.lock(), &mut self.received)
    }
}

/// Takes what has come, without waiting: whether it was anything.
fn fill(link: &mut Link, received: &mut Vec<u8>) -> Result<bool, Lost> {
    let at = received.len();
    received.resize(at + RECEIVE_BYTES, 0);
    let read = link.read(&mut received[at..]);
    received.truncate(at + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => Err(Lost("peer-closed".to_owned())),
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
            _ => Err(Lost::of(&error)),
        },
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watch.set_outlet(None);
    }
}
