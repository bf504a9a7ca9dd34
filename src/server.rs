//! A server: the only place that starts threads. Start order: data folder, sockets, shards with
//! their rings, then the word to go; it ends in the reverse order.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use warren_core::hashing::HashSeed;
use warren_core::ids::ShardId;
use warren_core::limits::Limits;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_net::io::listener::Listener;
use warren_net::reactor::{Reactor, ReactorError, ReactorSettings, WakeHandle};

use crate::admin::AdminServer;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::data_folder::DataFolder;
use crate::fatal::{Fatal, FatalReason};
use crate::mesh::{self, MESH_SLOTS, MeshPorts};
use crate::metrics::{Phase, ServerState};
use crate::shard_thread::{Peers, ShardPort, ShardThread};
use crate::shard_turn::ShardTurn;
use crate::topology::{Topology, inherited_cores, pin_current_thread};

/// A running server.
pub struct Server {
    listen: SocketAddr,
    admin: AdminServer,
    state: Arc<ServerState>,
    peers: Arc<Peers>,
    wake_handles: Vec<WakeHandle>,
    shard_ends: UnboundedReceiver<ShardEnd>,
    _data: Option<DataFolder>,
}

/// What a shard thread reports when its reactor is up.
struct Ready {
    shard: ShardId,
    ring_fd: std::os::fd::RawFd,
    wake_handle: WakeHandle,
}

impl Server {
    /// Starts all threads and serves.
    ///
    /// # Errors
    /// The named reason why it cannot.
    pub fn start(config: &ServerConfig) -> Result<Self, Fatal> {
        let data = config.data.as_deref().map(DataFolder::reserve).transpose()?;
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
        let peers = Arc::new(Peers::new(all.iter().map(|one| one.ring_fd).collect()));
        for start in &starts {
            start.send(Arc::clone(&peers)).expect("a ready shard waits for its start");
        }
        state.set_phase(Phase::Serving);
        tracing::info!(%listen, admin = %admin.local_addr(), shards = shard_count, cores = ?topology.shard_cores, "serving");
        let wake_handles = all.into_iter().map(|one| one.wake_handle).collect();
        Ok(Self { listen, admin, state, peers, wake_handles, shard_ends, _data: data })
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
    /// process at once. `beside` runs on the same thread's runtime, as the demo's bots do.
    ///
    /// # Errors
    /// When a shard ended by itself: a bug, which has been logged.
    pub fn run(self, beside: impl Future<Output = ()> + Send + 'static) -> Result<(), Fatal> {
        let addresses = (self.listen, self.admin.local_addr());
        let Self { admin, state, peers, wake_handles, mut shard_ends, .. } = self;
        let shard_count = wake_handles.len();
        let mut result = Ok(());
        admin.run(async {
            let mut signals = StopSignals::watch();
            // Whoever reads the addresses may send a signal at once.
            print_addresses(addresses);
            let beside = tokio::spawn(beside);
            tokio::select! {
                signal = signals.next() => tracing::info!(signal = signal.name(), "draining"),
                _ = shard_ends.recv() => result = Err(shard_failed()),
            }
            beside.abort();
            state.set_phase(Phase::Draining);
            if result.is_err() {
                return;
            }
            peers.drain();
            for handle in &wake_handles {
                handle.wake();
            }
            tokio::select! {
                drained = all_drained(shard_ends, shard_count) => result = drained,
                signal = signals.next() => {
                    tracing::warn!(signal = signal.name(), "stopped before the drain ended");
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

async fn all_drained(
    mut shard_ends: UnboundedReceiver<ShardEnd>,
    shard_count: usize,
) -> Result<(), Fatal> {
    for _ in 0..shard_count {
        if shard_ends.recv().await != Some(ShardEnd::Drained) {
            return Err(shard_failed());
        }
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
    Listener::bind_all(config.listen, config.shards).map_err(|error| {
        let detail = format!("`server.listen` (`--listen`) {}: {error}", config.listen);
        Fatal::new(FatalReason::ListenFailed, detail)
    })
}

struct ShardParts {
    shard: ShardId,
    core: usize,
    config: ServerConfig,
    mesh: MeshPorts,
    listener: Listener,
    state: Arc<ServerState>,
    clock: Clock,
}

/// How a shard thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShardEnd {
    Drained,
    Panicked,
}

/// Says at its drop how the shard thread has ended.
struct EndReport(UnboundedSender<ShardEnd>);

impl Drop for EndReport {
    fn drop(&mut self) {
        let end = if std::thread::panicking() { ShardEnd::Panicked } else { ShardEnd::Drained };
        // Nobody listens any more when the process is on its way out.
        let _ = self.0.send(end);
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
        let _end = EndReport(end);
        let ShardParts { config, mesh, listener, state, clock, core, .. } = parts;
        let reactor = pin_current_thread(core).and_then(|()| make_reactor(&config, listener));
        let reactor = match reactor {
            Ok(reactor) => reactor,
            Err(fatal) => {
                let _ = ready.send(Err(fatal));
                return;
            }
        };
        let (ring_fd, wake_handle) = (reactor.ring_fd(), reactor.wake_handle());
        let _ = ready.send(Ok(Ready { shard, ring_fd, wake_handle }));
        drop(ready);
        // The sender is gone when another shard could not start.
        let Ok(peers) = started.recv() else { return };
        let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
        let engine = Shard::new(shard_settings(&config, shard, shard_count));
        let turn = ShardTurn::new(engine, mesh, shard_count);
        let port = ShardPort { reactor, peers, wakes_sent: 0 };
        ShardThread { turn, port, state, clock }.run();
    };
    std::thread::Builder::new()
        .name(format!("shard-{}", shard.0))
        .spawn(body)
        .map(drop)
        .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))
}

fn make_reactor(config: &ServerConfig, listener: Listener) -> Result<Reactor, Fatal> {
    let settings = ReactorSettings {
        gateway: config.gateway,
        fixed_protocol: config.protocol_fixed,
        heartbeat_ms: config.heartbeat_ms,
        connections_max: config.limits.connections_max,
        send_queue_bytes_max: config.limits.send_queue_bytes_max,
        turn_interval_us: config.reactor.turn_interval_us,
        receive_buffers: config.reactor.receive_buffers,
        receive_buffer_bytes: config.reactor.receive_buffer_bytes,
        ..ReactorSettings::default()
    };
    Reactor::new(settings, listener).map_err(|error| {
        let reason = match error {
            ReactorError::FeatureMissing(_) => FatalReason::RingUnavailable,
            ReactorError::SettingInvalid(_) => FatalReason::ConfigInvalid,
        };
        Fatal::new(reason, error)
    })
}

fn shard_settings(config: &ServerConfig, shard: ShardId, shard_count: u16) -> ShardSettings {
    ShardSettings {
        shard,
        routing: RoutingTable::even(shard_count),
        limits: Limits {
            partition_events_max: config.limits.partition_events_max,
            mesh_staging_bytes_max: config.limits.mesh_staging_bytes_max,
            rooms_per_session_max: config.limits.rooms_per_session_max,
            presence_members_max: config.limits.presence_members_max,
            object_bytes_max: config.limits.object_bytes_max,
            objects_per_partition_max: config.limits.objects_per_partition_max,
            partition_bytes_max: config.limits.partition_bytes_max,
            state_bytes_max: config.limits.state_bytes_max,
            watches_per_session_max: config.limits.watches_per_session_max,
            room_grace_ns: config.limits.room_grace_ms * 1_000_000,
            ..Limits::PRODUCTION
        },
        seed: hash_seed(),
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
