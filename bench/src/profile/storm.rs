//! Profile `storm`: people who chat are all cut at one moment, and come back.

use serde::{Deserialize, Serialize};

use super::{Activity, Profile, chat};
use crate::pacing::Schedule;
use crate::payload::mix;

/// Users come back at times that are drawn from so long after the cut.
const WINDOW_NS: u64 = 3_000_000_000;
/// By then all are to be back.
const BOUND_ALL_BACK_NS: u64 = 5_000_000_000;
/// The cut is this part of the measured part after its beginning.
const CUT_AFTER_PART: u64 = 3;
/// With less, the bound would lie behind the measured part.
pub const DURATION_S_MIN: u32 = 8;
/// The same in every run, so that runs can be compared.
const SEED: u64 = 0x5707_2a11;
/// Users of one source address: with those whose old connection is not yet known to be gone, and with
/// the logins of the ramp, well below what a server takes of one address by default.
pub const USERS_PER_ADDRESS: u32 = 400;
/// Sockets of one user: the old one may not be closed when the new one opens.
pub const SOCKETS_PER_USER: u32 = 2;

/// When everyone is cut, and when each comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// Users come back at times that are drawn from so long after the cut, in nanoseconds.
    pub window_ns: u64,
    /// So long after the cut all are to be back, in nanoseconds.
    pub bound_all_back_ns: u64,
}

impl Storm {
    /// The moment at which everyone is cut.
    #[must_use]
    pub fn cut_ns(self, schedule: &Schedule) -> u64 {
        let span_ns = schedule.end_ns - schedule.measure_from_ns;
        schedule.measure_from_ns + span_ns / CUT_AFTER_PART
    }

    /// The moment at which a user means to come back.
    #[must_use]
    pub fn returns_ns(self, schedule: &Schedule, user: u32) -> u64 {
        let drawn = u128::from(mix(SEED, u64::from(user)));
        let after_ns = (drawn * u128::from(self.window_ns)) >> 64;
        self.cut_ns(schedule) + u64::try_from(after_ns).expect("a fraction of the window")
    }

    /// Whether a user is not there at this moment, by what was drawn.
    #[must_use]
    pub fn is_away(self, schedule: &Schedule, user: u32, at_ns: u64) -> bool {
        (self.cut_ns(schedule)..self.returns_ns(schedule, user)).contains(&at_ns)
    }
}

/// The profile with rooms of this size, and so long between two signs of life. What is measured is a
/// resume, from the moment at which the user means to come back until its answer.
#[must_use]
pub fn profile(room_size: u32, heartbeat_ns: u64) -> Profile {
    Profile {
        name: "storm".to_owned(),
        bound_p50_ns: None,
        // What is left of the time for all when the last one begins.
        bound_p99_ns: BOUND_ALL_BACK_NS - WINDOW_NS,
        activity: Activity::Say,
        has_floor: false,
        storm: Some(Storm { window_ns: WINDOW_NS, bound_all_back_ns: BOUND_ALL_BACK_NS }),
        ..chat::profile(room_size, heartbeat_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn users_come_back_evenly_over_the_window_and_the_same_in_every_run() {
        let storm = profile(8, 1).storm.unwrap();
        let schedule = Schedule {
            start_ns: SECOND_NS,
            measure_from_ns: 3 * SECOND_NS,
            end_ns: 15 * SECOND_NS,
            period_ns: SECOND_NS,
        };
        let cut_ns = storm.cut_ns(&schedule);
        assert_eq!(cut_ns, 7 * SECOND_NS);
        let mut tenths = [0; 10];
        for user in 0..10_000 {
            let returns_ns = storm.returns_ns(&schedule, user);
            assert_eq!(returns_ns, storm.returns_ns(&schedule, user));
            tenths[((returns_ns - cut_ns) * 10 / WINDOW_NS) as usize] += 1;
            assert!(!storm.is_away(&schedule, user, cut_ns - 1));
            assert!(returns_ns == cut_ns || storm.is_away(&schedule, user, cut_ns));
            assert!(!storm.is_away(&schedule, user, returns_ns));
        }
        assert!(tenths.iter().all(|users| (900..1_100).contains(users)), "{tenths:?}");
    }

    #[test]
    fn the_shortest_run_has_room_for_the_bound() {
        let storm = profile(8, 1).storm.unwrap();
        for (seconds, fits) in [(DURATION_S_MIN, true), (DURATION_S_MIN - 1, false)] {
            let end_ns = u64::from(seconds) * SECOND_NS;
            let schedule = Schedule { start_ns: 0, measure_from_ns: 0, end_ns, period_ns: 1 };
            assert_eq!(storm.cut_ns(&schedule) + storm.bound_all_back_ns <= end_ns, fits);
        }
    }
}
