use super::*;

fn due(number: u32) -> Due {
    Due { index: 0, number, intended_ns: 0 }
}

/// One user, whose object is there.
fn setters() -> Setters {
    let mut setters = Setters::new(1);
    setters.made(0, 77);
    setters
}

#[test]
fn one_set_is_on_its_way_and_the_next_follows_its_answer() {
    let mut setters = setters();
    let request = |value| Some(SetRequest { object: 77, value });
    assert_eq!(setters.due(due(0)), request(1));
    assert_eq!(setters.due(due(1)), None);
    assert_eq!(setters.due(due(2)), None);
    assert_eq!(setters.waiting(), 3);
    assert_eq!(setters.answered(0, true), Some((due(0), request(2))));
    assert_eq!(setters.answered(0, true), Some((due(1), request(3))));
    assert_eq!(setters.answered(0, true), Some((due(2), None)));
    assert_eq!(setters.answered(0, true), None);
    let report = setters.report(0);
    assert_eq!((report.sent, report.acknowledged, report.missing()), (3, 3, 0));
}

#[test]
fn what_is_read_has_to_be_what_was_acknowledged_or_sent_later() {
    for (value, lost) in
        [(Some(1), 1), (Some(2), 0), (Some(3), 0), (Some(4), 1), (Some(-1), 1), (None, 1)]
    {
        let mut setters = setters();
        for number in 0..3 {
            setters.due(due(number));
        }
        setters.answered(0, true);
        setters.answered(0, true);
        setters.answered(0, false);
        assert_eq!((setters.read(0), setters.reading()), (77, 1));
        assert!(setters.found(0, value));
        assert!(!setters.found(0, value));
        let report = setters.report(0);
        assert_eq!((report.lost, report.read_back, report.refused), (lost, 1, 1), "{value:?}");
    }
}

#[test]
fn what_a_lost_user_waited_for_is_missing() {
    let mut setters = setters();
    setters.due(due(0));
    setters.due(due(1));
    setters.read(0);
    setters.lost(0);
    assert_eq!((setters.waiting(), setters.reading()), (0, 0));
    let report = setters.report(1);
    assert_eq!((report.unanswered, report.unread, report.missing()), (2, 2, 4));
}

#[test]
fn durable_sets_are_told_from_others() {
    let mut setters = setters();
    setters.measure(true, Some(5), true);
    setters.measure(true, Some(5), false);
    setters.measure(true, None, true);
    setters.measure(false, Some(5), true);
    let report = setters.report(0);
    assert_eq!((report.durable, report.durable_in_time), (3, 1));
    assert_eq!((report.durable_latencies.count(), report.applied_latencies.count()), (2, 1));
}
