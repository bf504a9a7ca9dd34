use super::*;

fn follower(random: u64) -> Follower {
    let folder =
        std::env::temp_dir().join(format!("warren-export-{}-{random}", std::process::id()));
    let (store, _) = warren_storage::StateStore::open(&folder).unwrap();
    let state = Arc::new(ServerState::new(1, || 0));
    let place = warren_storage::postgres::PostgresPlace::parse(
        "host=/nowhere",
        "warren",
        Duration::from_secs(1),
    );
    let source = ExportSource {
        store: Arc::new(store),
        log_folder: folder.clone(),
        progress: state.log(),
        needs: Arc::clone(&state.snapshots().log_needs),
        log_bytes_max: 1,
        may_replace: false,
    };
    let exporter = Exporter::new(place.unwrap(), source);
    let _ = std::fs::remove_dir_all(folder);
    Follower {
        exporter,
        interval: Duration::from_millis(1),
        log_bytes_max: 1,
        state,
        moments: Moments::new(),
        drained: watch::channel(false).1,
        failures: 0,
        copies: 0,
        random,
        is_log_warned: false,
        renewed_ns: 0,
    }
}

#[test]
fn pauses_double_up_to_a_bound_and_differ() {
    let (mut one, mut other) = (follower(1), follower(3));
    let error = ExportError::Postgres(warren_storage::postgres::PostgresError::Superseded);
    let (mut longest, mut differ) = (PAUSE_MIN, 0);
    for _ in 0..40 {
        let pauses = [one.note_failure(&error), other.note_failure(&error)];
        for pause in pauses {
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} {longest:?}");
        }
        differ += u32::from(pauses[0] != pauses[1]);
        longest = (longest * 2).min(PAUSE_MAX);
    }
    assert!(differ > 35, "{differ}");
    let progress = one.state.export();
    assert_eq!((progress.failures.load(Relaxed), progress.gaps.load(Relaxed)), (40, 0));
}

const CONNECTED: ExportRound = ExportRound::Applied { commits: 0, objects: 0, is_behind: true };
const APPLIED: ExportRound = ExportRound::Applied { commits: 1, objects: 1, is_behind: true };
const COPIED: ExportRound = ExportRound::Copied { objects: 1, reason: CopyReason::Gap };

#[test]
fn one_that_only_connects_backs_off_and_one_that_applies_begins_anew() {
    let mut follower = follower(5);
    let failure = || Err(warren_storage::postgres::PostgresError::Superseded.into());
    for works in [APPLIED, ExportRound::UpToDate] {
        for _ in 0..10 {
            assert_eq!(follower.note(Ok(CONNECTED)), None);
            follower.note(failure());
        }
        assert!(follower.note(failure()).unwrap() >= PAUSE_MAX / 2);
        follower.note(Ok(works));
        assert!(follower.note(failure()).unwrap() <= PAUSE_MIN);
    }
}

#[test]
fn copies_that_follow_each_other_back_off() {
    let mut follower = follower(7);
    let failure = || Err(warren_storage::postgres::PostgresError::Superseded.into());
    for _ in 0..10 {
        follower.note(failure());
    }
    // The first is a success, after which it goes on at once.
    assert_eq!(follower.note(Ok(COPIED)), None);
    assert!(follower.note(failure()).unwrap() <= PAUSE_MIN);
    for _ in 0..5 {
        assert!(follower.note(Ok(COPIED)).is_some());
        follower.note(failure());
    }
    assert!(follower.note(Ok(COPIED)).unwrap() >= PAUSE_MAX / 2);
    follower.note(Ok(APPLIED));
    assert_eq!(follower.note(Ok(COPIED)), None);
}

#[test]
fn what_fails_is_told_and_begins_anew_until_the_server_drains() {
    let runtime = make_runtime().unwrap();
    let progress = ExportProgress::default();
    progress.is_connected.store(true, Relaxed);
    let runs = std::cell::Cell::new(0);
    let (drain, drained) = watch::channel(false);
    let run = |ends_at: u64| {
        runs.set(runs.get() + 1);
        let run = runs.get();
        async move { assert!(run == ends_at, "a bug, as it is made for this test") }
    };
    run_to_end(&runtime, &progress, drained.clone(), Duration::ZERO, || run(3));
    assert_eq!((runs.get(), progress.panics.load(Relaxed)), (3, 2));
    assert!(!progress.is_connected.load(Relaxed));
    drain.send(true).unwrap();
    run_to_end(&runtime, &progress, drained, PAUSE_MAX, || run(0));
    assert_eq!((runs.get(), progress.panics.load(Relaxed)), (4, 3));
}

#[test]
fn one_that_connects_and_cannot_apply_is_not_connected() {
    let mut follower = follower(9);
    let progress = follower.state.export();
    for (round, is_connected) in [
        (Ok(CONNECTED), false),
        (Ok(APPLIED), true),
        (Err(warren_storage::postgres::PostgresError::Superseded.into()), false),
        (Ok(CONNECTED), false),
        (Ok(ExportRound::UpToDate), true),
    ] {
        follower.note(round);
        assert_eq!(progress.is_connected.load(Relaxed), is_connected);
    }
}
