//! The shards of one node in one thread, and the scheduler: which shard turns next, which batches
//! cross the mesh, which client does something, all from the seed. What clients do is in
//! `cluster/acts.rs`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use warren::shard_turn::ShardTurn;
use warren_core::hashing::HashSeed;
use warren_core::ids::{Epoch, ShardId};
use warren_core::limits::{REPLAY_LINK_BYTES, WORLD_GRACE_NS};
use warren_core::message::Message;
use warren_core::reason::Reason;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::token::TokenSeed;
use warren_core::turn::ShardOutput;
use warren_core::world::frame::Frame;

use crate::auditor::Auditor;
use crate::clients::{Clients, Delivery};
use crate::clock::SimulatedClock;
use crate::invariants::{self, Peaks};
use crate::links::Links;
use crate::log::{LogPlan, ModelLog};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::planted::PlantedBug;
use crate::prng::Prng;
use crate::store::ModelStore;
use crate::tasks::{TaskPlan, Toil};
use crate::trace::Trace;
use crate::workload::Workload;

mod acts;

/// Time between two ticks of the workload's worlds, when their rate is halved as often as may be.
const LONGEST_TICK_NS: u64 = 8 * 1_000_000_000 / 60;
/// Rounds in which every shard turns once until all must be quiet. More is a deadlock.
const DRAIN_ROUNDS_MAX: usize = 4000;
/// How long a task with a key is remembered, and some more.
const TASK_REMEMBERED_NS: u64 = 700_000_000_000;

/// What a simulation amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) trace_hash: u64,
    pub(crate) turns: u64,
    pub(crate) replies: u64,
    pub(crate) heard: u64,
    /// Methods with what became of them, and how often.
    pub(crate) reached: BTreeMap<(String, &'static str), u64>,
}

/// A node under simulation.
pub(crate) struct Cluster {
    plan: Plan,
    prng: Prng,
    clock: SimulatedClock,
    shards: Vec<ShardTurn>,
    /// What each shard has stored.
    stores: Vec<ModelStore>,
    store_prng: Prng,
    /// Where each shard's changes are logged, if anywhere.
    logs: Vec<ModelLog>,
    log_plan: LogPlan,
    log_prng: Prng,
    hash_seed: HashSeed,
    links: Links,
    clients: Clients,
    /// The latest line of each client.
    current: Vec<Option<usize>>,
    auditor: Auditor,
    workload: Workload,
    toil: Toil,
    /// How often tasks were waited for since all were to be done.
    late_steps: u64,
    trace: Trace,
    planted: Option<PlantedBug>,
    /// A shard that gets no turn, and for how many more steps.
    starved: Option<(usize, u64)>,
    last_id: i64,
    turns: u64,
    peaks: Vec<Peaks>,
}

/// Runs one simulation. Panics when something does not hold.
pub(crate) fn simulate(seed: u64, planted: Option<PlantedBug>, is_printed: bool) -> Summary {
    let mut cluster = Cluster::new(seed, planted, is_printed);
    cluster.run();
    Summary {
        trace_hash: cluster.trace.hash(),
        turns: cluster.turns,
        replies: cluster.auditor.reply_count,
        heard: cluster.auditor.heard_count,
        reached: cluster.auditor.reached,
    }
}

impl Cluster {
    fn new(seed: u64, planted: Option<PlantedBug>, is_printed: bool) -> Self {
        let mut prng = Prng::new(seed);
        let mut plan = Plan::draw(&mut prng);
        let mut log_prng = Prng::new(!seed);
        let log_plan = LogPlan::draw(&mut log_prng, &mut plan);
        let mut task_prng = Prng::new(seed.rotate_left(32) ^ !seed);
        let mut event_prng = Prng::new(seed.rotate_left(16) ^ !seed);
        let task_plan = TaskPlan::draw(&mut task_prng, &mut event_prng, &mut plan);
        let trace = Trace::new(is_printed);
        trace.line(format_args!("{plan:#?}"));
        trace.line(format_args!("{log_plan:?}"));
        trace.line(format_args!("{task_plan:?}"));
        let seed = HashSeed(prng.next(), prng.next());
        let new_shard = |shard: u16| new_shard((&plan, log_plan, task_plan), seed, shard);
        let (links, ports) = Links::new(plan.shard_count, plan.slots, planted, prng.fork());
        let shards = (0..plan.shard_count)
            .zip(ports)
            .map(|(shard, port)| ShardTurn::new(new_shard(shard), port, plan.shard_count))
            .collect();
        let replicas = (0..plan.shard_count).map(new_shard).collect();
        let oracle = Oracle::new(replicas, plan.limits.clone());
        Self {
            clock: SimulatedClock::default(),
            stores: (0..plan.shard_count).map(|_| ModelStore::default()).collect(),
            store_prng: prng.fork(),
            logs: (0..plan.shard_count).map(|_| ModelLog::default()).collect(),
            log_plan,
            log_prng,
            hash_seed: seed,
            shards,
            links,
            clients: Clients::new(usize::from(plan.shard_count), planted, prng.fork()),
            current: vec![None; plan.client_count],
            auditor: Auditor::new(
                oracle,
                usize::from(plan.shard_count),
                plan.limits.clone(),
                plan.join_creates_rooms,
                log_plan.durable_methods(),
            ),
            workload: Workload::new(&plan, prng.fork()),
            toil: Toil::new(task_plan, task_prng, event_prng),
            late_steps: 0,
            trace,
            planted,
            starved: None,
            last_id: 0,
            turns: 0,
            peaks: vec![Peaks::default(); usize::from(plan.shard_count)],
            prng,
            plan,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.plan.rounds {
            for _ in 0..self.plan.round_steps {
                self.step();
            }
            self.drain();
            self.check_at_rest();
        }
        let shards = self.shards.iter().map(|shard| shard.shard().counters());
        if shards.clone().any(|counters| counters.npc_updates > 0) {
            self.auditor.reached.insert(("npc".into(), "moved"), 1);
        }
        if shards.clone().any(|counters| counters.npc_carried_over > 0) {
            self.auditor.reached.insert(("npc".into(), "put-off"), 1);
        }
        if shards.into_iter().any(|counters| counters.room_messages_gathered > 0) {
            self.auditor.reached.insert(("gather".into(), "gathered"), 1);
        }
        for client in 0..self.plan.client_count {
            if let Some(line) = self.open_line(client) {
                self.close(line);
            }
        }
        self.drain();
        self.check_at_rest();
        // A room that emptied while its look was due is looked at once more.
        let limits = &self.plan.limits;
        let wait_ns = limits.room_grace_ns.max(limits.count_interval_ns).max(limits.gather_ns);
        // Worlds are awake for a while when nobody is there, and look at the time when they tick.
        let wait_ns = wait_ns.max(WORLD_GRACE_NS);
        // And what was changed then is logged before the next turn.
        self.clients.is_draining = true;
        // Tasks that are done are remembered for some minutes.
        let wait_ns = if self.toil.plan.has_tasks { TASK_REMEMBERED_NS } else { wait_ns };
        for wait_ns in [wait_ns, wait_ns, 0] {
            self.clock.advance_ns(wait_ns);
            for shard in 0..self.shards.len() {
                self.turn(shard);
            }
        }
        invariants::check_empty(&self.shards, &self.auditor.oracle);
        for (index, shard) in self.shards.iter().enumerate() {
            self.auditor.oracle.check_replica(index, shard.shard());
        }
        let now = self.clock.now();
        for (index, (shard, store)) in self.shards.iter_mut().zip(&mut self.stores).enumerate() {
            let plans = (&self.plan, self.log_plan, self.toil.plan);
            let fresh = new_shard(plans, self.hash_seed, index as u16);
            store.check_complete(shard, fresh, now);
        }
        self.trace.line(format_args!("all is well after {} turns", self.turns));
    }

    /// One thing happens.
    fn step(&mut self) {
        self.clock.advance_ns(self.prng.below(self.plan.step_ns_max));
        self.choose_starved();
        match self.prng.below(100) {
            0..35 => {
                let client = self.prng.index(self.plan.client_count);
                self.act(client);
            }
            35..75 => {
                let shard = self.prng.index(self.shards.len());
                if self.starved.is_none_or(|(starved, _)| starved != shard) {
                    self.turn(shard);
                }
            }
            _ if self.plan.is_mesh_eager => self.links.pump_all(&self.staged()),
            _ => {
                for _ in 0..self.prng.between(1, 4) {
                    let from = self.prng.index(self.shards.len());
                    let to = self.prng.index(self.shards.len());
                    self.links.pump(from, to, self.shards[to].has_staged());
                }
            }
        }
    }

    fn choose_starved(&mut self) {
        self.starved = match self.starved {
            Some((shard, steps)) if steps > 0 => Some((shard, steps - 1)),
            Some(_) => None,
            None => {
                let starts = self.prng.below(1000) < self.plan.starve_permille;
                let shard = self.prng.index(self.shards.len());
                let steps = self.prng.below(self.plan.starve_steps_max);
                starts.then_some((shard, steps))
            }
        };
    }

    fn staged(&self) -> Vec<bool> {
        self.shards.iter().map(ShardTurn::has_staged).collect()
    }

    /// A shard takes a turn, and all that it said is judged.
    fn turn(&mut self, index: usize) {
        self.turns += 1;
        self.peaks[index].note_connections(self.clients.present_on(index).len());
        let now = self.clock.now();
        let shard = &mut self.shards[index];
        let published = shard.turn(now, false, &mut self.clients.port(index));
        self.peaks[index].note_input(&self.clients.taken_lengths);
        // What moving NPCs takes is anything, and for a while it is as if there were too many for all
        // turns: worlds here have few, which would fit into any.
        let (clock_ns, took_ns) = (Cell::new(0), 50 << (self.turns % 8));
        if !(self.turns / 64).is_multiple_of(4) {
            shard.think(|| clock_ns.replace(clock_ns.get() + took_ns));
        }
        let outputs = shard.outputs();
        self.trace.mix_number(index as u64);
        self.trace.mix_number(shard.shard().counters().npc_updates);
        self.trace.mix_number(published.batches << 32 | published.staged_bytes);
        for output in &outputs.list {
            mix_output(&mut self.trace, output);
        }
        self.trace.mix(&outputs.bytes);
        let mut batches = &outputs.deltas[..];
        for batch in batches {
            self.trace.mix(&batch.encode());
        }
        self.trace.line(format_args!(
            "{:>12} shard {index} turns: {} outputs, {} batches, {} changes, {} bytes staged",
            now.monotonic_ns,
            outputs.list.len(),
            published.batches,
            batches.len(),
            published.staged_bytes
        ));
        if self.planted == Some(PlantedBug::DeltaBatchLost) && self.turns.is_multiple_of(64) {
            batches = batches.split_last().map_or(batches, |(_, rest)| rest);
        }
        self.auditor.oracle.absorb(index, shard.shard(), batches);
        if self.log_plan.has_log {
            self.logs[index].push(batches);
        }
        self.store(index);
        self.note_lines(index, now.monotonic_ns);
        self.judge_deliveries();
        self.say_again();
        self.sync(index);
        let limits = &self.plan.limits;
        invariants::check_staging(&self.shards[index], limits, self.peaks[index]);
        invariants::check_log_wait(&self.shards[index], limits);
        invariants::check_deadlines(&self.shards[index], limits, now.monotonic_ns);
        if self.plan.is_mesh_eager {
            self.links.pump_all(&self.staged());
        }
    }

    /// A shard may hand over what is due, and the writer may write some of it.
    fn store(&mut self, index: usize) {
        let store = &mut self.stores[index];
        if self.store_prng.chance(30)
            && let Some(batch) = self.shards[index].take_due_snapshot(self.clock.now())
        {
            store.push(batch);
        }
        if self.store_prng.chance(30) {
            store.write_next();
        }
    }

    /// A shard's log may sync some of its changes. When clients finish, it syncs all of them.
    fn sync(&mut self, index: usize) {
        if !self.log_plan.has_log {
            return;
        }
        let (log, shard) = (&mut self.logs[index], &mut self.shards[index]);
        let synced = &mut self.auditor.synced;
        if self.clients.is_draining {
            log.finish(shard, synced);
        } else {
            log.advance(self.log_plan, &mut self.log_prng, shard, synced);
        }
    }

    /// Tells the auditor what the turn made of lines and sessions, before it hears of it.
    fn note_lines(&mut self, index: usize, now_ns: u64) {
        self.auditor.now_ns = now_ns;
        for line in &self.clients.gone_now {
            self.auditor.gone(self.clients.lines[*line].conversation, *line, index);
        }
        for line in &self.clients.moved_now {
            let moved = &self.clients.lines[*line];
            self.trace.line(format_args!(
                "    client {} goes from shard {index} to {}",
                moved.conversation, moved.shard
            ));
            self.auditor.moved(moved.conversation, *line, moved.shard);
        }
        let limits = &self.plan.limits;
        let counters = self.shards[index].shard().counters();
        self.auditor.evictions[index] = counters.detached_sessions_evicted;
        // A log drops a segment when another has no room.
        let spare_bytes = limits.replay_bytes_max / 4 + (64 << 10);
        let is_roomy = counters.replay_log_bytes as usize + spare_bytes <= limits.replay_bytes_max;
        let links_max = limits.replay_links_max / 4 * 3;
        let has_links = counters.replay_link_bytes as usize <= links_max * REPLAY_LINK_BYTES;
        self.auditor.are_logs_roomy &= is_roomy && has_links;
        self.auditor.is_some_unkept |= counters.messages_unkept > 0;
    }

    /// Too many lines of its address have been there.
    fn judge_refusal(&self, line: usize) {
        let peer = self.clients.lines[line].peer;
        let count = self.clients.lines.iter().filter(|other| other.peer == peer).count();
        let most = self.plan.limits.connections_per_address_max;
        assert!(count > most, "line {line} is one of {count} only, {most} may be there");
    }

    fn judge_deliveries(&mut self) {
        let deliveries = std::mem::take(&mut self.clients.deliveries);
        let delivered_bytes = std::mem::take(&mut self.clients.delivered_bytes);
        for delivery in &deliveries {
            match *delivery {
                Delivery::Message { line, message } => {
                    let conversation = self.clients.lines[line].conversation;
                    if !self.clients.is_draining
                        && self.clients.is_open(line)
                        && self.prng.below(1000) < self.plan.cut_permille
                    {
                        self.cut(line);
                    }
                    let bytes = message.of(&delivered_bytes);
                    let message = Message::from_checked(bytes);
                    self.trace.line(format_args!("    client {conversation} < {message:?}"));
                    self.auditor.heard(conversation, line, bytes);
                }
                Delivery::Frame { line, frame } => {
                    let conversation = self.clients.lines[line].conversation;
                    let frame = Frame::parse(frame.of(&delivered_bytes)).expect("it is whole");
                    self.trace.line(format_args!("    client {conversation} < {frame:?}"));
                    self.auditor.seen(conversation, line, frame);
                }
                Delivery::FrameMissed { line } => {
                    self.auditor.forget_seen(self.clients.lines[line].conversation, line);
                }
                Delivery::Close { line, reason } => {
                    if reason == Reason::TooManyConnections {
                        self.judge_refusal(line);
                    }
                    let conversation = self.clients.lines[line].conversation;
                    self.trace.line(format_args!("    client {conversation} closed: {reason:?}"));
                    self.auditor.closed_by_shard(conversation, line, reason);
                }
            }
        }
        (self.clients.deliveries, self.clients.delivered_bytes) = (deliveries, delivered_bytes);
    }

    /// Lets everyone finish, in bounded time: the deadlock detector.
    fn drain(&mut self) {
        self.trace.line(format_args!("draining"));
        self.starved = None;
        self.clients.is_draining = true;
        self.late_steps = 0;
        self.clients.end_silence();
        for _ in 0..DRAIN_ROUNDS_MAX {
            self.clock.advance_ns(self.prng.below(self.plan.step_ns_max));
            let first = self.prng.index(self.shards.len());
            for offset in 0..self.shards.len() {
                self.turn((first + offset) % self.shards.len());
            }
            self.links.pump_all(&self.staged());
            if !self.is_quiet() {
                continue;
            }
            let is_waiting = self.settle() || self.finish_tasks();
            if !is_waiting && !self.await_crowds() && !self.await_frames() {
                self.clients.is_draining = false;
                return;
            }
        }
        let mut state = String::new();
        for (index, shard) in self.shards.iter().enumerate() {
            let (work, staged) = (shard.has_work(), shard.has_staged());
            let _ = write!(state, "; shard {index} has work: {work}, has staged: {staged}");
        }
        panic!("a deadlock: no rest after {DRAIN_ROUNDS_MAX} rounds{state}");
    }

    fn is_quiet(&self) -> bool {
        let is_idle = |shard: &ShardTurn| !shard.has_work() && !shard.has_staged();
        let are_synced = self.logs.iter().all(ModelLog::is_synced);
        are_synced
            && self.clients.are_drained()
            && self.links.are_empty()
            && self.shards.iter().all(is_idle)
    }

    /// Lets time pass until a crowded room says what it owes; not at all if none owes anything.
    fn await_crowds(&mut self) -> bool {
        let shards = self.shards.iter().map(ShardTurn::shard);
        let owing = shards.filter(|shard| shard.owes_crowds());
        let due_ns = owing.filter_map(Shard::next_deadline_ns).min();
        let now_ns = self.clock.now().monotonic_ns;
        if let Some(due_ns) = due_ns {
            self.clock.advance_ns(due_ns.saturating_sub(now_ns));
        }
        due_ns.is_some()
    }

    /// Lets time pass until the worlds have ticked, if some member has not seen all of its world.
    fn await_frames(&mut self) -> bool {
        let is_behind = self.auditor.unseen().is_some();
        if is_behind {
            self.clock.advance_ns(LONGEST_TICK_NS);
        }
        is_behind
    }

    fn check_at_rest(&mut self) {
        self.auditor.check_at_rest();
        invariants::check_at_rest(&self.shards, &self.auditor);
        invariants::check_addresses(&self.shards, &self.clients.addresses());
        // A crash at this moment.
        for (index, (store, log)) in self.stores.iter().zip(&self.logs).enumerate() {
            let plans = (&self.plan, self.log_plan, self.toil.plan);
            let fresh = new_shard(plans, self.hash_seed, index as u16);
            let restored = store.check_restores(fresh, log.durable(), self.clock.now());
            if self.log_plan.has_log {
                let live = self.shards[index].shard().objects_digest();
                assert!(
                    restored.objects_digest() == live,
                    "a crash that lost nothing lost something"
                );
            }
        }
    }
}

fn new_shard((plan, log, tasks): (&Plan, LogPlan, TaskPlan), seed: HashSeed, shard: u16) -> Shard {
    Shard::new(ShardSettings {
        shard: ShardId(shard),
        routing: RoutingTable::even(plan.shard_count, Epoch(1)),
        limits: plan.limits.clone(),
        seed,
        authentication: warren_core::authentication::Authentication::Open,
        policy: tasks.policy(),
        token_seed: TokenSeed([shard as u8; 32]),
        join_creates_rooms: plan.join_creates_rooms,
        snapshot_interval_ns: Some(plan.step_ns_max),
        has_log: log.has_log,
        ack_defaults: log.defaults,
        task_methods: tasks.methods(),
        frame_bytes_max: 1 << 16,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
    })
}

fn mix_output(trace: &mut Trace, output: &ShardOutput) {
    match output {
        ShardOutput::Send { connection, .. } => trace.mix_number(u64::from(connection.index)),
        ShardOutput::SendMany { recipients, .. } => {
            trace.mix_number(1 << 32 | u64::from(recipients.length));
        }
        ShardOutput::Frame { recipients, frame } => {
            trace.mix_number(5 << 32 | u64::from(recipients.length));
            trace.mix_number(u64::from(frame.length));
        }
        ShardOutput::Close { connection, reason } => {
            trace.mix_number(2 << 32 | u64::from(connection.index));
            trace.mix_number(*reason as u64);
        }
        ShardOutput::Admit { connection, is_worker } => {
            trace.mix_number(3 << 32 | u64::from(connection.index));
            trace.mix_number(u64::from(*is_worker));
        }
        ShardOutput::HandOver { connection, to, .. } => {
            trace.mix_number(4 << 32 | u64::from(connection.index));
            trace.mix_number(u64::from(to.0));
        }
    }
}
