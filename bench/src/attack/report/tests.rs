use super::*;

/// A run in which nothing went wrong, but for what `change` does to it.
fn judged(is_alive: bool, change: impl FnOnce(&mut ScenarioReport)) -> ScenarioReport {
    let mut report = ScenarioReport::new(Parts {
        scenario: Scenario::FirstPackets,
        users: 100,
        period_ms: 1_000,
        settings: Vec::new(),
        baseline: Phase::default(),
        attacked: Phase::default(),
        attack: AttackReport { elapsed_ns: 1_000, ..AttackReport::default() },
        reasons: Reasons::default(),
        is_alive: true,
        bomb_us: Some(9.0),
    });
    report.p99_ratio = Some(1.05);
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
        ("p99 is 1.11", |report| report.p99_ratio = Some(1.11)),
        ("p99 is inf", |report| report.p99_ratio = None),
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
        report.p99_ratio = Some(3.0);
    };
    assert_eq!(judged(true, busy).verdict, Verdict::GeneratorBound);
    let disturbed = |report: &mut ScenarioReport| report.baseline.foreign_cpu_cores = 0.3;
    assert_eq!(judged(true, disturbed).verdict, Verdict::GeneratorBound);
    let late = |report: &mut ScenarioReport| report.lateness_growth = 0.11;
    let report = judged(true, late);
    assert_eq!(report.verdict, Verdict::GeneratorBound);
    assert!(report.timings[0].starts_with("generators were late"), "{:?}", report.timings);
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

/// A phase with these 99th percentiles of latency and lateness in its rounds, in microseconds.
fn phase(p99s_us: &[[u64; 2]]) -> Phase {
    let p99s_ns = p99s_us.iter().map(|p99s| p99s.map(|us| us * 1_000)).collect();
    Phase { p99s_ns, ..Phase::default() }
}

#[test]
fn rounds_are_compared_each_and_the_median_is_judged() {
    let of = |baseline, attacked| {
        ScenarioReport::new(Parts {
            scenario: Scenario::Flood,
            users: 100,
            period_ms: 1_000,
            settings: Vec::new(),
            baseline,
            attacked,
            attack: AttackReport { elapsed_ns: 1_000, ..AttackReport::default() },
            reasons: Reasons::default(),
            is_alive: true,
            bomb_us: None,
        })
    };
    // The second was disturbed before the attack, the third with it.
    let report = of(
        phase(&[[1_000, 100], [9_000, 500], [1_000, 100]]),
        phase(&[[1_080, 130], [1_080, 130], [30_000, 200]]),
    );
    assert_eq!((report.p99_ratios.len(), report.p99_ratio), (3, Some(1.08)));
    assert!((report.lateness_growth - 0.03).abs() < 1e-9, "{}", report.lateness_growth);
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.timings);
    let table = report.to_table();
    assert!(table.contains("1.08 (0.12..30.00, rounds: 3; bound 1.10)"), "{table}");

    let nothing_heard = of(phase(&[[0, 0], [1_000, 0]]), phase(&[[0, 0], [1_000, 0]]));
    assert_eq!(nothing_heard.p99_ratio, None);
    assert_eq!(nothing_heard.verdict, Verdict::Fail);
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
