/* The server's `wander` once more, as a plugin. */
#include <math.h>

#include "warren_plugin.h"

static uint64_t random_word(uint64_t *state) {
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static float random_share(uint64_t *state) { return (float)(random_word(state) >> 40) / 16777216.0f; }

/* It goes in this direction, which may be of any length. */
static void walk(warren_batch *batch, uint32_t at, float x, float y, float z) {
    float length = sqrtf(x * x + y * y + z * z);
    float *velocity = batch->velocities[at], *position = batch->positions[at];
    if (length > 0.0f && batch->speed > 0.0f) {
        float factor = batch->speed / length;
        velocity[0] = x * factor;
        velocity[1] = y * factor;
        velocity[2] = z * factor;
        batch->headings[at] = atan2f(y, x) * 57.295779513f;
    } else {
        velocity[0] = velocity[1] = velocity[2] = 0.0f;
    }
    position[0] += velocity[0] * batch->seconds[at];
    position[1] += velocity[1] * batch->seconds[at];
    position[2] += velocity[2] * batch->seconds[at];
}

static void wander(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    uint32_t at;
    (void)host, (void)near, (void)data;
    for (at = 0; at < batch->count; at++) {
        const float *position = batch->positions[at], *velocity = batch->velocities[at];
        float x = batch->home[0] - position[0], y = batch->home[1] - position[1], z = batch->home[2] - position[2];
        if (x * x + y * y + z * z > batch->radius * batch->radius) {
            walk(batch, at, x, y, z);
            continue;
        }
        if (random_share(&batch->states[at]) * 4.0f < batch->seconds[at] ||
            (velocity[0] == 0.0f && velocity[1] == 0.0f && velocity[2] == 0.0f)) {
            float turn = random_share(&batch->states[at]) * 6.283185307f;
            float up = batch->dims == 2 ? 0.0f : 2.0f * random_share(&batch->states[at]) - 1.0f;
            float flat = sqrtf(1.0f - up * up);
            walk(batch, at, cosf(turn) * flat, sinf(turn) * flat, up);
        } else {
            float seconds = batch->seconds[at];
            batch->positions[at][0] += velocity[0] * seconds;
            batch->positions[at][1] += velocity[1] * seconds;
            batch->positions[at][2] += velocity[2] * seconds;
        }
    }
}

static const warren_behaviour behaviours[] = {
    {sizeof(warren_behaviour), 0, WARREN_TEXT("native.wander"), wander, NULL},
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, WARREN_TEXT("wanderers"),
    WARREN_TEXT("1.0"), NULL, 0, behaviours, 1, NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host;
    return &plugin;
}
