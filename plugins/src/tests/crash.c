/* A plugin whose method ends the process. */
#include <stdlib.h>

#include "warren_plugin.h"

static int32_t boom(const warren_host *host, warren_call *call, void *data) {
    (void)host, (void)call, (void)data;
    abort();
}

static const warren_method methods[] = {
    {sizeof(warren_method), 0, WARREN_TEXT("boom"), boom, NULL, 0, 0, 0, 0},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("crash"),
    WARREN_TEXT("1"), methods, 1, NULL, 0, NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return &plugin;
}
