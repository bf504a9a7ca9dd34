//! What a seed decides before a simulation begins: how many shards, how small the limits, how
//! wild the clients.

use warren_core::limits::Limits;
use warren_core::rate::Rate;

use crate::prng::Prng;

/// The conditions of one simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) shard_count: u16,
    /// Slots of every ring.
    pub(crate) slots: usize,
    pub(crate) limits: Limits,
    /// Clients, each with one connection at a time.
    pub(crate) client_count: usize,
    /// Names to log in with: sometimes so few that users displace themselves all the time.
    pub(crate) user_count: usize,
    pub(crate) room_count: usize,
    pub(crate) join_creates_rooms: bool,
    /// Times that the clients act until all is quiet again.
    pub(crate) rounds: u64,
    /// Steps of the scheduler while clients act, per round.
    pub(crate) round_steps: u64,
    /// Whether batches cross the mesh as soon as they can, or when the scheduler lets them.
    pub(crate) is_mesh_eager: bool,
    /// In how many of a thousand steps a shard starts to starve.
    pub(crate) starve_permille: u64,
    /// Longest time that a shard starves, in steps.
    pub(crate) starve_steps_max: u64,
    /// Longest time between two steps.
    pub(crate) step_ns_max: u64,
    /// Most requests that a client sends at once.
    pub(crate) pipeline_max: u64,
    /// Of a hundred acts of a client, how many end its connection.
    pub(crate) close_percent: u64,
    /// Of a thousand messages that clients hear, before how many their connection breaks.
    pub(crate) cut_permille: u64,
    /// Of a hundred requests, how many are direct messages to users, over and above their share.
    pub(crate) direct_percent: u64,
    /// Of the rest, how many ask for pages of rooms, over and above their share.
    pub(crate) rooms_percent: u64,
}

impl Plan {
    pub(crate) fn draw(prng: &mut Prng) -> Self {
        let client_count = prng.between(2, 30) as usize;
        Self {
            shard_count: prng.between(1, 5) as u16,
            slots: prng.between(1, 3) as usize,
            limits: draw_limits(prng),
            client_count,
            user_count: prng.between(2, 3 * client_count as u64) as usize,
            room_count: prng.between(1, 6) as usize,
            join_creates_rooms: prng.chance(90),
            rounds: prng.between(1, 3),
            round_steps: prng.between(200, 3000),
            is_mesh_eager: prng.chance(40),
            starve_permille: *prng.pick(&[0, 2, 10, 30]),
            starve_steps_max: *prng.pick(&[20, 200, 800]),
            step_ns_max: *prng.pick(&[1_000, 100_000, 2_000_000]),
            pipeline_max: *prng.pick(&[1, 4, 12]),
            close_percent: *prng.pick(&[1, 4, 15]),
            cut_permille: *prng.pick(&[0, 1, 10]),
            direct_percent: *prng.pick(&[0, 0, 10, 70]),
            rooms_percent: *prng.pick(&[0, 0, 0, 60]),
        }
    }
}

/// Every limit somewhere between tiny and that of production; often the tiniest.
fn draw_limits(prng: &mut Prng) -> Limits {
    let (tiny, production) = (Limits::TINY, Limits::PRODUCTION);
    if prng.chance(25) {
        let session_grace_ns = if prng.chance(50) { 0 } else { tiny.session_grace_ns };
        return Limits { session_grace_ns, ..tiny };
    }
    let mut draw = |low: usize, high: usize| draw_between(prng, low as u64, high as u64) as usize;
    Limits {
        partition_events_max: draw(tiny.partition_events_max, production.partition_events_max),
        turn_events_max: draw(tiny.turn_events_max, production.turn_events_max),
        mesh_staging_bytes_max: draw(
            tiny.mesh_staging_bytes_max,
            production.mesh_staging_bytes_max,
        ),
        rooms_per_session_max: draw(tiny.rooms_per_session_max, production.rooms_per_session_max),
        presence_members_max: draw(tiny.presence_members_max, production.presence_members_max),
        gather_members_min: draw(tiny.gather_members_min, production.gather_members_min),
        gather_bytes_max: draw(tiny.gather_bytes_max, production.gather_bytes_max),
        fan_out: Rate {
            per_s: draw(tiny.fan_out.per_s as usize, production.fan_out.per_s as usize) as u64,
            burst: draw(tiny.fan_out.burst as usize, production.fan_out.burst as usize) as u64,
        },
        worlds_max: production.worlds_max,
        world_tick_hz_max: production.world_tick_hz_max,
        world_entities_max: production.world_entities_max,
        world_npcs_max: draw(tiny.world_npcs_max, production.world_npcs_max),
        npcs_max: draw(tiny.npcs_max, production.npcs_max),
        npc_turn_ns: draw(tiny.npc_turn_ns as usize, production.npc_turn_ns as usize) as u64,
        world_bytes_per_s: production.world_bytes_per_s,
        frame_stall_ns: production.frame_stall_ns,
        object_bytes_max: draw(tiny.object_bytes_max, production.object_bytes_max),
        objects_per_partition_max: draw(
            tiny.objects_per_partition_max,
            production.objects_per_partition_max,
        ),
        partition_bytes_max: draw(tiny.partition_bytes_max, production.partition_bytes_max),
        state_bytes_max: draw(tiny.state_bytes_max, production.state_bytes_max),
        watches_per_session_max: draw(
            tiny.watches_per_session_max,
            production.watches_per_session_max,
        ),
        tickets_per_turn_max: production.tickets_per_turn_max,
        parked_bytes_max: draw(tiny.parked_bytes_max, production.parked_bytes_max),
        effects_bytes_max: draw(tiny.effects_bytes_max, production.effects_bytes_max),
        changed_objects_max: draw(tiny.changed_objects_max, production.changed_objects_max),
        tasks_per_partition_max: production.tasks_per_partition_max,
        log_wait_bytes_max: production.log_wait_bytes_max,
        replay_messages_max: draw(tiny.replay_messages_max, production.replay_messages_max),
        replay_bytes_max: draw(tiny.replay_bytes_max, production.replay_bytes_max),
        replay_links_max: draw(tiny.replay_links_max, production.replay_links_max),
        replay_alone: Rate {
            per_s: draw(tiny.replay_alone.per_s as usize, production.replay_alone.per_s as usize)
                as u64,
            burst: draw(tiny.replay_alone.burst as usize, production.replay_alone.burst as usize)
                as u64,
        },
        resume_bytes_max: draw(tiny.resume_bytes_max, production.resume_bytes_max),
        detached_sessions_max: draw(tiny.detached_sessions_max, production.detached_sessions_max),
        connections_per_address_max: production.connections_per_address_max,
        logins_per_minute_per_address: tiny.logins_per_minute_per_address,
        logins_per_minute_per_account: tiny.logins_per_minute_per_account,
        addresses_max: tiny.addresses_max,
        count_interval_ns: draw_between(prng, tiny.count_interval_ns, production.count_interval_ns),
        gather_ns: draw_between(prng, tiny.gather_ns, production.gather_ns),
        room_grace_ns: draw_between(prng, tiny.room_grace_ns, production.room_grace_ns),
        // In one of four, sessions end with their connections.
        session_grace_ns: match prng.chance(25) {
            true => 0,
            false => draw_between(prng, tiny.session_grace_ns, production.session_grace_ns),
        },
    }
}

/// The low end in half of all cases; otherwise each power of two is as likely as the next.
fn draw_between(prng: &mut Prng, low: u64, high: u64) -> u64 {
    if prng.chance(50) {
        return low;
    }
    let doublings = u64::from((high / low).ilog2());
    (low << prng.between(0, doublings)).min(high)
}
