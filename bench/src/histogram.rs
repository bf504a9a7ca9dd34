//! Latency histograms: recorded in each generator process, merged by the parent, kept as `.hgrm`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Deserializer as SerdeDeserializer, Serialize, Serializer};

/// Values below are not told apart.
const LOWEST_NS: u64 = 1_000;
/// Values above count as this.
const HIGHEST_NS: u64 = 60_000_000_000;
/// Three digits: errors of at most a thousandth.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Durations in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

/// Digits of a [`Brief`]: errors of at most a hundredth.
const BRIEF_DIGITS: u8 = 2;

/// Durations of a second, of which there are many: less exact, and in a few KiB.
#[derive(Clone, Debug)]
pub struct Brief(Histogram<u32>);

impl Default for Brief {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, BRIEF_DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl Brief {
    /// Records one duration.
    pub fn record_ns(&mut self, duration_ns: u64) {
        self.0.saturating_record(duration_ns);
    }

    /// Adds what another process recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The duration that this fraction of all stays within, in microseconds; nothing of nothing.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let value_ns = self.0.value_at_quantile(quantile).min(self.0.max());
        (!self.0.is_empty()).then(|| value_ns as f64 / 1e3)
    }
}

/// What a report says of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Latencies {
    /// Records one duration.
    pub fn record_ns(&mut self, duration_ns: u64) {
        self.0.saturating_record(duration_ns);
    }

    /// Adds what another process recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// Number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that this fraction of all stays within, in nanoseconds; 0 of none.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile).min(self.0.max())
    }

    /// The figures of the report; nothing of nothing.
    #[must_use]
    pub fn percentiles_us(&self) -> Option<Percentiles> {
        let us = |quantile| self.quantile_ns(quantile) as f64 / 1e3;
        (self.count() > 0).then(|| Percentiles {
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p999: us(0.999),
            max: us(1.0),
        })
    }

    /// The percentile distribution as HdrHistogram's own tools write and plot it, in microseconds.
    #[must_use]
    pub fn to_hgrm(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut below = 0;
        for step in self.0.iter_quantiles(5) {
            below += step.count_since_last_iteration();
            let value_us = step.value_iterated_to().min(self.0.max()) as f64 / 1e3;
            let quantile = step.quantile_iterated_to();
            let _ = write!(text, "{value_us:12.3} {quantile:2.12} {below:10}");
            if quantile < 1.0 {
                let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
             #[Max     = {:12.3}, Total count    = {:12}]",
            self.0.mean() / 1e3,
            self.0.stdev() / 1e3,
            self.0.max() as f64 / 1e3,
            self.count(),
        );
        text
    }

    /// The curve of percentiles: fractions of all, and the duration in microseconds that each stays within.
    /// Steps halve towards 1, four of them for each halving of what is left.
    #[must_use]
    pub fn curve_us(&self) -> Vec<(f64, f64)> {
        /// Steps for each halving of what is left.
        const STEPS: u32 = 4;
        if self.count() == 0 {
            return Vec::new();
        }
        let steps = self.0.iter_quantiles(STEPS);
        let point = |value_ns: u64| value_ns.min(self.0.max()) as f64 / 1e3;
        steps.map(|step| (step.quantile_iterated_to(), point(step.value_iterated_to()))).collect()
    }
}

fn to_hex<C: Counter>(histogram: &Histogram<C>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes everything");
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A histogram with the bounds of `own`.
fn from_hex<C: Counter>(text: &str, own: &Histogram<C>) -> Result<Histogram<C>> {
    let bytes = text
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).context("not hexadecimal")?;
            u8::from_str_radix(pair, 16).context("not hexadecimal")
        })
        .collect::<Result<Vec<u8>>>()?;
    let histogram: Histogram<C> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| anyhow::anyhow!("not a histogram: {error}"))?;
    anyhow::ensure!(
        histogram.low() == own.low()
            && histogram.high() == own.high()
            && histogram.sigfig() == own.sigfig(),
        "a histogram with other bounds"
    );
    Ok(histogram)
}

/// As hexadecimal text of HdrHistogram's V2 form.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: SerdeDeserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text, &Self::default().0).map(Self).map_err(serde::de::Error::custom)
    }
}

/// As that of [`Latencies`].
impl Serialize for Brief {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Brief {
    fn deserialize<D: SerdeDeserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text, &Self::default().0).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
