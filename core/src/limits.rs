//! Every bound of the engine, in one place. Each has a configuration key of the same name, and a
//! reason that a client hears when it is hit.

use crate::rate::Rate;

/// Bounds of a shard engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests that wait in a partition's queue; beyond it they are answered `busy`. As many
    /// notices of objects may wait beside them; beyond it they are dropped.
    pub partition_events_max: usize,
    /// Events handled in one turn; the rest waits for the next.
    pub turn_events_max: usize,
    /// Bytes staged for one other shard. At half of it no new client input is taken; at all of it
    /// the home of a room with members there answers `busy`.
    pub mesh_staging_bytes_max: usize,
    /// Rooms of one session, joins under way among them.
    pub rooms_per_session_max: usize,
    /// Up to this number of members a room announces who joins and leaves.
    pub presence_members_max: usize,
    /// How often a room with more members than that is told their number, in nanoseconds.
    pub count_interval_ns: u64,
    /// A room with more members than this gathers its messages.
    pub gather_members_min: usize,
    /// For how long, in nanoseconds; nothing is gathered when it is 0.
    pub gather_ns: u64,
    /// Bytes beyond which a room sends what it has gathered before its time.
    pub gather_bytes_max: usize,
    /// Bytes that a room sends for one member: each of its messages counts once for every member.
    pub fan_out: Rate,
    /// Worlds of a shard with somebody in them; one more is answered `too-many-worlds`.
    pub worlds_max: usize,
    /// Ticks in a second that a world may ask for.
    pub world_tick_hz_max: u8,
    /// Entities of one world.
    pub world_entities_max: usize,
    /// NPCs of one world.
    pub world_npcs_max: usize,
    /// NPCs of all worlds of a shard.
    pub npcs_max: usize,
    /// How long NPCs may be moved in one turn, in nanoseconds; the others wait for the next.
    pub npc_turn_ns: u64,
    /// Bytes of frames in a second for one member of a world; its far cells are told less often so
    /// that it gets no more.
    pub world_bytes_per_s: usize,
    /// How long a member of a world may take no frames before it is closed, in nanoseconds.
    pub frame_stall_ns: u64,
    /// Bytes of an object's packed record: its kind, owner and fields.
    pub object_bytes_max: usize,
    /// Objects of one partition, rooms and users among them. An eighth of it is kept for rooms and
    /// users, half of that for users alone; of the bytes too.
    pub objects_per_partition_max: usize,
    /// Bytes in memory of one partition's objects and of their watches.
    pub partition_bytes_max: usize,
    /// Bytes in memory of the objects of all partitions of a shard.
    pub state_bytes_max: usize,
    /// Objects that one session watches, watches under way among them.
    pub watches_per_session_max: usize,
    /// Tickets checked in one turn; the other logins wait for the next.
    pub tickets_per_turn_max: usize,
    /// Bytes of requests that a connection keeps while its login waits or is under way.
    pub parked_bytes_max: usize,
    /// Bytes of the reply and room messages of one event.
    pub effects_bytes_max: usize,
    /// Changed objects that wait to be stored. Beyond it, requests that may change objects are
    /// answered `busy`: the store is further behind than memory should make up for.
    pub changed_objects_max: usize,
    /// Tasks of one partition that are not done, or are remembered; an eighth of it is one user's share. Beyond it, requests that would become
    /// tasks are answered `queue-full`.
    pub tasks_per_partition_max: usize,
    /// Bytes of replies and notices that wait until what they tell of is durable. Beyond it, requests
    /// with `ack=durable` are answered `log-behind`, and notices are dropped.
    pub log_wait_bytes_max: usize,
    /// How long an empty room that was made by `join` stays, in nanoseconds.
    pub room_grace_ns: u64,
    /// How long a session without a connection waits to be resumed, in nanoseconds; none at all
    /// when it is 0, and then nothing is kept to be told again.
    pub session_grace_ns: u64,
    /// Sessions of one shard without a connection; one more ends the oldest.
    pub detached_sessions_max: usize,
    /// Messages that one session is told again. A client that missed more cannot resume.
    pub replay_messages_max: usize,
    /// Bytes of all messages of one shard that are kept to be told again.
    pub replay_bytes_max: usize,
    /// Deliveries of one shard that are remembered, 16 bytes each.
    pub replay_links_max: usize,
    /// Bytes of messages for what one session alone is told. What is more is told, and not kept.
    pub replay_alone: Rate,
    /// Bytes, in packed form, that one session is told again at once: they have to fit into the
    /// send queue of its connection.
    pub resume_bytes_max: usize,
    /// Connections of one address, over all shards.
    pub connections_per_address_max: usize,
    /// Logins and resumes from one address in a minute, whatever comes of them; 0: any number. As
    /// many may come at once.
    pub logins_per_minute_per_address: u64,
    /// Logins of one user in a minute, but those refused for another reason; 0: any number. As many
    /// may come at once.
    pub logins_per_minute_per_account: u64,
    /// Addresses without a connection, and accounts, whose logins one shard remembers; with one more
    /// the oldest is forgotten.
    pub addresses_max: usize,
}

impl Limits {
    /// What a server has unless its configuration says otherwise.
    pub const PRODUCTION: Self = Self {
        partition_events_max: 1024,
        turn_events_max: 16_384,
        mesh_staging_bytes_max: 4 << 20,
        rooms_per_session_max: 64,
        presence_members_max: 100,
        count_interval_ns: 1_000_000_000,
        gather_members_min: 1000,
        gather_ns: 50_000_000,
        gather_bytes_max: 64 << 10,
        fan_out: Rate { per_s: 2 << 20, burst: 32 << 20 },
        worlds_max: 4096,
        world_tick_hz_max: 60,
        world_entities_max: 16_384,
        world_npcs_max: 10_000,
        npcs_max: 100_000,
        npc_turn_ns: 250_000,
        world_bytes_per_s: 64 << 10,
        frame_stall_ns: 10_000_000_000,
        object_bytes_max: 64 << 10,
        objects_per_partition_max: 65_536,
        partition_bytes_max: 64 << 20,
        state_bytes_max: 4 << 30,
        watches_per_session_max: 256,
        tickets_per_turn_max: 16,
        parked_bytes_max: 4096,
        effects_bytes_max: Self::effects_bytes_max_for(64 << 10),
        changed_objects_max: 4 << 20,
        tasks_per_partition_max: 4096,
        log_wait_bytes_max: 16 << 20,
        room_grace_ns: 10_000_000_000,
        session_grace_ns: 30_000_000_000,
        detached_sessions_max: 65_536,
        replay_messages_max: 1024,
        replay_bytes_max: 64 << 20,
        replay_links_max: 8 << 20,
        replay_alone: Rate { per_s: 16 << 10, burst: 192 << 10 },
        resume_bytes_max: 192 << 10,
        connections_per_address_max: 1024,
        logins_per_minute_per_address: 6000,
        logins_per_minute_per_account: 600,
        addresses_max: 65_536,
    };

    /// `effects_bytes_max` for objects of up to so many bytes: what makes, changes or reads one has
    /// to fit, with what the room and those who watch it hear.
    #[must_use]
    pub const fn effects_bytes_max_for(object_bytes_max: usize) -> usize {
        let (least, needed) = (256 << 10, 3 * object_bytes_max + (64 << 10));
        if needed > least { needed } else { least }
    }

    /// So small that a simulation reaches every one of them in its first second.
    pub const TINY: Self = Self {
        partition_events_max: 2,
        turn_events_max: 3,
        mesh_staging_bytes_max: 1024,
        rooms_per_session_max: 3,
        presence_members_max: 4,
        count_interval_ns: 3_000_000,
        gather_members_min: 3,
        gather_ns: 2_000_000,
        gather_bytes_max: 512,
        fan_out: Rate { per_s: 100_000, burst: 4000 },
        worlds_max: 2,
        world_tick_hz_max: 20,
        world_entities_max: 4,
        world_npcs_max: 2,
        npcs_max: 3,
        npc_turn_ns: 500,
        world_bytes_per_s: 600,
        frame_stall_ns: 30_000_000,
        object_bytes_max: 96,
        objects_per_partition_max: 6,
        partition_bytes_max: 3400,
        state_bytes_max: 32 << 10,
        watches_per_session_max: 2,
        tickets_per_turn_max: 1,
        parked_bytes_max: 64,
        effects_bytes_max: 1024,
        changed_objects_max: 8,
        tasks_per_partition_max: 3,
        log_wait_bytes_max: 512,
        room_grace_ns: 5_000_000,
        session_grace_ns: 20_000_000,
        detached_sessions_max: 2,
        replay_messages_max: 12,
        replay_bytes_max: 8 << 10,
        replay_links_max: 256,
        replay_alone: Rate { per_s: 10_000, burst: 3000 },
        resume_bytes_max: 2 << 10,
        connections_per_address_max: 2,
        logins_per_minute_per_address: 0,
        // Its users come back in every millisecond.
        logins_per_minute_per_account: 0,
        addresses_max: 2,
    };
}

/// Bytes of a delivery that is remembered.
pub const REPLAY_LINK_BYTES: usize = 16;
/// So many refused `login`s and `resume`s close a connection. `busy` is none.
pub const REFUSED_LOGINS_MAX: u8 = 3;
/// Names or ids on one page when the request does not say.
pub const PAGE_COUNT_DEFAULT: usize = 100;
/// Most names or ids on one page.
pub const PAGE_COUNT_MAX: usize = 250;
/// Most steps of one `find`: one for each object that it looks at, one for each field that it
/// passes, and more for long values. It answers with what it found and where to go on, so that no
/// turn becomes long.
pub const FIND_SCAN_MAX: usize = 4096;
/// Longest record or change, in packed form, that the members of an object's room are told whole.
/// Of a longer one they hear that it is there.
pub const ROOM_NOTICE_BYTES_MAX: usize = 4096;
/// Least time between two looks at a room whose end or count could not be told yet, in nanoseconds.
pub const ROOM_LOOK_NS_MIN: u64 = 1_000_000;
/// Bytes of the values that `find` reads and that count as one step.
pub const BYTES_PER_STEP: usize = 256;
/// Steps of a `find`, or names looked at, that count as one event in a turn's budget.
pub const SCANNED_PER_EVENT: usize = 16;
/// How long a world with NPCs stays awake when nobody is in it: whoever leaves and joins again and again
/// makes none anew. It is less work for a shard than making them, since the world does not tick.
pub const WORLD_GRACE_NS: u64 = 5_000_000_000;
/// Members of worlds that are told in one turn, and entities that have moved; the worlds that are due
/// besides tick in the next, so that one turn does not hold up all else. One world may have more.
pub const WORLD_TICKED_PER_TURN_MAX: usize = 1024;
/// Bytes that a turn puts out before it leaves the other events to the next. One event may put out
/// `effects_bytes_max` more, to each shard with members of its room.
pub const TURN_OUTPUT_BYTES_MAX: usize = 8 << 20;
/// An arena that a burst has made larger than this is given back after its turn.
pub const ARENA_BYTES_KEPT_MAX: usize = 4 << 20;
