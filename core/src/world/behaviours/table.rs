//! Behaviours by their names: the server's own, and those that other code brings.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::workers::{AskedWorker, WorkerBehaviours};
use super::{ALL, Behaviour, behaviour};
use crate::ids::{SessionId, ShardId};
use crate::inline::InlineFault;
use crate::name::is_name;

/// Behaviours that other code brings to one server.
pub const BEHAVIOURS_MAX: usize = 256;
/// Names that nobody has, of which a shard tells with one table.
const MISSING_MAX: usize = 64;

/// Behaviours that other code than the server's own brings. A shard changes from one table to the next between
/// two turns.
#[derive(Clone, Debug, Default)]
pub struct Behaviours {
    /// In the order of their names.
    brought: Vec<Arc<dyn Behaviour>>,
}

/// What moves a band: a place in a table, a worker that is asked, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    BuiltIn(usize),
    Brought(usize),
    Worker,
    Nobody,
}

impl Behaviours {
    /// NPCs whose world names this behaviour are moved by it from here on.
    ///
    /// # Errors
    /// [`InlineFault`].
    pub fn add(&mut self, behaviour: Arc<dyn Behaviour>) -> Result<(), InlineFault> {
        let name = behaviour.name();
        Self::check(name)?;
        let Err(place) = self.place_of(name) else { return Err(InlineFault::Taken) };
        if self.brought.len() >= BEHAVIOURS_MAX {
            return Err(InlineFault::TooMany);
        }
        self.brought.insert(place, behaviour);
        Ok(())
    }

    /// Whether other code than the server's may bring a behaviour of this name.
    ///
    /// # Errors
    /// [`InlineFault::NameInvalid`], [`InlineFault::BuiltIn`].
    pub fn check(name: &str) -> Result<(), InlineFault> {
        if !is_name(name.as_bytes()) {
            return Err(InlineFault::NameInvalid);
        }
        if behaviour(name).is_some() { Err(InlineFault::BuiltIn) } else { Ok(()) }
    }

    /// Whether anybody has a behaviour of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name) != Mover::Nobody
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.brought.binary_search_by(|brought| brought.name().cmp(name))
    }

    fn find(&self, name: &str) -> Mover {
        let built_in = ALL.iter().position(|behaviour| behaviour.name() == name);
        let brought = || self.place_of(name).map_or(Mover::Nobody, Mover::Brought);
        built_in.map_or_else(brought, Mover::BuiltIn)
    }
}

/// Behaviours as a shard has them, from one table to the next.
#[derive(Debug)]
pub(crate) struct ShardBehaviours {
    table: Arc<Behaviours>,
    pub(crate) shard: ShardId,
    /// Those of workers. What the table has goes before them.
    pub(crate) workers: WorkerBehaviours,
    /// Which table it is, and which workers are there, counted from 1.
    number: u64,
    /// Names that were looked for in vain.
    missing: Vec<Box<str>>,
    /// How many of them were told.
    told: usize,
}

impl ShardBehaviours {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            table: Arc::default(),
            shard,
            workers: WorkerBehaviours::default(),
            number: 1,
            missing: Vec::new(),
            told: 0,
        }
    }

    /// From here on NPCs are moved by those of this table.
    pub(crate) fn replace(&mut self, table: Arc<Behaviours>) {
        self.table = table;
        self.changed();
        self.forget_missing();
    }

    /// A worker has these too.
    pub(crate) fn set_worker<'n>(
        &mut self,
        session: SessionId,
        names: impl Iterator<Item = &'n str>,
        plugin: Option<&str>,
    ) {
        if self.workers.set(session, names, plugin) {
            self.changed();
            self.forget_missing();
        }
    }

    /// A worker has none any more.
    pub(crate) fn worker_gone(&mut self, session: SessionId) {
        if self.workers.remove(session) {
            self.changed();
        }
    }

    /// A worker has let a question go unanswered: it is asked no other before it says something, or long after.
    pub(crate) fn note_silence(&mut self, worker: AskedWorker, token: i64, now_ns: u64) {
        self.workers.note_silence(worker, token, now_ns);
        self.changed();
    }

    /// A tick comes: silent workers may be asked one thing after a while.
    pub(crate) fn probe_silent(&mut self, now_ns: u64) {
        if self.workers.probe_silent(now_ns) {
            self.changed();
        }
    }

    /// A worker has said something. Whether it was silent.
    pub(crate) fn heard(&mut self, session: SessionId, token: Option<i64>) -> bool {
        let was_silent = self.workers.heard(session, token);
        if was_silent {
            self.changed();
        }
        was_silent
    }

    /// Whether anybody has a behaviour of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.has(name) || self.workers.has(name)
    }

    /// Bands look anew for what moves them.
    fn changed(&mut self) {
        self.number += 1;
    }

    /// Names that are missing still are told again.
    fn forget_missing(&mut self) {
        self.missing.clear();
        self.told = 0;
    }

    /// A name that nobody has, though NPCs have it: each once.
    pub(crate) fn take_missing(&mut self) -> Option<&str> {
        let name = self.missing.get(self.told)?;
        self.told += 1;
        Some(name)
    }

    /// What moves a band of that name.
    fn find(&mut self, name: &str) -> Mover {
        let mut mover = self.table.find(name);
        if mover == Mover::Nobody && self.workers.answers(name) {
            mover = Mover::Worker;
        }
        let is_told = || self.missing.iter().any(|missing| **missing == *name);
        if mover == Mover::Nobody && self.missing.len() < MISSING_MAX && !is_told() {
            self.missing.push(name.into());
        }
        mover
    }

    /// The behaviour itself.
    pub(crate) fn get(&self, mover: Mover) -> Option<&dyn Behaviour> {
        match mover {
            Mover::BuiltIn(place) => Some(ALL[place]),
            Mover::Brought(place) => Some(&*self.table.brought[place]),
            Mover::Worker | Mover::Nobody => None,
        }
    }
}

/// A behaviour's name, and its place in the last table in which it was looked for.
#[derive(Clone, Debug)]
pub(crate) struct NamedMover {
    name: Box<str>,
    mover: Mover,
    /// Of which table; 0: of none yet.
    table: u64,
}

impl NamedMover {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), mover: Mover::Nobody, table: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What moves those of this name now.
    pub(crate) fn look_up(&mut self, behaviours: &mut ShardBehaviours) -> Mover {
        if self.table != behaviours.number {
            self.mover = behaviours.find(&self.name);
            self.table = behaviours.number;
        }
        self.mover
    }
}
