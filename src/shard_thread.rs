//! A shard's thread: pins itself, builds its reactor, and turns until it is told to end. It waits
//! in one place, its ring, and never for another shard.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::time::Duration;

use warren_core::control::Command;
use warren_core::ids::ShardId;
use warren_core::reason::Reason;
use warren_core::snapshot::SnapshotBatch;
use warren_core::turn::{LogCondition, Now, ShardInputs, ShardOutputs};
use warren_net::reactor::Reactor;
use warren_storage::log_executor::LogPort;

use crate::allocation_counter::{allocations_of_this_thread, held_bytes_of_this_thread};
use crate::clock::Clock;
use crate::control::ControlPort;
use crate::hand_over::HandOverPorts;
use crate::metrics::{ServerState, TURN_AGE_NS_MAX, TurnCounters, TurnReport};
use crate::shard_turn::{ClientPort, ShardTurn};
use crate::snapshots::SnapshotSender;
use crate::state::StateSummary;
use crate::tls::TlsWatch;

/// How long a draining shard takes no more requests, but answers those under way and serves its
/// peers, before it closes its connections: many turns of every shard.
const DRAIN_SETTLE_NS: u64 = 100_000_000;
/// How long it goes on then where replies wait for the delta log. What waits still is answered `not-durable`.
const DRAIN_LOG_NS_MAX: u64 = 5_000_000_000;
/// How long it settles when the log was given up.
const DRAIN_GIVEN_UP_NS: u64 = 1_000_000_000;
/// How long a draining shard waits for its clients to take what is theirs.
const DRAIN_NS_MAX: u64 = 5_000_000_000;
/// How soon a shard looks again at a peer whose ring was full.
const STAGED_RETRY_NS: u64 = 1_000_000;
/// How soon a shard looks again at a snapshot writer that was busy.
const SNAPSHOT_RETRY_NS: u64 = 5_000_000;
/// Bytes of changes of a shard that are not on the disk yet; with more it takes none from clients.
const LOG_WAITING_BYTES_MAX: usize = 16 << 20;
/// How long a shard that ends waits for the delta log.
const LOG_WAIT_NS_MAX: u64 = 30_000_000_000;
/// How often it looks then.
const LOG_LOOK: Duration = Duration::from_millis(1);
/// A shard without work turns at least so often, so that `/livez` can tell it from a stuck one.
const IDLE_NS_MAX: u64 = 1_000_000_000;

const _: () = assert!(IDLE_NS_MAX * 2 < TURN_AGE_NS_MAX);

/// What the threads of a node know of each other.
#[derive(Debug)]
pub struct Peers {
    /// By shard: whether it sleeps in its ring, or is about to.
    sleeping: Box<[AtomicBool]>,
    /// By shard: its ring, to be woken by a message.
    ring_fds: Box<[RawFd]>,
    /// By shard that drains: whether replies wait there for the delta log, wherever their clients are.
    awaiting_log: Box<[AtomicBool]>,
    order: AtomicU8,
}

/// What all shards are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Order {
    Serve = 0,
    Drain = 1,
}

impl Peers {
    /// Shards whose rings are these.
    #[must_use]
    pub fn new(ring_fds: Box<[RawFd]>) -> Self {
        let nowhere = || ring_fds.iter().map(|_| AtomicBool::new(false)).collect();
        let (sleeping, awaiting_log) = (nowhere(), nowhere());
        Self { sleeping, ring_fds, awaiting_log, order: AtomicU8::new(Order::Serve as u8) }
    }

    /// Tells every shard to drain and end. Those that sleep have to be woken.
    pub fn drain(&self) {
        self.order.store(Order::Drain as u8, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.order.load(Ordering::Acquire) == Order::Drain as u8
    }

    fn note_log_awaited(&self, shard: ShardId, is_awaited: bool) {
        self.awaiting_log[shard.index()].store(is_awaited, Ordering::Relaxed);
    }

    fn is_log_awaited(&self) -> bool {
        self.awaiting_log.iter().any(|awaits| awaits.load(Ordering::Relaxed))
    }

    /// Says that the shard is about to sleep. What a peer publishes after this wakes it; what was
    /// published before is there to be seen.
    fn announce_sleep(&self, shard: ShardId) {
        self.sleeping[shard.index()].store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn announce_awake(&self, shard: ShardId) {
        self.sleeping[shard.index()].store(false, Ordering::Relaxed);
    }

    /// Whether a peer that got a batch has to be woken: at most one of its peers is told so.
    pub(crate) fn must_wake(&self, shard: ShardId) -> bool {
        fence(Ordering::SeqCst);
        let sleeping = &self.sleeping[shard.index()];
        sleeping.load(Ordering::Relaxed) && sleeping.swap(false, Ordering::Relaxed)
    }
}

/// A shard's clients are its reactor's, and its peers are woken through its ring.
pub(crate) struct ShardPort {
    pub(crate) reactor: Reactor,
    pub(crate) hand_over: HandOverPorts,
    pub(crate) tls: TlsWatch,
    pub(crate) peers: Arc<Peers>,
    pub(crate) wakes_sent: u64,
    pub(crate) control: ControlPort,
    /// To the delta log, if there is one.
    pub(crate) log: Option<LogPort>,
    /// Nobody waits for the log any more.
    pub(crate) gives_up_log: bool,
    /// What the last turn was told of the log.
    pub(crate) was_log_failing: bool,
}

impl ClientPort for ShardPort {
    fn receive(&mut self, now: Now, accepts_input: bool, inputs: &mut ShardInputs) {
        if let Some(identity) = self.tls.renewed() {
            self.reactor.set_tls(identity);
        }
        self.hand_over.receive(&mut self.reactor);
        self.control.take(inputs);
        for command in &inputs.commands {
            // The list is for both: addresses are known here, users there.
            if let Command::SetBans(bans) = command {
                self.reactor.set_bans(now, bans, &mut inputs.list);
            }
        }
        self.reactor.receive(now, accepts_input, inputs);
        if let Some(log) = &mut self.log {
            log.take_durable(|group, sequence| inputs.durable.push((group, sequence)));
            let is_behind = log.waiting_bytes() > LOG_WAITING_BYTES_MAX;
            self.was_log_failing = log.is_failing();
            let fails = self.was_log_failing || self.gives_up_log;
            inputs.log = Some(LogCondition { fails, is_behind });
        }
    }

    fn send(&mut self, now: Now, outputs: &ShardOutputs) {
        // The log goes first: the disk works while this shard talks to its sockets.
        if let Some(log) = &mut self.log {
            log.append(&outputs.deltas);
        }
        self.reactor.send(now, outputs);
        let Self { reactor, hand_over, peers, wakes_sent, control, .. } = self;
        hand_over.publish(reactor, |reactor, peer| wake(reactor, peers, wakes_sent, peer));
        control.answer(outputs, |connection| reactor.origin_of(connection));
    }

    fn wake(&mut self, peer: ShardId) {
        wake(&mut self.reactor, &self.peers, &mut self.wakes_sent, peer);
    }
}

fn wake(reactor: &mut Reactor, peers: &Peers, wakes_sent: &mut u64, peer: ShardId) {
    if peers.must_wake(peer) {
        *wakes_sent += 1;
        reactor.wake_peer(peers.ring_fds[peer.index()]);
    }
}

impl ShardPort {
    /// Whether a connection has come that the reactor takes.
    fn has_arrivals(&self) -> bool {
        self.hand_over.has_input() && self.reactor.takes_arrivals()
    }

    /// Whether something has become durable, or the log fails or works again.
    fn has_news_of_log(&self) -> bool {
        let is_news = |log: &LogPort| log.has_durable() || log.is_failing() != self.was_log_failing;
        self.log.as_ref().is_some_and(is_news)
    }

    /// Whether something waits for a full ring.
    fn has_staged(&self) -> bool {
        self.reactor.has_departures() || self.log.as_ref().is_some_and(LogPort::has_staged)
    }

    /// Whether there is something to do that came from another thread.
    fn has_input(&self) -> bool {
        self.has_arrivals() || self.has_news_of_log()
    }
}

/// How far a shard is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Nobody asked for it.
    NotAsked,
    /// What is under way is answered, until then; and on from there as long as replies wait for the
    /// delta log, until it is given up.
    Settling { ends_ns: u64, log_ends_ns: u64, was_log_awaited: bool },
    /// Connections are told and closed, until then.
    Closing { ends_ns: u64 },
}

/// A shard thread's parts.
pub(crate) struct ShardThread {
    pub(crate) turn: ShardTurn,
    pub(crate) port: ShardPort,
    pub(crate) state: Arc<ServerState>,
    pub(crate) clock: Clock,
    pub(crate) snapshots: Option<SnapshotOutlet>,
    /// Between the beginnings of two turns that nothing hurries.
    pub(crate) turn_interval_ns: u64,
}

/// Where changed objects go.
pub(crate) struct SnapshotOutlet {
    sender: SnapshotSender,
    /// What the writer had no room for.
    unsent: Option<SnapshotBatch>,
}

impl SnapshotOutlet {
    pub(crate) fn new(sender: SnapshotSender) -> Self {
        Self { sender, unsent: None }
    }
}

impl ShardThread {
    /// Turns until the shards are told to drain and this one is done with it, and says what state
    /// it leaves; none, when not all of that is on the disk.
    pub(crate) fn run(mut self) -> Option<StateSummary> {
        let shard = self.turn.shard().id();
        let mut counters = TurnCounters::default();
        let mut drain = Drain::NotAsked;
        let mut last_start_ns = self.clock.monotonic_ns();
        loop {
            let now = self.clock.now();
            counters.turn_interval.record(now.monotonic_ns - last_start_ns);
            last_start_ns = now.monotonic_ns;
            drain = self.advance_drain(drain, now.monotonic_ns);
            let is_draining = drain != Drain::NotAsked;
            let published = self.turn.turn(now, is_draining, &mut self.port);
            if is_draining {
                self.port.peers.note_log_awaited(shard, self.turn.shard().awaits_log());
            }
            let clock = self.clock;
            self.turn.think(|| clock.monotonic_ns());
            self.tell_missing_behaviours(shard);
            counters.mesh_batches_published += published.batches;
            counters.mesh_staged_bytes = published.staged_bytes;
            self.hand_over_snapshot(now);
            self.publish(now, &mut counters);
            let ends_ns = match drain {
                Drain::NotAsked => None,
                Drain::Settling { ends_ns, .. } => Some(ends_ns),
                Drain::Closing { ends_ns } => {
                    if self.port.reactor.open_count() == 0 || now.monotonic_ns >= ends_ns {
                        break;
                    }
                    Some(ends_ns)
                }
            };
            self.sleep(shard, now.monotonic_ns, ends_ns);
        }
        // Nobody wakes a shard that is gone, or waits for what it waited for.
        self.port.peers.announce_awake(shard);
        self.port.peers.note_log_awaited(shard, false);
        // What is left to store may take longer than a turn may.
        self.state.shard(shard.index()).end();
        self.hand_over_rest().then(|| StateSummary::of(self.turn.shard()))
    }

    /// Each once, until there are other plugins.
    fn tell_missing_behaviours(&mut self, shard: ShardId) {
        while let Some(behaviour) = self.turn.take_missing_behaviour() {
            let shard = shard.0;
            tracing::warn!(behaviour, shard, "NPCs stand still: nobody has their behaviour");
        }
    }

    /// Hands over the next batch of the snapshot, if it is due and the writer has room: at most one
    /// a turn, so that no turn becomes long.
    fn hand_over_snapshot(&mut self, now: Now) {
        let Some(outlet) = &mut self.snapshots else { return };
        if outlet.unsent.is_none() && !outlet.sender.is_full() {
            outlet.unsent = self.turn.take_due_snapshot(now);
        }
        // Another shard may have taken the room since.
        outlet.unsent = outlet.unsent.take().and_then(|batch| outlet.sender.try_send(batch));
    }

    /// Hands over what was not stored yet. The shard serves nobody any more, so it may wait. False when
    /// the delta log has not got everything.
    fn hand_over_rest(&mut self) -> bool {
        if !self.await_log() {
            return false;
        }
        let Some(outlet) = self.snapshots.take() else { return true };
        let now = self.clock.now();
        let rest = std::iter::from_fn(|| self.turn.take_snapshot(now));
        for batch in outlet.unsent.into_iter().chain(rest) {
            // A writer that has given up says so itself.
            if !outlet.sender.send(batch) {
                return true;
            }
        }
        assert_eq!(self.turn.shard().waiting_snapshot_count(), 0, "only a log is waited for");
        true
    }

    /// Waits until the log has everything: snapshots never hold more than it. False when it cannot write,
    /// as it says itself.
    fn await_log(&mut self) -> bool {
        let Some(mut log) = self.port.log.take() else { return true };
        let ends_ns = self.clock.monotonic_ns() + LOG_WAIT_NS_MAX;
        while log.is_waiting() {
            let now_ns = self.clock.monotonic_ns();
            if log.has_ended() || now_ns > ends_ns {
                return false;
            }
            // Its ring has completions that nobody takes any more, so it cannot wait there.
            if !log.has_durable() {
                std::thread::park_timeout(LOG_LOOK);
            }
            log.append(&[]);
            let turn = &mut self.turn;
            log.take_durable(|group, sequence| turn.note_durable_at_end(group, sequence));
        }
        true
    }

    /// When the snapshot needs a turn.
    fn snapshot_deadline_ns(&self, now_ns: u64) -> Option<u64> {
        let outlet = self.snapshots.as_ref()?;
        if outlet.unsent.is_some() || outlet.sender.is_full() {
            return Some(now_ns + SNAPSHOT_RETRY_NS);
        }
        self.turn.shard().snapshot_due_ns()
    }

    /// Takes the next step of the end, when its time has come.
    fn advance_drain(&mut self, drain: Drain, now_ns: u64) -> Drain {
        let ends_ns = now_ns + DRAIN_SETTLE_NS;
        match drain {
            Drain::NotAsked if self.port.peers.is_draining() => {
                self.port.reactor.stop_accepting();
                let log_ends_ns = now_ns + DRAIN_LOG_NS_MAX;
                Drain::Settling { ends_ns, log_ends_ns, was_log_awaited: false }
            }
            Drain::Settling { ends_ns: end_ns, log_ends_ns, was_log_awaited }
                if now_ns >= end_ns =>
            {
                let is_log_awaited = self.port.peers.is_log_awaited();
                self.port.gives_up_log = now_ns >= log_ends_ns;
                // What has just become durable is told, perhaps by way of a peer; one that has failed waits for
                // ever.
                let is_over = now_ns >= log_ends_ns + DRAIN_GIVEN_UP_NS;
                if (is_log_awaited || was_log_awaited) && !is_over {
                    return Drain::Settling {
                        ends_ns,
                        log_ends_ns,
                        was_log_awaited: is_log_awaited,
                    };
                }
                self.port.reactor.close_all(Reason::Draining);
                Drain::Closing { ends_ns: now_ns + DRAIN_NS_MAX }
            }
            unchanged => unchanged,
        }
    }

    fn publish(&self, now: Now, counters: &mut TurnCounters) {
        counters.turn_time.record(self.clock.monotonic_ns() - now.monotonic_ns);
        counters.allocations = allocations_of_this_thread();
        counters.heap_bytes = held_bytes_of_this_thread().max(0) as u64;
        counters.wakes_sent = self.port.wakes_sent;
        counters.inputs_held = self.port.reactor.held_count() as u64;
        self.state.shard(self.turn.shard().id().index()).publish(&TurnReport {
            monotonic_ns: now.monotonic_ns,
            turn: counters,
            shard: self.turn.shard().counters(),
            net: self.port.reactor.counters(),
        });
    }

    /// Waits in the ring for completions, a wake-up or the next deadline, whichever is first; not
    /// at all when there is work already. NPCs have so much time in each interval of turns, so they
    /// wait for its end.
    fn sleep(&mut self, shard: ShardId, turn_began_ns: u64, drain_ends_ns: Option<u64>) {
        let now_ns = self.clock.monotonic_ns();
        if self.turn.has_work() || self.port.has_input() {
            self.port.reactor.wait(now_ns, Some(now_ns));
            return;
        }
        self.port.peers.announce_sleep(shard);
        // Work that was published before the announcement is seen here; what comes after wakes us.
        let deadline_ns = if self.turn.has_work() || self.port.has_input() {
            Some(now_ns)
        } else {
            let staged = self.turn.has_staged() || self.port.has_staged();
            let staged = staged.then_some(now_ns + STAGED_RETRY_NS);
            let expiry = self.turn.shard().next_deadline_ns();
            let npcs = self.turn.has_npcs_due().then_some(turn_began_ns + self.turn_interval_ns);
            let idle = Some(now_ns + IDLE_NS_MAX);
            let snapshot = self.snapshot_deadline_ns(now_ns);
            [staged, expiry, npcs, snapshot, drain_ends_ns, idle].into_iter().flatten().min()
        };
        self.port.reactor.wait(now_ns, deadline_ns);
        self.port.peers.announce_awake(shard);
    }
}
