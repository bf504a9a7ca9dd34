//! `flee`: away from the nearest member that is near, and along the border of the circle when it
//! gets there. With nobody near it stands.

use super::vector::{add, length, scaled, square, sub};
use super::{Batch, Behaviour, Surroundings};

/// See there.
#[derive(Debug)]
pub(super) struct Flee;

impl Behaviour for Flee {
    fn name(&self) -> &str {
        "flee"
    }

    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            let place = batch.positions[at];
            let members = near.members(batch.numbers[at]);
            let Some(from) = super::surroundings::nearest(members.iter(), place) else {
                batch.stand(at);
                continue;
            };
            let mut away = sub(place, from.position);
            if square(away) == 0.0 {
                away = batch.random_direction(at);
            }
            batch.walk(at, away);
            stay_within(batch, at, place);
        }
    }
}

/// Puts one that has left the circle to the nearest place on its border.
fn stay_within(batch: &mut Batch<'_>, at: usize, before: super::Vector) {
    let Some(way_home) = batch.way_home(at) else { return };
    let (home, radius) = (batch.manner.home, batch.manner.radius);
    let place = add(home, scaled(way_home, -radius / length(way_home)));
    batch.positions[at] = place;
    batch.velocities[at] = scaled(sub(place, before), 1.0 / batch.seconds[at]);
}
