//! The simulated clock: moves only when it is told to.

use warren_core::turn::Now;

/// Wall time at the start: clients hear it, nothing depends on it.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// Time of a simulation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SimulatedClock {
    monotonic_ns: u64,
}

impl SimulatedClock {
    pub(crate) fn advance_ns(&mut self, step_ns: u64) {
        self.monotonic_ns += step_ns;
    }

    pub(crate) fn now(self) -> Now {
        Now { monotonic_ns: self.monotonic_ns, wall_ms: Self::wall_ms_at(self.monotonic_ns) }
    }

    pub(crate) fn wall_ms_at(monotonic_ns: u64) -> u64 {
        WALL_START_MS + monotonic_ns / 1_000_000
    }
}
