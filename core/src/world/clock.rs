//! When a world ticks: at a fixed rate from intended times, so that it never drifts. A tick that is
//! missed is skipped and counted.

const NS_PER_S: u128 = 1_000_000_000;
/// A world's rate is halved at most so often.
pub const HALVINGS_MAX: u8 = 3;

/// What became of the intended ticks up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticked {
    /// The tick that is run.
    pub tick: u64,
    /// Ticks before it that were due and are not run.
    pub skipped: u64,
    /// How long ago its intended time was, in nanoseconds.
    pub late_ns: u64,
}

impl Ticked {
    /// Whether it came too late to be told in time, where so much is between two ticks.
    #[must_use]
    pub fn is_late(&self, period_ns: u64) -> bool {
        self.skipped > 0 || self.late_ns > period_ns / 2
    }
}

/// A world's intended times: tick n is at `base_ns + n / hz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickClock {
    base_ns: u64,
    hz: u8,
    /// Every tick is run, or every second, fourth or eighth.
    halvings: u8,
    next: u64,
}

impl TickClock {
    /// A clock whose first tick is so far into its first period, in parts of 2^32.
    #[must_use]
    pub fn new(now_ns: u64, hz: u8, phase: u32) -> Self {
        assert!(hz > 0);
        let period_ns = NS_PER_S as u64 / u64::from(hz);
        let offset_ns = ((u128::from(period_ns) * u128::from(phase)) >> 32) as u64;
        Self { base_ns: now_ns + offset_ns, hz, halvings: 0, next: 0 }
    }

    fn time_of(&self, tick: u64) -> u64 {
        let after_ns = u128::from(tick) * NS_PER_S / u128::from(self.hz);
        self.base_ns + after_ns as u64
    }

    /// When the next tick is due.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.time_of(self.next)
    }

    /// The next tick.
    #[must_use]
    pub fn next_tick(&self) -> u64 {
        self.next
    }

    /// Nanoseconds between two ticks.
    #[must_use]
    pub fn period_ns(&self) -> u64 {
        (NS_PER_S as u64) * (1 << self.halvings) / u64::from(self.hz)
    }

    /// Ticks in a second, as it is now.
    #[must_use]
    pub fn hz(&self) -> f64 {
        f64::from(self.hz) / f64::from(1_u32 << self.halvings)
    }

    /// How often the rate is halved.
    #[must_use]
    pub fn halvings(&self) -> u8 {
        self.halvings
    }

    /// Halves the rate, or doubles it. What is due next stays due, on the grid of the new rate.
    pub fn set_halvings(&mut self, halvings: u8) {
        assert!(halvings <= HALVINGS_MAX);
        self.halvings = halvings;
        self.next = self.next.next_multiple_of(1 << halvings);
    }

    /// The latest tick that is due, if one is; those before it are skipped.
    pub fn advance(&mut self, now_ns: u64) -> Option<Ticked> {
        let since_ns = now_ns.checked_sub(self.base_ns)?;
        if now_ns < self.due_ns() {
            return None;
        }
        let step = 1_u64 << self.halvings;
        let mut latest = (u128::from(since_ns) * u128::from(self.hz) / NS_PER_S) as u64;
        // Intended times are rounded down to a nanosecond, so one more may be due.
        if self.time_of(latest + 1) <= now_ns {
            latest += 1;
        }
        let tick = (latest - latest % step).max(self.next);
        let skipped = (tick - self.next) / step;
        self.next = tick + step;
        Some(Ticked { tick, skipped, late_ns: now_ns - self.time_of(tick) })
    }
}

#[cfg(test)]
mod tests;
