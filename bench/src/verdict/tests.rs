use super::*;
use crate::profile::{chat, crowd, durable, mixed};

const MS: u64 = 1_000_000;

fn good() -> Evidence {
    Evidence {
        measured: 1_000,
        latency_ns: [5 * MS, 100 * MS],
        lateness_ns: [MS / 2, 10 * MS],
        generator_cpu: 0.9,
        ..Evidence::default()
    }
}

fn check(change: impl FnOnce(&mut Evidence), verdict: Verdict, limit: Option<Limit>, reason: &str) {
    let mut evidence = good();
    change(&mut evidence);
    let judgement = judge(&chat::profile(8, 10_000_000_000), &evidence);
    assert_eq!((judgement.verdict, judgement.limited_by), (verdict, limit), "{judgement:?}");
    let found = judgement.reasons.iter().any(|text| text.contains(reason));
    assert!(found || reason.is_empty(), "{reason} in {judgement:?}");
    assert_eq!(judgement.reasons.is_empty(), verdict == Verdict::Pass);
}

#[test]
fn a_run_at_its_bounds_passes() {
    check(|_| {}, Verdict::Pass, None, "");
}

#[test]
fn any_fault_in_the_messages_fails() {
    let fail = |change: fn(&mut Evidence), reason| {
        check(change, Verdict::Fail, Some(Limit::Integrity), reason);
    };
    fail(|evidence| evidence.account.lost = 1, "1 deliveries lost");
    fail(|evidence| evidence.account.duplicated = 2, "2 deliveries doubled");
    fail(|evidence| evidence.account.corrupted = 3, "3 messages corrupted");
    fail(|evidence| evidence.account.out_of_order = 4, "4 messages out of");
    fail(|evidence| evidence.account.rooms_disagreeing = 5, "5 rooms");
    fail(|evidence| evidence.disconnects = 6, "6 connections lost");
    fail(|evidence| evidence.faults = 7, "7 frames");
    fail(
        |evidence| evidence.refused = [("busy (503)".to_owned(), 8)].into(),
        "refused: busy (503)",
    );
    fail(|evidence| evidence.heartbeats_missing = 9, "9 heartbeats missing");
    fail(|evidence| evidence.heartbeats_surplus = 10, "10 heartbeats too many");
    fail(|evidence| evidence.measured = 0, "nothing was measured");
    fail(|evidence| evidence.moves_taken = Some(1), "0 moves were said, and the server took 1");
}

#[test]
fn a_skipped_tick_fails() {
    check(
        |evidence| evidence.ticks_skipped = Some(3),
        Verdict::Fail,
        Some(Limit::Ticks),
        "3 ticks skipped",
    );
}

#[test]
fn of_worlds_it_has_to_be_known_that_no_tick_was_skipped() {
    let walk = crate::profile::walk::profile(50, 10_000_000_000);
    let mut evidence = good();
    let judgement = judge(&walk, &evidence);
    assert_eq!((judgement.verdict, judgement.limited_by), (Verdict::Fail, Some(Limit::Ticks)));
    assert!(judgement.reasons[0].contains("no metrics were read"), "{judgement:?}");
    evidence.ticks_skipped = Some(0);
    assert_eq!(judge(&walk, &evidence).verdict, Verdict::Pass);
}

#[test]
fn a_latency_above_either_bound_fails() {
    let limit = Some(Limit::Latency);
    check(|evidence| evidence.latency_ns[0] += 1, Verdict::Fail, limit, "median");
    check(|evidence| evidence.latency_ns[1] += 1, Verdict::Fail, limit, "99th percentile");
}

#[test]
fn a_profile_without_a_bound_on_the_median_has_none() {
    let mut evidence = good();
    evidence.latency_ns = [250 * MS, 250 * MS];
    evidence.lateness_ns = [25 * MS, 25 * MS];
    let crowd = crowd::profile(1_000, 10_000_000_000);
    assert_eq!(judge(&crowd, &evidence).verdict, Verdict::Pass);
    evidence.latency_ns[1] += 1;
    assert_eq!(judge(&crowd, &evidence).reasons.len(), 1);
}

#[test]
fn a_late_or_busy_generator_gives_no_figure() {
    let (verdict, limit) = (Verdict::GeneratorBound, Some(Limit::Generator));
    check(|evidence| evidence.lateness_ns[0] += 1, verdict, limit, "sent late: median");
    check(|evidence| evidence.lateness_ns[1] += 1, verdict, limit, "sent late: 99th");
    check(|evidence| evidence.generator_cpu = 0.91, verdict, limit, "91 % of its core");
}

#[test]
fn a_generator_excuses_latency_but_no_loss() {
    let late = |evidence: &mut Evidence| {
        evidence.generator_cpu = 1.0;
        evidence.latency_ns = [50 * MS, 500 * MS];
    };
    check(late, Verdict::GeneratorBound, Some(Limit::Generator), "latency: median");
    check(
        |evidence| {
            late(evidence);
            evidence.account.lost = 1;
        },
        Verdict::Fail,
        Some(Limit::Integrity),
        "1 deliveries lost",
    );
}

#[test]
fn each_verdict_has_its_exit_status() {
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::GeneratorBound];
    assert_eq!(verdicts.map(Verdict::exit_status), [0, 1, 3]);
    for verdict in verdicts {
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(json, format!("\"{}\"", verdict.label()));
    }
}

#[test]
fn a_storm_passes_when_all_are_back_in_time() {
    let all_caught_up_ns = 5_000 * MS;
    let storm = StormEvidence { missing: 0, behind: 0, all_caught_up_ns, generator_cpu: 0.9 };
    for (storm, verdict, reason) in [
        (storm, Verdict::Pass, ""),
        (StormEvidence { missing: 3, ..storm }, Verdict::Fail, "3 users did not come back"),
        (
            StormEvidence { behind: 2, ..storm },
            Verdict::Fail,
            "2 users who came back did not hear all that they missed",
        ),
        (
            StormEvidence { all_caught_up_ns: 5_010 * MS, ..storm },
            Verdict::Fail,
            "all were back and had heard what they missed 5.01 s after the cut, bound 5 s",
        ),
        (
            StormEvidence { generator_cpu: 0.91, ..storm },
            Verdict::GeneratorBound,
            "the generator took 91 % of its core until all were back, at most 90 %",
        ),
    ] {
        let evidence = Evidence { storm: Some(storm), ..good() };
        let judgement = judge(&crate::profile::storm::profile(8, 1), &evidence);
        assert_eq!(judgement.verdict, verdict, "{judgement:?}");
        assert_eq!(judgement.reasons.concat(), reason);
    }
}

#[test]
fn npcs_that_are_moved_late_are_a_limit_of_their_own() {
    let profile = crate::profile::ai::profile(50, Wander::BuiltIn, 1);
    for (on_time, limit) in
        [(None, None), (Some(1.0), None), (Some(0.99), None), (Some(0.9899), Some(Limit::Npcs))]
    {
        let judged =
            judge(&profile, &Evidence { npcs_on_time: on_time, ticks_skipped: Some(0), ..good() });
        assert_eq!(judged.limited_by, limit, "{on_time:?}");
        let told = "98.99 % of the moves of NPCs in time, at least 99 %";
        assert_eq!(judged.reasons.iter().any(|reason| reason == told), limit.is_some());
    }
}

#[test]
fn sets_beside_other_things_have_a_bound_of_their_own() {
    let judged = |profile: &Profile, sets_ns: u64, measured: u64| {
        let evidence = Evidence {
            ticks_skipped: Some(0),
            sets_ns: Some([0, sets_ns]),
            sets_measured: Some(measured),
            latency_ns: [0, 50 * MS],
            lateness_ns: [0, 0],
            ..good()
        };
        let Judgement { verdict, limited_by, reasons } = judge(profile, &evidence);
        (verdict, limited_by, reasons.len())
    };
    let mixed = mixed::profile(50, 10_000, 1);
    assert_eq!(judged(&mixed, 50 * MS, 1), (Verdict::Pass, None, 0));
    assert_eq!(judged(&mixed, 50 * MS + 1, 1), (Verdict::Fail, Some(Limit::Latency), 1));
    assert_eq!(judged(&mixed, 0, 0), (Verdict::Fail, Some(Limit::Integrity), 1));
    // Where they are all there is, the latency is theirs already, and is not judged twice.
    let durable = durable::profile(1_000, 1);
    assert_eq!(judged(&durable, 51 * MS, 1), (Verdict::Pass, None, 0));
}

type Change = fn(&mut WorldCounts);

fn judge_mover(wander: Wander, change: Change) -> Judgement {
    let profile = crate::profile::ai::profile(50, wander, 10_000_000_000);
    let mut worlds = WorldCounts { plugin_thinks: 9, thinks_asked: 9, ..WorldCounts::default() };
    change(&mut worlds);
    let evidence = Evidence { worlds: Some(worlds), ticks_skipped: Some(0), ..good() };
    judge(&profile, &evidence)
}

fn check_mover_faults(wander: Wander, faults: &[(Change, &str)]) {
    assert_eq!(judge_mover(wander, |_| {}).verdict, Verdict::Pass);
    for (change, reason) in faults {
        let judgement = judge_mover(wander, *change);
        assert_eq!((judgement.verdict, judgement.limited_by), (Verdict::Fail, Some(Limit::Npcs)));
        assert!(judgement.reasons[0].starts_with(reason), "{judgement:?}");
        assert_eq!(judge_mover(Wander::BuiltIn, *change).verdict, Verdict::Pass, "{reason}");
    }
}

#[test]
fn a_plugin_that_moves_npcs_has_to_move_all_and_in_time() {
    check_mover_faults(
        Wander::Native,
        &[
            (|worlds| worlds.npc_updates_unmoved = 1, "1 times an NPC stood"),
            (|worlds| worlds.plugin_strikes = 2, "2 calls of the plugin took too long"),
            (|worlds| worlds.plugins_disabled = 3, "3 plugins are called no more"),
            (|worlds| worlds.plugin_thinks = 0, "the plugin moved no NPCs"),
        ],
    );
}

#[test]
fn a_worker_that_moves_npcs_has_to_move_all_and_in_time() {
    check_mover_faults(
        Wander::Python,
        &[
            (|worlds| worlds.npc_updates_unmoved = 1, "1 times an NPC stood"),
            (|worlds| worlds.thinks_lost = 2, "2 times the worker did not say in time"),
            (|worlds| worlds.thinks_failed = 3, "3 times the worker failed"),
            (|worlds| worlds.thinks_asked = 0, "the worker moved no NPCs"),
        ],
    );
}
