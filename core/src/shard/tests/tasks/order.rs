//! Whose turn it is, by scripts: users, levels, targets, and workers.

use alloc::string::ToString;

use super::*;

#[test]
fn two_tasks_with_one_target_are_never_out_together() {
    check_default(
        "
        1 hit target=171.1 id=a ; 2 hit target=171.1 id=b ; 2 hit target=171.2 id=c
        3 work methods=hit credits=4
            3: work status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
            3: task task=171.5 method=hit user=bob attempt=1 limit_ms=30000 target=171.2 target_version=1 target_record=WOLF
        3 fail task=171.3 token=@3.1 retry=false
            1: hit id=a status=500 error=task-failed
            3: fail status=0
            3: task task=171.4 method=hit user=bob attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        ",
    );
}

#[test]
fn users_take_turns_and_whoever_waits_rises() {
    check_default(
        "
        1 hit n=1 ; 1 hit n=2 ; 1 hit n=3 ; 2 hit n=4 ; 2 hit n=5
        3 work methods=hit credits=5
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=4
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
            3: task task=19122.3 method=hit user=bob attempt=1 limit_ms=30000 n=5
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
        ",
    );
}

#[test]
fn a_users_tasks_of_an_ordered_method_go_one_after_the_other() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { is_ordered: true, ..TaskMethod::DEFAULT },
        "
        1 hit n=1 ; 1 hit n=2 ; 2 hit n=3
        3 work methods=hit credits=9
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=3
        3 fail task=12626.2 token=@3.1
            3: fail status=0
        +999
        +1
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        +6000
        3 release task=12626.2 token=@3.3
            3: release status=0
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        3 release task=12626.2 token=@3.4 delay_ms=50
            3: release status=0
        +50
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        3 done task=12626.2 token=@3.5
            1: hit status=0
            3: done status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        ",
    );
}

/// Seven levels of five seconds each, and then the oldest is first; also of those about one target.
#[test]
fn what_is_least_urgent_waits_no_longer_than_its_bound_in_a_flood() {
    for target in ["", " target=171.1"] {
        waits_no_longer_than_its_bound(target);
    }
}

fn waits_no_longer_than_its_bound(target: &str) {
    let mut world = World::with_settings(task_settings(Limits::PRODUCTION));
    for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("3 work methods=hit priority=0 deadline_ms=0 credits=0");
    world.run("3 work methods=rub priority=7 deadline_ms=0 credits=0");
    let mut told = world.run(&format!(
        "1 hit{target} ; 1 hit{target} ; 2 rub{target} ; 3 work methods=hit credits=1"
    ));
    let mut waited_s = 0;
    while !told.contains("method=rub") {
        assert!(waited_s < 100, "it never comes");
        let task = told.split("task=").nth(1).unwrap().split(' ').next().unwrap().to_string();
        waited_s += 1;
        told = world
            .run(&format!("+1000 ; 1 hit{target} ; 1 hit{target} ; 3 done task={task} token=@3"));
    }
    assert_eq!(waited_s, 7 * 5);
}

/// Whoever asks again and again does not come before those who have waited.
#[test]
fn a_user_who_comes_later_takes_turns_from_there_on() {
    check_default(
        "
        3 work methods=hit credits=1
            3: work status=0
        1 hit n=1 ; 1 hit n=2 ; 1 hit n=3
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        2 hit n=4
        3 done task=12626.2 token=@3.1
            1: hit status=0
            3: done status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        3 done task=12626.3 token=@3.2
            1: hit status=0
            3: done status=0
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=4
        2 hit n=5
        3 done task=19122.2 token=@3.3
            2: hit status=0
            3: done status=0
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
        ",
    );
}

/// Who waits for a target is not held up by one whose method nobody does.
#[test]
fn a_method_without_workers_blocks_no_target() {
    check_default(
        "
        3 work methods=rub credits=9
            3: work status=0
        1 rub target=171.1 n=1
            3: task task=171.3 method=rub user=ann attempt=1 limit_ms=30000 target=171.1 n=1 target_version=1 target_record=WOLF
        4 work methods=hit credits=1
            4: work status=0
        1 hit target=171.1 n=2 ; 1 rub target=171.1 n=3
        4 work methods=hit credits=0
            4: work status=0
        3 done task=171.3 token=@3
            1: rub status=0
            3: done status=0
            3: task task=171.5 method=rub user=ann attempt=1 limit_ms=30000 target=171.1 n=3 target_version=1 target_record=WOLF
        3 done task=171.5 token=@3
            1: rub status=0
            3: done status=0
        4 work methods=hit credits=1
            4: work status=0
            4: task task=171.4 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 n=2 target_version=1 target_record=WOLF
        ",
    );
}

/// It would be the least urgent again.
#[test]
fn who_is_given_back_has_waited_all_the_same() {
    check_default(
        "
        5 work methods=rub priority=7 deadline_ms=0 credits=0
            5: work status=0
        5 work methods=hit priority=0 credits=0
            5: work status=0
        2 rub
        +35000
        3 work methods=rub
            3: work status=0
            3: task task=19122.2 method=rub user=bob attempt=1 limit_ms=30000
        3 work methods=hit
            3: work status=0
        1 hit
        3 release task=19122.2 token=@3
            3: release status=0
            3: task task=19122.2 method=rub user=bob attempt=1 limit_ms=30000
        ",
    );
}

/// A worker is told of no more at a time than its way may hold, but of one task however little that is.
#[test]
fn a_worker_is_told_of_so_many_bytes_at_a_time() {
    for (resume_bytes_max, told_of) in [(0, 1), (400, 3)] {
        let limits = Limits { resume_bytes_max, ..Limits::PRODUCTION };
        let mut world = World::with_settings(task_settings(limits));
        for (connection, user) in [(1, "ann"), (3, "dwarf")] {
            world.run(&format!("{connection} open ; {connection} login user={user}"));
        }
        for _ in 0..9 {
            world.run("1 hit");
        }
        let told = world.run("3 work methods=hit credits=9");
        assert_eq!(told.matches("3: task ").count(), told_of, "{told}");
    }
}
