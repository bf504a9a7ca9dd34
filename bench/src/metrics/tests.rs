use std::net::{SocketAddr, TcpListener};

use super::*;

const METRICS: &str = "\
# HELP warren_turns Turns made.
# TYPE warren_turns counter
warren_turns_total{shard=\"0\"} 70
warren_turns_total{shard=\"1\"} 30
warren_allocations_total{shard=\"0\"} 5
warren_allocations_total{shard=\"1\"} 0
warren_ring_enters_total{shard=\"0\"} 40
warren_ring_enters_total_of_others{shard=\"0\"} 999
warren_messages_decoded_total{shard=\"0\"} 20
warren_deliveries_total 160
warren_world_moves_total{shard=\"0\"} 1
warren_world_moves_total{shard=\"1\"} 10
warren_world_ticks_total{shard=\"0\"} 2
warren_world_ticks_late_total{shard=\"0\"} 3
warren_world_ticks_skipped_total{shard=\"0\"} 4
warren_world_frames_total{shard=\"0\"} 5
warren_world_frames_missed_total{shard=\"0\"} 6
warren_world_frames_lost_total{shard=\"0\"} 7
warren_npc_updates_total{shard=\"0\"} 190
warren_npc_updates_total{shard=\"1\"} 8
warren_npc_carried_over_total{shard=\"1\"} 2
warren_npc_updates_unmoved_total{shard=\"0\"} 4
warren_plugin_thinks_total{plugin=\"a\"} 5
warren_plugin_strikes_total{plugin=\"a\"} 6
warren_plugin_disabled{plugin=\"a\"} 0
warren_plugin_disabled{plugin=\"b\"} 1
warren_npc_thinks_asked_total{shard=\"0\"} 12
warren_npc_thinks_lost_total{shard=\"0\"} 13
warren_npc_thinks_failed_total{shard=\"0\"} 14
warren_log_commits_total 4
warren_log_records_total 12
warren_log_record_bytes_total 900
warren_log_failures_total 1
warren_log_commit_seconds_total 0.25
warren_log_commit_seconds_max 0.125
warren_tls_connections{shard=\"0\"} 3
warren_tls_connections{shard=\"1\"} 4
# EOF
";

const COUNTS: Counts =
    Counts { allocations: 5, ring_enters: 40, messages: 20, deliveries: 160, turns: 100 };

#[test]
fn counts_are_those_of_all_shards() {
    assert_eq!(Counts::parse(METRICS).unwrap(), COUNTS);
}

#[test]
fn a_text_without_one_of_the_counts_is_refused_by_its_name() {
    for name in [
        "warren_turns_total",
        "warren_allocations_total",
        "warren_ring_enters_total",
        "warren_messages_decoded_total",
        "warren_deliveries_total",
    ] {
        let error = Counts::parse(&METRICS.replace(name, "warren_other")).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no {name}"));
    }
}

#[test]
fn lines_that_are_no_whole_number_of_that_name_are_no_sample() {
    for line in ["", "turns", "turns ", "turns x", "turns{shard=\"0\" 1", "turns{} -1", "turns_a 1"]
    {
        assert_eq!(sample(line, "turns"), None, "{line:?}");
    }
    for line in ["turns 7", "turns{shard=\"0\"} 7", "turns{shard=\"0\"} 7 1700000000"] {
        assert_eq!(sample(line, "turns"), Some(7), "{line:?}");
    }
}

#[test]
fn objects_are_those_of_all_shards_and_none_where_nothing_is_told() {
    let text = "warren_objects{shard=\"0\"} 7\nwarren_objects{shard=\"1\"} 2\n\
        warren_state_bytes{shard=\"0\"} 900\nwarren_changed_objects{shard=\"1\"} 4\n\
        warren_snapshot_objects_total 30\nwarren_snapshot_record_bytes_total 3000\n";
    let expected = StateCounts {
        objects: 9,
        state_bytes: 900,
        changed: 4,
        stored: 30,
        stored_record_bytes: 3_000,
    };
    assert_eq!(StateCounts::parse(text), expected);
    assert_eq!(StateCounts::parse(METRICS), StateCounts::default());
}

#[test]
fn what_is_counted_of_worlds_is_that_of_all_shards_in_between() {
    let counts = WorldCounts::parse(METRICS);
    let expected = WorldCounts {
        moves: 11,
        ticks: 2,
        ticks_late: 3,
        ticks_skipped: 4,
        frames: 5,
        frames_missed: 6,
        frames_lost: 7,
        npc_updates: 198,
        npc_carried_over: 2,
        npc_updates_unmoved: 4,
        plugin_thinks: 5,
        plugin_strikes: 6,
        plugins_disabled: 1,
        thinks_asked: 12,
        thinks_lost: 13,
        thinks_failed: 14,
    };
    assert_eq!(counts, expected);
    assert_eq!(counts.npcs_on_time(), Some(0.99));
    assert_eq!(WorldCounts::default().npcs_on_time(), None);
    assert_eq!(counts.since(&WorldCounts::default()), expected);
    assert_eq!(counts.since(&expected), WorldCounts::default());
    assert_eq!(WorldCounts::parse("warren_turns_total 1"), WorldCounts::default());
}

#[test]
fn work_is_what_was_counted_in_between() {
    let stored = |stored| StateCounts { stored, ..StateCounts::default() };
    let before = Reading { at_ns: 1_000_000_000, state: stored(5), ..Reading::default() };
    let after = Reading {
        at_ns: 3_000_000_000,
        counts: COUNTS,
        state: stored(12),
        tls_connections: 9,
        ..Reading::default()
    };
    let work = Work::between(&before, &after).unwrap();
    assert_eq!((work.stored, work.tls_connections), (7, 9));
    assert_eq!(work.allocations_per_message(), Some(0.25));
    assert_eq!(work.ring_enters_per_message(), Some(2.0));
    assert_eq!(work.ring_enters_per_delivery(), Some(0.25));
    assert_eq!(work.turns_per_s(), Some(50.0));
    assert!(Work::between(&after, &before).is_err(), "a server that has begun anew");

    let nothing = Work::between(&before, &before).unwrap();
    assert_eq!(nothing.allocations_per_message(), None);
    assert_eq!(nothing.turns_per_s(), None);
}

/// What comes of an admin endpoint that gives this answer.
fn take(answer: &str) -> Result<Reading> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        Reading::take(address)
    })
}

#[test]
fn metrics_are_read_from_the_admin_endpoint() {
    let reading = take(&format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{METRICS}")).unwrap();
    assert_eq!((reading.counts, reading.tls_connections), (COUNTS, 7));
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let other = format!("HTTP/1.0 404 Not Found\r\n\r\n{METRICS}");
    for answer in ["", "HTTP/1.0 200 OK", "HTTP/1.0 200 OK\r\n\r\nhello\n", &other] {
        assert!(take(answer).is_err(), "{answer:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let SocketAddr::V4(nobody) = nobody else { panic!("not IPv4") };
    assert!(Reading::take(nobody).is_err());
}

#[test]
fn reasons_are_read_by_their_names_and_summed_over_shards() {
    let before = Reasons::parse(
        "warren_refusals_total{shard=\"0\",reason=\"busy\"} 2\n\
         warren_refusals_total{shard=\"1\",reason=\"busy\"} 3\n\
         warren_closes_total{shard=\"0\",reason=\"busy\"} 1\n\
         warren_closes_total{shard=\"0\",reason=\"displaced\"} 0\n",
    );
    assert_eq!((before.of("busy"), before.total("busy")), ((5, 1), 6));
    assert_eq!(before.names().collect::<Vec<_>>(), ["busy"]);
    let after = Reasons::parse("warren_refusals_total{shard=\"0\",reason=\"busy\"} 9\n");
    let mut since = after.since(&before);
    assert_eq!(since.of("busy"), (4, 0));
    since.add(&before);
    assert_eq!(since.of("busy"), (9, 1));
}

#[test]
fn what_the_log_did_is_read_and_without_a_log_it_is_nothing() {
    let log = LogCounts { commits: 4, records: 12, bytes: 900, failures: 1, commit_s: 0.25 };
    assert_eq!(LogCounts::parse(METRICS), log);
    assert_eq!(LogCounts::parse("warren_turns_total 5\n"), LogCounts::default());
    let earlier = LogCounts { commits: 1, commit_s: 0.125, ..LogCounts::default() };
    let since = LogCounts { commits: 3, commit_s: 0.125, ..log };
    assert_eq!(log.since(&earlier), since);
}

#[test]
fn a_server_is_at_rest_without_sessions_and_ready_with_a_worker_on_each_shard() {
    let of = |name: &str, counts: [u32; 2]| {
        let [first, second] = counts;
        format!("{name}{{shard=\"0\"}} {first}\n{name}{{shard=\"1\"}} {second}\n")
    };
    let sessions = |counts| sessions_left(&of("warren_sessions", counts)).unwrap();
    assert_eq!(sessions([0, 0]), None);
    assert_eq!(sessions([0, 3]).unwrap(), "3 sessions of a phase did not end");
    let workers = |counts| workers_missing(&of("warren_task_workers", counts)).unwrap();
    assert_eq!(workers([1, 2]), None);
    assert_eq!(workers([1, 0]).unwrap(), "no worker is known to all shards");
    assert!(sessions_left(METRICS).is_err() && workers_missing(METRICS).is_err());
}
