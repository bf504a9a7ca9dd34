//! Who heard what, so that lost, doubled, mixed-up and disordered messages are counted exactly.
//! Pure, and bounded: 16 bytes for each pair of a listener and a speaker of its room.
//!
//! A listener's part is here as [`Listener`]; each generator process adds its listeners up in a
//! [`Tally`]; the tallies of all processes are reconciled by [`Account::reconcile`].

use serde::{Deserialize, Serialize};

use crate::payload::mix;
use crate::profile::Rooms;

/// Messages of one speaker that may be missing behind the newest one and still be placed when they
/// come late. More than a run of ten minutes has.
const LATE_WINDOW: u32 = 64;

/// What the arrival of a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Heard for the first time.
    First,
    /// Heard before.
    Again,
}

/// What a listener has heard of one speaker.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// One above the highest number heard.
    next: u32,
    /// Bit i: number `next - 1 - i` was not heard.
    missing: u64,
}

impl Heard {
    fn note(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            let skipped = number - self.next;
            let shifted = self.missing.checked_shl(skipped + 1).unwrap_or(0);
            let gap = 1u64.checked_shl(skipped).map_or(u64::MAX, |bit| bit - 1);
            self.missing = shifted | gap << 1;
            self.next = number + 1;
            return Arrival::First;
        }
        let behind = self.next - 1 - number;
        let bit = if behind < LATE_WINDOW { 1u64 << behind } else { 0 };
        if self.missing & bit == 0 {
            return Arrival::Again;
        }
        self.missing &= !bit;
        Arrival::First
    }
}

/// What one member of a room has heard.
#[derive(Debug, Default)]
pub struct Listener {
    speakers: Box<[Heard]>,
    /// The room's number that comes next, once one was heard.
    sequence_next: Option<u64>,
    /// Over everything heard, in order: members of one room end with the same.
    digest: u64,
}

impl Listener {
    /// A member of a room with this many speakers.
    #[must_use]
    pub fn new(speaker_count: usize) -> Self {
        Self {
            speakers: vec![Heard::default(); speaker_count].into(),
            sequence_next: None,
            digest: 0,
        }
    }

    /// Notes a verified message of the room: its number in the room, the speaker's place in the
    /// room and the number of the speaker's message.
    pub fn note(&mut self, tally: &mut Tally, sequence: u64, user: u32, slot: usize, number: u32) {
        if self.sequence_next.is_some_and(|next| next != sequence) {
            tally.out_of_order += 1;
        }
        self.sequence_next = Some(sequence.wrapping_add(1));
        self.digest = mix(mix(self.digest, sequence), u64::from(user) << 32 | u64::from(number));
        match self.speakers[slot].note(number) {
            Arrival::First => tally.delivered[user as usize] += 1,
            Arrival::Again => tally.duplicated += 1,
        }
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
