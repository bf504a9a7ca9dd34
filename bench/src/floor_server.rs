//! The floor: the least that a server of the same traffic can do. One thread for each shard, with
//! its own listener, ring and rooms; no gateway, no parsing but of a length, no session, no
//! partition. It is as good as we can make it: many operations in one enter, and one send for each
//! connection and turn.
//!
//! Generators connect to the listener that a room's number names, so no thread ever has anything
//! for another.

use std::collections::HashMap;
use std::io::{Write as _, stdout};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use crate::pinning;
use crate::ring::{self, Completion, Ring};
use crate::wire::floor::{self, ClientFrame};

/// Longest wait for a completion; nothing depends on it.
const WAIT_NS: u64 = 1_000_000_000;

/// Serves until it is killed, and tells the address of each thread on standard output.
///
/// # Errors
/// When a thread cannot start, or ends.
pub fn run(shard_count: usize) -> Result<()> {
    ring::descriptors_raise().context("raising the limit of descriptors")?;
    let cores = pinning::available_cores();
    let (ended, first_end) = std::sync::mpsc::channel();
    let mut addresses = String::new();
    for shard in 0..shard_count {
        let listener = ring::listen().context("listening")?;
        addresses.push_str(&format!("listening on {}\n", listener.local_addr()?));
        let core = cores[shard % cores.len()];
        let ended = ended.clone();
        thread::Builder::new().name(format!("floor-{shard}")).spawn(move || {
            let result = pinning::bind(&[core])
                .map_err(Into::into)
                .and_then(|()| Shard::new()?.serve(listener.as_raw_fd()));
            // The receiver waits for the first end only.
            let _ = ended.send(result);
        })?;
    }
    stdout().write_all(addresses.as_bytes())?;
    stdout().flush()?;
    first_end.recv().unwrap_or_else(|_| Err(anyhow!("no shard was started")))
}

/// Who is in a room.
#[derive(Default)]
struct Room {
    members: Vec<u32>,
    sequence: u64,
}

struct Connection {
    /// None when it is lost.
    socket: Option<OwnedFd>,
    room: Option<u32>,
    heard_bytes: u16,
    reply_bytes: u16,
    partial: Vec<u8>,
    /// What leaves at the end of the turn.
    output: Vec<u8>,
}

/// One thread's connections and rooms: what bytes do, without the ring.
#[derive(Default)]
struct Hall {
    connections: Vec<Connection>,
    rooms: HashMap<u32, Room>,
    /// Connections with output, each once.
    waiting: Vec<u32>,
    frame: Vec<u8>,
}

impl Hall {
    fn open(&mut self, socket: OwnedFd) -> u32 {
        self.connections.push(Connection {
            socket: Some(socket),
            room: None,
            heard_bytes: 0,
            reply_bytes: 0,
            partial: Vec::new(),
            output: Vec::new(),
        });
        u32::try_from(self.connections.len() - 1).expect("descriptors are fewer")
    }

    fn close(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Some(room) = connection.room.take()
            && let Some(room) = self.rooms.get_mut(&room)
        {
            room.members.retain(|member| *member != index);
        }
        if let Some(socket) = connection.socket.take() {
            // SAFETY: no memory is passed. It ends the receive, which holds the socket open.
            unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
        }
    }

    /// Takes in bytes; false when they are none of the floor.
    fn received(&mut self, index: u32, bytes: &[u8]) -> bool {
        let mut partial = std::mem::take(&mut self.connections[index as usize].partial);
        if partial.is_empty() {
            let Some(consumed) = self.frames(index, bytes) else { return false };
            partial.extend_from_slice(&bytes[consumed..]);
        } else {
            partial.extend_from_slice(bytes);
            let Some(consumed) = self.frames(index, &partial) else { return false };
            partial.drain(..consumed);
        }
        self.connections[index as usize].partial = partial;
        true
    }

    fn frames(&mut self, index: u32, bytes: &[u8]) -> Option<usize> {
        let mut position = 0;
        while let Some((frame, consumed)) = floor::decode_client(&bytes[position..]).ok()? {
            position += consumed;
            match frame {
                ClientFrame::Announce { room, heard_bytes, reply_bytes } => {
                    let connection = &mut self.connections[index as usize];
                    if connection.room.replace(room).is_some() {
                        return None;
                    }
                    (connection.heard_bytes, connection.reply_bytes) = (heard_bytes, reply_bytes);
                    self.rooms.entry(room).or_default().members.push(index);
                    self.reply(index, floor::KIND_ANNOUNCE);
                }
                ClientFrame::Ask { kind } => self.reply(index, kind),
                ClientFrame::Say { text } => self.say(index, text)?,
            }
        }
        Some(position)
    }

    fn say(&mut self, index: u32, text: &str) -> Option<()> {
        let speaker = &self.connections[index as usize];
        let room = self.rooms.get_mut(&speaker.room?)?;
        room.sequence += 1;
        self.frame.clear();
        floor::heard(room.sequence, text, speaker.heard_bytes, &mut self.frame);
        for &member in &room.members {
            let output = &mut self.connections[member as usize].output;
            if output.is_empty() {
                self.waiting.push(member);
            }
            output.extend_from_slice(&self.frame);
        }
        self.reply(index, floor::KIND_SAY);
        Some(())
    }

    fn reply(&mut self, index: u32, kind: u8) {
        let Connection { output, reply_bytes, .. } = &mut self.connections[index as usize];
        if output.is_empty() {
            self.waiting.push(index);
        }
        floor::reply(kind, *reply_bytes, output);
    }

    /// What leaves now.
    fn sends(&self) -> impl Iterator<Item = (u32, RawFd, &[u8])> {
        self.waiting.iter().filter_map(|index| {
            let connection = &self.connections[*index as usize];
            let socket = connection.socket.as_ref()?;
            Some((*index, socket.as_raw_fd(), connection.output.as_slice()))
        })
    }

    fn sent(&mut self) {
        for index in self.waiting.drain(..) {
            self.connections[index as usize].output.clear();
        }
    }
}

/// A thread's loop.
struct Shard {
    ring: Ring,
    hall: Hall,
    /// Connections whose receive is to be armed.
    unarmed: Vec<u32>,
}

impl Shard {
    fn new() -> Result<Self> {
        let ring = Ring::new(&[]).context("io_uring")?;
        Ok(Self { ring, hall: Hall::default(), unarmed: Vec::new() })
    }

    fn serve(mut self, listener: RawFd) -> Result<()> {
        self.ring.accept(listener)?;
        let mut completions = Vec::new();
        loop {
            for completion in completions.drain(..) {
                self.complete(completion, listener)?;
            }
            for index in self.unarmed.drain(..) {
                if let Some(socket) = &self.hall.connections[index as usize].socket {
                    self.ring.receive(index, socket.as_raw_fd())?;
                }
            }
            if !self.hall.waiting.is_empty() {
                self.ring.send_now(self.hall.sends())?;
                self.hall.sent();
            }
            self.ring.turn(WAIT_NS, &mut completions)?;
        }
    }

    fn complete(&mut self, completion: Completion, listener: RawFd) -> Result<()> {
        match completion {
            Completion::Accepted { result, more } => {
                let socket = result.map_err(std::io::Error::from_raw_os_error);
                let socket = socket.context("accepting")?;
                // SAFETY: the kernel has just opened the descriptor for us alone.
                let socket = unsafe { OwnedFd::from_raw_fd(socket) };
                self.unarmed.push(self.hall.open(socket));
                if !more {
                    self.ring.accept(listener)?;
                }
            }
            Completion::Received { index, result: Ok(Some(received)), more } => {
                let bytes = self.ring.bytes(received);
                let open = self.hall.connections[index as usize].socket.is_some();
                let good = !open || (!bytes.is_empty() && self.hall.received(index, bytes));
                self.ring.recycle(received);
                if !good {
                    self.hall.close(index);
                } else if !more {
                    self.unarmed.push(index);
                }
            }
            Completion::Received { index, result: Err(libc::ENOBUFS), .. } => {
                self.unarmed.push(index);
            }
            // A client that does not take what little there is: the generator reports the loss.
            Completion::Received { index, .. } | Completion::Sent { index, .. } => {
                self.hall.close(index);
            }
            Completion::Connected { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
