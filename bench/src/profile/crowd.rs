//! Profile `crowd`: everyone in one room, and somebody always speaks.

use super::{Activity, Profile};

/// Each user speaks this often, so that one in a hundred does each second.
const MESSAGE_PERIOD_NS: u64 = 100_000_000_000;
/// Bytes of text in a message.
const PAYLOAD_BYTES: usize = 64;
/// The longest that one delivery in a hundred may take: a crowd is gathered for up to 50 ms, and
/// each message is a send to everyone.
const BOUND_P99_NS: u64 = 250_000_000;

/// The profile with so many users, and so long between two signs of life.
#[must_use]
pub fn profile(users: u32, heartbeat_ns: u64) -> Profile {
    Profile {
        name: "crowd".to_owned(),
        activity: Activity::Say,
        message_period_ns: MESSAGE_PERIOD_NS,
        active_one_in: 1,
        payload_bytes: PAYLOAD_BYTES,
        room_size: users,
        tick_hz: None,
        side_cells: None,
        has_floor: true,
        heartbeat_ns,
        storm: None,
        ai: None,
        sets: None,
        bound_p50_ns: None,
        bound_p99_ns: BOUND_P99_NS,
    }
}
