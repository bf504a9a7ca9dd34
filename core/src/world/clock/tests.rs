use super::*;

const SECOND_NS: u64 = 1_000_000_000;

#[test]
fn ticks_of_ten_minutes_at_20_hz_do_not_drift() {
    for hz in 1..=60 {
        let mut clock = TickClock::new(7, hz, 0);
        for tick in 0..600 * u64::from(hz) {
            let due_ns = clock.due_ns();
            let intended_ns = 7.0 + tick as f64 * SECOND_NS as f64 / f64::from(hz);
            assert!((due_ns as f64 - intended_ns).abs() <= 1000.0, "{hz} Hz, tick {tick}");
            // A shard looks a little late, each time by another while.
            let late_ns = tick * 7919 % 1_000_000;
            let ticked = clock.advance(due_ns + late_ns).expect("it is due");
            assert_eq!(ticked, Ticked { tick, skipped: 0, late_ns });
        }
        assert_eq!(clock.due_ns(), 7 + 600 * SECOND_NS, "{hz} Hz: drift after 10 minutes");
    }
}

#[test]
fn nothing_is_due_before_its_time() {
    let mut clock = TickClock::new(1000, 10, 1 << 31);
    assert_eq!(clock.due_ns(), 1000 + SECOND_NS / 20);
    assert_eq!(clock.advance(0), None);
    assert_eq!(clock.advance(999 + SECOND_NS / 20), None);
    assert!(clock.advance(1000 + SECOND_NS / 20).is_some());
    assert_eq!(clock.advance(1000 + SECOND_NS / 20), None);
}

#[test]
fn missed_ticks_are_skipped_and_counted() {
    let mut clock = TickClock::new(0, 10, 0);
    assert_eq!(clock.advance(0), Some(Ticked { tick: 0, skipped: 0, late_ns: 0 }));
    let ticked = clock.advance(SECOND_NS + 5).unwrap();
    assert_eq!(ticked, Ticked { tick: 10, skipped: 9, late_ns: 5 });
    assert_eq!(clock.due_ns(), SECOND_NS + SECOND_NS / 10);
}

#[test]
fn a_halved_clock_ticks_on_the_same_grid() {
    let mut clock = TickClock::new(0, 10, 0);
    clock.advance(0).unwrap();
    clock.set_halvings(2);
    assert!((clock.hz() - 2.5).abs() < f64::EPSILON);
    assert_eq!(clock.due_ns(), 4 * SECOND_NS / 10);
    let ticked = clock.advance(9 * SECOND_NS / 10).unwrap();
    assert_eq!(ticked, Ticked { tick: 8, skipped: 1, late_ns: SECOND_NS / 10 });
    clock.set_halvings(0);
    assert_eq!(clock.due_ns(), 12 * SECOND_NS / 10);
}

#[test]
fn phases_spread_the_worlds_of_a_shard_over_the_period() {
    let mut dues: std::vec::Vec<u64> = (0..10)
        .map(|world| TickClock::new(0, 10, super::super::phase_of(world)).due_ns())
        .collect();
    dues.sort_unstable();
    assert!(dues[9] < SECOND_NS / 10);
    // Round the period: behind the last comes the first again.
    dues.push(dues[0] + SECOND_NS / 10);
    let widest = dues.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(widest < SECOND_NS / 50, "{dues:?}");
}
