/* Native plugins of Warren in C++17: warren_plugin.h in other words, and nothing beside it.
 *
 *     #include "warren_plugin.hpp"
 *
 *     static void hit(warren::Call &call) {
 *         warren::Object wolf = call.target();
 *         std::int64_t left = wolf.integer("hp") - 7;
 *         call.set(wolf, {{"hp", left}});
 *         call.emit("arena", "hit", {{"target", wolf}, {"hp", left}});
 *         call.reply({{"hp", left}});
 *     }
 *
 *     WARREN_PLUGIN("combat", "1.0", warren::method("hit", hit))
 *
 * A behaviour moves NPCs whose world names it; it stands among the methods:
 *
 *     static void east(warren::Batch &batch) {
 *         for (std::size_t at = 0; at < batch.size(); at++) {
 *             batch.velocity(at) = {batch.speed(), 0.0f, 0.0f};
 *             batch.go_on(at);
 *         }
 *     }
 *
 *     WARREN_PLUGIN("combat", "1.0", warren::method("hit", hit), warren::behaviour("east", east))
 *
 * When it throws, the NPCs of the batch stand where they are then.
 *
 * A method is a function or a lambda that takes warren::Call &. It throws warren::Fail when it cannot do its
 * request: then nothing has changed. No exception of any kind leaves it: each fails the call, with its text
 * in the server's log. The rules of warren_plugin.h hold: what a call gives (texts, objects) is valid until
 * the method returns, and a method keeps nothing but what it protects.
 */
#ifndef WARREN_PLUGIN_HPP
#define WARREN_PLUGIN_HPP

#include "warren_plugin.h"

#include <array>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace warren {

/* The method cannot do its request. */
class Fail : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace detail {

inline warren_text text(std::string_view text) { return {text.data(), text.size()}; }

inline std::string_view view(warren_text text) {
    return text.length == 0 ? std::string_view() : std::string_view(text.bytes, text.length);
}

/* The server's no to what the method said; it knows the reason. */
class Refused : public std::exception {
public:
    const char *what() const noexcept override { return "refused"; }
};

inline void check(std::int32_t status) {
    if (status != 0) {
        throw Refused();
    }
}

}  // namespace detail

/* A value of a request or of an object, as it came. Text that a client sent counts as what it says. */
class Value {
public:
    Value(const warren_host *host, warren_value raw) : host_(host), raw_(raw) {}

    bool is_null() const { return raw_.type == WARREN_NULL; }
    const warren_value &raw() const { return raw_; }

    std::optional<std::int64_t> integer() const { return as<std::int64_t>(host_->to_integer); }
    std::optional<double> number() const { return as<double>(host_->to_number); }

    std::optional<bool> boolean() const {
        std::optional<std::uint32_t> found = as<std::uint32_t>(host_->to_boolean);
        return found ? std::optional<bool>(*found != 0) : std::nullopt;
    }

    std::optional<std::uint64_t> object() const { return as<std::uint64_t>(host_->to_object); }

    /* Of a value of the type text or bytes. */
    std::optional<std::string_view> text() const {
        if (raw_.type != WARREN_STRING && raw_.type != WARREN_BYTES) {
            return std::nullopt;
        }
        return detail::view(raw_.as.text);
    }

private:
    template <typename T>
    std::optional<T> as(std::uint32_t (*to)(warren_value, T *)) const {
        T out{};
        return to(raw_, &out) ? std::optional<T>(out) : std::nullopt;
    }

    const warren_host *host_;
    warren_value raw_;
};

/* Something that has fields. Without a second argument a field that is not there, or is no such value, fails
 * the call. */
template <typename Self>
class Fields {
public:
    std::int64_t integer(std::string_view name) const { return need(field(name).integer(), name); }
    std::int64_t integer(std::string_view name, std::int64_t otherwise) const {
        return field(name).integer().value_or(otherwise);
    }

    double number(std::string_view name) const { return need(field(name).number(), name); }
    double number(std::string_view name, double otherwise) const {
        return field(name).number().value_or(otherwise);
    }

    bool boolean(std::string_view name) const { return need(field(name).boolean(), name); }
    bool boolean(std::string_view name, bool otherwise) const {
        return field(name).boolean().value_or(otherwise);
    }

    std::string_view text(std::string_view name) const { return need(field(name).text(), name); }
    std::string_view text(std::string_view name, std::string_view otherwise) const {
        return field(name).text().value_or(otherwise);
    }

    bool has(std::string_view name) const { return !field(name).is_null(); }

    Value field(std::string_view name) const { return static_cast<const Self *>(this)->value(name); }

private:
    template <typename T>
    static T need(std::optional<T> found, std::string_view name) {
        if (!found) {
            throw Fail("the field `" + std::string(name) + "` is missing, or no such value");
        }
        return *found;
    }
};

/* An object as it was before the call. */
class Object : public Fields<Object> {
public:
    Object(const warren_host *host, const warren_call *call, std::uint64_t id, const warren_object &raw)
        : host_(host), call_(call), id_(id), raw_(raw) {}

    std::uint64_t id() const { return id_; }
    std::uint64_t version() const { return raw_.version; }
    std::string_view kind() const { return detail::view(raw_.kind); }
    std::string_view owner() const { return detail::view(raw_.owner); }

    Value value(std::string_view name) const {
        return Value(host_, host_->object_field(call_, id_, detail::text(name)));
    }

private:
    const warren_host *host_;
    const warren_call *call_;
    std::uint64_t id_;
    warren_object raw_;
};

/* A field that a method says: a name, and a value of any type that fits. */
class Field {
public:
    Field(std::string_view name, std::nullptr_t) : raw_(of(name, WARREN_NULL)) {}
    Field(std::string_view name, bool value) : raw_(of(name, WARREN_BOOLEAN)) {
        raw_.value.as.integer = value ? 1 : 0;
    }
    Field(std::string_view name, std::string_view value) : raw_(of(name, WARREN_STRING)) {
        raw_.value.as.text = detail::text(value);
    }
    Field(std::string_view name, const char *value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, const std::string &value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, const Object &value) : raw_(of(name, WARREN_OBJECT)) {
        raw_.value.as.object = value.id();
    }
    /* Another's value, as it is. */
    Field(std::string_view name, const Value &value) : raw_{detail::text(name), value.raw()} {}

    template <typename T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>, int> = 0>
    Field(std::string_view name, T value) : raw_(of(name, WARREN_INTEGER)) {
        raw_.value.as.integer = static_cast<std::int64_t>(value);
    }
    template <typename T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0>
    Field(std::string_view name, T value) : raw_(of(name, WARREN_FLOAT)) {
        raw_.value.as.number = static_cast<double>(value);
    }

    const warren_field &raw() const { return raw_; }

private:
    static warren_field of(std::string_view name, std::uint32_t type) {
        warren_field field{};
        field.name = detail::text(name);
        field.value.type = type;
        return field;
    }

    warren_field raw_;
};

static_assert(sizeof(Field) == sizeof(warren_field), "fields are handed on as they are");

using FieldList = std::initializer_list<Field>;

/* One request that a method does. */
class Call : public Fields<Call> {
public:
    Call(const warren_host *host, warren_call *call) : host_(host), call_(call) {}
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

    std::string_view user() const { return detail::view(host_->user(call_)); }
    std::int64_t time_ms() const { return host_->time_ms(call_); }
    /* A field of the request. */
    Value value(std::string_view name) const { return Value(host_, host_->field(call_, detail::text(name))); }

    /* The object that the request is about. One that is not there fails the call. */
    Object target() const { return object(host_->target(call_)); }

    /* An object by its number. One that is not there fails the call; see `find`. */
    Object object(std::uint64_t id) const {
        std::optional<Object> found = find(id);
        if (!found) {
            throw Fail("there is no such object");
        }
        return *found;
    }

    std::optional<Object> find(std::uint64_t id) const {
        warren_object raw{};
        raw.size = sizeof(raw);
        if (id == 0 || !host_->object(call_, id, &raw)) {
            return std::nullopt;
        }
        return Object(host_, call_, id, raw);
    }

    /* What is to happen when the method returns. The object is changed only while it is as it was read. */
    void set(const Object &object, FieldList fields) {
        detail::check(host_->set(call_, object.id(), object.version(), raw(fields), count(fields)));
    }
    void create(std::string_view kind, FieldList fields) {
        detail::check(host_->create(call_, detail::text(kind), raw(fields), count(fields)));
    }
    void remove(const Object &object) { detail::check(host_->remove(call_, object.id())); }
    void emit(std::string_view room, std::string_view event, FieldList fields) {
        const warren_text to = detail::text(room), what = detail::text(event);
        detail::check(host_->emit(call_, to, what, raw(fields), count(fields)));
    }
    /* A task of the method `event` that begins so many milliseconds after the call is done. */
    void schedule(std::string_view event, std::uint64_t delay_ms, FieldList fields) {
        detail::check(host_->schedule(call_, detail::text(event), delay_ms, raw(fields), count(fields)));
    }
    void reply(FieldList fields) { detail::check(host_->reply(call_, raw(fields), count(fields))); }

    [[noreturn]] static void fail(const std::string &why) { throw Fail(why); }

private:
    static const warren_field *raw(FieldList fields) {
        return reinterpret_cast<const warren_field *>(fields.begin());
    }
    static std::uint32_t count(FieldList fields) { return static_cast<std::uint32_t>(fields.size()); }

    const warren_host *host_;
    warren_call *call_;
};

/* A place or a way. In 2D the third is 0. */
using Vector = std::array<float, 3>;

/* Those near an NPC, 16 at most. */
class Neighbours {
public:
    Neighbours(const warren_host *host, const warren_near *near, std::uint16_t number, bool are_members)
        : count_(host->neighbours(near, number, are_members ? 1u : 0u, list_.data(), MOST)) {}

    std::size_t size() const { return count_; }
    const warren_neighbour *begin() const { return list_.data(); }
    const warren_neighbour *end() const { return list_.data() + count_; }
    const warren_neighbour &operator[](std::size_t at) const { return list_[at]; }

private:
    static constexpr std::uint32_t MOST = 16;
    std::array<warren_neighbour, MOST> list_;
    std::uint32_t count_;
};

/* NPCs of one entry of a world's field `npcs`, to be moved for the world's next tick. */
class Batch {
public:
    Batch(const warren_host *host, warren_batch *batch, const warren_near *near)
        : host_(host), batch_(batch), near_(near) {}
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;

    std::size_t size() const { return batch_->count; }
    std::uint64_t tick() const { return batch_->tick; }
    /* What they have in common: units in a second, and the circle (in 3D: the ball) in which they live. */
    float speed() const { return batch_->speed; }
    float radius() const { return batch_->radius; }
    Vector home() const { return {batch_->home[0], batch_->home[1], batch_->home[2]}; }
    unsigned dims() const { return batch_->dims; }

    /* Of one of them: its number among the world's entities, and the seconds since it was last moved. */
    std::uint16_t number(std::size_t at) const { return batch_->numbers[at]; }
    float seconds(std::size_t at) const { return batch_->seconds[at]; }
    /* What it may write. `state` is the behaviour's own, random when the NPC comes to be. */
    Vector &position(std::size_t at) { return reinterpret_cast<Vector *>(batch_->positions)[at]; }
    Vector &velocity(std::size_t at) { return reinterpret_cast<Vector *>(batch_->velocities)[at]; }
    float &heading(std::size_t at) { return batch_->headings[at]; }
    std::uint64_t &state(std::size_t at) { return batch_->states[at]; }

    /* It goes on by its velocity. */
    void go_on(std::size_t at) {
        for (std::size_t axis = 0; axis < 3; axis++) {
            position(at)[axis] += velocity(at)[axis] * seconds(at);
        }
    }
    /* It stands where it is. */
    void stand(std::size_t at) { velocity(at) = {0.0f, 0.0f, 0.0f}; }

    /* Entities in its cell and in those that touch it; members who see its cell. */
    Neighbours entities(std::size_t at) const { return Neighbours(host_, near_, number(at), false); }
    Neighbours members(std::size_t at) const { return Neighbours(host_, near_, number(at), true); }

private:
    const warren_host *host_;
    warren_batch *batch_;
    const warren_near *near_;
};

static_assert(sizeof(Vector) == sizeof(float[3]), "places are handed on as they are");

/* How tasks of a method are treated, where a worker does it. 0: as the server does by itself; `priority` is
 * one more than the field's value. */
struct Options {
    std::uint32_t priority = 0;
    std::uint32_t attempts_max = 0;
    std::uint64_t limit_ms = 0;
    std::uint64_t deadline_ms = 0;
};

using Function = void (*)(Call &);
using Think = void (*)(Batch &);

namespace detail {

/* The border: what a method throws ends here. */
inline std::int32_t run(const warren_host *host, warren_call *raw, Function function) noexcept {
    try {
        Call call(host, raw);
        function(call);
        return 0;
    } catch (const Refused &) {
        return 1;
    } catch (const std::exception &error) {
        host->fail(raw, text(error.what()));
        return 2;
    } catch (...) {
        host->fail(raw, text("an exception that is no std::exception"));
        return 3;
    }
}

inline std::int32_t call(const warren_host *host, warren_call *raw, void *data) noexcept {
    return run(host, raw, *static_cast<Function *>(data));
}

inline void think(const warren_host *host, warren_batch *raw, const warren_near *near, void *data) noexcept {
    Batch batch(host, raw, near);
    try {
        (*static_cast<Think *>(data))(batch);
    } catch (...) {
        for (std::size_t at = 0; at < batch.size(); at++) {
            batch.stand(at);
        }
    }
}

/* A method or a behaviour before it has its place in its table. */
struct Part {
    std::string_view name;
    Function function; /* of a method */
    Options options;
    Think think; /* of a behaviour */
};

/* The tables that the server gets. They stay as they are until the process ends. */
template <std::size_t N>
class Table {
public:
    Table(std::string_view name, std::string_view version, const Part (&parts)[N]) {
        for (const Part &part : parts) {
            if (part.think != nullptr) {
                add_behaviour(part);
            } else {
                add_method(part);
            }
        }
        plugin_.size = sizeof(plugin_);
        plugin_.abi_major = WARREN_ABI_MAJOR;
        plugin_.abi_minor = WARREN_ABI_MINOR;
        plugin_.name = text(name);
        plugin_.version = text(version);
        plugin_.methods = methods_.data();
        plugin_.behaviours = behaviours_.data();
    }
    Table(const Table &) = delete;
    Table &operator=(const Table &) = delete;

    const warren_plugin *plugin() const { return &plugin_; }

private:
    void add_method(const Part &part) {
        const std::size_t at = plugin_.method_count++;
        functions_[at] = part.function;
        warren_method &raw = methods_[at];
        raw.size = sizeof(raw);
        raw.name = text(part.name);
        raw.call = call;
        raw.data = &functions_[at];
        raw.priority = part.options.priority;
        raw.attempts_max = part.options.attempts_max;
        raw.limit_ms = part.options.limit_ms;
        raw.deadline_ms = part.options.deadline_ms;
    }

    void add_behaviour(const Part &part) {
        const std::size_t at = plugin_.behaviour_count++;
        thinks_[at] = part.think;
        warren_behaviour &raw = behaviours_[at];
        raw.size = sizeof(raw);
        raw.name = text(part.name);
        raw.think = think;
        raw.data = &thinks_[at];
    }

    std::array<Function, N> functions_{};
    std::array<warren_method, N> methods_{};
    std::array<Think, N> thinks_{};
    std::array<warren_behaviour, N> behaviours_{};
    warren_plugin plugin_{};
};

}  // namespace detail

/* A method of the plugin: a function, or a lambda without captures. */
template <typename F>
detail::Part method(std::string_view name, F function, Options options = {}) {
    static_assert(std::is_convertible_v<F, Function>, "a method takes warren::Call &, and captures nothing");
    return detail::Part{name, Function(function), options, nullptr};
}

/* A behaviour of the plugin: a function, or a lambda without captures. */
template <typename F>
detail::Part behaviour(std::string_view name, F function) {
    static_assert(std::is_convertible_v<F, Think>, "a behaviour takes warren::Batch &, and captures nothing");
    return detail::Part{name, nullptr, {}, Think(function)};
}

}  // namespace warren

/* The plugin of this library: its name, its version, its methods and behaviours. Once in a library. */
#define WARREN_PLUGIN(name, version, ...)                                                          \
    extern "C" const warren_plugin *warren_plugin_entry(const warren_host *) {                     \
        static const warren::detail::Part parts[] = {__VA_ARGS__};                                 \
        static const warren::detail::Table<sizeof(parts) / sizeof(parts[0])> table(                \
            (name), (version), parts);                                                             \
        return table.plugin();                                                                     \
    }

#endif
