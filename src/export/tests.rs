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
        random,
        is_log_warned: false,
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
