//! The harness's own io_uring loop, for generators and for the floor's server: one ring on one
//! thread, multishot receive into a provided buffer ring, many operations in one enter.
//!
//! An operation names the connection by `index`, and its completion comes back with it. All memory
//! that the kernel writes to or reads from later than an enter is owned here.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

mod buffers;
mod sends;
mod sockets;

use buffers::ReceiveBuffers;
use sends::PendingSends;
pub use sockets::{connect_socket, descriptors_raise, listen};

/// Submissions before an enter is needed.
const SUBMISSIONS: u32 = 1024;
/// Completions that the kernel keeps without overflow: more than a burst over all connections.
const COMPLETIONS: u32 = 32 * 1024;

const OPERATION_SHIFT: u32 = 56;
const OPERATION_ACCEPT: u64 = 1;
const OPERATION_CONNECT: u64 = 2;
const OPERATION_RECEIVE: u64 = 3;
const OPERATION_SEND: u64 = 4;
const OPERATION_SEND_NOW: u64 = 5;

/// What the kernel has done.
#[derive(Clone, Copy, Debug)]
pub enum Completion {
    /// A connection was accepted.
    Accepted {
        /// Its descriptor, or the error.
        result: Result<RawFd, i32>,
        /// More will come without asking.
        more: bool,
    },
    /// A connect is done.
    Connected {
        /// Which connection.
        index: u32,
        /// Or the error.
        result: Result<(), i32>,
    },
    /// Bytes came, or the end.
    Received {
        /// Which connection.
        index: u32,
        /// The bytes, or the error. Nothing, or no bytes, at the end.
        result: Result<Option<ReceivedBytes>, i32>,
        /// More will come without asking.
        more: bool,
    },
    /// A send is done, or failed.
    Sent {
        /// Which connection.
        index: u32,
        /// Whether all went out.
        whole: bool,
    },
}

/// A buffer with received bytes. It is to be given back by [`Ring::recycle`].
#[derive(Clone, Copy, Debug)]
pub struct ReceivedBytes {
    buffer: u16,
    length: u32,
}

/// A ring and the memory that it works on.
pub struct Ring {
    uring: IoUring,
    buffers: ReceiveBuffers,
    sends: PendingSends,
    /// Where connects go; the kernel reads the address at the next enter.
    addresses: Box<[libc::sockaddr_in]>,
}

impl Ring {
    /// A ring of the calling thread: only it may use the ring. `addresses` are those that
    /// [`connect`](Self::connect) may go to.
    ///
    /// # Errors
    /// When the kernel has no io_uring of our kind, or forbids it.
    pub fn new(addresses: &[SocketAddrV4]) -> io::Result<Self> {
        let mut uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = ReceiveBuffers::register(&mut uring)?;
        let addresses = addresses.iter().map(sockets::socket_address).collect();
        Ok(Self { uring, buffers, sends: PendingSends::default(), addresses })
    }

    /// Accepts on a listener until told otherwise.
    pub fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry.user_data(user_data(OPERATION_ACCEPT, 0)))
    }

    /// Connects a socket to one of the ring's addresses.
    pub fn connect(&mut self, index: u32, socket: RawFd, address: usize) -> io::Result<()> {
        let address: *const libc::sockaddr_in = &raw const self.addresses[address];
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let entry = opcode::Connect::new(Fd(socket), address.cast(), length).build();
        self.push(entry.user_data(user_data(OPERATION_CONNECT, index)))
    }

    /// Receives until the end, as long as there are buffers.
    pub fn receive(&mut self, index: u32, socket: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket), buffers::GROUP).build();
        self.push(entry.user_data(user_data(OPERATION_RECEIVE, index)))
    }

    /// Sends all bytes, however long that takes; a `Sent` tells when. One at a time for each
    /// connection, or they may overtake each other.
    pub fn send(&mut self, index: u32, socket: RawFd, bytes: Vec<u8>) -> io::Result<()> {
        let bytes = self.sends.hold(index, bytes);
        let length = u32::try_from(bytes.len()).expect("a send is short");
        let entry = opcode::Send::new(Fd(socket), bytes.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry.user_data(user_data(OPERATION_SEND, index)))
    }

    /// Sends to many sockets before it returns. There is a `Sent` only for those that did not take
    /// all at once. Without `MSG_WAITALL` a short send would be silent.
    pub fn send_now<'b>(
        &mut self,
        sends: impl Iterator<Item = (u32, RawFd, &'b [u8])>,
    ) -> io::Result<()> {
        for (index, socket, bytes) in sends {
            let length = u32::try_from(bytes.len()).expect("a send is short");
            let entry = opcode::Send::new(Fd(socket), bytes.as_ptr(), length)
                .flags(libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS);
            self.push(entry.user_data(user_data(OPERATION_SEND_NOW, index)))?;
        }
        self.submit()
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: what the entry points to lives long enough: addresses and receive buffers as
        // long as the ring, sent bytes in `sends` until their completion, and the bytes of
        // `send_now` until its `submit`, after which the kernel is done with them (`DONTWAIT`).
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full after a submit"))
    }

    /// Hands all submissions over.
    fn submit(&mut self) -> io::Result<()> {
        while !self.uring.submission().is_empty() {
            match self.uring.submit() {
                Ok(_) => {}
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Submits, waits for a completion at most this long, and takes all that there are.
    pub fn turn(&mut self, wait_ns: u64, completions: &mut Vec<Completion>) -> io::Result<()> {
        let wait =
            Timespec::new().sec(wait_ns / 1_000_000_000).nsec((wait_ns % 1_000_000_000) as u32);
        let result = self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&wait));
        if let Err(error) = result
            && error.raw_os_error() != Some(libc::ETIME)
            && !is_transient(&error)
        {
            return Err(error);
        }
        let mut before = completions.len();
        self.collect(completions);
        // One enter runs a bounded part of the deferred work, so there may be more. The flag alone
        // does not say so: it may be left set over an empty list, by a thread that adds work while
        // we take it.
        while self.uring.submission().taskrun()
            && completions.len() > before
            && completions.len() < COMPLETIONS as usize
        {
            self.uring.submit().map(drop).or_else(ignore_transient)?;
            before = completions.len();
            self.collect(completions);
        }
        Ok(())
    }

    fn collect(&mut self, completions: &mut Vec<Completion>) {
        for entry in self.uring.completion() {
            let index = entry.user_data() as u32;
            let operation = entry.user_data() >> OPERATION_SHIFT;
            let more = cqueue::more(entry.flags());
            let result = u32::try_from(entry.result()).map_err(|_| -entry.result());
            completions.push(match operation {
                OPERATION_ACCEPT => {
                    Completion::Accepted { result: result.map(|fd| fd as RawFd), more }
                }
                OPERATION_CONNECT => Completion::Connected { index, result: result.map(drop) },
                OPERATION_RECEIVE => {
                    let buffer = cqueue::buffer_select(entry.flags());
                    let received = |length| buffer.map(|buffer| ReceivedBytes { buffer, length });
                    Completion::Received { index, result: result.map(received), more }
                }
                OPERATION_SEND => {
                    let length = self.sends.release(index);
                    Completion::Sent { index, whole: result == Ok(length) }
                }
                _ => Completion::Sent { index, whole: false },
            });
        }
    }

    /// The received bytes.
    #[must_use]
    pub fn bytes(&self, received: ReceivedBytes) -> &[u8] {
        self.buffers.bytes(received.buffer, received.length)
    }

    /// Gives the buffer back to the kernel.
    pub fn recycle(&mut self, received: ReceivedBytes) {
        self.buffers.provide(received.buffer);
    }
}

/// The loopback source address of a connection: addresses are rotated, because one has only as many
/// ports as the kernel hands out.
#[must_use]
pub fn source_address(connection: u32) -> Ipv4Addr {
    /// A good part below the 28,232 ports that Linux hands out for one address.
    const CONNECTIONS_PER_ADDRESS: u32 = 4_096;
    let block = connection / CONNECTIONS_PER_ADDRESS;
    Ipv4Addr::new(127, 1, (block / 250) as u8, (block % 250 + 1) as u8)
}

fn user_data(operation: u64, index: u32) -> u64 {
    operation << OPERATION_SHIFT | u64::from(index)
}

/// A signal came, or completions have to be taken first.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

fn ignore_transient(error: io::Error) -> io::Result<()> {
    if is_transient(&error) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests;
