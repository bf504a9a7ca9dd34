//! Keys in files, tickets of them, and what is told of a ticket.

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: TicketArguments,
}

/// A folder of the test's own.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("warren-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn told(line: &[&str]) -> Result<String, Fatal> {
    let line = Line::try_parse_from(["ticket"].iter().chain(line)).unwrap();
    let mut out = Vec::new();
    run(&line.arguments, &mut out)?;
    Ok(String::from_utf8(out).unwrap().trim_end().to_owned())
}

fn inspected(line: &[&str], ticket: &str) -> (ExitCode, Value) {
    let line = Line::try_parse_from(["ticket", "inspect", "--json"].iter().chain(line)).unwrap();
    let TicketCommand::Inspect(inspect) = line.arguments.command else { panic!("another") };
    let (status, text) = inspect_ticket(&inspect, &mut ticket.as_bytes()).unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let folder = Folder::new("keygen");
    let key = folder.path("ticket.key");
    let public = told(&["keygen", "--key", &key, "--id", "k1"]).unwrap();
    assert_eq!(TicketKey::read(&public).unwrap().id(), "k1");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(&key).unwrap();
    assert!(told(&["keygen", "--key", &key]).unwrap_err().detail.contains("cannot be made"));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), secret);
    let fault = told(&["keygen", "--key", &folder.path("b"), "--id", "a.b"]).unwrap_err();
    assert_eq!(fault.reason, FatalReason::ConfigInvalid);
    let other: Value =
        serde_json::from_str(&told(&["keygen", "--json", "--key", &folder.path("c")]).unwrap())
            .unwrap();
    assert!(other["public"].as_str().unwrap().starts_with("main:"));
    assert_ne!(other["public"], public);
}

#[test]
fn a_ticket_is_issued_and_inspected() {
    let folder = Folder::new("issue");
    let key = folder.path("ticket.key");
    told(&["keygen", "--key", &key]).unwrap();
    let issue = ["issue", "--key", &key, "--user", "ann", "--role", "user", "--role", "bard"];
    let ticket = told(&issue).unwrap();
    let (status, told_of) = inspected(&["--key", &key], &format!("{ticket}\n"));
    assert_eq!(status, ExitCode::SUCCESS);
    assert_eq!(told_of["verified"], true);
    assert_eq!(told_of["key"], "main");
    assert_eq!(told_of["claims"]["user"], "ann");
    assert_eq!(told_of["claims"]["roles"], serde_json::json!(["user", "bard"]));
    assert_eq!(told_of["claims"]["aud"], "warren");
    let (now_s, until_s) =
        (Clock::start().now().wall_ms / 1000, told_of["claims"]["exp"].as_u64().unwrap());
    assert!((now_s + 3500..=now_s + 3600).contains(&until_s), "{until_s}");
    // Without a key it is shown, and not believed.
    let (status, told_of) = inspected(&[], &ticket);
    assert_eq!((status, &told_of["verified"]), (ExitCode::SUCCESS, &Value::Bool(false)));
    let json = told(&[&issue[..], &["--json"]].concat()).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["claims"]["user"], "ann");
    assert!(Ticket::read(json["ticket"].as_str().unwrap()).is_ok());
}

#[test]
fn what_is_wrong_with_a_ticket_is_told() {
    let folder = Folder::new("inspect");
    let (key, other) = (folder.path("a.key"), folder.path("b.key"));
    told(&["keygen", "--key", &key]).unwrap();
    told(&["keygen", "--key", &other]).unwrap();
    let issue = |more: &[&str]| {
        let line = ["issue", "--key", &key, "--user", "ann"];
        told(&[&line[..], more].concat()).unwrap()
    };
    let plain = issue(&[]);
    for (line, ticket, reason) in [
        (["--key", &other], &plain, "ticket-invalid"),
        (["--key", &key], &issue(&["--expires", "0s"]), "ticket-expired"),
        (["--key", &key], &issue(&["--starts", "1h"]), "ticket-early"),
        (["--key", &key], &issue(&["--audience", "elsewhere"]), "ticket-audience"),
        (["--key", &key], &"x".repeat(5000), "ticket-invalid"),
        (["--key", &key], &String::new(), "ticket-invalid"),
    ] {
        let (status, told_of) = inspected(&line, ticket);
        assert_eq!(status, ExitCode::FAILURE, "{told_of}");
        assert_eq!(
            (&told_of["verified"], &told_of["reason"]),
            (&Value::Bool(false), &reason.into())
        );
    }
    let fault = told(&["issue", "--key", &key, "--user", "a b"]).unwrap_err();
    assert_eq!(fault.reason, FatalReason::ConfigInvalid);
}

#[test]
fn a_server_s_configuration_says_whether_it_takes_a_ticket() {
    let folder = Folder::new("config");
    let (key, config) = (folder.path("ticket.key"), folder.path("warren.toml"));
    let public = told(&["keygen", "--key", &key]).unwrap();
    let game = format!("[auth]\nmode = \"ticket\"\nkeys = [\"{public}\"]\naudience = \"game\"\n");
    std::fs::write(&config, game).unwrap();
    for (audience, reason) in [("game", Value::Null), ("warren", "ticket-audience".into())] {
        let issue = ["issue", "--key", &key, "--user", "ann", "--audience", audience];
        let (_, told_of) = inspected(&["--config", &config], &told(&issue).unwrap());
        assert_eq!(told_of["reason"], reason);
        assert_eq!(told_of["verified"], Value::Bool(reason.is_null()));
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_none_is_refused_and_not_shown() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("key");
    let key = folder.path("ticket.key");
    let public = told(&["keygen", "--key", &key]).unwrap();
    let issue = ["issue", "--key", &key, "--user", "ann"];
    let set_mode = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o640);
    assert!(told(&issue).unwrap_err().detail.contains("others may read this key"));
    set_mode(0o600);
    for text in [public.as_str(), "", "secret:main:abcd"] {
        std::fs::write(&key, text).unwrap();
        let detail = told(&issue).unwrap_err().detail;
        assert!(detail.contains("no key"), "{detail}");
        assert!(text.is_empty() || !detail.contains(text), "{detail}");
    }
    let missing = ["issue", "--key", "/nowhere/key", "--user", "ann"];
    assert!(told(&missing).unwrap_err().detail.contains("cannot be read"));
}

#[test]
fn people_read_times_and_names() {
    let claims = Claims {
        user: "ann",
        roles: None,
        audience: "warren",
        not_before_s: Some(0),
        expires_s: 999_999_999_999_999,
    };
    let text = inspection(Some("main"), Some(&claims), Err(TicketFault::Expired), false);
    assert_eq!(
        text,
        "key:      main\nuser:     ann\nroles:    user\naudience: warren\n\
         from:     1970-01-01T00:00:00Z\nuntil:    999999999999999\n\
         refused:  ticket-expired: its time is over"
    );
    assert!(inspection(None, None, Err(TicketFault::Malformed), false).starts_with("refused:"));
}
