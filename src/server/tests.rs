//! What the configuration says is what shards and reactors are set up with, key by key.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use warren_core::acknowledgement::{AckDefaults, AckLevel};
use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::rate::Rate;
use warren_core::tasks::methods::TaskMethods;
use warren_core::ticket::{TicketIssuer, TicketKey, TicketVerifier};
use warren_net::gateway::websocket::UpgradeSettings;
use warren_net::gateway::{GatewaySettings, Protocol};
use warren_net::reactor::RateLimits;
use warren_storage::log_executor::LogThreadError;

use super::*;
use crate::config::{EffectiveConfig, Overrides, Source};

/// Sections that shards and reactors have to do with.
const SECTIONS: &[&str] = &[
    "auth.",
    "methods.",
    "protocol.",
    "websocket.",
    "tls.",
    "limits.",
    "session.",
    "worlds.",
    "reactor.",
];

/// A value of its own for each key, so that no two can be mixed up.
const TEXT: &str = r#"
[server]
data = "/nowhere"
[auth]
mode = "ticket"
keys = ["KEY"]
audience = "world"
leeway_s = 31
roles = ["bard"]
insecure_open = true
[methods.set]
ack = "durable"
[methods.create]
roles = ["bard"]
[protocol]
fixed = "binary"
proxies = ["192.0.2.0/24", "2001:db8::7"]
frame_bytes_max = 1001
heartbeat_ms = 1002
flash_policy = "<a/>"
[protocol.connserver]
percent = false
legacy = true
strict = true
[websocket]
origins = ["https://example.org"]
header_bytes_max = 1003
[tls]
certificate = "/certificate"
key = "/key"
required = true
handshakes_per_turn_max = 1004
[limits]
connections_max = 1005
unauthenticated_max = 1006
connections_per_address_max = 1039
logins_per_minute_per_address = 1040
logins_per_minute_per_account = 1041
addresses_max = 1042
login_ms = 1007
tickets_per_turn_max = 1008
unauthenticated_frame_bytes_max = 1009
frame_ms = 1010
messages_per_s = 1011
messages_burst = 1012
refusals_before_close = 1013
bytes_per_s = 1014
bytes_burst = 1015
worker_messages_per_s = 1048
worker_bytes_per_s = 1049
send_queue_bytes_max = 10160
send_queues_bytes_max = 20321
partition_events_max = 1017
rooms_per_session_max = 1018
presence_members_max = 1019
gather_members_min = 1020
gather_ms = 21
fan_out_bytes_per_s = 1022
fan_out_burst_bytes = 1023
worlds_max = 1043
world_tick_hz_max = 44
world_entities_max = 1040
world_npcs_max = 1043
npcs_max = 1044
world_bytes_per_s = 1041
frame_stall_ms = 1042
object_bytes_max = 100024
objects_per_partition_max = 1025
partition_bytes_max = 10000026
state_bytes_max = 10000027
watches_per_session_max = 1028
mesh_staging_bytes_max = 10290
bans_max = 1030
room_grace_ms = 1031
detached_sessions_max = 1032
replay_messages_max = 1033
replay_bytes_max = 1034
replay_links_max = 1040
tasks_per_partition_max = 1047
log_wait_bytes_max = 1043
replay_bytes_per_s = 1039
join_creates_rooms = false
[session]
grace_ms = 1035
[worlds]
npc_turn_us = 1045
[tasks]
methods = ["combat.attack"]
[reactor]
turn_interval_us = 1036
receive_buffers = 32
receive_buffer_bytes = 1037
[storage]
snapshot_interval_ms = 1038
"#;

fn key() -> TicketKey {
    TicketKey::of(&TicketIssuer::new("main", &[7; 32]).unwrap())
}

/// The configuration of that text. Each key that has to do with what is tested stands in it.
fn config() -> ServerConfig {
    let file = std::env::temp_dir().join(format!("warren-every-key-{}", std::process::id()));
    std::fs::write(&file, TEXT.replace("KEY", &key().to_string())).unwrap();
    let loaded = EffectiveConfig::load(Some(&file), &Overrides::default(), 1);
    std::fs::remove_file(file).unwrap();
    let (config, effective) = loaded.unwrap();
    for key in effective.keys {
        let is_wanted = SECTIONS.iter().any(|section| key.path.starts_with(section));
        assert!(!is_wanted || key.source == Source::File, "{} is not in the text", key.path);
    }
    config
}

fn gateway() -> GatewaySettings {
    GatewaySettings { frame_bytes_max: 1001, percent: false, legacy: true, strict: true }
}

#[test]
fn a_reactor_has_what_the_keys_say() {
    let fixed = ReactorSettings::default();
    // Named one by one, so that a new one is not forgotten here.
    let expected = ReactorSettings {
        gateway: gateway(),
        upgrade: UpgradeSettings {
            header_bytes_max: 1003,
            origins: vec!["https://example.org".to_owned()].into(),
        },
        fixed_protocol: Some(Protocol::Binary),
        proxies: ["192.0.2.0/24", "2001:db8::7"].map(|range| range.parse().unwrap()).into(),
        flash_policy: flash_policy_answer("<a/>"),
        connections_max: 1005,
        send_queue_bytes_max: 10160,
        send_queues_bytes_max: 20321,
        inputs_per_turn_max: fixed.inputs_per_turn_max,
        turn_interval_us: 1036,
        receive_buffers: 32,
        receive_buffer_bytes: 1037,
        submission_entries: fixed.submission_entries,
        completion_entries: fixed.completion_entries,
        heartbeat_ms: 1002,
        linger_ms: fixed.linger_ms,
        login_ms: 1007,
        unauthenticated_max: 1006,
        unauthenticated_frame_bytes_max: 1009,
        frame_ms: 1010,
        // Read from its files when the server starts.
        tls: None,
        tls_required: true,
        tls_handshakes_per_turn_max: 1004,
        rates: RateLimits {
            messages: Rate { per_s: 1011, burst: 1012 },
            bytes: Rate { per_s: 1014, burst: 1015 },
            refusals_max: 1013,
        },
        worker_rates: RateLimits {
            messages: Rate { per_s: 1048, burst: 1048 },
            bytes: Rate { per_s: 1049, burst: 1049 },
            refusals_max: 1013,
        },
    };
    let config = config();
    assert_eq!(reactor_settings(&config), expected);
    let files = TlsFiles { certificate: PathBuf::from("/certificate"), key: PathBuf::from("/key") };
    assert_eq!(config.tls.files, Some(files));
    assert_eq!(config.limits.bans_max, 1030);
}

#[test]
fn a_shard_has_what_the_keys_say() {
    let fixed = Limits::PRODUCTION;
    let expected = Limits {
        partition_events_max: 1017,
        turn_events_max: fixed.turn_events_max,
        mesh_staging_bytes_max: 10290,
        rooms_per_session_max: 1018,
        presence_members_max: 1019,
        count_interval_ns: fixed.count_interval_ns,
        gather_members_min: 1020,
        gather_ns: 21_000_000,
        gather_bytes_max: fixed.gather_bytes_max,
        fan_out: Rate { per_s: 1022, burst: 1023 },
        worlds_max: 1043,
        world_tick_hz_max: 44,
        world_entities_max: 1040,
        world_npcs_max: 1043,
        npcs_max: 1044,
        npc_turn_ns: 1_045_000,
        world_bytes_per_s: 1041,
        frame_stall_ns: 1_042_000_000,
        object_bytes_max: 100_024,
        objects_per_partition_max: 1025,
        partition_bytes_max: 10_000_026,
        state_bytes_max: 10_000_027,
        watches_per_session_max: 1028,
        tickets_per_turn_max: 1008,
        parked_bytes_max: fixed.parked_bytes_max,
        effects_bytes_max: 3 * 100_024 + (64 << 10),
        changed_objects_max: fixed.changed_objects_max,
        room_grace_ns: 1_031_000_000,
        session_grace_ns: 1_035_000_000,
        detached_sessions_max: 1032,
        replay_messages_max: 1033,
        replay_bytes_max: 1034,
        replay_links_max: 1040,
        tasks_per_partition_max: 1047,
        log_wait_bytes_max: 1043,
        replay_alone: Rate { per_s: 1039, burst: 10160 / 2 },
        resume_bytes_max: 10160 / 2,
        connections_per_address_max: 1039,
        logins_per_minute_per_address: 1040,
        logins_per_minute_per_account: 1041,
        addresses_max: 1042,
    };
    let routing = RoutingTable::even(1, Epoch(1));
    // Seeds are random, and the table of routes is the caller's.
    let ShardSettings {
        shard,
        routing: _,
        limits,
        seed: _,
        authentication,
        policy,
        token_seed: _,
        join_creates_rooms,
        snapshot_interval_ns,
        has_log,
        ack_defaults,
        task_methods,
        frame_bytes_max,
        heartbeat_ms,
        messages_per_s,
        bytes_per_s,
        login_ms,
    } = shard_settings(&config(), ShardId(0), routing).unwrap();
    assert_eq!(shard, ShardId(0));
    assert_eq!(format!("{limits:?}"), format!("{expected:?}"));
    let verifier = TicketVerifier::new(vec![key()], "world", 31_000);
    assert_eq!(authentication, Authentication::Tickets(verifier));
    let mut expected = Policy::default();
    expected.add_role("bard").unwrap();
    expected.set_rule("create", ["bard"]).unwrap();
    assert_eq!(policy, expected);
    assert!(!join_creates_rooms);
    assert_eq!(snapshot_interval_ns, Some(1_038_000_000));
    assert!(has_log);
    let mut expected = AckDefaults::default();
    expected.set("set", AckLevel::Durable).unwrap();
    assert_eq!(ack_defaults, expected);
    let mut expected = TaskMethods::default();
    expected.add("combat.attack").unwrap();
    assert_eq!(task_methods, expected);
    assert_eq!((frame_bytes_max, heartbeat_ms), (1001, 1002));
    assert_eq!((messages_per_s, bytes_per_s, login_ms), (1011, 1014, 1007));
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes with its test.
struct TestFolder(PathBuf);

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What becomes of a server whose log's thread does this while a client is there: how it ends, and what the
/// client hears.
fn end_of_server_whose_log(
    body: impl FnOnce() -> Result<(), LogThreadError> + Send + 'static,
) -> (Fatal, String) {
    let name = format!("warren-lost-log-{}", std::process::id());
    let folder = TestFolder(std::env::temp_dir().join(name));
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        admin_listen: Some("127.0.0.1:0".parse().unwrap()),
        shards: Some(1),
        data: Some(folder.0.clone()),
        ..Overrides::default()
    };
    let (config, _) = EffectiveConfig::load(None, &overrides, 1).unwrap();
    let log = LogGuard::unread();
    let mut server = Server::start(&config, &log, None).unwrap().expect("it is not stopped");
    let mut client = TcpStream::connect(server.listen_addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"{\"msg\":\"login\",\"user\":\"ann\"}\n").unwrap();
    let mut first = [0];
    client.read_exact(&mut first).unwrap();
    server.storage.as_mut().unwrap().log = LogThread::that_does(body);
    // It does not wait for ever for the end of a server that goes on.
    let desk = Arc::clone(&server.desk);
    let bound = async move {
        tokio::time::sleep(PATIENCE).await;
        desk.orders.drain.notify_one();
    };
    let end = server.run(&log, bound).unwrap_err();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    (end, heard)
}

#[test]
fn a_server_whose_log_s_thread_ends_tells_its_clients_and_ends_with_the_reason() {
    type Body = fn() -> Result<(), LogThreadError>;
    let lost = (FatalReason::ThreadFailed, "the thread of the delta log ended");
    let told = (FatalReason::StateNotStored, "the executor of the log: no event");
    let bodies: [(Body, _); 3] = [
        (|| Ok(()), lost),
        (|| panic!("the log's thread panics"), lost),
        (|| Err(LogThreadError::Executor(std::io::Error::other("no event"))), told),
    ];
    for (body, (reason, detail)) in bodies {
        let (end, heard) = end_of_server_whose_log(body);
        assert_eq!((end.reason, end.detail.as_str()), (reason, detail));
        assert!(heard.contains("\"error\":\"draining\""), "{heard}");
    }
}
