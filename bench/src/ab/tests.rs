use super::*;
use crate::machine::Machine;
use crate::pinning::Pinning;
use crate::profile::chat;

fn run(side: Side, cpu: Option<f64>) -> Run {
    Run {
        side,
        server_cpu_us_per_user_s: cpu,
        p50_us: Some(1_000.0),
        p99_us: Some(9_000.0),
        server_memory_per_session_bytes: Some(2_048.0),
        server_tls_connections: Some(64),
        generator_cpu: 0.5,
        foreign_cpu_cores: Some(0.25),
        verdict: Verdict::Pass,
        reasons: Vec::new(),
    }
}

fn runs(old: &[f64], new: &[f64]) -> Vec<Run> {
    let pairs = old.iter().zip(new);
    pairs.flat_map(|(old, new)| [run(Side::Old, Some(*old)), run(Side::New, Some(*new))]).collect()
}

fn comparison(runs: Vec<Run>) -> Comparison {
    let circumstances = Circumstances {
        profile: chat::profile(8, 10_000_000_000),
        users: 64,
        duration_s: 2,
        warm_up_s: 1,
        protocol: "binary",
        tls: true,
        shards: Some(2),
        pinning: Pinning { server: vec![0], generators: vec![1], shared: false },
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "6.18".to_owned(),
            memory_mib: 1,
        },
    };
    Comparison::new(&circumstances, ["a/warren".to_owned(), "b/warren".to_owned()], true, runs)
}

#[test]
fn a_side_is_named_by_its_program_and_what_was_set_for_it() {
    let settings = [("reactor.turn_interval_us".to_owned(), "500".to_owned())];
    assert_eq!(named(Path::new("a/warren"), &[]), "a/warren");
    assert_eq!(named(Path::new("a/warren"), &settings), "a/warren reactor.turn_interval_us=500");
}

#[test]
fn pairs_begin_with_one_and_the_other_in_turn() {
    use Side::{New, Old};
    assert_eq!(order(3).collect::<Vec<Side>>(), [Old, New, New, Old, Old, New]);
}

#[test]
fn ratios_are_of_pairs_and_have_their_spread() {
    let figure = comparison(runs(&[2.0, 4.0, 5.0], &[3.0, 4.0, 2.5])).server_cpu_us_per_user_s;
    let expected = Figure { old: 4.0, new: 3.0, ratio: 1.0, ratio_min: 0.5, ratio_max: 1.5 };
    assert_eq!(figure, Some(expected));
    let figure = comparison(runs(&[2.0, 4.0], &[2.0, 8.0])).server_cpu_us_per_user_s;
    let expected = Figure { old: 3.0, new: 5.0, ratio: 1.5, ratio_min: 1.0, ratio_max: 2.0 };
    assert_eq!(figure, Some(expected));
}

#[test]
fn a_pair_is_a_pair_whoever_came_first() {
    let mut runs = runs(&[2.0, 4.0], &[2.0, 8.0]);
    runs.swap(2, 3);
    let figure = comparison(runs).server_cpu_us_per_user_s.unwrap();
    assert_eq!((figure.ratio_min, figure.ratio_max), (1.0, 2.0));
}

#[test]
fn what_a_run_lacks_is_not_compared() {
    let missing = vec![run(Side::Old, Some(1.0)), run(Side::New, None)];
    assert_eq!(comparison(missing).server_cpu_us_per_user_s, None);
    assert_eq!(comparison(runs(&[0.0], &[1.0])).server_cpu_us_per_user_s, None);
    assert_eq!(comparison(Vec::new()).p50_us, None);
}

#[test]
fn the_verdict_is_the_worst_of_all_runs() {
    for (verdicts, worst) in [
        ([Verdict::Pass, Verdict::Pass], Verdict::Pass),
        ([Verdict::GeneratorBound, Verdict::Pass], Verdict::GeneratorBound),
        ([Verdict::GeneratorBound, Verdict::Fail], Verdict::Fail),
    ] {
        let mut runs = runs(&[1.0], &[1.0]);
        for (run, verdict) in runs.iter_mut().zip(verdicts) {
            run.verdict = verdict;
        }
        assert_eq!(comparison(runs).verdict, worst);
    }
}

#[test]
fn the_table_has_every_run_the_medians_and_the_ratios() {
    let mut runs = runs(&[2.0, 4.0], &[2.0, 8.0]);
    runs[1].reasons = vec!["3 deliveries lost".to_owned()];
    let table = comparison(runs).to_table();
    for text in [
        "chat over binary in TLS, 64 users on 2 shards, 2 s after 1 s\nshards and generators before",
        " (SCHED_FIFO)\nold a/warren\nnew b/warren\n",
        "  1  old             2.000     1.000     9.000         2.00    0.25  pass\n",
        "  2  new             2.000     1.000     9.000         2.00    0.25  pass\n       3 del",
        "median old          3.000     1.000     9.000         2.00\n",
        "median new          5.000     1.000     9.000         2.00\n",
        "CPU     1.500 (1.000..2.000)\n",
        "p50     1.000 (1.000..1.000)\n",
    ] {
        assert!(table.contains(text), "{text} in\n{table}");
    }
}

#[test]
fn the_page_has_every_run_the_ratios_and_what_was_played() {
    let mut runs = runs(&[2.0, 4.0], &[2.0, 8.0]);
    runs[1].reasons = vec!["3 deliveries lost".to_owned()];
    let page = comparison(runs).to_html();
    for text in [
        "<h1>chat over binary in TLS, 64 users: two servers</h1>",
        "<li>run 2: 3 deliveries lost</li>",
        "<small>CPU, new to old</small><b>1.500</b><small>pairs 1.000 to 2.000</small>",
        "<dt>neighbours</dt><dd>7 others hear each message</dd>",
        "<dt>old</dt><dd>a/warren</dd>",
        ">99th percentile of the latency<",
        "<td>4</td><td>new</td><td>8.000</td>",
        // The last and dearest is in the upper right corner.
        "<circle class=\"dot c1\" cx=\"602.0\" cy=\"40.0\"",
    ] {
        assert!(page.contains(text), "{text} in\n{page}");
    }
    let unknown = comparison(vec![run(Side::Old, None)]).to_html();
    assert!(unknown.contains("<small>CPU, new to old</small><b>–</b>"), "{unknown}");
}
