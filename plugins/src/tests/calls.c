/* A plugin that uses every function of the host table. */
#include "warren_plugin.h"

static const warren_host *kept;

/* Answers with all that it can know of the request and its target. */
static int32_t look(const warren_host *host, warren_call *call, void *data) {
    warren_field fields[48];
    warren_object object;
    uint64_t target = host->target(call);
    uint32_t count = host->fields(call, target, fields, 40);
    int64_t integer = -1;
    double number = -1;
    uint32_t boolean = 0;
    uint64_t id = 0;
    if (data != &kept || kept != host || count > 40) {
        return 1;
    }
    object.size = sizeof(object);
    if (!host->object(call, target, &object)) {
        return 2;
    }
    fields[count++] = warren_string_field(WARREN_T("kind"), object.kind);
    fields[count++] = warren_integer_field(WARREN_T("object_version"), (int64_t)object.version);
    fields[count++] = warren_string_field(WARREN_T("asked_by"), host->user(call));
    fields[count++] = warren_integer_field(WARREN_T("at"), host->time_ms(call));
    host->to_integer(host->field(call, WARREN_T("i")), &integer);
    host->to_number(host->field(call, WARREN_T("n")), &number);
    host->to_boolean(host->field(call, WARREN_T("b")), &boolean);
    host->to_object(host->field(call, WARREN_T("target")), &id);
    fields[count++] = warren_integer_field(WARREN_T("integer"), integer);
    fields[count] = warren_integer_field(WARREN_T("number"), 0);
    fields[count].value.type = WARREN_FLOAT;
    fields[count++].value.as.number = number;
    fields[count] = warren_integer_field(WARREN_T("boolean"), boolean);
    fields[count++].value.type = WARREN_BOOLEAN;
    fields[count] = warren_integer_field(WARREN_T("same"), 0);
    fields[count].value.type = WARREN_OBJECT;
    fields[count++].value.as.object = id;
    /* What is elsewhere, and what is not there. */
    if (host->object(call, 7, &object) || host->fields(call, 7, fields, 0) != 0 ||
        host->field(call, WARREN_T("none")).type != WARREN_NULL ||
        host->object_field(call, target, WARREN_T("none")).type != WARREN_NULL) {
        return 3;
    }
    return host->reply(call, fields, count);
}

/* Makes an object with values of all types, of which two are as in the request. */
static int32_t make(const warren_host *host, warren_call *call, void *data) {
    warren_field fields[4];
    (void)data;
    fields[0].name = WARREN_T("bytes");
    fields[0].value.type = WARREN_BYTES;
    fields[0].value.count = 0;
    fields[0].value.as.text = WARREN_T("\0\xff");
    fields[1].name = WARREN_T("list");
    fields[1].value.type = WARREN_LIST;
    fields[1].value.count = 2;
    fields[1].value.as.text = WARREN_T("\1\0\0\0a\2\0\0\0bc");
    fields[2].name = WARREN_T("nothing");
    fields[2].value = host->field(call, WARREN_T("none"));
    fields[3].name = WARREN_T("word");
    fields[3].value = host->field(call, WARREN_T("word"));
    return host->create(call, WARREN_T("thing"), fields, 4);
}

static int32_t take_away(const warren_host *host, warren_call *call, void *data) {
    (void)data;
    return host->remove(call, host->target(call));
}

/* Two events about the target, later and later still, and one about what is elsewhere. */
static int32_t plan(const warren_host *host, warren_call *call, void *data) {
    warren_field fields[2];
    int64_t delay_ms = 0;
    (void)data;
    host->to_integer(host->field(call, WARREN_T("delay_ms")), &delay_ms);
    fields[0].name = WARREN_T("target");
    fields[0].value = host->field(call, WARREN_T("target"));
    fields[1] = warren_string_field(WARREN_T("key"), WARREN_T("once"));
    host->schedule(call, WARREN_T("howl"), (uint64_t)delay_ms, fields, 1);
    host->schedule(call, WARREN_T("howl"), (uint64_t)delay_ms * 2, fields, 2);
    fields[0].value.type = WARREN_OBJECT;
    fields[0].value.count = 0;
    fields[0].value.as.object = (uint64_t)172 << 48 | 9;
    return host->schedule(call, WARREN_T("howl"), 0, fields, 1);
}

static int32_t check(const warren_host *host, warren_text *why) {
    (void)why;
    return kept == host && host->size == sizeof(*host) ? 0 : 1;
}

static const warren_method methods[] = {
    {sizeof(warren_method), 0, WARREN_TEXT("look"), look, (void *)&kept, 3, 2, 100, 1000},
    {sizeof(warren_method), 0, WARREN_TEXT("make"), make, NULL, 0, 0, 0, 0},
    {sizeof(warren_method), 0, WARREN_TEXT("take.away"), take_away, NULL, 0, 0, 0, 0},
    {sizeof(warren_method), 0, WARREN_TEXT("plan"), plan, NULL, 0, 0, 0, 0},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("calls"),
    WARREN_TEXT("0.1+b-2_c"), methods, 4, NULL, 0, check,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    kept = host;
    return &plugin;
}
