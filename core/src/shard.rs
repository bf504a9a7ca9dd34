//! The shard engine: all that one pinned thread owns, but for sockets and time. One call of
//! [`Shard::turn`] takes what came in and leaves what is to go out. It is pure: the same inputs
//! give the same outputs.
//!
//! ```text
//! clients ──ShardInput──► requests ─┐                      ┌─► deliver ──ShardOutput──► clients
//!                                   ├─► own batch, mesh ─► │
//! shards ───MeshMessage─────────────┘        ▲             └─► queues ─► events ─► effects ─┐
//!                                            └──────────────────────────────────────────────┘
//! ```
//!
//! What a shard has for itself goes through a batch like any other's, so local and remote take one
//! way. Files: `shard/requests.rs` from connections to events, `shard/deliver.rs` from mesh
//! messages to connections, `shard/admission.rs` where connections come from, `shard/sessions.rs`
//! sessions beside their connections, `shard/events.rs` from events to effects and changes,
//! `shard/watches.rs` what of these concerns watched objects and objects in rooms,
//! `shard/worlds.rs` worlds at their home, `shard/frames.rs` worlds where their members are,
//! `shard/snapshots.rs` from changes to what is stored, `shard/restore.rs` the way back,
//! `shard/durability.rs` what the log has and what waits for it, `shard/tasks.rs` what workers do, `shard/inline.rs` what is
//! done inline by code beside the server's, `shard/crowds.rs` rooms with many members, `shard/npcs.rs` when NPCs are moved, `shard/thinks.rs` which of them workers move, `shard/pages.rs` pages of `rooms`,
//! `shard/control.rs` the operator's commands.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::acknowledgement::AckDefaults;
use crate::admission::{AddressEvent, Admission, Places};
use crate::authentication::Authentication;
use crate::authorize::Policy;
use crate::bans::Bans;
use crate::counters::ShardCounters;
use crate::delta::{Delta, DeltaBatch};
use crate::effects::Effects;
use crate::event_queue::EventQueue;
use crate::hashing::HashSeed;
use crate::hearing::Hearing;
use crate::ids::{Address, GROUP_COUNT, ObjectId, PARTITION_COUNT, PartitionId, ShardId};
use crate::limits::{ARENA_BYTES_KEPT_MAX, Limits, TURN_OUTPUT_BYTES_MAX};
use crate::log_wait::LogWait;
use crate::mesh::{MeshBatch, MeshMessage};
use crate::message::Message;
use crate::parked::WaitingLogins;
use crate::partition::{FIRST_ADDRESS, Partition};
use crate::relay::Relays;
use crate::replay_log::ReplayLog;
use crate::routing::RoutingTable;
use crate::session::{Connections, Detached, Sessions};
use crate::tasks::methods::TaskMethods;
use crate::token::{TokenSeed, TokenSource};
use crate::turn::{Now, ShardInput, ShardInputs, ShardOutputs};
use crate::world::Worlds;

mod admission;
mod control;
mod crowds;
mod deliver;
mod durability;
mod events;
mod frames;
mod inline;
mod inline_tasks;
mod npcs;
mod pages;
mod queues;
mod reply;
mod requests;
mod restore;
mod sessions;
mod snapshots;
mod tasks;
mod thinks;
mod watches;
mod worker_steps;
mod workers;
mod worlds;

use crowds::Crowds;
use inline::Inline;
use pages::{Pages, RoomNames};
use restore::Restoring;
use snapshots::ChangedObjects;
use tasks::Tasks;
use thinks::Asking;
pub(crate) use worker_steps::WorkerStep;

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Which shard this is.
    pub shard: ShardId,
    /// Who owns what.
    pub routing: RoutingTable,
    /// Its bounds.
    pub limits: Limits,
    /// Seed of its hash maps.
    pub seed: HashSeed,
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// Who may do what.
    pub policy: Policy,
    /// Where its tokens come from.
    pub token_seed: TokenSeed,
    /// Whether `join` makes rooms.
    pub join_creates_rooms: bool,
    /// How soon a changed object is handed over to be stored, in nanoseconds; none: nothing is.
    pub snapshot_interval_ns: Option<u64>,
    /// Whether its delta batches go to a log that says which of them are durable. Without one a change
    /// is as durable as it becomes when it is applied.
    pub has_log: bool,
    /// When requests that do not say so are answered.
    pub ack_defaults: AckDefaults,
    /// Which methods workers do, besides those that they say themselves.
    pub task_methods: TaskMethods,
    /// Told in `hello`: longest frame, in bytes.
    pub frame_bytes_max: u64,
    /// Told in `hello`: how often a binary client has to be heard, in milliseconds.
    pub heartbeat_ms: u64,
    /// Told in `hello`: messages in a second on one connection; 0: any number.
    pub messages_per_s: u64,
    /// Told in `hello`: bytes in a second on one connection; 0: any number.
    pub bytes_per_s: u64,
    /// Told in `hello`: time within which a client has to be logged in, in milliseconds.
    pub login_ms: u64,
}

/// A shard's engine.
#[derive(Debug)]
pub struct Shard {
    settings: ShardSettings,
    now: Now,
    places: Places,
    admission: Admission,
    connections: Connections,
    sessions: Sessions,
    hearing: Hearing,
    detached: Detached,
    token_source: TokenSource,
    waiting_logins: WaitingLogins,
    /// Tickets that this turn may still check.
    tickets_left: usize,
    relays: Relays,
    /// The same for watched objects.
    watch_relays: Relays,
    queue: EventQueue,
    partitions: Vec<Option<Box<Partition>>>,
    /// Sequence of each group's last delta batch.
    group_sequences: Vec<u64>,
    /// Of those, up to where each group's are durable.
    durable_sequences: Vec<u64>,
    log_wait: LogWait,
    /// Events that tasks have other partitions make.
    event_wait: LogWait,
    /// The way of the first of them was full.
    event_retry_ns: Option<u64>,
    tasks: Tasks,
    inline: Inline,
    has_log_failed: bool,
    /// The log is to get nothing more from clients.
    is_log_behind: bool,
    /// Objects that wait to be stored; none when nothing is.
    changed: Option<ChangedObjects>,
    /// Empty but for a start.
    restoring: Restoring,
    /// Where partitions begin of which nothing is known.
    first_address: Address,
    /// Names of the rooms whose home is here: for `rooms`.
    room_names: RoomNames,
    /// Empty rooms to look at, with the time for it. The grace time is the same for all, so the
    /// first is the earliest.
    room_expiries: VecDeque<(u64, ObjectId)>,
    crowds: Crowds,
    worlds: Worlds,
    /// Worlds with NPCs that are due, by their places and wakings: whose turn it is first.
    thinkers: VecDeque<(u32, u32)>,
    /// Those that workers move.
    asking: Asking,
    pages: Pages,
    bans: Arc<Bans>,
    effects: Effects,
    /// The other half of our own mesh batch: one is read while the other is written.
    own_batch: MeshBatch,
    counters: ShardCounters,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(settings: ShardSettings) -> Self {
        assert!(settings.shard.0 < settings.routing.shard_count());
        let seed = settings.seed;
        let limits = &settings.limits;
        assert!(limits.detached_sessions_max > 0);
        let queue = EventQueue::new(limits.partition_events_max);
        let hearing = match limits.session_grace_ns {
            0 => Hearing::unkept(),
            _ => {
                let log = ReplayLog::new(limits.replay_bytes_max, limits.replay_links_max);
                Hearing::kept(log, limits.replay_messages_max, limits.resume_bytes_max)
            }
        };
        Self {
            now: Now { monotonic_ns: 0, wall_ms: 0 },
            places: Places::default(),
            admission: Admission::new(seed),
            connections: Connections::default(),
            sessions: Sessions::new(settings.shard),
            hearing,
            detached: Detached::default(),
            token_source: TokenSource::new(settings.token_seed),
            waiting_logins: WaitingLogins::default(),
            tickets_left: 0,
            relays: Relays::new(seed),
            watch_relays: Relays::new(seed),
            queue,
            partitions: (0..PARTITION_COUNT).map(|_| None).collect(),
            group_sequences: vec![0; GROUP_COUNT],
            durable_sequences: vec![0; GROUP_COUNT],
            log_wait: LogWait::new(),
            event_wait: LogWait::new(),
            event_retry_ns: None,
            tasks: Tasks::new(settings.task_methods.clone(), seed),
            inline: Inline::new(settings.shard),
            has_log_failed: false,
            is_log_behind: false,
            changed: settings.snapshot_interval_ns.map(|_| ChangedObjects::new()),
            restoring: Restoring::default(),
            first_address: FIRST_ADDRESS,
            room_names: RoomNames::default(),
            room_expiries: VecDeque::new(),
            crowds: Crowds::default(),
            worlds: Worlds::new(seed),
            thinkers: VecDeque::new(),
            asking: Asking::default(),
            pages: Pages::default(),
            bans: Arc::default(),
            effects: Effects::default(),
            own_batch: MeshBatch::default(),
            counters: ShardCounters::default(),
            settings,
        }
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.settings.shard
    }

    /// One turn: takes the inputs, and appends to the outputs. Batches for other shards that were
    /// not taken since the last turn are appended to, in order.
    pub fn turn(&mut self, now: Now, inputs: &ShardInputs, outputs: &mut ShardOutputs) {
        assert!(now.monotonic_ns >= self.now.monotonic_ns, "time does not go back");
        assert!(outputs.mesh.len() == usize::from(self.settings.routing.shard_count()));
        self.now = now;
        let staged_bytes = outputs.size_bytes();
        for (group, sequence) in &inputs.durable {
            self.note_durable(*group, *sequence);
        }
        if let Some(condition) = inputs.log {
            self.note_log(condition);
        }
        self.tell_durable(outputs);
        self.send_made_events(outputs);
        self.relays.forget_listed();
        self.watch_relays.forget_listed();
        self.advance_crowds(outputs);
        self.expire_rooms(outputs);
        self.expire_sessions(outputs);
        self.admission.forget_idle(now.monotonic_ns);
        // Before the clients, so that a ban holds for whoever comes with it.
        for command in &inputs.commands {
            self.carry_out(command, outputs);
        }
        self.tickets_left = self.settings.limits.tickets_per_turn_max;
        self.run_waiting_logins(outputs);
        for input in &inputs.list {
            self.take_input(*input, &inputs.bytes, outputs);
        }
        for (_, batch) in &inputs.mesh {
            self.counters.mesh_messages_in += batch.list.len() as u64;
            self.deliver_batch(batch, outputs);
        }
        let mut events_left = self.settings.limits.turn_events_max;
        loop {
            self.deliver_own_batch(outputs);
            let put_out_bytes = outputs.size_bytes() - staged_bytes;
            if events_left == 0 || put_out_bytes > TURN_OUTPUT_BYTES_MAX {
                break;
            }
            let costs = (self.run_next_event(outputs), self.run_next_page(outputs));
            if costs == (None, None) {
                break;
            }
            let cost = costs.0.unwrap_or(0) + costs.1.unwrap_or(0);
            events_left = events_left.saturating_sub(cost);
        }
        if self.tasks.has_work(now.monotonic_ns) {
            self.run_tasks(outputs);
            self.deliver_own_batch(outputs);
        }
        if self.is_world_due() {
            // Last, so that everything that was said until now counts.
            self.tick_worlds(outputs);
            self.deliver_own_batch(outputs);
        }
        if self.asking.has_work() {
            self.ask_workers(outputs);
            self.deliver_own_batch(outputs);
        }
        if self.own_batch.size_bytes() > ARENA_BYTES_KEPT_MAX {
            self.own_batch = MeshBatch::default();
        }
        self.counters.sessions = self.sessions.len() as u64;
        self.counters.logins_waiting = self.waiting_logins.len() as u64;
        self.counters.sessions_detached = self.detached.len() as u64;
        self.counters.addresses = self.admission.len() as u64;
        self.counters.addresses_evicted = self.admission.evicted();
        self.counters.replay_log_bytes = self.hearing.log().message_bytes() as u64;
        self.counters.replay_link_bytes = self.hearing.log().link_bytes() as u64;
        self.counters.queued_events = self.queue.len() as u64;
        self.counters.changed_objects = self.changed_object_count() as u64;
        self.counters.snapshots_waiting = self.waiting_snapshot_count() as u64;
        self.count_tasks();
        let waiting = [&self.log_wait, &self.event_wait];
        self.counters.log_waiting = waiting.map(|wait| wait.len() as u64).iter().sum();
        self.counters.log_waiting_bytes = waiting.map(|wait| wait.size_bytes() as u64).iter().sum();
        assert!(outputs.mesh[self.id().index()].is_empty(), "what is our own is done in its turn");
    }

    /// Whether events, pages, logins, ends of sessions or what became durable wait for the next turn. NPCs do not count: see
    /// [`has_npcs_due`](Self::has_npcs_due).
    #[must_use]
    pub fn has_work(&self) -> bool {
        let is_overdue = self.detached.first_overdue(self.now.monotonic_ns).is_some();
        let waits = is_overdue || self.waiting_logins.len() > 0 || self.has_durable_to_tell();
        let waits = waits || self.has_event_to_send() || self.asking.has_work();
        let waits = waits || self.tasks.has_work(self.now.monotonic_ns);
        waits || self.is_world_due() || self.queue.len() > 0 || !self.pages.is_empty()
    }

    /// When the shard needs a turn although nothing came in, in nanoseconds. What is due already is
    /// work.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let expiry_ns = self.room_expiries.front().map(|(due_ns, _)| *due_ns);
        let grace_ns = self.detached.first().map(|(due_ns, _)| due_ns);
        let grace_ns = grace_ns.filter(|due_ns| *due_ns > self.now.monotonic_ns);
        let tick_ns = self.worlds.next_due_ns();
        let tick_ns = tick_ns.filter(|due_ns| *due_ns > self.now.monotonic_ns);
        let task_ns = self.tasks.next_deadline_ns();
        let crowds_ns = self.crowds.next_deadline_ns();
        let event_ns = self.event_retry_ns.filter(|due_ns| *due_ns > self.now.monotonic_ns);
        [expiry_ns, grace_ns, crowds_ns, tick_ns, task_ns, event_ns].into_iter().flatten().min()
    }

    /// Whether new client input is welcome: no way to another shard is half full.
    #[must_use]
    pub fn accepts_clients(&self, outputs: &ShardOutputs) -> bool {
        let half = self.settings.limits.mesh_staging_bytes_max / 2;
        outputs.mesh.iter().all(|batch| batch.size_bytes() <= half)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Rooms that connections of this shard hear.
    #[must_use]
    pub fn relay_count(&self) -> usize {
        self.relays.count()
    }

    /// Objects that connections of this shard watch.
    #[must_use]
    pub fn watch_relay_count(&self) -> usize {
        self.watch_relays.count()
    }

    /// The partition's state, if anything ever happened in it here.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&Partition> {
        self.partitions[usize::from(partition.0)].as_deref()
    }

    /// Applies a batch that was made elsewhere or earlier: recovery and replicas. Its sequence
    /// follows the last one of its group. It is durable where it came from.
    pub fn replay(&mut self, batch: &DeltaBatch) {
        let last = &mut self.group_sequences[usize::from(batch.group)];
        assert!(batch.sequence == *last + 1, "a group's sequence is dense");
        *last = batch.sequence;
        self.durable_sequences[usize::from(batch.group)] = batch.sequence;
        for delta in &batch.deltas {
            self.apply(delta_partition(delta, batch), delta);
        }
        self.note_changes(batch);
    }

    fn take_input(&mut self, input: ShardInput, bytes: &[u8], outputs: &mut ShardOutputs) {
        match input {
            ShardInput::Accepted { connection, peer, has_moved } => {
                self.connection_accepted(connection, (peer, has_moved), outputs);
            }
            ShardInput::Departed { connection, has_moved } => {
                self.connection_departed(connection, has_moved, outputs);
            }
            ShardInput::Lost { peer } => {
                let event = AddressEvent::Gone;
                self.post_address_event(peer, sessions::NO_CONNECTION, event, outputs);
            }
            ShardInput::Opened { connection, traits } => self.connections.open(connection, traits),
            ShardInput::Message { connection, message } => {
                self.request(connection, Message::from_checked(message.of(bytes)), outputs);
            }
            ShardInput::Refused { connection, message, reason } => {
                let message = Message::from_checked(message.of(bytes));
                self.request_refused(connection, message, reason, outputs);
            }
            ShardInput::Move { connection, motion } => {
                self.take_move(connection, motion.of(bytes), outputs);
            }
            ShardInput::FramesStalled { connection } => self.frames_stalled(connection),
            ShardInput::FramesFlow { connection } => self.frames_flow(connection, outputs),
            ShardInput::Ended { connection } => self.connection_ended(connection, outputs),
            ShardInput::Banned { connection } => self.connection_banned(connection, outputs),
            ShardInput::Closed { connection } => self.connection_closed(connection, outputs),
        }
    }

    fn deliver_own_batch(&mut self, outputs: &mut ShardOutputs) {
        let own = self.id().index();
        while !outputs.mesh[own].is_empty() {
            let mut batch = core::mem::take(&mut self.own_batch);
            core::mem::swap(&mut batch, &mut outputs.mesh[own]);
            self.deliver_batch(&batch, outputs);
            batch.clear();
            self.own_batch = batch;
        }
    }

    fn deliver_batch(&mut self, batch: &MeshBatch, outputs: &mut ShardOutputs) {
        for message in &batch.list {
            self.deliver(*message, &batch.bytes, outputs);
        }
    }

    /// Puts a message into the batch of its shard, our own like any other.
    fn post(&mut self, to: ShardId, outputs: &mut ShardOutputs, message: MeshMessage) {
        if to != self.id() {
            self.counters.mesh_messages_out += 1;
        }
        outputs.mesh[to.index()].list.push(message);
    }

    fn partition_mut(&mut self, id: PartitionId) -> &mut Partition {
        let (seed, first) = (self.settings.seed, self.first_address);
        let partition = &mut self.partitions[usize::from(id.0)];
        partition.get_or_insert_with(|| Box::new(Partition::new(id, seed, first)))
    }

    /// Changes a partition, and what the shard derives from all of its partitions.
    fn apply(&mut self, id: PartitionId, delta: &Delta) {
        let task = self.moved_task(delta);
        let partition = self.partition_mut(id);
        let before = partition.totals();
        let room = snapshots::changed_object(delta);
        let listed = |partition: &Partition| {
            let room = partition.room(room?)?;
            Some((Box::<str>::from(room.name()), room.is_secret))
        };
        let listed_before = listed(partition);
        partition.apply(delta);
        let after = partition.totals();
        let listed_after = listed(partition);
        if listed_before != listed_after {
            if let Some((name, is_secret)) = listed_before {
                self.room_names.of(is_secret).remove(&name);
            }
            if let Some((name, is_secret)) = listed_after {
                self.room_names.of(is_secret).insert(name);
            }
        }
        let counters = &mut self.counters;
        counters.objects = counters.objects + after.objects - before.objects;
        counters.rooms = counters.rooms + after.rooms - before.rooms;
        counters.state_bytes = counters.state_bytes + after.bytes - before.bytes;
        counters.watches = counters.watches + after.watches - before.watches;
        if let Some(task) = task {
            self.note_task(task);
        }
    }
}

/// The partition that a delta changes. Those of users name no object: their partition is the
/// name's.
fn delta_partition(delta: &Delta, batch: &DeltaBatch) -> PartitionId {
    let partition = match delta {
        Delta::ObjectCreated { object, .. }
        | Delta::ObjectChanged { object, .. }
        | Delta::ObjectDeleted { object }
        | Delta::WatchStarted { object, .. }
        | Delta::WatchEnded { object, .. } => ObjectId(*object).partition(),
        Delta::UserPresent { user, .. } | Delta::UserAbsent { user } => PartitionId::of_name(user),
        Delta::MemberJoined { room, .. } | Delta::MemberLeft { room, .. } => {
            ObjectId(*room).partition()
        }
    };
    assert!(partition.group() == batch.group_id(), "a batch changes its own group");
    partition
}

#[cfg(test)]
mod tests;
