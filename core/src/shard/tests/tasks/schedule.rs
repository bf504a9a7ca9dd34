//! Scheduled events: who hears of them ahead, who does them in time, and who calls them off.

use super::*;

#[test]
fn an_event_waits_for_its_time_and_is_a_task_then() {
    check_default(
        "
        3 work methods=hit
            3: work status=0
        1 new-event event=hit delay_ms=500 target=171.1 with=axe id=7
            1: new-event id=7 status=0 task=171.3 at_ms=1700000000500
        1 pending partition=171
            1: pending status=0 tasks=171.3 events=hit times_ms=1700000000500
        +499
        +1
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 with=axe target_version=1 target_record=WOLF
        1 pending partition=171
            1: pending status=0 tasks= events= times_ms=
        3 begin task=171.3 token=@3
            3: begin status=0
        3 done task=171.3 token=@3 hp=2
            3: done status=0
        ",
    );
}

#[test]
fn an_event_s_time_is_said_in_one_of_three_ways() {
    check_default(
        "
        1 new-event event=hit time=1700000001
            1: new-event status=0 task=12626.2 at_ms=1700000001000
        1 new-event event=hit at_ms=1700000001234
            1: new-event status=0 task=12626.3 at_ms=1700000001234
        1 new-event event=hit at_ms=5
            1: new-event status=0 task=12626.4 at_ms=1700000000000
        1 new-event event=hit
            1: new-event status=400 error=field-missing
        1 new-event event=hit delay_ms=5 time=1700000001
            1: new-event status=400 error=field-invalid
        1 new-event event=hit delay_ms=-5
            1: new-event status=400 error=field-invalid
        1 new-event event=hit delay_ms=31622400000
            1: new-event status=0 task=12626.5 at_ms=1731622400000
        1 new-event event=hit delay_ms=31622400001
            1: new-event status=400 error=field-invalid
        1 new-event event=hit time=18446744073709551615
            1: new-event status=400 error=field-invalid
        1 new-event event=set delay_ms=5
            1: new-event status=400 error=field-invalid
        1 new-event event=hit delay_ms=5 attempt=1
            1: new-event status=400 error=reserved-field
        1 new-event delay_ms=5
            1: new-event status=400 error=field-missing
        1 new-event event=hit delay_ms=5 target=wolf
            1: new-event status=400 error=field-invalid
        ",
    );
}

#[test]
fn an_event_is_of_a_method_that_is_known() {
    check_default(
        "
        1 new-event event=dawn delay_ms=5
            1: new-event status=404 error=unknown-method
        3 work methods=dawn credits=0
            3: work status=0
        1 new-event event=dawn delay_ms=5
            1: new-event status=0 task=12626.2 at_ms=1700000000005
        +600000
        3 work methods=dawn credits=1
            3: work status=0
            3: task task=12626.2 method=dawn user=ann attempt=1 limit_ms=30000
        ",
    );
}

#[test]
fn an_event_whose_time_is_over_is_now() {
    check_default(
        "
        3 work methods=hit
            3: work status=0
        1 new-event event=hit time=3600
            1: new-event status=0 task=12626.2 at_ms=1700000000000
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        ",
    );
}

/// Its place is behind those that came to be due before it.
#[test]
fn an_event_does_not_hold_up_the_line_of_its_user() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { is_ordered: true, ..TaskMethod::DEFAULT },
        "
        3 work methods=hit credits=4
            3: work status=0
        1 new-event event=hit delay_ms=500 n=1
            1: new-event status=0 task=12626.2 at_ms=1700000000500
        1 hit n=2
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        1 hit n=3
        +500
        3 done task=12626.3 token=@3
            1: hit status=0
            3: done status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 done task=12626.2 token=@3
            3: done status=0
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
        ",
    );
}

/// An hour late, as in the ConnServer, although who asks for `hit` waits for a minute.
#[test]
fn an_event_that_nobody_does_for_an_hour_is_given_up() {
    let world = check_default(
        "
        1 new-event event=hit delay_ms=5
            1: new-event status=0 task=12626.2 at_ms=1700000000005
        1 new-event event=hit delay_ms=6
            1: new-event status=0 task=12626.3 at_ms=1700000000006
        +3600005
        3 work methods=hit
            3: work status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        ",
    );
    let counters = world.shard.counters();
    assert_eq!((counters.tasks_expired, counters.events_late), (1, 1));
}

#[test]
fn what_is_no_event_is_not_late() {
    let world = check_default(
        "
        1 hit n=1
        +2000
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        ",
    );
    assert_eq!(world.shard.counters().events_late, 0);
}

#[test]
fn an_event_that_is_over_cannot_be_called_off() {
    check_default(
        "
        3 work methods=hit
            3: work status=0
        1 new-event event=hit delay_ms=0
            1: new-event status=0 task=12626.2 at_ms=1700000000000
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        3 fail task=12626.2 token=@3 retry=false
            3: fail status=0
        1 cancel-event task=12626.2
            1: cancel-event status=404 error=unknown-object
        ",
    );
}

#[test]
fn an_event_in_time_is_not_late() {
    let world = check_default(
        "
        3 work methods=hit credits=4
            3: work status=0
        1 new-event event=hit delay_ms=5
            1: new-event status=0 task=12626.2 at_ms=1700000000005
        1 new-event event=hit delay_ms=5
            1: new-event status=0 task=12626.3 at_ms=1700000000005
        +1005
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        ",
    );
    assert_eq!(world.shard.counters().events_late, 0);
}

#[test]
fn who_made_an_event_calls_it_off_also_when_a_worker_has_it() {
    check_default(
        "
        3 work methods=hit
            3: work status=0
        1 new-event event=hit delay_ms=500
            1: new-event status=0 task=12626.2 at_ms=1700000000500
        2 cancel-event task=12626.2
            2: cancel-event status=404 error=unknown-object
        1 cancel-event task=12626.2
            1: cancel-event status=0
        1 cancel-event task=12626.2
            1: cancel-event status=404 error=unknown-object
        +1000
        1 new-event event=hit delay_ms=0
            1: new-event status=0 task=12626.3 at_ms=1700000000000
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        1 cancel-event task=12626.3
            1: cancel-event status=0
        3 done task=12626.3 token=@3
            3: done status=409 error=lease-lost
        1 cancel-event task=171.1
            1: cancel-event status=404 error=unknown-object
        1 cancel-event
            1: cancel-event status=400 error=field-missing
        1 hit n=1
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=1
        1 cancel-event task=12626.4
            1: cancel-event status=404 error=unknown-object
        ",
    );
}

#[test]
fn everybody_sees_their_own_events_page_by_page() {
    check_default(
        "
        1 new-event event=hit delay_ms=500 target=171.1 ; 2 new-event event=hit delay_ms=600 target=171.1
            1: new-event status=0 task=171.3 at_ms=1700000000500
            2: new-event status=0 task=171.4 at_ms=1700000000600
        1 hit target=171.1 ; 1 new-event event=hit delay_ms=700 target=171.1
            1: new-event status=0 task=171.6 at_ms=1700000000700
        1 pending partition=171
            1: pending status=0 tasks=171.3|171.6 events=hit|hit times_ms=1700000000500|1700000000700
        2 pending partition=171
            2: pending status=0 tasks=171.4 events=hit times_ms=1700000000600
        1 pending partition=171 count=1
            1: pending status=0 tasks=171.3 events=hit times_ms=1700000000500 after=171.3
        1 pending partition=171 count=1 after=171.3
            1: pending status=0 tasks=171.6 events=hit times_ms=1700000000700
        ",
    );
}

#[test]
fn an_event_with_a_key_is_made_once() {
    check_tasks(
        Limits { tasks_per_partition_max: 2, ..Limits::PRODUCTION },
        TaskMethod::DEFAULT,
        "
        1 new-event event=hit delay_ms=500 key=k
            1: new-event status=0 task=12626.2 at_ms=1700000000500
        1 new-event event=hit delay_ms=500 key=k
            1: new-event status=409 error=task-pending
        1 new-event event=hit delay_ms=500
            1: new-event status=0 task=12626.3 at_ms=1700000000500
        1 new-event event=hit delay_ms=500
            1: new-event status=503 error=queue-full limit=limits.tasks_per_partition_max
        1 cancel-event task=12626.2
            1: cancel-event status=0
        1 new-event event=hit delay_ms=500 key=k
            1: new-event status=0 task=12626.4 at_ms=1700000000500
        ",
    );
}

/// In the settings of these tests everybody may.
#[test]
fn watchers_hear_of_an_event_three_minutes_ahead() {
    let mut settings = task_settings(Limits::PRODUCTION);
    settings.policy.set_rule("register-watcher", ["user"]).unwrap();
    settings.join_creates_rooms = false;
    let mut world = World::with_settings(settings);
    for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    check_in(
        &mut world,
        "
        2 register-watcher
            2: register-watcher status=0 room=watchtower members=1
        1 new-event event=hit delay_ms=180500 with=axe
            1: new-event status=0 task=12626.2 at_ms=1700000180500
        +499
        +1
        +0
            2: start-event room=watchtower from=ann event=hit task=12626.2 time=1700000180 at_ms=1700000180500 seq=1
        3 work methods=hit
            3: work status=0
        +179999
        +1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 with=axe
        3 release task=12626.2 token=@3 delay_ms=500
            3: release status=0
        +500
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 with=axe
        3 done task=12626.2 token=@3
            3: done status=0
        1 new-event event=hit delay_ms=0
            1: new-event status=0 task=12626.3 at_ms=1700000000000
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        +0
            2: start-event room=watchtower from=ann event=hit task=12626.3 time=1700000000 at_ms=1700000000000 seq=2
        2 leave room=watchtower
            2: leave status=0
        1 new-event event=hit delay_ms=0
            1: new-event status=0 task=12626.4 at_ms=1700000000000
        2 join room=watchtower
            2: join status=0 room=watchtower members=1
        ",
    );
}

#[test]
fn the_watchtower_is_for_those_who_may_register() {
    check_default(
        "
        1 register-watcher
            1: register-watcher status=403 error=forbidden
        1 join room=watchtower
            1: join status=403 error=forbidden
        1 create kind=room room=watchtower
            1: create status=403 error=forbidden
        6 open
        6 login user=watchtower
            6: login status=409 error=name-taken
        ",
    );
}

/// Who is refused has not used up one of the session's rooms, wherever that was.
#[test]
fn a_watcher_counts_as_a_member_of_a_room() {
    let limits = Limits { rooms_per_session_max: 1, ..Limits::PRODUCTION };
    let mut settings = task_settings(limits);
    settings.policy.set_rule("register-watcher", ["user"]).unwrap();
    let mut world = World::with_settings(settings);
    world.run("1 open ; 1 login user=ann");
    check_in(
        &mut world,
        "
        1 register-watcher
            1: register-watcher status=0 room=watchtower members=1
        1 register-watcher
            1: register-watcher status=429 error=too-many-rooms limit=limits.rooms_per_session_max
        1 leave room=watchtower
            1: leave status=0
        1 register-watcher ; 1 leave room=watchtower
            1: register-watcher status=0 room=watchtower members=1
            1: leave status=0
        1 join room=plaza
            1: join status=0 room=plaza members=1
        ",
    );
    let limits = Limits { rooms_per_session_max: 2, ..Limits::PRODUCTION };
    let mut settings = task_settings(limits);
    settings.policy.set_rule("register-watcher", ["user"]).unwrap();
    let mut world = World::with_settings(settings);
    world.run("1 open ; 1 login user=ann");
    check_in(
        &mut world,
        "
        1 register-watcher
            1: register-watcher status=0 room=watchtower members=1
        1 register-watcher
            1: register-watcher status=409 error=already-member
        1 join room=plaza
            1: join status=0 room=plaza members=1
        ",
    );
}

#[test]
fn an_event_is_answered_when_it_is_durable_if_that_is_asked_for() {
    let mut settings = task_settings(Limits::PRODUCTION);
    settings.has_log = true;
    settings.policy.set_rule("register-watcher", ["user"]).unwrap();
    let mut world = World::with_settings(settings);
    world.run("1 open ; 1 login user=ann");
    let logged = world.deltas.len();
    world.run(&format!("log {logged}"));
    check_in(
        &mut world,
        "
        1 new-event event=hit delay_ms=9 ack=durable
        log 1
            1: new-event status=0 task=12626.2 at_ms=1700000000009
        1 cancel-event task=12626.2 ack=durable
        log 1
            1: cancel-event status=0
        1 register-watcher ack=durable
            1: register-watcher status=501 error=level-unavailable
        ",
    );
}

#[test]
fn events_go_on_after_a_restart_and_are_told_of_again() {
    let mut settings = task_settings(Limits::PRODUCTION);
    settings.policy.set_rule("register-watcher", ["user"]).unwrap();
    let mut world = World::with_settings(settings.clone());
    for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("1 new-event event=hit delay_ms=200000 ; 1 new-event event=hit delay_ms=5000");
    while world.store_next_batch() {}
    let mut again = World::with_settings(settings);
    again.now = Now { monotonic_ns: 0, wall_ms: world.now.wall_ms + 10_000 };
    world.store.load(&mut again.shard, again.now).unwrap();
    again.shard.restored(FIRST_ADDRESS).unwrap();
    for (connection, user) in [(2, "bob"), (3, "dwarf")] {
        again.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    check_in(
        &mut again,
        "
        2 register-watcher
            2: register-watcher status=0 room=watchtower members=1
        3 work methods=hit
            3: work status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        3 done task=12626.3 token=@3
            3: done status=0
        +9999
        +1
        +0
            2: start-event room=watchtower from=ann event=hit task=12626.2 time=1700000200 at_ms=1700000200000 seq=1
        ",
    );
    // It was due while nobody was there.
    assert_eq!(again.shard.counters().events_late, 1);
}
