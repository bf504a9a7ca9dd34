//! Methods of the game: functions that do what clients ask the server for.

use warren_plugin::{Call, Failure, field, method, plugin};

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

plugin! {
    name: "combat",
    version: env!("CARGO_PKG_VERSION"),
    methods: [method("combat.attack", attack)],
}

#[cfg(test)]
mod tests {
    use warren_plugin::testing::Request;

    use super::*;

    #[test]
    fn an_attack_takes_hit_points_and_tells_the_room() {
        let request = Request::by("ann").field("room", "arena").target("wolf", &[field("hp", 9)]);
        let outcome = request.run(attack);
        assert_eq!(outcome.effects, ["set 1.1 hp=2", "emit arena combat.hit target=1.1 hp=2 by=ann"]);
        assert_eq!(outcome.answer.unwrap(), "hp=2");
    }

    #[test]
    fn what_has_no_hit_points_is_not_attacked() {
        let request = Request::by("ann").field("room", "arena").target("tree", &[]);
        assert!(request.run(attack).answer.unwrap_err().contains("`hp`"));
    }
}
