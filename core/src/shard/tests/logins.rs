//! Logins that are refused, and those that wait.

use super::*;
use crate::ticket::{Claims, TicketIssuer, TicketKey, TicketVerifier};

/// A ticket for any user, and a world that takes it.
fn by_tickets(limits: Limits) -> (World, impl Fn(&str) -> String) {
    let issuer = TicketIssuer::new("main", &[3; 32]).unwrap();
    let verifier = TicketVerifier::new(vec![TicketKey::of(&issuer)], "warren", 0);
    let authentication = Authentication::Tickets(verifier);
    let mut world = World::new(limits.clone());
    world.shard = Shard::new(ShardSettings { authentication, ..settings(limits) });
    let ticket = move |user: &str| {
        let (roles, audience, expires_s) = (None, "warren", 1_700_000_060);
        issuer.issue(&Claims { user, roles, audience, not_before_s: None, expires_s }).unwrap()
    };
    (world, ticket)
}

#[test]
fn the_third_refused_login_closes_the_connection_and_what_follows_is_not_looked_at() {
    check(
        "
        1 open ; 1 login user=9 ; 1 ping ; 1 login user=ann ticket=x
            1: login status=400 error=bad-name
            1: ping status=0 time_ms=1700000000000
            1: login status=401 error=ticket-invalid
        1 resume session=x token=y received=0 ; 1 login user=ann ; 1 ping
            1: resume status=401 error=session-unknown
            1: CLOSE session-unknown
        2 open ; 2 login user=9 ; 2 login user=9 ; 2 login user=ann
            2: login status=400 error=bad-name
            2: login status=400 error=bad-name
            2: login status=0 session=0000000000000000 object=12626.1
        2 login user=ann ; 2 login user=ann ; 2 login user=ann ; 2 time
            2: login status=409 error=already-logged-in
            2: login status=409 error=already-logged-in
            2: login status=409 error=already-logged-in
            2: time status=0 time_ms=1700000000000
        ",
    );
}

#[test]
fn what_the_partition_refuses_counts_and_busy_does_not() {
    let limits = Limits { partition_events_max: 1, turn_events_max: 1, ..NO_GRACE };
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann");
    world.run("1 create kind=room room=r");
    world.run("2 open ; 3 open ; 4 open ; 7 open");
    // The other one is first in the partition's queue.
    for other in 2..=4 {
        let heard = world.run(&format!("{other} login user=r ; 7 login user=r"));
        let refused = format!("{other}: login status=409 error=name-taken\n");
        assert_eq!(heard, format!("7: login status=503 error=busy\n{refused}"));
    }
    check_in(
        &mut world,
        "
        7 login user=r ; 7 ping
            7: login status=409 error=name-taken
            7: ping status=0 time_ms=1700000000000
        7 login user=r ; 7 ping
            7: login status=409 error=name-taken
            7: ping status=0 time_ms=1700000000000
        7 login user=r ; 7 ping
            7: login status=409 error=name-taken
            7: CLOSE name-taken
        ",
    );
}

#[test]
fn a_turn_checks_few_tickets_and_the_other_logins_wait_in_order() {
    let (mut world, ticket) = by_tickets(Limits { tickets_per_turn_max: 2, ..NO_GRACE });
    let [ann, bob, carl, dan] = ["ann", "bob", "carl", "dan"].map(ticket);
    let heard = world.run(&format!(
        "1 open ; 1 login ticket={ann} ; 2 open ; 2 login ticket=w1.x.y.z ; \
         3 open ; 3 login ticket={bob} ; 3 time ; 4 open ; 4 login ticket={carl} ; 4 end ; \
         5 open ; 5 login ticket={dan} ; 3 join room=r ; 6 open ; 6 ping"
    ));
    assert_eq!(
        heard,
        "2: login status=401 error=ticket-invalid\n\
         6: ping status=0 time_ms=1700000000000\n\
         1: login status=0 session=0000000000000000 object=12626.1\n"
    );
    assert!(world.shard.has_work());
    assert_eq!(world.shard.counters().logins_waiting, 3);
    // Who goes waits no longer.
    check_in(
        &mut world,
        "
        5 close ; 3 leave room=r
            3: login status=0 session=0000000000000001 object=19122.1
            3: time status=0 time_ms=1700000000000
            4: login status=0 session=0000000000000002 object=6262.1
            4: CLOSE peer-closed
            3: join status=0 room=r members=1
            3: leave status=0
        ",
    );
    assert!(!world.shard.has_work());
    assert_eq!(world.shard.counters().logins_waiting, 0);
}

#[test]
fn what_waits_behind_a_login_is_bounded() {
    let limits = Limits { tickets_per_turn_max: 1, parked_bytes_max: 300, ..NO_GRACE };
    let (mut world, ticket) = by_tickets(limits);
    let (ann, bob) = (ticket("ann"), ticket("bob"));
    let long = "x".repeat(200);
    let heard = world.run(&format!(
        "1 open ; 1 login ticket={ann} ; 2 open ; 2 login ticket={bob} ; 2 ping x={long} ; \
         3 open ; 3 login ticket={bob} x={long} ; 2 time ; 2 banned ; 2 ping"
    ));
    assert_eq!(
        heard,
        "2: ping status=503 error=busy\n3: login status=503 error=busy\n2: CLOSE banned\n\
         1: login status=0 session=0000000000000000 object=12626.1\n"
    );
    assert!(!world.shard.has_work());
}
