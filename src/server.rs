//! A server: the only place that starts threads. Start order: data folder and store, sockets,
//! shards with their rings and their state, then the word to go; it ends in the reverse order.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use warren_core::hashing::HashSeed;
use warren_core::ids::{Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_net::io::listener::Listener;
use warren_net::reactor::{
    Reactor, ReactorError, ReactorSettings, WakeHandle, flash_policy_answer,
};

use crate::admin::AdminServer;
use crate::attendant::Attendant;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::data_folder::DataFolder;
use crate::doctor::trials::try_address;
use crate::fatal::{Fatal, FatalReason};
use crate::logging::LogGuard;
use crate::mesh::{self, MESH_SLOTS, MeshPorts};
use crate::metrics::{Phase, ServerState};
use crate::reload::Reload;
use crate::service_manager;
use crate::shard_thread::{Peers, ShardPort, ShardThread, SnapshotOutlet};
use crate::shard_turn::ShardTurn;
use crate::snapshots::{SnapshotSender, SnapshotWriter};
use crate::state::{StateFolder, StateSummary};
use crate::topology::{Topology, inherited_cores, pin_current_thread};

/// A running server.
pub struct Server {
    listen: SocketAddr,
    admin: AdminServer,
    state: Arc<ServerState>,
    peers: Arc<Peers>,
    wake_handles: Vec<WakeHandle>,
    shard_ends: UnboundedReceiver<ShardEnd>,
    snapshots: Option<SnapshotWriter>,
    _data: Option<DataFolder>,
}

/// What a shard thread reports when its reactor is up.
struct Ready {
    shard: ShardId,
    ring_fd: std::os::fd::RawFd,
    wake_handle: WakeHandle,
    loaded: StateSummary,
}

impl Server {
    /// Starts all threads and serves.
    ///
    /// # Errors
    /// The named reason why it cannot.
    pub fn start(config: &ServerConfig) -> Result<Self, Fatal> {
        let data = config.data.as_deref().map(DataFolder::reserve).transpose()?;
        let interval_ms = config.snapshot_interval_ms;
        let stored = config.data.as_deref().map(|folder| StateFolder::open(folder, interval_ms));
        let stored = stored.transpose()?;
        let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
        let topology = Topology::new(&inherited_cores(), config.shards);
        if let Some(warning) = topology.warning() {
            tracing::warn!("{warning}");
        }
        let listeners = listen(config)?;
        let listen = listeners[0].local_addr();
        let clock = Clock::start();
        let state = Arc::new(ServerState::new(config.shards, move || clock.monotonic_ns()));
        let admin = AdminServer::bind(config.admin_listen, Arc::clone(&state))?;
        let store = stored.as_ref().map(|stored| Arc::clone(&stored.store));
        let writer = store.map(|store| SnapshotWriter::start(store, state.snapshots()));
        let writer = writer.transpose()?;
        let (ready, readies) = mpsc::channel();
        let (end, shard_ends) = unbounded_channel();
        let mut starts = Vec::new();
        let parts = mesh::connect(shard_count, MESH_SLOTS).into_iter().zip(listeners);
        for (index, (mesh, listener)) in (0..shard_count).zip(parts) {
            let (start, started) = mpsc::channel();
            starts.push(start);
            let parts = ShardParts {
                shard: ShardId(index),
                core: topology.shard_cores[usize::from(index)],
                config: config.clone(),
                mesh,
                listener,
                state: Arc::clone(&state),
                clock,
                stored: stored.clone(),
                snapshots: writer.as_ref().map(SnapshotWriter::sender),
            };
            start_shard(parts, ready.clone(), started, end.clone())?;
        }
        drop(ready);
        let mut all = Vec::new();
        for _ in 0..shard_count {
            let lost = |_| Fatal::new(FatalReason::ThreadFailed, "a shard ended at its start");
            all.push(readies.recv().map_err(lost)??);
        }
        all.sort_by_key(|one| one.shard);
        if stored.is_some() {
            all.iter().map(|one| one.loaded).sum::<StateSummary>().log("state loaded");
        }
        let peers = Arc::new(Peers::new(all.iter().map(|one| one.ring_fd).collect()));
        for start in &starts {
            start.send(Arc::clone(&peers)).expect("a ready shard waits for its start");
        }
        state.set_phase(Phase::Serving);
        tracing::info!(%listen, admin = %admin.local_addr(), shards = shard_count, cores = ?topology.shard_cores, "serving");
        let wake_handles = all.into_iter().map(|one| one.wake_handle).collect();
        let snapshots = writer;
        Ok(Self { listen, admin, state, peers, wake_handles, shard_ends, snapshots, _data: data })
    }

    /// Where clients connect.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where the admin endpoint is.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Says where it is, and serves until SIGTERM or SIGINT; then drains. A second signal ends the
    /// process at once. SIGHUP reads the configuration again, if there is `reload`. `beside` runs
    /// on the same thread's runtime, as the demo's bots do.
    ///
    /// # Errors
    /// When a shard ended by itself: a bug, which has been logged.
    pub fn run(
        self,
        log: &LogGuard,
        reload: Option<Reload>,
        beside: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fatal> {
        let addresses = (self.listen, self.admin.local_addr());
        let Self { admin, state, peers, wake_handles, mut shard_ends, snapshots, .. } = self;
        let shard_count = wake_handles.len();
        let mut result = Ok(());
        admin.run(async {
            let mut signals = StopSignals::watch();
            let attendant = Attendant::watch(Arc::clone(&state), reload);
            // Whoever reads the addresses may send a signal at once.
            print_addresses(addresses);
            // It ends with the runtime.
            tokio::spawn(attendant.attend(addresses.0, addresses.1));
            let beside = tokio::spawn(beside);
            tokio::select! {
                signal = signals.next() => tracing::info!(signal = signal.name(), "draining"),
                _ = shard_ends.recv() => result = Err(shard_failed()),
            }
            beside.abort();
            state.set_phase(Phase::Draining);
            service_manager::stopping();
            if result.is_err() {
                return;
            }
            peers.drain();
            for handle in &wake_handles {
                handle.wake();
            }
            tokio::select! {
                drained = all_stored(shard_ends, shard_count, snapshots) => result = drained,
                signal = signals.next() => {
                    tracing::warn!(signal = signal.name(), "stopped before the drain ended");
                    log.flush();
                    std::process::exit(signal.exit_status());
                }
            }
        })?;
        result
    }
}

/// On standard output, for people and for programs that started the server.
fn print_addresses((listen, admin): (SocketAddr, SocketAddr)) {
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason to stop serving.
    let _ = write!(out, "listening on {listen}\nadmin on {admin}\n");
    let _ = out.flush();
}

/// All shards have ended, and what they had to store is stored.
async fn all_stored(
    mut shard_ends: UnboundedReceiver<ShardEnd>,
    shard_count: usize,
    snapshots: Option<SnapshotWriter>,
) -> Result<(), Fatal> {
    let stored = snapshots.map(SnapshotWriter::drain);
    let mut left = StateSummary::default();
    for _ in 0..shard_count {
        match shard_ends.recv().await {
            Some(ShardEnd::Drained(state)) => left += state,
            _ => return Err(shard_failed()),
        }
    }
    if let Some(stored) = stored {
        stored.await?;
        left.log("state stored");
    }
    Ok(())
}

fn shard_failed() -> Fatal {
    Fatal::new(FatalReason::ThreadFailed, "a shard thread ended by itself")
}

/// The signals that stop the server, from the moment at which they are watched.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopSignal {
    Terminate,
    Interrupt,
}

impl StopSignals {
    fn watch() -> Self {
        let watch = |kind| signal(kind).expect("the runtime was made with io");
        Self {
            terminate: watch(SignalKind::terminate()),
            interrupt: watch(SignalKind::interrupt()),
        }
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

impl StopSignal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// When a second one cuts the drain short: 128 + the signal's number.
    const fn exit_status(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

fn listen(config: &ServerConfig) -> Result<Vec<Listener>, Fatal> {
    let failed = |error: String| {
        let detail = format!("`server.listen` (`--listen`) {}: {error}", config.listen);
        Fatal::new(FatalReason::ListenFailed, detail)
    };
    // Shards share the address among themselves. Another server of the same user could share it
    // too, and would get half of the clients: so it must be free first.
    try_address(config.listen).map_err(failed)?;
    Listener::bind_all(config.listen, config.shards).map_err(|error| failed(error.to_string()))
}

struct ShardParts {
    shard: ShardId,
    core: usize,
    config: ServerConfig,
    mesh: MeshPorts,
    listener: Listener,
    state: Arc<ServerState>,
    clock: Clock,
    stored: Option<StateFolder>,
    snapshots: Option<SnapshotSender>,
}

/// How a shard thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShardEnd {
    Drained(StateSummary),
    Failed,
}

/// Says at its drop how the shard thread has ended.
struct EndReport {
    sender: UnboundedSender<ShardEnd>,
    end: ShardEnd,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        // Nobody listens any more when the process is on its way out.
        let _ = self.sender.send(self.end);
    }
}

fn start_shard(
    parts: ShardParts,
    ready: mpsc::Sender<Result<Ready, Fatal>>,
    started: mpsc::Receiver<Arc<Peers>>,
    end: UnboundedSender<ShardEnd>,
) -> Result<(), Fatal> {
    let shard = parts.shard;
    let body = move || {
        let mut report = EndReport { sender: end, end: ShardEnd::Failed };
        let ShardParts { config, mesh, listener, state, clock, core, stored, snapshots, .. } =
            parts;
        let made = pin_current_thread(core).and_then(|()| {
            let reactor = make_reactor(&config, listener)?;
            Ok((reactor, make_engine(&config, shard, stored.as_ref(), clock)?))
        });
        let (reactor, engine) = match made {
            Ok(made) => made,
            Err(fatal) => {
                let _ = ready.send(Err(fatal));
                return;
            }
        };
        // The worker has the store from here on.
        drop(stored);
        let loaded = StateSummary::of(&engine);
        let (ring_fd, wake_handle) = (reactor.ring_fd(), reactor.wake_handle());
        let _ = ready.send(Ok(Ready { shard, ring_fd, wake_handle, loaded }));
        drop(ready);
        // The sender is gone when another shard could not start.
        let Ok(peers) = started.recv() else { return };
        let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
        let turn = ShardTurn::new(engine, mesh, shard_count);
        let port = ShardPort { reactor, peers, wakes_sent: 0 };
        let snapshots = snapshots.map(SnapshotOutlet::new);
        let left = ShardThread { turn, port, state, clock, snapshots }.run();
        report.end = ShardEnd::Drained(left);
    };
    std::thread::Builder::new()
        .name(format!("shard-{}", shard.0))
        .spawn(body)
        .map(drop)
        .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))
}

/// What a shard's reactor is set up with.
pub(crate) fn reactor_settings(config: &ServerConfig) -> ReactorSettings {
    ReactorSettings {
        gateway: config.gateway,
        fixed_protocol: config.protocol_fixed,
        flash_policy: flash_policy_answer(&config.flash_policy),
        heartbeat_ms: config.heartbeat_ms,
        connections_max: config.limits.connections_max,
        send_queue_bytes_max: config.limits.send_queue_bytes_max,
        turn_interval_us: config.reactor.turn_interval_us,
        receive_buffers: config.reactor.receive_buffers,
        receive_buffer_bytes: config.reactor.receive_buffer_bytes,
        ..ReactorSettings::default()
    }
}

fn make_reactor(config: &ServerConfig, listener: Listener) -> Result<Reactor, Fatal> {
    Reactor::new(reactor_settings(config), listener).map_err(|error| {
        let reason = match error {
            ReactorError::FeatureMissing(_) => FatalReason::RingUnavailable,
            ReactorError::SettingInvalid(_) => FatalReason::ConfigInvalid,
        };
        Fatal::new(reason, error)
    })
}

/// A shard with what is stored of its groups.
fn make_engine(
    config: &ServerConfig,
    shard: ShardId,
    stored: Option<&StateFolder>,
    clock: Clock,
) -> Result<Shard, Fatal> {
    let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
    let epoch = stored.map_or(Epoch(1), |stored| stored.epoch);
    let routing = RoutingTable::even(shard_count, epoch);
    let mut engine = Shard::new(shard_settings(config, shard, routing.clone()));
    if let Some(stored) = stored {
        stored.load(&mut engine, &routing, clock.now())?;
    }
    Ok(engine)
}

fn shard_settings(config: &ServerConfig, shard: ShardId, routing: RoutingTable) -> ShardSettings {
    let interval_ns = config.snapshot_interval_ms * 1_000_000;
    ShardSettings {
        shard,
        routing,
        limits: Limits {
            partition_events_max: config.limits.partition_events_max,
            mesh_staging_bytes_max: config.limits.mesh_staging_bytes_max,
            rooms_per_session_max: config.limits.rooms_per_session_max,
            presence_members_max: config.limits.presence_members_max,
            gather_members_min: config.limits.gather_members_min,
            gather_ns: config.limits.gather_ms * 1_000_000,
            object_bytes_max: config.limits.object_bytes_max,
            effects_bytes_max: Limits::effects_bytes_max_for(config.limits.object_bytes_max),
            objects_per_partition_max: config.limits.objects_per_partition_max,
            partition_bytes_max: config.limits.partition_bytes_max,
            state_bytes_max: config.limits.state_bytes_max,
            watches_per_session_max: config.limits.watches_per_session_max,
            room_grace_ns: config.limits.room_grace_ms * 1_000_000,
            ..Limits::PRODUCTION
        },
        seed: hash_seed(),
        snapshot_interval_ns: config.data.is_some().then_some(interval_ns),
        join_creates_rooms: config.limits.join_creates_rooms,
        frame_bytes_max: config.gateway.frame_bytes_max as u64,
        heartbeat_ms: config.heartbeat_ms,
    }
}

/// A seed that nobody can guess: the standard library's hasher keys come from the system.
fn hash_seed() -> HashSeed {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    HashSeed(state.hash_one(0), state.hash_one(1))
}
