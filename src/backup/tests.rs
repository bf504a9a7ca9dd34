//! Folders that a restore takes, and those that it refuses.

use std::fs;

use super::*;

/// A folder that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("warren-backup-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A backup of three files.
    fn backup(&self) -> Manifest {
        let folder = self.at("backup");
        fs::create_dir_all(folder.join("state")).unwrap();
        fs::create_dir_all(folder.join("log")).unwrap();
        fs::write(folder.join("state/1.sst"), vec![7; 3 << 20]).unwrap();
        fs::write(folder.join("log/1.log"), b"commits").unwrap();
        fs::write(folder.join("bans.json"), b"").unwrap();
        Manifest::finish(&folder, (17, 4), &|| true).unwrap()
    }

    fn restore(&self) -> Result<Manifest, BackupError> {
        fs::create_dir_all(self.at("data")).unwrap();
        restore_to(&self.at("backup"), &self.at("data"))
    }

    /// Nothing is left of a restore that was refused, but an empty folder.
    fn is_untouched(&self) -> bool {
        let names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().file_name()).collect();
        let data = fs::read_dir(self.at("data"));
        data.map_or(0, Iterator::count) == 0
            && names.iter().all(|name| name == "backup" || name == "data")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_backup_is_restored_file_by_file_into_a_new_or_an_empty_folder() {
    for is_locked in [false, true] {
        let place = Place::new(&format!("whole-{is_locked}"));
        let manifest = place.backup();
        assert_eq!((manifest.files.len(), manifest.bytes()), (3, (3 << 20) + 7));
        fs::create_dir(place.at("data")).unwrap();
        if is_locked {
            fs::write(place.at("data").join(LOCK_FILE), b"").unwrap();
        }
        assert_eq!(place.restore().unwrap(), manifest);
        let read = |path: &str| fs::read(place.at("data").join(path)).unwrap();
        assert_eq!(read("state/1.sst"), vec![7; 3 << 20]);
        assert_eq!((read("log/1.log"), read("bans.json")), (b"commits".to_vec(), vec![]));
        assert!(!place.at("data/backup.json").exists());
        assert!(!place.at("data").join(RESTORE_FOLDER).exists());
        // Once, and not over something.
        let error = place.restore().unwrap_err();
        assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
        assert_eq!(read("log/1.log"), b"commits");
    }
}

#[test]
fn what_is_no_whole_backup_is_refused_with_the_file_s_name() {
    let place = Place::new("damaged");
    let folder = place.at("backup");
    fs::create_dir(&folder).unwrap();
    let error = place.restore().unwrap_err();
    assert!(matches!(error, BackupError::Unfinished { .. }), "{error}");
    place.backup();
    let sst = folder.join("state/1.sst");
    let whole = fs::read(&sst).unwrap();
    let mut flipped = whole.clone();
    flipped[2 << 20] ^= 1;
    for damaged in [flipped, whole[..whole.len() - 1].to_vec(), [&whole[..], b"x"].concat()] {
        fs::write(&sst, damaged).unwrap();
        let error = place.restore().unwrap_err();
        let BackupError::Damaged { path, .. } = &error else { panic!("{error}") };
        assert_eq!(*path, sst);
        assert!(place.is_untouched(), "{error}");
    }
    fs::remove_file(&sst).unwrap();
    let error = place.restore().unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { path, .. } if *path == sst), "{error}");
    assert!(place.is_untouched());
    fs::write(&sst, whole).unwrap();
    place.restore().unwrap();
}

#[test]
fn a_list_that_leads_elsewhere_or_is_of_another_version_is_refused() {
    let place = Place::new("list");
    place.backup();
    let list = place.at("backup/backup.json");
    let text = fs::read_to_string(&list).unwrap();
    for (from, to) in [
        ("log/1.log", "../1.log"),
        ("log/1.log", "/etc/passwd"),
        ("log/1.log", "log/../../1.log"),
        ("log/1.log", ""),
        ("\"version\": 1", "\"version\": 2"),
        ("\"commit\"", "\"commits\""),
    ] {
        assert!(text.contains(from));
        fs::write(&list, text.replace(from, to)).unwrap();
        let error = place.restore().unwrap_err();
        let BackupError::Damaged { path, .. } = &error else { panic!("{error}") };
        assert_eq!(*path, list);
        assert!(place.is_untouched(), "{error}");
    }
}

#[test]
fn a_backup_that_is_given_up_has_no_list() {
    let place = Place::new("given-up");
    place.backup();
    fs::remove_file(place.at("backup/backup.json")).unwrap();
    let error = Manifest::finish(&place.at("backup"), (17, 4), &|| false).unwrap_err();
    assert!(matches!(error, BackupError::Ended), "{error}");
    assert!(matches!(place.restore(), Err(BackupError::Unfinished { .. })));
}

#[test]
fn no_server_starts_on_a_restore_that_was_not_finished() {
    let place = Place::new("unfinished");
    fs::create_dir_all(place.at("data").join(RESTORE_FOLDER)).unwrap();
    let error = crate::state::StateFolder::open(&place.at("data")).unwrap_err();
    assert_eq!(error.reason, FatalReason::StateUnusable);
    assert!(error.detail.contains("was not finished; give `warren restore` again"), "{error}");
}

#[test]
fn a_restore_that_was_cut_short_begins_again() {
    let place = Place::new("again");
    let manifest = place.backup();
    // While it copied, and while it moved what it had copied.
    for moved in ["restoring/state", "state"] {
        let data = place.at("data");
        fs::create_dir_all(data.join(RESTORE_FOLDER)).unwrap();
        fs::write(data.join(RESTORE_FOLDER).join("bans.json"), b"half").unwrap();
        fs::create_dir_all(data.join(moved)).unwrap();
        fs::write(data.join(moved).join("2.sst"), b"of another backup").unwrap();
        fs::write(data.join("log"), b"no folder").unwrap();
        fs::write(data.join(LOCK_FILE), b"").unwrap();
        assert_eq!(place.restore().unwrap(), manifest);
        let names = |folder: PathBuf| {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(data.clone()), ["bans.json", "lock", "log", "state"]);
        assert_eq!(names(data.join("state")), ["1.sst"]);
        assert_eq!(fs::read(data.join("bans.json")).unwrap(), b"");
        // A finished one is not begun again.
        assert!(matches!(place.restore(), Err(BackupError::NotEmpty { .. })));
        fs::remove_dir_all(data).unwrap();
    }
}

/// A data folder with a store and nothing in its log.
fn source(place: &Place) -> BackupSource {
    fs::create_dir_all(place.at("data/log")).unwrap();
    let (store, _) = warren_storage::StateStore::open(&place.at("data/state")).unwrap();
    BackupSource {
        data: place.at("data"),
        store: store.into(),
        log: Default::default(),
        needs: Default::default(),
    }
}

#[test]
fn one_backup_is_made_at_a_time_and_none_when_the_server_ends() {
    let place = Place::new("busy");
    let source = source(&place);
    let runtime = make_runtime().unwrap();
    runtime.block_on(async {
        let nothing = Backups::new(None);
        assert_eq!(nothing.begin(place.at("1"), 0), Err(NotBegun::NothingStored));
        let backups = Backups::new(Some(source));
        assert_eq!(backups.state(None), BackupState::Unknown);
        let running = backups.begin_next().unwrap();
        assert_eq!(backups.state(None), BackupState::Running(running));
        assert_eq!(backups.begin(place.at("1"), 0), Err(NotBegun::Busy));
        drop(backups.ending());
        // Within the data folder it would be a part of itself.
        std::os::unix::fs::symlink(place.at("data"), place.at("link")).unwrap();
        for within in ["data/log/2", "data", "link/2"] {
            let number = backups.begin(place.at(within), 0).unwrap();
            let BackupState::Ended(Err(error)) = backups.end(number).await else { panic!() };
            assert!(error.contains("in the data folder"), "{error}");
        }
        let number = backups.begin(place.at("2"), 0).unwrap();
        let ended = backups.end(number).await;
        assert!(matches!(ended, BackupState::Ended(Ok(_))), "{ended:?}");
        backups.close().await;
        assert_eq!(backups.begin(place.at("3"), 0), Err(NotBegun::Busy));
    });
}

#[test]
fn each_backup_is_told_its_own_end_as_long_as_it_is_remembered() {
    let place = Place::new("numbers");
    let source = source(&place);
    make_runtime().unwrap().block_on(async {
        let backups = Backups::new(Some(source));
        // Every second one fails: its folder is taken.
        for number in 1..=20 {
            let folder = place.at(&format!("{}", number - number % 2));
            let _ = fs::create_dir(&folder).and_then(|()| fs::write(folder.join("taken"), b""));
            let folder = if number % 2 == 1 { folder } else { place.at(&format!("free-{number}")) };
            assert_eq!(backups.begin(folder, 0), Ok(number));
            backups.end(number).await;
        }
        for number in 1..=20_u64 {
            match backups.state(Some(number)) {
                BackupState::Unknown => assert!(number <= 4, "{number}"),
                BackupState::Ended(Ok(answer)) => {
                    assert!(number > 4 && number % 2 == 0, "{number}");
                    assert_eq!(answer["number"], number);
                }
                BackupState::Ended(Err(error)) => {
                    assert!(number > 4 && number % 2 == 1, "{number}: {error}");
                }
                BackupState::Running(number) => panic!("{number} has ended"),
            }
        }
        assert_eq!(backups.state(Some(21)), BackupState::Unknown);
        assert_eq!(backups.state(None), backups.state(Some(20)));
        // Whoever waits for one is told nothing of the next.
        let next = backups.begin_next().unwrap();
        assert_eq!(backups.end(next - 1).await, backups.state(Some(20)));
        drop(backups.ending());
        assert!(matches!(backups.end(next).await, BackupState::Ended(Err(_))));
    });
}

#[test]
fn what_a_backup_is_copied_from_goes_with_it_or_at_the_next_start() {
    let place = Place::new("stage");
    let source = source(&place);
    let names = || -> Vec<_> {
        let entries = fs::read_dir(place.at("data")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    fs::write(place.at("data/log/00000000000000000001.log"), vec![0; 1 << 13]).unwrap();
    let stage =
        stage::Stage::make(&source.data, &source.store, (&source.log, &source.needs)).unwrap();
    let [made, log, state] = &names()[..] else { panic!("{:?}", names()) };
    assert!(made.to_str().unwrap().starts_with(stage::NAME), "{made:?}");
    assert_eq!([log, state], ["log", "state"]);
    // The log is held no more, and may remove what it likes.
    use warren_storage::delta_log::Retention as _;
    source.needs.marked(2);
    assert!(source.needs.lets_go(1, 0));
    fs::remove_file(place.at("data/log/00000000000000000001.log")).unwrap();
    fs::create_dir(place.at("1")).unwrap();
    stage.copy_to(&place.at("1"), &|| true).unwrap();
    assert_eq!(fs::metadata(place.at("1/log/00000000000000000001.log")).unwrap().len(), 1 << 13);
    drop(stage);
    assert_eq!(names(), ["log", "state"]);
    // Of servers that were killed.
    for name in
        ["1-0123456789abcdef/state/1.sst", "4194304-00000000000000ff", "7-fedcba9876543210/log"]
    {
        fs::create_dir_all(place.at("data").join(format!("{}{name}", stage::NAME))).unwrap();
    }
    fs::write(place.at("data/.backup-stage-7-fedcba9876543210/bans.json"), b"").unwrap();
    remove_left(&place.at("data"));
    assert_eq!(names(), ["log", "state"]);
}

#[test]
fn what_no_backup_has_made_in_the_data_folder_stays() {
    let place = Place::new("foreign");
    fs::create_dir(place.at("data")).unwrap();
    let all = [
        // By hand.
        "backup-20261122/state",
        "backup-1/log",
        // Almost such a name.
        ".backup-stage-1/state",
        ".backup-stage-01-0123456789abcdef/state",
        ".backup-stage-1-0123456789abcde/state",
        ".backup-stage-1-0123456789ABCDEF/state",
        ".backup-stage-1-0123456789abcdef0/state",
        // With something else in it.
        ".backup-stage-1-0000000000000001/notes",
        ".backup-stage-1-0000000000000002/bans.json",
    ];
    for name in all {
        fs::create_dir_all(place.at("data").join(name)).unwrap();
    }
    let (file, link) = (".backup-stage-1-0000000000000003", ".backup-stage-1-0000000000000004");
    fs::write(place.at("data").join(file), b"").unwrap();
    std::os::unix::fs::symlink(place.at("data/backup-1"), place.at("data").join(link)).unwrap();
    // What stays keeps nothing else from being removed.
    let left = place.at("data/.backup-stage-2-0000000000000005");
    fs::create_dir(&left).unwrap();
    remove_left(&place.at("data"));
    assert!(!left.exists());
    for name in all.into_iter().chain([file, link]) {
        assert!(place.at("data").join(name).exists(), "{name}");
    }
    // One that is there is no place for a backup's either, and stays when that fails.
    let error = stage::StageFolder::make(place.at("data/backup-1")).unwrap_err();
    assert!(matches!(error, BackupError::Failed { .. }), "{error}");
    assert!(place.at("data/backup-1/log").exists());
}

#[test]
fn a_copy_that_is_given_up_ends_within_a_file() {
    let place = Place::new("given-up-within");
    fs::write(place.at("from"), vec![7; 10 << 20]).unwrap();
    for mebibytes in 0..10 {
        let asked = std::cell::Cell::new(0);
        let goes_on = || asked.replace(asked.get() + 1) < mebibytes;
        let path = place.at(&format!("to-{mebibytes}"));
        let error = folder::copy_file(&place.at("from"), &path, &goes_on).unwrap_err();
        assert!(matches!(error, BackupError::Ended), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), mebibytes << 20);
        let path = place.at(&format!("written-{mebibytes}"));
        asked.set(0);
        let bytes = vec![7; 10 << 20];
        let error = folder::write_file(&path, &bytes, 11 << 20, &goes_on).unwrap_err();
        assert!(matches!(error, BackupError::Ended), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), mebibytes << 20);
    }
}
