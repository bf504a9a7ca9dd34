//! Wolves that hunt: each goes for the nearest member in sight, as long as that is within the circle in which the
//! wolves live; with nobody there it walks around that circle.

use warren_plugin::{Batch, Near, Neighbour, Vector, behaviour, plugin};

/// How far a wolf sees, in units.
const SIGHT: f32 = 30.0;
/// Where it walks when it hunts nobody, as a part of the circle's radius.
const ROUND: f32 = 0.5;
/// How far it goes around in one tick, in degrees.
const ROUND_STEP: f32 = 5.0;

fn distance(from: Vector, to: Vector) -> f32 {
    let way: Vector = std::array::from_fn(|axis| to[axis] - from[axis]);
    way.map(|axis| axis * axis).iter().sum::<f32>().sqrt()
}

/// The nearest member whom a wolf there sees, and may follow.
fn prey(batch: &Batch, here: Vector, members: &[Neighbour]) -> Option<Vector> {
    let places = members.iter().map(|member| member.position);
    places
        .filter(|place| distance(*place, batch.home) <= batch.radius)
        .map(|place| (distance(here, place), place))
        .filter(|(distance, _)| *distance <= SIGHT)
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, place)| place)
}

/// The next place on its way around. What it keeps is where it is on that way, in degrees.
fn round(batch: &mut Batch, at: usize) -> Vector {
    let degrees = (batch.states[at] % 360) as f32;
    let [x, y, z] = batch.home;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let place = [x + cos * batch.radius * ROUND, y + sin * batch.radius * ROUND, z];
    if distance(batch.positions[at], place) <= batch.speed * batch.seconds[at] {
        batch.states[at] = (degrees + ROUND_STEP) as u64;
    }
    place
}

fn hunt(batch: &mut Batch, near: &Near) {
    for at in 0..batch.len() {
        let members = near.members(batch.numbers[at]);
        let prey = prey(batch, batch.positions[at], &members);
        let goal = prey.unwrap_or_else(|| round(batch, at));
        batch.go_to(at, goal);
    }
}

plugin! {
    name: "wolves",
    version: env!("CARGO_PKG_VERSION"),
    behaviours: [behaviour("hunt", hunt)],
}

#[cfg(test)]
mod tests {
    use warren_plugin::testing::{Around, Npcs};

    use super::*;

    fn member(x: f32, y: f32) -> Neighbour {
        Neighbour { position: [x, y, 0.0], is_member: true, ..Neighbour::default() }
    }

    #[test]
    fn a_wolf_goes_for_the_nearest_member() {
        let mut wolves = Npcs::new(1);
        let around =
            Around { members: vec![member(20.0, 0.0), member(0.0, 3.0)], ..Around::default() };
        for _ in 0..4 {
            wolves.think(hunt, &around);
        }
        assert_eq!(wolves.positions, [[0.0, 3.0, 0.0]]);
    }

    #[test]
    fn a_wolf_follows_nobody_out_of_its_circle_or_sight() {
        let mut wolves = Npcs::new(1);
        wolves.radius = 10.0;
        let around = Around { members: vec![member(11.0, 0.0)], ..Around::default() };
        for tick in 0..100 {
            wolves.think(hunt, &around);
            let from_home = distance(wolves.positions[0], wolves.home);
            assert!(from_home <= 10.0 * ROUND + 0.001, "{tick}: {from_home}");
        }
        assert!(distance(wolves.positions[0], wolves.home) > 4.9, "it walks around");
        // Far away: it walks on.
        let mut wolves = Npcs::new(1);
        wolves.radius = 1000.0;
        let around = Around { members: vec![member(0.0, SIGHT + 1.0)], ..Around::default() };
        wolves.think(hunt, &around);
        assert_eq!(wolves.positions, [[1.0, 0.0, 0.0]]);
    }
}
