//! Who may connect and log in, by where clients come from and by who they are: how many connections
//! an address has over all shards, and how often users log in. Each address and each account has one
//! shard that counts it.
//!
//! A stranger cannot use this against an account: only logins that succeeded count for it, and what
//! fails counts for the address alone.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ConnectionId, ShardId};
use crate::limits::Limits;
use crate::peer::PeerAddress;
use crate::rate::{Meter, Rate};
use crate::reason::Reason;

/// Idle entries that one turn looks at.
const LOOKS_PER_TURN_MAX: usize = 64;
/// Units of a login: a rate per minute in units of a second.
const LOGIN_UNITS: u64 = 60;

/// What the shard of an address is told of one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressEvent {
    /// It was accepted.
    Came,
    /// It has come to another shard.
    Moved,
    /// It is gone.
    Gone,
    /// Its client wants to log in, or to resume.
    LogsIn,
}

/// The shard that counts the address.
pub(crate) fn shard_of(peer: PeerAddress, shard_count: u16) -> ShardId {
    // 2^64 divided by the golden ratio: near addresses go to different shards.
    let mixed = peer.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ShardId((mixed % u64::from(shard_count)) as u16)
}

/// Where a connection's client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    generation: u32,
    peer: PeerAddress,
}

/// Where the clients of a shard's connections are, by slot.
#[derive(Debug, Default)]
pub(crate) struct Places {
    slots: Vec<Option<Place>>,
}

impl Places {
    pub(crate) fn enter(&mut self, id: ConnectionId, peer: PeerAddress) {
        let index = id.index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        assert!(self.slots[index].is_none(), "a slot has one connection at a time");
        self.slots[index] = Some(Place { generation: id.generation, peer });
    }

    /// None when it is gone, or nobody has said where it comes from.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<PeerAddress> {
        let place = self.slots.get(id.index as usize)?.as_ref()?;
        (place.generation == id.generation).then_some(place.peer)
    }

    pub(crate) fn leave(&mut self, id: ConnectionId) -> PeerAddress {
        let place = self.slots[id.index as usize].take().expect("who leaves has come");
        assert!(place.generation == id.generation);
        place.peer
    }
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Address(PeerAddress),
    /// Hash of the user's name by the shard's seed.
    Account(u64),
}

impl Whose {
    /// The account of this name.
    pub(crate) fn account(user: &[u8], seed: HashSeed) -> Self {
        use core::hash::BuildHasher;
        Self::Account(seed.hash_one(user))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Below 0 while the word that a connection has come is behind the word, from another shard,
    /// that it is gone.
    connections: i32,
    logins: Meter,
    /// It is in the list of those to forget.
    is_listed: bool,
}

/// What one shard counts. Those with connections are as many as connections are; of those without,
/// which logged in lately, as many are remembered as the limit says, and then the oldest forgotten.
#[derive(Debug)]
pub(crate) struct Admission {
    entries: HashMap<Whose, Entry>,
    /// Those that may be forgotten at that time, if they have no connection then.
    idle: VecDeque<(u64, Whose)>,
    /// How many were forgotten before their time.
    evicted: u64,
}

impl Admission {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { entries: HashMap::with_hasher(seed), idle: VecDeque::new(), evicted: 0 }
    }

    /// How many are counted, connected or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many were forgotten before their time.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Counts what an address does.
    ///
    /// # Errors
    /// Why the connection is to be closed. It counts until it is gone all the same.
    pub(crate) fn count(
        &mut self,
        peer: PeerAddress,
        event: AddressEvent,
        limits: &Limits,
        now_ns: u64,
    ) -> Result<(), Reason> {
        let whose = Whose::Address(peer);
        let change = match event {
            AddressEvent::LogsIn => {
                let per_minute = limits.logins_per_minute_per_address;
                let fits = self.log_in(whose, per_minute, limits.addresses_max, now_ns);
                return if fits { Ok(()) } else { Err(Reason::LoginRate) };
            }
            AddressEvent::Came => 1,
            AddressEvent::Moved => 0,
            AddressEvent::Gone => -1,
        };
        let entry = self.entries.entry(whose).or_default();
        entry.connections += change;
        let is_over = i64::from(entry.connections) > limits.connections_per_address_max as i64;
        self.settle(whose, limits.addresses_max, now_ns);
        if is_over && change >= 0 { Err(Reason::TooManyConnections) } else { Ok(()) }
    }

    /// Counts a login, unless it is one too many.
    pub(crate) fn log_in(
        &mut self,
        whose: Whose,
        per_minute: u64,
        idle_max: usize,
        now_ns: u64,
    ) -> bool {
        if per_minute == 0 {
            return true;
        }
        let rate = Rate { per_s: per_minute, burst: per_minute * LOGIN_UNITS };
        let fits = self.entries.entry(whose).or_default().logins.take(rate, LOGIN_UNITS, now_ns);
        self.settle(whose, idle_max, now_ns);
        fits
    }

    /// Forgets those of whom nothing is to be known any more.
    pub(crate) fn forget_idle(&mut self, now_ns: u64) {
        for _ in 0..LOOKS_PER_TURN_MAX {
            let Some((_, whose)) = self.idle.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) else {
                return;
            };
            self.unlist(whose);
            // The list is shorter by one: there is place for this one.
            self.settle(whose, usize::MAX, now_ns);
        }
    }

    /// Lists or forgets one who has no connection.
    fn settle(&mut self, whose: Whose, idle_max: usize, now_ns: u64) {
        let entry = self.entries.get_mut(&whose).expect("it was counted");
        if entry.connections != 0 || entry.is_listed {
            return;
        }
        if entry.logins.is_idle(now_ns) {
            self.entries.remove(&whose);
            return;
        }
        entry.is_listed = true;
        self.idle.push_back((entry.logins.idle_from_ns(), whose));
        while self.idle.len() > idle_max {
            let (_, oldest) = self.idle.pop_front().expect("it is longer than the limit");
            if self.unlist(oldest).connections == 0 {
                self.entries.remove(&oldest);
                self.evicted += 1;
            }
        }
    }

    fn unlist(&mut self, whose: Whose) -> Entry {
        let entry = self.entries.get_mut(&whose).expect("who is listed is counted");
        entry.is_listed = false;
        *entry
    }
}

#[cfg(test)]
mod tests;
