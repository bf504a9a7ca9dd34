use super::*;

/// A run in which nothing went wrong, but for what `change` does to it.
fn judged(is_alive: bool, change: impl FnOnce(&mut ScenarioReport)) -> ScenarioReport {
    let mut report = ScenarioReport::new(Parts {
        scenario: Scenario::FirstPackets,
        users: 100,
        profile: "chat".to_owned(),
        period_ms: 1_000,
        shards: 1,
        settings: Vec::new(),
        baseline: Phase::default(),
        attacked: Phase::default(),
        attack: AttackReport { elapsed_ns: 1_000, ..AttackReport::default() },
        reasons: Reasons::default(),
        is_alive: true,
        bomb_us: Some(9.0),
        comes_first: true,
    });
    report.comparisons[2].server_ratio = Some(1.05);
    report.comparisons.drain(..2);
    report.comparisons[1].server_ratio = Some(9.0);
    change(&mut report);
    report.judge(is_alive);
    report
}

fn heard(reason: &str, count: u64) -> BTreeMap<String, BTreeMap<String, u64>> {
    let reasons = BTreeMap::from([(reason.to_owned(), count)]);
    BTreeMap::from([("all".to_owned(), reasons)])
}

#[test]
fn nothing_wrong_is_a_pass() {
    let report = judged(true, |_| {});
    assert_eq!((report.verdict, report.faults.len()), (Verdict::Pass, 0), "{:?}", report.faults);
}

#[test]
fn every_rule_that_is_broken_is_told() {
    type Change = fn(&mut ScenarioReport);
    let cases: &[(&str, Change)] = &[
        ("p99 by second is 1.11", |report| report.comparisons[0].server_ratio = Some(1.11)),
        ("p99 by second: nothing", |report| report.comparisons[0].server_ratio = None),
        ("lost 1", |report| report.attacked.lost = 1),
        ("1 legal users were cut", |report| report.baseline.disconnects = 1),
        ("refused", |report| {
            report.attacked.refused.insert("busy".to_owned(), 1);
        }),
        ("memory", |report| report.attacked.server_resident_peak_bytes = 1 << 40),
        ("without a reason: noise", |report| {
            report.attack.untold.insert("noise".to_owned(), 2);
        }),
        ("a bomb took", |report| report.bomb_us = Some(1_000.1)),
        ("busy: 1 heard, 0 counted", |report| report.attack.reasons = heard("busy", 1)),
    ];
    for (words, change) in cases {
        let report = judged(true, change);
        assert_eq!(report.verdict, Verdict::Fail, "{words}");
        let told = if words.starts_with("p99") { &report.timings } else { &report.faults };
        assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:?}");
        assert_eq!(report.faults.len() + report.timings.len(), 1, "{words}");
    }
    let report = judged(false, |_| {});
    assert_eq!(report.faults, ["the server does not serve any more"]);
}

#[test]
fn busy_generators_take_the_word_from_latencies_alone() {
    let busy = |report: &mut ScenarioReport| {
        report.attacked.generator_cpu = 0.5;
        report.attack.cpu_ns = 500;
        report.comparisons[0].server_ratio = Some(3.0);
    };
    assert_eq!(judged(true, busy).verdict, Verdict::GeneratorBound);
    let disturbed = |report: &mut ScenarioReport| report.baseline.foreign_cpu_cores = 0.3;
    assert_eq!(judged(true, disturbed).verdict, Verdict::GeneratorBound);
    type Change = fn(&mut ScenarioReport);
    let changes: [Change; 2] = [
        |report| report.comparisons[0].lateness = 0.26,
        |report| report.comparisons[0].lateness_growth = 0.11,
    ];
    for change in changes {
        let report = judged(true, |report| {
            report.comparisons[0].server_ratio = Some(3.0);
            change(report);
        });
        assert_eq!(report.verdict, Verdict::GeneratorBound);
        assert_eq!(
            report.timings,
            ["p99 by second tells of generators, which were late themselves"]
        );
    }
    let lost = |report: &mut ScenarioReport| {
        busy(report);
        report.attacked.lost = 1;
    };
    assert_eq!(judged(true, lost).verdict, Verdict::Fail);
}

#[test]
fn what_is_answered_by_a_policy_needs_no_reason() {
    let policy = |report: &mut ScenarioReport| {
        report.attack.untold.insert("a policy request".to_owned(), 7);
    };
    assert_eq!(judged(true, policy).verdict, Verdict::Pass);
}

#[test]
fn reasons_stand_in_the_table_by_what_was_heard_and_counted() {
    let report = judged(true, |report| report.attack.reasons = heard("busy", 3));
    let table = report.to_table();
    assert!(table.lines().any(|line| line.starts_with("  busy") && line.ends_with("3 / 0 / 0")));
}

#[test]
fn the_worst_verdict_is_that_of_all() {
    let (pass, fail) = (judged(true, |_| {}), judged(false, |_| {}));
    let bound = judged(true, |report| report.attacked.generator_cpu = 1.0);
    assert_eq!(verdict_of(std::slice::from_ref(&pass)), Verdict::Pass);
    assert_eq!(verdict_of(&[pass.clone(), bound.clone()]), Verdict::GeneratorBound);
    assert_eq!(verdict_of(&[pass, fail, bound]), Verdict::Fail);
}

/// A phase with this latency and lateness at the 99th percentile of its rounds and their seconds, and
/// half of that at the 90th and 95th.
fn phase(rounds: &[[f64; 2]]) -> Phase {
    let by_measure = |p99: f64| [p99 / 2.0, p99 / 2.0, p99, p99];
    let rounds = rounds.iter().map(|both| {
        let [latency_us, lateness_us] = both.map(by_measure);
        Round { latency_us, lateness_us }
    });
    Phase { rounds: rounds.collect(), ..Phase::default() }
}

fn compared(baseline: Phase, attacked: Phase) -> ScenarioReport {
    ScenarioReport::new(parts(baseline, attacked))
}

fn parts(baseline: Phase, attacked: Phase) -> Parts {
    Parts {
        scenario: Scenario::Flood,
        users: 100,
        profile: "chat".to_owned(),
        period_ms: 1_000,
        shards: 1,
        settings: Vec::new(),
        baseline,
        attacked,
        attack: AttackReport { elapsed_ns: 1_000, ..AttackReport::default() },
        reasons: Reasons::default(),
        is_alive: true,
        bomb_us: None,
        comes_first: true,
    }
}

#[test]
fn rounds_are_compared_each_and_the_median_is_judged() {
    // The second was disturbed before the attack, the third with it.
    let report = compared(
        phase(&[[1_000.0, 90.0], [9_000.0, 500.0], [1_000.0, 90.0]]),
        phase(&[[1_080.0, 120.0], [1_080.0, 130.0], [30_000.0, 200.0]]),
    );
    assert_eq!(report.comparisons.len(), 4);
    for comparison in &report.comparisons {
        assert_eq!((comparison.ratios.len(), comparison.ratio), (3, Some(1.08)));
        // (1,080 - 90) / (1,000 - 90)
        assert_eq!(comparison.server_ratio, Some(990.0 / 910.0));
        assert!((comparison.lateness - 0.09).abs() < 1e-9, "{comparison:?}");
        assert!((comparison.lateness_growth - 0.03).abs() < 1e-9, "{comparison:?}");
    }
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.timings);
    let line = "ratio of p95            1.08 (0.12..30.00), 1.09 (0.07..32.87) without lateness (0.09, then +0.03)";
    assert!(report.to_table().contains(line), "{}", report.to_table());
}

#[test]
fn what_generators_cannot_tell_is_left_out_and_the_rest_is_judged() {
    let mut baseline = phase(&[[1_000.0, 90.0]]);
    baseline.rounds[0].lateness_us[2] = 400.0;
    let report = compared(baseline, phase(&[[1_300.0, 90.0]]));
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(report.timings[0], "p90 is 1.33 times that before");
    assert_eq!(report.timings[2], "p99 by second tells of generators, which were late themselves");
}

#[test]
fn a_round_in_which_nothing_was_heard_is_no_pass() {
    for (before, after) in [([0.0; 2], [0.0; 2]), ([9.0; 2], [0.0; 2]), ([0.0; 2], [9.0; 2])] {
        let report = compared(phase(&[before]), phase(&[after]));
        assert_eq!(report.comparisons[2].server_ratio, None);
        assert_eq!(report.verdict, Verdict::Fail, "{before:?} {after:?}");
    }
}

#[test]
fn attackers_share_of_a_core_is_that_of_all_rounds() {
    let round = AttackReport { cpu_ns: 300, elapsed_ns: 1_000, ..AttackReport::default() };
    let mut both = AttackReport::default();
    both.add_round(&round);
    both.add_round(&round);
    let report = judged(true, |report| report.attack = both);
    assert!((report.attack_core_share() - 0.3).abs() < 1e-9);
}

#[test]
fn in_a_world_the_bound_is_closer_and_an_attacker_has_to_be_seen() {
    let judged = |ratio: f64, attackers_seen: u64| {
        let baseline = phase(&[[100_000.0, 1_000.0]]);
        let mut attacked = phase(&[[100_000.0 * ratio, 1_000.0]]);
        attacked.attackers_seen = attackers_seen;
        ScenarioReport::new(Parts {
            scenario: Scenario::WorldTeleporter,
            ..parts(baseline, attacked)
        })
    };
    let report = judged(1.04, 9);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.faults, report.timings);
    let report = judged(1.06, 9);
    assert_eq!((report.verdict, report.faults.len()), (Verdict::Fail, 0));
    assert_eq!(report.timings[0], "p90 is 1.06 times that before");
    assert_eq!(judged(1.04, 0).faults, ["nobody saw an attacker"]);
}

#[test]
fn generators_that_were_late_for_all_of_the_latency_make_no_ratio_negative() {
    let report = compared(phase(&[[1_000.0, 1_500.0]; 3]), phase(&[[2_000.0, 1_500.0]; 3]));
    // A quarter is taken off.
    assert_eq!(report.comparisons[2].server_ratio, Some(1_750.0 / 750.0));
    assert_eq!(report.verdict, Verdict::GeneratorBound);
}

#[test]
fn who_had_no_priority_says_so() {
    let report = judged(true, |report| report.comes_first = false);
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.timings, ["others could have the cores first: p99 tells of them too"]);
}

#[test]
fn memory_may_hold_what_each_shard_keeps_to_tell_again() {
    let bound = |shards, settings: &[(String, String)]| {
        let parts = parts(phase(&[[1.0, 0.0]]), phase(&[[1.0, 0.0]]));
        let settings = settings.to_vec();
        ScenarioReport::new(Parts { shards, settings, ..parts }).server_resident_bound_bytes
    };
    let shape = Scenario::Flood.shape(100);
    let connections = u64::from(shape.connections) * shape.server_bytes_per_connection_max;
    assert_eq!(bound(1, &[]), connections + (128 << 20));
    assert_eq!(bound(2, &[]), connections + (256 << 20));
    let set = [(REPLAY_BYTES_KEY.to_owned(), "1048576".to_owned())];
    assert_eq!(bound(1, &set), connections + (65 << 20));
}
