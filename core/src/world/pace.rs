//! How many NPCs may be moved in a turn: as many as fit into the time for it, by how long it took
//! lately. Core has no clock; whoever runs the turns says how long it took.

/// After so many updates what is older counts half.
const REMEMBERED: u64 = 1 << 12;
/// What one update is thought to take before anything is known, in nanoseconds.
const FIRST_GUESS_NS: u64 = 250;
/// How much that guess counts, in updates.
const FIRST_GUESS_UPDATES: u64 = 64;
/// What one update takes at most, for as much as is believed.
const UPDATE_NS_MAX: u64 = 1_000_000;

/// How long updates take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    updates: u64,
    took_ns: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { updates: FIRST_GUESS_UPDATES, took_ns: FIRST_GUESS_UPDATES * FIRST_GUESS_NS }
    }
}

impl Pace {
    /// So many updates took so long.
    pub(crate) fn note(&mut self, updates: u64, took_ns: u64) {
        self.updates += updates;
        self.took_ns += took_ns.min(updates.saturating_mul(UPDATE_NS_MAX));
        while self.updates > REMEMBERED {
            self.updates /= 2;
            self.took_ns /= 2;
        }
    }

    /// How many fit into this time: one at least.
    pub(crate) fn fitting(&self, budget_ns: u64) -> usize {
        let fitting = budget_ns.saturating_mul(self.updates) / self.took_ns.max(1);
        usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_fit_as_the_last_ones_took() {
        let mut pace = Pace::default();
        assert_eq!(pace.fitting(250_000), 1000);
        for _ in 0..100 {
            let fitting = pace.fitting(250_000) as u64;
            pace.note(fitting, fitting * 100);
        }
        let fitting = pace.fitting(250_000);
        assert!((2490..=2510).contains(&fitting), "{fitting}");
        // One pause is forgotten again.
        pace.note(fitting as u64, 20_000_000);
        assert!(pace.fitting(250_000) < 1250);
        for _ in 0..100 {
            let fitting = pace.fitting(250_000) as u64;
            pace.note(fitting, fitting * 100);
        }
        assert!(pace.fitting(250_000) > 2400, "{}", pace.fitting(250_000));
    }

    #[test]
    fn one_is_moved_in_each_turn_whatever_it_takes() {
        let mut pace = Pace::default();
        assert_eq!(pace.fitting(0), 1);
        pace.note(1, u64::MAX);
        assert_eq!(pace.fitting(100), 1);
        pace.note(0, u64::MAX);
        let mut fast = Pace { updates: 1, took_ns: 0 };
        assert_eq!(fast.fitting(1000), 1000);
        fast.note(u64::MAX / 2, 0);
        assert_eq!(fast.fitting(u64::MAX), usize::MAX);
    }
}
