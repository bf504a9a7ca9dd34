//! Which number of users to try next: bracket, then bisect. Pure: what was held goes in, numbers
//! come out.

use serde::Serialize;

/// How far apart the two ends may lie, and how often a number is tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Aim {
    /// The first number that is tried.
    pub first: u32,
    /// The search is over when the lowest number that was not held is at most this fraction above
    /// the highest that was.
    pub precision: f64,
    /// How often a number is tried before it counts as not held: machines have bad moments.
    pub tries_max: u32,
}

/// Where a search stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    aim: Aim,
    /// The highest number that was held.
    held: Option<u32>,
    /// The lowest number that was not.
    broken: Option<u32>,
    /// How often the next number was tried in vain.
    failures: u32,
}

impl Bracket {
    /// Nothing is known yet.
    ///
    /// # Panics
    /// When the aim has no users, or no tries.
    #[must_use]
    pub fn new(aim: Aim) -> Self {
        assert!(aim.first > 0 && aim.tries_max > 0 && aim.precision >= 0.0);
        Self { aim, held: None, broken: None, failures: 0 }
    }

    /// The next number, when no more than `most` can be tried; nothing when the search is over.
    /// Numbers double until one is not held, or halve until one is; then they go to the middle.
    #[must_use]
    pub fn next(&self, most: u32) -> Option<u32> {
        let next = match (self.held, self.broken) {
            (None, None) => self.aim.first.min(most),
            (Some(held), None) => held.saturating_mul(2).min(most),
            (None, Some(broken)) => (broken / 2).min(most),
            (Some(held), Some(broken)) => {
                let near = (f64::from(held) * self.aim.precision).max(1.0);
                if f64::from(broken - held) <= near {
                    return None;
                }
                (held + (broken - held) / 2).min(most)
            }
        };
        (next > self.held.unwrap_or(0)).then_some(next)
    }

    /// What a try of this number has shown.
    pub fn note(&mut self, users: u32, held: bool) {
        if held {
            (self.held, self.failures) = (Some(users), 0);
            return;
        }
        self.failures += 1;
        if self.failures >= self.aim.tries_max {
            (self.broken, self.failures) = (Some(users), 0);
        }
    }

    /// The highest number that was held.
    #[must_use]
    pub fn held(&self) -> Option<u32> {
        self.held
    }

    /// The lowest number that was not.
    #[must_use]
    pub fn broken(&self) -> Option<u32> {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Aim = Aim { first: 1_000, precision: 0.05, tries_max: 1 };

    /// The numbers that are tried against something that holds so many, and how it ends.
    fn search(aim: Aim, capacity: u32, most: u32) -> (Vec<u32>, Option<u32>, Option<u32>) {
        let (mut bracket, mut tried) = (Bracket::new(aim), Vec::new());
        while let Some(users) = bracket.next(most) {
            assert!(tried.len() < 100, "it does not end: {tried:?}");
            tried.push(users);
            bracket.note(users, users <= capacity);
        }
        (tried, bracket.held(), bracket.broken())
    }

    #[test]
    fn numbers_double_until_one_is_not_held_and_then_go_to_the_middle() {
        let (tried, held, broken) = search(AIM, 9_300, u32::MAX);
        let expected = [1_000, 2_000, 4_000, 8_000, 16_000, 12_000, 10_000, 9_000, 9_500, 9_250];
        assert_eq!(tried[..9], expected[..9]);
        assert_eq!((tried.len(), held, broken), (10, Some(9_250), Some(9_500)));
    }

    #[test]
    fn numbers_halve_until_one_is_held() {
        let (tried, held, broken) = search(AIM, 100, u32::MAX);
        assert_eq!(tried[..5], [1_000, 500, 250, 125, 62]);
        assert!(held <= Some(100) && broken > Some(100), "{tried:?}");
    }

    #[test]
    fn whatever_the_capacity_it_lies_between_two_near_numbers_and_soon() {
        for capacity in [1, 2, 3, 10, 63, 999, 1_000, 1_001, 7_777, 123_456, 999_999] {
            for precision in [0.0, 0.01, 0.05, 0.5] {
                let aim = Aim { precision, ..AIM };
                let (tried, held, broken) = search(aim, capacity, u32::MAX);
                let (held, broken) = (held.unwrap(), broken.unwrap());
                assert!(held <= capacity && capacity < broken, "{capacity}: {tried:?}");
                let near = (f64::from(held) * precision).max(1.0);
                assert!(f64::from(broken - held) <= near, "{capacity}: {tried:?}");
                assert!(tried.len() <= 32, "{capacity}: {tried:?}");
            }
        }
    }

    #[test]
    fn it_ends_at_nothing_and_at_the_most_that_can_be_tried() {
        assert_eq!(search(Aim { first: 4, ..AIM }, 0, 9), (vec![4, 2, 1], None, Some(1)));
        let (tried, held, broken) = search(AIM, u32::MAX, 5_000);
        assert_eq!((tried, held), (vec![1_000, 2_000, 4_000, 5_000], Some(5_000)));
        assert_eq!(broken, None);
        assert_eq!(search(AIM, u32::MAX, 300), (vec![300], Some(300), None));
        assert_eq!(Bracket::new(AIM).next(0), None);
    }

    #[test]
    fn a_number_that_was_held_is_not_tried_again_when_less_can_be_tried_now() {
        let mut bracket = Bracket::new(AIM);
        bracket.note(1_000, true);
        assert_eq!(bracket.next(900), None);
        bracket.note(2_000, false);
        assert_eq!((bracket.next(1_200), bracket.next(900)), (Some(1_200), None));
    }

    #[test]
    fn a_number_is_tried_again_before_it_counts_as_not_held() {
        let mut bracket = Bracket::new(Aim { tries_max: 2, ..AIM });
        bracket.note(1_000, false);
        assert_eq!((bracket.next(9_999), bracket.broken()), (Some(1_000), None));
        bracket.note(1_000, true);
        assert_eq!(bracket.next(9_999), Some(2_000));
        bracket.note(2_000, false);
        assert_eq!((bracket.next(9_999), bracket.broken()), (Some(2_000), None));
        bracket.note(2_000, false);
        assert_eq!((bracket.next(9_999), bracket.broken()), (Some(1_500), Some(2_000)));
    }
}
