//! Who is taken for whom.

use alloc::format;
use alloc::vec;

use super::*;
use crate::message::{Value, packed};
use crate::ticket::{Claims, TicketIssuer, TicketKey};

const NOW_S: u64 = 1_700_000_000;

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.add_role("bard").unwrap();
    policy
}

fn issuer() -> TicketIssuer {
    TicketIssuer::new("main", &[3; 32]).unwrap()
}

fn by_tickets() -> Authentication {
    let keys = vec![TicketKey::of(&issuer())];
    Authentication::Tickets(TicketVerifier::new(keys, "warren", 30_000))
}

fn claims(user: &str) -> Claims<'_> {
    let (roles, audience) = (None, "warren");
    Claims { user, roles, audience, not_before_s: None, expires_s: NOW_S + 60 }
}

fn ticket(claims: &Claims<'_>) -> alloc::string::String {
    issuer().issue(claims).unwrap()
}

/// User, roles and room by what a `login` says.
#[track_caller]
fn check(
    authentication: &Authentication,
    fields: &[(&str, &str)],
    expected: Result<(&str, Roles, Option<&str>), Reason>,
) {
    let fields: alloc::vec::Vec<_> =
        fields.iter().map(|(name, value)| (*name, Value::Text(value))).collect();
    let login = packed("login", &fields);
    let login = Message::from_checked(&login);
    let identity = authentication.identify(login, &policy(), NOW_S * 1000);
    let expected = expected.map(|(user, roles, room)| Identity { user: user.into(), roles, room });
    assert_eq!(identity, expected, "{fields:?}");
}

#[test]
fn in_the_open_everyone_is_who_they_say() {
    let open = Authentication::Open;
    check(&open, &[("user", "ann")], Ok(("ann", Roles::USER, None)));
    check(&open, &[("player", "ann@r")], Ok(("ann", Roles::USER, Some("r"))));
    check(&open, &[("player", "ann@lobby")], Ok(("ann", Roles::USER, None)));
    check(&open, &[("player", "ann"), ("pw", "x")], Ok(("ann", Roles::USER, None)));
    check(&open, &[], Err(Reason::FieldMissing));
    check(&open, &[("user", "lobby")], Err(Reason::Lobby));
    check(&open, &[("user", "a b")], Err(Reason::BadName));
    check(&open, &[("player", "ann@r@s")], Err(Reason::BadName));
    // Whoever sends a ticket means to be asked for one.
    let good = ticket(&claims("ann"));
    check(&open, &[("user", "ann"), ("ticket", &good)], Err(Reason::TicketInvalid));
}

#[test]
fn a_ticket_says_who_its_bearer_is() {
    let tickets = by_tickets();
    let good = ticket(&claims("ann"));
    let ann = Ok(("ann", Roles::USER, None));
    check(&tickets, &[("ticket", &good)], ann);
    check(&tickets, &[("user", "ann"), ("ticket", &good)], ann);
    check(&tickets, &[("pw", &good)], ann);
    check(&tickets, &[("player", "ann@r"), ("pw", &good)], Ok(("ann", Roles::USER, Some("r"))));
    for other in ["bob", "Ann", "ann2", "an"] {
        check(&tickets, &[("user", other), ("ticket", &good)], Err(Reason::TicketInvalid));
        check(&tickets, &[("player", other), ("pw", &good)], Err(Reason::TicketInvalid));
    }
    check(&tickets, &[("user", "a b"), ("ticket", &good)], Err(Reason::BadName));
    // The field of that name counts, and not another that would do.
    check(&tickets, &[("ticket", "x"), ("pw", &good)], Err(Reason::TicketInvalid));
    let lobby = ticket(&claims("lobby"));
    check(&tickets, &[("ticket", &lobby)], Err(Reason::Lobby));
}

#[test]
fn without_a_ticket_that_holds_nobody_logs_in() {
    let tickets = by_tickets();
    let early = Claims { not_before_s: Some(NOW_S + 31), ..claims("ann") };
    let expired = Claims { expires_s: NOW_S - 30, ..claims("ann") };
    let elsewhere = Claims { audience: "elsewhere", ..claims("ann") };
    let stranger = TicketIssuer::new("main", &[4; 32]).unwrap();
    for (text, reason) in [
        (ticket(&early), Reason::TicketEarly),
        (ticket(&expired), Reason::TicketExpired),
        (ticket(&elsewhere), Reason::TicketAudience),
        (stranger.issue(&claims("ann")).unwrap(), Reason::TicketInvalid),
        (format!("{} ", ticket(&claims("ann"))), Reason::TicketInvalid),
        ("x".repeat(5000), Reason::TicketInvalid),
        ("".into(), Reason::TicketMissing),
    ] {
        check(&tickets, &[("user", "ann"), ("ticket", &text)], Err(reason));
    }
    check(&tickets, &[("user", "ann")], Err(Reason::TicketMissing));
    check(&tickets, &[], Err(Reason::TicketMissing));
}

#[test]
fn a_ticket_says_what_its_bearer_may_do() {
    let tickets = by_tickets();
    let bard = policy().role("bard").unwrap();
    for (roles, expected) in [
        (vec!["admin"], Roles::ADMIN),
        (vec!["user", "bard", "bard"], Roles::USER.with(bard)),
        // Nothing is allowed to roles that are not known here.
        (vec!["unheard-of"], Roles::NONE),
        (vec![], Roles::NONE),
    ] {
        let claims = Claims { roles: Some(roles), ..claims("ann") };
        check(&tickets, &[("ticket", &ticket(&claims))], Ok(("ann", expected, None)));
    }
}

fn with_own_workers(others: Authentication) -> (Authentication, TicketIssuer) {
    let own = TicketIssuer::new("own", &[9; 32]).unwrap();
    let verifier = TicketVerifier::new(vec![TicketKey::of(&own)], "workers", 0);
    (Authentication::OwnWorkersOr(verifier, others.into()), own)
}

#[test]
fn the_server_s_own_workers_come_by_its_own_tickets_alone() {
    let worker = Roles::USER.with(Roles::WORKER);
    let others = Claims { roles: Some(vec!["admin"]), audience: "workers", ..claims("worker.a.1") };
    for other in [Authentication::Open, by_tickets()] {
        let (authentication, own) = with_own_workers(other);
        let good = own.issue(&others).unwrap();
        // Whatever roles it says, it has these two.
        check(&authentication, &[("ticket", &good)], Ok(("worker.a.1", worker, None)));
        let both = [("user", "worker.a.1"), ("ticket", &*good)];
        check(&authentication, &both, Ok(("worker.a.1", worker, None)));
        let another = [("user", "worker.a.2"), ("ticket", &*good)];
        check(&authentication, &another, Err(Reason::TicketInvalid));
        // Not even the server's own key makes somebody else of a worker.
        let ann = own.issue(&Claims { audience: "workers", ..claims("ann") }).unwrap();
        check(&authentication, &[("ticket", &ann)], Err(Reason::TicketInvalid));
        // A key of the same name that is not the server's.
        let false_own = TicketIssuer::new("own", &[8; 32]).unwrap().issue(&others).unwrap();
        check(&authentication, &[("ticket", &false_own)], Err(Reason::TicketInvalid));
    }
    let (open, _) = with_own_workers(Authentication::Open);
    check(&open, &[("user", "ann")], Ok(("ann", Roles::USER, None)));
    check(&open, &[("user", "worker.a.1")], Err(Reason::TicketMissing));
    check(&open, &[("player", "worker.a@r")], Err(Reason::TicketMissing));
    check(&open, &[("user", "worker")], Ok(("worker", Roles::USER, None)));
    check(&open, &[("ticket", &ticket(&claims("ann")))], Err(Reason::TicketInvalid));
    let (tickets, _) = with_own_workers(by_tickets());
    check(&tickets, &[("user", "ann")], Err(Reason::TicketMissing));
    check(&tickets, &[("ticket", &ticket(&claims("ann")))], Ok(("ann", Roles::USER, None)));
    // Nor does a ticket of another key make somebody a worker of the server.
    check(&tickets, &[("ticket", &ticket(&claims("worker.a.1")))], Err(Reason::TicketInvalid));
}

#[test]
fn only_a_ticket_takes_a_signature_s_time() {
    let login = |fields: &[(&str, Value<'_>)]| packed("login", fields);
    let (bare, shown) =
        (login(&[("user", Value::Text("ann"))]), login(&[("ticket", Value::Text("w1.own.x.y"))]));
    let (open, _) = with_own_workers(Authentication::Open);
    assert!(!open.checks_ticket(Message::from_checked(&bare)));
    assert!(open.checks_ticket(Message::from_checked(&shown)));
    let (tickets, _) = with_own_workers(by_tickets());
    assert!(tickets.checks_ticket(Message::from_checked(&bare)));
}
