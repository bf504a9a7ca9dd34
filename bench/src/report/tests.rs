use super::*;
use crate::generator::control::Counters;
use crate::histogram::Latencies;
use crate::ledger::{Account, WorldTally};
use crate::metrics::export::ExportCounts;
use crate::metrics::{LogCounts, WorldCounts};
use crate::profile::ai::Wander;
use crate::profile::{chat, crowd, idle};
use crate::turn_times::TurnTimes;
use crate::wire::Protocol;

fn circumstances() -> Circumstances {
    Circumstances {
        profile: chat::profile(8, 10_000_000_000),
        users: 1_000,
        duration_s: 30,
        warm_up_s: 10,
        protocol: "binary",
        tls: false,
        shards: Some(2),
        pinning: Pinning { server: vec![0, 1], generators: vec![2], shared: false },
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 3,
            kernel: "6.18".to_owned(),
            memory_mib: 1,
        },
    }
}

fn memory(anonymous_bytes: u64) -> memory::Reading {
    let kernel_tcp_bytes = anonymous_bytes / 2;
    memory::Reading {
        anonymous_bytes,
        resident_bytes: 5_000_000,
        kernel_tcp_bytes,
        available_bytes: 9_000_000,
    }
}

fn played_second(latency_ns: u64) -> crate::generator::series::Second {
    let mut second = crate::generator::series::Second {
        sent: 5,
        heard: 40,
        bytes_sent: 1_024,
        bytes_received: 8_192,
        ..Default::default()
    };
    second.latencies.record_ns(latency_ns);
    second
}

/// A second in which each of two shards used this much.
fn server_second(cpu_ns: u64) -> seconds::ServerSecond {
    let used = |name: &str| ThreadUse { name: name.to_owned(), count: 1, cpu_ns };
    let threads = ["shard-0", "shard-1", "writer"].map(used).into();
    seconds::ServerSecond { threads, elapsed_ns: 1_000_000_000 }
}

/// A server that took half a core for 10 s.
fn outcome() -> Outcome {
    let mut latencies = Latencies::default();
    latencies.record_ns(1_000_000);
    let thread = ThreadUse { name: "shard".to_owned(), count: 2, cpu_ns: 5_000_000_000 };
    Outcome {
        worlds: WorldTally { watched: 500, frames_missing: 3, ..WorldTally::default() },
        account: Account { sent: 10, expected: 80, delivered: 80, ..Account::default() },
        latencies,
        lateness: Latencies::default(),
        line_latencies: Latencies::default(),
        has_npcs: false,
        counters: Counters::default(),
        seconds: vec![played_second(1_000_000), played_second(2_000_000)],
        server_seconds: vec![server_second(500_000_000), server_second(250_000_000)],
        generator_cpu: 0.2,
        server_threads: Some(vec![thread]),
        elapsed_ns: 10_000_000_000,
        moves_taken: None,
        is_floor: false,
        server_work: Ok(Work {
            counts: Counts {
                allocations: 5,
                ring_enters: 20,
                messages: 100,
                deliveries: 800,
                turns: 3_000,
            },
            elapsed_ns: 10_000_000_000,
            turn_times: TurnTimes::default(),
            stored: 0,
            log: LogCounts::default(),
            export: ExportCounts::default(),
            worlds: WorldCounts { ticks: 70, ..WorldCounts::default() },
            tls_connections: 999,
        }),
        memory: Ok(memory::Course {
            before: memory(1_000_000),
            connected: memory(2_024_000),
            end: memory(3_000_000),
        }),
        foreign_cores: Some(0.0),
        ramp_ns: 1,
        sets: None,
        storm: None,
    }
}

fn floor(cpu_ns: u64) -> FloorReport {
    let mut floor = outcome();
    floor.server_threads.as_mut().unwrap()[0].cpu_ns = cpu_ns;
    FloorReport::new(&circumstances(), &floor)
}

#[test]
fn the_keys_that_others_read_are_there() {
    let report = Report::new("server", circumstances(), &outcome(), Some(floor(2_500_000_000)));
    let json = serde_json::to_value(&report).unwrap();
    for (key, value) in [
        ("profile", "\"chat\""),
        ("users", "1000"),
        ("duration_s", "30.0"),
        ("message_rate_hz", "0.1"),
        ("neighbours", "7"),
        ("payload_bytes", "64"),
        ("tick_hz", "null"),
        ("bound_ms", "100.0"),
        ("server_cpu_us_per_user_s", "500.0"),
        ("users_per_core", "500.0"),
        ("limited_by", "null"),
        ("floor_ratio", "2.0"),
        ("lost", "0"),
        ("duplicated", "0"),
        ("corrupted", "0"),
        ("disconnects", "0"),
        ("generator_cpu", "0.2"),
        ("server_allocations_per_message", "0.05"),
        ("server_ring_enters_per_message", "0.2"),
        ("server_ring_enters_per_delivery", "0.025"),
        ("server_turns_per_s", "300.0"),
        ("server_memory_per_session_bytes", "1024.0"),
        ("kernel_memory_per_connection_bytes", "512.0"),
        ("tls", "false"),
        ("heartbeat_ms", "10000"),
        ("heartbeats_missing", "0"),
        ("heartbeats_surplus", "0"),
        ("verdict", "\"pass\""),
    ] {
        assert_eq!(json.get(key).map(ToString::to_string).as_deref(), Some(value), "{key}");
    }
    for key in ["p50", "p99", "p999", "max"] {
        assert!(json["latency_us"][key].is_f64(), "{key}");
    }
}

#[test]
fn users_per_core_are_told_only_when_they_were_held() {
    let mut lossy = outcome();
    lossy.account.lost = 1;
    let mut busy = outcome();
    busy.generator_cpu = 0.95;
    let mut unknown = outcome();
    unknown.server_threads = None;
    for (outcome, limit) in
        [(lossy, Limit::Integrity), (busy, Limit::Generator), (unknown, Limit::ServerUnknown)]
    {
        let report = Report::new("server", circumstances(), &outcome, None);
        assert_eq!((report.users_per_core, report.limited_by), (None, Some(limit)));
    }
}

#[test]
fn a_server_that_ran_already_has_as_many_cores_as_shards_or_no_known_number() {
    let unknown = Some(Limit::ServerUnknown);
    for (shards, users_per_core, limited_by) in
        [(Some(4), Some(250.0), None), (Some(0), None, unknown), (None, None, unknown)]
    {
        let ours = circumstances();
        let pinning = ours.pinning.clone().of_generators_only();
        let report =
            Report::new("server", Circumstances { shards, pinning, ..ours }, &outcome(), None);
        assert_eq!((report.users_per_core, report.limited_by), (users_per_core, limited_by));
        assert_eq!(report.verdict, Verdict::Pass);
        let table = report.to_table();
        assert!(table.contains("server not bound by this run, generators [2]\n"), "{table}");
        assert_eq!(table.contains("users per core          not known\n"), shards != Some(4));
    }
}

#[test]
fn what_the_server_counted_is_null_with_the_reason_when_it_cannot_be_read() {
    let mut silent = outcome();
    silent.server_work = Err("nobody answers".to_owned());
    let report = Report::new("server", circumstances(), &silent, None);
    let json = serde_json::to_value(&report).unwrap();
    for key in [
        "server_allocations_per_message",
        "server_ring_enters_per_message",
        "server_ring_enters_per_delivery",
        "server_turns_per_s",
        "server_counts",
    ] {
        assert!(json[key].is_null() && json.get(key).is_some(), "{key}");
    }
    assert_eq!(json["server_counts_missing"], "nobody answers");
    assert!(report.to_table().contains("note: the server's work is not known: nobody answers\n"));
}

#[test]
fn memory_is_null_with_the_reason_when_it_cannot_be_read() {
    let mut silent = outcome();
    silent.memory = Err("it is somebody else's".to_owned());
    let report = Report::new("server", circumstances(), &silent, None);
    let json = serde_json::to_value(&report).unwrap();
    for key in
        ["server_memory_per_session_bytes", "kernel_memory_per_connection_bytes", "server_memory"]
    {
        assert!(json[key].is_null() && json.get(key).is_some(), "{key}");
    }
    assert_eq!(json["server_memory_source"], "it is somebody else's");
    let note = "note: the server's memory is not known: it is somebody else's\n";
    assert!(report.to_table().contains(note));
}

#[test]
fn a_bound_that_a_profile_does_not_have_is_not_told() {
    let crowd = Circumstances { profile: crowd::profile(1_000, 1), ..circumstances() };
    let report = Report::new("server", crowd, &outcome(), None);
    assert_eq!((report.bound_p50_ms, report.bound_ms, report.neighbours), (None, 250.0, 999));
    assert_eq!(report.message_rate_hz, 0.01);
    assert!(report.to_table().contains("latency bound           p99 250 ms\n"));
    let json =
        Circumstances { profile: idle::profile(Protocol::Json, 2_000_000_000), ..circumstances() };
    let report = Report::new("server", json, &outcome(), None);
    assert_eq!((report.message_rate_hz, report.neighbours), (0.05, 0));
    assert!(report.to_table().contains("neighbours              none: users ping"));
}

#[test]
fn a_ratio_needs_two_figures_that_may_be_given() {
    let ratio = |outcome: &Outcome, floor| {
        Report::new("server", circumstances(), outcome, floor).floor_ratio
    };
    assert_eq!(ratio(&outcome(), None), None);
    assert_eq!(ratio(&outcome(), Some(floor(0))), None);
    let mut bound = floor(1_000);
    bound.verdict = Verdict::GeneratorBound;
    assert_eq!(ratio(&outcome(), Some(bound)), None);
    let mut busy = outcome();
    busy.generator_cpu = 0.95;
    assert_eq!(ratio(&busy, Some(floor(1_000))), None);
    assert_eq!(ratio(&outcome(), Some(floor(5_000_000_000))), Some(1.0));
}

#[test]
fn the_table_says_what_was_played_and_what_came_of_it() {
    let mut faulty = outcome();
    faulty.account.lost = 3;
    let table = Report::new("server", circumstances(), &faulty, Some(floor(1_000))).to_table();
    for text in [
        "message rate            0.1 Hz a user\n",
        "neighbours              7 others",
        "payload                 64 B\n",
        "tick rate               no ticks\n",
        "latency bound           p50 5 ms, p99 100 ms\n",
        "latency                 p50 1.0",
        "server CPU              500.00 us a user and s\n",
        "server memory           1.00 KiB a session (1.0 MiB before, 1.9 with all, 2.9 at the end); \
         kernel 0.50 KiB a connection\n",
        "heartbeats              0 heard, due every 10000 ms, 0 missing, 0 too many\n",
        "server work             0.050 allocations a message, 0.200 ring enters a message, \
         0.025 a delivery, 300 turns a s\n",
        "none held, limited by integrity\n",
        "verdict: fail\n  3 deliveries lost\n",
    ] {
        assert!(table.contains(text), "{text} in\n{table}");
    }
}

#[test]
fn tls_is_told_with_the_connections_in_it_and_that_the_floor_has_none() {
    let secure = || Circumstances { tls: true, ..circumstances() };
    let note = "note: the floor is without TLS";
    let report = Report::new("server", secure(), &outcome(), Some(floor(1_000)));
    assert_eq!((report.tls, report.server_tls_connections), (true, Some(999)));
    let table = report.to_table();
    for text in [
        "chat over binary in TLS, 1000 users",
        "TLS                     999 of 1000 connections by the server's count, within 0.0 s\n",
        note,
    ] {
        assert!(table.contains(text), "{text} in\n{table}");
    }
    let alone = Report::new("server", secure(), &outcome(), None).to_table();
    assert!(!alone.contains(note), "{alone}");
    let plain = Report::new("server", circumstances(), &outcome(), Some(floor(1_000))).to_table();
    assert!(!plain.contains("TLS"), "{plain}");
    let mut silent = outcome();
    silent.server_work = Err("nobody answers".to_owned());
    let silent = Report::new("server", secure(), &silent, None);
    assert_eq!(silent.server_tls_connections, None);
    assert!(!silent.to_table().contains("\nTLS "));
}

#[test]
fn the_latencies_are_kept_beside_the_json() {
    let path = std::env::temp_dir().join(format!("warren-report-{}.json", std::process::id()));
    let outcome = outcome();
    Report::new("server", circumstances(), &outcome, None).write(&path, &outcome).unwrap();
    let hgrm = path.with_extension("hgrm");
    assert!(fs::read_to_string(&path).unwrap().starts_with("{\n  \"profile\": \"chat\""));
    assert!(fs::read_to_string(&hgrm).unwrap().contains("Percentile"));
    fs::remove_file(path).unwrap();
    fs::remove_file(hgrm).unwrap();
}

#[test]
fn the_measured_part_is_told_second_by_second_and_the_curve_with_its_floor_s() {
    let report = Report::new("server", circumstances(), &outcome(), Some(floor(1_000)));
    let json = serde_json::to_value(&report).unwrap();
    let seconds = json["seconds"].as_array().unwrap();
    assert_eq!(seconds.len(), 2, "{json}");
    assert_eq!(seconds[1]["heard"], 40);
    assert_eq!(seconds[1]["server_cpu_cores"]["shard-1"], 0.25);
    assert!((1_900.0..2_100.0).contains(&seconds[1]["p99_us"].as_f64().unwrap()), "{json}");
    for curve in [&json["latency_curve_us"], &json["floor"]["latency_curve_us"]] {
        assert_eq!(curve.as_array().unwrap().last().unwrap()[0], 1.0, "{json}");
    }
}

#[test]
fn the_page_says_what_was_played_on_what_and_what_came_of_it() {
    let mut faulty = outcome();
    faulty.account.lost = 3;
    let page = Report::new("server", circumstances(), &faulty, Some(floor(1_000))).to_html();
    for text in [
        "<h1>chat over binary: 1000 users</h1>",
        "<span class=\"verdict fail\">fail</span>",
        "<li>3 deliveries lost</li>",
        "<dt>message rate</dt><dd>0.1 Hz a user</dd>",
        "<dt>neighbours</dt><dd>7 others hear each message</dd>",
        "<dt>payload</dt><dd>64 B</dd>",
        "<dt>tick rate</dt><dd>no ticks</dd>",
        "<dt>latency bound</dt><dd>p50 5 ms, p99 100 ms</dd>",
        "<dt>machine</dt><dd>a processor, 3 cores, 1 MiB, Linux 6.18</dd>",
        "<small>users per core</small><b>–</b><small>limited by integrity</small>",
        ">Latency over time<",
        ">Latency by percentile<",
        "</i>floor</span>",
        ">CPU by shard<",
        "</i>shard-1</span>",
        ">Bytes<",
        "<title>second 2: 8 KiB to users, 1 KiB from them; 40 messages heard, 5 said</title>",
        "bound on p99 100 ms",
        "<code>",
    ] {
        assert!(page.contains(text), "{text} in\n{page}");
    }
    // No turns were counted.
    assert!(!page.contains("Turns of the shards") && !page.contains("<script"), "{page}");
}

#[test]
fn the_page_has_turns_by_their_length_and_many_shards_in_one_colour() {
    let bucket = |end: &str, count| {
        format!("warren_turn_seconds_bucket{{le=\"{end}\",shard=\"0\"}} {count}\n")
    };
    let turns = [bucket("0.000512", 70), bucket("0.002048", 90), bucket("+Inf", 100)].concat();
    let mut busy = outcome();
    busy.server_work.as_mut().unwrap().turn_times = TurnTimes::parse(&turns);
    let thread = |shard| ThreadUse { name: format!("shard-{shard}"), count: 1, cpu_ns: 1 };
    busy.server_seconds[0].threads = (0..9).map(thread).collect();
    let report = Report::new("server", circumstances(), &busy, None);
    let turns = vec![(Some(512.0), 70), (Some(2_048.0), 20), (None, 10)];
    assert_eq!(report.server_turn_times, turns);
    let page = report.to_html();
    for text in ["Turns of the shards", "2ms: 20 turns, 20.000 %", "</i>each shard</span>"] {
        assert!(page.contains(text), "{text} in\n{page}");
    }
    assert!(!page.contains("</i>shard-1</span>"), "{page}");
}

#[test]
fn worlds_are_told_by_member_and_second() {
    let profile = crate::profile::walk::profile(50, 10_000_000_000);
    let circumstances = Circumstances { profile, duration_s: 2, ..circumstances() };
    let mut outcome = outcome();
    for second in &mut outcome.seconds {
        (second.frames, second.entities, second.bytes_received) = (10_000, 490_000, 4_800_000);
    }
    outcome.server_work.as_mut().unwrap().worlds.ticks_skipped = 2;
    let report = Report::new("server", circumstances, &outcome, None);
    let worlds = report.worlds.as_ref().unwrap();
    assert_eq!(worlds.frames_per_member_s, 10.0);
    assert_eq!(worlds.entities_per_member_s, 490.0);
    assert_eq!(worlds.bytes_per_member_s, 4_800.0);
    assert_eq!((worlds.frames_missing, worlds.members_watched), (3, 500));
    assert_eq!((report.latency_sample, report.neighbours), (0.5, 49));
    assert_eq!(worlds.server.unwrap().ticks, 70);
    assert_eq!(report.limited_by, Some(Limit::Ticks));
    let table = report.to_table();
    for text in [
        "10.00 frames, 490.0 entities, 4800 bytes (at most 65536)",
        "2 skipped",
        "49 others in view",
    ] {
        assert!(table.contains(text), "{text} in {table}");
        assert!(report.to_html().contains(text), "{text}");
    }
}

#[test]
fn whether_ticks_were_skipped_is_known_by_metrics_or_by_the_floors_frames() {
    for (is_floor, limit) in [(false, Some(Limit::Ticks)), (true, None)] {
        let profile = crate::profile::walk::profile(50, 10_000_000_000);
        let circumstances = Circumstances { profile, ..circumstances() };
        let server_work = Err("nobody told".to_owned());
        let outcome = Outcome { is_floor, server_work, ..outcome() };
        let report = Report::new("server", circumstances, &outcome, None);
        assert_eq!(report.limited_by, limit, "{:?}", report.reasons);
    }
}

/// A storm from which 40 of 1,000 users did not come back, or all.
fn storm_report(missing: u32) -> Report {
    let mut report = crate::generator::control::StormReport {
        back: 1_000 - missing,
        replayed: 77,
        lines_held: 5,
        lines_said_again: 3,
        ..Default::default()
    };
    report.refusals.insert("busy".to_owned(), 12);
    report.line_latencies.record_ns(4_000_000);
    let weathered = crate::phase::storm::Weathered {
        report,
        all_back_ns: 3_200_000_000,
        missing,
        all_caught_up_ns: 3_300_000_000,
        behind: missing / 20,
        generator_cpu: 0.5,
        server_cpu_ns: Some(96_000_000),
        memory_peaks: Ok([10 << 20, 20 << 20].map(|resident_bytes| memory::Peak { resident_bytes })),
        turns: Err("nobody told".to_owned()),
    };
    let profile = crate::profile::storm::profile(8, 10_000_000_000);
    let circumstances = Circumstances { profile, ..circumstances() };
    Report::new("server", circumstances, &Outcome { storm: Some(weathered), ..outcome() }, None)
}

#[test]
fn a_storm_is_told_in_json_table_and_page() {
    let report = storm_report(40);
    assert_eq!((report.verdict, report.limited_by), (Verdict::Fail, Some(Limit::Integrity)));
    let json = serde_json::to_value(&report).unwrap();
    for (key, value) in [
        ("users_back", "960"),
        ("users_missing", "40"),
        ("all_back_s", "null"),
        ("users_behind", "2"),
        ("all_caught_up_s", "null"),
        ("bound_all_back_s", "5.0"),
        ("refusals", "{\"busy\":12}"),
        ("replayed", "77"),
        ("lines_held", "5"),
        ("lines_said_again", "3"),
        ("server_cpu_us_per_resume", "100.0"),
        ("memory_peak_before_bytes", "10485760"),
        ("memory_peak_bytes", "20971520"),
        ("turns", "null"),
        ("missing", "[\"nobody told\"]"),
    ] {
        assert_eq!(json["storm"][key].to_string(), value, "{key}");
    }
    for text in [report.to_table(), report.to_html()] {
        for told in [
            "40 missing after the cut, with what they missed 2 behind, bound 5 s",
            "12 busy",
            "77 told again, 5 held while away, 3 said again",
            "100.0 us CPU a resume",
            "at most 10.0 MiB before and 20.0 from",
            "all back within 5 s of a cut",
            "nobody told",
        ] {
            assert!(text.contains(told), "{told} in {text}");
        }
    }
    let report = storm_report(0);
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    assert!(
        report.to_table().contains("3.20 s after the cut, with what they missed 3.30 s, bound 5 s")
    );
    let plain = Report::new("server", circumstances(), &outcome(), None);
    assert!(plain.storm.is_none() && !plain.to_html().contains("all back"));
}

#[test]
fn npcs_and_lines_are_told_where_there_are_npcs() {
    let profile = crate::profile::ai::profile(50, Wander::BuiltIn, 10_000_000_000);
    let circumstances = Circumstances { profile, duration_s: 2, ..circumstances() };
    let mut outcome = Outcome { has_npcs: true, ..outcome() };
    for second in &mut outcome.seconds {
        (second.entities, second.npcs) = (2_490_000, 2_000_000);
    }
    outcome.worlds = WorldTally { moves: 4, npcs_missing: 5, npcs_still: 6, ..outcome.worlds };
    outcome.line_latencies.record_ns(2_000_000);
    let counts = &mut outcome.server_work.as_mut().unwrap().worlds;
    (counts.npc_updates, counts.npc_carried_over) = (98, 2);
    (counts.thinks_asked, counts.thinks_lost, counts.thinks_failed) = (40, 7, 8);
    let report = Report::new("server", circumstances, &outcome, None);
    assert_eq!(report.limited_by, Some(Limit::Npcs));
    let json = serde_json::to_value(&report).unwrap();
    for (key, value) in [
        ("npcs_per_world", "200"),
        ("npcs_per_member_s", "2000.0"),
        ("npcs_missing", "5"),
        ("npcs_still", "6"),
        ("npcs_on_time", "0.98"),
        ("lines_sent", "6"),
    ] {
        assert_eq!(json["worlds"]["ai"][key].to_string(), value, "{key}");
    }
    let told = [
        "49 others and 200 NPCs in view",
        "28 B a move, and a line of 64 B every 2 s",
        "200 a world, 2000.0 told a member and second, 5 missing, 6 still; 98.00 % moved in time",
        "6 said, p50 2.0",
        "40 times, 7 lost, 8 failed",
        "limited by npcs",
    ];
    for text in told {
        assert!(report.to_table().contains(text), "{text} in {}", report.to_table());
        assert!(report.to_html().contains(text), "{text}");
    }
    // NPCs that were not moved at all were not moved in time.
    outcome.server_work.as_mut().unwrap().worlds = WorldCounts::default();
    assert_eq!(outcome.npcs_on_time(), Some(0.0));
    outcome.server_work = Err("nobody knows".to_owned());
    assert_eq!(outcome.npcs_on_time(), None);
}
