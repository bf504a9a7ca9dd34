// What calls in C++ read and say, and what is thrown.
#include "warren_plugin.hpp"

#include <stdexcept>

namespace {

void look(warren::Call &call) {
    const warren::Object target = call.target();
    call.reply({{"kind", target.kind()},
                {"owner", target.owner()},
                {"v", target.version()},
                {"hp", target.integer("hp")},
                {"name", target.text("name", "nobody")},
                {"i", call.integer("i", -1)},
                {"n", call.number("n", 0.5)},
                {"b", call.boolean("b", false)},
                {"has", call.has("i")},
                {"user", call.user()},
                {"same", target},
                {"as_came", call.field("n")},
                {"nothing", nullptr}});
}

void change(warren::Call &call) {
    const warren::Object target = call.target();
    call.set(target, {{"hp", target.integer("hp") - 7}, {"name", nullptr}});
    call.create("fang", {{"of", target}});
    call.emit("arena", "bitten", {{"target", target}});
    call.reply({});
}

void drop(warren::Call &call) { call.remove(call.target()); }

// Two events about the target, later and later still, and one about what is elsewhere.
void plan(warren::Call &call) {
    const warren::Object target = call.target();
    const std::uint64_t delay_ms = static_cast<std::uint64_t>(call.integer("delay_ms"));
    call.schedule("howl", delay_ms, {{"target", target}, {"loud", true}});
    call.schedule("howl", delay_ms * 2, {{"target", target}, {"key", "once"}});
    call.schedule("howl", 0, {{"target", "172.9"}});
}

// `what` says which exception; what was said before comes to nothing.
void raise(warren::Call &call) {
    call.set(call.target(), {{"hp", 0}});
    const std::string_view what = call.text("what", "");
    if (what == "fail") {
        call.fail("as it is");
    } else if (what == "standard") {
        throw std::out_of_range("no place 7");
    } else if (what == "number") {
        throw 7;
    } else if (what == "field") {
        call.reply({{"x", call.integer("missing")}});
    } else if (what == "object") {
        call.object(1);
    } else if (what == "caught") {
        // Who goes on after a refusal has not done what it meant.
        try {
            call.set(call.target(), {{"hp", 1}});
        } catch (...) {
        }
    }
}

/* East, and after whoever is a member. */
void east(warren::Batch &batch) {
    for (std::size_t at = 0; at < batch.size(); at++) {
        const warren::Neighbours members = batch.members(at), entities = batch.entities(at);
        const float more = members.size() > 0 && members[0].is_member == 1 ? 1.0f : 0.0f;
        batch.velocity(at) = {batch.speed() + more, static_cast<float>(entities.size()), 0.0f};
        batch.heading(at) = batch.home()[0] + batch.radius() + static_cast<float>(batch.dims());
        batch.state(at) = batch.tick();
        batch.go_on(at);
    }
}

void stumble(warren::Batch &batch) {
    batch.position(0)[0] += batch.speed() * batch.seconds(0);
    batch.velocity(0) = {1.0f, 0.0f, 0.0f};
    if (batch.size() > 0) {
        throw std::runtime_error("as always");
    }
}

}  // namespace

WARREN_PLUGIN("calls-cpp", "2",
              warren::method("look", look),
              warren::method("change", change),
              warren::behaviour("east", east),
              warren::method("drop", drop),
              warren::method("raise", raise),
              warren::method("plan", plan),
              warren::method("answer", [](warren::Call &call) { call.reply({{"is", 42}}); }, {3, 5, 7, 9}),
              warren::behaviour("stumble", stumble))
