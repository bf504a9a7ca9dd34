//! Workers: sessions that take tasks of some methods. A worker says how many it takes at a time from each
//! shard, and gets the next one when it has let go of one: nobody asks for work again and again.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ObjectId, SessionId};

/// Tasks that one worker has from one shard.
pub(crate) const CREDITS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Worker {
    /// Numbers of methods on this shard.
    pub(crate) methods: Vec<u32>,
    credits: usize,
    leased: BTreeSet<ObjectId>,
}

/// Those that take tasks of a shard.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: HashMap<SessionId, Worker>,
    /// Whose turn it is first.
    order: Vec<SessionId>,
    next: usize,
    /// Who has a task.
    holders: HashMap<ObjectId, SessionId>,
}

impl Workers {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self {
            workers: HashMap::with_hasher(seed),
            order: Vec::new(),
            next: 0,
            holders: HashMap::with_hasher(seed),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.order.len()
    }

    /// From here on the session takes tasks of these methods too, and so many at a time.
    pub(crate) fn set(
        &mut self,
        session: SessionId,
        methods: impl Iterator<Item = u32>,
        credits: usize,
    ) {
        let worker = self.workers.entry(session).or_insert_with(|| {
            self.order.push(session);
            Worker { methods: Vec::new(), credits, leased: BTreeSet::new() }
        });
        worker.credits = credits;
        for method in methods {
            if !worker.methods.contains(&method) {
                worker.methods.push(method);
            }
        }
    }

    /// The session takes none any more; these it had.
    pub(crate) fn remove(&mut self, session: SessionId) -> BTreeSet<ObjectId> {
        let Some(worker) = self.workers.remove(&session) else { return BTreeSet::new() };
        self.order.retain(|known| *known != session);
        for task in &worker.leased {
            self.holders.remove(task);
        }
        worker.leased
    }

    /// Each worker that could take one more task, those first that have waited longest for one: until
    /// `take` says which it gets.
    pub(crate) fn find<T>(
        &mut self,
        mut take: impl FnMut(&Worker) -> Option<T>,
    ) -> Option<(SessionId, T)> {
        for offset in 0..self.order.len() {
            let at = (self.next + offset) % self.order.len();
            let session = self.order[at];
            let worker = &self.workers[&session];
            if worker.leased.len() < worker.credits
                && let Some(taken) = take(worker)
            {
                self.next = at + 1;
                return Some((session, taken));
            }
        }
        None
    }

    pub(crate) fn leased(&mut self, session: SessionId, task: ObjectId) {
        let worker = self.workers.get_mut(&session).expect("it was found");
        worker.leased.insert(task);
        self.holders.insert(task, session);
    }

    /// The task is nobody's any more.
    pub(crate) fn returned(&mut self, task: ObjectId) {
        let Some(session) = self.holders.remove(&task) else { return };
        let worker = self.workers.get_mut(&session).expect("who holds a task is there");
        worker.leased.remove(&task);
    }
}
