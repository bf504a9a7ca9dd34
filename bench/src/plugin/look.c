/* Answers with what the built-in `get` answers: kind, version, and all fields of the object. */
#include "warren_plugin.h"

static int32_t look(const warren_host *host, warren_call *call, void *data) {
    warren_field fields[48];
    warren_object object;
    uint64_t target = host->target(call);
    uint32_t count;
    (void)data;
    object.size = sizeof(object);
    if (!host->object(call, target, &object)) {
        return 1;
    }
    fields[0] = warren_string_field(WARREN_T("kind"), object.kind);
    fields[1] = warren_integer_field(WARREN_T("version"), (int64_t)object.version);
    count = host->fields(call, target, fields + 2, 46);
    return count > 46 ? 2 : host->reply(call, fields, count + 2);
}

static const warren_method methods[] = {
    {sizeof(warren_method), 0, WARREN_TEXT("look"), look, NULL, 0, 0, 0, 0},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("bench"), WARREN_TEXT("1"),
    methods, 1, NULL, 0, NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return &plugin;
}
