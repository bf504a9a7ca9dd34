// Methods of the game: functions that do what clients ask the server for.
#include "warren_plugin.hpp"

#include <algorithm>

// Takes hit points from the target, and tells the room.
static void attack(warren::Call &call) {
    constexpr std::int64_t DAMAGE = 7;
    const warren::Object target = call.target();
    const std::int64_t hp = std::max<std::int64_t>(0, target.integer("hp") - DAMAGE);
    call.set(target, {{"hp", hp}});
    call.emit(call.text("room"), "combat.hit", {{"target", target}, {"hp", hp}, {"by", call.user()}});
    call.reply({{"hp", hp}});
}

WARREN_PLUGIN("combat", "1.0", warren::method("combat.attack", attack))
