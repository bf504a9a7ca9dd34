//! Profile `ai`: people who walk about in small worlds among NPCs, and say something there.

use serde::{Deserialize, Serialize};

use super::{Profile, walk};
use crate::behaviour::NATIVE_WANDER;

/// The worker's name for what the server calls `wander`.
const PYTHON_WANDER: &str = "python.wander";
/// NPCs of a world for each of its users.
pub const NPCS_PER_USER: u32 = 4;
/// Each user says something with every so many moves: every two seconds.
const MOVES_PER_LINE: u32 = 20;
/// Bytes of text in a line.
const LINE_BYTES: usize = 64;

/// Where NPCs live: circles around the middle of the one cell, in units.
pub const MIDDLE: f32 = 32.0;
/// The radius for all but flocks.
const RADIUS: f32 = 24.0;
/// Flocks turn back in a curve, which takes some seconds when they leave straight outwards.
const FLOCK_RADIUS: f32 = 12.0;
/// How fast the fastest are, in units in a second.
pub const SPEED_MAX: f32 = 3.5;
/// Servers move one for a second at once at most, so others get no further from the middle. Flocks have
/// six seconds to turn back.
pub const REACH: f32 = RADIUS + 2.0 * SPEED_MAX;

/// Whose code moves those that wander about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wander {
    /// The server's.
    BuiltIn,
    /// That of a native plugin.
    Native,
    /// That of a worker in Python.
    Python,
}

impl Wander {
    /// The profile in which it does.
    fn profile_name(self) -> &'static str {
        match self {
            Self::BuiltIn => "ai",
            Self::Native => "ai-native",
            Self::Python => "ai-python",
        }
    }

    /// The behaviour's name.
    fn behaviour(self) -> &'static str {
        match self {
            Self::BuiltIn => "wander",
            Self::Native => NATIVE_WANDER,
            Self::Python => PYTHON_WANDER,
        }
    }
}

/// What there is besides people who walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ai {
    /// NPCs of each world that wander about.
    pub wanderers: u32,
    /// What moves these.
    pub wander: Wander,
    /// Those that go in a flock.
    pub flock: u32,
    /// Those that follow users, and may stand.
    pub seekers: u32,
    /// Each user says a line with every so many moves.
    pub moves_per_line: u32,
    /// Bytes of text in a line.
    pub line_bytes: usize,
}

impl Ai {
    /// NPCs of a world.
    #[must_use]
    pub fn npcs(&self) -> u32 {
        self.wanderers + self.flock + self.seekers
    }

    /// A world's field `npcs`, as one text.
    #[must_use]
    pub fn field(&self) -> String {
        let wander = self.wander.behaviour();
        let kinds = [
            (wander, self.wanderers, SPEED_MAX - 1.0, RADIUS),
            ("flock", self.flock, SPEED_MAX - 0.5, FLOCK_RADIUS),
            ("seek", self.seekers, SPEED_MAX, RADIUS),
        ];
        let entries = kinds.iter().filter(|(_, count, _, _)| *count > 0).map(
            |(name, count, speed, radius)| {
                format!("{name}:{count}:{speed}:{MIDDLE}:{MIDDLE}:{radius}")
            },
        );
        entries.collect::<Vec<String>>().join("|")
    }
}

/// The profile with worlds of so many users, whose NPCs are moved by this code, and so long between two
/// signs of life. There is no floor: NPCs are what a server is for.
#[must_use]
pub fn profile(world_size: u32, wander: Wander, heartbeat_ns: u64) -> Profile {
    let seekers = world_size / 5;
    Profile {
        name: wander.profile_name().to_owned(),
        has_floor: false,
        ai: Some(Ai {
            wanderers: world_size * (NPCS_PER_USER - 1),
            wander,
            flock: world_size - seekers,
            seekers,
            moves_per_line: MOVES_PER_LINE,
            line_bytes: LINE_BYTES,
        }),
        ..walk::profile(world_size, heartbeat_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_has_four_npcs_for_each_user_and_none_leaves_the_cell() {
        for size in [1, 4, 50, 1_000] {
            let profile = profile(size, Wander::BuiltIn, 1);
            assert_eq!(profile.ai.unwrap().npcs(), size * NPCS_PER_USER);
            assert_eq!(profile.side_cells, Some(1));
        }
        const { assert!(REACH < MIDDLE && MIDDLE + REACH < crate::path::CELL_WIDTH) };
        const { assert!(FLOCK_RADIUS + 6.0 * (SPEED_MAX - 0.5) <= REACH) };
        assert_eq!(
            profile(50, Wander::BuiltIn, 1).ai.unwrap().field(),
            "wander:150:2.5:32:32:24|flock:40:3:32:32:12|seek:10:3.5:32:32:24"
        );
        for (wander, name) in [(Wander::Native, "native.wander"), (Wander::Python, "python.wander")]
        {
            let field = profile(1, wander, 1).ai.unwrap().field();
            assert_eq!(field, format!("{name}:3:2.5:32:32:24|flock:1:3:32:32:12"));
        }
        assert_eq!(
            profile(1, Wander::BuiltIn, 1).ai.unwrap().field(),
            "wander:3:2.5:32:32:24|flock:1:3:32:32:12"
        );
    }

    #[test]
    fn each_user_says_a_line_with_every_twentieth_move_and_not_all_at_once() {
        let profile = profile(50, Wander::BuiltIn, 1);
        for user in [0, 7, 19, 20, 53] {
            for moves in [0, 1, 19, 20, 21, 200] {
                let lines: Vec<u32> =
                    (0..moves).filter_map(|number| profile.line(user, number)).collect();
                let count = profile.line_count(user, moves);
                assert_eq!(lines, (0..count).collect::<Vec<u32>>(), "{user} {moves}");
            }
            assert_eq!(profile.line_count(user, 200), 10);
        }
        assert_ne!(profile.line(0, 0), profile.line(1, 0));
        let walk = walk::profile(50, 1);
        assert_eq!((walk.line(0, 0), walk.line_count(0, 200)), (None, 0));
    }
}
