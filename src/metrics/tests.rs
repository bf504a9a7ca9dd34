use std::sync::Arc;

use super::*;

fn report<'a>(
    monotonic_ns: u64,
    turn: &'a TurnCounters,
    shard: &'a ShardCounters,
    net: &'a NetCounters,
) -> TurnReport<'a> {
    TurnReport { monotonic_ns, turn, shard, net }
}

#[test]
fn durations_fall_into_the_bucket_that_ends_at_or_above_them() {
    for (duration_ns, bucket) in [
        (0, 0),
        (1, 0),
        (1_000, 0),
        (1_001, 1),
        (2_000, 1),
        (2_001, 2),
        (4_000, 2),
        (4_001, 3),
        (1_000_000, 10),
        (1_024_000, 10),
        (1_024_001, 11),
        (1_048_576_000, 20),
        (1_048_576_001, 21),
        (u64::MAX, 21),
    ] {
        let mut histogram = DurationHistogram::default();
        histogram.record(duration_ns);
        let found = histogram.buckets.iter().position(|count| *count == 1);
        assert_eq!(found, Some(bucket), "{duration_ns} ns");
        assert_eq!(histogram.sum_ns, duration_ns);
    }
}

#[test]
fn a_published_turn_stands_in_the_exposition() {
    let state = Arc::new(ServerState::new(2, || 0));
    let mut turn = TurnCounters { mesh_staged_bytes: 11, ..TurnCounters::default() };
    turn.turn_time.record(1_500);
    turn.turn_time.record(3_000);
    turn.turn_interval.record(2_000_000_000);
    let mut shard = ShardCounters { events: 21, sessions: 22, ..ShardCounters::default() };
    shard.refusals[Reason::Busy as usize] = 1;
    let mut net = NetCounters { sends: 31, connections_undetected: 32, ..NetCounters::default() };
    net.refusals[Reason::Busy as usize] = 2;
    net.closes[Reason::Quit as usize] = 33;
    net.connections[Protocol::Json as usize] = 34;
    state.shard(1).publish(&report(1, &turn, &shard, &net));

    let text = text(&state, Vec::new());
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &format!("warren_build_info{{version=\"{version}\"}} 1"),
        "# TYPE warren_turn_seconds histogram",
        "warren_turn_seconds_sum{shard=\"1\"} 0.0000045",
        "warren_turn_seconds_count{shard=\"1\"} 2",
        "warren_turn_seconds_bucket{le=\"0.000001\",shard=\"1\"} 0",
        "warren_turn_seconds_bucket{le=\"0.000002\",shard=\"1\"} 1",
        "warren_turn_seconds_bucket{le=\"0.000004\",shard=\"1\"} 2",
        "warren_turn_seconds_bucket{le=\"+Inf\",shard=\"1\"} 2",
        "warren_turn_interval_seconds_bucket{le=\"1.048576\",shard=\"1\"} 0",
        "warren_turn_interval_seconds_bucket{le=\"+Inf\",shard=\"1\"} 1",
        "warren_turns_total{shard=\"1\"} 2",
        "# TYPE warren_events counter",
        "warren_events_total{shard=\"0\"} 0",
        "warren_events_total{shard=\"1\"} 21",
        "# TYPE warren_sessions gauge",
        "warren_sessions{shard=\"1\"} 22",
        "warren_mesh_staged_bytes{shard=\"1\"} 11",
        "warren_sends_total{shard=\"1\"} 31",
        "warren_refusals_total{shard=\"1\",reason=\"busy\"} 3",
        "warren_refusals_total{shard=\"0\",reason=\"busy\"} 0",
        "warren_closes_total{shard=\"1\",reason=\"quit\"} 33",
        "warren_connections{shard=\"1\",protocol=\"json\"} 34",
        "warren_connections{shard=\"1\",protocol=\"undetected\"} 32",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_metric_is_described_once() {
    let text = text(&Arc::new(ServerState::new(1, || 0)), Vec::new());
    let mut described: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let count = described.len();
    described.sort_unstable();
    described.dedup();
    assert_eq!(described.len(), count);
    assert!(count > SCALARS.len());
}

#[test]
fn a_shard_that_makes_no_turns_is_told_with_the_age_of_its_last() {
    let now_ns = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&now_ns);
    let state = ServerState::new(2, move || clock.load(Relaxed));
    let counters = (TurnCounters::default(), ShardCounters::default(), NetCounters::default());

    now_ns.store(1_000 + TURN_AGE_NS_MAX, Relaxed);
    assert_eq!(state.stalled_shards(), []);
    now_ns.fetch_add(1, Relaxed);
    state.shard(0).publish(&report(2_000, &counters.0, &counters.1, &counters.2));
    assert_eq!(
        state.stalled_shards(),
        [StalledShard { index: 1, turn_age_ns: TURN_AGE_NS_MAX + 1 }]
    );
    // A shard that has ended in a drain is not stuck, however long its state takes to store.
    state.shard(1).end();
    now_ns.store(2_000 + TURN_AGE_NS_MAX, Relaxed);
    assert_eq!(state.stalled_shards(), []);
}

#[test]
fn phases_are_read_as_they_were_set() {
    let state = ServerState::new(1, || 0);
    assert_eq!(state.phase(), Phase::Starting);
    for phase in [Phase::Serving, Phase::Draining, Phase::Starting] {
        state.set_phase(phase);
        assert_eq!(state.phase(), phase);
    }
}
