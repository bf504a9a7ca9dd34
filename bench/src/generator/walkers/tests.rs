use super::*;

const RUN: u64 = 77;
const PERIOD_NS: u64 = 100_000_000;
const SCHEDULE: Schedule = Schedule {
    start_ns: 50_000_000_000,
    measure_from_ns: 50_000_000_000,
    end_ns: 110_000_000_000,
    period_ns: PERIOD_NS,
};

/// Users 0, 1 and 2 as entities 2, 0 and 5.
fn walkers() -> Walkers {
    let mut walkers = Walkers::new(SCHEDULE, Square::new(3), 0);
    for (entity, user) in [(2, 0), (0, 1), (5, 2)] {
        walkers.add(entity, user, RUN);
    }
    walkers
}

fn at(now_ns: u64) -> Moment {
    Moment::new(SCHEDULE, now_ns)
}

#[test]
fn an_update_tells_its_number_for_as_long_as_numbers_are_told_apart() {
    let (walkers, square) = (walkers(), Square::new(3));
    for (entity, user) in [(2, 0), (0, 1), (5, 2)] {
        let path = Path::new(RUN, user, square);
        for number in [BEFORE_FIRST, 0, 1, 255, 256, 599] {
            let told = path.told(square, number);
            let from_ns = match u32::try_from(number) {
                Ok(number) => SCHEDULE.intended_ns(user, number),
                Err(_) => SCHEDULE.start_ns - 1,
            };
            for (later_ns, is_known) in [
                (0, true),
                (PERIOD_NS / 2, true),
                (255 * PERIOD_NS, true),
                (256 * PERIOD_NS, false),
            ] {
                // After the last move nothing is older.
                let is_known = is_known || number > 599 - 256;
                let found = walkers.number(entity, told.cell, told.state, at(from_ns + later_ns));
                assert_eq!(found, is_known.then_some(number), "{number} after {later_ns}");
            }
            if number >= 0 {
                let early = at(from_ns - 1);
                let found = walkers.number(entity, told.cell, told.state, early);
                assert_eq!(found, None, "{number} before its time");
            }
        }
    }
}

#[test]
fn any_other_bit_is_found() {
    let (walkers, square) = (walkers(), Square::new(3));
    let moment = at(SCHEDULE.intended_ns(1, 40));
    let told = Path::new(RUN, 1, square).told(square, 40);
    let number = |entity, cell, state| walkers.number(entity, cell, state, moment);
    assert_eq!(number(0, told.cell, told.state), Some(40));
    for bit in 0..64 {
        assert_eq!(number(0, told.cell, told.state ^ 1 << bit), None, "bit {bit}");
    }
    let [x, y] = told.cell;
    for (entity, cell) in
        [(0, [x + 1, y]), (0, [x, y - 1]), (2, told.cell), (1, told.cell), (9, told.cell)]
    {
        assert_eq!(number(entity, cell, told.state), None, "{entity} in {cell:?}");
    }
}

#[test]
fn a_copy_is_fresh_until_the_next_move_is_older_than_the_bound() {
    let walkers = walkers();
    let bound_ns = 150_000_000;
    let next_ns = SCHEDULE.intended_ns(2, 8);
    for (number, now_ns, is_fresh) in [
        (7, next_ns, true),
        (7, next_ns + bound_ns, true),
        (7, next_ns + bound_ns + 1, false),
        (599, u64::MAX, true),
        (BEFORE_FIRST, SCHEDULE.start_ns + bound_ns, true),
        (BEFORE_FIRST, SCHEDULE.start_ns + 3 * bound_ns, false),
    ] {
        assert_eq!(walkers.is_fresh(5, number, at(now_ns), bound_ns), is_fresh, "{number}");
    }
    assert_eq!(walkers.entities().collect::<Vec<u16>>(), [0, 2, 5]);
}

#[test]
fn who_has_just_come_into_view_need_not_be_known() {
    let square = Square::new(3);
    let walkers = walkers();
    let path = Path::new(RUN, 0, square);
    let cells: Vec<[i16; 2]> = (0..100).map(|number| path.cell(square, number)).collect();
    for number in 10..100_u32 {
        let moment = at(SCHEDULE.intended_ns(0, number));
        for centre in [[-1, 1], [0, 0], [2, 2], [3, 1]] {
            let touches = |cell: &[i16; 2]| {
                cell.iter().zip(centre).all(|(one, other)| (one - other).abs() <= 1)
            };
            let all = cells[number as usize - 3..=number as usize].iter().all(touches);
            assert_eq!(
                walkers.is_in_view(2, centre, moment, 150_000_000),
                all,
                "{number} {centre:?}"
            );
        }
    }
}
