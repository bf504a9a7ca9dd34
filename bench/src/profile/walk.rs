//! Profile `walk`: people who walk about in small worlds, each in view of all others of its world.

use super::{Activity, Profile};

/// Members of a world, unless the command line says otherwise.
pub const WORLD_SIZE: u32 = 50;
/// Each user moves this often: ten times a second.
pub(super) const MOVE_PERIOD_NS: u64 = 100_000_000;
/// Worlds tick as often.
pub(super) const TICK_HZ: u32 = 10;
/// Bytes of a move's frame behind its kind.
pub(super) const MOVE_BYTES: usize = 28;
/// A move waits for the next tick, 100 ms at most; the rest is for all that is on its way.
pub(super) const BOUND_P99_NS: u64 = 150_000_000;

/// The profile with worlds of this size, and so long between two signs of life. Users walk within one
/// cell, so everyone is in view, and a frame has one section.
#[must_use]
pub fn profile(world_size: u32, heartbeat_ns: u64) -> Profile {
    Profile {
        name: "walk".to_owned(),
        activity: Activity::Move,
        message_period_ns: MOVE_PERIOD_NS,
        active_one_in: 1,
        payload_bytes: MOVE_BYTES,
        room_size: world_size,
        tick_hz: Some(TICK_HZ),
        side_cells: Some(1),
        has_floor: true,
        heartbeat_ns,
        storm: None,
        ai: None,
        sets: None,
        bound_p50_ns: None,
        bound_p99_ns: BOUND_P99_NS,
    }
}
