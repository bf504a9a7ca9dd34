//! Behaviours of workers: which session has which, and what each was asked and has not answered. A shard
//! knows of all workers, and asks those of one name in turn.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::BEHAVIOURS_MAX;
use super::table::Behaviours;
use crate::ids::SessionId;

/// So many questions of all shards wait at a worker: it is never without one, and may take 15 ms for each before the last of
/// them is given up.
const THINKS_OUT_MAX: usize = 64;
/// And so many of each shard at least.
const THINKS_OUT_MIN: usize = 4;

/// A name, and who has it.
#[derive(Debug)]
struct Offer {
    name: Box<str>,
    /// In the order in which they came.
    sessions: Vec<SessionId>,
    /// Whose turn it is first.
    next: usize,
}

/// What a worker was asked.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    thinks: usize,
    bytes: usize,
    /// Since when it has said nothing, if it has let one go unanswered.
    silent_since_ns: Option<u64>,
}

/// What a worker is asked at a time by one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    thinks: usize,
    bytes: usize,
}

impl Room {
    /// The part of one of so many shards, of this many bytes for all.
    pub(crate) fn of_shard(shard_count: u16, bytes: usize) -> Self {
        let shard_count = usize::from(shard_count);
        let thinks = (THINKS_OUT_MAX / shard_count).max(THINKS_OUT_MIN);
        Self { thinks, bytes: bytes / shard_count }
    }
}

/// Who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// This one.
    Worker(SessionId),
    /// There are some, but each has as much as it may have, or the way there is full.
    Full,
    /// Nobody has the behaviour, or those who have it are silent.
    Nobody,
}

/// The workers that have behaviours.
#[derive(Debug, Default)]
pub(crate) struct WorkerBehaviours {
    /// In the order of their names.
    offers: Vec<Offer>,
    /// By session.
    asked: BTreeMap<u64, Asked>,
}

impl WorkerBehaviours {
    /// Whether a worker may have a behaviour of this name.
    pub(crate) fn check(&self, name: &str) -> bool {
        Behaviours::check(name).is_ok()
            && (self.place_of(name).is_ok() || self.offers.len() < BEHAVIOURS_MAX)
    }

    /// From here on the session has these too. One for which there is no place is left out.
    pub(super) fn set<'n>(&mut self, session: SessionId, names: impl Iterator<Item = &'n str>) {
        for name in names.filter(|name| Behaviours::check(name).is_ok()) {
            let place = match self.place_of(name) {
                Ok(place) => place,
                Err(_) if self.offers.len() >= BEHAVIOURS_MAX => continue,
                Err(place) => {
                    let offer = Offer { name: name.into(), sessions: Vec::new(), next: 0 };
                    self.offers.insert(place, offer);
                    place
                }
            };
            let sessions = &mut self.offers[place].sessions;
            if !sessions.contains(&session) {
                sessions.push(session);
            }
            self.asked.entry(session.to_bits()).or_default();
        }
    }

    /// The session has none any more. Whether it had any.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        for offer in &mut self.offers {
            offer.sessions.retain(|known| *known != session);
        }
        self.offers.retain(|offer| !offer.sessions.is_empty());
        self.asked.remove(&session.to_bits()).is_some()
    }

    /// Whether the session has behaviours.
    pub(crate) fn is_there(&self, session: SessionId) -> bool {
        self.asked.contains_key(&session.to_bits())
    }

    /// Whether any worker has it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place_of(name).is_ok()
    }

    /// Whether a worker has it that answers.
    pub(super) fn answers(&self, name: &str) -> bool {
        let place = self.place_of(name);
        place.is_ok_and(|place| {
            self.offers[place].sessions.iter().any(|who| self.silent_since_ns(*who).is_none())
        })
    }

    /// Whether any worker could be asked more.
    pub(crate) fn has_room(&self, room: Room) -> bool {
        self.asked.values().any(|asked| asked.has(room))
    }

    /// Who is asked next for a behaviour, of those to whom there is a way.
    pub(crate) fn choose(
        &mut self,
        name: &str,
        room: Room,
        has_way: impl Fn(SessionId) -> bool,
    ) -> Chosen {
        let Ok(place) = self.place_of(name) else { return Chosen::Nobody };
        let offer = &mut self.offers[place];
        let mut chosen = Chosen::Nobody;
        for offset in 0..offer.sessions.len() {
            let at = (offer.next + offset) % offer.sessions.len();
            let session = offer.sessions[at];
            let asked = self.asked[&session.to_bits()];
            if asked.has(room) && has_way(session) {
                offer.next = at + 1;
                return Chosen::Worker(session);
            }
            if asked.silent_since_ns.is_none() {
                chosen = Chosen::Full;
            }
        }
        chosen
    }

    /// The session was asked something of so many bytes.
    pub(crate) fn asked(&mut self, session: SessionId, bytes: usize) {
        let asked = self.asked.get_mut(&session.to_bits()).expect("it was chosen");
        asked.thinks += 1;
        asked.bytes += bytes;
    }

    /// It has answered that, or it is not waited for any more.
    pub(crate) fn returned(&mut self, session: SessionId, bytes: usize) {
        if let Some(asked) = self.asked.get_mut(&session.to_bits()) {
            asked.thinks -= 1;
            asked.bytes -= bytes;
        }
    }

    /// The session has let a question go unanswered. Whether that is new.
    pub(super) fn note_silence(&mut self, session: SessionId, now_ns: u64) -> bool {
        let asked = self.asked.get_mut(&session.to_bits());
        asked.is_some_and(|asked| {
            let was_silent = asked.silent_since_ns.is_some();
            asked.silent_since_ns.get_or_insert(now_ns);
            !was_silent
        })
    }

    /// The session has said something. Whether it was silent.
    pub(super) fn heard(&mut self, session: SessionId) -> bool {
        let asked = self.asked.get_mut(&session.to_bits());
        asked.and_then(|asked| asked.silent_since_ns.take()).is_some()
    }

    /// Since when the session is silent, if it is asked nothing because of that.
    pub(crate) fn silent_since_ns(&self, session: SessionId) -> Option<u64> {
        self.asked.get(&session.to_bits())?.silent_since_ns
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.offers.binary_search_by(|offer| (*offer.name).cmp(name))
    }
}

impl Asked {
    /// One may be larger than all that it may be asked.
    fn has(self, room: Room) -> bool {
        let fits = self.thinks == 0 || self.bytes < room.bytes;
        self.silent_since_ns.is_none() && fits && self.thinks < room.thinks
    }
}

#[cfg(test)]
mod tests;
