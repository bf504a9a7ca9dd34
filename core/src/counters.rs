//! What a shard engine counts. Plain numbers; the shard thread publishes them once a turn.

use crate::reason::Reason;

/// Totals since the start, except where marked as a gauge.
#[derive(Clone, Debug)]
pub struct ShardCounters {
    /// Events taken from partition queues and handled.
    pub events: u64,
    /// Room messages numbered here.
    pub room_messages: u64,
    /// Room messages that waited for others at their room's home.
    pub room_messages_gathered: u64,
    /// Copies of room and direct messages handed to connections of this shard.
    pub deliveries: u64,
    /// Moves taken by worlds whose home is here.
    pub world_moves: u64,
    /// Ticks of worlds whose home is here.
    pub world_ticks: u64,
    /// Ticks that were run late by more than half of the time between two, or after skipped ones.
    pub world_ticks_late: u64,
    /// Ticks that were due and were not run, because the shard was late.
    pub world_ticks_skipped: u64,
    /// Frames handed to connections of this shard.
    pub world_frames: u64,
    /// Frames that members did not get, because their connections took none.
    pub world_frames_missed: u64,
    /// Ticks that did not reach another shard, because the way there was full.
    pub world_frames_lost: u64,
    /// Members closed because they took no frames for too long.
    pub world_members_stalled: u64,
    /// Times that an NPC was moved.
    pub npc_updates: u64,
    /// Times that an NPC was not moved before a tick for which it was due.
    pub npc_carried_over: u64,
    /// Those of them in which it stood, since nobody has its behaviour.
    pub npc_updates_unmoved: u64,
    /// Times that a behaviour moved an NPC to where nobody can be.
    pub npc_moves_invalid: u64,
    /// Times that a worker was asked where NPCs are to go.
    pub npc_thinks_asked: u64,
    /// Those of them that were not answered in time, or not waited for any more.
    pub npc_thinks_lost: u64,
    /// Those of them that the worker could not answer: the NPCs stand.
    pub npc_thinks_failed: u64,
    /// Times that a world woke without NPCs, because what its field said of them was none.
    pub npc_fields_invalid: u64,
    /// Gauge: NPCs of worlds whose home is here.
    pub npcs: u64,
    /// Gauge: worlds that are awake, whose home is here.
    pub worlds: u64,
    /// Gauge: those of them whose tick rate is halved.
    pub worlds_slowed: u64,
    /// Gauge: entities in them.
    pub world_entities: u64,
    /// Delta batches made.
    pub delta_batches: u64,
    /// Gauge: those of them that the log has not said to be durable.
    pub delta_batches_waiting: u64,
    /// Gauge: replies and notices of objects that wait until what they tell of is durable.
    pub log_waiting: u64,
    /// Gauge: bytes of these.
    pub log_waiting_bytes: u64,
    /// Gauge: 1 while the log has failed, otherwise 0.
    pub log_failed: u64,
    /// Requests that became tasks.
    pub tasks_taken: u64,
    /// Leases that workers got.
    pub tasks_leased: u64,
    /// Tasks that were done.
    pub tasks_done: u64,
    /// Attempts that workers gave up.
    pub tasks_failed: u64,
    /// Leases that ended before their tasks were done.
    pub tasks_lost: u64,
    /// Tasks that nobody took in time.
    pub tasks_expired: u64,
    /// Scheduled events that a worker got more than a second after their time.
    pub events_late: u64,
    /// Scheduled events that tasks of other partitions asked for, and that could not be made.
    pub events_refused: u64,
    /// Tasks that were tried as often as they may be, or were given up by a worker.
    pub tasks_dead_total: u64,
    /// Those of them that went because a partition has too many.
    pub tasks_dead_dropped: u64,
    /// Gauge: tasks that wait for a worker.
    pub tasks_waiting: u64,
    /// Gauge: tasks that workers have.
    pub tasks_out: u64,
    /// Gauge: tasks that nobody could do.
    pub tasks_dead: u64,
    /// Gauge: sessions that take tasks of this shard.
    pub task_workers: u64,
    /// Notices of objects that a room's members hear.
    pub object_notices: u64,
    /// Notices that nobody hears: there is no such room, or whoever changed the object is not in it.
    pub object_notices_unheard: u64,
    /// Notices lost because a queue on their way was full.
    pub object_notices_dropped: u64,
    /// Messages put on the mesh.
    pub mesh_messages_out: u64,
    /// Messages taken from the mesh.
    pub mesh_messages_in: u64,
    /// Refusals by reason, indexed by `Reason as usize`.
    pub refusals: [u64; Reason::ALL.len()],
    /// Sessions resumed.
    pub resumes: u64,
    /// Messages told again to sessions that were resumed.
    pub messages_replayed: u64,
    /// Messages that were told and not kept: for sessions that had had their share of the log.
    pub messages_unkept: u64,
    /// Requests that came again after a cut and were not run again.
    pub requests_repeated: u64,
    /// Sessions ended before their grace time because too many were detached.
    pub detached_sessions_evicted: u64,
    /// Gauge: logins that wait for a later turn.
    pub logins_waiting: u64,
    /// Gauge: sessions, detached ones among them.
    pub sessions: u64,
    /// Gauge: sessions without a connection, which may be resumed.
    pub sessions_detached: u64,
    /// Addresses and accounts forgotten before their time because too many logged in.
    pub addresses_evicted: u64,
    /// Gauge: addresses and accounts that are counted here.
    pub addresses: u64,
    /// Gauge: bytes in memory of the messages that are kept for sessions.
    pub replay_log_bytes: u64,
    /// Bytes of memory of the links to them.
    pub replay_link_bytes: u64,
    /// Gauge: rooms whose home is here.
    pub rooms: u64,
    /// Gauge: objects, rooms among them.
    pub objects: u64,
    /// Gauge: bytes in memory of the objects.
    pub state_bytes: u64,
    /// Gauge: watches of objects whose partitions are here.
    pub watches: u64,
    /// Gauge: events that wait in partition queues.
    pub queued_events: u64,
    /// Gauge: objects that changed and were not handed over to be stored.
    pub changed_objects: u64,
    /// Gauge: batches of the snapshot that wait until the log has what is in them.
    pub snapshots_waiting: u64,
}

impl Default for ShardCounters {
    fn default() -> Self {
        Self {
            events: 0,
            room_messages: 0,
            room_messages_gathered: 0,
            deliveries: 0,
            world_moves: 0,
            world_ticks: 0,
            world_ticks_late: 0,
            world_ticks_skipped: 0,
            world_frames: 0,
            world_frames_missed: 0,
            world_frames_lost: 0,
            world_members_stalled: 0,
            npc_updates: 0,
            npc_carried_over: 0,
            npc_updates_unmoved: 0,
            npc_moves_invalid: 0,
            npc_thinks_asked: 0,
            npc_thinks_lost: 0,
            npc_thinks_failed: 0,
            npc_fields_invalid: 0,
            npcs: 0,
            worlds: 0,
            worlds_slowed: 0,
            world_entities: 0,
            delta_batches: 0,
            delta_batches_waiting: 0,
            log_waiting: 0,
            log_waiting_bytes: 0,
            log_failed: 0,
            tasks_taken: 0,
            tasks_leased: 0,
            tasks_done: 0,
            tasks_failed: 0,
            tasks_lost: 0,
            tasks_expired: 0,
            events_late: 0,
            events_refused: 0,
            tasks_dead_total: 0,
            tasks_dead_dropped: 0,
            tasks_waiting: 0,
            tasks_out: 0,
            tasks_dead: 0,
            task_workers: 0,
            object_notices: 0,
            object_notices_unheard: 0,
            object_notices_dropped: 0,
            mesh_messages_out: 0,
            mesh_messages_in: 0,
            refusals: [0; Reason::ALL.len()],
            resumes: 0,
            messages_replayed: 0,
            messages_unkept: 0,
            requests_repeated: 0,
            detached_sessions_evicted: 0,
            logins_waiting: 0,
            sessions: 0,
            sessions_detached: 0,
            addresses_evicted: 0,
            addresses: 0,
            replay_log_bytes: 0,
            replay_link_bytes: 0,
            rooms: 0,
            objects: 0,
            state_bytes: 0,
            watches: 0,
            queued_events: 0,
            changed_objects: 0,
            snapshots_waiting: 0,
        }
    }
}
