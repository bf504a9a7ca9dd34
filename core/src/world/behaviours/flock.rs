//! `flock`: as its neighbours go, towards their middle, and not too near to any of them (Reynolds,
//! 1987). Members are none of the flock.

use super::vector::{Vector, add, scaled, square, sub, unit};
use super::{Batch, Behaviour, Surroundings};

/// It keeps from others so far as it goes in this time.
const APART_S: f32 = 1.0;
/// Others that are nearer than this part of that count as if they were so far: who stands almost on
/// one's own place would count for more than any number says.
const NEAREST: f32 = 0.001;
/// How much of its direction is another's after a second.
const AGILITY: f32 = 2.0;
/// What counts how much: the others' direction, their middle, their nearness, and home.
const ALIGNMENT: f32 = 1.0;
const COHESION: f32 = 0.6;
const SEPARATION: f32 = 1.5;
const HOMING: f32 = 3.0;

/// See there. The word of each is the state of its random numbers.
#[derive(Debug)]
pub(super) struct Flock;

impl Behaviour for Flock {
    fn name(&self) -> &str {
        "flock"
    }

    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            let mut direction = unit(batch.velocities[at]);
            if direction == [0.0; 3] {
                direction = batch.random_direction(at);
            }
            let mut wanted = wish(batch, at, near);
            if let Some(way) = batch.way_home(at) {
                wanted = add(wanted, scaled(unit(way), HOMING));
            }
            let share = (AGILITY * batch.seconds[at]).min(1.0);
            let turned = add(scaled(direction, 1.0 - share), scaled(unit(wanted), share));
            // One that would have to turn round on the spot goes on for now.
            batch.walk(at, if square(turned) > 0.0 { turned } else { direction });
        }
    }
}

/// Where the neighbours have it go.
pub(super) fn wish(batch: &Batch<'_>, at: usize, near: &Surroundings<'_>) -> Vector {
    let place = batch.positions[at];
    let apart = batch.manner.speed * APART_S;
    let (mut course, mut middle, mut away, mut count) = ([0.0; 3], [0.0; 3], [0.0; 3], 0.0);
    for other in near.entities(batch.numbers[at]).iter().filter(|other| !other.is_member) {
        let way = sub(other.position, place);
        course = add(course, other.velocity);
        middle = add(middle, way);
        count += 1.0;
        let distance = square(way);
        if distance > 0.0 && distance < apart * apart {
            // As long as the others are near.
            let least = apart * apart * NEAREST * NEAREST;
            away = sub(away, scaled(way, apart / distance.max(least)));
        }
    }
    if count == 0.0 {
        return unit(batch.velocities[at]);
    }
    let together = add(scaled(unit(course), ALIGNMENT), scaled(unit(middle), COHESION));
    add(together, scaled(away, SEPARATION / count))
}
