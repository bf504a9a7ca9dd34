//! Profile `durable`: people who change an object of their own, and wait until the disk has it.

use super::{Activity, Profile, Sets};

/// Each user sets its object this often, unless the command line says otherwise.
pub const PERIOD_MS: u32 = 1_000;
/// Bytes of the value that is set.
const VALUE_BYTES: usize = 8;
/// The longest that one set in a hundred may take until it is acknowledged.
pub(super) const BOUND_P99_NS: u64 = 50_000_000;

/// The profile with so long between two sets of one user, and between two signs of life. There is no
/// floor: bare sockets keep nothing.
#[must_use]
pub fn profile(period_ms: u32, heartbeat_ns: u64) -> Profile {
    let period_ns = u64::from(period_ms) * 1_000_000;
    Profile {
        name: "durable".to_owned(),
        activity: Activity::Set,
        message_period_ns: period_ns,
        active_one_in: 1,
        payload_bytes: VALUE_BYTES,
        room_size: 1,
        tick_hz: None,
        side_cells: None,
        has_floor: false,
        heartbeat_ns,
        storm: None,
        ai: None,
        sets: Some(Sets { period_ns, durable_one_in: 1, bound_p99_ns: BOUND_P99_NS }),
        bound_p50_ns: None,
        bound_p99_ns: BOUND_P99_NS,
    }
}
