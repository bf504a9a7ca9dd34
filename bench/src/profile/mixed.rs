//! Profile `mixed`: people who walk about, and now and then keep something for good.

use super::{Profile, Sets, durable, walk};

/// Each user sets its object this often, unless the command line says otherwise.
pub const PERIOD_MS: u32 = 10_000;

/// The profile with worlds of this size, so long between two sets of one user, and between two signs of
/// life. There is no floor: bare sockets keep nothing.
#[must_use]
pub fn profile(world_size: u32, period_ms: u32, heartbeat_ns: u64) -> Profile {
    let period_ns = u64::from(period_ms) * 1_000_000;
    let bound_p99_ns = durable::BOUND_P99_NS;
    Profile {
        name: "mixed".to_owned(),
        has_floor: false,
        sets: Some(Sets { period_ns, durable_one_in: 1, bound_p99_ns }),
        ..walk::profile(world_size, heartbeat_ns)
    }
}
