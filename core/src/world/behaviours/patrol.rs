//! `patrol`: round and round by the four corners of a square about home, each on a lane of its own.

use super::vector::{Vector, add, scaled, sub};
use super::{Batch, Behaviour, Manner, Surroundings};

/// The lanes are so far out at least, as a share of the radius.
const INNERMOST: f32 = 0.25;
/// The corners in order, on the circle.
const CORNERS: [Vector; 4] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]];

/// See there. The word of each: two bits for the corner to which it goes, and above them the lane.
#[derive(Debug)]
pub(super) struct Patrol;

impl Behaviour for Patrol {
    fn name(&self) -> &str {
        "patrol"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            let goal = corner(batch.states[at], batch.manner);
            batch.walk_to(at, goal);
            if batch.positions[at] == goal {
                let state = batch.states[at];
                let state = (state & !3) | (state.wrapping_add(1) & 3);
                batch.states[at] = state;
                batch.face(at, sub(corner(state, batch.manner), goal));
            }
        }
    }
}

fn corner(state: u64, manner: Manner) -> Vector {
    let lane = (state >> 2) as u16;
    let share = INNERMOST + (1.0 - INNERMOST) * f32::from(lane) / f32::from(u16::MAX);
    add(manner.home, scaled(CORNERS[(state & 3) as usize], manner.radius * share))
}
