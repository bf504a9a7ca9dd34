use super::*;

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("warren-bans-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn ban(since_ms: u64, until_ms: u64) -> Ban {
    Ban { since_ms, until_ms, reason: "shouts".to_owned() }
}

#[test]
fn subjects_are_users_or_addresses() {
    assert_eq!(subject("ann"), Subject::User("ann".to_owned()));
    assert_eq!(subject("10.1.2.3/8").to_string(), "10.0.0.0/8");
    // It begins as a name may, and is an address.
    assert!(matches!(subject("fe80::1"), Subject::Addresses(_)));
    for text in ["", "7", "a b", "10.0.0.0/99", "ann/8"] {
        assert!(text.parse::<Subject>().is_err(), "{text}");
    }
}

#[test]
fn a_list_is_there_again_after_it_was_stored() {
    let folder = folder("stored");
    let mut list = BanList::load(Some(&folder)).unwrap();
    list.ban(subject("ann"), ban(5, 100), 10).unwrap();
    list.ban(subject("2001:db8::/32"), ban(6, NEVER_MS), 10).unwrap();
    list.store().unwrap();
    assert_eq!(BanList::load(Some(&folder)).unwrap(), list);
    assert!(list.unban(&subject("ann"), 7) && !list.unban(&subject("ann"), 7));
    list.store().unwrap();
    let loaded = BanList::load(Some(&folder)).unwrap();
    assert_eq!((loaded.len(), loaded.is_stored()), (1, true));
    let shards = loaded.for_shards();
    assert!(shards.has_address("2001:db8::7".parse().unwrap(), 7) && !shards.has_user("ann", 7));
    // Beside the list there is no draft.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_damaged_list_is_told() {
    let folder = folder("damaged");
    for text in [
        "",
        "{}",
        r#"{"version":2,"bans":[]}"#,
        r#"{"version":1,"bans":[{"subject":"?","since_ms":1,"until_ms":null,"reason":""}]}"#,
        r#"{"version":1,"bans":[{"subject":"ann","since_ms":1,"until_ms":-1,"reason":""}]}"#,
    ] {
        fs::write(folder.join(FILE), text).unwrap();
        let fatal = BanList::load(Some(&folder)).unwrap_err();
        assert_eq!(fatal.reason, FatalReason::StateUnusable, "{text}");
        assert!(fatal.detail.contains(FILE), "{fatal}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_full_list_takes_no_more_until_some_have_ended() {
    let mut list = BanList::default();
    list.ban(subject("ann"), ban(0, 10), 2).unwrap();
    list.ban(subject("bob"), ban(0, NEVER_MS), 2).unwrap();
    assert_eq!(list.ban(subject("cleo"), ban(9, 20), 2), Err(TooManyBans));
    // A ban that is there may change.
    list.ban(subject("bob"), ban(9, 30), 2).unwrap();
    list.ban(subject("cleo"), ban(10, 20), 2).unwrap();
    let names: Vec<String> = list.after(None).map(|(subject, _)| subject.to_string()).collect();
    assert_eq!(names, ["bob", "cleo"]);
    assert_eq!(list.after(Some(&subject("bob"))).count(), 1);
    list.store().unwrap();
    assert!(!list.is_stored());
}
