//! The configuration: defaults, overlaid by the file, overlaid by the command line; checked as a
//! whole before anything starts. Runs once, in the main thread.
//!
//! A `ServerConfig` that exists is valid: nobody checks a limit again.

mod auth;
mod effective;
mod endpoint;
mod error;
mod export;
mod keys;
mod plugins;
mod tasks;
mod workers;

use core::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use warren_core::acknowledgement::AckDefaults;
use warren_core::authentication::Authentication;
use warren_core::bans::AddressRange;
use warren_core::rate::Rate;
use warren_core::tasks::methods::TaskMethods;
use warren_net::gateway::websocket::UpgradeSettings;
use warren_net::gateway::{GatewaySettings, Protocol, QUEUE_FRAMES_MIN};
use warren_net::reactor::RateLimits;

pub use auth::AuthConfig;
pub(crate) use auth::OWN_KEY_ID;
pub use effective::{EffectiveConfig, EffectiveKey, Source};
pub use endpoint::Endpoint;
pub use error::{ConfigError, ConfigProblem, Position};
pub use export::ExportConfig;
pub use keys::{Allowed, KEYS, Key};
pub use plugins::PluginsConfig;
pub use workers::WorkersConfig;

use auth::{ack_defaults, auth_config};
use error::Located;
use export::export_config;
use keys::{ConfigFile, LOG_FORMATS, LOG_LEVELS};
use plugins::plugins_config;
use tasks::task_methods;
use workers::{Surroundings, workers_config};

/// How many of the longest frames may wait for another shard, at least. There the message is in
/// packed form, which escapes nothing.
const STAGED_FRAMES_MIN: u64 = 4;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the log says, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: tracing::Level,
}

/// The bounds of queues and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open connections of one shard.
    pub connections_max: usize,
    /// Open connections of one shard whose clients have not logged in.
    pub unauthenticated_max: usize,
    /// Connections of one address, over all shards.
    pub connections_per_address_max: usize,
    /// Logins and resumes from one address in a minute; 0: any number.
    pub logins_per_minute_per_address: u64,
    /// Logins of one user in a minute; 0: any number.
    pub logins_per_minute_per_account: u64,
    /// Addresses and accounts whose logins one shard remembers.
    pub addresses_max: usize,
    /// Milliseconds within which a client has to be logged in.
    pub login_ms: u64,
    /// Tickets that a shard checks in one turn.
    pub tickets_per_turn_max: usize,
    /// Longest frame of a client that has not logged in.
    pub unauthenticated_frame_bytes_max: usize,
    /// Milliseconds within which a frame that has begun has to be whole.
    pub frame_ms: u64,
    /// What may come on one connection in which time.
    pub rates: RateLimits,
    /// The same for connections of workers.
    pub worker_rates: RateLimits,
    /// Bytes that wait to be sent on one connection.
    pub send_queue_bytes_max: usize,
    /// Bytes that wait to be sent on all connections of one shard.
    pub send_queues_bytes_max: usize,
    /// Events that wait in one partition.
    pub partition_events_max: usize,
    /// Rooms in which one session is.
    pub rooms_per_session_max: usize,
    /// Members up to which a room is told of each `joined` and `left`.
    pub presence_members_max: usize,
    /// Members above which a room gathers its messages.
    pub gather_members_min: usize,
    /// Milliseconds for which it gathers them.
    pub gather_ms: u64,
    /// Bytes that a room sends because of one member.
    pub fan_out: Rate,
    /// Worlds of a shard with somebody in them.
    pub worlds_max: usize,
    /// Ticks in a second that a world may have.
    pub world_tick_hz_max: u8,
    /// Entities of one world.
    pub world_entities_max: usize,
    /// NPCs of one world.
    pub world_npcs_max: usize,
    /// NPCs of all worlds of one shard.
    pub npcs_max: usize,
    /// Bytes of frames in a second for one member of a world.
    pub world_bytes_per_s: usize,
    /// Milliseconds for which a member of a world may take no frames.
    pub frame_stall_ms: u64,
    /// Bytes of one object.
    pub object_bytes_max: usize,
    /// Objects of one partition.
    pub objects_per_partition_max: usize,
    /// Bytes in memory of one partition's objects.
    pub partition_bytes_max: usize,
    /// Bytes in memory of one shard's objects.
    pub state_bytes_max: usize,
    /// Objects that one session watches.
    pub watches_per_session_max: usize,
    /// Bytes that wait for another shard whose ring is full.
    pub mesh_staging_bytes_max: usize,
    /// Bans that the server holds to.
    pub bans_max: usize,
    /// Sessions of one shard that wait to be resumed.
    pub detached_sessions_max: usize,
    /// Messages of one session that are kept to be told again.
    pub replay_messages_max: usize,
    /// Bytes of one shard's messages that are kept to be told again.
    pub replay_bytes_max: usize,
    /// Deliveries of one shard that are remembered.
    pub replay_links_max: usize,
    /// Tasks of one partition.
    pub tasks_per_partition_max: usize,
    /// Bytes of what waits on a shard until it is durable.
    pub log_wait_bytes_max: usize,
    /// Bytes in a second that are kept of what one session alone is told.
    pub replay_bytes_per_s: u64,
    /// Milliseconds for which a room made by `join` stays when it is empty.
    pub room_grace_ms: u64,
    /// `join` makes the room when there is none.
    pub join_creates_rooms: bool,
}

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that lead from it to one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate; none: no TLS.
    pub files: Option<TlsFiles>,
    /// Connections that are not in TLS are refused.
    pub required: bool,
    /// Handshakes that a shard answers in one turn.
    pub handshakes_per_turn_max: usize,
}

/// The rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactorConfig {
    /// Longest time between two turns of a shard that has work, in microseconds.
    pub turn_interval_us: u64,
    /// Receive buffers of one shard: a power of two.
    pub receive_buffers: usize,
    /// Bytes of one receive buffer.
    pub receive_buffer_bytes: usize,
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address for clients.
    pub listen: SocketAddr,
    /// Number of shards, at least 1.
    pub shards: usize,
    /// Folder for data, if there is to be one.
    pub data: Option<PathBuf>,
    /// Who clients are, and what they may do.
    pub auth: AuthConfig,
    /// When requests that do not say so are answered.
    pub ack_defaults: AckDefaults,
    /// Methods that workers do.
    pub task_methods: TaskMethods,
    /// Processes that the server starts to do tasks.
    pub workers: Vec<WorkersConfig>,
    /// Game code that the server runs inline.
    pub plugins: PluginsConfig,
    /// Where the admin endpoint is.
    pub admin_listen: Endpoint,
    /// The file of its token, if the operator has made one.
    pub admin_token_file: Option<PathBuf>,
    /// The one protocol of the port; none: told by the first bytes.
    pub protocol_fixed: Option<Protocol>,
    /// Where proxies are that say from where their clients come.
    pub proxies: Vec<AddressRange>,
    /// What a Flash player hears that asks for the socket policy.
    pub flash_policy: String,
    /// How protocols are spoken.
    pub gateway: GatewaySettings,
    /// Who may speak WebSocket.
    pub upgrade: UpgradeSettings,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u64,
    /// TLS.
    pub tls: TlsConfig,
    /// The bounds of queues and tables.
    pub limits: LimitsConfig,
    /// Milliseconds for which a session without a connection waits to be resumed.
    pub session_grace_ms: u64,
    /// Microseconds of a turn for moving NPCs.
    pub npc_turn_us: u64,
    /// The rings.
    pub reactor: ReactorConfig,
    /// Milliseconds after which a changed object is handed over to be stored.
    pub snapshot_interval_ms: u64,
    /// Bytes of a segment of the delta log.
    pub segment_bytes: u64,
    /// Where objects are exported to, if anywhere.
    pub export: Option<ExportConfig>,
    /// What the log says, and how.
    pub log: LogConfig,
}

/// Where a server's admin endpoint is, for those who ask it. Of the file only this is looked at: who
/// operates a server need not be able to read its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where the admin endpoint is.
    pub listen: Endpoint,
    /// The file of its token, if the operator has made one.
    pub token_file: Option<PathBuf>,
    /// Folder for data, if there is one.
    pub data: Option<PathBuf>,
}

impl AdminConfig {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    /// The file cannot be read, or has keys or types that no configuration has.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = read_file(file)?;
        let read: ConfigFile =
            toml::from_str(&text).map_err(|error| Located::from(error).into_error(file, &text))?;
        Ok(Self {
            listen: read.admin.listen().get(),
            token_file: read.admin.token_file().given(),
            data: read.server.data().given(),
        })
    }
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--admin`.
    pub admin_listen: Option<Endpoint>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--shards`. Its range is the command line's to check.
    pub shards: Option<usize>,
    /// `--insecure-open`.
    pub insecure_open: bool,
}

impl ServerConfig {
    /// Reads the file, if one is named, and lays the command line over it. `cores` is the number
    /// of shards when nobody says another.
    ///
    /// # Errors
    /// The file cannot be read or is no valid configuration, or file and command line together
    /// are none.
    pub fn load(
        file: Option<&Path>,
        overrides: &Overrides,
        cores: usize,
    ) -> Result<Self, ConfigError> {
        let text = read_file(file)?;
        Self::from_text(&text, overrides, cores).map_err(|fault| fault.into_error(file, &text))
    }

    fn from_text(text: &str, overrides: &Overrides, cores: usize) -> Result<Self, Located> {
        let file: ConfigFile = toml::from_str(text)?;
        let data = overrides.data.clone().or_else(|| file.server.data().given());
        let listen = overrides.listen.unwrap_or_else(|| file.server.listen().get());
        let proxies = file.protocol.proxies().addresses()?;
        let tls_is_required = file.tls.required().get();
        let surroundings = Surroundings { listen, proxies: &proxies, tls_is_required };
        let config = Self {
            workers: workers_config(&file.workers, &surroundings)?,
            ack_defaults: ack_defaults(&file.methods, data.is_some())?,
            task_methods: task_methods(&file.tasks)?,
            plugins: plugins_config(&file.plugins)?,
            export: export_config(
                &file.export,
                data.is_some(),
                file.storage.segment_bytes().number()?,
            )?,
            listen,
            shards: file
                .server
                .shards()
                .count_given()
                .map(|given| overrides.shards.or(given).unwrap_or(cores).max(1))?,
            data,
            auth: auth_config(
                &file.auth,
                &file.methods,
                overrides.insecure_open || file.auth.insecure_open().get(),
            )?,
            admin_listen: overrides
                .admin_listen
                .clone()
                .unwrap_or_else(|| file.admin.listen().get()),
            admin_token_file: file.admin.token_file().given(),
            protocol_fixed: file.protocol.fixed().word_index()?.map(|index| Protocol::ALL[index]),
            proxies,
            flash_policy: file.protocol.flash_policy().document()?,
            gateway: gateway_settings(&file)?,
            upgrade: UpgradeSettings {
                header_bytes_max: file.websocket.header_bytes_max().count()?,
                origins: file.websocket.origins().origins()?.into(),
            },
            heartbeat_ms: file.protocol.heartbeat_ms().number()?,
            tls: tls_config(&file)?,
            limits: limits_config(&file)?,
            npc_turn_us: file.worlds.npc_turn_us().number()?,
            session_grace_ms: file.session.grace_ms().number()?,
            reactor: ReactorConfig {
                turn_interval_us: file.reactor.turn_interval_us().number()?,
                receive_buffers: file.reactor.receive_buffers().count()?,
                receive_buffer_bytes: file.reactor.receive_buffer_bytes().count()?,
            },
            snapshot_interval_ms: file.storage.snapshot_interval_ms().number()?,
            segment_bytes: file.storage.segment_bytes().number()?,
            log: log_config(&file)?,
        };
        check_queues(&file)?;
        check_addresses(&config, &file)?;
        Ok(config)
    }
}

/// The text of the file; without one, that of an empty one.
fn read_file(file: Option<&Path>) -> Result<String, ConfigError> {
    let Some(path) = file else { return Ok(String::new()) };
    std::fs::read_to_string(path).map_err(|error| ConfigError {
        file: Some(path.to_owned()),
        position: None,
        problem: ConfigProblem::Unreadable(error),
    })
}

impl Default for ServerConfig {
    /// The configuration of an empty file, with one shard.
    fn default() -> Self {
        match Self::from_text("", &Overrides::default(), 1) {
            Ok(config) => config,
            Err(fault) => panic!("the defaults are no valid configuration: {}", fault.problem),
        }
    }
}

fn gateway_settings(file: &ConfigFile) -> Result<GatewaySettings, Located> {
    let connserver = &file.protocol.connserver;
    Ok(GatewaySettings {
        frame_bytes_max: file.protocol.frame_bytes_max().count()?,
        percent: connserver.percent().get(),
        legacy: connserver.legacy().get(),
        strict: connserver.strict().get(),
    })
}

fn tls_config(file: &ConfigFile) -> Result<TlsConfig, Located> {
    let tls = &file.tls;
    let required = tls.required().get();
    let files = match (tls.certificate().given(), tls.key().given()) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (Some(certificate), None) => {
            let why = "allowed: together with `tls.key`".to_owned();
            return Err(tls.certificate().conflict(&format_args!("{certificate:?}"), why));
        }
        (None, Some(key)) => {
            let why = "allowed: together with `tls.certificate`".to_owned();
            return Err(tls.key().conflict(&format_args!("{key:?}"), why));
        }
        (None, None) if required => {
            let why = "allowed: with `tls.certificate` and `tls.key`".to_owned();
            return Err(tls.required().conflict(&required, why));
        }
        (None, None) => None,
    };
    let handshakes_per_turn_max = tls.handshakes_per_turn_max().count()?;
    Ok(TlsConfig { files, required, handshakes_per_turn_max })
}

fn limits_config(file: &ConfigFile) -> Result<LimitsConfig, Located> {
    let limits = &file.limits;
    Ok(LimitsConfig {
        connections_max: limits.connections_max().count()?,
        unauthenticated_max: limits.unauthenticated_max().count()?,
        login_ms: limits.login_ms().number()?,
        tickets_per_turn_max: limits.tickets_per_turn_max().count()?,
        unauthenticated_frame_bytes_max: limits.unauthenticated_frame_bytes_max().count()?,
        frame_ms: limits.frame_ms().number()?,
        rates: RateLimits {
            messages: Rate {
                per_s: limits.messages_per_s().number()?,
                burst: limits.messages_burst().number()?,
            },
            bytes: Rate {
                per_s: limits.bytes_per_s().number()?,
                burst: limits.bytes_burst().number()?,
            },
            refusals_max: limits.refusals_before_close().number()? as u32,
        },
        worker_rates: RateLimits::of_workers(
            limits.worker_messages_per_s().number()?,
            limits.worker_bytes_per_s().number()?,
            limits.refusals_before_close().number()? as u32,
        ),
        send_queue_bytes_max: limits.send_queue_bytes_max().count()?,
        send_queues_bytes_max: limits.send_queues_bytes_max().count()?,
        partition_events_max: limits.partition_events_max().count()?,
        rooms_per_session_max: limits.rooms_per_session_max().count()?,
        presence_members_max: limits.presence_members_max().count()?,
        gather_members_min: limits.gather_members_min().count()?,
        gather_ms: limits.gather_ms().number()?,
        fan_out: Rate {
            per_s: limits.fan_out_bytes_per_s().number()?,
            burst: limits.fan_out_burst_bytes().number()?,
        },
        worlds_max: limits.worlds_max().count()?,
        world_tick_hz_max: limits.world_tick_hz_max().count()? as u8,
        world_entities_max: limits.world_entities_max().count()?,
        world_npcs_max: limits.world_npcs_max().count()?,
        npcs_max: limits.npcs_max().count()?,
        world_bytes_per_s: limits.world_bytes_per_s().count()?,
        frame_stall_ms: limits.frame_stall_ms().number()?,
        object_bytes_max: limits.object_bytes_max().count()?,
        objects_per_partition_max: limits.objects_per_partition_max().count()?,
        partition_bytes_max: limits.partition_bytes_max().count()?,
        state_bytes_max: limits.state_bytes_max().count()?,
        watches_per_session_max: limits.watches_per_session_max().count()?,
        mesh_staging_bytes_max: limits.mesh_staging_bytes_max().count()?,
        bans_max: limits.bans_max().count()?,
        connections_per_address_max: limits.connections_per_address_max().count()?,
        logins_per_minute_per_address: limits.logins_per_minute_per_address().number()?,
        logins_per_minute_per_account: limits.logins_per_minute_per_account().number()?,
        addresses_max: limits.addresses_max().count()?,
        detached_sessions_max: limits.detached_sessions_max().count()?,
        replay_messages_max: limits.replay_messages_max().count()?,
        replay_bytes_max: limits.replay_bytes_max().count()?,
        replay_links_max: limits.replay_links_max().count()?,
        tasks_per_partition_max: limits.tasks_per_partition_max().count()?,
        log_wait_bytes_max: limits.log_wait_bytes_max().count()?,
        replay_bytes_per_s: limits.replay_bytes_per_s().number()?,
        room_grace_ms: limits.room_grace_ms().number()?,
        join_creates_rooms: limits.join_creates_rooms().get(),
    })
}

fn log_config(file: &ConfigFile) -> Result<LogConfig, Located> {
    const FORMATS: [LogFormat; LOG_FORMATS.len()] = [LogFormat::Text, LogFormat::Json];
    const LEVELS: [tracing::Level; LOG_LEVELS.len()] = [
        tracing::Level::ERROR,
        tracing::Level::WARN,
        tracing::Level::INFO,
        tracing::Level::DEBUG,
        tracing::Level::TRACE,
    ];
    Ok(LogConfig {
        format: FORMATS[file.log.format().word_index()?.unwrap_or(0)],
        level: LEVELS[file.log.level().word_index()?.unwrap_or(2)],
    })
}

/// A frame that is allowed must fit the queues on its way, or it could never arrive.
fn check_queues(file: &ConfigFile) -> Result<(), Located> {
    let frame_bytes_max = file.protocol.frame_bytes_max().number()?;
    let queues = [
        (file.limits.send_queue_bytes_max(), QUEUE_FRAMES_MIN as u64),
        (file.limits.send_queues_bytes_max(), QUEUE_FRAMES_MIN as u64),
        (file.limits.mesh_staging_bytes_max(), STAGED_FRAMES_MIN),
    ];
    for (queue, frames_min) in queues {
        let bytes_max = queue.number()?;
        let bytes_min = frame_bytes_max * frames_min;
        if bytes_max < bytes_min {
            let why = format!(
                "allowed: at least {bytes_min}, {frames_min} times \
                 `protocol.frame_bytes_max` ({frame_bytes_max})"
            );
            return Err(queue.conflict(&bytes_max, why));
        }
    }
    Ok(())
}

fn check_addresses(config: &ServerConfig, file: &ConfigFile) -> Result<(), Located> {
    let listen = config.listen;
    let asks_nobody = config.auth.authentication == Authentication::Open;
    if asks_nobody && !config.auth.insecure_open && !listen.ip().to_canonical().is_loopback() {
        // The command line's address stands nowhere in the file.
        let in_file = file.server.listen().given() == Some(listen);
        let span = if in_file { file.server.listen().span() } else { None };
        return Err(Located { span, problem: ConfigProblem::OpenToTheNetwork { listen } });
    }
    if config.admin_listen.is_reachable() && config.admin_token_file.is_none() {
        let listen = config.admin_listen.clone();
        let in_file = file.admin.listen().given().as_ref() == Some(&listen);
        let span = if in_file { file.admin.listen().span() } else { None };
        return Err(Located { span, problem: ConfigProblem::AdminWithoutToken { listen } });
    }
    if config.admin_listen == Endpoint::Tcp(listen) && listen.port() != 0 {
        let why = "allowed: another address or port than `server.listen`".to_owned();
        return Err(file.admin.listen().conflict(&listen, why));
    }
    Ok(())
}

/// The table of all keys for `docs/configuration.md`.
#[must_use]
pub fn keys_table() -> String {
    let mut table = String::from("| key | default | allowed | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default =
            if key.default.is_empty() { String::from("–") } else { format!("`{}`", key.default) };
        let (path, allowed, description) = (key.path, key.allowed, key.description);
        let _ = writeln!(table, "| `{path}` | {default} | {allowed} | {description} |");
    }
    table
}

#[cfg(test)]
mod tests;
