/* Behaviours, and no method. MARCH is how many units the first goes in a second. */
#include <math.h>

#include "warren_plugin.h"

#define TEXT_(name) #name
#define TEXT(name) WARREN_TEXT(TEXT_(name))

/* East; and back and forth within a circle that has a radius. */
static void march(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    uint32_t at;
    (void)host, (void)near, (void)data;
    for (at = 0; at < batch->count; at++) {
        float way = batch->positions[at][0] - batch->home[0];
        if (batch->radius > 0.0f && (way > batch->radius || way < -batch->radius)) {
            batch->states[at] = way > 0.0f ? 1 : 2;
        }
        batch->velocities[at][0] = batch->states[at] == 1 ? -(float)MARCH : (float)MARCH;
        batch->velocities[at][1] = 0.0f;
        batch->positions[at][0] += batch->velocities[at][0] * batch->seconds[at];
    }
}

/* To where nobody can be. */
static void astray(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    uint32_t at;
    (void)host, (void)near, (void)data;
    for (at = 0; at < batch->count; at++) {
        switch (batch->numbers[at] % 4) {
        case 0: batch->positions[at][0] = NAN; break;
        case 1: batch->positions[at][1] = 3e38f; break;
        case 2: batch->velocities[at][0] = -INFINITY; break;
        default: batch->headings[at] = NAN; break;
        }
        batch->states[at] = ~(uint64_t)0;
    }
}

/* Shows what it is told: by where it goes, since that is seen. */
static void mirror(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    uint32_t at;
    (void)host, (void)near;
    for (at = 0; at < batch->count; at++) {
        int is_first = batch->states[at] != 7;
        batch->states[at] = 7;
        batch->positions[at][0] = batch->home[0] + batch->speed;
        batch->positions[at][1] = batch->home[1] + batch->radius;
        batch->velocities[at][0] = batch->seconds[at] * 10.0f;
        batch->velocities[at][1] = (float)batch->dims + (is_first ? 10.0f : 0.0f);
        batch->headings[at] = 45.0f * (float)(batch->tick % 8);
        if (batch->size != sizeof(*batch) || *(const int *)data != 42) {
            batch->velocities[at][0] = -1.0f;
        }
    }
}

/* As many units to the east as entities are near, as many to the north as members. */
static void look(const warren_host *host, warren_batch *batch, const warren_near *near, void *data) {
    uint32_t at, number, faults = 0;
    (void)data;
    for (number = batch->numbers[batch->count - 1] + 1u; number <= UINT16_MAX; number++) {
        warren_neighbour nobody[1];
        faults += host->neighbours(near, (uint16_t)number, number % 2, nobody, 1);
    }
    for (at = 0; at < batch->count; at++) {
        warren_neighbour others[20];
        uint32_t number = batch->numbers[at];
        uint32_t entities = host->neighbours(near, (uint16_t)number, 0, others, 20);
        uint32_t members = host->neighbours(near, (uint16_t)number, 1, others + entities, 20 - entities);
        /* It has written so many and no more. */
        faults += host->neighbours(near, (uint16_t)number, 0, NULL, 0);
        faults += host->neighbours(near, (uint16_t)number, 0, others, 1) != (entities > 0);
        batch->velocities[at][0] = faults == 0 ? (float)entities : -1.0f;
        batch->velocities[at][1] = (float)members;
        if (members == 1 && (!others[entities].is_member || others[entities].position[0] != 3.0f)) {
            batch->velocities[at][1] = -1.0f;
        }
    }
}

static int answer = 42;

static const warren_behaviour behaviours[] = {
    {sizeof(warren_behaviour), 0, TEXT(NAME), march, NULL},
#ifndef MARCH_ALONE
    {sizeof(warren_behaviour), 0, WARREN_TEXT("astray"), astray, NULL},
    {sizeof(warren_behaviour), 0, WARREN_TEXT("mirror"), mirror, &answer},
    {sizeof(warren_behaviour), 0, WARREN_TEXT("look"), look, NULL},
#endif
};

static const warren_plugin plugin = {
    sizeof(warren_plugin), WARREN_ABI_MAJOR, WARREN_ABI_MINOR, TEXT(PLUGIN), TEXT(VERSION), NULL, 0,
    behaviours, sizeof(behaviours) / sizeof(behaviours[0]), NULL,
};

const warren_plugin *warren_plugin_entry(const warren_host *host) {
    (void)host, (void)astray, (void)mirror, (void)look, (void)answer;
    return &plugin;
}
