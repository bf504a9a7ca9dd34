//! The sockets of an attacker: many, none of which ever blocks, and one epoll that tells of them.
//! A generator's ring keeps every slot to one connection; an attacker's come back.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::ring::connect_begun;

/// Events that are taken at a time.
const EVENTS_MAX: usize = 1_024;
/// What the kernel keeps for one who does not read: little, so that the server notices.
const RECEIVE_BUFFER_SMALL: libc::c_int = 4_096;
/// The segments that every path of IPv4 takes. Those of the loopback are of 64 KiB, for which the server's
/// kernel keeps megabytes: of a world's frames, what a minute brings.
const SEGMENT_SMALL: libc::c_int = 536;

/// What a connection reads of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    All,
    /// What it has to know before it begins, and then nothing.
    Beginning,
    Nothing,
}

/// Tells which sockets can go on.
pub(super) struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Begins to connect. What can be done is told once each time that it becomes so.
    pub(super) fn connect(
        &self,
        index: u32,
        source: Ipv4Addr,
        target: SocketAddrV4,
        reads: Reads,
    ) -> io::Result<TcpStream> {
        let is_small = reads != Reads::All;
        let buffer_bytes = is_small.then_some(RECEIVE_BUFFER_SMALL);
        let segment_bytes = (reads == Reads::Beginning).then_some(SEGMENT_SMALL);
        let socket = connect_begun(source, target, buffer_bytes, segment_bytes)?;
        let wanted = libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let wanted = if reads != Reads::Nothing { wanted | libc::EPOLLIN } else { wanted };
        let mut event = libc::epoll_event { events: wanted as u32, u64: u64::from(index) };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: both descriptors are open, and `event` is a whole one that the kernel copies.
        check(unsafe {
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        })?;
        Ok(TcpStream::from(socket))
    }

    /// Waits at most so long, and tells which connections can go on.
    pub(super) fn wait(&mut self, timeout_ms: i32, out: &mut Vec<u32>) -> io::Result<()> {
        let room = libc::c_int::try_from(EVENTS_MAX).expect("it is small");
        let events = self.events.as_mut_ptr();
        // SAFETY: `events` has room for as many as are asked for.
        let told = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, timeout_ms) };
        match check(told) {
            Ok(count) => {
                let told = &self.events[..usize::try_from(count).expect("it is no error")];
                out.extend(told.iter().map(|event| u32::try_from(event.u64).expect("ours")));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What became of a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes.
    Bytes(usize),
    /// Not now.
    Later,
    /// The server has closed.
    Closed,
    /// The server has closed, and what it had sent may be lost: it had unread bytes.
    Reset,
}

pub(super) fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Progress {
    progress(stream.read(buffer), Progress::Closed)
}

pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) -> Progress {
    progress(stream.write(bytes), Progress::Later)
}

fn progress(result: io::Result<usize>, of_none: Progress) -> Progress {
    match result {
        Ok(0) => of_none,
        Ok(bytes) => Progress::Bytes(bytes),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected => Progress::Later,
            _ => Progress::Reset,
        },
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
