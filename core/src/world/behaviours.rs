//! Behaviours: what moves NPCs, entities without a session. A behaviour is one value that is called
//! with many NPCs at once, as structures of arrays. It knows them, the time since each was last
//! moved, and what is near; it has no other state, no clock and no randomness but theirs.
//!
//! To write one, implement [`Behaviour`] and put it into [`ALL`]; or into a table that shards get while they
//! run ([`Behaviours`]), as plugins do. The shortest, which goes east:
//!
//! ```
//! use warren_core::world::behaviours::{Batch, Behaviour, Surroundings};
//!
//! #[derive(Debug)]
//! struct East;
//!
//! impl Behaviour for East {
//!     fn name(&self) -> &str {
//!         "east"
//!     }
//!
//!     fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
//!         for at in 0..batch.len() {
//!             batch.walk(at, [1.0, 0.0, 0.0]);
//!         }
//!     }
//! }
//! ```

use core::fmt;

mod flee;
mod flock;
mod patrol;
mod seek;
mod surroundings;
mod table;
pub mod vector;
mod wander;
mod workers;

pub use surroundings::{LOOKED_AT_MAX, Neighbour, Neighbours, Surroundings};
pub use table::{BEHAVIOURS_MAX, Behaviours};
pub(crate) use table::{Mover, NamedMover, ShardBehaviours};
use vector::{Vector, add, length, scaled, sub};
pub(crate) use workers::{AskedWorker, Chosen, Room, WorkerBehaviours};

use crate::ids::ShardId;

/// What an entry of a world's field `npcs` says of its NPCs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// Units in a second.
    pub speed: f32,
    /// The middle of the circle (in 3D: of the ball) in which they live.
    pub home: Vector,
    /// Its radius.
    pub radius: f32,
    /// Dimensions of the world. In 2D whatever is third is 0.
    pub dims: u8,
}

/// NPCs of one entry. The slices are of one length: what stands at one index is one NPC's.
#[derive(Debug)]
pub struct Batch<'a> {
    /// What they have in common.
    pub manner: Manner,
    /// The shard that moves them.
    pub shard: ShardId,
    /// For which tick of the world they are moved.
    pub tick: u64,
    /// Their numbers among the world's entities.
    pub numbers: &'a [u16],
    /// Time since each was last moved: more than 0, and a second at most.
    pub seconds: &'a [f32],
    /// Where each is.
    pub positions: &'a mut [Vector],
    /// In units per second, for whoever draws it between two frames.
    pub velocities: &'a mut [Vector],
    /// Where each looks, in degrees.
    pub headings: &'a mut [f32],
    /// The behaviour's own word of each. Random when the NPC comes to be.
    pub states: &'a mut [u64],
}

/// What moves NPCs. It is called once for each entry of a world and tick, with all of its NPCs; only
/// where there are more than fit into a turn, several times with some of them each.
pub trait Behaviour: fmt::Debug + Send + Sync {
    /// Its name in the field `npcs`.
    fn name(&self) -> &str;

    /// Moves all NPCs of the batch. One that is as it was before costs nothing in frames.
    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>);
}

/// The server's own behaviours.
pub const ALL: &[&dyn Behaviour] =
    &[&wander::Wander, &patrol::Patrol, &seek::Seek, &flee::Flee, &flock::Flock];

/// The server's own behaviour of that name.
#[must_use]
pub fn behaviour(name: &str) -> Option<&'static dyn Behaviour> {
    ALL.iter().copied().find(|behaviour| behaviour.name() == name)
}

impl Batch<'_> {
    /// Number of NPCs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// It looks in this direction, which may be of any length, and is going to go there; nowhere if
    /// that is 0, or its speed.
    pub fn face(&mut self, at: usize, direction: Vector) {
        let length = length(direction);
        if length > 0.0 && self.manner.speed > 0.0 {
            self.velocities[at] = scaled(direction, self.manner.speed / length);
            self.headings[at] = vector::heading(direction);
        } else {
            self.stand(at);
        }
    }

    /// It goes in this direction.
    pub fn walk(&mut self, at: usize, direction: Vector) {
        self.face(at, direction);
        self.go_on(at);
    }

    /// It goes on as it went.
    pub fn go_on(&mut self, at: usize) {
        let way = scaled(self.velocities[at], self.seconds[at]);
        self.positions[at] = add(self.positions[at], way);
    }

    /// It goes to this place, and stands there when it gets so far.
    pub fn walk_to(&mut self, at: usize, place: Vector) {
        let way = sub(place, self.positions[at]);
        if length(way) > self.manner.speed * self.seconds[at] {
            self.walk(at, way);
        } else {
            self.positions[at] = place;
            self.stand(at);
        }
    }

    /// It stands where it is.
    pub fn stand(&mut self, at: usize) {
        self.velocities[at] = [0.0; 3];
    }

    /// All of them stand where they are.
    pub fn stand_all(&mut self) {
        self.velocities.fill([0.0; 3]);
    }

    /// The way back to the middle, if it is farther from there than it may.
    #[must_use]
    pub fn way_home(&self, at: usize) -> Option<Vector> {
        let way = sub(self.manner.home, self.positions[at]);
        let is_out = vector::square(way) > self.manner.radius * self.manner.radius;
        is_out.then_some(way)
    }

    /// A random direction.
    pub fn random_direction(&mut self, at: usize) -> Vector {
        vector::random_direction(&mut self.states[at], self.manner.dims)
    }
}

#[cfg(test)]
mod tests;
