//! When each user speaks: an open-loop schedule, fixed before the run starts and the same in every
//! process. Nothing that the server does moves it. Pure: times are values.

use serde::{Deserialize, Serialize};

/// Fraction of the golden section in 64 bits: its multiples spread evenly over the period, and
/// users with neighbouring numbers (those of one room) land far apart.
const GOLDEN_FRACTION: u64 = 0x9e37_79b9_7f4a_7c15;

/// The times at which everyone speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// No one speaks before; nanoseconds of `CLOCK_MONOTONIC`, as all times here.
    pub start_ns: u64,
    /// From here on messages are measured: what comes before is warm-up.
    pub measure_from_ns: u64,
    /// From here on no one speaks.
    pub end_ns: u64,
    /// Time between two messages of one user.
    pub period_ns: u64,
}

impl Schedule {
    /// When in the period this user speaks.
    #[must_use]
    pub fn phase_ns(&self, user: u32) -> u64 {
        let fraction = u64::from(user).wrapping_mul(GOLDEN_FRACTION);
        let phase = (u128::from(fraction) * u128::from(self.period_ns)) >> 64;
        u64::try_from(phase).expect("a fraction of the period is shorter than it")
    }

    /// When this user says its message of this number, from 0; whether or not that is in the run.
    #[must_use]
    pub fn intended_ns(&self, user: u32, number: u32) -> u64 {
        self.start_ns + self.phase_ns(user) + u64::from(number) * self.period_ns
    }

    /// How many messages this user says in the run.
    #[must_use]
    pub fn message_count(&self, user: u32) -> u32 {
        let span_ns = self.end_ns.saturating_sub(self.start_ns + self.phase_ns(user));
        u32::try_from(span_ns.div_ceil(self.period_ns)).expect("a run has a bounded length")
    }

    /// Whether a message with this intended time is measured.
    #[must_use]
    pub fn is_measured(&self, intended_ns: u64) -> bool {
        (self.measure_from_ns..self.end_ns).contains(&intended_ns)
    }
}

/// One message to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who, as the position in the caller's list.
    pub index: usize,
    /// The user's message number, from 0.
    pub number: u32,
    /// When it is to be said.
    pub intended_ns: u64,
}

/// Walks through the schedule of some of the users in order of time.
#[derive(Debug)]
pub struct Pacer {
    schedule: Schedule,
    /// Phase and index, by phase: every period is the same walk.
    order: Vec<(u64, usize)>,
    position: usize,
    number: u32,
}

impl Pacer {
    /// A walk for these users, each after its position in the caller's list, from the schedule's
    /// start.
    #[must_use]
    pub fn new(schedule: Schedule, users: impl Iterator<Item = (usize, u32)>) -> Self {
        let mut order: Vec<(u64, usize)> =
            users.map(|(index, user)| (schedule.phase_ns(user), index)).collect();
        order.sort_unstable();
        Self { schedule, order, position: 0, number: 0 }
    }

    /// The next message, if the run has one left.
    #[must_use]
    pub fn peek(&self) -> Option<Due> {
        let &(phase_ns, index) = self.order.get(self.position)?;
        let intended_ns =
            self.schedule.start_ns + phase_ns + u64::from(self.number) * self.schedule.period_ns;
        (intended_ns < self.schedule.end_ns).then_some(Due {
            index,
            number: self.number,
            intended_ns,
        })
    }

    /// The next message if its time has come, and goes on.
    pub fn next_due(&mut self, now_ns: u64) -> Option<Due> {
        let due = self.peek().filter(|due| due.intended_ns <= now_ns)?;
        self.position += 1;
        if self.position == self.order.len() {
            self.position = 0;
            self.number += 1;
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests;
