//! The ring of a generator, or of a thread of the floor's server: the same `warren_net::io` that
//! the server runs on, in terms of connections. A connection is the slot of its socket. A slot is used
//! again only when it was closed, after everything that was under way there had ended.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use warren_net::io::buffers::BufferId;
use warren_net::io::descriptor_limit::descriptors_raise;
use warren_net::io::listener::Listener;
use warren_net::io::operation::{self, OperationKind, Outcome, UserData};
use warren_net::io::probe::FeatureMissing;
use warren_net::io::ring::{ImmediateSend, Ring as NetRing, RingSettings, Wait};
use warren_net::reactor::ReactorSettings;

mod sockets;

pub(crate) use sockets::connect_begun;

/// Submissions before an enter is needed.
const SUBMISSION_ENTRIES: u32 = 4_096;
/// Completions that may wait.
const COMPLETION_ENTRIES: u32 = 65_536;
/// Receive buffers, and bytes of each: the server's defaults of `reactor.receive_buffers` and
/// `reactor.receive_buffer_bytes`.
const RECEIVE_BUFFER_COUNT: u16 = 4_096;
const RECEIVE_BUFFER_BYTES: u32 = 2_048;

/// Connections from one address, if nothing else matters: a good part below the 28,232 ports that
/// Linux hands out for one.
pub const CONNECTIONS_PER_ADDRESS: u32 = 4_096;

/// How long a server gathers what comes, by default.
#[must_use]
pub fn server_turn_interval() -> Duration {
    Duration::from_micros(ReactorSettings::default().turn_interval_us)
}

/// What the kernel has done.
#[derive(Clone, Copy, Debug)]
pub enum Completion {
    /// A connection was accepted.
    Accepted {
        /// Which, or nothing when it failed.
        index: Option<u32>,
        /// More will come without asking.
        more: bool,
    },
    /// Bytes came.
    Received {
        /// On which connection.
        index: u32,
        /// The bytes.
        bytes: ReceivedBytes,
        /// More will come without asking.
        more: bool,
    },
    /// There was no buffer: the receive is to be armed again.
    Unarmed {
        /// On which connection.
        index: u32,
    },
    /// Nothing more will come.
    Ended {
        /// On which connection.
        index: u32,
    },
    /// A queued send is done, or an immediate one has failed.
    Sent {
        /// On which connection.
        index: u32,
        /// Whether all went out.
        whole: bool,
    },
}

/// A buffer with received bytes. It is to be given back by [`Ring::recycle`].
#[derive(Clone, Copy, Debug)]
pub struct ReceivedBytes {
    buffer: BufferId,
    length: u32,
}

/// How long a turn waits.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    /// For the first completion: what it tells is timed.
    AtOnce,
    /// For the first, and then for others until a turn is over, as the server does.
    Gathering(Duration),
}

/// A ring and its sockets, of the calling thread.
pub struct Ring {
    ring: NetRing,
    completions: Vec<operation::Completion>,
    sends: Vec<ImmediateSend>,
    /// Slots were closed since the last time that the kernel was told everything.
    closing: bool,
}

/// How a connection ends when its slot is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// As the kernel closes any socket: in order.
    Close,
    /// By a reset, without what was not sent yet.
    Reset,
}

impl Ring {
    /// A ring for so many connections.
    ///
    /// # Errors
    /// The feature that is missing, with its remedy.
    pub fn new(connections_max: u32) -> Result<Self, FeatureMissing> {
        descriptors_raise(connections_max);
        let settings = RingSettings {
            submission_entries: SUBMISSION_ENTRIES,
            completion_entries: COMPLETION_ENTRIES,
            files_max: connections_max,
            receive_buffer_count: RECEIVE_BUFFER_COUNT,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
        };
        Ok(Self {
            ring: NetRing::new(&settings)?,
            completions: Vec::new(),
            sends: Vec::new(),
            closing: false,
        })
    }

    /// Accepts until it fails.
    pub fn accept(&mut self, listener: &Listener) {
        self.ring.accept(UserData::new(OperationKind::Accept, 0, 0), listener);
    }

    /// Connects, waits until it is connected, and receives.
    ///
    /// # Errors
    /// When the server does not take the connection, or this machine has no more of something.
    pub fn connect(
        &mut self,
        index: u32,
        source: Ipv4Addr,
        address: SocketAddrV4,
        leave: Leave,
    ) -> io::Result<()> {
        let socket = sockets::connect_from(source, address)?;
        self.begin(index, socket, leave)
    }

    /// Begins to connect and never waits: what is sent and received waits for the connection. A server
    /// that does not take it is an [`Ended`](Completion::Ended).
    ///
    /// # Errors
    /// When this machine has no more of something.
    pub fn connect_begun(
        &mut self,
        index: u32,
        source: Ipv4Addr,
        address: SocketAddrV4,
        leave: Leave,
    ) -> io::Result<()> {
        let socket = sockets::connect_begun(source, address, None, None)?;
        sockets::wait_in_ring(&socket)?;
        self.begin(index, socket, leave)
    }

    fn begin(&mut self, index: u32, socket: OwnedFd, leave: Leave) -> io::Result<()> {
        if leave == Leave::Reset {
            sockets::reset_when_closed(&socket)?;
        }
        if std::mem::take(&mut self.closing) {
            // A slot is filled at once: what closes it must not come behind.
            self.ring.submit();
        }
        self.ring.install(index, socket)?;
        self.receive(index);
        Ok(())
    }

    /// Ends the receive; its `Ended` tells when.
    pub fn stop_receiving(&mut self, index: u32) {
        let receive = UserData::new(OperationKind::Receive, 0, index);
        self.ring.cancel(UserData::new(OperationKind::Cancel, 0, index), receive);
    }

    /// Frees a slot of which nothing is under way, and so closes its connection.
    pub fn close(&mut self, index: u32) {
        self.ring.close(UserData::new(OperationKind::Close, 0, index), index);
        self.closing = true;
    }

    /// Receives until the end, as long as there are buffers.
    pub fn receive(&mut self, index: u32) {
        self.ring.receive(UserData::new(OperationKind::Receive, 0, index), index);
    }

    /// Sends all bytes, however long that takes; a `Sent` tells when. One at a time for each
    /// connection.
    pub fn send(&mut self, index: u32, bytes: Vec<u8>) {
        let user_data = UserData::new(OperationKind::SendQueued, 0, index);
        self.ring.send_queued(user_data, index, bytes, 0);
    }

    /// Adds a send to the next [`send_now`](Self::send_now): a range of its arena.
    pub fn stage(&mut self, index: u32, start: usize, length: usize) {
        let narrow = |value| u32::try_from(value).expect("a turn's output is below 4 GiB");
        self.sends.push(ImmediateSend {
            user_data: UserData::new(OperationKind::Send, 0, index),
            slot: index,
            arena: 0,
            start: narrow(start),
            length: narrow(length),
        });
    }

    /// Sends what was staged before it returns. There is a `Sent` only for those connections that
    /// did not take all at once.
    pub fn send_now(&mut self, arena: &[u8]) {
        self.ring.send_now(&self.sends, &[arena]);
        self.sends.clear();
    }

    /// By which another thread's ring wakes this one.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.ring.descriptor()
    }

    /// Wakes another thread's ring with the next turn.
    pub fn wake_peer(&mut self, peer: RawFd) {
        self.ring.peer_wake(peer);
    }

    /// Ends a connection. Its slot stays taken.
    pub fn shutdown(&mut self, index: u32) {
        let user_data = UserData::new(OperationKind::Shutdown, 0, index);
        self.ring.shutdown(user_data, index, Shutdown::Both);
    }

    /// Submits, waits for completions at most this long, and takes all that there are.
    pub fn turn(&mut self, turn: Turn, timeout: Duration, out: &mut Vec<Completion>) {
        self.ring.buffers_mut().publish();
        let (want, gather) = match turn {
            Turn::AtOnce => (1, Duration::ZERO),
            Turn::Gathering(interval) => (u32::from(RECEIVE_BUFFER_COUNT / 2), interval),
        };
        self.ring.wait(Wait { want, gather, timeout: Some(timeout) });
        self.ring.take_completions(&mut self.completions);
        for completion in self.completions.drain(..) {
            out.extend(translate(&mut self.ring, completion));
        }
    }

    /// The received bytes: never none.
    #[must_use]
    pub fn bytes(&self, received: ReceivedBytes) -> &[u8] {
        self.ring.buffers().bytes(received.buffer, received.length)
    }

    /// Gives the buffer back to the kernel.
    pub fn recycle(&mut self, received: ReceivedBytes) {
        self.ring.buffers_mut().give_back(received.buffer);
    }
}

fn translate(ring: &mut NetRing, completion: operation::Completion) -> Option<Completion> {
    let operation::Completion { user_data, outcome, more, buffer } = completion;
    let index = user_data.index();
    match (user_data.kind()?, outcome, buffer) {
        (OperationKind::Accept, Outcome::Done(slot), _) => {
            Some(Completion::Accepted { index: Some(slot), more })
        }
        (OperationKind::Accept, ..) => Some(Completion::Accepted { index: None, more }),
        (OperationKind::Receive, Outcome::Done(length @ 1..), Some(buffer)) => {
            let bytes = ReceivedBytes { buffer, length };
            Some(Completion::Received { index, bytes, more })
        }
        (OperationKind::Receive, Outcome::BuffersExhausted, None) => {
            Some(Completion::Unarmed { index })
        }
        (OperationKind::Receive, _, buffer) => {
            buffer.into_iter().for_each(|buffer| ring.buffers_mut().give_back(buffer));
            Some(Completion::Ended { index })
        }
        (OperationKind::SendQueued, outcome, _) => {
            let bytes = ring.take_sent(index)?;
            let whole = matches!(outcome, Outcome::Done(sent) if sent as usize == bytes.len());
            Some(Completion::Sent { index, whole })
        }
        (OperationKind::Send, ..) => Some(Completion::Sent { index, whole: false }),
        _ => None,
    }
}

/// The loopback source address of a connection: addresses are rotated, because one has only as many
/// ports as the kernel hands out.
#[must_use]
pub fn source_address(connection: u32, per_address: u32) -> Ipv4Addr {
    let block = connection / per_address;
    Ipv4Addr::new(127, 1, (block / 250) as u8, (block % 250 + 1) as u8)
}

#[cfg(test)]
mod tests;
