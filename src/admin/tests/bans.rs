//! Bans, also when a shard or the disk does not do as it should.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A data folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("warren-ban-book-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn list(&self) -> BanList {
        BanList::load(Some(&self.0)).unwrap()
    }

    /// Who is banned on the disk.
    fn subjects(&self) -> Vec<String> {
        self.list().after(None).map(|(subject, _)| subject.to_string()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bans_hold_are_told_and_end() {
    let running = running_with(Setup { bans_max: 2, ..Setup::default() });
    running.log_in("ann");
    let (status, answer) =
        running.call("POST", "/api/ban", r#"{"user":"ann","for":"1h","reason":"noise"}"#);
    assert_eq!((status, &answer["stored"]), (200, &false.into()), "{answer}");
    assert_eq!(answer["session"], "0000000000000000");
    running.log_in("ann");
    assert_eq!(running.users(""), [""; 0]);
    let (status, _) = running.call("POST", "/api/ban", r#"{"address":"10.1.2.3/8"}"#);
    assert_eq!(status, 200);
    running.check_error(("POST", "/api/ban", r#"{"user":"bob"}"#), ErrorWord::TooManyBans);
    let (_, page) = running.call("GET", "/api/bans?count=1", "");
    assert_eq!(page["bans"][0]["user"], "ann");
    assert_eq!(page["bans"][0]["reason"], "noise");
    let (_, page) = running.call("GET", "/api/bans?count=1&after=ann", "");
    assert_eq!((&page["bans"][0]["address"], &page["after"]), (&"10.0.0.0/8".into(), &Value::Null));
    assert_eq!(page["bans"][0]["until"], Value::Null);
    assert_eq!(running.call("DELETE", "/api/ban", r#"{"user":"ann"}"#).0, 200);
    running.check_error(("DELETE", "/api/ban", r#"{"user":"ann"}"#), ErrorWord::UnknownBan);
    running.log_in("ann");
    assert_eq!(running.users(""), ["ann"]);
}

/// Writing this file waits until somebody reads it: a disk that hangs.
fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn a_ban_comes_to_its_end_although_nobody_waits_for_it_and_the_disk_hangs() {
    let folder = Folder::new("hangs");
    let running = running_with(Setup { list: folder.list(), ..Setup::default() });
    running.log_in("ann");
    let draft = folder.0.join("bans.json.draft");
    make_pipe(&draft);
    let body = r#"{"user":"ann"}"#;
    let mut left = TcpStream::connect(running.listen).unwrap();
    write!(
        left,
        "POST /api/ban HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    // Whoever only asks does not wait for the disk.
    let bans = || running.call("GET", "/api/status", "").1["bans"].clone();
    while bans() != 1 {}
    drop(left);
    assert_eq!(running.call("GET", "/api/bans", "").1["bans"][0]["user"], "ann");
    let mut pipe = fs::File::open(&draft).unwrap();
    // Before the next change, which would find the pipe open.
    fs::remove_file(&draft).unwrap();
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    assert!(text.contains("ann"), "{text}");
    let (status, answer) = running.call("POST", "/api/ban", r#"{"user":"bob"}"#);
    assert_eq!((status, &answer["stored"]), (200, &true.into()), "{answer}");
    assert_eq!(folder.subjects(), ["ann", "bob"]);
    // The session ended with the ban; the engine tells of it after the turn that closes.
    running.call("GET", "/api/rooms", "");
    assert_eq!(running.users(""), [""; 0]);
}

#[test]
fn what_one_shard_does_not_hear_the_others_and_the_disk_do() {
    let folder = Folder::new("lost");
    let setup = Setup { list: folder.list(), has_lost_shard: true, ..Setup::default() };
    let running = running_with(setup);
    let user = r#"{"user":"ann"}"#;
    running.log_in("ann");
    running.check_error(("POST", "/api/ban", user), ErrorWord::ShardSilent);
    assert_eq!(folder.subjects(), ["ann"]);
    let find = || running.call("GET", "/api/sessions?user=ann", "").1["sessions"].clone();
    find();
    assert_eq!(find(), json!([]));
    running.log_in("ann");
    assert_eq!(find(), json!([]));
    // To end it once more ends it where that has not come.
    for _ in 0..2 {
        running.check_error(("DELETE", "/api/ban", user), ErrorWord::ShardSilent);
        assert_eq!(folder.subjects(), [""; 0]);
    }
    running.log_in("ann");
    assert_eq!(find()[0]["user"], "ann");
}
