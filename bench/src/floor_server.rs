//! The floor: the least that a server of the same traffic can do. One thread for each shard, with
//! its own listener, ring and rooms; no gateway, no parsing but of a length, no session, no
//! partition. It is as good as we can make it: many operations in one enter, one send for each
//! connection and turn, and each frame is written once, however many hear it.
//!
//! Generators connect to the listener that a room's number names, so no thread ever has anything
//! for another.

use std::io::{Write as _, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use warren_net::io::listener::Listener;

use crate::pinning;
use crate::ring::{Completion, Ring, Turn};
use crate::wire::floor::{self, ClientFrame};

/// Rooms that a thread has place for: more than there can be users.
const ROOMS_MAX: u32 = 1 << 20;
/// Longest wait for a completion; nothing depends on it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// What comes within this time is dealt with together: as the server does by default.
const TURN_INTERVAL: Duration = Duration::from_millis(1);

/// Serves until it is killed, with so many connections a thread at most, and tells the address of
/// each thread on standard output.
///
/// # Errors
/// When a thread cannot start, or ends.
pub fn run(shard_count: usize, connections_max: u32) -> Result<()> {
    let cores = pinning::available_cores();
    let (ended, first_end) = std::sync::mpsc::channel();
    let mut addresses = String::new();
    for shard in 0..shard_count {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(free).context("listening")?;
        addresses.push_str(&format!("listening on {}\n", listener.local_addr()));
        let core = cores[shard % cores.len()];
        let ended = ended.clone();
        thread::Builder::new().name(format!("floor-{shard}")).spawn(move || {
            let result = pinning::bind(&[core])
                .map_err(Into::into)
                .and_then(|()| Shard::new(connections_max)?.serve(&listener));
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

/// A user, in the slot of its socket.
#[derive(Default)]
struct Connection {
    open: bool,
    room: Option<u32>,
    heard_bytes: u16,
    reply_bytes: u16,
    partial: Vec<u8>,
    output: Output,
}

/// What leaves for one connection at the end of the turn: parts of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Output {
    #[default]
    Nothing,
    /// One part, which can be sent as it lies there.
    Part { start: usize, end: usize },
    /// Parts with others' bytes between them: the numbers of its first and last in the turn's list.
    Parts { first: usize, last: usize },
}

/// One of a connection's several parts, and the number of its next.
struct Part {
    range: Range<usize>,
    next: Option<usize>,
}

/// One thread's connections and rooms: what bytes do, without the ring.
#[derive(Default)]
struct Hall {
    connections: Vec<Connection>,
    /// By number.
    rooms: Vec<Room>,
    /// Connections with output, each once.
    waiting: Vec<u32>,
    /// What leaves in this turn, each frame once.
    arena: Vec<u8>,
    /// Parts of those connections that have several, in one list for all: so a turn allocates
    /// nothing.
    parts: Vec<Part>,
}

impl Hall {
    fn open(&mut self, index: u32) {
        let slots = (index as usize + 1).max(self.connections.len());
        self.connections.resize_with(slots, Connection::default);
        self.connections[index as usize].open = true;
    }

    fn close(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.open = false;
        if let Some(room) = connection.room.take() {
            self.rooms[room as usize].members.retain(|member| *member != index);
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
                    if room >= ROOMS_MAX || connection.room.is_some() {
                        return None;
                    }
                    connection.room = Some(room);
                    (connection.heard_bytes, connection.reply_bytes) = (heard_bytes, reply_bytes);
                    let slots = (room as usize + 1).max(self.rooms.len());
                    self.rooms.resize_with(slots, Room::default);
                    self.rooms[room as usize].members.push(index);
                    self.reply(index, floor::KIND_ANNOUNCE);
                }
                ClientFrame::Ask { kind } => self.reply(index, kind),
                ClientFrame::Say { text } => self.say(index, text)?,
            }
        }
        Some(position)
    }

    fn say(&mut self, index: u32, text: &str) -> Option<()> {
        let Self { connections, rooms, waiting, arena, parts } = self;
        let speaker = &connections[index as usize];
        let room = &mut rooms[speaker.room? as usize];
        room.sequence += 1;
        let start = arena.len();
        floor::heard(room.sequence, text, speaker.heard_bytes, arena);
        let range = start..arena.len();
        for &member in &room.members {
            let output = &mut connections[member as usize].output;
            if output.add(range.clone(), parts) {
                waiting.push(member);
            }
        }
        self.reply(index, floor::KIND_SAY);
        Some(())
    }

    fn reply(&mut self, index: u32, kind: u8) {
        let Connection { output, reply_bytes, .. } = &mut self.connections[index as usize];
        let start = self.arena.len();
        floor::reply(kind, *reply_bytes, &mut self.arena);
        if output.add(start..self.arena.len(), &mut self.parts) {
            self.waiting.push(index);
        }
    }

    /// Tells each connection's part of what leaves now, where it starts and how long it is, and
    /// gives the arena that holds them. Only what does not lie together is copied together.
    fn flush(&mut self, mut stage: impl FnMut(u32, usize, usize)) -> &[u8] {
        let Self { connections, waiting, arena, parts, .. } = self;
        for index in waiting.drain(..) {
            let connection = &mut connections[index as usize];
            let output = std::mem::take(&mut connection.output);
            if connection.open {
                let range = output.gather(arena, parts);
                stage(index, range.start, range.len());
            }
        }
        parts.clear();
        arena
    }

    /// Forgets what has left.
    fn turn_end(&mut self) {
        self.arena.clear();
    }
}

impl Output {
    /// Adds a range of the arena, and says whether it is the first.
    fn add(&mut self, range: Range<usize>, parts: &mut Vec<Part>) -> bool {
        let number = parts.len();
        match self {
            Self::Nothing => {
                *self = Self::Part { start: range.start, end: range.end };
                return true;
            }
            Self::Part { end, .. } if *end == range.start => *end = range.end,
            Self::Part { start, end } => {
                parts.push(Part { range: *start..*end, next: Some(number + 1) });
                parts.push(Part { range, next: None });
                *self = Self::Parts { first: number, last: number + 1 };
            }
            Self::Parts { last, .. } if parts[*last].range.end == range.start => {
                parts[*last].range.end = range.end;
            }
            Self::Parts { last, .. } => {
                parts[*last].next = Some(number);
                parts.push(Part { range, next: None });
                *last = number;
            }
        }
        false
    }

    /// Where it lies in the arena, at whose end several parts are copied together.
    fn gather(self, arena: &mut Vec<u8>, parts: &[Part]) -> Range<usize> {
        match self {
            Self::Nothing => 0..0,
            Self::Part { start, end } => start..end,
            Self::Parts { first, .. } => {
                let begin = arena.len();
                let mut next = Some(first);
                while let Some(part) = next.map(|number| &parts[number]) {
                    arena.extend_from_within(part.range.clone());
                    next = part.next;
                }
                begin..arena.len()
            }
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
    fn new(connections_max: u32) -> Result<Self> {
        let ring = Ring::new(connections_max)?;
        Ok(Self { ring, hall: Hall::default(), unarmed: Vec::new() })
    }

    fn serve(mut self, listener: &Listener) -> Result<()> {
        self.ring.accept(listener);
        let mut completions = Vec::new();
        loop {
            for completion in completions.drain(..) {
                self.complete(completion, listener)?;
            }
            for index in self.unarmed.drain(..) {
                if self.hall.connections[index as usize].open {
                    self.ring.receive(index);
                }
            }
            if !self.hall.waiting.is_empty() {
                let arena =
                    self.hall.flush(|index, start, length| self.ring.stage(index, start, length));
                self.ring.send_now(arena);
                self.hall.turn_end();
            }
            self.ring.turn(Turn::Gathering(TURN_INTERVAL), TIMEOUT, &mut completions);
        }
    }

    fn complete(&mut self, completion: Completion, listener: &Listener) -> Result<()> {
        match completion {
            Completion::Accepted { index: Some(index), more } => {
                self.hall.open(index);
                self.unarmed.push(index);
                if !more {
                    self.ring.accept(listener);
                }
            }
            Completion::Accepted { index: None, .. } => bail!("no more connections can be taken"),
            Completion::Received { index, bytes, more } => {
                let open = self.hall.connections[index as usize].open;
                let good = !open || self.hall.received(index, self.ring.bytes(bytes));
                self.ring.recycle(bytes);
                if !good {
                    self.close(index);
                } else if !more {
                    self.unarmed.push(index);
                }
            }
            Completion::Unarmed { index } => self.unarmed.push(index),
            // Also a client that does not take what little there is: the generator reports it.
            Completion::Ended { index } | Completion::Sent { index, .. } => self.close(index),
        }
        Ok(())
    }

    fn close(&mut self, index: u32) {
        if self.hall.connections[index as usize].open {
            self.hall.close(index);
            self.ring.shutdown(index);
        }
    }
}

#[cfg(test)]
mod tests;
