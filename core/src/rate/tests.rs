use super::*;

const RATE: Rate = Rate { per_s: 10, burst: 5 };
const START_NS: u64 = 1_000_000_000_000_000;

#[test]
fn a_burst_passes_at_once_and_then_one_for_each_interval() {
    let mut meter = Meter::default();
    for _ in 0..5 {
        assert!(meter.take(RATE, 1, START_NS));
    }
    assert!(!meter.take(RATE, 1, START_NS));
    assert!(!meter.take(RATE, 1, START_NS + 99_999_999));
    assert!(meter.take(RATE, 1, START_NS + 100_000_000));
    assert!(!meter.take(RATE, 1, START_NS + 100_000_000));
    // After a silence there is a burst again, and no more.
    let later_ns = START_NS + 3_600_000_000_000;
    assert!(meter.is_idle(later_ns));
    assert_eq!((0..100).filter(|_| meter.take(RATE, 1, later_ns)).count(), 5);
}

#[test]
fn in_any_time_no_more_passes_than_rate_and_burst() {
    let mut meter = Meter::default();
    let (mut passed, mut now_ns) = (0, START_NS);
    let mut number = 1_u64;
    while now_ns < START_NS + 60_000_000_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        now_ns += (number >> 33) % 20_000_000;
        passed += u64::from(meter.take(RATE, 1, now_ns));
    }
    assert!((600..=605).contains(&passed), "{passed}");
}

#[test]
fn what_came_in_any_case_is_made_up_for() {
    let mut meter = Meter::default();
    meter.charge(RATE, 25, START_NS);
    assert!(meter.is_over(RATE, START_NS));
    // 25 take 2.5 s, and the burst lets 0.5 s of it be ahead.
    assert_eq!(meter.within_ns(RATE), START_NS + 2_000_000_000);
    assert!(!meter.is_over(RATE, START_NS + 2_000_000_000));
    assert!(!meter.take(RATE, 1, START_NS + 2_000_000_000));
    assert!(meter.take(RATE, 1, START_NS + 2_100_000_000));
}

#[test]
fn no_rate_is_no_bound() {
    let mut meter = Meter::default();
    for _ in 0..1000 {
        assert!(meter.take(Rate::UNLIMITED, u64::MAX, 0));
        meter.charge(Rate::UNLIMITED, u64::MAX, 0);
    }
    assert!(!meter.is_over(Rate::UNLIMITED, 0));
    assert_eq!(meter, Meter::default());
}
