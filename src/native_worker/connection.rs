//! A worker's way to its server: the binary protocol over one socket.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use rustix::event::PollFlags;
use warren_core::message::{Message, packed};
use warren_net::gateway::binary::{PREAMBLE, encode_request};

use super::watch::Watch;

const CONNECT_TIME: Duration = Duration::from_secs(10);
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

/// What a worker's server is asked for by `tcp://HOST:PORT`.
pub(super) fn address_of(url: &str) -> Result<&str, String> {
    if url.starts_with("tls://") {
        return Err(format!(
            "tls-unsupported: {url}: workers of native libraries speak no TLS yet"
        ));
    }
    let address = url.strip_prefix("tcp://").map(|address| address.trim_end_matches('/'));
    address.ok_or_else(|| format!("url-invalid: {url}: allowed: tcp://HOST:PORT"))
}

/// The sending side, which the thread beside the worker uses too while a method is at work.
pub(super) struct Outlet {
    stream: Mutex<TcpStream>,
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
        let mut stream = match self.stream.try_lock() {
            Ok(stream) => stream,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut ping = Vec::new();
        encode_request(Message::from_checked(&packed("ping", &[])), &mut ping);
        self.sent_ns.store(now_ns, Relaxed);
        if stream.write(&ping).is_ok_and(|count| count < ping.len()) {
            // What follows half a frame is none.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    outlet: Arc<Outlet>,
    watch: Arc<Watch>,
    /// What has come and was not looked at.
    pub(super) received: Vec<u8>,
}

impl Connection {
    /// Connects, and says which protocol it speaks.
    pub(super) fn open(address: &str, watch: &Arc<Watch>) -> Result<Self, Lost> {
        let refused = |error: io::Error| Lost(format!("connect-failed: {error}"));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in address.to_socket_addrs().map_err(refused)? {
            match TcpStream::connect_timeout(&address, CONNECT_TIME) {
                Ok(stream) => return Self::over(stream, watch).map_err(refused),
                Err(error) => last = error,
            }
        }
        Err(refused(last))
    }

    fn over(mut stream: TcpStream, watch: &Arc<Watch>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.write_all(PREAMBLE)?;
        stream.set_nonblocking(true)?;
        let outlet = Arc::new(Outlet {
            stream: Mutex::new(stream.try_clone()?),
            sent_ns: AtomicU64::new(watch.clock.monotonic_ns()),
            ping_ns: AtomicU64::new(0),
        });
        watch.set_outlet(Some(Arc::clone(&outlet)));
        Ok(Self { stream, outlet, watch: Arc::clone(watch), received: Vec::new() })
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Sends all of it. What comes meanwhile is kept, so that neither side waits for the other.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Lost> {
        let outlet = Arc::clone(&self.outlet);
        let mut out = outlet.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let until_ns = self.watch.clock.monotonic_ns() + SEND_TIME.as_nanos() as u64;
        while !bytes.is_empty() {
            match out.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.watch.clock.monotonic_ns() > until_ns {
                        return Err(Lost("timeout".to_owned()));
                    }
                    let flags = PollFlags::IN | PollFlags::OUT;
                    self.watch.wait(Some((&self.stream, flags)), SEND_TIME);
                    self.fill()?;
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
            self.watch.wait(Some((&self.stream, PollFlags::IN)), time);
            self.fill()?;
        }
        Ok(())
    }

    /// Takes what has come, without waiting: whether it was anything.
    fn fill(&mut self) -> Result<bool, Lost> {
        let at = self.received.len();
        self.received.resize(at + RECEIVE_BYTES, 0);
        let read = self.stream.read(&mut self.received[at..]);
        self.received.truncate(at + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(Lost("peer-closed".to_owned())),
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(Lost::of(&error)),
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watch.set_outlet(None);
    }
}
