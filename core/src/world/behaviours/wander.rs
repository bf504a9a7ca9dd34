//! `wander`: straight on, every few seconds another way, and back when it is too far from home.

use super::vector::random_share;
use super::{Batch, Behaviour, Surroundings};

/// Seconds after which one turns, on average.
const TURN_S: f32 = 4.0;

/// See there. The word of each is the state of its random numbers.
#[derive(Debug)]
pub(super) struct Wander;

impl Behaviour for Wander {
    fn name(&self) -> &str {
        "wander"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            if let Some(way) = batch.way_home(at) {
                batch.walk(at, way);
                continue;
            }
            let turns = random_share(&mut batch.states[at]) * TURN_S < batch.seconds[at];
            if turns || batch.velocities[at] == [0.0; 3] {
                let direction = batch.random_direction(at);
                batch.walk(at, direction);
            } else {
                batch.go_on(at);
            }
        }
    }
}
