use super::*;

const RUN: u64 = 77;

fn paths(side_cells: u32) -> impl Iterator<Item = (Square, Path)> {
    let square = Square::new(side_cells);
    (0..200).map(move |user| (square, Path::new(RUN, user, square)))
}

/// What a server that keeps to the layout tells of a motion.
fn quantised(motion: Motion) -> Told {
    let steps = [0, 1].map(|axis| f64::from(motion.position[axis]) * 1024.0);
    assert!(steps.iter().all(|steps| steps.fract() == 0.0), "{motion:?} is not on the grid");
    let offsets = steps.map(|steps| steps as u64 & 0xffff);
    let [vx, vy] = [0, 1].map(|axis| u64::from((motion.velocity[axis] * 2.0) as i8 as u8));
    let heading = (f64::from(motion.heading) / 360.0 * 256.0) as u64;
    Told {
        cell: steps.map(|steps| (steps as i64 >> 16) as i16),
        state: offsets[0] | offsets[1] << 16 | vx << 32 | vy << 40 | heading << 48,
    }
}

#[test]
fn servers_tell_a_move_bit_for_bit_as_it_is_known() {
    for side_cells in [1, 2, 27, SIDE_CELLS_MAX] {
        for (square, path) in paths(side_cells) {
            for number in [BEFORE_FIRST, 0, 1, 31, 32, 1_000, 71_999] {
                let told = path.told(square, number);
                assert_eq!(told, quantised(path.motion(square, number)), "{number}");
                assert_eq!(told.cell, path.cell(square, number));
                let inside = |cell: &i16| (0..side_cells as i16).contains(cell);
                assert!(told.cell.iter().all(inside), "{told:?}");
                assert_eq!(Path::number_bits(told.state), number & (NUMBERS_TOLD - 1));
            }
        }
    }
}

#[test]
fn users_walk_and_turn_at_the_walls() {
    let whole = |told: Told| {
        let steps = |axis: usize| {
            i64::from(told.cell[axis]) << 16 | (told.state >> (16 * axis)) as i64 & 0xffff
        };
        [steps(0), steps(1)]
    };
    for (square, path) in paths(2) {
        let mut turned = false;
        for number in 0..6_000 {
            let [now, next] = [number, number + 1].map(|number| path.told(square, number));
            for axis in [0, 1] {
                let way = whole(next)[axis] - whole(now)[axis];
                let limit = 51 * 12 + 2 * 16;
                assert!(way.abs() <= limit, "{way} steps at once");
                turned |= way < -2 * 16;
            }
        }
        assert!(turned);
    }
}

#[test]
fn users_are_spread_evenly_at_all_times() {
    let square = Square::new(4);
    for number in [0, 500, 20_000] {
        let mut counts = [0_u32; 16];
        for user in 0..16_000 {
            let [x, y] = Path::new(RUN, user, square).cell(square, number);
            counts[(4 * x + y) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{number}: {counts:?}");
    }
}

#[test]
fn a_remainder_is_what_division_gives() {
    for side_cells in [1, 3, 27, SIDE_CELLS_MAX] {
        let square = Square::new(side_cells);
        let period = square.period;
        for steps in [0, 1, period / 2, period - 1, period, 44_064_000, u32::MAX] {
            let along = steps % period;
            let folded = if along >= period / 2 { period - 1 - along } else { along };
            assert_eq!(square.fold(steps), (folded, along >= period / 2), "{steps} of {period}");
        }
    }
}

#[test]
fn another_user_or_run_tells_other_states() {
    let square = Square::new(1);
    let mut same = 0;
    for number in 0..1_000 {
        let told = |run, user| Path::new(run, user, square).told(square, number);
        same += u32::from(told(RUN, 1) == told(RUN, 2)) + u32::from(told(RUN, 1) == told(78, 1));
    }
    assert!(same < 20, "{same} of 2,000 are the same");
}
