//! One thread's part of the floor: what bytes do, without the ring.

use std::collections::VecDeque;
use std::ops::Range;

use super::mesh::Word;
use super::worlds::{Ticks, World};
use crate::wire::floor::{self, ClientFrame, Lengths};
use crate::wire::world::UPDATE_BYTES;

/// Rooms that a thread has place for: more than there can be users.
const ROOMS_MAX: u32 = 1 << 20;
/// Heartbeats leave together with all that are due within this time: as the server does.
const BEAT_SLOT_NS: u64 = 100_000_000;

/// Who is in a room.
#[derive(Default)]
struct Room {
    /// On this thread.
    members: Vec<u32>,
    /// At its home: the other threads that have members.
    elsewhere: Vec<usize>,
    /// At its home: the number of its last message.
    sequence: u64,
    /// If it is one.
    world: Option<World>,
}

/// A user, in the slot of its socket.
#[derive(Default)]
struct Connection {
    open: bool,
    room: Option<u32>,
    /// In the room's world.
    entity: Option<u16>,
    lengths: Lengths,
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

/// One thread's connections and rooms.
pub(super) struct Hall {
    shard: usize,
    heartbeat_ns: u64,
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
    /// When connections get their next heartbeat: one period for all, so in order of time.
    beats: VecDeque<(u64, u32)>,
    ticks: Ticks,
    /// What this turn has for other threads, by thread.
    staged: Vec<Vec<Word>>,
}

impl Hall {
    pub(super) fn new(shard: usize, shard_count: usize, heartbeat_ns: u64) -> Self {
        Self {
            shard,
            heartbeat_ns,
            connections: Vec::new(),
            rooms: Vec::new(),
            waiting: Vec::new(),
            arena: Vec::new(),
            parts: Vec::new(),
            beats: VecDeque::new(),
            ticks: Ticks::default(),
            staged: (0..shard_count).map(|_| Vec::new()).collect(),
        }
    }

    pub(super) fn is_open(&self, index: u32) -> bool {
        self.connections[index as usize].open
    }

    pub(super) fn has_output(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What this turn has for other threads.
    pub(super) fn staged_mut(&mut self) -> &mut [Vec<Word>] {
        &mut self.staged
    }

    /// When a heartbeat is due next.
    pub(super) fn beat_next_ns(&self) -> Option<u64> {
        self.beats.front().map(|(due_ns, _)| due_ns.next_multiple_of(BEAT_SLOT_NS))
    }

    /// When a world ticks next.
    pub(super) fn tick_next_ns(&self) -> Option<u64> {
        self.ticks.next_ns()
    }

    pub(super) fn open(&mut self, index: u32) {
        let slots = (index as usize + 1).max(self.connections.len());
        self.connections.resize_with(slots, Connection::default);
        self.connections[index as usize].open = true;
    }

    pub(super) fn close(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.open = false;
        if let Some(room) = connection.room.take() {
            self.rooms[room as usize].members.retain(|member| *member != index);
        }
    }

    /// Takes in bytes; false when they are none of the floor.
    pub(super) fn received(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> bool {
        let mut partial = std::mem::take(&mut self.connections[index as usize].partial);
        if partial.is_empty() {
            let Some(consumed) = self.frames(index, bytes, now_ns) else { return false };
            partial.extend_from_slice(&bytes[consumed..]);
        } else {
            partial.extend_from_slice(bytes);
            let Some(consumed) = self.frames(index, &partial, now_ns) else { return false };
            partial.drain(..consumed);
        }
        self.connections[index as usize].partial = partial;
        true
    }

    fn frames(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        let mut position = 0;
        while let Some((frame, consumed)) = floor::decode_client(&bytes[position..]).ok()? {
            position += consumed;
            match frame {
                ClientFrame::Announce { room, lengths } => {
                    self.announce(index, room, lengths, now_ns)?;
                }
                ClientFrame::Ask { kind } => self.reply(index, kind),
                ClientFrame::Say { text } => self.say(index, text)?,
                ClientFrame::Enter { tick_hz } => self.enter(index, tick_hz, now_ns)?,
                ClientFrame::Move { update } => self.walk(index, update)?,
            }
        }
        Some(position)
    }

    fn announce(&mut self, index: u32, room: u32, lengths: Lengths, now_ns: u64) -> Option<()> {
        let connection = &mut self.connections[index as usize];
        if room >= ROOMS_MAX || connection.room.is_some() {
            return None;
        }
        connection.room = Some(room);
        connection.lengths = lengths;
        if lengths.beat > 0 {
            self.beats.push_back((now_ns + self.heartbeat_ns, index));
        }
        let home = self.home(room);
        let members = &mut self.room(room).members;
        members.push(index);
        if members.len() == 1 && home != self.shard {
            self.staged[home].push(Word::Here { room, shard: self.shard });
        }
        self.reply(index, floor::KIND_ANNOUNCE);
        Some(())
    }

    /// The thread that numbers a room's messages.
    fn home(&self, room: u32) -> usize {
        room as usize % self.staged.len()
    }

    fn room(&mut self, room: u32) -> &mut Room {
        let slots = (room as usize + 1).max(self.rooms.len());
        self.rooms.resize_with(slots, Room::default);
        &mut self.rooms[room as usize]
    }

    fn say(&mut self, index: u32, text: &str) -> Option<()> {
        let speaker = &self.connections[index as usize];
        let (room, heard_bytes) = (speaker.room?, speaker.lengths.heard);
        let home = self.home(room);
        if home == self.shard {
            self.publish(room, heard_bytes, text);
        } else {
            self.staged[home].push(Word::Say { room, heard_bytes, text: text.to_owned() });
        }
        self.reply(index, floor::KIND_SAY);
        Some(())
    }

    /// At the room's home: numbers a message and gives it to all members.
    fn publish(&mut self, room: u32, heard_bytes: u16, text: &str) {
        let start = self.arena.len();
        let there = &mut self.rooms[room as usize];
        there.sequence += 1;
        floor::heard(there.sequence, text, heard_bytes, &mut self.arena);
        for &shard in &there.elsewhere {
            let frame = self.arena[start..].to_vec();
            self.staged[shard].push(Word::Heard { room, frame });
        }
        self.deliver(room, start..self.arena.len());
    }

    /// Gives a part of the arena to the room's members on this thread.
    fn deliver(&mut self, room: u32, range: Range<usize>) {
        let Self { connections, rooms, waiting, parts, .. } = self;
        for &member in &rooms[room as usize].members {
            let output = &mut connections[member as usize].output;
            if output.add(range.clone(), parts) {
                waiting.push(member);
            }
        }
    }

    /// A room on this thread is entered as a world.
    fn enter(&mut self, index: u32, tick_hz: u16, now_ns: u64) -> Option<()> {
        let room = self.connections[index as usize].room?;
        let tick_hz = u8::try_from(tick_hz).ok().filter(|hz| *hz > 0)?;
        if self.home(room) != self.shard {
            return None;
        }
        let Self { rooms, ticks, connections, arena, waiting, parts, .. } = self;
        let world = &mut rooms[room as usize].world;
        let world = world.get_or_insert_with(|| ticks.begin(room, tick_hz, now_ns));
        let entity = world.enter()?;
        let connection = &mut connections[index as usize];
        connection.entity = Some(entity);
        let start = arena.len();
        floor::entered(u64::from(room), entity, arena);
        if connection.output.add(start..arena.len(), parts) {
            waiting.push(index);
        }
        Some(())
    }

    fn walk(&mut self, index: u32, update: &[u8; UPDATE_BYTES]) -> Option<()> {
        let Connection { room, entity, .. } = self.connections[index as usize];
        self.rooms[room? as usize].world.as_mut()?.walk(entity?, update);
        Some(())
    }

    /// Runs the ticks that are due: each is one frame for all members.
    pub(super) fn tick(&mut self, now_ns: u64) {
        while let Some(room) = self.ticks.next_room(now_ns) {
            let start = self.arena.len();
            let world = self.rooms[room as usize].world.as_mut().expect("a world ticks");
            let Some(tick) = self.ticks.advance(world, now_ns) else { return };
            let moved = world.take_moved();
            if !moved.is_empty() {
                floor::world((u64::from(room), tick), moved, &mut self.arena);
                self.deliver(room, start..self.arena.len());
            }
        }
    }

    /// Takes in what another thread has.
    pub(super) fn told(&mut self, word: Word) {
        match word {
            Word::Here { room, shard } => {
                let elsewhere = &mut self.room(room).elsewhere;
                if !elsewhere.contains(&shard) {
                    elsewhere.push(shard);
                }
            }
            Word::Say { room, heard_bytes, text } => self.publish(room, heard_bytes, &text),
            Word::Heard { room, frame } => {
                let start = self.arena.len();
                self.arena.extend_from_slice(&frame);
                self.deliver(room, start..self.arena.len());
            }
        }
    }

    /// Gives their heartbeats to those for whom it is time: one frame for all of the turn.
    pub(super) fn beat(&mut self, now_ns: u64) {
        let slot_ns = now_ns / BEAT_SLOT_NS * BEAT_SLOT_NS;
        let mut frame: Option<Range<usize>> = None;
        while let Some(&(due_ns, index)) = self.beats.front()
            && due_ns <= slot_ns
        {
            self.beats.pop_front();
            let Connection { open, lengths, output, .. } = &mut self.connections[index as usize];
            if !*open {
                continue;
            }
            self.beats.push_back((due_ns + self.heartbeat_ns, index));
            let arena = &mut self.arena;
            let range = frame.get_or_insert_with(|| {
                let start = arena.len();
                floor::beat(lengths.beat, arena);
                start..arena.len()
            });
            if output.add(range.clone(), &mut self.parts) {
                self.waiting.push(index);
            }
        }
    }

    fn reply(&mut self, index: u32, kind: u8) {
        let Connection { output, lengths, .. } = &mut self.connections[index as usize];
        let length = if kind == floor::KIND_PING { lengths.ping_reply } else { lengths.reply };
        let start = self.arena.len();
        floor::reply(kind, length, &mut self.arena);
        if output.add(start..self.arena.len(), &mut self.parts) {
            self.waiting.push(index);
        }
    }

    /// Tells each connection's part of what leaves now, where it starts and how long it is, and
    /// gives the arena that holds them. Only what does not lie together is copied together.
    pub(super) fn flush(&mut self, mut stage: impl FnMut(u32, usize, usize)) -> &[u8] {
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
    pub(super) fn turn_end(&mut self) {
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

#[cfg(test)]
mod tests;
