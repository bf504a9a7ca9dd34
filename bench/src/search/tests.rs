use super::*;
use crate::machine::Machine;
use crate::pinning::Pinning;
use crate::profile::chat;

const AIM: Aim = Aim { first: 1_000, precision: 0.05, tries_max: 1 };
const MOST: Most = Most { users: 20_000, limit: Limit::Descriptors };

fn circumstances(server: Vec<usize>, shards: Option<u16>) -> Circumstances {
    Circumstances {
        profile: chat::profile(8, 10_000_000_000),
        users: 1_000,
        duration_s: 30,
        warm_up_s: 10,
        protocol: "binary",
        tls: false,
        shards,
        pinning: Pinning { server, generators: vec![2], shared: false },
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 3,
            kernel: "6.18".to_owned(),
            memory_mib: 1,
        },
    }
}

/// A step that was held, or broke a rule.
fn step(users: u32, limited_by: Option<Limit>) -> Step {
    let verdict = match limited_by {
        None => Verdict::Pass,
        Some(Limit::Generator) => Verdict::GeneratorBound,
        Some(_) => Verdict::Fail,
    };
    Step {
        users,
        verdict,
        limited_by,
        reasons: limited_by
            .map(|limit| format!("{} of {users}", limit.label()))
            .into_iter()
            .collect(),
        p50_us: Some(900.0),
        p99_us: Some(2_500.0),
        server_cpu_us_per_user_s: Some(12.5),
        server_cpu_cores: Some(0.5),
        generator_cpu: Some(0.25),
        foreign_cpu_cores: None,
        elapsed_s: 40.0,
    }
}

fn found(steps: &[(u32, Option<Limit>)]) -> Found {
    let mut bracket = Bracket::new(AIM);
    let steps: Vec<Step> = steps.iter().map(|(users, limit)| step(*users, *limit)).collect();
    steps.iter().for_each(|step| bracket.note(step.users, step.is_held()));
    Found::new(&circumstances(vec![0, 1], Some(2)), (AIM, bracket), MOST, steps)
}

#[test]
fn what_the_lowest_number_that_was_not_held_broke_is_the_limit() {
    let latency = Some(Limit::Latency);
    let found = found(&[
        (1_000, None),
        (2_000, Some(Limit::Generator)),
        (1_500, latency),
        (1_250, None),
        (1_375, None),
        (1_437, None),
    ]);
    assert_eq!((found.users_held, found.users_not_held), (Some(1_437), Some(1_500)));
    assert_eq!((found.limited_by, found.finished), (Limit::Latency, true));
    assert_eq!(found.limit_reasons, ["latency of 1500"]);
    assert_eq!((found.users_per_core, found.verdict()), (Some(718.5), Verdict::Pass));
    assert_eq!(found.elapsed_s, 240.0);
    let text = found.to_text();
    for part in
        ["1437 users held, more limited by latency\n  latency of 1500\n", "718 users per core"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn users_per_core_are_null_when_nothing_was_held() {
    for (limit, verdict) in [
        (Limit::Generator, Verdict::GeneratorBound),
        (Limit::Integrity, Verdict::Fail),
        (Limit::Entry, Verdict::Fail),
    ] {
        let found = found(&[(4, Some(limit)), (2, Some(limit)), (1, Some(limit))]);
        let json = serde_json::to_value(&found).unwrap();
        assert!(json["users_per_core"].is_null() && json["users_held"].is_null(), "{json}");
        assert_eq!(json["limited_by"], limit.label());
        assert_eq!((found.verdict(), found.finished), (verdict, true));
        let text = found.to_text();
        assert!(text.contains("no number of users was held, limited by"), "{text}");
    }
}

#[test]
fn all_that_fit_are_limited_by_what_bounds_them() {
    let found = found(&[(1_000, None), (16_000, None), (20_000, None)]);
    assert_eq!((found.limited_by, found.finished), (Limit::Descriptors, true));
    assert_eq!((found.users_held, found.limit_reasons.len()), (Some(20_000), 0));
}

#[test]
fn a_search_whose_time_is_over_says_so() {
    let stopped = found(&[(1_000, None), (2_000, None)]);
    assert_eq!((stopped.limited_by, stopped.finished), (Limit::Time, false));
    assert!(stopped.to_text().contains("note: the time was over"));
    let stopped = found(&[(1_000, None), (2_000, Some(Limit::Latency))]);
    assert_eq!((stopped.limited_by, stopped.finished), (Limit::Latency, false));
    // The only number was tried once of twice.
    let steps = vec![step(1_000, Some(Limit::Latency))];
    let mut bracket = Bracket::new(Aim { tries_max: 2, ..AIM });
    bracket.note(1_000, false);
    let stopped = Found::new(&circumstances(vec![0], Some(1)), (AIM, bracket), MOST, steps);
    assert_eq!((stopped.limited_by, stopped.users_held), (Limit::Latency, None));
}

#[test]
fn without_known_cores_a_number_that_was_held_has_no_users_per_core() {
    for (shards, users_per_core) in [(Some(4), Some(250.0)), (Some(0), None), (None, None)] {
        let mut bracket = Bracket::new(AIM);
        bracket.note(1_000, true);
        let steps = vec![step(1_000, None)];
        let found = Found::new(&circumstances(Vec::new(), shards), (AIM, bracket), MOST, steps);
        assert_eq!(found.users_per_core, users_per_core, "{shards:?}");
    }
}

#[test]
fn every_step_is_a_row_with_its_reasons() {
    assert_eq!(
        step(16_000, None).to_row(),
        "   16000       0.900       2.500         12.500          0.50       0.25       -  held\n"
    );
    let row = step(16_000, Some(Limit::Latency)).to_row();
    assert!(row.ends_with("not held\n          latency of 16000\n"), "{row}");
    let row = Step::not_entered(9, "the server closed a connection".to_owned(), 1.0).to_row();
    assert!(row.contains("       9           -") && row.contains("closed a connection"), "{row}");
}

#[test]
fn a_step_takes_as_long_as_the_last_and_more_for_more_users() {
    let load = LoadArguments { duration: 20, warm_up: 10, ..load() };
    let mut search = Search {
        bracket: Bracket::new(AIM),
        bounds: vec![MOST, Most { users: 50, limit: Limit::Memory }],
        steps: Vec::new(),
        shards: None,
        held: None,
    };
    assert_eq!(search.most().limit, Limit::Memory);
    assert_eq!(search.step_s(1_000, &load), 30.0 + OVERHEAD_S);
    search.steps.push(step(1_000, None));
    assert_eq!(search.step_s(2_000, &load), 30.0 + 2.0 * 10.0);
    assert_eq!(search.step_s(500, &load), 30.0 + 10.0);
}

fn load() -> LoadArguments {
    use clap::Parser as _;
    let line = ["warren-bench", "floor", "chat", "--users", "8"];
    match crate::arguments::Arguments::parse_from(line).action {
        crate::arguments::Action::Floor(load) => load,
        action => panic!("{action:?} is not floor"),
    }
}

#[test]
fn the_page_of_a_search_has_its_facts_charts_and_every_try() {
    let held = found(&[(1_000, None), (2_000, Some(Limit::Latency)), (1_500, None)]);
    let page = html::render(&held);
    for text in [
        "<h1>chat over binary: 1500 users held</h1>",
        "<span class=\"verdict pass\">pass</span>",
        "<li>latency of 2000</li>",
        "<small>users per core</small><b>750</b>",
        "<small>more limited by</small><b>latency</b>",
        "the time was over",
        "<dt>message rate</dt><dd>0.1 Hz a user</dd>",
        "<dt>latency bound</dt><dd>p50 5 ms, p99 100 ms</dd>",
        ">Latency by users<",
        "bound on p99 100 ms",
        "<circle class=\"dot c1\"",
        "p99, not held (×)",
        "<td>2000</td><td>not held</td>",
        "<td class=\"words\">latency of 2000</td>",
    ] {
        assert!(page.contains(text), "{text} in\n{page}");
    }
    // Of the latency, the cost, and the cores of two.
    let drawn = ["<circle class=\"dot", "l10 10m0 -10l-10 10"].map(|it| page.matches(it).count());
    assert_eq!(drawn, [10, 5], "{page}");
    let none = html::render(&found(&[(1, Some(Limit::Generator))]));
    for text in ["no number of users held", "verdict generator-bound", "<b>–</b>"] {
        assert!(none.contains(text), "{text} in\n{none}");
    }
}
