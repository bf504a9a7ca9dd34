//! The game: methods, which do what clients ask the server for, and behaviours, which move NPCs.

use warren_plugin::{Batch, Call, Failure, Near, behaviour, field, method, plugin};

const DAMAGE: i64 = 7;

/// Takes hit points from the target, and tells the room.
fn attack(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    let hp = (target.integer("hp")? - DAMAGE).max(0);
    call.set(&target, &[field("hp", hp)])?;
    let hit = [field("target", &target), field("hp", hp), field("by", call.user())];
    call.emit(call.text("room")?, "combat.hit", &hit)?;
    call.reply(&[field("hp", hp)])
}

/// Each goes to the nearest member of its world whom it sees, and stands where nobody is.
fn hunt(batch: &mut Batch, near: &Near) {
    for at in 0..batch.len() {
        let here = batch.positions[at];
        let way = |to: [f32; 3]| (to[0] - here[0]).hypot(to[1] - here[1]);
        let places = near.members(batch.numbers[at]);
        let places = places.iter().map(|member| member.position);
        match places.min_by(|one, other| way(*one).total_cmp(&way(*other))) {
            Some(place) => batch.go_to(at, place),
            None => batch.stand(at),
        }
    }
}

plugin! {
    name: "combat",
    version: env!("CARGO_PKG_VERSION"),
    methods: [method("combat.attack", attack)],
    behaviours: [behaviour("hunt", hunt)],
}

#[cfg(test)]
mod tests {
    use warren_plugin::Neighbour;
    use warren_plugin::testing::{Around, Npcs, Request};

    use super::*;

    #[test]
    fn an_attack_takes_hit_points_and_tells_the_room() {
        let request = Request::by("ann").field("room", "arena").target("wolf", &[field("hp", 9)]);
        let outcome = request.run(attack);
        assert_eq!(
            outcome.effects,
            ["set 1.1 hp=2", "emit arena combat.hit target=1.1 hp=2 by=ann"]
        );
        assert_eq!(outcome.answer.unwrap(), "hp=2");
    }

    #[test]
    fn what_has_no_hit_points_is_not_attacked() {
        let request = Request::by("ann").field("room", "arena").target("tree", &[]);
        assert!(request.run(attack).answer.unwrap_err().contains("`hp`"));
    }

    #[test]
    fn a_wolf_goes_to_the_nearest_member_and_stands_when_nobody_is_there() {
        let mut wolves = Npcs::new(1);
        let member = |position| Neighbour { position, is_member: true, ..Neighbour::default() };
        let members = vec![member([9.0, 0.0, 0.0]), member([0.0, 2.0, 0.0])];
        wolves.think(hunt, &Around { members, ..Around::default() });
        assert_eq!(wolves.positions, [[0.0, 1.0, 0.0]]);
        wolves.think(hunt, &Around::default());
        assert_eq!((wolves.positions[0], wolves.velocities[0]), ([0.0, 1.0, 0.0], [0.0; 3]));
    }
}
