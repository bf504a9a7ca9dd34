/* A plugin whose method takes many milliseconds, on any machine. */
#include "warren_plugin.h"

static int32_t spin(const warren_host *host, warren_call *call, void *data) {
    volatile uint64_t sum = 0;
    uint64_t number;
    (void)host;
    (void)call;
    (void)data;
    for (number = 0; number < 20000000; number++) {
        sum += number;
    }
    return 0;
}

static const warren_method methods[] = {
    {sizeof(warren_method), 0, WARREN_TEXT("spin"), spin, NULL, 0, 0, 0, 0},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("slow"), WARREN_TEXT("1"),
    methods, 1, NULL, 0, NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return &plugin;
}
