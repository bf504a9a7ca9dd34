//! Whether the server's heartbeats come as often as they are due. Pure: times are values.

/// A heartbeat may be late or early by this fraction of the time between two.
const TOLERANCE_FRACTION: u64 = 4;

/// The heartbeats of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beats {
    opened_ns: u64,
    answered_ns: u64,
    count: u64,
}

/// How many heartbeats were not as they are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amiss {
    /// They are due and did not come.
    pub missing: u64,
    /// They came and are not due.
    pub surplus: u64,
}

impl Beats {
    /// The connection stands since then. A first heartbeat is due a period after the server has
    /// looked at it: that is between now and its first answer.
    #[must_use]
    pub fn opened(now_ns: u64) -> Self {
        Self { opened_ns: now_ns, answered_ns: now_ns, count: 0 }
    }

    /// The server has answered for the first time.
    pub fn answered(&mut self, now_ns: u64) {
        self.answered_ns = now_ns;
    }

    /// One came.
    pub fn beat(&mut self) {
        self.count += 1;
    }

    /// Compares what has come with what is due by now. One that is due just about now may have come
    /// or not.
    #[must_use]
    pub fn amiss(self, now_ns: u64, period_ns: u64) -> Amiss {
        let tolerance_ns = period_ns / TOLERANCE_FRACTION;
        let least = now_ns.saturating_sub(self.answered_ns + tolerance_ns) / period_ns;
        let most = (now_ns.saturating_sub(self.opened_ns) + tolerance_ns) / period_ns;
        Amiss {
            missing: least.saturating_sub(self.count),
            surplus: self.count.saturating_sub(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_counted_against_those_that_are_due() {
        for (stood_ns, count, missing, surplus) in [
            (0, 0, 0, 0),
            (749, 0, 0, 0),
            (749, 1, 0, 1),
            (750, 1, 0, 0),
            (1_249, 0, 0, 0),
            (1_250, 0, 1, 0),
            (1_250, 1, 0, 0),
            (1_250, 2, 0, 1),
            (4_500, 4, 0, 0),
            (4_500, 3, 1, 0),
            (4_500, 0, 4, 0),
            (4_500, 6, 0, 2),
            (4_900, 4, 0, 0),
            (4_900, 5, 0, 0),
        ] {
            let mut beats = Beats::opened(77);
            (0..count).for_each(|_| beats.beat());
            let amiss = beats.amiss(77 + stood_ns, 1_000);
            assert_eq!(amiss, Amiss { missing, surplus }, "{count} within {stood_ns}");
        }
    }

    #[test]
    fn a_server_that_looks_late_beats_late() {
        for (count, missing, surplus) in [(1, 1, 0), (2, 0, 0), (3, 0, 0), (4, 0, 1)] {
            let mut beats = Beats::opened(0);
            beats.answered(700);
            (0..count).for_each(|_| beats.beat());
            assert_eq!(beats.amiss(3_000, 1_000), Amiss { missing, surplus }, "{count}");
        }
    }
}
