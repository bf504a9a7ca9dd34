use std::time::Duration;

use warren_core::acknowledgement::{AckDefaults, AckLevel};
use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::limits::Limits;
use warren_core::rate::Rate;
use warren_core::tasks::methods::TaskMethods;
use warren_core::ticket::{TicketKey, TicketVerifier};
use warren_net::reactor::{RateLimits, ReactorSettings, flash_policy_answer};
use warren_storage::postgres::PostgresPlace;

use super::*;

fn load(text: &str) -> Result<ServerConfig, String> {
    load_with(text, &Overrides::default())
}

fn load_with(text: &str, overrides: &Overrides) -> Result<ServerConfig, String> {
    let file = Path::new("warren.toml");
    ServerConfig::from_text(text, overrides, 3)
        .map_err(|fault| fault.into_error(Some(file), text).to_string())
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    assert_eq!(load(text).unwrap_err(), format!("warren.toml:{expected}"), "\n{text}");
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = load("").unwrap();
    assert_eq!(config, ServerConfig { shards: 3, ..ServerConfig::default() });
    assert_eq!(config.listen.to_string(), "127.0.0.1:7171");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:7172");
    assert_eq!(config.data, None);
    assert_eq!(config.protocol_fixed, None);
    assert_eq!(config.gateway, GatewaySettings::default());
    assert_eq!(config.limits.presence_members_max, 100);
    assert_eq!(config.reactor.turn_interval_us, 1100);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.level, tracing::Level::INFO);
}

#[test]
fn every_key_can_be_set() {
    let config = load(
        r#"
        [server]
        listen = "[::1]:1000"
        shards = 2
        data = "/var/lib/warren"
        [auth]
        mode = "ticket"
        keys = ["main:gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q"]
        audience = "game"
        leeway_s = 9
        roles = ["bard"]
        insecure_open = true
        [methods.create]
        roles = ["admin", "bard"]
        ack = "durable"
        [methods.set]
        ack = "applied"
        [methods."combat.attack"]
        roles = ["bard"]
        [admin]
        listen = "127.0.0.2:1001"
        token_file = "/etc/warren/token"
        [protocol]
        fixed = "json"
        proxies = ["192.0.2.0/24", "2001:db8::7"]
        frame_bytes_max = 1024
        heartbeat_ms = 2000
        flash_policy = "<policy/>"
        [protocol.connserver]
        percent = false
        legacy = true
        strict = true
        [websocket]
        origins = ["https://example.org", "*"]
        header_bytes_max = 1025
        [tls]
        certificate = "/certificate.pem"
        key = "/key.pem"
        required = true
        handshakes_per_turn_max = 5
        [limits]
        connections_max = 11
        unauthenticated_max = 20
        login_ms = 101
        tickets_per_turn_max = 26
        unauthenticated_frame_bytes_max = 257
        frame_ms = 102
        messages_per_s = 31
        messages_burst = 32
        refusals_before_close = 33
        bytes_per_s = 34
        bytes_burst = 35
        worker_messages_per_s = 38
        worker_bytes_per_s = 39
        send_queue_bytes_max = 6144
        send_queues_bytes_max = 12288
        partition_events_max = 13
        rooms_per_session_max = 14
        presence_members_max = 15
        gather_members_min = 12
        gather_ms = 18
        fan_out_bytes_per_s = 36
        fan_out_burst_bytes = 37
        worlds_max = 1043
        world_tick_hz_max = 44
        world_entities_max = 1040
        world_npcs_max = 1043
        npcs_max = 1044
        world_bytes_per_s = 1041
        frame_stall_ms = 1042
        object_bytes_max = 1016
        objects_per_partition_max = 17
        partition_bytes_max = 1048577
        state_bytes_max = 1048578
        watches_per_session_max = 18
        mesh_staging_bytes_max = 8192
        bans_max = 9
        detached_sessions_max = 31
        connections_per_address_max = 41
        logins_per_minute_per_address = 42
        logins_per_minute_per_account = 43
        addresses_max = 44
        replay_messages_max = 32
        replay_bytes_max = 1025
        replay_links_max = 1027
        tasks_per_partition_max = 1048
        log_wait_bytes_max = 1044
        replay_bytes_per_s = 27
        room_grace_ms = 19
        join_creates_rooms = false
        [session]
        grace_ms = 33
        [worlds]
        npc_turn_us = 34
        [tasks]
        methods = ["combat.attack"]
        [workers.combat]
        command = ["python3", "combat.py"]
        count = 3
        folder = "/srv/game"
        environment = { MODE = "fast" }
        url = "tls://game.example.org:7171"
        memory_bytes_max = 16777217
        nice = 6
        cores = [2, 3]
        start_ms = 101
        silent_ms_max = 104
        restart_ms_max = 102
        stop_ms = 103
        [workers.quests]
        file = "quests.py"
        [plugins]
        files = ["/combat.so"]
        call_us_max = 51
        strikes_max = 52
        [reactor]
        turn_interval_us = 21
        receive_buffers = 32
        receive_buffer_bytes = 1023
        [storage]
        snapshot_interval_ms = 24
        segment_bytes = 12288
        [export]
        postgres = "host=db user=warren"
        password_file = "/password"
        schema = "world_7"
        interval_ms = 25
        timeout_ms = 1047
        log_bytes_max = 1048579
        replace = true
        [log]
        format = "json"
        level = "debug"
        "#,
    )
    .unwrap();
    let mut policy = Policy::default();
    policy.add_role("bard").unwrap();
    policy.set_rule("create", ["admin", "bard"]).unwrap();
    policy.set_rule("combat.attack", ["bard"]).unwrap();
    let expected = ServerConfig {
        listen: "[::1]:1000".parse().unwrap(),
        shards: 2,
        data: Some(PathBuf::from("/var/lib/warren")),
        auth: AuthConfig {
            authentication: Authentication::Tickets(TicketVerifier::new(
                vec![TicketKey::read(KEY).unwrap()],
                "game",
                9000,
            )),
            policy,
            insecure_open: true,
        },
        ack_defaults: {
            let mut defaults = AckDefaults::default();
            defaults.set("create", AckLevel::Durable).unwrap();
            defaults
        },
        task_methods: {
            let mut methods = TaskMethods::default();
            methods.add("combat.attack").unwrap();
            methods
        },
        workers: vec![
            WorkersConfig {
                name: "combat".to_owned(),
                command: ["python3", "combat.py"].map(str::to_owned).into(),
                count: 3,
                folder: Some(PathBuf::from("/srv/game")),
                environment: [("MODE".to_owned(), "fast".to_owned())].into(),
                url: Some("tls://game.example.org:7171".to_owned()),
                memory_bytes_max: Some(16_777_217),
                nice: 6,
                cores: Some(vec![2, 3]),
                start_ms: 101,
                silent_ms_max: 104,
                restart_ms_max: 102,
                stop_ms: 103,
            },
            WorkersConfig {
                name: "quests".to_owned(),
                command: ["python3", "-m", "warren.worker", "quests.py"].map(str::to_owned).into(),
                count: 1,
                folder: None,
                environment: [].into(),
                url: None,
                memory_bytes_max: None,
                nice: 5,
                cores: None,
                start_ms: 30_000,
                silent_ms_max: 60_000,
                restart_ms_max: 30_000,
                stop_ms: 5_000,
            },
        ],
        plugins: PluginsConfig {
            files: vec![PathBuf::from("/combat.so")],
            budget: warren_plugins::Budget { call_ns_max: 51_000, strikes_max: 52 },
        },
        admin_listen: "127.0.0.2:1001".parse().unwrap(),
        admin_token_file: Some(PathBuf::from("/etc/warren/token")),
        protocol_fixed: Some(Protocol::Json),
        proxies: ["192.0.2.0/24", "2001:db8::7"].map(|range| range.parse().unwrap()).into(),
        flash_policy: "<policy/>".to_owned(),
        gateway: GatewaySettings {
            frame_bytes_max: 1024,
            percent: false,
            legacy: true,
            strict: true,
        },
        upgrade: UpgradeSettings {
            header_bytes_max: 1025,
            origins: ["https://example.org", "*"].map(str::to_owned).into(),
        },
        heartbeat_ms: 2000,
        tls: TlsConfig {
            files: Some(TlsFiles {
                certificate: PathBuf::from("/certificate.pem"),
                key: PathBuf::from("/key.pem"),
            }),
            required: true,
            handshakes_per_turn_max: 5,
        },
        limits: LimitsConfig {
            connections_max: 11,
            unauthenticated_max: 20,
            login_ms: 101,
            tickets_per_turn_max: 26,
            unauthenticated_frame_bytes_max: 257,
            frame_ms: 102,
            rates: RateLimits {
                messages: Rate { per_s: 31, burst: 32 },
                bytes: Rate { per_s: 34, burst: 35 },
                refusals_max: 33,
            },
            worker_rates: RateLimits {
                messages: Rate { per_s: 38, burst: 38 },
                bytes: Rate { per_s: 39, burst: 39 },
                refusals_max: 33,
            },
            send_queue_bytes_max: 6144,
            send_queues_bytes_max: 12288,
            partition_events_max: 13,
            rooms_per_session_max: 14,
            presence_members_max: 15,
            gather_members_min: 12,
            gather_ms: 18,
            fan_out: Rate { per_s: 36, burst: 37 },
            worlds_max: 1043,
            world_tick_hz_max: 44,
            world_entities_max: 1040,
            world_npcs_max: 1043,
            npcs_max: 1044,
            world_bytes_per_s: 1041,
            frame_stall_ms: 1042,
            object_bytes_max: 1016,
            objects_per_partition_max: 17,
            partition_bytes_max: 1_048_577,
            state_bytes_max: 1_048_578,
            watches_per_session_max: 18,
            mesh_staging_bytes_max: 8192,
            bans_max: 9,
            connections_per_address_max: 41,
            logins_per_minute_per_address: 42,
            logins_per_minute_per_account: 43,
            addresses_max: 44,
            detached_sessions_max: 31,
            replay_messages_max: 32,
            replay_bytes_max: 1025,
            replay_links_max: 1027,
            tasks_per_partition_max: 1048,
            log_wait_bytes_max: 1044,
            replay_bytes_per_s: 27,
            room_grace_ms: 19,
            join_creates_rooms: false,
        },
        session_grace_ms: 33,
        npc_turn_us: 34,
        reactor: ReactorConfig {
            turn_interval_us: 21,
            receive_buffers: 32,
            receive_buffer_bytes: 1023,
        },
        snapshot_interval_ms: 24,
        segment_bytes: 12_288,
        export: Some(ExportConfig {
            place: PostgresPlace::parse(
                "host=db user=warren",
                "world_7",
                Duration::from_millis(1047),
            )
            .unwrap(),
            password_file: Some(PathBuf::from("/password")),
            interval_ms: 25,
            log_bytes_max: 1_048_579,
            replace: true,
        }),
        log: LogConfig { format: LogFormat::Json, level: tracing::Level::DEBUG },
    };
    assert_eq!(config, expected);
}

#[test]
fn an_export_has_a_place_and_something_to_export_and_no_secret_in_it() {
    let data = "[server]\ndata = \"/d\"\n[export]\n";
    assert_eq!(load("[export]\ninterval_ms = 7").unwrap().export, None);
    for (text, expected) in [
        (
            format!("{data}postgres = \"host=db password=very-secret\""),
            "4:12: `export.postgres` is not what it has to be; a connection string with a password; \
             allowed: a password file or PGPASSWORD",
        ),
        (
            format!("{data}postgres = \"dbname=w\""),
            "4:12: `export.postgres` is not what it has to be; a connection string without a host; \
             allowed: a name, an address or a socket's folder",
        ),
        (
            format!("{data}schema = \"pg_x\""),
            "4:10: `export.schema` is \"pg_x\"; allowed: a name: `a` to `z`, digits and `_`, not `pg_` at \
             first",
        ),
        (
            "[export]\npostgres = \"host=db\"".to_owned(),
            "2:12: `export.postgres` is set; allowed: together with `server.data`",
        ),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.ends_with(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_cores() {
    let text = "[server]\nshards = 2\nlisten = \"127.0.0.1:1\"\ndata = \"/file\"";
    assert_eq!(load(text).unwrap().shards, 2);
    let overrides = Overrides {
        listen: Some("127.0.0.1:2".parse().unwrap()),
        admin_listen: Some("127.0.0.1:3".parse().unwrap()),
        data: Some(PathBuf::from("/flag")),
        shards: Some(4),
        insecure_open: true,
    };
    let config = load_with(text, &overrides).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.admin_listen.port(), Some(3));
    assert_eq!(config.data, overrides.data);
    assert_eq!(config.shards, 4);
    assert!(config.auth.insecure_open);
}

#[test]
fn faults_tell_line_and_column() {
    for (text, expected) in [
        ("[server", "1:8: unclosed table, expected `]`"),
        ("[server]\nshards = 1\nshards = 2", "3:1: duplicate key"),
        ("[server]\nlisten = 7171", "2:10: invalid type: integer `7171`, expected socket address"),
        ("[server]\nlisten = \"here\"", "2:10: invalid socket address syntax"),
        ("[limits]\njoin_creates_rooms = 1", "2:22: invalid type: integer `1`, expected a boolean"),
        ("[limits]\nroom_grace_ms = -1", "2:17: invalid value: integer `-1`, expected u64"),
        // Columns count characters, not bytes.
        ("server = { data = \"ä\", shards = 0 }", "1:33: `server.shards` is 0; allowed: 1 to 256"),
    ] {
        check_refused(text, expected);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    for (text, expected) in [
        ("[server]\nlisen = \"127.0.0.1:1\"", "2:1: unknown key `lisen`: did you mean `listen`?"),
        ("[limit]\n", "1:2: unknown key `limit`: did you mean `limits`?"),
        (
            "[limits]\nconnection_max = 1",
            "2:1: unknown key `connection_max`: did you mean `connections_max`?",
        ),
        ("[log]\ncolour = true", "2:1: unknown key `colour`: known here: format, level"),
        (
            "[protocol]\nconnserver.strickt = true",
            "2:12: unknown key `strickt`: did you mean `strict`?",
        ),
    ] {
        check_refused(text, expected);
    }
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for (text, expected) in [
        (
            "[protocol]\nframe_bytes_max = 2000000",
            "2:19: `protocol.frame_bytes_max` is 2000000; allowed: 256 to 1048576",
        ),
        (
            "[reactor]\nreceive_buffers = 1000",
            "2:19: `reactor.receive_buffers` is 1000; allowed: a power of two, 16 to 32768",
        ),
        (
            "[storage]\nsegment_bytes = 12289",
            "2:17: `storage.segment_bytes` is 12289; allowed: a multiple of 4096, 8192 to 1073750016",
        ),
        (
            "[server]\ndata = \"/d\"\n[storage]\nsegment_bytes = 8388608\n[export]\n\
             postgres = \"host=db dbname=w user=w\"\nlog_bytes_max = 33554431",
            "7:17: `export.log_bytes_max` is 33554431; allowed: 4 times `storage.segment_bytes` \
             (8388608) or more",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "2:9: `log.level` is \"loud\"; allowed: error, warn, info, debug, trace",
        ),
        (
            "[protocol]\nfixed = \"soap\"",
            "2:9: `protocol.fixed` is \"soap\"; allowed: connserver-a, connserver-b, \
             connserver-c, json, xml, binary, websocket-json, websocket-binary",
        ),
        (
            "[tls]\ncertificate = \"/a\"",
            "2:15: `tls.certificate` is \"/a\"; allowed: together with `tls.key`",
        ),
        (
            "[tls]\nkey = \"/a\"",
            "2:7: `tls.key` is \"/a\"; allowed: together with `tls.certificate`",
        ),
        (
            "[tls]\nrequired = true",
            "2:12: `tls.required` is true; allowed: with `tls.certificate` and `tls.key`",
        ),
        (
            "[websocket]\norigins = [\"*\", \"https://example.org/\"]",
            "2:11: `websocket.origins` is \"https://example.org/\"; allowed: a list of origins such \
             as `\"https://example.org\"`, or of `\"*\"`",
        ),
        (
            "[websocket]\norigins = [\"example.org\"]",
            "2:11: `websocket.origins` is \"example.org\"; allowed: a list of origins such as \
             `\"https://example.org\"`, or of `\"*\"`",
        ),
        (
            "[protocol]\nproxies = [\"10.0.0.1\", \"proxy.example.org\"]",
            "2:11: `protocol.proxies` is a list with \"proxy.example.org\"; allowed: a list of at \
             most 64 addresses or ranges of addresses",
        ),
        (
            "[protocol]\nflash_policy = \"policy.xml\"",
            "2:16: `protocol.flash_policy` is \"policy.xml\" (10 bytes); allowed: an XML document \
             of at most 16384 bytes, without NUL",
        ),
        (
            "[protocol]\nflash_policy = \"<a>\\u0000\"",
            "2:16: `protocol.flash_policy` is \"<a>\\0\" (4 bytes); allowed: an XML document of \
             at most 16384 bytes, without NUL",
        ),
    ] {
        check_refused(text, expected);
    }
}

/// The public key of 32 bytes 2.
const KEY: &str = "main:gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q";

#[test]
fn wrong_ways_to_prove_who_one_is_are_refused() {
    let (_, key) = KEY.split_once(':').unwrap();
    for (text, expected) in [
        (
            "mode = \"password\"".to_owned(),
            "2:8: `auth.mode` is \"password\"; allowed: open, ticket".to_owned(),
        ),
        (
            "mode = \"ticket\"".to_owned(),
            "2:8: `auth.mode` is \"ticket\"; allowed: with at least one key in `auth.keys`, by \
             which tickets are checked"
                .to_owned(),
        ),
        (
            format!("keys = [\"{KEY}\", \"{KEY}\"]"),
            "2:8: `auth.keys` is a list with `main` twice; allowed: one key of each id".to_owned(),
        ),
        // What might be a secret is not repeated.
        (
            format!("keys = [\"secret:main:{key}\"]"),
            "2:8: `auth.keys` is a list whose key 1 is none; allowed: a list of at most 16 keys \
             `ID:KEY`"
                .to_owned(),
        ),
        (
            format!("keys = [\"{KEY}\", \"{key}\"]"),
            "2:8: `auth.keys` is a list whose key 2 is none; allowed: a list of at most 16 keys \
             `ID:KEY`"
                .to_owned(),
        ),
        (
            format!("keys = \"secret:main:{key}\""),
            "2:8: invalid type: string, expected a sequence".to_owned(),
        ),
        (
            format!("keys = [{}]", format!("\"{KEY}\",").repeat(17)),
            "2:8: `auth.keys` is a list of 17; allowed: a list of at most 16 keys `ID:KEY`"
                .to_owned(),
        ),
        (
            "audience = \"a b\"".to_owned(),
            "2:12: `auth.audience` is \"a b\"; allowed: a name: letters, digits, `_`, `.` and `-`"
                .to_owned(),
        ),
        ("leeway_s = 601".to_owned(), "2:12: `auth.leeway_s` is 601; allowed: 0 to 600".to_owned()),
    ] {
        check_refused(&format!("[auth]\n{text}"), &expected);
    }
}

#[test]
fn rules_for_roles_and_methods_that_are_not_there_are_refused() {
    let many: String = (0..28).map(|index| format!("\"r{index}\",")).collect();
    load(&format!("auth.roles = [{many}]")).unwrap();
    let methods = |count: usize| {
        let names = (0..count).map(|index| format!("m{index}.roles = [\"user\"]\n"));
        format!("[methods]\n{}", names.collect::<String>())
    };
    load(&methods(1024)).unwrap();
    for (text, expected) in [
        (
            "auth.roles = [\"bard\", \"user\"]".to_owned(),
            "1:14: `auth.roles` is a list with `user`; allowed: roles that are not there already, \
             as `user`, `admin` and `worker` are",
        ),
        (
            "auth.roles = [\"the bard\"]".to_owned(),
            "1:14: `auth.roles` is a list with \"the bard\"; allowed: a list of at most 28 names",
        ),
        (
            format!("auth.roles = [{many}\"one-more\"]"),
            "1:14: `auth.roles` is a list of 29; allowed: a list of at most 28 names",
        ),
        (
            "tasks.methods = [\"dance\", \"set\"]".to_owned(),
            "1:17: `tasks.methods` is a list with `set`; allowed: methods that the server does not do \
             itself",
        ),
        (
            "[methods.create]\nroles = [\"bard\"]".to_owned(),
            "2:9: `methods.NAME.roles` is [\"bard\"] for `create`; allowed: `user`, `admin`, `worker` and \
             the roles of `auth.roles`",
        ),
        (
            "[methods.\"no name\"]\nroles = [\"user\"]".to_owned(),
            "1:10: `methods.NAME.roles` is [\"user\"] for `no name`; allowed: names of methods",
        ),
        (
            "[methods.dance]\nroles = [\"bard\"]".to_owned(),
            "2:9: `methods.NAME.roles` is [\"bard\"] for `dance`; allowed: `user`, `admin`, `worker` and \
             the roles of `auth.roles`",
        ),
        (
            methods(1025),
            "1001:1: `methods.NAME.roles` is [\"user\"] for `m999`; allowed: 1024 methods beside those \
             that the server does itself",
        ),
        (
            "[methods.login]\nroles = [\"user\"]".to_owned(),
            "1:10: `methods.NAME.roles` is [\"user\"] for `login`; the method is for everyone",
        ),
        (
            "[methods.create]\nrole = []".to_owned(),
            "2:1: unknown key `role`: did you mean `roles`?",
        ),
        (
            "[methods.set]\nack = \"durable\"".to_owned(),
            "2:7: `methods.NAME.ack` is \"durable\" for `set`; allowed: with `server.data`, where the \
             log is",
        ),
        (
            "[methods.set]\nack = \"replicated\"".to_owned(),
            "2:7: `methods.NAME.ack` is \"replicated\" for `set`; allowed: applied, durable",
        ),
        (
            "[methods.join]\nack = \"applied\"".to_owned(),
            "1:10: `methods.NAME.ack` is \"applied\" for `join`; allowed: for `create`, `set`, \
             `delete`, `new-event` and `cancel-event`",
        ),
        (
            "[methods.dance]\nack = \"applied\"".to_owned(),
            "1:10: `methods.NAME.ack` is \"applied\" for `dance`; there is no such method",
        ),
    ] {
        check_refused(&text, expected);
    }
}

#[test]
fn queues_must_hold_some_of_the_longest_frames() {
    check_refused(
        "[limits]\nsend_queue_bytes_max = 393215",
        "2:24: `limits.send_queue_bytes_max` is 393215; allowed: at least 393216, 6 times \
         `protocol.frame_bytes_max` (65536)",
    );
    check_refused(
        "[limits]\nmesh_staging_bytes_max = 262143",
        "2:26: `limits.mesh_staging_bytes_max` is 262143; allowed: at least 262144, 4 times \
         `protocol.frame_bytes_max` (65536)",
    );
    // The default is too small for the frames that the file allows.
    assert_eq!(
        load("[protocol]\nframe_bytes_max = 1048576").unwrap_err(),
        "warren.toml: `limits.send_queue_bytes_max` is 393216; allowed: at least 6291456, 6 \
         times `protocol.frame_bytes_max` (1048576)"
    );
}

#[test]
fn unproven_names_are_refused_where_other_machines_can_reach() {
    for (listen, refused) in [
        ("127.0.0.1:7171", false),
        ("127.9.9.9:7171", false),
        ("[::1]:7171", false),
        ("[::ffff:127.0.0.1]:7171", false),
        ("0.0.0.0:7171", true),
        ("[::]:7171", true),
        ("192.0.2.1:7171", true),
    ] {
        let text = format!("[server]\nlisten = \"{listen}\"");
        let overrides = Overrides { listen: Some(listen.parse().unwrap()), ..Overrides::default() };
        if refused {
            let message = load(&text).unwrap_err();
            assert!(
                message.starts_with(&format!("warren.toml:2:10: `server.listen` is {listen},")),
                "{message}"
            );
            assert!(load_with("", &overrides).is_err(), "{listen}");
        } else {
            load(&text).unwrap();
            load_with("", &overrides).unwrap();
        }
        load(&format!("{text}\n[auth]\ninsecure_open = true")).unwrap();
        load(&format!("{text}\n[auth]\nmode = \"ticket\"\nkeys = [\"{KEY}\"]")).unwrap();
        load_with("", &Overrides { insecure_open: true, ..overrides }).unwrap();
    }
}

#[test]
fn an_admin_endpoint_for_other_machines_needs_a_token_file() {
    check_refused(
        "[admin]\nlisten = \"0.0.0.0:7172\"",
        "2:10: `admin.listen` is 0.0.0.0:7172, which other machines can reach, and there is no \
         `admin.token_file`; allowed: a loopback address or a Unix socket, or a token file",
    );
    let text = "[admin]\nlisten = \"0.0.0.0:7172\"\ntoken_file = \"/t\"";
    assert!(load(text).unwrap().admin_listen.is_reachable());
    for listen in ["127.0.0.1:1", "[::1]:1", "unix:/run/s"] {
        load(&format!("[admin]\nlisten = {listen:?}")).unwrap();
    }
    let error = load("[admin]\nlisten = \"unix:run\"").unwrap_err();
    assert!(error.contains("the path behind `unix:` begins with `/`"), "{error}");
}

#[test]
fn admin_and_clients_have_addresses_of_their_own() {
    check_refused(
        "[admin]\nlisten = \"127.0.0.1:7171\"",
        "2:10: `admin.listen` is 127.0.0.1:7171; allowed: another address or port than \
         `server.listen`",
    );
    load("server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"").unwrap();
}

#[test]
fn a_missing_file_is_told_by_name() {
    let error = ServerConfig::load(Some(Path::new("/nowhere/w.toml")), &Overrides::default(), 1)
        .unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/w.toml: cannot be read: "), "{error}");
}

/// A default stands in the table as text, so it is written a second time there. `connections_max`
/// is not compared: a reactor that does not say has as many as the process may have descriptors.
#[test]
fn defaults_are_those_of_the_engine_and_the_reactor() {
    let config = ServerConfig::default();
    let limits = Limits::PRODUCTION;
    let reactor = ReactorSettings::default();
    let expected = LimitsConfig {
        connections_max: config.limits.connections_max,
        unauthenticated_max: reactor.unauthenticated_max,
        login_ms: reactor.login_ms,
        tickets_per_turn_max: limits.tickets_per_turn_max,
        unauthenticated_frame_bytes_max: reactor.unauthenticated_frame_bytes_max,
        frame_ms: reactor.frame_ms,
        rates: reactor.rates,
        worker_rates: reactor.worker_rates,
        send_queue_bytes_max: reactor.send_queue_bytes_max,
        send_queues_bytes_max: reactor.send_queues_bytes_max,
        partition_events_max: limits.partition_events_max,
        rooms_per_session_max: limits.rooms_per_session_max,
        presence_members_max: limits.presence_members_max,
        gather_members_min: limits.gather_members_min,
        gather_ms: limits.gather_ns / 1_000_000,
        fan_out: limits.fan_out,
        worlds_max: limits.worlds_max,
        world_tick_hz_max: limits.world_tick_hz_max,
        world_entities_max: limits.world_entities_max,
        world_npcs_max: limits.world_npcs_max,
        npcs_max: limits.npcs_max,
        world_bytes_per_s: limits.world_bytes_per_s,
        frame_stall_ms: limits.frame_stall_ns / 1_000_000,
        object_bytes_max: limits.object_bytes_max,
        objects_per_partition_max: limits.objects_per_partition_max,
        partition_bytes_max: limits.partition_bytes_max,
        state_bytes_max: limits.state_bytes_max,
        watches_per_session_max: limits.watches_per_session_max,
        mesh_staging_bytes_max: limits.mesh_staging_bytes_max,
        bans_max: config.limits.bans_max,
        connections_per_address_max: limits.connections_per_address_max,
        logins_per_minute_per_address: limits.logins_per_minute_per_address,
        logins_per_minute_per_account: limits.logins_per_minute_per_account,
        addresses_max: limits.addresses_max,
        detached_sessions_max: limits.detached_sessions_max,
        replay_messages_max: limits.replay_messages_max,
        replay_bytes_max: limits.replay_bytes_max,
        replay_links_max: limits.replay_links_max,
        tasks_per_partition_max: limits.tasks_per_partition_max,
        log_wait_bytes_max: limits.log_wait_bytes_max,
        replay_bytes_per_s: limits.replay_alone.per_s,
        room_grace_ms: limits.room_grace_ns / 1_000_000,
        join_creates_rooms: true,
    };
    assert_eq!(config.limits, expected);
    assert_eq!(config.npc_turn_us, limits.npc_turn_ns / 1000);
    assert_eq!(config.session_grace_ms, limits.session_grace_ns / 1_000_000);
    assert_eq!(limits.resume_bytes_max, config.limits.send_queue_bytes_max / 2);
    assert_eq!(limits.replay_alone.burst, limits.resume_bytes_max as u64);
    let expected = ReactorConfig {
        turn_interval_us: reactor.turn_interval_us,
        receive_buffers: reactor.receive_buffers,
        receive_buffer_bytes: reactor.receive_buffer_bytes,
    };
    assert_eq!(config.reactor, expected);
    assert_eq!(flash_policy_answer(&config.flash_policy), reactor.flash_policy);
    assert_eq!(config.gateway, reactor.gateway);
    assert_eq!(config.upgrade, reactor.upgrade);
    assert_eq!(config.heartbeat_ms, reactor.heartbeat_ms);
    assert_eq!(config.protocol_fixed, reactor.fixed_protocol);
    assert_eq!(config.proxies.as_slice(), &*reactor.proxies);
    let expected = TlsConfig {
        files: None,
        required: reactor.tls_required,
        handshakes_per_turn_max: reactor.tls_handshakes_per_turn_max,
    };
    assert_eq!(config.tls, expected);
}

/// The table and the sections come from one macro; this holds the defaults against the ranges.
#[test]
fn defaults_lie_in_their_ranges() {
    for key in KEYS {
        if let (Ok(default), Allowed::Range(..) | Allowed::PowerOfTwo(..) | Allowed::Multiple(..)) =
            (key.default.parse(), key.allowed)
        {
            assert!(key.allowed.has_number(default), "{}", key.path);
        }
        assert!(key.description.ends_with('.'), "{}", key.path);
    }
}

#[test]
fn every_key_of_the_table_is_known_to_the_file() {
    for key in KEYS {
        let value = match key.allowed {
            Allowed::Address => "\"127.0.0.1:1\"".to_owned(),
            Allowed::Endpoint => "\"unix:/s\"".to_owned(),
            Allowed::Folder | Allowed::File => "\"/d\"".to_owned(),
            Allowed::Switch => "true".to_owned(),
            Allowed::Range(min, _) | Allowed::PowerOfTwo(min, _) | Allowed::Multiple(_, min, _) => {
                min.to_string()
            }
            Allowed::Words(words) => format!("{:?}", words[0]),
            Allowed::Document(_) => "\"<a/>\"".to_owned(),
            Allowed::Origins => "[\"http://a\"]".to_owned(),
            Allowed::Name | Allowed::Schema => "\"name\"".to_owned(),
            Allowed::Connection => "\"host=db\"".to_owned(),
            Allowed::List(..) => "[]".to_owned(),
            Allowed::Variables(_) => "{}".to_owned(),
            Allowed::Url => "\"tcp://a:1\"".to_owned(),
        };
        // A minimum may be too small beside the other defaults, but it is no unknown key.
        if let Err(error) = load(&format!("{} = {value}", key.path.replace("NAME", "create"))) {
            let of_others = [
                "`protocol.frame_bytes_max`",
                "with `tls.",
                "with `server.data`",
                "`workers.NAME.",
            ];
            assert!(of_others.iter().any(|word| error.contains(word)), "{error}");
        }
    }
}

fn effective(text: &str, overrides: &Overrides) -> (ServerConfig, EffectiveConfig) {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("warren-keys-{}-{number}", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let loaded = EffectiveConfig::load(Some(&file), overrides, 3);
    std::fs::remove_file(file).unwrap();
    loaded.unwrap()
}

#[test]
fn workers_that_could_not_run_are_refused() {
    for (text, expected) in [
        (
            "[workers.a]\ncount = 2",
            "1:10: `workers.NAME.command` is of `a`; allowed: either `file` or `command`",
        ),
        (
            "[workers.a]\nfile = \"a.py\"\ncommand = [\"x\"]",
            "1:10: `workers.NAME.command` is of `a`; allowed: either `file` or `command`",
        ),
        (
            "[workers.a]\nfile = \"a.rb\"",
            "2:8: `workers.NAME.file` is \"a.rb\"; allowed: a file of Python (`.py`) \
             or a native library (`.so`)",
        ),
        (
            "[workers.a]\ncommand = []",
            "2:11: `workers.NAME.command` is []; allowed: a list of at most 64 words",
        ),
        (
            "[workers.\"a b\"]\nfile = \"a.py\"",
            "1:10: `workers.NAME.command` is of `a b`; allowed: names of at most 48 bytes",
        ),
        (
            "[workers.a]\nfile = \"a.py\"\ncount = 65",
            "3:9: `workers.NAME.count` is 65; allowed: 1 to 64",
        ),
        (
            "[workers.a]\nfile = \"a.py\"\nurl = \"http://a:1\"",
            "3:7: `workers.NAME.url` is \"http://a:1\"; allowed: tcp://host:port or tls://host:port",
        ),
        (
            "[workers.a]\nfile = \"a.py\"\nenvironment = { \"a=b\" = \"secret\" }",
            "3:15: `workers.NAME.environment` is a table with \"a=b\"; allowed: a table \
             `{ NAME = \"value\" }` of at most 64",
        ),
        (
            "[workers.a]\nfile = \"a.py\"\n[protocol]\nproxies = [\"127.0.0.0/8\"]",
            "1:10: `workers.NAME.url` is not there for `a`; allowed: with `url`, since \
             `protocol.proxies` has 127.0.0.1, where they would be",
        ),
        (
            "[auth]\nkeys = [\"server-own:gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q\"]",
            "2:8: `auth.keys` is a list with `server-own`; allowed: another id, since the server's \
             own key has this one",
        ),
    ] {
        check_refused(text, expected);
    }
    let elsewhere = "[workers.a]\nfile = \"a.py\"\nurl = \"tcp://127.0.0.2:1\"\n\
                     [protocol]\nproxies = [\"127.0.0.1\"]";
    assert!(load(elsewhere).is_ok());
}

#[test]
fn workers_where_tls_is_required_have_to_find_the_server_at_localhost() {
    let config = |listen: &str, url: &str, required: bool| {
        format!(
            "[workers.a]\nfile = \"a.py\"\n{url}[server]\nlisten = \"{listen}\"\n\
             [auth]\ninsecure_open = true\n\
             [tls]\ncertificate = \"c\"\nkey = \"k\"\nrequired = {required}\n"
        )
    };
    for listen in ["192.0.2.1:7171", "127.0.0.2:7171", "[2001:db8::7]:7171"] {
        let ip = listen.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
        let expected = format!(
            "1:10: `workers.NAME.url` is not there for `a`; allowed: with `url`, since \
             `tls.required` is true, and `localhost` is not {ip}, where the server listens"
        );
        check_refused(&config(listen, "", true), &expected);
        load(&config(listen, "url = \"tls://game.example.org:7171\"\n", true)).unwrap();
        load(&config(listen, "", false)).unwrap();
    }
    for listen in ["127.0.0.1:7171", "[::1]:7171", "0.0.0.0:7171", "[::]:7171"] {
        load(&config(listen, "", true)).unwrap();
    }
}

const SOME_KEYS: &str = "workers.a.file = \"a.py\"\nworkers.a.nice = 6\nmethods.create.roles = [\"admin\"]\nmethods.create.ack = \"applied\"\nmethods.say.roles = []\nserver.listen = \"127.0.0.1:1\"\nserver.data = \"/a\"\n\
                         [protocol.connserver]\nlegacy = true\n[limits]\nconnections_max = 7\n";

#[test]
fn the_effective_configuration_says_who_said_what() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:2".parse().unwrap()),
        insecure_open: true,
        ..Overrides::default()
    };
    let (_, effective) = effective(SOME_KEYS, &overrides);
    let told = |path| {
        let key = effective.keys.iter().find(|key| key.path == path).unwrap();
        (key.value.as_ref().map(ToString::to_string).unwrap_or_default(), key.source)
    };
    for (path, value, source) in [
        ("server.listen", "\"127.0.0.1:2\"", Source::CommandLine),
        ("server.data", "\"/a\"", Source::File),
        ("server.shards", "3", Source::Default),
        ("auth.insecure_open", "true", Source::CommandLine),
        ("protocol.fixed", "", Source::Default),
        ("protocol.connserver.legacy", "true", Source::File),
        ("protocol.connserver.strict", "false", Source::Default),
        ("limits.connections_max", "7", Source::File),
        ("log.level", "\"info\"", Source::Default),
        ("auth.roles", "[]", Source::Default),
        (
            "methods.NAME.roles",
            "{ create = { roles = [\"admin\"] }, say = { roles = [] } }",
            Source::File,
        ),
        ("methods.NAME.ack", "{ create = { ack = \"applied\" } }", Source::File),
    ] {
        assert_eq!(told(path), (value.to_owned(), source), "{path}");
    }
    assert_eq!(effective.keys.len(), KEYS.len());
}

#[test]
fn the_effective_configuration_is_the_one_that_holds() {
    let flags = Overrides {
        listen: Some("[::1]:2".parse().unwrap()),
        admin_listen: Some("127.0.0.3:3".parse().unwrap()),
        data: Some(PathBuf::from("/b \"c\"")),
        shards: Some(2),
        insecure_open: true,
    };
    for overrides in [Overrides::default(), flags] {
        for text in ["", SOME_KEYS] {
            let (config, shown) = effective(text, &overrides);
            let (again, read) = effective(&shown.to_string(), &Overrides::default());
            assert_eq!(again, config, "{shown}");
            assert_eq!(read.changes(&shown), <[&str; 0]>::default());
            assert!(
                read.keys.iter().all(|key| (key.source == Source::File) == key.value.is_some())
            );
        }
    }
}

#[test]
fn changes_are_told_by_key() {
    let (_, before) = effective(SOME_KEYS, &Overrides::default());
    let after = SOME_KEYS.replace("= 7", "= 8").replace("server.data = \"/a\"", "");
    let (_, after) = effective(&after, &Overrides::default());
    assert_eq!(before.changes(&after), ["server.data", "limits.connections_max"]);
}
