//! The tasks of a shard: where each stands, and whose turn it is. Nothing of this is state of its own: it
//! follows from the records, as a partition's users and rooms do, and comes back with them.
//!
//! ```text
//!           ┌──────────────── released, failed, lost ────────────────┐
//!           ▼                                                        │
//!  asked ► delayed ► ready ◄─────► blocked      leased ──────────────┤
//!                      └────────────────────────► │  ▲              dead
//!                              its turn           └──┘ begin, extend
//!                                                 done ► gone, or kept with its answer
//! ```
//!
//! A task that waited for [`AGE_STEP_NS`] rises a level, so that no flood keeps it waiting for ever. Two
//! tasks about one target are never leased together, nor two of one user where the method is ordered: the
//! second is blocked until the first has left.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use self::queues::Queue;
pub(crate) use self::queues::TaskEvent;
use self::ready::{Place, Ready};
use self::record::{TaskFields, TaskRecord, TaskState};
use self::resources::{Resource, Resources};
use crate::control::{QueueRow, TaskCounts};
use crate::hashing::{HashMap, HashSeed};
use crate::ids::{ObjectId, PartitionId};
use crate::object::Object;
use crate::partition::FIRST_ADDRESS;
use crate::turn::Now;

pub mod methods;
mod queues;
mod ready;
pub(crate) mod record;
mod resources;
pub(crate) mod workers;

/// Priorities: 0 is first.
pub(crate) const LEVELS: usize = 8;
/// How long a task waits on a level before it rises.
pub(crate) const AGE_STEP_NS: u64 = 5_000_000_000;

/// How long before a scheduled event its watchers are told of it, in milliseconds: as in the ConnServer.
const HEAD_START_MS: u64 = 180_000;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Delayed,
    Ready(Place),
    Blocked(Resource),
    Leased,
    Done,
    Dead,
}

#[derive(Clone, Debug)]
struct Task {
    standing: Standing,
    method: u32,
    /// Whose: a hash of the name.
    user: u64,
    priority: u8,
    /// Since when it could have been leased.
    since_ns: u64,
    deadline_ns: u64,
    /// When watchers are told of it, if it is an event of which they were not; `u64::MAX`: never.
    announce_ns: u64,
    /// When something is due of it; `u64::MAX`: never.
    due_ns: u64,
    /// Its lease, and how often that was extended.
    lease: (u64, u64),
    resources: [Option<Resource>; 2],
    /// Where it stood when it was ready last.
    place: Option<Place>,
    /// By what it is found again.
    key: Option<String>,
}

/// What is due of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was not leased in time.
    Expired,
    /// Its lease has ended.
    LeaseOver,
    /// It was remembered for as long as was promised.
    Forgotten,
    /// It begins soon.
    Ahead,
}

/// What a change of a task means to those who have to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) is_new: bool,
    pub(crate) is_leased: bool,
}

/// Those of a shard.
#[derive(Debug)]
pub(crate) struct TaskIndex {
    seed: HashSeed,
    tasks: HashMap<ObjectId, Task>,
    /// By method, those of its tasks that are ready.
    ready: Vec<Ready>,
    /// What is told of each method.
    queues: Vec<Queue>,
    numbers: HashMap<Box<str>, u32>,
    /// How many stand in `ready`.
    ready_count: usize,
    resources: Resources,
    /// Something became ready since that was asked last.
    has_woken: bool,
    due: BTreeSet<(u64, ObjectId)>,
    /// By partition, user and key.
    keys: HashMap<String, ObjectId>,
    counts: TaskCounts,
    partitions: HashMap<PartitionId, TaskCounts>,
    /// By partition and user, how many are not dead.
    users: HashMap<(PartitionId, u64), u64>,
    dead: BTreeSet<ObjectId>,
}

impl TaskIndex {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self {
            seed,
            tasks: HashMap::with_hasher(seed),
            ready: Vec::new(),
            queues: Vec::new(),
            numbers: HashMap::with_hasher(seed),
            resources: Resources::new(seed),
            ready_count: 0,
            has_woken: false,
            due: BTreeSet::new(),
            keys: HashMap::with_hasher(seed),
            counts: TaskCounts::default(),
            partitions: HashMap::with_hasher(seed),
            users: HashMap::with_hasher(seed),
            dead: BTreeSet::new(),
        }
    }

    /// The number of a method on this shard.
    pub(crate) fn number_of(&mut self, method: &str) -> u32 {
        if let Some(number) = self.numbers.get(method) {
            return *number;
        }
        let number = u32::try_from(self.ready.len()).expect("methods are few");
        self.ready.push(Ready::new(self.seed));
        self.queues.push(Queue::new(method));
        self.numbers.insert(method.into(), number);
        number
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts
    }

    pub(crate) fn counts_of(&self, partition: PartitionId) -> TaskCounts {
        self.partitions.get(&partition).copied().unwrap_or_default()
    }

    /// How many of the user's in the partition are not dead.
    pub(crate) fn count_of_user(&self, partition: PartitionId, user: &str) -> u64 {
        let user = self.seed.hash_one(user);
        self.users.get(&(partition, user)).copied().unwrap_or(0)
    }

    /// The dead task of the partition that was made first.
    pub(crate) fn oldest_dead(&self, partition: PartitionId) -> Option<ObjectId> {
        let from = ObjectId::new(partition, FIRST_ADDRESS);
        self.dead.range(from..).next().copied().filter(|id| id.partition() == partition)
    }

    /// Since when the task could have been leased.
    pub(crate) fn since_ns(&self, id: ObjectId) -> u64 {
        self.tasks[&id].since_ns
    }

    /// What is told of the methods from this number on.
    pub(crate) fn queues_from(&self, from: u32, now_ns: u64) -> impl Iterator<Item = QueueRow> {
        let queues = self.queues.get(from as usize..).unwrap_or_default();
        queues.iter().map(move |queue| queue.row(now_ns))
    }

    /// Something has happened to a task that is there.
    pub(crate) fn count(&mut self, id: ObjectId, event: TaskEvent) {
        self.queues[self.tasks[&id].method as usize].totals.count(event);
    }

    pub(crate) fn is_dead(&self, id: ObjectId) -> bool {
        self.dead.contains(&id)
    }

    /// Dead tasks from that one on, each with its method.
    pub(crate) fn dead_from(&self, from: ObjectId) -> impl Iterator<Item = (ObjectId, &str)> {
        let of = |id: &ObjectId| self.queues[self.tasks[id].method as usize].method();
        self.dead.range(from..).map(move |id| (*id, of(id)))
    }

    /// Whether a task is ready that nothing is known to block.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready_count > 0
    }

    /// Whether something became ready since this was asked last.
    pub(crate) fn take_woken(&mut self) -> bool {
        core::mem::take(&mut self.has_woken)
    }

    /// The user's task of that key in the partition, unless it is dead: then it may be asked for anew.
    pub(crate) fn by_key(&self, partition: PartitionId, user: &str, key: &str) -> Option<ObjectId> {
        self.keys.get(&key_of(partition, user, key)).copied()
    }

    /// When something is due.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// Whether the object is a task.
    pub(crate) fn has(&self, id: ObjectId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// The task has changed as this object says, or it is gone. Called for every change that says where it
    /// stands.
    pub(crate) fn note(&mut self, id: ObjectId, object: Option<&Object>, now: Now) -> Noted {
        let fields = object.and_then(TaskRecord::of).map(TaskRecord::fields);
        let is_leased = fields.as_ref().is_some_and(|fields| fields.state == TaskState::Leased);
        let before = self.leave(id, is_leased);
        if let Some(task) = &before {
            self.resources.leave(id, task.resources);
        }
        let noted = Noted { is_new: before.is_none() && fields.is_some(), is_leased };
        if let Some(fields) = fields {
            self.enter(id, &fields, before.as_ref(), now);
        }
        // What it had may be free now.
        for resource in before.iter().flat_map(|task| task.resources).flatten() {
            self.wake(resource, now.monotonic_ns);
        }
        noted
    }

    fn enter(&mut self, id: ObjectId, fields: &TaskFields<'_>, before: Option<&Task>, now: Now) {
        let now_ns = now.monotonic_ns;
        let method = self.number_of(fields.method);
        let user = self.seed.hash_one(fields.owner);
        let at = |wall_ms: u64| {
            let left_ms = wall_ms.saturating_sub(now.wall_ms);
            now_ns.saturating_add(left_ms.saturating_mul(1_000_000))
        };
        let deadline_ns = match fields.deadline_ms {
            0 => u64::MAX,
            deadline_ms => at(deadline_ms),
        };
        let until_ns = at(fields.until_ms);
        let announce_ns = match before {
            Some(before) => before.announce_ns,
            None if fields.waits_for_event() => at(fields.until_ms.saturating_sub(HEAD_START_MS)),
            None => u64::MAX,
        };
        let level_max = LEVELS as u64 - 1;
        let priority = fields.priority.min(level_max) as u8;
        let line = (id.partition(), method, user);
        let head = fields.is_ordered.then_some(Resource::Head(line));
        let state = fields.state;
        // Who comes back has waited since it could have been leased first.
        let leased_before = before.filter(|task| task.standing == Standing::Leased);
        let lease = (fields.lease, fields.extended);
        let mut task = Task {
            standing: Standing::Dead,
            method,
            user,
            priority,
            since_ns: leased_before.map_or(until_ns, |task| task.since_ns),
            deadline_ns,
            announce_ns,
            due_ns: u64::MAX,
            lease,
            resources: [fields.target.map(Resource::Target), head],
            place: before.and_then(|task| task.place),
            key: None,
        };
        if state != TaskState::Dead
            && let Some(key) = fields.key
        {
            task.key = Some(key_of(id.partition(), fields.owner, key));
        }
        // An event takes its place in its line when its time comes.
        let is_early = fields.waits_for_event() && until_ns > now_ns;
        if matches!(state, TaskState::Ready | TaskState::Leased) && !is_early {
            self.resources.enter(id, task.resources, state == TaskState::Leased);
        }
        match state {
            TaskState::Ready if until_ns > now_ns || announce_ns != u64::MAX => {
                let due_ns = until_ns.min(deadline_ns).min(announce_ns);
                (task.standing, task.due_ns) = (Standing::Delayed, due_ns);
            }
            TaskState::Ready => self.make_ready(id, &mut task, now_ns),
            TaskState::Leased => {
                // By no clock that may be set: what the record says is for people.
                let limit_ns = fields.limit_ms.saturating_mul(1_000_000);
                let known = leased_before.filter(|task| task.lease == lease);
                task.due_ns = known.map_or(now_ns.saturating_add(limit_ns), |task| task.due_ns);
                (task.standing, task.since_ns) =
                    (Standing::Leased, before.map_or(now_ns, |task| task.since_ns));
            }
            TaskState::Done => (task.standing, task.due_ns) = (Standing::Done, until_ns),
            TaskState::Dead => {}
        }
        self.settle(id, task);
    }

    fn make_ready(&mut self, id: ObjectId, task: &mut Task, now_ns: u64) {
        let waited = now_ns.saturating_sub(task.since_ns) / AGE_STEP_NS;
        let level = u64::from(task.priority).saturating_sub(waited) as u8;
        let ready = &mut self.ready[task.method as usize];
        let place = ready.push(id, task.user, level, task.place);
        (task.standing, task.place) = (Standing::Ready(place), Some(place));
        let rise_ns = match level {
            0 => u64::MAX,
            _ => task.since_ns.saturating_add((waited + 1).saturating_mul(AGE_STEP_NS)),
        };
        task.due_ns = rise_ns.min(task.deadline_ns);
        self.has_woken = true;
    }

    fn settle(&mut self, id: ObjectId, task: Task) {
        if task.due_ns != u64::MAX {
            self.due.insert((task.due_ns, id));
        }
        self.ready_count += usize::from(matches!(task.standing, Standing::Ready(_)));
        *self.counts.of(task.standing) += 1;
        self.queues[task.method as usize].enter(id, &task);
        *self.partitions.entry(id.partition()).or_default().of(task.standing) += 1;
        if let Some(key) = &task.key {
            self.keys.insert(key.clone(), id);
        }
        if task.standing == Standing::Dead {
            self.dead.insert(id);
        } else {
            *self.users.entry((id.partition(), task.user)).or_default() += 1;
        }
        self.tasks.insert(id, task);
    }

    /// Takes the task from wherever it stands. If its turn is used by that, it counts.
    fn leave(&mut self, id: ObjectId, is_taken: bool) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        if let Some(key) = &task.key {
            self.keys.remove(key);
        }
        self.due.remove(&(task.due_ns, id));
        self.ready_count -= usize::from(matches!(task.standing, Standing::Ready(_)));
        *self.counts.of(task.standing) -= 1;
        self.queues[task.method as usize].leave(id, &task);
        let counts = self.partitions.get_mut(&id.partition()).expect("it was counted");
        *counts.of(task.standing) -= 1;
        if *counts == TaskCounts::default() {
            self.partitions.remove(&id.partition());
        }
        match task.standing {
            Standing::Ready(place) => {
                self.ready[task.method as usize].remove(id, task.user, place, is_taken);
            }
            Standing::Blocked(on) => {
                self.resources.unblock(on, task.method, task.since_ns, id);
            }
            Standing::Delayed | Standing::Leased | Standing::Done | Standing::Dead => {}
        }
        if task.standing == Standing::Dead {
            self.dead.remove(&id);
        } else {
            let user = (id.partition(), task.user);
            let count = self.users.get_mut(&user).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
        Some(task)
    }

    /// Those who may go on where nobody has the resource are ready again.
    fn wake(&mut self, resource: Resource, now_ns: u64) {
        for id in self.resources.to_wake(resource) {
            if self.tasks[&id].standing == Standing::Blocked(resource) {
                let mut task = self.leave(id, false).expect("who waits is there");
                self.make_ready(id, &mut task, now_ns);
                self.settle(id, task);
            }
        }
    }

    /// The next task to lease among those of these methods, and nothing when none is ready. It stays
    /// where it is until its record says that it is leased.
    pub(crate) fn next(
        &mut self,
        methods: impl Iterator<Item = u32> + Clone,
        now_ns: u64,
    ) -> Option<ObjectId> {
        loop {
            let firsts = methods.clone().filter_map(|method| {
                let (place, id) = self.ready[method as usize].first()?;
                Some((place.level, self.tasks[&id].since_ns, id))
            });
            let (_, _, id) = firsts.min()?;
            let task = &self.tasks[&id];
            let is_busy = |resource: &Resource| !self.resources.is_free(*resource, id);
            match task.resources.into_iter().flatten().find(is_busy) {
                None => return Some(id),
                Some(resource) => self.block(id, resource, now_ns),
            }
        }
    }

    fn block(&mut self, id: ObjectId, on: Resource, now_ns: u64) {
        let mut task = self.leave(id, false).expect("it is ready");
        task.standing = Standing::Blocked(on);
        task.due_ns = task.deadline_ns;
        self.resources.block(on, task.method, task.since_ns, id);
        let others = task.resources;
        self.settle(id, task);
        // Who waits for what this one does not take now may go on.
        for other in others.into_iter().flatten().filter(|other| *other != on) {
            self.wake(other, now_ns);
        }
    }

    /// Something that is due; what concerns only the order is done here.
    /// Each takes one of the steps.
    pub(crate) fn pop_due(&mut self, now_ns: u64, steps: &mut usize) -> Option<(ObjectId, Due)> {
        while *steps > 0
            && let Some((due_ns, id)) = self.due.first().copied()
            && due_ns <= now_ns
        {
            *steps -= 1;
            let mut task = self.leave(id, false).expect("what is due is there");
            let waits = !matches!(task.standing, Standing::Leased | Standing::Done);
            if !waits || task.deadline_ns <= now_ns {
                let due = match task.standing {
                    Standing::Leased => Due::LeaseOver,
                    Standing::Done => Due::Forgotten,
                    _ => Due::Expired,
                };
                // Until its record changes it stands where it stood, and is due no more.
                task.due_ns = u64::MAX;
                self.stand_again(id, task);
                return Some((id, due));
            }
            if task.standing == Standing::Delayed && task.announce_ns <= now_ns {
                task.announce_ns = u64::MAX;
                task.due_ns = task.since_ns.min(task.deadline_ns);
                self.settle(id, task);
                return Some((id, Due::Ahead));
            }
            if task.standing == Standing::Delayed {
                self.resources.enter(id, task.resources, false);
            }
            self.make_ready(id, &mut task, now_ns);
            self.settle(id, task);
        }
        None
    }

    fn stand_again(&mut self, id: ObjectId, task: Task) {
        match task.standing {
            Standing::Ready(place) => {
                let ready = &mut self.ready[task.method as usize];
                ready.push(id, task.user, place.level, Some(place));
            }
            Standing::Blocked(on) => {
                self.resources.block(on, task.method, task.since_ns, id);
            }
            Standing::Delayed | Standing::Leased | Standing::Done | Standing::Dead => {}
        }
        self.settle(id, task);
    }

    /// At a start: all leases are over, since the connections of those who had them are.
    pub(crate) fn end_leases(&mut self) {
        let leased = self.tasks.iter_mut().filter(|(_, task)| task.standing == Standing::Leased);
        for (id, task) in leased {
            self.due.remove(&(task.due_ns, *id));
            task.due_ns = 0;
            self.due.insert((task.due_ns, *id));
        }
    }
}

fn key_of(partition: PartitionId, user: &str, key: &str) -> String {
    format!("{} {user} {key}", partition.0)
}
