//! The measured part second by second. Pure, and bounded: a few KiB for each second of a run.

use serde::{Deserialize, Serialize};

use crate::histogram::Brief;
use crate::pacing::Schedule;

const SECOND_NS: u64 = 1_000_000_000;

/// One second of the measured part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Latency of what was to be said in this second, whenever it was heard.
    pub latencies: Brief,
    /// How late generators were with what they said in it.
    pub lateness: Brief,
    /// Messages said in this second.
    pub sent: u64,
    /// Messages heard in it.
    pub heard: u64,
    /// Entities that frames of worlds told of in it.
    pub entities: u64,
    /// Of those, NPCs.
    pub npcs: u64,
    /// Frames of worlds that came in it.
    pub frames: u64,
    /// Bytes that left users in it.
    pub bytes_sent: u64,
    /// Bytes that reached them.
    pub bytes_received: u64,
}

impl Second {
    /// Adds what another process has for the same second.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.lateness.merge(&other.lateness);
        self.sent += other.sent;
        self.heard += other.heard;
        self.entities += other.entities;
        self.npcs += other.npcs;
        self.frames += other.frames;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

/// All seconds of the measured part; none before there is a schedule.
#[derive(Debug, Default)]
pub struct Series {
    from_ns: u64,
    seconds: Vec<Second>,
}

impl Series {
    /// The seconds of this schedule's measured part; the last may be a part of one.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        let span_ns = schedule.end_ns - schedule.measure_from_ns;
        let count = usize::try_from(span_ns.div_ceil(SECOND_NS)).expect("a run is bounded");
        Self { from_ns: schedule.measure_from_ns, seconds: vec![Second::default(); count] }
    }

    /// The second of this moment, if it is measured.
    pub fn at(&mut self, now_ns: u64) -> Option<&mut Second> {
        let second = now_ns.checked_sub(self.from_ns)? / SECOND_NS;
        self.seconds.get_mut(usize::try_from(second).ok()?)
    }

    /// All of them.
    #[must_use]
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }
}

/// The same seconds of several processes as one.
#[must_use]
pub fn merged<'a>(all: impl Iterator<Item = &'a [Second]>) -> Vec<Second> {
    let mut merged: Vec<Second> = Vec::new();
    for seconds in all {
        if merged.len() < seconds.len() {
            merged.resize_with(seconds.len(), Second::default);
        }
        merged.iter_mut().zip(seconds).for_each(|(sum, second)| sum.merge(second));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        start_ns: 1_000,
        measure_from_ns: 5 * SECOND_NS,
        end_ns: 7 * SECOND_NS + 1,
        period_ns: SECOND_NS,
    };

    #[test]
    fn a_moment_is_in_its_second_and_warm_up_in_none() {
        let mut series = Series::new(SCHEDULE);
        for at_ns in [0, 5 * SECOND_NS - 1, 8 * SECOND_NS, u64::MAX] {
            assert!(series.at(at_ns).is_none(), "{at_ns}");
        }
        for (at_ns, sent) in [
            (5 * SECOND_NS, 1),
            (6 * SECOND_NS - 1, 10),
            (6 * SECOND_NS, 100),
            (7 * SECOND_NS, 1_000),
        ] {
            series.at(at_ns).unwrap().sent += sent;
        }
        let sent: Vec<u64> = series.seconds().iter().map(|second| second.sent).collect();
        assert_eq!(sent, [11, 100, 1_000]);
        assert!(Series::default().at(5 * SECOND_NS).is_none());
    }

    #[test]
    fn seconds_of_several_processes_are_added_up() {
        let second = |sent, latency_ns| {
            let mut latencies = Brief::default();
            latencies.record_ns(latency_ns);
            let lateness = latencies.clone();
            let (heard, frames, entities, npcs) = (2, 5, 6, 7);
            let (bytes_sent, bytes_received) = (3, 4);
            Second {
                latencies,
                lateness,
                sent,
                heard,
                entities,
                npcs,
                frames,
                bytes_sent,
                bytes_received,
            }
        };
        let one = [second(1, 1_000_000), second(10, 1_000_000)];
        let other = [second(100, 9_000_000)];
        let merged = merged([&one[..], &other[..]].into_iter());
        let sums: Vec<[u64; 4]> = merged
            .iter()
            .map(|second| [second.sent, second.heard, second.bytes_sent, second.bytes_received])
            .collect();
        assert_eq!(sums, [[101, 4, 6, 8], [10, 2, 3, 4]]);
        assert_eq!((merged[0].frames, merged[0].entities, merged[0].npcs), (10, 12, 14));
        assert!(merged[0].latencies.quantile_us(1.0).unwrap() >= 9_000.0);
        assert!(merged[0].lateness.quantile_us(1.0).unwrap() >= 9_000.0);
        assert!(merged[1].latencies.quantile_us(1.0).unwrap() < 1_100.0);
    }
}
