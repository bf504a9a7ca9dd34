//! What is measured: what each user does, with whom, and within which bound. Pure data.

pub mod ai;
pub mod chat;
pub mod crowd;
pub mod durable;
pub mod idle;
pub mod mixed;
pub mod open_world;
pub mod storm;
pub mod walk;

use serde::{Deserialize, Serialize};

/// What users do when their time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// They say something to their room, and every member is to hear it.
    Say,
    /// They ping, in no room, and are to be answered. In the ledger that is a message of a room of
    /// one.
    Ping,
    /// They move in a world, and the others in view are to see it.
    Move,
    /// They set a field of an object of their own, and are to be answered.
    Set,
}

/// What users set, besides other things or alone: a field of an object that each makes when it comes in. A
/// user has one set on its way, and the next begins when that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sets {
    /// Time between two sets of one user, in nanoseconds.
    pub period_ns: u64,
    /// One user in so many is answered when its set is durable, the others when it is applied.
    pub durable_one_in: u32,
    /// Longest 99th percentile of the latency of durable sets, in nanoseconds.
    pub bound_p99_ns: u64,
}

impl Sets {
    /// Whether this user waits until its sets are durable.
    #[must_use]
    pub fn is_durable(&self, user: u32) -> bool {
        user.is_multiple_of(self.durable_one_in)
    }
}

/// Bytes of frames in a second that a server tells one member of a world by default.
pub const WORLD_BYTES_PER_S: u32 = 65_536;

/// What one user does and what has to be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name on the command line and in the report.
    pub name: String,
    /// What users do.
    pub activity: Activity,
    /// Time between two messages of one user who is active, in nanoseconds.
    pub message_period_ns: u64,
    /// One user in so many is active.
    pub active_one_in: u32,
    /// Bytes of text in a message.
    pub payload_bytes: usize,
    /// Users in a room; the last room may have fewer.
    pub room_size: u32,
    /// Ticks a second, where there are ticks.
    pub tick_hz: Option<u32>,
    /// Cells on each side of the square in which users move, where they do.
    pub side_cells: Option<u32>,
    /// Whether there is a floor to compare with.
    pub has_floor: bool,
    /// Time between two signs of life, of the server or of the client, in nanoseconds.
    pub heartbeat_ns: u64,
    /// When all users are cut and come back, if they are.
    pub storm: Option<storm::Storm>,
    /// What there is in worlds besides people who walk, if there is.
    pub ai: Option<ai::Ai>,
    /// What users set, if they do.
    pub sets: Option<Sets>,
    /// Longest median latency, in nanoseconds, where there is a bound.
    pub bound_p50_ns: Option<u64>,
    /// Longest 99th percentile of the latency, in nanoseconds.
    pub bound_p99_ns: u64,
}

impl Profile {
    /// Messages a second of one user, on average.
    #[must_use]
    pub fn message_rate_hz(&self) -> f64 {
        1e9 / self.message_period_ns as f64 / f64::from(self.active_one_in)
    }

    /// Whether this user says or asks something.
    #[must_use]
    pub fn is_active(&self, user: u32) -> bool {
        user.is_multiple_of(self.active_one_in)
    }

    /// The rooms of so many users.
    #[must_use]
    pub fn rooms(&self, users: u32) -> Rooms {
        Rooms::new(users, self.room_size)
    }

    /// Which of a user's lines is said by its message of this number: each where messages are lines; pings
    /// count as such.
    #[must_use]
    pub fn line(&self, user: u32, number: u32) -> Option<u32> {
        match (self.activity, self.ai) {
            (Activity::Say | Activity::Ping, _) => self.is_active(user).then_some(number),
            (Activity::Move, None) | (Activity::Set, _) => None,
            (Activity::Move, Some(ai::Ai { moves_per_line, .. })) => (number % moves_per_line
                == user % moves_per_line)
                .then_some(number / moves_per_line),
        }
    }

    /// How many lines a user says who says so many messages.
    #[must_use]
    pub fn line_count(&self, user: u32, messages: u32) -> u32 {
        let lines = |ai::Ai { moves_per_line, .. }| {
            messages.saturating_sub(user % moves_per_line).div_ceil(moves_per_line)
        };
        match self.activity {
            Activity::Say | Activity::Ping => {
                if self.is_active(user) {
                    messages
                } else {
                    0
                }
            }
            Activity::Move => self.ai.map_or(0, lines),
            Activity::Set => 0,
        }
    }

    /// Bytes of text in a line.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        self.ai.map_or(self.payload_bytes, |ai| ai.line_bytes)
    }

    /// How many others hear what a user says, or have a user in view, on average.
    #[must_use]
    pub fn neighbours(&self) -> u32 {
        match self.side_cells {
            Some(side_cells) => open_world::neighbours(self.room_size, side_cells),
            None => self.room_size - 1,
        }
    }
}

/// Which user is in which room: users stand in rooms in order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rooms {
    users: u32,
    room_size: u32,
}

impl Rooms {
    /// Rooms of `room_size` for `users`; the last may be smaller.
    ///
    /// # Panics
    /// When `room_size` is 0.
    #[must_use]
    pub fn new(users: u32, room_size: u32) -> Self {
        assert!(room_size > 0, "a room has members");
        Self { users, room_size }
    }

    /// Number of rooms.
    #[must_use]
    pub fn count(self) -> u32 {
        self.users.div_ceil(self.room_size)
    }

    /// The user's room.
    #[must_use]
    pub fn of(self, user: u32) -> u32 {
        user / self.room_size
    }

    /// The room's members.
    #[must_use]
    pub fn members(self, room: u32) -> std::ops::Range<u32> {
        let first = room * self.room_size;
        first..(first + self.room_size).min(self.users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_one_place_in_one_room() {
        for (users, room_size, count) in [(1, 8, 1), (8, 8, 1), (9, 8, 2), (64, 8, 8), (5, 1, 5)] {
            let rooms = Rooms::new(users, room_size);
            assert_eq!(rooms.count(), count);
            let members: Vec<u32> = (0..count).flat_map(|room| rooms.members(room)).collect();
            assert_eq!(members, (0..users).collect::<Vec<u32>>());
            for user in 0..users {
                assert!(rooms.members(rooms.of(user)).contains(&user));
            }
        }
    }
}
