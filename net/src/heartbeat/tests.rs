use std::collections::BTreeMap;

use super::*;

/// Numbers that look random and are the same every time (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn deadlines_come_up_once_in_time_and_never_early() {
    let mut numbers = Numbers(1);
    for start_ns in [0, 5, 7 * SLOT_NS, 1_000_000_000_000_007] {
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now_ns = start_ns;
        wheel.expire(now_ns, usize::MAX, &mut Vec::new());
        for _ in 0..20_000 {
            let index = numbers.below(50) as u32;
            match numbers.below(4) {
                0 => {
                    wheel.cancel(index);
                    model.remove(&index);
                }
                // Some beyond the wheel's end, some in the past.
                1 | 2 => {
                    let deadline_ns =
                        (now_ns + numbers.below(600 * SLOT_NS)).saturating_sub(SLOT_NS);
                    wheel.schedule(index, deadline_ns);
                    // One in the past is due from now on.
                    model.insert(index, deadline_ns.max(now_ns));
                }
                _ => {
                    let step = if numbers.below(100) == 0 { 700 } else { 3 };
                    now_ns += numbers.below(step * SLOT_NS);
                }
            }
            let mut due = Vec::new();
            wheel.expire(now_ns, usize::MAX, &mut due);
            for index in due {
                let deadline_ns = model.remove(&index).expect("it is due once");
                assert!(deadline_ns <= now_ns, "early");
            }
            let late = model.values().find(|deadline_ns| **deadline_ns + SLOT_NS <= now_ns);
            assert_eq!(late, None, "late at {now_ns}");
            // A sleep until then misses nothing.
            if let Some(first_ns) = model.values().min() {
                let next_ns = wheel.next_ns().expect("there are deadlines");
                assert!(next_ns < (*first_ns).max(now_ns) + 2 * SLOT_NS);
                assert!(next_ns > now_ns, "a sleep that ends at once");
            } else {
                assert_eq!(wheel.next_ns(), None);
            }
        }
    }
}

#[test]
fn a_deadline_before_the_first_look_at_the_time_is_not_lost() {
    let mut wheel = Wheel::new();
    let far_ns = 1_000_000 * SLOT_NS + 3;
    wheel.schedule(7, far_ns);
    let mut due = Vec::new();
    wheel.expire(far_ns - 10 * SLOT_NS, usize::MAX, &mut due);
    assert!(due.is_empty(), "early");
    wheel.expire(far_ns + SLOT_NS, usize::MAX, &mut due);
    assert_eq!(due, [7]);
    assert_eq!(wheel.next_ns(), None);
}

#[test]
fn many_that_are_due_together_come_up_over_several_calls() {
    let mut wheel = Wheel::new();
    for index in 0..10 {
        wheel.schedule(index, (1 + u64::from(index) / 5) * SLOT_NS);
    }
    let now_ns = 1_000 * SLOT_NS;
    let mut all = Vec::new();
    for expected in [4, 4, 2, 0] {
        let mut due = Vec::new();
        wheel.expire(now_ns, 4, &mut due);
        assert_eq!(due.len(), expected);
        all.append(&mut due);
        // Who is left is due: nobody sleeps.
        assert_eq!(wheel.next_ns().is_some_and(|next_ns| next_ns <= now_ns), all.len() < 10);
    }
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    wheel.schedule(1, now_ns);
    wheel.schedule(2, now_ns);
    let mut due = Vec::new();
    wheel.expire(now_ns + SLOT_NS, 1, &mut due);
    let other = 3 - due[0];
    wheel.schedule(other, now_ns + 50 * SLOT_NS);
    wheel.expire(now_ns + SLOT_NS, 4, &mut due);
    assert_eq!(due.len(), 1, "it was moved");
}
