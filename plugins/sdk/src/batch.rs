//! NPCs that a behaviour moves, and those around them.

use core::ops::Deref;

use crate::border::Surroundings;

/// A place or a velocity. In 2D what is third is 0.
pub type Vector = [f32; 3];

/// NPCs of one world that have a behaviour, as slices of one length: what stands at one index is one NPC's.
#[derive(Debug)]
pub struct Batch<'b> {
    /// Of the world, for which they are moved.
    pub tick: u64,
    /// Units in a second.
    pub speed: f32,
    /// They live in a circle (in 3D: a ball) of this radius
    pub radius: f32,
    /// around this place.
    pub home: Vector,
    /// 2 or 3.
    pub dims: u32,
    /// Which they are among the world's entities.
    pub numbers: &'b [u16],
    /// Since each was last moved: more than 0, and 1 at most.
    pub seconds: &'b [f32],
    /// Where they are.
    pub positions: &'b mut [Vector],
    /// Units in a second, for whoever draws them between two frames.
    pub velocities: &'b mut [Vector],
    /// Degrees.
    pub headings: &'b mut [f32],
    /// The behaviour's own; random when the NPC comes to be.
    pub states: &'b mut [u64],
}

impl Batch<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// That NPC goes on by its velocity.
    pub fn go_on(&mut self, at: usize) {
        let (position, velocity) = (&mut self.positions[at], self.velocities[at]);
        for (axis, way) in position.iter_mut().zip(velocity) {
            *axis += way * self.seconds[at];
        }
    }

    /// That NPC goes to this place as fast as it may, looks there, and stops when it is there.
    pub fn go_to(&mut self, at: usize, place: Vector) {
        let here = self.positions[at];
        let way: Vector = std::array::from_fn(|axis| place[axis] - here[axis]);
        let distance = way.map(|axis| axis * axis).iter().sum::<f32>().sqrt();
        if distance == 0.0 || self.speed <= 0.0 {
            self.stand(at);
            return;
        }
        self.headings[at] = way[1].atan2(way[0]).to_degrees();
        if distance > self.speed * self.seconds[at] {
            self.velocities[at] = way.map(|axis| axis * self.speed / distance);
            self.go_on(at);
        } else {
            self.positions[at] = place;
            self.stand(at);
        }
    }

    /// That NPC stands where it is.
    pub fn stand(&mut self, at: usize) {
        self.velocities[at] = [0.0; 3];
    }
}

/// Somebody near an NPC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Neighbour {
    /// Where.
    pub position: Vector,
    /// Units in a second.
    pub velocity: Vector,
    /// Among the world's entities.
    pub number: u32,
    /// A client's, and not an NPC.
    pub is_member: bool,
}

/// As many as are told of at most.
pub const NEIGHBOURS_MAX: usize = 16;

/// Some of those near an NPC: a slice.
#[derive(Clone, Copy, Debug)]
pub struct Neighbours {
    pub(crate) list: [Neighbour; NEIGHBOURS_MAX],
    pub(crate) count: usize,
}

impl Deref for Neighbours {
    type Target = [Neighbour];

    fn deref(&self) -> &[Neighbour] {
        &self.list[..self.count]
    }
}

/// Those around the NPCs of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Near<'b> {
    surroundings: Surroundings<'b>,
}

impl<'b> Near<'b> {
    pub(crate) fn new(surroundings: Surroundings<'b>) -> Self {
        Self { surroundings }
    }

    /// Entities in the cell of the NPC of this number and in those that touch it, [`NEIGHBOURS_MAX`] at most.
    #[must_use]
    pub fn entities(&self, number: u16) -> Neighbours {
        self.surroundings.neighbours(number, false)
    }

    /// Those of members who see that cell, as many at most.
    #[must_use]
    pub fn members(&self, number: u16) -> Neighbours {
        self.surroundings.neighbours(number, true)
    }
}
