/* Plugins with a fault each: FAULT says which. */
#include "warren_plugin.h"

enum {
    FINE, NO_ENTRY, NULL_PLUGIN, ABI_MAJOR, ABI_MINOR, PLUGIN_SIZE, METHOD_SIZE, LATER_METHOD_SIZE, NAME,
    NAME_NULL, VERSION, VERSION_LONG, NO_METHODS, MANY_METHODS, METHOD_NAME, BUILT_IN, TWICE, NO_FUNCTION,
    BEHAVIOUR_SIZE, BEHAVIOUR_NAME, BEHAVIOUR_BUILT_IN, BEHAVIOUR_TWICE, BEHAVIOUR_NO_FUNCTION,
    MANY_BEHAVIOURS, NULL_METHODS, NULL_BEHAVIOURS, SELF_CHECK, SELF_CHECK_SILENT, FIRST_MINOR
};

static int32_t stumble(const warren_host *host, warren_call *call, void *data) {
    (void)data;
    host->fail(call, WARREN_T("as always"));
    return -7;
}

/* Says more than may be, and goes on. */
static int32_t huge(const warren_host *host, warren_call *call, void *data) {
    static char bytes[4 << 20];
    warren_field field = warren_string_field(WARREN_T("bytes"), warren_text_of(bytes, sizeof(bytes)));
    (void)data;
    field.value.type = WARREN_BYTES;
    return host->reply(call, &field, 1) == 0 ? 1 : 0;
}

static int32_t many(const warren_host *host, warren_call *call, void *data) {
    int number;
    (void)data;
    for (number = 0; number < 1000; number++) {
        host->create(call, WARREN_T("thing"), NULL, 0);
    }
    return 0;
}

/* Values that are none: `which` says how. */
static int32_t value(const warren_host *host, warren_call *call, void *data) {
    warren_field field = warren_string_field(WARREN_T("value"), WARREN_T("\xff"));
    int64_t which = 0;
    (void)data;
    host->to_integer(host->field(call, WARREN_T("which")), &which);
    if (which == 1) {
        field.value.type = 8;
    } else if (which == 2) {
        field.value.type = WARREN_BOOLEAN;
        field.value.as.integer = 2;
    } else if (which == 3) {
        field.value.type = WARREN_LIST;
        field.value.count = 2;
        field.value.as.text = WARREN_T("\1\0\0\0a");
    } else if (which == 4) {
        field.value.type = WARREN_LIST;
        field.value.count = 1;
        field.value.as.text = WARREN_T("\1\0\0\0ab");
    } else if (which == 5) {
        field.name = WARREN_T("\xff");
        field.value.as.text = WARREN_T("fine");
    }
    host->reply(call, &field, 1);
    host->set(call, host->target(call), 0, &field, 1);
    return 0;
}

static warren_method methods[2000] = {
    {sizeof(warren_method), 0, WARREN_TEXT("stumble"), stumble, NULL, 0, 0, 0, 0},
    {sizeof(warren_method), 0, WARREN_TEXT("huge"), huge, NULL, 0, 0, 0, 0},
    {sizeof(warren_method), 0, WARREN_TEXT("many"), many, NULL, 0, 0, 0, 0},
    {sizeof(warren_method), 0, WARREN_TEXT("value"), value, NULL, 0, 0, 0, 0},
};

static void rest(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    (void)host, (void)batch, (void)near, (void)data;
}

static warren_behaviour behaviours[300] = {
    {sizeof(warren_behaviour), 0, WARREN_TEXT("rest"), rest, NULL},
    {sizeof(warren_behaviour), 0, WARREN_TEXT("sleep"), rest, NULL},
};

static int32_t self_check(const warren_host *host, warren_text *why) {
    (void)host;
    *why = WARREN_T("the moon is full");
    return 3;
}

static int32_t silent_check(const warren_host *host, warren_text *why) {
    (void)host;
    (void)why;
    return 4;
}

static warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("bad"), WARREN_TEXT("1"),
    methods, 4, behaviours, 2, NULL,
};

const warren_plugin *entry(void);

const warren_plugin *entry(void) {
    switch (FAULT) {
    case NULL_PLUGIN: return NULL;
    case ABI_MAJOR: plugin.abi_major = WARREN_ABI_MAJOR + 1; break;
    case ABI_MINOR: plugin.abi_minor = WARREN_ABI_MINOR + 1; break;
    case PLUGIN_SIZE: plugin.size = 8; break;
    case METHOD_SIZE: methods[0].size = sizeof(warren_method) + 8; break;
    case LATER_METHOD_SIZE: methods[3].size = 0; break;
    case NAME: plugin.name = WARREN_T("two words"); break;
    case NAME_NULL: plugin.name = warren_text_of(NULL, 0); break;
    case VERSION: plugin.version = WARREN_T("1 beta"); break;
    case VERSION_LONG: plugin.version = WARREN_T("123456789012345678901234567890123"); break;
    case NO_METHODS: plugin.method_count = plugin.behaviour_count = 0; break;
    case MANY_METHODS: plugin.method_count = 2000; break;
    case METHOD_NAME: methods[2].name = WARREN_T("so many"); break;
    case BUILT_IN: methods[1].name = WARREN_T("chat"); break;
    case TWICE: methods[2].name = methods[1].name; break;
    case NO_FUNCTION: methods[1].call = NULL; break;
    case BEHAVIOUR_SIZE: behaviours[1].size = sizeof(warren_behaviour) + 8; break;
    case BEHAVIOUR_NAME: behaviours[1].name = WARREN_T("so:many"); break;
    case BEHAVIOUR_BUILT_IN: behaviours[1].name = WARREN_T("flock"); break;
    case BEHAVIOUR_TWICE: behaviours[1].name = behaviours[0].name; break;
    case BEHAVIOUR_NO_FUNCTION: behaviours[1].think = NULL; break;
    case MANY_BEHAVIOURS: plugin.behaviour_count = 300; break;
    case NULL_METHODS: plugin.methods = NULL; break;
    case NULL_BEHAVIOURS: plugin.behaviours = NULL; break;
    case FIRST_MINOR: plugin.abi_minor = 0; break;
    case SELF_CHECK: plugin.self_check = self_check; break;
    case SELF_CHECK_SILENT: plugin.self_check = silent_check; break;
    default: break;
    }
    return &plugin;
}

#ifndef WITHOUT_ENTRY
const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return entry();
}
#endif
