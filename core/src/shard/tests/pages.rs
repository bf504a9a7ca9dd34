//! Pages of `rooms` in the turn's budget.

use super::*;

#[test]
fn a_turn_makes_as_many_pages_as_it_handles_events() {
    let limits = Limits { turn_events_max: 1, partition_events_max: 3, ..Limits::PRODUCTION };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 join room=r
            1: join status=0 room=r members=1
        1 rooms id=1 ; 1 rooms id=2 ; 1 rooms id=3 ; 1 rooms id=4
            1: rooms id=4 status=503 error=busy
            1: rooms id=1 status=0 rooms=r
        +1
            1: rooms id=2 status=0 rooms=r
        1 chat to=r text=x
            1: chat status=0 seq=1
            1: chat room=r from=ann text=x seq=1
            1: rooms id=3 status=0 rooms=r
        +1
        ",
    );
}
