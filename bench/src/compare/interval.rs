//! Between what two sets of measurements differ, and how sure that is. Pure.

use serde::Serialize;

/// Quantile 0.975 of Student's distribution by degrees of freedom, from 1 on: NIST/SEMATECH e-Handbook of
/// Statistical Methods, section 1.3.6.7.2.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// How much greater the mean of one set is than that of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Mean of the one that is compared with.
    pub old: f64,
    /// Mean of the one that is compared.
    pub new: f64,
    /// The interval that has the difference of the means in it with 95 % confidence, by Welch; nothing
    /// when a set has one measurement alone, for then nothing is known of its spread.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// The difference of two sets; nothing when one is empty.
    #[must_use]
    pub fn of(old: &[f64], new: &[f64]) -> Option<Self> {
        let (old_mean, new_mean) = (mean(old)?, mean(new)?);
        let interval = half_width(old, new).map(|half| {
            let difference = new_mean - old_mean;
            [difference - half, difference + half]
        });
        Some(Self { old: old_mean, new: new_mean, interval })
    }

    /// The difference as a fraction of the old mean; nothing when that is 0 and the new one is not.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        self.fraction(self.new - self.old)
    }

    /// The interval in the same terms.
    #[must_use]
    pub fn interval_change(&self) -> Option<[f64; 2]> {
        let [least, greatest] = self.interval?;
        Some([self.fraction(least)?, self.fraction(greatest)?])
    }

    fn fraction(&self, difference: f64) -> Option<f64> {
        if difference == 0.0 {
            return Some(0.0);
        }
        (self.old != 0.0).then(|| difference / self.old.abs())
    }

    /// Whether the difference is more than chance, as far as the spread tells; of single measurements it
    /// is when it is more than this fraction.
    #[must_use]
    pub fn is_beyond(&self, single: f64) -> bool {
        match self.interval {
            Some([least, greatest]) => least > 0.0 || greatest < 0.0,
            None => self.change().is_none_or(|change| change.abs() > single),
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The square of the mean's standard error.
fn error_squared(values: &[f64]) -> Option<f64> {
    let (count, mean) = (values.len() as f64, mean(values)?);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| squares / (count - 1.0) / count)
}

/// Half of the interval's width. Degrees of freedom are rounded down.
fn half_width(old: &[f64], new: &[f64]) -> Option<f64> {
    let (old_error, new_error) = (error_squared(old)?, error_squared(new)?);
    let error = old_error + new_error;
    if error == 0.0 {
        return Some(0.0);
    }
    let part = |error: f64, values: &[f64]| error.powi(2) / (values.len() as f64 - 1.0);
    let freedom = error.powi(2) / (part(old_error, old) + part(new_error, new));
    let row = (freedom.floor() as usize).clamp(1, STUDENT.len());
    Some(STUDENT[row - 1] * error.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.001, "{found} is not {expected}");
    }

    #[test]
    fn the_interval_is_that_of_welch() {
        // Variances 2.5 of five and 10 / 3 of four: their means' are 0.5 and 0.833.
        let old = [13.0, 14.0, 15.0, 16.0, 17.0];
        let new = [15.0, 16.0, 18.0, 19.0];
        let difference = Difference::of(&old, &new).unwrap();
        assert_eq!((difference.old, difference.new), (15.0, 17.0));
        let [least, greatest] = difference.interval.unwrap();
        let error = (0.5_f64 + 10.0 / 3.0 / 4.0).sqrt();
        let freedom =
            (0.5_f64 + 10.0 / 12.0).powi(2) / (0.25 / 4.0 + (10.0_f64 / 12.0).powi(2) / 3.0);
        assert_eq!(freedom.floor(), 6.0);
        near(least, 2.0 - 2.447 * error);
        near(greatest, 2.0 + 2.447 * error);
        assert!(!difference.is_beyond(0.0), "{difference:?}");
    }

    #[test]
    fn a_difference_well_outside_the_spread_is_no_chance() {
        let difference = Difference::of(&[10.0, 10.1, 9.9], &[9.0, 9.1, 8.9]).unwrap();
        assert!(difference.is_beyond(1.0));
        near(difference.change().unwrap(), -0.1);
        let [least, greatest] = difference.interval_change().unwrap();
        assert!(least < -0.1 && -0.1 < greatest && greatest < -0.05, "{least} {greatest}");
        let spread = Difference::of(&[10.0, 14.0, 6.0], &[9.0, 13.0, 5.0]).unwrap();
        assert!(!spread.is_beyond(0.0), "{spread:?}");
    }

    #[test]
    fn of_single_measurements_the_spread_is_not_known() {
        for (old, new) in [(&[10.0][..], &[10.4, 10.4][..]), (&[10.0, 10.0], &[10.4])] {
            let difference = Difference::of(old, new).unwrap();
            assert_eq!((difference.interval, difference.interval_change()), (None, None));
            assert!(difference.is_beyond(0.03) && !difference.is_beyond(0.05));
        }
        assert_eq!(Difference::of(&[], &[1.0]), None);
    }

    #[test]
    fn equal_measurements_have_no_width_and_nothing_has_no_fraction() {
        let same = Difference::of(&[3.0, 3.0], &[3.0, 3.0]).unwrap();
        assert_eq!((same.interval, same.change()), (Some([0.0, 0.0]), Some(0.0)));
        assert!(!same.is_beyond(0.0));
        let more = Difference::of(&[0.0], &[0.5]).unwrap();
        assert_eq!(more.change(), None);
        assert!(more.is_beyond(10.0));
    }
}
