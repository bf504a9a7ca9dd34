//! Who heard what, so that lost, doubled, mixed-up and disordered messages are counted exactly.
//! Pure, and bounded: one bit for each pair of a listener and a message that the schedule has for its
//! room.
//!
//! A listener's part is here as [`Listener`]; each generator process adds its listeners up in a
//! [`Tally`]; the tallies of all processes are reconciled by [`Account::reconcile`].

use serde::{Deserialize, Serialize};

use crate::generator::setters::SetReport;
use crate::payload::mix;
use crate::profile::Rooms;

/// What the arrival of a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Heard for the first time.
    First,
    /// Heard before.
    Again,
}

/// Which place each scheduled message has among those of its room.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// By user: the place of its first message.
    first: Vec<u32>,
    /// By room: how many there are.
    counts: Vec<u32>,
}

impl Places {
    /// The places of a run in which each user says so many messages.
    #[must_use]
    pub fn new(rooms: Rooms, message_count: impl Fn(u32) -> u32) -> Self {
        let mut places = Self::default();
        for room in 0..rooms.count() {
            let mut next = 0;
            for user in rooms.members(room) {
                places.first.push(next);
                next += message_count(user);
            }
            places.counts.push(next);
        }
        places
    }

    /// How many messages a room has.
    #[must_use]
    pub fn count(&self, room: u32) -> u32 {
        self.counts[room as usize]
    }

    /// The place of a user's message of this number, which has to be one of the schedule.
    #[must_use]
    pub fn of(&self, user: u32, number: u32) -> u32 {
        self.first[user as usize] + number
    }
}

/// What one member of a room has heard.
#[derive(Debug, Default)]
pub struct Listener {
    /// A bit for each message of the room, by its place.
    heard: Box<[u64]>,
    /// The room's number that comes next, once one was heard.
    sequence_next: Option<u64>,
    /// Over everything that was said here, in order: members of one room end with the same.
    digest: u64,
}

impl Listener {
    /// From now on messages are heard: the room has so many.
    pub fn begin(&mut self, message_count: u32) {
        self.heard = vec![0; message_count.div_ceil(u64::BITS) as usize].into();
    }

    /// Notes the number of anything that the room has numbered.
    pub fn number(&mut self, tally: &mut Tally, sequence: u64) {
        if self.sequence_next.is_some_and(|next| next != sequence) {
            tally.out_of_order += 1;
        }
        self.sequence_next = Some(sequence.wrapping_add(1));
    }

    /// Notes a verified message of the room: its number in the room, its place among the messages
    /// of the room, the speaker and the number of the speaker's message.
    pub fn note(&mut self, tally: &mut Tally, sequence: u64, place: u32, user: u32, number: u32) {
        self.number(tally, sequence);
        self.digest = mix(mix(self.digest, sequence), u64::from(user) << 32 | u64::from(number));
        match self.arrival(place) {
            Arrival::First => tally.delivered[user as usize] += 1,
            Arrival::Again => tally.duplicated += 1,
        }
    }

    fn arrival(&mut self, place: u32) -> Arrival {
        let word = &mut self.heard[(place / u64::BITS) as usize];
        let bit = 1 << (place % u64::BITS);
        let arrival = if *word & bit == 0 { Arrival::First } else { Arrival::Again };
        *word |= bit;
        arrival
    }

    /// The digest of all that was heard, in order; never 0.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.max(1)
    }
}

/// What one generator process counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// By user: messages it said. Zero for users of other processes.
    pub sent: Vec<u32>,
    /// By user: first deliveries of its messages to listeners of this process.
    pub delivered: Vec<u32>,
    /// By room: the digest of this process's members, 0 when it has none there.
    pub digests: Vec<u64>,
    /// Rooms of whose members in this process one heard something else than another.
    pub rooms_disagreeing: u64,
    /// Messages heard again.
    pub duplicated: u64,
    /// Messages whose text, speaker, room or time is not what was said.
    pub corrupted: u64,
    /// Messages whose number in the room was not the one after the last.
    pub out_of_order: u64,
}

impl Tally {
    /// An empty tally.
    #[must_use]
    pub fn new(users: u32, rooms: Rooms) -> Self {
        Self {
            sent: vec![0; users as usize],
            delivered: vec![0; users as usize],
            digests: vec![0; rooms.count() as usize],
            ..Self::default()
        }
    }

    /// Adds the digest of one member of the room, at the end.
    pub fn note_digest(&mut self, room: u32, digest: u64) {
        let known = &mut self.digests[room as usize];
        if *known == 0 {
            *known = digest;
        } else if *known != digest {
            self.rooms_disagreeing += 1;
        }
    }

    /// Number of first deliveries.
    #[must_use]
    pub fn delivered_total(&self) -> u64 {
        self.delivered.iter().copied().map(u64::from).sum()
    }
}

/// What one generator process counted of frames of worlds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldTally {
    /// Frames.
    pub frames: u64,
    /// Of those, such as say all there is.
    pub whole_frames: u64,
    /// Entities that they told of.
    pub entities: u64,
    /// Moves that users made.
    pub moves: u64,
    /// Ticks of which a member was told nothing.
    pub frames_missing: u64,
    /// Entities in view of a watched member that it did not know, or knew as they were longer ago
    /// than the bound; each look counts.
    pub stale: u64,
    /// NPCs that a watched member did not know at the end, or that are too many.
    pub npcs_missing: u64,
    /// NPCs that one never saw move, besides those that may stand.
    pub npcs_still: u64,
    /// Members that were watched.
    pub watched: u64,
    /// What was told of entities that are nobody of the run, where there may be such; not among
    /// `entities`.
    pub strangers: u64,
}

impl WorldTally {
    /// Adds what another process counted.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.whole_frames += other.whole_frames;
        self.entities += other.entities;
        self.moves += other.moves;
        self.frames_missing += other.frames_missing;
        self.stale += other.stale;
        self.npcs_missing += other.npcs_missing;
        self.npcs_still += other.npcs_still;
        self.watched += other.watched;
        self.strangers += other.strangers;
    }
}

/// The sum over all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Messages said.
    pub sent: u64,
    /// Deliveries that they ought to make: each to every member of the room.
    pub expected: u64,
    /// Deliveries made.
    pub delivered: u64,
    /// Deliveries not made.
    pub lost: u64,
    /// Deliveries made more than once.
    pub duplicated: u64,
    /// Messages whose text, speaker, room or time is not what was said.
    pub corrupted: u64,
    /// Messages whose number in the room was not the one after the last.
    pub out_of_order: u64,
    /// Rooms whose members did not all hear the same in one order; a room may count once for each
    /// process in which it shows.
    pub rooms_disagreeing: u64,
}

impl Account {
    /// Adds the tallies up and compares what was said with what was heard, speaker by speaker: one
    /// delivery too many does not make up for one too few.
    #[must_use]
    pub fn reconcile(rooms: Rooms, tallies: &[Tally]) -> Self {
        let mut account = Self::default();
        for room in 0..rooms.count() {
            let members = rooms.members(room);
            let member_count = members.len() as u64;
            for user in members {
                let sum = |counts: fn(&Tally) -> &[u32]| -> u64 {
                    tallies.iter().map(|tally| u64::from(counts(tally)[user as usize])).sum()
                };
                let (sent, delivered) = (sum(|tally| &tally.sent), sum(|tally| &tally.delivered));
                let expected = sent * member_count;
                account.sent += sent;
                account.expected += expected;
                account.delivered += delivered;
                account.lost += expected.saturating_sub(delivered);
                // Each delivery was verified, so it says something that nobody said.
                account.corrupted += delivered.saturating_sub(expected);
            }
            let mut merged = Tally { digests: vec![0], ..Tally::default() };
            for digest in tallies.iter().map(|tally| tally.digests[room as usize]) {
                if digest != 0 {
                    merged.note_digest(0, digest);
                }
            }
            account.rooms_disagreeing += merged.rooms_disagreeing;
        }
        for tally in tallies {
            account.duplicated += tally.duplicated;
            account.corrupted += tally.corrupted;
            account.out_of_order += tally.out_of_order;
            account.rooms_disagreeing += tally.rooms_disagreeing;
        }
        account
    }

    /// The account of users in worlds: besides lines, a delivery is an entity that a frame told of. What later
    /// moves replaced before a tick is told by these, so how many there are to be is known only by what is missing.
    #[must_use]
    pub fn of_worlds(rooms: Rooms, tallies: &[Tally], worlds: &WorldTally) -> Self {
        let mut account = Self::reconcile(rooms, tallies);
        let unseen = worlds.frames_missing + worlds.stale;
        let lost = unseen + worlds.npcs_missing + worlds.npcs_still;
        account.sent += worlds.moves;
        account.expected += worlds.entities + lost;
        account.delivered += worlds.entities;
        account.lost += lost;
        account
    }

    /// Adds what users have set: each set is a message that is to be answered, and what is not there at the end
    /// is lost.
    pub fn add_sets(&mut self, sets: &SetReport) {
        self.sent += sets.sent;
        self.expected += sets.sent + sets.lost + sets.unread;
        self.delivered += sets.acknowledged;
        self.lost += sets.missing();
    }

    /// Whether every message reached every member once, whole and in one order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.corrupted == 0
            && self.out_of_order == 0
            && self.rooms_disagreeing == 0
    }
}

#[cfg(test)]
mod tests;
