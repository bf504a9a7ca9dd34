//! What only one leased task has at a time, and who waits for it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ObjectId, PartitionId};

/// A user's tasks of a method in a partition, where they go one after the other.
pub(crate) type Line = (PartitionId, u32, u64);

/// Of which only one leased task has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Resource {
    /// The object that the task is about.
    Target(ObjectId),
    /// The place at the head of its line.
    Head(Line),
}

#[derive(Debug)]
pub(crate) struct Resources {
    /// The task that is out and has it.
    busy: HashMap<Resource, ObjectId>,
    /// All that are neither done nor dead, in the order in which they were made.
    lines: HashMap<Line, BTreeSet<ObjectId>>,
    /// Who waits: by method, since when, the longest first.
    blocked: HashMap<Resource, BTreeMap<u32, BTreeSet<(u64, ObjectId)>>>,
}

impl Resources {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self {
            busy: HashMap::with_hasher(seed),
            lines: HashMap::with_hasher(seed),
            blocked: HashMap::with_hasher(seed),
        }
    }

    pub(crate) fn is_free(&self, resource: Resource, task: ObjectId) -> bool {
        if self.busy.get(&resource).is_some_and(|has| *has != task) {
            return false;
        }
        match resource {
            Resource::Target(_) => true,
            Resource::Head(line) => {
                let first = self.lines.get(&line).and_then(BTreeSet::first);
                first.is_none_or(|first| *first == task)
            }
        }
    }

    /// The task is neither done nor dead, and is out if it is leased.
    pub(crate) fn enter(&mut self, task: ObjectId, all: [Option<Resource>; 2], is_leased: bool) {
        for resource in all.into_iter().flatten() {
            if is_leased {
                // Elsewhere two may have been leased in another order than they are told here.
                self.busy.entry(resource).or_insert(task);
            }
            if let Resource::Head(line) = resource {
                self.lines.entry(line).or_default().insert(task);
            }
        }
    }

    /// The task leaves where it was.
    pub(crate) fn leave(&mut self, task: ObjectId, all: [Option<Resource>; 2]) {
        for resource in all.into_iter().flatten() {
            if self.busy.get(&resource) == Some(&task) {
                self.busy.remove(&resource);
            }
            if let Resource::Head(line) = resource
                && let Some(tasks) = self.lines.get_mut(&line)
            {
                tasks.remove(&task);
                if tasks.is_empty() {
                    self.lines.remove(&line);
                }
            }
        }
    }

    pub(crate) fn block(&mut self, on: Resource, method: u32, since_ns: u64, task: ObjectId) {
        let methods = self.blocked.entry(on).or_default();
        methods.entry(method).or_default().insert((since_ns, task));
    }

    pub(crate) fn unblock(&mut self, on: Resource, method: u32, since_ns: u64, task: ObjectId) {
        let methods = self.blocked.get_mut(&on).expect("it waits there");
        let tasks = methods.get_mut(&method).expect("it waits there");
        assert!(tasks.remove(&(since_ns, task)), "it waits there");
        if tasks.is_empty() {
            methods.remove(&method);
        }
        if methods.is_empty() {
            self.blocked.remove(&on);
        }
    }

    /// Those that may go on when nobody has it: the first of each method, since a method may have no
    /// worker.
    pub(crate) fn to_wake(&self, resource: Resource) -> Vec<ObjectId> {
        let Some(methods) = self.blocked.get(&resource) else { return Vec::new() };
        if self.busy.contains_key(&resource) {
            return Vec::new();
        }
        match resource {
            Resource::Target(_) => {
                methods.values().filter_map(|tasks| Some(tasks.first()?.1)).collect()
            }
            Resource::Head(line) => {
                self.lines.get(&line).and_then(BTreeSet::first).copied().into_iter().collect()
            }
        }
    }
}
