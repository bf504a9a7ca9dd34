use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn schedule(duration_ns: u64) -> Schedule {
    let start_ns = 7 * SECOND_NS + 13;
    Schedule {
        start_ns,
        measure_from_ns: start_ns + SECOND_NS,
        end_ns: start_ns + duration_ns,
        period_ns: 10 * SECOND_NS,
    }
}

fn all_due(schedule: Schedule, users: impl Iterator<Item = u32>) -> Vec<Due> {
    let mut pacer = Pacer::new(schedule, users.enumerate());
    std::iter::from_fn(|| pacer.next_due(u64::MAX)).collect()
}

#[test]
fn sends_are_spread_evenly_over_the_period() {
    let users = 1_000;
    let schedule = schedule(10 * SECOND_NS);
    let mut per_slot = [0u32; 50];
    for user in 0..users {
        let slot = schedule.phase_ns(user) * 50 / schedule.period_ns;
        per_slot[usize::try_from(slot).unwrap()] += 1;
    }
    let even = 17..=23;
    assert!(per_slot.iter().all(|count| even.contains(count)), "{per_slot:?}");
}

#[test]
fn members_of_one_room_speak_at_different_times() {
    let schedule = schedule(10 * SECOND_NS);
    for room in 0..100u32 {
        for user in room * 8..room * 8 + 8 {
            for other in room * 8..user {
                let gap = schedule.phase_ns(user).abs_diff(schedule.phase_ns(other));
                assert!(gap > SECOND_NS / 3, "users {user} and {other}: {gap} ns");
            }
        }
    }
}

#[test]
fn the_walk_is_in_order_of_time_and_says_each_message_once() {
    for duration_s in [1, 2, 10, 25, 30] {
        let schedule = schedule(duration_s * SECOND_NS);
        let due = all_due(schedule, (0..64).map(|user| user * 2));
        assert!(due.is_sorted_by_key(|due| due.intended_ns));
        for index in 0..64 {
            let user = u32::try_from(index).unwrap() * 2;
            let numbers: Vec<u32> =
                due.iter().filter(|due| due.index == index).map(|due| due.number).collect();
            assert_eq!(numbers, (0..schedule.message_count(user)).collect::<Vec<u32>>());
        }
        for due in due {
            let user = u32::try_from(due.index).unwrap() * 2;
            assert_eq!(due.intended_ns, schedule.intended_ns(user, due.number));
        }
    }
}

#[test]
fn nothing_is_due_before_its_time_and_lateness_moves_no_later_message() {
    let schedule = schedule(10 * SECOND_NS);
    let mut pacer = Pacer::new(schedule, (0..2).enumerate());
    let first = pacer.peek().unwrap();
    assert_eq!(pacer.next_due(first.intended_ns - 1), None);
    assert_eq!(pacer.next_due(first.intended_ns), Some(first));
    let second = pacer.peek().unwrap();
    assert_eq!(pacer.next_due(u64::MAX), Some(second));
    assert_eq!(second.intended_ns, schedule.intended_ns(1, 0));
}

#[test]
fn warm_up_is_not_measured() {
    let schedule = schedule(10 * SECOND_NS);
    for (intended_ns, measured) in [
        (schedule.start_ns, false),
        (schedule.measure_from_ns - 1, false),
        (schedule.measure_from_ns, true),
        (schedule.end_ns - 1, true),
        (schedule.end_ns, false),
    ] {
        assert_eq!(schedule.is_measured(intended_ns), measured);
    }
}
