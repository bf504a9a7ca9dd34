//! `seek`: to the nearest member that is near, as long as that is within the circle. With nobody
//! there it stands.

use super::vector::{length, scaled, square, sub};
use super::{Batch, Behaviour, Neighbour, Surroundings};

/// It stops before the member, so far as it goes in this time.
const STOP_S: f32 = 0.5;

/// See there.
#[derive(Debug)]
pub(super) struct Seek;

impl Behaviour for Seek {
    fn name(&self) -> &str {
        "seek"
    }

    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        let (home, radius) = (batch.manner.home, batch.manner.radius);
        let stop = batch.manner.speed * STOP_S;
        for at in 0..batch.len() {
            let place = batch.positions[at];
            let members = near.members(batch.numbers[at]);
            let is_within =
                |member: &&Neighbour| square(sub(member.position, home)) <= radius * radius;
            let reachable = members.iter().filter(is_within);
            let Some(goal) = super::surroundings::nearest(reachable, place) else {
                batch.stand(at);
                continue;
            };
            let way = sub(goal.position, place);
            let distance = length(way);
            if distance > stop {
                let until = super::add(place, scaled(way, (distance - stop) / distance));
                batch.walk_to(at, until);
            } else {
                batch.stand(at);
            }
        }
    }
}
