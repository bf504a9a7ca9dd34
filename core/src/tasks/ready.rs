//! The tasks of one method that are ready, in the order in which they are leased: by level; within a
//! level the users take turns; of one user's the oldest first.
//!
//! Turns are taken by numbers: a user's next task gets the number behind the user's last one, or behind
//! the one that was taken last, whichever is higher. So who has many waiting gets no more turns than who
//! has one, and everything is found, and taken out, in logarithmic time.

use alloc::collections::BTreeSet;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::ObjectId;
use crate::tasks::LEVELS;

/// Where a task stands: its level, and its turn there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) level: u8,
    turn: u64,
}

/// Those of one method.
#[derive(Debug)]
pub(crate) struct Ready {
    order: BTreeSet<(Place, ObjectId)>,
    /// By level, the turn of the task that was taken last.
    taken: [u64; LEVELS],
    /// By level and user, how many stand there, and the last one's turn.
    users: HashMap<(u8, u64), (usize, u64)>,
}

impl Ready {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { order: BTreeSet::new(), taken: [0; LEVELS], users: HashMap::with_hasher(seed) }
    }

    /// Puts a task at the end of its user's, or back to where it was.
    pub(crate) fn push(
        &mut self,
        task: ObjectId,
        user: u64,
        level: u8,
        before: Option<Place>,
    ) -> Place {
        let (count, last) = self.users.entry((level, user)).or_insert((0, 0));
        let place = match before {
            Some(place) if place.level == level => place,
            _ => Place { level, turn: self.taken[usize::from(level)].max(*last) + 1 },
        };
        *count += 1;
        *last = place.turn.max(*last);
        let is_new = self.order.insert((place, task));
        assert!(is_new, "a task is ready once");
        place
    }

    /// The task whose turn it is.
    pub(crate) fn first(&self) -> Option<(Place, ObjectId)> {
        self.order.first().copied()
    }

    /// Takes a task out: it is leased, or goes.
    pub(crate) fn remove(&mut self, task: ObjectId, user: u64, place: Place, is_taken: bool) {
        assert!(self.order.remove(&(place, task)), "what is taken out was there");
        if is_taken {
            let taken = &mut self.taken[usize::from(place.level)];
            *taken = place.turn.max(*taken);
        }
        let (count, _) = self.users.get_mut(&(place.level, user)).expect("its user stands there");
        *count -= 1;
        if *count == 0 {
            self.users.remove(&(place.level, user));
        }
    }
}
