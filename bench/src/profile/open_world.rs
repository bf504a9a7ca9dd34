//! Profile `open-world`: everyone in one world, each with some of them in view, and others as it walks on.

use super::walk::{BOUND_P99_NS, MOVE_BYTES, MOVE_PERIOD_NS, TICK_HZ};
use super::{Activity, Profile};
use crate::path::SIDE_CELLS_MAX;

/// Others in view of a user, on average, where there are enough users.
const NEIGHBOURS: u32 = 60;
/// Most users: entities of a world have numbers of 16 bits, and one of them stands for none.
pub const USERS_MAX: u32 = 65_535;

/// The profile with so many users, and so long between two signs of life. The square is as large as
/// [`NEIGHBOURS`] let it be. There is no floor: who sees whom is what a server is for.
#[must_use]
pub fn profile(users: u32, heartbeat_ns: u64) -> Profile {
    Profile {
        name: "open-world".to_owned(),
        activity: Activity::Move,
        message_period_ns: MOVE_PERIOD_NS,
        active_one_in: 1,
        payload_bytes: MOVE_BYTES,
        room_size: users,
        tick_hz: Some(TICK_HZ),
        side_cells: Some(side_cells(users)),
        has_floor: false,
        heartbeat_ns,
        storm: None,
        ai: None,
        sets: None,
        bound_p50_ns: None,
        bound_p99_ns: BOUND_P99_NS,
    }
}

/// The least square in which so many users have no more than the neighbours that they are to have.
fn side_cells(users: u32) -> u32 {
    (1..SIDE_CELLS_MAX)
        .find(|side_cells| neighbours(users, *side_cells) <= NEIGHBOURS)
        .unwrap_or(SIDE_CELLS_MAX)
}

/// Others in view of a user on average, of so many who are spread evenly: cells at the walls see fewer.
pub(super) fn neighbours(users: u32, side_cells: u32) -> u32 {
    // Cells in view on one axis, summed over all: each sees itself and those beside it.
    let seen = u64::from(3 * side_cells - 2);
    let side = u64::from(side_cells);
    let in_view = u64::from(users.saturating_sub(1)) * seen * seen / (side * side * side * side);
    u32::try_from(in_view).expect("no more than there are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_the_neighbours_that_they_are_to_have_where_there_are_enough() {
        for (users, side, in_view) in [
            (1, 1, 0),
            (61, 1, 60),
            (64, 3, 38),
            (2_000, 17, 57),
            (5_000, 27, 58),
            (10_000, 38, 60),
        ] {
            let profile = profile(users, 1);
            let found = (profile.side_cells.unwrap(), profile.neighbours());
            assert_eq!(found, (side, in_view), "{users}");
        }
    }
}
