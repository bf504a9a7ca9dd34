//! Who may do what, by real requests: what each user is answered, and what others hear of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{format, fs, path};

use super::*;
use crate::authorize::{ROLE_ADMIN, removal};
use crate::ticket::{Claims, TicketIssuer, TicketKey, TicketVerifier};

const NOW_MS: u64 = 1_700_000_000_000;

fn issuer() -> TicketIssuer {
    TicketIssuer::new("main", &[7; 32]).unwrap()
}

/// A login of `user` with these roles.
fn login(connection: u32, user: &str, roles: Option<&[&str]>) -> String {
    let (roles, expires_s) = (roles.map(Into::into), NOW_MS / 1000 + 60);
    let claims = Claims { user, roles, audience: "warren", not_before_s: None, expires_s };
    let ticket = issuer().issue(&claims).unwrap();
    format!("{connection} open ; {connection} login ticket={ticket}")
}

/// A world of tickets, in which bob owns a public and a secret room and a lamp in the secret one,
/// carl is a member of both rooms, dora is an admin, eve has no role, and ann nothing but `user`.
fn world() -> World {
    let mut world = World::new(Limits::PRODUCTION);
    let keys = vec![TicketKey::of(&issuer())];
    let verifier = TicketVerifier::new(keys, "warren", 0);
    let authentication = Authentication::Tickets(verifier);
    let mut task_methods = TaskMethods::default();
    task_methods.add("hit").unwrap();
    task_methods.add("heal").unwrap();
    let mut policy = Policy::default();
    policy.set_rule("heal", ["admin"]).unwrap();
    let settings = settings(Limits::PRODUCTION);
    world.shard = Shard::new(ShardSettings { authentication, task_methods, policy, ..settings });
    world.run("0 open");
    for (connection, user, roles) in [
        (1, "ann", None),
        (2, "bob", None),
        (3, "carl", None),
        (4, "dora", Some(&[ROLE_ADMIN][..])),
        (5, "eve", Some(&[][..])),
    ] {
        assert!(world.run(&login(connection, user, roles)).contains("status=0"), "{user}");
    }
    for line in [
        "2 create kind=room room=open",
        "2 create kind=room room=hidden secret=true",
        "3 join room=open ; 3 join room=hidden",
        "2 join room=hidden",
        "2 create kind=lamp partition=9 room=hidden",
        "2 leave room=hidden",
        "2 hit target=9.1",
        "2 new-event event=hit delay_ms=60000 target=9.1",
    ] {
        assert!(!world.run(line).contains("error"), "{line}");
    }
    world
}

fn room_id(name: &str) -> ObjectId {
    ObjectId::new(PartitionId::of_name(name), FIRST_ADDRESS)
}

/// What becomes of a request by everybody: the stranger, ann, bob the owner, carl the member, dora
/// the admin, and eve, who has no role. `+` stands for granted.
#[test]
fn every_request_of_everybody_is_answered_as_in_the_table() {
    let [open, hidden] = ["open", "hidden"].map(room_id);
    let table = [
        ("time", "not-logged-in + + + + forbidden"),
        ("ping", "+ + + + + +"),
        ("rooms", "not-logged-in + + + + forbidden"),
        ("create kind=x", "not-logged-in + + + + forbidden"),
        ("find kind=x", "not-logged-in + + + + forbidden"),
        ("chat to=ann text=x", "not-logged-in + + + + forbidden"),
        ("emit to=ann event=x", "not-logged-in + + + + forbidden"),
        ("join room=fresh-1", "not-logged-in + + + + forbidden"),
        ("get object=9.1", "not-logged-in + + + + forbidden"),
        ("watch object=9.1", "not-logged-in + + + + forbidden"),
        ("set object=9.1 x=1", "not-logged-in not-owner + not-owner + forbidden"),
        ("delete object=9.1", "not-logged-in not-owner + not-owner + forbidden"),
        (&format!("get object={open}"), "not-logged-in + + + + forbidden"),
        (&format!("watch object={open}"), "not-logged-in + + + + forbidden"),
        (&format!("set object={open} x=1"), "not-logged-in not-owner + not-owner + forbidden"),
        ("who room=open", "not-logged-in + + + + forbidden"),
        ("chat to=open text=x", "not-logged-in not-a-member not-a-member + not-a-member forbidden"),
        (
            "emit to=open event=x",
            "not-logged-in not-a-member not-a-member + not-a-member forbidden",
        ),
        ("leave room=open", "not-logged-in not-a-member not-a-member + not-a-member forbidden"),
        (
            "move room=open x=1 y=1",
            "not-logged-in not-a-member not-a-member not-a-member not-a-member forbidden",
        ),
        (&format!("get object={hidden}"), "not-logged-in unknown-object + + + forbidden"),
        (&format!("watch object={hidden}"), "not-logged-in unknown-object + + + forbidden"),
        (
            &format!("unwatch object={hidden}"),
            "not-logged-in unknown-object not-watching not-watching not-watching forbidden",
        ),
        (
            &format!("set object={hidden} x=1"),
            "not-logged-in unknown-object + not-owner + forbidden",
        ),
        (
            &format!("delete object={hidden}"),
            "not-logged-in unknown-object room-occupied not-owner room-occupied forbidden",
        ),
        ("who room=hidden", "not-logged-in unknown-room + + + forbidden"),
        (
            "chat to=hidden text=x",
            "not-logged-in unknown-recipient not-a-member + not-a-member forbidden",
        ),
        ("leave room=hidden", "not-logged-in unknown-room not-a-member + not-a-member forbidden"),
        // Whoever may ask is told what is wrong with it.
        (
            "hit token=1",
            "not-logged-in reserved-field reserved-field reserved-field reserved-field forbidden",
        ),
        // For this one the configuration has a rule.
        ("heal token=1", "not-logged-in forbidden forbidden forbidden reserved-field forbidden"),
        // bob has asked for a task.
        ("get object=9.2", "not-logged-in unknown-object + unknown-object + forbidden"),
        (
            "watch object=9.2",
            "not-logged-in unknown-object forbidden unknown-object forbidden forbidden",
        ),
        ("set object=9.2 x=1", "not-logged-in forbidden forbidden forbidden forbidden forbidden"),
        ("delete object=9.2", "not-logged-in forbidden forbidden forbidden forbidden forbidden"),
        ("work methods=hit", "not-logged-in forbidden forbidden forbidden forbidden forbidden"),
        ("done task=9.2", "not-logged-in forbidden forbidden forbidden forbidden forbidden"),
        ("cancel-event task=9.3", "not-logged-in unknown-object + unknown-object + forbidden"),
        ("pending", "not-logged-in + + + + forbidden"),
        ("new-event event=hit delay_ms=9", "not-logged-in + + + + forbidden"),
        (
            "new-event event=heal delay_ms=9",
            "not-logged-in forbidden forbidden forbidden + forbidden",
        ),
        ("register-watcher", "not-logged-in forbidden forbidden forbidden + forbidden"),
        ("join room=watchtower", "not-logged-in forbidden forbidden forbidden + forbidden"),
        // The name of a secret room is what opens it.
        ("join room=hidden", "not-logged-in + + already-member + forbidden"),
    ];
    for (request, row) in table {
        for (connection, expected) in row.split(' ').enumerate() {
            let mut world = world();
            let heard = world.run(&format!("{connection} {request} id=asked"));
            let prefix = format!("{connection}: ");
            let own =
                heard.lines().find(|line| line.starts_with(&prefix) && line.contains("id=asked"));
            let own = own.unwrap_or_else(|| panic!("{connection} {request}: {heard}"));
            let error = own.split_once("error=").map_or("+", |(_, word)| word);
            assert_eq!(error, expected, "{connection} {request}");
            if expected != "+" {
                // What is refused has no effect that anybody hears.
                assert_eq!(heard.lines().count(), 1, "{connection} {request}: {heard}");
            }
        }
    }
}

#[test]
fn secret_rooms_are_listed_found_and_named_to_nobody_who_may_not_know() {
    let [open, hidden] = ["open", "hidden"].map(room_id);
    for (connection, listed, found, names_room) in [
        (1, false, false, false),
        (2, false, true, true),
        (3, false, true, false),
        (4, true, true, true),
    ] {
        let mut world = world();
        let rooms = world.run(&format!("{connection} rooms"));
        let expected = if listed { "rooms=hidden|open" } else { "rooms=open" };
        assert!(rooms.trim().ends_with(expected), "{rooms}");
        let find = format!("{connection} find kind=room partition={}", hidden.partition().0);
        assert_eq!(world.run(&find).contains(&format!("objects={hidden}")), found, "{connection}");
        let find = format!("{connection} find kind=room partition={}", open.partition().0);
        assert!(world.run(&find).contains(&format!("objects={open}")));
        for method in ["get", "watch"] {
            let told = world.run(&format!("{connection} {method} object=9.1"));
            assert_eq!(told.contains("room=hidden"), names_room, "{told}");
        }
        let told = world.run("2 set object=9.1 room=open");
        let watcher = format!("{connection}: changed object=9.1 version=2 moved=true\n");
        assert!(told.contains(&watcher), "{told}");
        // Whoever is no member of a room cannot have it told of their objects.
        assert!(!told.contains("seq="), "{told}");
    }
}

#[test]
fn a_room_that_becomes_secret_is_still_heard_of_by_those_who_may() {
    let open = room_id("open");
    let mut world = world();
    for connection in 1..=4 {
        world.run(&format!("{connection} watch object={open}"));
    }
    let heard = world.run(&format!("2 set object={open} secret=true"));
    assert!(heard.contains(&format!("1: deleted object={open}\n")), "{heard}");
    for connection in 2..=4 {
        let changed = format!("{connection}: changed object={open} version=2 secret=true\n");
        assert!(heard.contains(&changed), "{heard}");
    }
    // A member that leaves is a stranger; an admin stays what they are.
    world.run("4 join room=open");
    let left = world.run("3 leave room=open");
    assert!(left.contains(&format!("3: deleted object={open}\n")), "{left}");
    let left = world.run("4 leave room=open");
    assert!(!left.contains("deleted"), "{left}");
    let heard = world.run(&format!("2 set object={open} x=1"));
    assert!(heard.contains("4: changed") && !heard.contains("3: changed"), "{heard}");
}

#[test]
fn watchers_are_asked_for_anew_when_owner_or_secrecy_changes_and_never_else() {
    let mut world = world();
    let room = format!("{}", room_id("hidden"));
    world.run(&format!("2 watch object={room} ; 2 watch object=9.1"));
    let before = removal::reached();
    let is_asked =
        || removal::reached().difference(&before).any(|(file, _)| file.ends_with("watches.rs"));
    for object in [&*room, "9.1"] {
        let heard = world.run(&format!("2 set object={object} x=1"));
        assert!(heard.contains("2: changed"), "{heard}");
    }
    assert!(!is_asked());
    world.run("2 set object=9.1 owner=carl");
    assert!(is_asked());
}

#[test]
fn the_gateway_is_told_who_is_a_worker_also_of_a_resumed_session() {
    let mut world = world();
    world.admitted.clear();
    world.run(&login(7, "dwarf", Some(&["worker"])));
    world.run(&login(8, "gnome", Some(&["user", "worker"])));
    world.run(&login(9, "elf", None));
    assert_eq!(world.admitted, [(7, true), (8, true), (9, false)]);
    let heard = world.run(&login(10, "troll", Some(&["worker"])));
    let session = &heard.split("session=").nth(1).unwrap()[..16];
    world.run("10 close");
    let resume = format!("11 resume session={session} token=@10 received=0");
    let heard = world.run(&format!("11 open ; {resume}"));
    assert!(heard.contains("resume status=0"), "{heard}");
    assert_eq!(world.admitted[3..], [(10, true), (11, true)]);
    // What came too often is refused by the limit that holds.
    for (connection, limit) in [(7, "worker_messages_per_s"), (9, "messages_per_s")] {
        let heard = world.run(&format!("{connection} !time"));
        assert!(heard.trim_end().ends_with(&format!("limit=limits.{limit}")), "{heard}");
    }
}

#[test]
fn no_reply_repeats_a_ticket() {
    let mut world = world();
    world.run("7 open echo");
    let line = login(7, "fay", None).replace("7 open ; ", "");
    let ticket = line.rsplit_once('=').unwrap().1;
    for field in ["ticket", "pw", "token"] {
        let reply = world.run(&format!("7 login user=gus {field}={ticket}x colour=red"));
        assert!(reply.contains("colour=red") && !reply.contains(ticket), "{reply}");
    }
    let reply = world.run(&format!("7 close ; 7 open echo ; {line}"));
    assert!(reply.contains("status=0") && !reply.contains(ticket), "{reply}");
}

#[test]
fn scheduled_events_are_listed_to_whoever_made_them() {
    for (connection, tasks) in [(1, ""), (2, "9.3"), (3, ""), (4, "9.3")] {
        let heard = world().run(&format!("{connection} pending partition=9"));
        assert!(heard.contains(&format!(" tasks={tasks} ")), "{heard}");
    }
}

/// The entrance asks first, for every method. What has an object asks once more where the object is,
/// and refuses by itself whoever has no role.
fn check_homes_decide_by_themselves() {
    world().run("5 ping");
    let entrance = removal::reached().into_iter().filter(|(file, _)| file.ends_with("requests.rs"));
    let entrance: Vec<_> = entrance.collect();
    assert_eq!(entrance.len(), 1, "{entrance:?}");
    removal::without(entrance[0], || {
        let open = room_id("open");
        for request in [
            "chat to=ann text=x",
            "emit to=ann event=x",
            "join room=open",
            "who room=open",
            "leave room=open",
            "move room=open x=1 y=1",
            "chat to=open text=x",
            "get object=9.1",
            "set object=9.1 x=1",
            "delete object=9.1",
            &format!("watch object={open}"),
        ] {
            let heard = world().run(&format!("5 {request}"));
            assert!(heard.contains("error=") && heard.lines().count() == 1, "{request}: {heard}");
        }
    });
}

#[test]
fn homes_decide_by_themselves() {
    check_homes_decide_by_themselves();
}

/// Where the source asks, outside of the two functions that only pass a question on.
fn calls_in_source() -> usize {
    const PASSED_ON: usize = 2;
    let mut folders = vec![path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut calls = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let asks =
                |line: &&str| line.contains("authorize(") || line.contains("authorize_room(");
            calls += code.filter(asks).filter(|line| !line.contains("fn authorize")).count();
        }
    }
    calls - PASSED_ON
}

#[test]
fn without_any_one_call_of_authorize_something_fails() {
    let checks: [fn(); 6] = [
        every_request_of_everybody_is_answered_as_in_the_table,
        secret_rooms_are_listed_found_and_named_to_nobody_who_may_not_know,
        a_room_that_becomes_secret_is_still_heard_of_by_those_who_may,
        check_homes_decide_by_themselves,
        scheduled_events_are_listed_to_whoever_made_them,
        super::worlds::who_has_no_role_for_it_does_not_move,
    ];
    checks.iter().for_each(|check| check());
    let sites = removal::reached();
    assert_eq!(sites.len(), calls_in_source(), "each call is reached: {sites:?}");
    for site in sites {
        let fails = |check: &fn()| catch_unwind(AssertUnwindSafe(check)).is_err();
        removal::without(site, || assert!(checks.iter().any(fails), "not missed: {site:?}"));
    }
}
