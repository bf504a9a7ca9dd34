//! Workers: sessions that take tasks of some methods. A worker says how many it takes at a time from each
//! shard, and gets the next one when it has let go of one: nobody asks for work again and again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ObjectId, SessionId};

/// Tasks that one worker has from one shard.
pub(crate) const CREDITS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Worker {
    /// Numbers of methods on this shard.
    pub(crate) methods: Vec<u32>,
    /// Their names, each with what does it, as the worker says itself.
    names: Vec<(Box<str>, Option<Box<str>>)>,
    pub(crate) credits: usize,
    leased: BTreeMap<ObjectId, Lease>,
    leased_bytes: usize,
    /// Since when it has said nothing, if a lease of it has ended meanwhile by its time.
    silent_since_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    /// Of what the worker was told.
    bytes: usize,
    since_ns: u64,
}

impl Worker {
    /// One task may be larger than all that it may be told of.
    fn has_room(&self, bytes_max: usize) -> bool {
        if self.silent_since_ns.is_some() {
            return false;
        }
        let fits = self.leased.is_empty() || self.leased_bytes < bytes_max;
        fits && self.leased.len() < self.credits
    }

    pub(crate) fn method_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }

    /// What does the method.
    pub(crate) fn plugin_of(&self, method: &str) -> Option<&str> {
        self.names.iter().find(|(name, _)| **name == *method)?.1.as_deref()
    }

    /// How many tasks it has.
    pub(crate) fn leased_count(&self) -> usize {
        self.leased.len()
    }

    /// Since when it is silent, if it gets no tasks because of that.
    pub(crate) fn silent_since_ns(&self) -> Option<u64> {
        self.silent_since_ns
    }

    /// Since when it has the one that it has had for longest.
    pub(crate) fn oldest_lease_ns(&self) -> Option<u64> {
        self.leased.values().map(|lease| lease.since_ns).min()
    }
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
    pub(crate) fn set<'a>(
        &mut self,
        session: SessionId,
        methods: impl Iterator<Item = (u32, &'a str)>,
        (credits, plugin): (Option<usize>, Option<&str>),
    ) {
        let worker = self.workers.entry(session).or_insert_with(|| {
            self.order.push(session);
            Worker {
                methods: Vec::new(),
                names: Vec::new(),
                credits: 1,
                leased: BTreeMap::new(),
                leased_bytes: 0,
                silent_since_ns: None,
            }
        });
        worker.silent_since_ns = None;
        worker.credits = credits.unwrap_or(worker.credits);
        for (method, name) in methods {
            let known = worker.methods.iter().position(|known| *known == method);
            let place = known.unwrap_or_else(|| {
                worker.methods.push(method);
                worker.names.push((name.into(), None));
                worker.methods.len() - 1
            });
            if let Some(plugin) = plugin {
                worker.names[place].1 = Some(plugin.into());
            }
        }
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&Worker> {
        self.workers.get(&session)
    }

    /// The session takes none any more; these it has until they are returned.
    pub(crate) fn remove(&mut self, session: SessionId) -> impl Iterator<Item = ObjectId> + use<> {
        let worker = self.workers.remove(&session);
        self.order.retain(|known| *known != session);
        worker.into_iter().flat_map(|worker| worker.leased.into_keys())
    }

    /// Which session has the task.
    pub(crate) fn holder(&self, task: ObjectId) -> Option<SessionId> {
        self.holders.get(&task).copied()
    }

    /// Each worker that could take one more task, those first that have waited longest for one: until
    /// `take` says which it gets. Who was told of more bytes than these waits until it is done with some.
    pub(crate) fn find<T>(
        &mut self,
        bytes_max: usize,
        mut take: impl FnMut(SessionId, &Worker) -> Option<T>,
    ) -> Option<(SessionId, T)> {
        for offset in 0..self.order.len() {
            let at = (self.next + offset) % self.order.len();
            let session = self.order[at];
            let worker = &self.workers[&session];
            if worker.has_room(bytes_max)
                && let Some(taken) = take(session, worker)
            {
                self.next = at + 1;
                return Some((session, taken));
            }
        }
        None
    }

    /// The session has the task from now on, and was told of it in so many bytes.
    pub(crate) fn leased(
        &mut self,
        session: SessionId,
        task: ObjectId,
        (bytes, since_ns): (usize, u64),
    ) {
        let worker = self.workers.get_mut(&session).expect("it was found");
        worker.leased.insert(task, Lease { bytes, since_ns });
        worker.leased_bytes += bytes;
        self.holders.insert(task, session);
    }

    /// A lease of the task has ended by its time: whoever has it may be stuck, and gets no other before it
    /// says something.
    pub(crate) fn note_silence(&mut self, task: ObjectId, now_ns: u64) {
        let worker = self.holders.get(&task).and_then(|session| self.workers.get_mut(session));
        if let Some(worker) = worker {
            worker.silent_since_ns.get_or_insert(now_ns);
        }
    }

    /// The session has said something of a task. Whether it was silent.
    pub(crate) fn heard(&mut self, session: SessionId) -> bool {
        let worker = self.workers.get_mut(&session);
        worker.and_then(|worker| worker.silent_since_ns.take()).is_some()
    }

    /// The task is nobody's any more.
    pub(crate) fn returned(&mut self, task: ObjectId) {
        let Some(session) = self.holders.remove(&task) else { return };
        let Some(worker) = self.workers.get_mut(&session) else { return };
        if let Some(lease) = worker.leased.remove(&task) {
            worker.leased_bytes -= lease.bytes;
        }
    }
}
