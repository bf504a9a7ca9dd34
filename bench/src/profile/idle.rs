//! Profile `idle`: people who are there and do nothing. What is measured is the answer to a ping, as
//! everyone else's latency would be felt by who begins to do something.

use super::{Activity, Profile};
use crate::wire::{Protocol, Wire};

/// Where the server gives the signs of life, one user in so many pings for the sake of the latency.
const PINGING_ONE_IN: u32 = 10;
/// The longest that one answer in a hundred may take.
const BOUND_P99_NS: u64 = 100_000_000;

/// The profile in this protocol, with so long between two signs of life. Where clients have to give
/// them, each user pings; elsewhere the server's heartbeats are checked, and a sample pings as often.
#[must_use]
pub fn profile(protocol: Protocol, heartbeat_ns: u64) -> Profile {
    let active_one_in = if Wire::Server(protocol).client_beats() { 1 } else { PINGING_ONE_IN };
    Profile {
        name: "idle".to_owned(),
        activity: Activity::Ping,
        message_period_ns: heartbeat_ns,
        active_one_in,
        payload_bytes: 0,
        room_size: 1,
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
