//! A server: the only place that starts threads. Start order: data folder, sockets, shards with
//! their rings, then the word to go; it ends in the reverse order.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use warren_core::hashing::HashSeed;
use warren_core::ids::ShardId;
use warren_core::limits::Limits;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_net::io::listener::Listener;
use warren_net::reactor::{Reactor, ReactorSettings, WakeHandle};

use crate::admin::AdminServer;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::data_folder::DataFolder;
use crate::fatal::{Fatal, FatalReason};
use crate::mesh::{self, MESH_SLOTS, MeshPorts};
use crate::metrics::{Phase, ServerState};
use crate::shard_thread::{Peers, ShardThread};
use crate::shard_turn::ShardTurn;
use crate::topology::{Topology, inherited_cores, pin_current_thread};

/// Exit status when a second SIGINT or SIGTERM cuts the drain short: 128 + the signal's number.
const EXIT_SIGINT: i32 = 130;
const EXIT_SIGTERM: i32 = 143;

/// A running server.
pub struct Server {
    listen: SocketAddr,
    admin: AdminServer,
    state: Arc<ServerState>,
    peers: Arc<Peers>,
    wake_handles: Vec<WakeHandle>,
    shard_ends: UnboundedReceiver<ShardId>,
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

    /// Says on standard output where the server is, for people and for programs that started it.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn print_addresses(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on {}", self.listen_addr())?;
        writeln!(out, "admin on {}", self.admin_addr())?;
        out.flush()
    }

    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
    /// `beside` runs on the same thread's runtime, as the demo's bots do.
    ///
    /// # Errors
    /// When a shard ended by itself: a bug, which has been logged.
    pub fn run(self, beside: impl Future<Output = ()> + Send + 'static) -> Result<(), Fatal> {
        let Self { admin, state, peers, wake_handles, mut shard_ends, .. } = self;
        let shard_count = wake_handles.len();
        let mut result = Ok(());
        admin.run(async {
            let beside = tokio::spawn(beside);
            tokio::select! {
                name = stop_signal() => tracing::info!(signal = name, "draining"),
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
            let drained = async {
                for _ in 0..shard_count {
                    if shard_ends.recv().await.is_none() {
                        return Err(shard_failed());
                    }
                }
                Ok(())
            };
            tokio::select! {
                drained = drained => result = drained,
                name = stop_signal() => {
                    tracing::warn!(signal = name, "stopped before the drain ended");
                    let status = if name == "SIGINT" { EXIT_SIGINT } else { EXIT_SIGTERM };
                    std::process::exit(status);
                }
            }
        })?;
        result
    }
}

fn shard_failed() -> Fatal {
    Fatal::new(FatalReason::ThreadFailed, "a shard thread ended by itself")
}

async fn stop_signal() -> &'static str {
    let watch = |kind| signal(kind).expect("the runtime was made with io");
    let (mut terminate, mut interrupt) =
        (watch(SignalKind::terminate()), watch(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
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

/// Says at its drop that the shard thread has ended, also when it panicked.
struct EndReport(ShardId, UnboundedSender<ShardId>);

impl Drop for EndReport {
    fn drop(&mut self) {
        // Nobody listens any more when the process is on its way out.
        let _ = self.1.send(self.0);
    }
}

fn start_shard(
    parts: ShardParts,
    ready: mpsc::Sender<Result<Ready, Fatal>>,
    started: mpsc::Receiver<Arc<Peers>>,
    end: UnboundedSender<ShardId>,
) -> Result<(), Fatal> {
    let shard = parts.shard;
    let body = move || {
        let _end = EndReport(shard, end);
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
        ShardThread { turn, reactor, peers, state, clock }.run();
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
    Reactor::new(settings, listener).map_err(|error| Fatal::new(FatalReason::SystemRefused, error))
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
