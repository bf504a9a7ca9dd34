use serde_json::json;

use super::*;

fn one_of(report: &Value) -> &[Value] {
    std::slice::from_ref(report)
}

/// A report with these CPU, p99 and memory.
fn report(cpu: f64, p99_us: f64, memory: f64) -> Value {
    json!({
        "profile": "chat", "subject": "server", "users": 15_000, "duration_s": 30.0, "warm_up_s": 10.0,
        "protocol": "binary", "tls": false, "shards": 1,
        "server_cpu_us_per_user_s": cpu,
        "latency_us": { "p50": 900.0, "p90": 1_500.0, "p99": p99_us, "p999": p99_us, "max": p99_us },
        "server_memory_per_session_bytes": memory,
        "users_per_core": 15_000.0,
        "floor_ratio": null,
        "verdict": "pass", "reasons": [],
        "pinning": { "server": [0], "generators": [1] },
        "machine": { "cpu": "a processor", "cores": 2, "kernel": "6.18", "memory_mib": 100 },
    })
}

fn with(mut report: Value, pointer: &str, value: Value) -> Value {
    *report.pointer_mut(pointer).unwrap() = value;
    report
}

fn compared(old: &[Value], new: &[Value]) -> Comparison {
    Comparison::new(old, new, differences(old, new), 0.02)
}

fn judgement(comparison: &Comparison, label: &str) -> Judgement {
    comparison.figures.iter().find(|figure| figure.label == label).unwrap().judgement
}

#[test]
fn with_several_reports_a_change_outside_the_spread_matters() {
    let old = [12.0, 12.2, 11.8].map(|cpu| report(cpu, 4_000.0 * cpu, 2_048.0));
    for (cpu, expected) in [
        ([11.0, 11.1, 10.9], Judgement::Better),
        ([13.0, 13.1, 12.9], Judgement::Worse),
        ([12.1, 12.3, 11.9], Judgement::Same),
        ([9.0, 15.0, 13.0], Judgement::Same),
    ] {
        let new = cpu.map(|cpu| report(cpu, 48_000.0, 2_048.0));
        let comparison = compared(&old, &new);
        assert_eq!(judgement(&comparison, "CPU us/user/s"), expected, "{cpu:?}");
        assert_eq!(judgement(&comparison, "KiB/session"), Judgement::Same);
        assert_eq!(comparison.judgement, expected, "{cpu:?}");
        assert_eq!(comparison.judgement.exit_status(), u8::from(expected == Judgement::Worse));
    }
}

#[test]
fn a_sure_change_that_is_small_does_not_matter() {
    let old = [12.0, 12.001, 11.999].map(|cpu| report(cpu, 4_000.0, 2_048.0));
    let new = [12.2, 12.201, 12.199].map(|cpu| report(cpu, 4_000.0, 2_048.0));
    assert_eq!(compared(&old, &new).judgement, Judgement::Same);
    let strict = Comparison::new(&old, &new, Vec::new(), 0.01);
    assert_eq!(strict.judgement, Judgement::Worse);
}

#[test]
fn single_reports_differ_by_what_single_runs_do() {
    let old = [report(12.0, 4_000.0, 2_048.0)];
    for (cpu, p99_us, memory, expected) in [
        (12.9, 5_500.0, 2_100.0, Judgement::Same),
        (13.5, 4_000.0, 2_048.0, Judgement::Worse),
        (12.0, 6_100.0, 2_048.0, Judgement::Worse),
        (12.0, 4_000.0, 1_024.0, Judgement::Better),
        // Better in one and worse in another is worse.
        (6.0, 4_000.0, 4_096.0, Judgement::Worse),
    ] {
        let comparison = compared(&old, &[report(cpu, p99_us, memory)]);
        assert_eq!(comparison.judgement, expected, "{cpu} {p99_us} {memory}");
        assert!(comparison.to_table().contains("note: one report says nothing of its spread"));
    }
}

#[test]
fn what_explains_is_neither_good_nor_bad() {
    let old = [report(12.0, 1_000.0, 2_048.0)];
    let new = [with(report(12.0, 1_000.0, 2_048.0), "/latency_us/max", json!(9_000.0))];
    let comparison = compared(&old, &new);
    assert_eq!(judgement(&comparison, "max ms"), Judgement::Changed);
    assert_eq!(comparison.judgement, Judgement::Same);
}

#[test]
fn what_a_report_lacks_is_not_compared() {
    let old = [report(12.0, 1_000.0, 2_048.0)];
    let new = [with(old[0].clone(), "/server_cpu_us_per_user_s", Value::Null)];
    let comparison = compared(&old, &new);
    let has = |label| comparison.figures.iter().any(|figure| figure.label == label);
    assert!(!has("CPU us/user/s") && !has("CPU to floor") && has("p99 ms"));
}

#[test]
fn a_verdict_that_changed_is_a_change_that_matters() {
    let pass = report(12.0, 1_000.0, 2_048.0);
    let fail = with(pass.clone(), "/verdict", json!("fail"));
    let fail = with(fail, "/reasons", json!(["3 deliveries lost"]));
    for (old, new, expected) in [
        (&pass, &fail, Judgement::Worse),
        (&fail, &pass, Judgement::Better),
        (&fail, &fail, Judgement::Same),
    ] {
        let comparison = compared(one_of(old), one_of(new));
        assert_eq!(comparison.judgement, expected);
        let told = comparison.to_table().contains("new 1: fail: 3 deliveries lost\n");
        assert_eq!(told, new["verdict"] == "fail");
    }
}

#[test]
fn figures_of_a_generator_are_not_judged_but_losses_are() {
    let pass = report(12.0, 1_000.0, 2_048.0);
    let bound = with(report(24.0, 9_000.0, 2_048.0), "/verdict", json!("generator-bound"));
    let comparison = compared(one_of(&pass), one_of(&bound));
    assert_eq!(comparison.judgement, Judgement::GeneratorBound);
    assert_eq!(comparison.judgement.exit_status(), 3);
    let fail = with(pass.clone(), "/verdict", json!("fail"));
    assert_eq!(compared(&[pass, bound], one_of(&fail)).judgement, Judgement::Worse);
}

#[test]
fn whatever_is_not_the_same_is_told() {
    let one = report(12.0, 1_000.0, 2_048.0);
    assert_eq!(differences(one_of(&one), &[one.clone(), one.clone()]), Vec::<String>::new());
    for (pointer, value, told) in [
        ("/profile", json!("idle"), "profile: \"chat\", \"idle\""),
        ("/users", json!(1_000), "users: 15000, 1000"),
        ("/machine/cores", json!(4), "machine.cores: 2, 4"),
        ("/machine/kernel", json!("6.1"), "machine.kernel: \"6.18\", \"6.1\""),
        ("/tls", json!(true), "tls: false, true"),
        ("/duration_s", json!(2.0), "duration_s: 30.0, 2.0"),
    ] {
        let other = with(one.clone(), pointer, value);
        assert_eq!(differences(&[one.clone(), other.clone()], one_of(&one)), [told]);
        let differences = differences(one_of(&one), one_of(&other));
        assert_eq!(differences, [told]);
        let table = Comparison::new(one_of(&one), one_of(&other), differences, 0.02).to_table();
        assert!(table.contains(&format!("note: not the same: {told}\n")), "{table}");
    }
    let mut older = one.clone();
    older.as_object_mut().unwrap().remove("tls");
    assert_eq!(differences(one_of(&older), one_of(&one)), ["tls: null, false"]);
}

#[test]
fn every_setting_that_a_report_has_is_compared_with_its_own_name() {
    for (index, pointer) in SETTINGS.iter().enumerate() {
        assert!(pointer.starts_with('/') && !SETTINGS[..index].contains(pointer), "{pointer}");
    }
    for (index, kind) in KINDS.iter().enumerate() {
        let again = KINDS[..index].iter().any(|other| other.pointer == kind.pointer);
        assert!(!again && kind.unit > 0.0, "{}", kind.pointer);
    }
}

#[test]
fn the_table_has_both_means_the_change_and_the_interval() {
    let old = [12.0, 12.2, 11.8].map(|cpu| report(cpu, 4_000.0, 2_048.0));
    let new = [9.0, 9.1, 8.9].map(|cpu| report(cpu, 4_000.0, 1_024.0));
    let table = compared(&old, &new).to_table();
    for text in [
        "chat over binary, 15000 users on 1 shards (server), 30.0 s after 10.0 s\n",
        "means of 3 old and 3 new reports\n",
        "CPU us/user/s               12.000         9.000    -25.0 %      -29.6 .. -20.4 %  better\n",
        "KiB/session                  2.000         1.000    -50.0 %      -50.0 .. -50.0 %  better\n",
        "p50 ms                       0.900         0.900     +0.0 %        +0.0 .. +0.0 %\n",
        "result: better\n",
    ] {
        assert!(table.contains(text), "{text} in\n{table}");
    }
    assert!(!table.contains("note:"), "{table}");
}
