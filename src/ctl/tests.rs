//! What people read, and which requests a command line becomes. Against a real server:
//! `tests/integration/ctl.rs`.

use clap::Parser;
use serde_json::json;

use super::client::path_with;
use super::*;
use crate::arguments::{Arguments, Command};

fn read(line: &str) -> CtlArguments {
    match Arguments::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Ctl(arguments) => arguments,
        other => panic!("another command: {other:?}"),
    }
}

#[test]
fn flags_may_stand_before_and_behind_the_order() {
    let before = read("warren ctl --json --admin unix:/run/a --token-file t status");
    let behind = read("warren ctl status --json --admin unix:/run/a --token-file t");
    assert_eq!(before, behind);
    assert!(before.json && before.admin.token_file == Some("t".into()), "{before:?}");
    assert_eq!(before.admin.admin, Some("unix:/run/a".parse().unwrap()));
}

#[test]
fn bans_are_of_users_or_of_addresses() {
    for (text, body) in [
        ("ann", json!({ "user": "ann" })),
        ("192.0.2.7", json!({ "address": "192.0.2.7" })),
        ("192.0.2.7/24", json!({ "address": "192.0.2.0/24" })),
        ("2001:db8::/32", json!({ "address": "2001:db8::/32" })),
    ] {
        let Order::Ban { subject, time, .. } =
            read(&format!("warren ctl ban {text} --for 1h")).order
        else {
            panic!("another order")
        };
        assert_eq!(time.as_deref(), Some("1h"));
        assert_eq!(subject_body(&subject), body);
    }
}

#[test]
fn parameters_are_encoded() {
    let path =
        path_with("/api/bans", [("count", "250"), ("after", "2001:db8::/32 &é")].into_iter());
    assert_eq!(path, "/api/bans?count=250&after=2001%3Adb8%3A%3A%2F32%20%26%C3%A9");
    assert_eq!(path_with("/api/rooms", [].into_iter()), "/api/rooms");
}

#[test]
fn columns_stand_below_each_other() {
    let answer = json!({ "rooms": [
        { "room": "plaza", "members": 7, "seq": 12_345, "shard": 0, "secret": false,
          "transient": true, "object": "171.1" },
        { "room": "b", "members": 1000, "seq": 0, "shard": 1, "secret": true,
          "transient": false, "object": "7.31" },
    ], "after": null });
    let expected = "\
room   members  last message  shard  secret  transient  object
plaza        7         12345      0  no      yes        171.1
b         1000             0      1  yes     no         7.31
";
    assert_eq!(tables::rooms(&answer), expected);
    assert_eq!(tables::rooms(&json!({ "rooms": [], "after": null })), "no rooms\n");
}

#[test]
fn digests_of_groups_and_of_their_parts_are_added() {
    let answer = json!({ "digests": [
        { "group": 7, "objects": 2, "digest": "ffffffffffffffff" },
        { "group": 1023, "objects": 1, "digest": "00000000000000a0" },
        { "group": 7, "objects": 3, "digest": "0000000000000003" },
    ], "after": null });
    let digest = |with_groups| digest::of_node(&answer, with_groups).unwrap();
    assert_eq!(digest(false), json!({ "objects": 6, "digest": "00000000000000a2" }));
    let expected = "\
00000000000000a2 of 6 objects
group  objects  digest
    7        5  0000000000000002
 1023        1  00000000000000a0
";
    assert_eq!(tables::digest(&digest(true)), expected);
    assert_eq!(digest::of_node(&json!({ "digests": [{ "group": 7 }] }), false), None);
}

#[test]
fn bans_tell_until_when_and_whether_they_are_stored() {
    let answer = json!({ "bans": [
        { "user": "ann", "since": "2026-01-01T00:00:00Z", "until": null, "reason": "" },
        { "address": "10.0.0.0/8", "since": "2026-01-01T00:00:00Z",
          "until": "2026-01-02T00:00:00Z", "reason": "floods" },
    ], "after": null, "stored": false });
    let expected = "\
who         since                 until                 reason
ann         2026-01-01T00:00:00Z  for ever              -
10.0.0.0/8  2026-01-01T00:00:00Z  2026-01-02T00:00:00Z  floods
the server has no data folder: bans end with it
";
    assert_eq!(tables::bans(&answer), expected);
    let banned = json!({ "user": "ann", "until": "2026-01-02T00:00:00Z", "session": "0a",
                         "stored": true });
    let told = "ann is banned until 2026-01-02T00:00:00Z, and out (session 0a)\n";
    assert_eq!(tables::banned(&banned), told);
}

#[test]
fn the_status_is_told_in_all_and_by_shard() {
    let answer = json!({
        "version": "0.1.0", "phase": "serving", "listen": "127.0.0.1:7171",
        "uptime_ms": 3_661_500, "connections": 5, "sessions": 4, "rooms": 3, "objects": 12,
        "bans": 1,
        "shards": [{ "shard": 0, "turn_age_ns": 2_500_000, "connections": 5, "sessions": 4,
                     "rooms": 3, "objects": 12, "queued_events": 0, "send_queue_bytes": 0,
                     "mesh_staged_bytes": 0 }],
    });
    let text = tables::status(&answer);
    let mut lines = text.lines();
    let first = "Warren 0.1.0 is serving on 127.0.0.1:7171, for 1h 1m 1s";
    assert_eq!(lines.next(), Some(first));
    let second = "5 connections, 4 sessions, 3 rooms, 12 objects, 1 bans";
    assert_eq!(lines.next(), Some(second));
    let numbers: Vec<_> = lines.last().unwrap().split_whitespace().collect();
    assert_eq!(numbers, ["0", "5", "4", "3", "12", "0", "0", "0", "2"]);
}

#[test]
fn nothing_moves_the_cursor() {
    assert_eq!(tables::printable("a\u{1b}[2J\nb\u{202e}c"), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
    let answer = json!({ "user": "a\u{1b}b", "session": "0" });
    assert!(!tables::kicked(&answer).contains('\u{1b}'));
}

#[test]
fn a_token_that_was_left_here_goes_to_no_other_machine() {
    let data = std::env::temp_dir();
    let line = format!("warren ctl --admin 192.0.2.1:7172 --data {} status", data.display());
    let fatal = run(&read(&line), &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert_eq!(fatal.reason.exit_status(), 78);
    assert!(fatal.detail.contains("--token-file"), "{fatal}");
}
