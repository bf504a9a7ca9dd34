//! Thieves of sessions over real sockets: whatever they show, the session stays its owner's, and
//! the room notices nothing.

use warren_core::limits::REFUSED_LOGINS_MAX;
use warren_core::message::Value;

use crate::admin::{TestFolder, serve};
use crate::any_client::{AnyClient, Way, Wire};
use crate::client::Client;
use crate::resume::{Resumer, hearer_and_speaker};
use crate::server::TestServer;

/// Connections over which tokens are guessed, each for as long as it may.
const GUESSERS: usize = 300;

/// `resume` with these, where `received` is what the owner has.
fn ask(client: &mut AnyClient, session: &str, token: &str, received: u64) {
    let received = Value::Integer(received as i64);
    let fields = [("session", Value::Text(session)), ("token", Value::Text(token))];
    client.request("resume", &[fields.as_slice(), &[("received", received)]].concat());
}

/// A thief on a connection of its own is refused with the one word that tells nothing.
#[track_caller]
fn check_refused(owner: &Resumer, session: &str, token: &str) {
    let mut thief = AnyClient::connect(owner.way());
    ask(&mut thief, session, token, owner.received);
    let answer = thief.hear_of("resume");
    assert_eq!(answer.text("error"), "session-unknown", "{answer:?}");
    assert_eq!(answer.text("token"), "");
}

/// The owner is on its connection still, and whoever is in the room has heard of nothing since the
/// last time.
#[track_caller]
fn check_undisturbed(owner: &mut Resumer, watcher: &mut Client, sequence: &mut u64) {
    owner.client.request("chat", &[("to", Value::Text("r")), ("text", Value::Text("mine"))]);
    // What the room heard first was its `joined`, so nobody has come or gone in between.
    let heard = watcher.json();
    assert_eq!((&heard["msg"], &heard["from"]), (&"chat".into(), &"ann".into()), "{heard}");
    *sequence += 1;
    assert_eq!(heard["seq"], *sequence, "{heard}");
    while owner.hear_of("chat").text("from") != "ann" {}
}

/// Another token: one digit is another.
fn spoilt(token: &str, at: usize) -> String {
    let mut digits = token.as_bytes().to_vec();
    digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(digits).unwrap()
}

#[test]
fn tokens_that_are_used_wrong_or_of_others_take_nothing_over() {
    let config = "[limits]\nmessages_per_s = 0\n";
    let server = TestServer::start_with(2, config);
    let (mut owner, mut watcher) = hearer_and_speaker(&server);
    let sequence = &mut 1;
    check_undisturbed(&mut owner, &mut watcher, sequence);

    // Used, with a message behind it.
    let used = owner.tokens[0].clone();
    owner.disconnect();
    owner.resume();
    check_undisturbed(&mut owner, &mut watcher, sequence);
    check_refused(&owner, &owner.session, &used);
    check_undisturbed(&mut owner, &mut watcher, sequence);

    // Another user's, for this session and with this session's for the other's.
    let mallory = Resumer::log_in(owner.way().clone(), "mallory");
    check_refused(&owner, &owner.session, &mallory.tokens[0]);
    check_refused(&owner, &mallory.session, &owner.tokens[0]);
    // Sessions that there are not: other shards, other slots, earlier and later users of the slot.
    let number = u64::from_str_radix(&owner.session, 16).unwrap();
    for bit in 0..64 {
        check_refused(&owner, &format!("{:016x}", number ^ 1 << bit), &owner.tokens[0]);
    }
    for no_session in ["", "0", "+000000000000000", &owner.session[1..]] {
        check_refused(&owner, no_session, &owner.tokens[0]);
    }
    check_undisturbed(&mut owner, &mut watcher, sequence);

    // Guessed, until each connection is closed: the last guess is not looked at.
    for guesser in 0..GUESSERS {
        let mut thief = AnyClient::connect(owner.way());
        let count = usize::from(REFUSED_LOGINS_MAX);
        for guess in 0..=count {
            let number = guesser * count + guess;
            let token = match number % 3 {
                0 => spoilt(&owner.tokens[0], number % 32),
                1 => format!("{number:032x}"),
                _ => "f".repeat(number % 70),
            };
            ask(&mut thief, &owner.session, &token, owner.received);
        }
        for _ in 0..count {
            assert_eq!(thief.hear_of("resume").text("error"), "session-unknown");
        }
        assert_eq!(thief.hear_of("closed").text("error"), "session-unknown");
    }
    check_undisturbed(&mut owner, &mut watcher, sequence);
    owner.disconnect();
    assert_eq!(owner.resume().0, 0);
    check_undisturbed(&mut owner, &mut watcher, sequence);
    server.metric_becomes("warren_resumes_total", "", 2);
    server.stop();
}

#[test]
fn of_two_who_race_with_one_token_one_has_the_session() {
    const RACES: usize = 50;
    let server = TestServer::start(2);
    let (mut owner, mut watcher) = hearer_and_speaker(&server);
    let sequence = &mut 1;
    for _ in 0..RACES {
        let mut racers = [AnyClient::connect(owner.way()), AnyClient::connect(owner.way())];
        for racer in &mut racers {
            owner.ask(racer, &owner.tokens[0]);
        }
        // Both showed what is valid: each is answered, and the later has the session.
        let answers = racers.each_mut().map(|racer| racer.hear_of("resume"));
        assert!(answers.iter().all(|answer| answer.number("status") == Some(0)), "{answers:?}");
        let mut valid_count = 0;
        for (mut racer, answer) in racers.into_iter().zip(answers) {
            let mut probe = AnyClient::connect(owner.way());
            owner.ask(&mut probe, answer.text("token"));
            let probed = probe.hear_of("resume");
            if probed.number("status") == Some(0) {
                valid_count += 1;
                owner.tokens[0] = probed.text("token").to_owned();
                owner.client = probe;
            } else {
                assert_eq!(probed.text("error"), "session-unknown");
            }
            assert_eq!(racer.hear_of("closed").text("error"), "taken-over");
        }
        assert_eq!(valid_count, 1);
        check_undisturbed(&mut owner, &mut watcher, sequence);
    }
    server.stop();
}

#[test]
fn nobody_resumes_what_has_ended() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let way = Way { address: server.listen, wire: Wire::Json, tls: None };
    let mut watcher = Client::log_in(server.listen, "watcher");
    watcher.join("r");
    for end in ["quit", "kicked", "displaced"] {
        let mut owner = Resumer::log_in(way.clone(), "ann");
        owner.join("r");
        assert_eq!(watcher.json()["msg"], "joined");
        // A cut and a resume on the way: its first token is worth nothing either.
        let first = owner.tokens[0].clone();
        owner.disconnect();
        owner.resume();
        match end {
            "quit" => owner.client.request("quit", &[]),
            "kicked" => assert_eq!(server.call("POST", "/api/kick", r#"{"user":"ann"}"#).0, 200),
            _ => drop(Client::log_in(server.listen, "ann")),
        }
        if end == "quit" {
            owner.client.hear_of("quit");
        } else {
            assert_eq!(owner.client.hear_of("closed").text("error"), end);
        }
        let left = watcher.json();
        assert_eq!((&left["msg"], &left["user"]), (&"left".into(), &"ann".into()), "{end}");
        for token in [first, owner.tokens[0].clone()] {
            check_refused(&owner, &owner.session, &token);
        }
    }
    server.stop();
}

#[test]
fn the_room_hears_of_the_end_after_the_grace_time_and_not_before() {
    const GRACE_MS: u64 = 500;
    let config = format!("[session]\ngrace_ms = {GRACE_MS}\n");
    let server = TestServer::start_with(2, &config);
    let (mut owner, mut watcher) = hearer_and_speaker(&server);
    check_undisturbed(&mut owner, &mut watcher, &mut 1);
    #[expect(clippy::disallowed_methods, reason = "no grace time is shorter than itself")]
    let cut_at = std::time::Instant::now();
    owner.disconnect();
    let left = watcher.json();
    assert_eq!((&left["msg"], &left["user"]), (&"left".into(), &"ann".into()));
    assert!(cut_at.elapsed().as_millis() >= u128::from(GRACE_MS), "{:?}", cut_at.elapsed());
    check_refused(&owner, &owner.session, &owner.tokens[0]);
    server.metric_becomes("warren_sessions", "", 1);
    server.stop();
}
