//! How long a server's turns took, by its histogram `warren_turn_seconds`: known up to the ends of
//! its buckets, which are powers of two microseconds. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

const BUCKET: &str = "warren_turn_seconds_bucket{";
/// Ends of the buckets above which turns are counted in a report, in microseconds.
const LONG_US: [u64; 6] = [1_024, 2_048, 4_096, 8_192, 16_384, 32_768];

/// Number of turns up to the end of each bucket, in nanoseconds; `u64::MAX` is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnTimes(BTreeMap<u64, u64>);

/// What a report says of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LongTurns {
    /// Number of turns.
    pub turns: u64,
    /// No turn took longer, in microseconds; null when the longest is in the bucket without end.
    pub longest_us_max: Option<f64>,
    /// How many took longer than so many microseconds.
    pub longer_than_us: BTreeMap<u64, u64>,
}

impl TurnTimes {
    /// Reads those of all shards together; none where a server tells none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut times = Self::default();
        for (end_ns, count) in text.lines().filter_map(bucket) {
            *times.0.entry(end_ns).or_default() += count;
        }
        times
    }

    /// Those after an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |end_ns| earlier.0.get(end_ns).copied().unwrap_or(0);
        Self(self.0.iter().map(|(end, count)| (*end, count.saturating_sub(before(end)))).collect())
    }

    /// How many turns each bucket has, with its end in microseconds: from the first with any to the last;
    /// the bucket without end has none.
    #[must_use]
    pub fn by_bucket(&self) -> Vec<(Option<f64>, u64)> {
        let mut below = 0;
        let mut buckets: Vec<(Option<f64>, u64)> = Vec::new();
        for (&end_ns, &count) in &self.0 {
            let end_us = (end_ns < u64::MAX).then_some(end_ns as f64 / 1e3);
            let turns = count.saturating_sub(std::mem::replace(&mut below, count));
            if turns > 0 || !buckets.is_empty() {
                buckets.push((end_us, turns));
            }
        }
        let used = buckets.iter().rposition(|(_, turns)| *turns > 0).map_or(0, |last| last + 1);
        buckets.truncate(used);
        buckets
    }

    /// The figures of the report; nothing of nothing.
    #[must_use]
    pub fn long_turns(&self) -> Option<LongTurns> {
        let turns = *self.0.last_key_value()?.1;
        let (&longest_ns, _) = self.0.iter().find(|(_, count)| **count == turns)?;
        let above = |us: u64| {
            let within = self.0.range(..=us * 1_000).next_back().map_or(0, |(_, count)| *count);
            (us, turns - within)
        };
        (turns > 0).then(|| LongTurns {
            turns,
            longest_us_max: (longest_ns < u64::MAX).then_some(longest_ns as f64 / 1e3),
            longer_than_us: LONG_US.into_iter().map(above).collect(),
        })
    }
}

/// The end in nanoseconds and the count of a bucket's line.
fn bucket(line: &str) -> Option<(u64, u64)> {
    let (labels, count) = line.strip_prefix(BUCKET)?.split_once("} ")?;
    let end = labels.split(',').find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"'))?;
    let end_ns = match end {
        "+Inf" => u64::MAX,
        end => (end.parse::<f64>().ok()? * 1e9).round() as u64,
    };
    Some((end_ns, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of two shards: so many within 1.024 ms, 2.048 ms, 4.096 ms, and all.
    fn text(first: [u64; 4], second: [u64; 4]) -> String {
        let ends = ["0.001024", "0.002048", "0.004096", "+Inf"];
        let mut text = "warren_turn_seconds_sum{shard=\"0\"} 0.5\n".to_owned();
        for (shard, counts) in [first, second].iter().enumerate() {
            for (end, count) in ends.iter().zip(counts) {
                text += &format!("{BUCKET}le=\"{end}\",shard=\"{shard}\"}} {count}\n");
            }
        }
        text
    }

    #[test]
    fn the_longest_turn_of_all_shards_is_known_by_its_bucket() {
        for (first, second, longest_us, above) in [
            ([5, 5, 5, 5], [1, 1, 1, 1], Some(1_024.0), [0, 0, 0]),
            ([5, 5, 5, 5], [1, 3, 3, 3], Some(2_048.0), [2, 0, 0]),
            ([5, 5, 6, 6], [1, 3, 3, 3], Some(4_096.0), [3, 1, 0]),
            ([5, 5, 6, 7], [1, 3, 3, 3], None, [4, 2, 1]),
        ] {
            let long = TurnTimes::parse(&text(first, second)).long_turns().unwrap();
            assert_eq!(long.turns, first[3] + second[3]);
            assert_eq!(long.longest_us_max, longest_us);
            assert_eq!([1_024, 2_048, 4_096].map(|us| long.longer_than_us[&us]), above);
        }
    }

    #[test]
    fn turns_are_told_by_bucket_without_empty_ones_at_the_ends() {
        let buckets = |first, second| TurnTimes::parse(&text(first, second)).by_bucket();
        let (ms, two, four) = (Some(1_024.0), Some(2_048.0), Some(4_096.0));
        let all = vec![(ms, 6), (two, 2), (four, 1), (None, 1)];
        assert_eq!(buckets([5, 5, 6, 7], [1, 3, 3, 3]), all);
        assert_eq!(buckets([0, 2, 2, 2], [0, 0, 0, 0]), [(two, 2)]);
        assert_eq!(buckets([1, 1, 1, 1], [0, 0, 1, 1]), [(ms, 1), (two, 0), (four, 1)]);
        assert_eq!(buckets([0; 4], [0; 4]), []);
    }

    #[test]
    fn turns_before_are_not_counted_and_without_turns_there_is_no_longest() {
        let before = TurnTimes::parse(&text([5, 5, 5, 6], [0; 4]));
        let after = TurnTimes::parse(&text([7, 9, 9, 10], [0; 4]));
        let long = after.since(&before).long_turns().unwrap();
        assert_eq!((long.turns, long.longest_us_max), (4, Some(2_048.0)));
        assert_eq!(after.since(&after).long_turns(), None);
        assert_eq!(TurnTimes::parse("warren_turns_total 5\n").long_turns(), None);
    }
}
