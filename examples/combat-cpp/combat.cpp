// A small combat: wolves have hit points, and die. Clients ask, the plugin decides.
#include "warren_plugin.hpp"

#include <algorithm>

namespace {

constexpr std::int64_t DAMAGE = 7;
constexpr std::int64_t HEALING = 5;
constexpr std::int64_t HP_MAX = 20;

// The target, if it is a wolf.
warren::Object wolf(warren::Call &call) {
    warren::Object target = call.target();
    if (target.kind() != "wolf") {
        call.fail(std::string(call.user()) + " cannot fight a " + std::string(target.kind()));
    }
    return target;
}

// A wolf comes into the room. Its members hear of it, as of every object that comes there.
void spawn(warren::Call &call) {
    call.create("wolf", {{"room", call.text("room")}, {"hp", HP_MAX}});
}

// Takes hit points from the target. With none left it is dead, and gone.
void attack(warren::Call &call) {
    warren::Object target = wolf(call);
    const std::string_view room = target.text("room");
    const std::int64_t hp = std::max<std::int64_t>(0, target.integer("hp") - DAMAGE);
    call.emit(room, "combat.hit", {{"target", target}, {"hp", hp}, {"by", call.user()}});
    if (hp > 0) {
        call.set(target, {{"hp", hp}});
    } else {
        call.remove(target);
        call.emit(room, "combat.death", {{"target", target}, {"by", call.user()}});
    }
    call.reply({{"hp", hp}});
}

// Gives hit points back, up to as many as a wolf has.
void heal(warren::Call &call) {
    warren::Object target = wolf(call);
    const std::int64_t hp = std::min(HP_MAX, target.integer("hp") + HEALING);
    call.set(target, {{"hp", hp}});
    call.reply({{"hp", hp}});
}

// What needs no time of anybody else goes before other tasks, where a worker does it.
constexpr warren::Options URGENT{3, 0, 0, 0};

}  // namespace

WARREN_PLUGIN("combat", "1.0.0",
              warren::method("combat.spawn", spawn),
              warren::method("combat.attack", attack, URGENT),
              warren::method("combat.heal", heal, URGENT))
