/* Native plugins of Warren: game code in a shared library, in C or whatever speaks C.
 *
 * A library has one exported function, warren_plugin_entry. It gives a table of methods; the server calls
 * a method in the turn of the request that asks for it, on the thread that has the request's partition.
 * What it reads is what is there, without a copy. What it changes it says as effects, and these happen as a
 * whole when it returns 0, together with its answer; or nothing happens. docs/plugins.md tells more, and has
 * a whole plugin.
 *
 * Rules
 *
 * Ownership. Nothing changes hands. What the server gives (texts, bytes, fields, the call itself) is valid
 * until the method returns, and is not to be written. What the plugin gives to the server is copied before
 * the function returns; only what warren_plugin_entry returns, and all that it points to, has to stay as it
 * is until the process ends. A library is never closed.
 *
 * Lengths. Texts and bytes are a pointer and a length, without a NUL behind them. Texts are UTF-8 without
 * U+0000 to U+001F but tab, LF and CR. Where the length is 0 the pointer may be NULL.
 *
 * Threads. Each shard of the server has a thread. A method may run on several of them at once, never twice at
 * once for one partition: what a plugin keeps between calls it has to protect itself, and best keeps nothing,
 * but objects. A warren_call belongs to its thread, and is none any more when the method has returned. A
 * method does not block, does not start processes, and takes far less than a millisecond: all who are on that
 * shard wait for it (`plugins.call_us_max`).
 *
 * Behaviours. They move NPCs, between the turns. A behaviour is called at each tick of a world for those of its
 * NPCs that name it, some at a time; it writes where each is to be at that tick. What is not finite, or in no
 * cell of the world, leaves the NPC where it was. A behaviour changes nothing else: it has no call. The rules
 * of methods hold for it: several threads, no blocking, nothing kept; its arrays end with the call.
 *
 * Faults. A plugin is a part of the server's process: when it crashes, the server does. No C++ exception and
 * no longjmp may leave a function of the plugin.
 *
 * Versions. A plugin is loaded if its abi_major is the server's and its abi_minor is not higher. With a
 * higher minor, structs get fields at their ends and the host table functions at its end, and nothing that
 * was there changes. So every struct says its size: set it to sizeof. What is reserved is 0. Minor 1 has the
 * function `schedule`.
 */
#ifndef WARREN_PLUGIN_H
#define WARREN_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WARREN_ABI_MAJOR 1
#define WARREN_ABI_MINOR 1

#if defined(__GNUC__)
#define WARREN_EXPORT __attribute__((visibility("default")))
#else
#define WARREN_EXPORT
#endif

/* UTF-8, or for values of the type bytes any bytes. */
typedef struct warren_text {
    const char *bytes;
    size_t length;
} warren_text;

/* A text of a string literal: in initializers, and as an expression. */
#define WARREN_TEXT(literal) {(literal), sizeof(literal) - 1}
#define WARREN_T(literal) warren_text_of((literal), sizeof(literal) - 1)

static inline warren_text warren_text_of(const char *bytes, size_t length) {
    warren_text text;
    text.bytes = bytes;
    text.length = length;
    return text;
}

enum {
    WARREN_NULL = 0,    /* no value; in `set` it removes the field */
    WARREN_STRING = 1,  /* text */
    WARREN_INTEGER = 2, /* integer */
    WARREN_FLOAT = 3,   /* number: finite */
    WARREN_BOOLEAN = 4, /* integer: 0 or 1 */
    WARREN_BYTES = 5,   /* text: any bytes */
    WARREN_OBJECT = 6,  /* object */
    WARREN_LIST = 7     /* text: `count` texts, each behind its length in four bytes, little-endian */
};

/* A value of a field. Its layout never changes. */
typedef struct warren_value {
    uint32_t type;
    uint32_t count; /* texts of a list; otherwise 0 */
    union {
        warren_text text;
        int64_t integer;
        double number;
        uint64_t object;
    } as;
} warren_value;

/* A field. Names are [A-Za-z_][A-Za-z0-9_.-]{0,63}. Its layout never changes. */
typedef struct warren_field {
    warren_text name;
    warren_value value;
} warren_field;

static inline warren_field warren_string_field(warren_text name, warren_text text) {
    warren_field field;
    field.name = name;
    field.value.type = WARREN_STRING;
    field.value.count = 0;
    field.value.as.text = text;
    return field;
}

static inline warren_field warren_integer_field(warren_text name, int64_t integer) {
    warren_field field;
    field.name = name;
    field.value.type = WARREN_INTEGER;
    field.value.count = 0;
    field.value.as.integer = integer;
    return field;
}

/* What an object is beside its fields. */
typedef struct warren_object {
    uint32_t size; /* to be set by who asks */
    uint32_t reserved;
    uint64_t version; /* 1 when it is new, one more with every change */
    warren_text kind;
    warren_text owner; /* a user's name; empty: the server */
} warren_object;

/* One request that a method does. */
typedef struct warren_call warren_call;

/* Those around the NPCs of a batch. */
typedef struct warren_near warren_near;

/* NPCs of one entry of a world's field `npcs`, as arrays of `count`, which is not 0: what stands at one index is
 * one NPC's. What is left as it was costs nothing in frames. */
typedef struct warren_batch {
    uint32_t size;
    uint32_t count;
    uint64_t tick;      /* of the world, for which they are moved */
    float speed;        /* what they have in common: units in a second, */
    float radius;       /* and the circle (in 3D: the ball) */
    float home[3];      /* in which they live */
    uint32_t dims;      /* 2 or 3; in 2D whatever is third is 0 */
    const uint16_t *numbers; /* among the world's entities */
    const float *seconds;    /* since each was last moved: more than 0, and 1 at most */
    float (*positions)[3];
    float (*velocities)[3];  /* units in a second, for whoever draws them between two frames */
    float *headings;         /* degrees */
    uint64_t *states;        /* the behaviour's own; random when the NPC comes to be */
} warren_batch;

/* Somebody near an NPC. Its layout never changes. */
typedef struct warren_neighbour {
    float position[3];
    float velocity[3];
    uint32_t number;
    uint32_t is_member; /* 1: a client's; 0: an NPC */
} warren_neighbour;

/* What a plugin may ask the server to do. Functions that change something return 0, or not 0 when that cannot
 * be: then the whole call comes to nothing, whatever follows, and whoever asked hears why. */
typedef struct warren_host {
    uint32_t size;
    uint16_t abi_major;
    uint16_t abi_minor;

    /* The name of the user who asks. */
    warren_text (*user)(const warren_call *call);
    /* The time, in milliseconds since 1970. It stands still during a turn. */
    int64_t (*time_ms)(const warren_call *call);
    /* The object that the request is about (its field `target`, or `object`); 0: none. */
    uint64_t (*target)(const warren_call *call);

    /* A field of the request; WARREN_NULL when there is none. Clients of text protocols send everything as
     * text: see to_integer. */
    warren_value (*field)(const warren_call *call, warren_text name);
    /* The first `count_max` fields of an object, or of the request when `object` is 0, in their order. Returns
     * how many fields there are. */
    uint32_t (*fields)(const warren_call *call, uint64_t object, warren_field *out, uint32_t count_max);
    /* An object of the request's partition, as it was before the call. 1 when it is there, otherwise 0. */
    uint32_t (*object)(const warren_call *call, uint64_t object, warren_object *out);
    /* A field of such an object; WARREN_NULL when there is none. */
    warren_value (*object_field)(const warren_call *call, uint64_t object, warren_text name);

    /* The value as another type, also when a client sent it as text. 1 when that can be, otherwise 0. */
    uint32_t (*to_integer)(warren_value value, int64_t *out);
    uint32_t (*to_number)(warren_value value, double *out);
    uint32_t (*to_boolean)(warren_value value, uint32_t *out);
    uint32_t (*to_object)(warren_value value, uint64_t *out);

    /* The object gets these fields; if `version` is not 0, only if that is its version. */
    int32_t (*set)(warren_call *call, uint64_t object, uint64_t version, const warren_field *fields,
                   uint32_t count);
    /* A new object in the request's partition, which is the asking user's, or whose the field `owner` says: with
     * an empty text the server's. */
    int32_t (*create)(warren_call *call, warren_text kind, const warren_field *fields, uint32_t count);
    /* The object goes. */
    int32_t (*remove)(warren_call *call, uint64_t object);
    /* The members of the room, wherever it is, hear the event. */
    int32_t (*emit)(warren_call *call, warren_text room, warren_text event, const warren_field *fields,
                    uint32_t count);
    /* The answer gets these fields. */
    int32_t (*reply)(warren_call *call, const warren_field *fields, uint32_t count);
    /* Why the method is about to return something else than 0: for the server's log. */
    void (*fail)(warren_call *call, warren_text why);

    /* Entities in the cell of the NPC of this number and in those that touch it; or, when `is_member` is 1,
     * those of members who see that cell. At most `count_max`, and at most 16. Returns how many it has
     * written: 0 also for a number that is nobody's. */
    uint32_t (*neighbours)(const warren_near *near, uint16_t number, uint32_t is_member, warren_neighbour *out,
                           uint32_t count_max);

    /* Since minor 1. A scheduled event of the asking user: a task of the method `event`, of a plugin or a worker, which begins so many
     * milliseconds after the call is done, and not before; 0: then. Of the fields `target` says what it is about,
     * and so in which partition it is (otherwise the request's), and `key` that it is made once; the others
     * are its own. Those of the request's partition happen with all that the call says; elsewhere the event is asked
     * for when that is done. */
    int32_t (*schedule)(warren_call *call, warren_text event, uint64_t delay_ms, const warren_field *fields,
                        uint32_t count);
} warren_host;

/* A method. */
typedef struct warren_method {
    uint32_t size;
    uint32_t reserved;
    warren_text name;
    /* Does one request. Returns 0 when it is done; otherwise the asking client hears `plugin-failed`, and
     * nothing has changed. */
    int32_t (*call)(const warren_host *host, warren_call *call, void *data);
    void *data; /* the plugin's own */
    /* How tasks of the method are treated where the plugin runs in a worker process (docs/protocol.md,
     * "Tasks"). 0: as the server does by itself; `priority` is one more than the field's value. Inline these
     * mean nothing. */
    uint32_t priority;
    uint32_t attempts_max;
    uint64_t limit_ms;
    uint64_t deadline_ms;
} warren_method;

/* What moves NPCs whose world names it in the field `npcs`. */
typedef struct warren_behaviour {
    uint32_t size;
    uint32_t reserved;
    warren_text name;
    /* Moves all NPCs of the batch. May write positions, velocities, headings and states, and nothing else. */
    void (*think)(const warren_host *host, warren_batch *batch, const warren_near *near, void *data);
    void *data;
} warren_behaviour;

/* A plugin. Sizes of an array's structs are all the same. */
typedef struct warren_plugin {
    uint32_t size;
    uint16_t abi_major; /* WARREN_ABI_MAJOR */
    uint16_t abi_minor; /* WARREN_ABI_MINOR */
    warren_text name;
    warren_text version; /* 1 to 32 letters, digits, `_`, `.`, `+` and `-` */
    const warren_method *methods;
    size_t method_count;
    const warren_behaviour *behaviours;
    size_t behaviour_count;
    /* Whether the plugin can do its work, before it gets any. Returns 0 if so; otherwise it may say why. NULL:
     * it can. */
    int32_t (*self_check)(const warren_host *host, warren_text *why);
} warren_plugin;

/* What a library exports. The host table stays as it is until the process ends. NULL: the plugin cannot work
 * with this server. */
WARREN_EXPORT const warren_plugin *warren_plugin_entry(const warren_host *host);

#ifdef __cplusplus
}
#endif

#endif
