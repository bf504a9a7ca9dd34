//! Limits of addresses and accounts.

use super::*;
use crate::admission::AddressEvent;
use crate::mesh::MeshMessage;

const FEW: Limits = Limits {
    connections_per_address_max: 2,
    logins_per_minute_per_address: 2,
    logins_per_minute_per_account: 2,
    ..NO_GRACE
};

#[test]
fn an_address_with_too_many_connections_gets_no_more() {
    check_with(
        FEW,
        "
        1 from 192.0.2.1 ; 1 open ; 2 from 192.0.2.1
        3 from 192.0.2.1 ; 4 from 192.0.2.2
            3: CLOSE too-many-connections
        5 from 192.0.2.1 ; 5 open ; 5 ping id=a
            5: ping id=a status=0 time_ms=1700000000000
            5: CLOSE too-many-connections
        3 gone ; 5 close ; 5 gone ; 2 gone
        2 from 192.0.2.1
        6 from 192.0.2.1 moved
        7 from 192.0.2.1 ; 8 from 192.0.2.1 moved
            7: CLOSE too-many-connections
            8: CLOSE too-many-connections
        ",
    );
}

#[test]
fn an_address_that_logs_in_too_often_is_closed_whatever_comes_of_it() {
    check_with(
        FEW,
        "
        1 from 192.0.2.1 ; 1 open ; 2 from 192.0.2.1 ; 2 open
        1 login user=9
            1: login status=400 error=bad-name
        1 resume session=x token=y received=0
            1: resume status=401 error=session-unknown
        2 login user=
            2: login status=400 error=bad-name
            2: CLOSE login-rate
        ",
    );
}

#[test]
fn a_resume_counts_once_where_it_is_answered() {
    check_with(
        FEW,
        "
        1 from 192.0.2.1 moved ; 1 open ; 2 from 192.0.2.1 moved ; 2 open
        1 resume session=x token=y received=0
            1: resume status=401 error=session-unknown
        1 resume
            1: resume status=400 error=field-missing
        2 resume session=x token=y received=0
            2: resume status=401 error=session-unknown
            2: CLOSE login-rate
        ",
    );
    let mut world = World::new(FEW);
    let routing = RoutingTable::even(3, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(FEW) });
    world.outputs = ShardOutputs::new(3);
    let is_counted_elsewhere = |last: &u8| {
        let peer = crate::peer::PeerAddress::of([192, 0, 2, *last].into());
        crate::admission::shard_of(peer, 3) != world.shard.id()
    };
    let last = (1..).find(is_counted_elsewhere).unwrap();
    world.run(&format!("1 from 192.0.2.{last} ; 1 open"));
    let mut logins_told = |shard: u16| {
        let token = "0".repeat(32);
        world.run(&format!("1 resume session={shard:04x}000000000000 token={token} received=0"));
        let told = world.outputs.mesh.iter().flat_map(|batch| &batch.list);
        let is_login = |message: &&MeshMessage| {
            matches!(message, MeshMessage::AddressEvent { event: AddressEvent::LogsIn, .. })
        };
        told.filter(is_login).count()
    };
    // No shard takes what it is told here: it adds up.
    assert_eq!([3, 0, 2].map(&mut logins_told), [1, 2, 2]);
}

#[test]
fn a_connection_that_is_being_closed_is_not_closed_again() {
    check_with(
        FEW,
        "
        1 from 192.0.2.1 ; 1 open ; 2 from 192.0.2.1
        3 open ; 3 quit ; 3 from 192.0.2.1
            3: quit status=0
            3: CLOSE quit
        3 close ; 3 gone
        3 from 192.0.2.1
            3: CLOSE too-many-connections
        ",
    );
}

#[test]
fn only_logins_that_are_granted_count_for_the_account() {
    let mut world = World::new(FEW);
    world.run("1 open ; 2 open ; 3 open ; 4 open ; 5 open ; 6 open ; 7 open");
    for client in 5..=7 {
        let heard = world.run(&format!("{client} login user=ann ticket=x"));
        assert_eq!(heard, format!("{client}: login status=401 error=ticket-invalid\n"));
    }
    let granted = "login status=0 ";
    for client in 1..=2 {
        let heard = world.run(&format!("{client} login user=ann"));
        assert!(heard.contains(granted), "{heard}");
    }
    let heard = world.run("3 login user=ann");
    let limit = "limit=limits.logins_per_minute_per_account";
    assert_eq!(heard, format!("3: login status=429 error=account-login-rate {limit}\n"));
    let heard = world.run("3 login user=bob");
    assert!(heard.contains(granted), "others have their own: {heard}");
    let heard = world.run("+30000 ; 4 login user=ann");
    assert!(heard.contains(granted), "half a minute is worth one: {heard}");
}
