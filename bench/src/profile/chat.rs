//! Profile `chat`: people in small rooms who say something now and then.

use super::{Activity, Profile};

/// Members of a room, unless the command line says otherwise.
pub const ROOM_SIZE: u32 = 8;
/// Each user speaks this often.
const MESSAGE_PERIOD_NS: u64 = 10_000_000_000;
/// Bytes of text in a message.
const PAYLOAD_BYTES: usize = 64;
/// A line of chat that takes longer than this in the median no longer feels immediate.
const BOUND_P50_NS: u64 = 5_000_000;
/// And this is the longest that one in a hundred may take.
const BOUND_P99_NS: u64 = 100_000_000;

/// The profile with rooms of this size, and so long between two signs of life.
#[must_use]
pub fn profile(room_size: u32, heartbeat_ns: u64) -> Profile {
    Profile {
        name: "chat".to_owned(),
        activity: Activity::Say,
        message_period_ns: MESSAGE_PERIOD_NS,
        active_one_in: 1,
        payload_bytes: PAYLOAD_BYTES,
        room_size,
        tick_hz: None,
        side_cells: None,
        has_floor: true,
        heartbeat_ns,
        storm: None,
        ai: None,
        sets: None,
        bound_p50_ns: Some(BOUND_P50_NS),
        bound_p99_ns: BOUND_P99_NS,
    }
}
