//! A server: the only place that starts threads. Start order: data folder and store, sockets,
//! shards with their rings and their state, then the word to go; it ends in the reverse order.

mod ending;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use warren_core::control::Command;
use warren_core::hashing::HashSeed;
use warren_core::ids::{Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::rate::Rate;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::token::TokenSeed;
use warren_net::io::listener::Listener;
use warren_net::reactor::{
    Reactor, ReactorError, ReactorSettings, WakeHandle, flash_policy_answer,
};
use warren_net::tls::TlsIdentity;
use warren_storage::delta_log::LogEnd;
use warren_storage::log_executor::LogPort;

use crate::admin::{AdminServer, BanBook, Desk, PluginBook, ServerOrders, make_runtime};
use crate::attendant::{Attendant, Attended};
use crate::backup::{BackupSource, Backups};
use crate::bans::BanList;
use crate::clock::Clock;
use crate::config::{Endpoint, ServerConfig, TlsFiles};
use crate::control::{ControlPort, ControlSender, Controls, control_line};
use crate::data_folder::DataFolder;
use crate::delta_log::LogThread;
use crate::doctor::trials::try_address;
use crate::fatal::{Fatal, FatalReason};
use crate::hand_over::{self, HandOverPorts};
use crate::logging::LogGuard;
use crate::mesh::{self, MESH_SLOTS, MeshPorts};
use crate::metrics::{Phase, ServerState};
use crate::reload::Reload;
use crate::service_manager::ServiceManager;
use crate::shard_thread::{Peers, ShardPort, ShardThread, SnapshotOutlet};
use crate::shard_turn::ShardTurn;
use crate::snapshots::{SnapshotSender, SnapshotWriter};
use crate::state::{StateFolder, StateSummary};
use crate::stop_signals::{StopSignal, StopSignals};
use crate::storage::{Storage, Writers};
use crate::tls::{self, TlsWatch};
use crate::topology::{Topology, inherited_cores, pin_current_thread};
use crate::workers::{Crews, OwnKey};

use ending::{EndReport, ShardEnd, all_stored, await_end, shard_failed};

/// A ban that is under way when the server ends gets so long to reach the disk, and a backup to stop.
const OFFICE_WAIT: Duration = Duration::from_secs(5);

/// A running server.
pub struct Server {
    listen: SocketAddr,
    admin: AdminServer,
    desk: Arc<Desk>,
    state: Arc<ServerState>,
    shards: Shards,
    storage: Option<Storage>,
    office: Office,
    workers: Crews,
    data: Option<DataFolder>,
}

/// Shards that turn.
struct Shards {
    peers: Arc<Peers>,
    wake_handles: Vec<WakeHandle>,
    ends: UnboundedReceiver<ShardEnd>,
}

/// What goes on beside the shards, on the thread that started them.
struct Office {
    runtime: Runtime,
    signals: StopSignals,
    attendant: Attendant,
    manager: Arc<ServiceManager>,
}

impl Office {
    /// From here on signals wait until they are heard.
    fn open(reload: Option<Reload>) -> Result<Self, Fatal> {
        let runtime = make_runtime()?;
        let entered = runtime.enter();
        let manager = Arc::new(ServiceManager::from_environment());
        let signals = StopSignals::watch();
        let attendant = Attendant::watch(reload, Arc::clone(&manager));
        drop(entered);
        Ok(Self { runtime, signals, attendant, manager })
    }

    /// Waits until every shard is ready, and says by which signal the server is to stop then. A
    /// second signal ends the process at once.
    fn await_shards(
        &mut self,
        mut readies: UnboundedReceiver<Result<Ready, Fatal>>,
        shard_count: u16,
        log: &LogGuard,
    ) -> Result<(Vec<Ready>, Option<StopSignal>), Fatal> {
        let Self { runtime, signals, manager, .. } = self;
        runtime.block_on(async {
            let mut all = Vec::new();
            let mut stop: Option<StopSignal> = None;
            let mut reports = tokio::time::interval(manager.report_interval());
            while all.len() < usize::from(shard_count) {
                tokio::select! {
                    ready = readies.recv() => {
                        let detail = "a shard ended at its start";
                        let lost = || Fatal::new(FatalReason::ThreadFailed, detail);
                        all.push(ready.ok_or_else(lost)??);
                    }
                    signal = signals.next() => {
                        if stop.is_some() {
                            signal.end_process(log);
                        }
                        tracing::info!(signal = signal.name(), "stops once the state is loaded");
                        stop = Some(signal);
                    }
                    _ = reports.tick() => manager.loading(),
                }
            }
            all.sort_by_key(|one: &Ready| one.shard);
            Ok((all, stop))
        })
    }
}

/// What a shard thread reports when its reactor is up.
struct Ready {
    shard: ShardId,
    ring_fd: std::os::fd::RawFd,
    wake_handle: WakeHandle,
    loaded: StateSummary,
}

impl Server {
    /// Starts all threads and serves. None when a signal stopped it before it served. SIGHUP reads
    /// the configuration again, if there is `reload`.
    ///
    /// # Errors
    /// The named reason why it cannot.
    pub fn start(
        config: &ServerConfig,
        log: &LogGuard,
        reload: Option<Reload>,
    ) -> Result<Option<Self>, Fatal> {
        let mut store_life = Weak::new();
        let key = Arc::new(OwnKey::make()?);
        let mut config = config.clone();
        config.auth.authentication = key.beside(config.auth.authentication);
        let started = Self::start_all(&config, &key, (log, reload), &mut store_life);
        if started.is_err() {
            await_end(&store_life);
        }
        started
    }

    fn start_all(
        config: &ServerConfig,
        key: &Arc<OwnKey>,
        (log, reload): (&LogGuard, Option<Reload>),
        store_life: &mut Weak<()>,
    ) -> Result<Option<Self>, Fatal> {
        let renewals = reload.as_ref().map(Reload::renewals).unwrap_or_default();
        let mut office = Office::open(reload)?;
        office.manager.loading();
        let identity = config.tls.files.as_ref().map(read_identity).transpose()?;
        let data = config.data.as_deref().map(DataFolder::reserve).transpose()?;
        let stored = config.data.as_deref().map(StateFolder::open).transpose()?;
        *store_life = stored.as_ref().map(|stored| stored.store.life()).unwrap_or_default();
        let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
        let topology = Topology::new(&inherited_cores(), config.shards);
        warn(config, &topology);
        let listeners = listen(config)?;
        let listen = listeners[0].local_addr();
        let clock = Clock::start();
        let state = Arc::new(ServerState::new(config.shards, move || clock.monotonic_ns()));
        let admin = AdminServer::bind(config)?;
        let bans = BanList::load(config.data.as_deref())?;
        let plugins = PluginBook::load(config, clock)?;
        let Writers { writer, delta_log, export, mut log_ports } =
            Writers::prepare(stored.as_ref(), config, &state)?;
        let log_end = delta_log.as_ref().map(|log| Arc::clone(log.end()));
        let parts = |(shard, mesh, hand_over, listener, control)| ShardParts {
            shard,
            core: topology.shard_cores[shard.index()],
            config: config.clone(),
            mesh,
            hand_over,
            tls: (identity.clone(), TlsWatch::new(Arc::clone(&renewals))),
            listener,
            state: Arc::clone(&state),
            clock,
            stored: stored.clone().zip(log_end.clone()),
            snapshots: writer.as_ref().map(SnapshotWriter::sender),
            control,
            log: log_ports.next(),
        };
        let StartedShards { starts, lines, readies, shard_ends } =
            start_shards(listeners, &first_commands(&bans, &plugins), parts)?;
        let (all, stop) = office.await_shards(readies, shard_count, log)?;
        if let Some(signal) = stop {
            drop(starts);
            stop_unserved(&office, writer, signal)?;
            return Ok(None);
        }
        if stored.is_some() {
            all.iter().map(|one| one.loaded).sum::<StateSummary>().log("state loaded");
        }
        let (peers, wake_handles) = peers_of(all);
        let delta_log = delta_log.map(|log| log.start(&peers, &wake_handles)).transpose()?;
        // All that can fail at a start has not failed.
        if let Some((stored, log_end)) = stored.as_ref().zip(log_end) {
            stored.begin(&log_end, &state.snapshots().log_needs)?;
        }
        let export = export.map(|export| export.start(&state, hash_seed().0)).transpose()?;
        start_turning(&peers, &starts);
        state.set_phase(Phase::Serving);
        tracing::info!(%listen, admin = %admin.endpoint(), shards = shard_count, cores = topology.cores_text(), "serving");
        let workers = Crews::of(config, key, (listen, &topology), &state);
        let desk = Arc::new(Desk {
            state: Arc::clone(&state),
            clock,
            controls: controls(lines, &wake_handles),
            routing: RoutingTable::even(shard_count, Epoch(1)),
            bans: BanBook::new(bans, config.limits.bans_max),
            plugins,
            orders: ServerOrders::new(office.attendant.reloads()),
            backups: Backups::new(backup_source(config, stored.as_ref(), &state)),
            workers: Arc::clone(&workers.board),
            listen,
        });
        let parts = stored.zip(writer).zip(delta_log);
        let storage = parts.map(|((stored, writer), log)| Storage { stored, writer, log, export });
        let shards = Shards { peers, wake_handles, ends: shard_ends };
        Ok(Some(Self { listen, admin, desk, state, shards, storage, office, workers, data }))
    }

    /// Where clients connect.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where the admin endpoint is.
    #[must_use]
    pub fn admin(&self) -> &Endpoint {
        self.admin.endpoint()
    }

    /// Says where it is, and serves until SIGTERM or SIGINT; then drains. A second signal ends the
    /// process at once. `beside` runs on the same thread's runtime, as the demo's bots do.
    ///
    /// # Errors
    /// When a shard ended by itself: a bug, which has been logged; or when state could not be
    /// stored.
    pub fn run(
        self,
        log: &LogGuard,
        beside: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fatal> {
        let (listen, endpoint) = (self.listen, self.admin.endpoint().clone());
        let Self { mut admin, desk, state, shards, mut storage, workers, .. } = self;
        let Shards { peers, wake_handles, ends: mut shard_ends } = shards;
        let Office { runtime, mut signals, attendant, manager } = self.office;
        let mut result = Ok(());
        let mut shards_left = wake_handles.len();
        let attended = Attended {
            state: Arc::clone(&state),
            access: admin.access(),
            status: format!("serving on {listen}, admin on {endpoint}"),
        };
        let (tokens, data) = (admin.take_token_files(), self.data);
        let store_life = storage.as_ref().map(|it| it.stored.store.life()).unwrap_or_default();
        let served = admin.run(&runtime, Arc::clone(&desk), async {
            // Whoever reads the addresses may send a signal at once.
            print_addresses(listen, &endpoint);
            // It ends with the runtime.
            tokio::spawn(attendant.attend(attended));
            let beside = tokio::spawn(beside);
            let workers = workers.start(&desk);
            let log_thread = storage.as_mut().map(|storage| &mut storage.log);
            tokio::select! {
                signal = signals.next() => tracing::info!(signal = signal.name(), "draining"),
                () = desk.orders.drain.notified() => tracing::info!("draining"),
                _ = shard_ends.recv() => {
                    shards_left -= 1;
                    result = Err(shard_failed());
                }
                fatal = LogThread::lost(log_thread) => result = Err(fatal),
            }
            beside.abort();
            state.set_phase(Phase::Draining);
            manager.stopping();
            // What they have begun they may finish while there are shards.
            workers.end(&mut signals, log).await;
            // Where one shard has failed, the others still tell their clients and store what is theirs.
            peers.drain();
            for handle in &wake_handles {
                handle.wake();
            }
            let written = || state.snapshots().batches.load(Relaxed);
            let stored = all_stored(shard_ends, shards_left, storage, result.is_ok(), written);
            // A backup that does not give up in time, since its target stands still, ends without a list.
            let given_up = tokio::time::timeout(OFFICE_WAIT, desk.backups.close());
            tokio::select! {
                (drained, _) = async { tokio::join!(stored, given_up) } => {
                    if result.is_ok() {
                        result = drained;
                    }
                }
                signal = signals.next() => signal.end_process(log),
            }
            // While the endpoint listens, the next server does not start: what it is to have is free
            // before, and nothing of it is taken away behind its back.
            let is_at_rest = tokio::time::timeout(OFFICE_WAIT, desk.bans.close()).await.is_ok();
            let is_unstored =
                matches!(&result, Err(it) if it.reason == FatalReason::StateNotStored);
            if is_unstored {
                // Their disk may keep whoever touches it. The lock is given back by the kernel.
                drop(tokio::task::spawn_blocking(move || drop(tokens)));
                std::mem::forget(data);
            } else {
                drop(tokens);
                if result.is_ok() && is_at_rest {
                    drop(data);
                }
            }
            desk.orders.tell_end(result.as_ref().map_err(ToString::to_string).copied());
        });
        // A file that is being read again is nothing to wait for.
        runtime.shutdown_background();
        await_end(&store_life);
        served.and(result)
    }
}

fn backup_source(
    config: &ServerConfig,
    stored: Option<&StateFolder>,
    state: &ServerState,
) -> Option<BackupSource> {
    let (data, stored) = config.data.clone().zip(stored)?;
    let needs = Arc::clone(&state.snapshots().log_needs);
    Some(BackupSource { data, store: Arc::clone(&stored.store), log: state.log(), needs })
}

/// Shards that load what is stored of them, and wait for the word to turn.
struct StartedShards {
    starts: Vec<mpsc::Sender<Arc<Peers>>>,
    lines: Vec<ControlSender>,
    readies: UnboundedReceiver<Result<Ready, Fatal>>,
    shard_ends: UnboundedReceiver<ShardEnd>,
}

/// What each shard has for itself: its number, its ends of the ways to its peers, where it listens,
/// its end of the operator's line.
type ShardWays = (ShardId, MeshPorts, HandOverPorts, Listener, ControlPort);

/// What shards are told before anyone can connect.
fn first_commands(bans: &BanList, plugins: &PluginBook) -> [Command; 2] {
    [Command::SetBans(Arc::new(bans.for_shards())), Command::SetInline(plugins.table())]
}

/// Starts a shard for each listener, with these commands in its first turn.
fn start_shards(
    listeners: Vec<Listener>,
    first: &[Command],
    mut parts: impl FnMut(ShardWays) -> ShardParts,
) -> Result<StartedShards, Fatal> {
    let (ready, readies) = unbounded_channel();
    let (end, shard_ends) = unbounded_channel();
    let (mut starts, mut lines) = (Vec::new(), Vec::new());
    let shard_count = u16::try_from(listeners.len()).expect("the configuration was checked");
    let ways =
        mesh::connect(shard_count, MESH_SLOTS).into_iter().zip(hand_over::connect(shard_count));
    for (index, ((mesh, hand_over), listener)) in (0..shard_count).zip(ways.zip(listeners)) {
        let (start, started) = mpsc::channel();
        let (line, control) = control_line();
        // Before anyone can connect.
        for command in first {
            line.begin_with(command.clone());
        }
        starts.push(start);
        lines.push(line);
        let parts = parts((ShardId(index), mesh, hand_over, listener, control));
        start_shard(parts, ready.clone(), started, end.clone())?;
    }
    Ok(StartedShards { starts, lines, readies, shard_ends })
}

/// What shards know of each other, and what wakes each.
fn peers_of(all: Vec<Ready>) -> (Arc<Peers>, Vec<WakeHandle>) {
    let peers = Peers::new(all.iter().map(|one| one.ring_fd).collect());
    (Arc::new(peers), all.into_iter().map(|one| one.wake_handle).collect())
}

/// Tells the shards of each other, and that they may turn.
fn start_turning(peers: &Arc<Peers>, starts: &[mpsc::Sender<Arc<Peers>>]) {
    for start in starts {
        start.send(Arc::clone(peers)).expect("a ready shard waits for its start");
    }
}

/// The lines to shards whose rings can be woken by now.
fn controls(lines: Vec<ControlSender>, wake_handles: &[WakeHandle]) -> Controls {
    let wakes = wake_handles.iter().cloned().map(|handle| {
        let wake: Box<dyn Fn() + Send + Sync> = Box::new(move || handle.wake());
        wake
    });
    Controls::new(lines.into_iter().zip(wakes))
}

/// On standard output, for people and for programs that started the server.
fn print_addresses(listen: SocketAddr, admin: &Endpoint) {
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason to stop serving.
    let _ = write!(out, "listening on {listen}\nadmin on {admin}\n");
    let _ = out.flush();
}

/// Says in the log what an operator should know of the configuration.
fn warn(config: &ServerConfig, topology: &Topology) {
    if let Some(warning) = topology.warning() {
        tracing::warn!("{warning}");
    }
    if config.admin_listen.is_reachable() {
        let admin = &config.admin_listen;
        tracing::warn!(%admin, "the admin endpoint's token is not encrypted on its way");
    }
}

/// The shards end, and then the writer, which closes the store: it is as complete as it was found.
fn stop_unserved(
    office: &Office,
    writer: Option<SnapshotWriter>,
    signal: StopSignal,
) -> Result<(), Fatal> {
    writer.map_or(Ok(()), |writer| office.runtime.block_on(writer.drain()))?;
    tracing::info!(signal = signal.name(), "stopped before it served");
    Ok(())
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
    hand_over: HandOverPorts,
    /// The certificate, and whether it is renewed.
    tls: (Option<TlsIdentity>, TlsWatch),
    listener: Listener,
    state: Arc<ServerState>,
    clock: Clock,
    stored: Option<(StateFolder, Arc<LogEnd>)>,
    snapshots: Option<SnapshotSender>,
    control: ControlPort,
    log: Option<LogPort>,
}

fn start_shard(
    parts: ShardParts,
    ready: UnboundedSender<Result<Ready, Fatal>>,
    started: mpsc::Receiver<Arc<Peers>>,
    end: UnboundedSender<ShardEnd>,
) -> Result<(), Fatal> {
    let shard = parts.shard;
    let body = move || {
        let mut report = EndReport { sender: end, end: ShardEnd::Failed };
        let ShardParts { config, mesh, hand_over, tls: (identity, tls), listener, .. } = parts;
        let ShardParts { state, clock, core, stored, snapshots, control, log, .. } = parts;
        let made = pin_current_thread(core).and_then(|()| {
            let reactor = make_reactor(&config, identity, listener)?;
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
        let (wakes_sent, gives_up_log) = (0, false);
        let port = ShardPort {
            reactor,
            hand_over,
            tls,
            peers,
            wakes_sent,
            control,
            log,
            gives_up_log,
            was_log_failing: false,
        };
        let snapshots = snapshots.map(SnapshotOutlet::new);
        let turn_interval_ns = config.reactor.turn_interval_us * 1_000;
        let thread = ShardThread { turn, port, state, clock, snapshots, turn_interval_ns };
        report.end = thread.run().map_or(ShardEnd::Unstored, ShardEnd::Drained);
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
        upgrade: config.upgrade.clone(),
        fixed_protocol: config.protocol_fixed,
        proxies: config.proxies.as_slice().into(),
        flash_policy: flash_policy_answer(&config.flash_policy),
        heartbeat_ms: config.heartbeat_ms,
        tls_required: config.tls.required,
        tls_handshakes_per_turn_max: config.tls.handshakes_per_turn_max,
        connections_max: config.limits.connections_max,
        unauthenticated_max: config.limits.unauthenticated_max,
        login_ms: config.limits.login_ms,
        unauthenticated_frame_bytes_max: config.limits.unauthenticated_frame_bytes_max,
        frame_ms: config.limits.frame_ms,
        rates: config.limits.rates,
        worker_rates: config.limits.worker_rates,
        send_queue_bytes_max: config.limits.send_queue_bytes_max,
        send_queues_bytes_max: config.limits.send_queues_bytes_max,
        turn_interval_us: config.reactor.turn_interval_us,
        receive_buffers: config.reactor.receive_buffers,
        receive_buffer_bytes: config.reactor.receive_buffer_bytes,
        ..ReactorSettings::default()
    }
}

/// Reads the certificate as a part of the configuration.
fn read_identity(files: &TlsFiles) -> Result<TlsIdentity, Fatal> {
    let identity = tls::read_identity(files);
    let identity = identity.map_err(|error| Fatal::new(FatalReason::ConfigInvalid, error))?;
    tls::warn_of_expiry(&identity);
    Ok(identity)
}

fn make_reactor(
    config: &ServerConfig,
    tls: Option<TlsIdentity>,
    listener: Listener,
) -> Result<Reactor, Fatal> {
    let settings = ReactorSettings { tls, ..reactor_settings(config) };
    Reactor::new(settings, listener).map_err(|error| {
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
    stored: Option<&(StateFolder, Arc<LogEnd>)>,
    clock: Clock,
) -> Result<Shard, Fatal> {
    let shard_count = u16::try_from(config.shards).expect("the configuration was checked");
    let epoch = stored.map_or(Epoch(1), |(stored, _)| stored.epoch);
    let routing = RoutingTable::even(shard_count, epoch);
    let mut engine = Shard::new(shard_settings(config, shard, routing.clone())?);
    if let Some((stored, log_end)) = stored {
        stored.load(&mut engine, &routing, log_end, clock.now())?;
    }
    Ok(engine)
}

fn shard_settings(
    config: &ServerConfig,
    shard: ShardId,
    routing: RoutingTable,
) -> Result<ShardSettings, Fatal> {
    let interval_ns = config.snapshot_interval_ms * 1_000_000;
    Ok(ShardSettings {
        shard,
        routing,
        limits: Limits {
            tickets_per_turn_max: config.limits.tickets_per_turn_max,
            partition_events_max: config.limits.partition_events_max,
            mesh_staging_bytes_max: config.limits.mesh_staging_bytes_max,
            rooms_per_session_max: config.limits.rooms_per_session_max,
            presence_members_max: config.limits.presence_members_max,
            gather_members_min: config.limits.gather_members_min,
            gather_ns: config.limits.gather_ms * 1_000_000,
            fan_out: config.limits.fan_out,
            worlds_max: config.limits.worlds_max,
            world_tick_hz_max: config.limits.world_tick_hz_max,
            world_entities_max: config.limits.world_entities_max,
            world_npcs_max: config.limits.world_npcs_max,
            npcs_max: config.limits.npcs_max,
            npc_turn_ns: config.npc_turn_us * 1_000,
            world_bytes_per_s: config.limits.world_bytes_per_s,
            frame_stall_ns: config.limits.frame_stall_ms * 1_000_000,
            object_bytes_max: config.limits.object_bytes_max,
            effects_bytes_max: Limits::effects_bytes_max_for(config.limits.object_bytes_max),
            objects_per_partition_max: config.limits.objects_per_partition_max,
            partition_bytes_max: config.limits.partition_bytes_max,
            state_bytes_max: config.limits.state_bytes_max,
            watches_per_session_max: config.limits.watches_per_session_max,
            room_grace_ns: config.limits.room_grace_ms * 1_000_000,
            session_grace_ns: config.session_grace_ms * 1_000_000,
            connections_per_address_max: config.limits.connections_per_address_max,
            logins_per_minute_per_address: config.limits.logins_per_minute_per_address,
            logins_per_minute_per_account: config.limits.logins_per_minute_per_account,
            addresses_max: config.limits.addresses_max,
            detached_sessions_max: config.limits.detached_sessions_max,
            replay_messages_max: config.limits.replay_messages_max,
            replay_bytes_max: config.limits.replay_bytes_max,
            replay_links_max: config.limits.replay_links_max,
            tasks_per_partition_max: config.limits.tasks_per_partition_max,
            log_wait_bytes_max: config.limits.log_wait_bytes_max,
            // More at once could not be told again.
            replay_alone: Rate {
                per_s: config.limits.replay_bytes_per_s,
                burst: config.limits.send_queue_bytes_max as u64 / 2,
            },
            // What is told again is sent at once, and longer than it is in packed form.
            resume_bytes_max: config.limits.send_queue_bytes_max / 2,
            ..Limits::PRODUCTION
        },
        seed: hash_seed(),
        token_seed: token_seed()?,
        snapshot_interval_ns: config.data.is_some().then_some(interval_ns),
        has_log: config.data.is_some(),
        ack_defaults: config.ack_defaults,
        task_methods: config.task_methods.clone(),
        authentication: config.auth.authentication.clone(),
        policy: config.auth.policy.clone(),
        join_creates_rooms: config.limits.join_creates_rooms,
        frame_bytes_max: config.gateway.frame_bytes_max as u64,
        heartbeat_ms: config.heartbeat_ms,
        messages_per_s: config.limits.rates.messages.per_s,
        bytes_per_s: config.limits.rates.bytes.per_s,
        login_ms: config.limits.login_ms,
    })
}

/// A seed of tokens that nobody can guess.
fn token_seed() -> Result<TokenSeed, Fatal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
    Ok(TokenSeed(seed))
}

/// A seed that nobody can guess: the standard library's hasher keys come from the system.
fn hash_seed() -> HashSeed {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    HashSeed(state.hash_one(0), state.hash_one(1))
}

#[cfg(test)]
mod tests;
