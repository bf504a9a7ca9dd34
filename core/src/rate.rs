//! Rates: how much of something may come in a second, and in a burst. The generic cell rate
//! algorithm (ITU-T I.371, 1993) in one number for each meter, without a timer: a meter says until
//! when it is busy with what has come, and a burst is how far ahead that may be.

const NS_PER_S: u64 = 1_000_000_000;

/// How much may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in a second on average; 0: any number.
    pub per_s: u64,
    /// Units at once, after a long enough silence.
    pub burst: u64,
}

impl Rate {
    /// No bound.
    pub const UNLIMITED: Self = Self { per_s: 0, burst: 0 };

    /// How long so many units take, in nanoseconds.
    fn time_of_ns(self, units: u64) -> u64 {
        // A division of 128 bits takes several times as long, and so many units are rare.
        if let Some(ns) = units.checked_mul(NS_PER_S) {
            return ns / self.per_s;
        }
        let ns = u128::from(units) * u128::from(NS_PER_S) / u128::from(self.per_s);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Until when what comes now may keep a meter busy.
    fn latest_ns(self, now_ns: u64) -> u64 {
        now_ns.saturating_add(self.time_of_ns(self.burst))
    }
}

/// What has come on one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Until when what has come takes, at the rate: the theoretical arrival time of what is next.
    busy_until_ns: u64,
}

impl Meter {
    /// Counts so many units, unless they are more than may come now.
    #[must_use]
    pub fn take(&mut self, rate: Rate, units: u64, now_ns: u64) -> bool {
        if rate.per_s == 0 {
            return true;
        }
        let after = self.after(rate, units, now_ns);
        let fits = after <= rate.latest_ns(now_ns);
        if fits {
            self.busy_until_ns = after;
        }
        fits
    }

    /// Whether so many units may come now.
    #[must_use]
    pub fn fits(&self, rate: Rate, units: u64, now_ns: u64) -> bool {
        rate.per_s == 0 || self.after(rate, units, now_ns) <= rate.latest_ns(now_ns)
    }

    /// Counts units that have come in any case.
    pub fn charge(&mut self, rate: Rate, units: u64, now_ns: u64) {
        if rate.per_s > 0 {
            self.busy_until_ns = self.after(rate, units, now_ns);
        }
    }

    /// The one of the two that is busy for longer.
    #[must_use]
    pub fn busier(self, other: Self) -> Self {
        Self { busy_until_ns: self.busy_until_ns.max(other.busy_until_ns) }
    }

    /// Whether more has come than may.
    #[must_use]
    pub fn is_over(&self, rate: Rate, now_ns: u64) -> bool {
        rate.per_s > 0 && self.within_ns(rate) > now_ns
    }

    /// From when on no more has come than may, in nanoseconds.
    #[must_use]
    pub fn within_ns(&self, rate: Rate) -> u64 {
        if rate.per_s == 0 {
            return 0;
        }
        self.busy_until_ns.saturating_sub(rate.time_of_ns(rate.burst))
    }

    /// Whether it is as if nothing had come.
    #[must_use]
    pub fn is_idle(&self, now_ns: u64) -> bool {
        self.busy_until_ns <= now_ns
    }

    /// From when on it is as if nothing had come, in nanoseconds.
    #[must_use]
    pub fn idle_from_ns(&self) -> u64 {
        self.busy_until_ns
    }

    fn after(&self, rate: Rate, units: u64, now_ns: u64) -> u64 {
        self.busy_until_ns.max(now_ns).saturating_add(rate.time_of_ns(units))
    }
}

#[cfg(test)]
mod tests;
