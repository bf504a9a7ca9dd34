/* A plugin whose functions and data have the same names in each library that is made of this file: NAME,
 * VERSION, METHOD and DAMAGE say which it is. */
#include "warren_plugin.h"

#define QUOTED(word) #word
#define QUOTE(word) QUOTED(word)

/* Exported, as those of two plugins that know nothing of each other. */
WARREN_EXPORT int damage_of_a_hit = DAMAGE;
WARREN_EXPORT int damage(void);

WARREN_EXPORT __attribute__((noinline)) int damage(void) { return DAMAGE; }

/* Takes `damage` from the target's hp, tells the arena, and keeps which version did it. */
static int32_t hit(const warren_host *host, warren_call *call, void *data) {
    uint64_t target = host->target(call);
    warren_object object;
    int64_t hp = 0;
    warren_field fields[3];
    (void)data;
    object.size = sizeof(object);
    if (!host->object(call, target, &object)) {
        host->fail(call, WARREN_T("there is no such target"));
        return 1;
    }
    if (!host->to_integer(host->object_field(call, target, WARREN_T("hp")), &hp)) {
        return 2;
    }
    hp -= damage();
    fields[0] = warren_integer_field(WARREN_T("hp"), hp);
    fields[1] = warren_string_field(WARREN_T("hit_by"), WARREN_T(QUOTE(VERSION)));
    fields[2] = warren_integer_field(WARREN_T("of"), damage_of_a_hit);
    host->set(call, target, object.version, fields, 2);
    host->emit(call, WARREN_T("arena"), WARREN_T("hit"), fields, 1);
    return host->reply(call, fields, 3);
}

static const warren_method methods[] = {
    {sizeof(warren_method), 0, WARREN_TEXT(QUOTE(METHOD)), hit, NULL, 0, 0, 0, 0},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR,
    WARREN_TEXT(QUOTE(NAME)), WARREN_TEXT(QUOTE(VERSION)),
    methods, 1, NULL, 0, NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return &plugin;
}
