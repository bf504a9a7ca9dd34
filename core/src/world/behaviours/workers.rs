//! Behaviours of workers: which session has which, and what each was asked and has not answered. A shard
//! knows of all workers, and asks those of one name in turn.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::BEHAVIOURS_MAX;
use super::table::Behaviours;
use crate::ids::SessionId;

/// So many questions of all shards wait at a worker, and one of each at least: it is never without one, and may take
/// 15 ms for each before the last of them is given up.
const THINKS_OUT_MAX: usize = 64;
/// A silent worker is asked one thing after so long, in nanoseconds: what it has said may have been lost.
const PROBE_AFTER_NS: u64 = 5_000_000_000;

/// A name, and who has it.
#[derive(Debug)]
struct Offer {
    name: Box<str>,
    /// In the order in which they came.
    bearers: Vec<Bearer>,
    /// Whose turn it is first.
    next: usize,
}

/// A session that has it, and what that is, as it says itself.
#[derive(Debug)]
struct Bearer {
    session: SessionId,
    plugin: Option<Box<str>>,
}

/// A session that has behaviours. When it has had none for a moment it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskedWorker {
    pub(crate) session: SessionId,
    number: u64,
}

/// What a worker was asked.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    number: u64,
    /// What is waited for.
    thinks: usize,
    bytes: usize,
    /// What is not waited for any more, and which the worker may have still.
    lost: usize,
    /// The last token of these.
    last_lost: i64,
    /// Since it has let one go unanswered it has said nothing.
    silence: Option<Silence>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    since_ns: u64,
    probe_ns: u64,
    may_probe: bool,
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
        let thinks = (THINKS_OUT_MAX / shard_count).max(1);
        Self { thinks, bytes: bytes / shard_count }
    }
}

/// Who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// This one.
    Worker(AskedWorker),
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
    last_number: u64,
}

impl WorkerBehaviours {
    /// Whether a worker may have a behaviour of this name, beside so many new ones.
    pub(crate) fn check(&self, name: &str, new_count: &mut usize) -> bool {
        *new_count += usize::from(!self.has(name));
        Behaviours::check(name).is_ok() && self.offers.len() + *new_count <= BEHAVIOURS_MAX
    }

    /// From here on the session has these too. One for which there is no place is left out. Whether any is new.
    pub(super) fn set<'n>(
        &mut self,
        session: SessionId,
        names: impl Iterator<Item = &'n str>,
        plugin: Option<&str>,
    ) -> bool {
        let mut is_new = false;
        for name in names.filter(|name| Behaviours::check(name).is_ok()) {
            let place = match self.place_of(name) {
                Ok(place) => place,
                Err(_) if self.offers.len() >= BEHAVIOURS_MAX => continue,
                Err(place) => {
                    let offer = Offer { name: name.into(), bearers: Vec::new(), next: 0 };
                    self.offers.insert(place, offer);
                    place
                }
            };
            let bearers = &mut self.offers[place].bearers;
            let known = bearers.iter().position(|bearer| bearer.session == session);
            let at = known.unwrap_or_else(|| {
                is_new = true;
                bearers.push(Bearer { session, plugin: None });
                bearers.len() - 1
            });
            if let Some(plugin) = plugin {
                bearers[at].plugin = Some(plugin.into());
            }
            self.asked.entry(session.to_bits()).or_insert_with(|| {
                self.last_number += 1;
                Asked { number: self.last_number, ..Asked::default() }
            });
        }
        is_new
    }

    /// The session has none any more. Whether it had any.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        for offer in &mut self.offers {
            offer.bearers.retain(|bearer| bearer.session != session);
        }
        self.offers.retain(|offer| !offer.bearers.is_empty());
        self.asked.remove(&session.to_bits()).is_some()
    }

    /// Whether the worker has behaviours still.
    pub(crate) fn is_there(&self, worker: AskedWorker) -> bool {
        let asked = self.asked.get(&worker.session.to_bits());
        asked.is_some_and(|asked| asked.number == worker.number)
    }

    /// Whether any worker has it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place_of(name).is_ok()
    }

    /// Whether a worker has it that can be asked, now or when it has answered something.
    pub(super) fn answers(&self, name: &str) -> bool {
        let place = self.place_of(name);
        let is_heard = |bearer: &Bearer| self.asked[&bearer.session.to_bits()].is_heard();
        place.is_ok_and(|place| self.offers[place].bearers.iter().any(is_heard))
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
        for offset in 0..offer.bearers.len() {
            let at = (offer.next + offset) % offer.bearers.len();
            let session = offer.bearers[at].session;
            let asked = self.asked[&session.to_bits()];
            if asked.has(room) && has_way(session) {
                offer.next = at + 1;
                return Chosen::Worker(AskedWorker { session, number: asked.number });
            }
            if asked.is_heard() {
                chosen = Chosen::Full;
            }
        }
        chosen
    }

    /// The worker was asked something of so many bytes.
    pub(crate) fn asked(&mut self, worker: AskedWorker, bytes: usize) {
        let asked = self.get_mut(worker).expect("it was chosen");
        asked.thinks += 1;
        asked.bytes += bytes;
        if let Some(silence) = &mut asked.silence {
            silence.may_probe = false;
        }
    }

    /// It has answered that, or it is not waited for any more.
    pub(crate) fn returned(&mut self, worker: AskedWorker, bytes: usize) {
        if let Some(asked) = self.get_mut(worker) {
            asked.thinks -= 1;
            asked.bytes -= bytes;
        }
    }

    /// The worker has let a question of this token go unanswered, which is returned. It may have it still.
    pub(super) fn note_silence(&mut self, worker: AskedWorker, token: i64, now_ns: u64) {
        let Some(asked) = self.get_mut(worker) else { return };
        asked.lost += 1;
        asked.last_lost = asked.last_lost.max(token);
        let since_ns = asked.silence.map_or(now_ns, |silence| silence.since_ns);
        let probe_ns = now_ns + PROBE_AFTER_NS;
        asked.silence = Some(Silence { since_ns, probe_ns, may_probe: false });
    }

    /// The session has said something of the question of this token, or something else. What it was asked before is over
    /// then: workers answer in order. Whether it was silent.
    pub(super) fn heard(&mut self, session: SessionId, token: Option<i64>) -> bool {
        let Some(asked) = self.asked.get_mut(&session.to_bits()) else { return false };
        let is_all = token.is_none_or(|token| token >= asked.last_lost);
        asked.lost = if is_all { 0 } else { asked.lost.saturating_sub(1) };
        asked.silence.take().is_some()
    }

    /// Silent workers of which it is time to ask one thing. Whether there are some.
    pub(super) fn probe_silent(&mut self, now_ns: u64) -> bool {
        let mut is_new = false;
        for silence in self.asked.values_mut().filter_map(|asked| asked.silence.as_mut()) {
            if silence.probe_ns <= now_ns {
                (silence.may_probe, silence.probe_ns) = (true, u64::MAX);
                is_new = true;
            }
        }
        is_new
    }

    /// Since when the session is silent, if it is asked nothing because of that.
    pub(crate) fn silent_since_ns(&self, session: SessionId) -> Option<u64> {
        Some(self.asked.get(&session.to_bits())?.silence?.since_ns)
    }

    /// Names of what the session has, each with what that is.
    pub(crate) fn names_of(
        &self,
        session: SessionId,
    ) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.offers.iter().filter_map(move |offer| {
            let bearer = offer.bearers.iter().find(|bearer| bearer.session == session)?;
            Some((&*offer.name, bearer.plugin.as_deref()))
        })
    }

    /// How many questions it has.
    pub(crate) fn thinks_of(&self, session: SessionId) -> usize {
        self.asked.get(&session.to_bits()).map_or(0, |asked| asked.thinks)
    }

    fn get_mut(&mut self, worker: AskedWorker) -> Option<&mut Asked> {
        let asked = self.asked.get_mut(&worker.session.to_bits());
        asked.filter(|asked| asked.number == worker.number)
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.offers.binary_search_by(|offer| (*offer.name).cmp(name))
    }
}

impl Asked {
    /// One may be larger than all that it may be asked.
    fn has(self, room: Room) -> bool {
        if let Some(silence) = self.silence {
            return silence.may_probe && self.thinks == 0;
        }
        let fits = self.thinks == 0 || self.bytes < room.bytes;
        fits && self.thinks + self.lost < room.thinks
    }

    fn is_heard(self) -> bool {
        self.silence.is_none_or(|silence| silence.may_probe)
    }
}

#[cfg(test)]
mod tests;
