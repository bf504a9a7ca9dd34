use warren_core::ids::ObjectId;
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::{self, GatewaySettings};

use crate::generator::connections::Connections;
use crate::generator::control::Plan;
use crate::pacing::{Due, Schedule};
use crate::profile::durable;
use crate::wire::{Protocol, Wire};

const SECOND_NS: u64 = 1_000_000_000;
const SCHEDULE: Schedule = Schedule {
    start_ns: 10 * SECOND_NS,
    measure_from_ns: 10 * SECOND_NS,
    end_ns: 20 * SECOND_NS,
    period_ns: SECOND_NS,
};

fn receive(connections: &mut Connections, now_ns: u64, method: &str, fields: &[(&str, Value<'_>)]) {
    let mut bytes = Vec::new();
    let message = packed(method, fields);
    let message = Message::from_checked(&message);
    gateway::encode(gateway::Protocol::Binary, &GatewaySettings::default(), message, &mut bytes);
    connections.received(0, &bytes, now_ns).unwrap();
}

/// Whether what the user sends has these words; it is taken.
#[track_caller]
fn sends(connections: &mut Connections, words: &[&str]) {
    let mut sent = Vec::new();
    for index in connections.take_waiting() {
        sent.extend(connections.take_output(index));
    }
    assert_eq!(sent.is_empty(), words.is_empty(), "{sent:?}");
    for word in words {
        let has = sent.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(has, "{word} in {}", String::from_utf8_lossy(&sent));
    }
}

/// One user whose object is there, and the schedule begun.
fn begun() -> Connections {
    let mut connections = Connections::new(Plan {
        generator: 0,
        generator_count: 1,
        users: 1,
        profile: durable::profile(1_000, SECOND_NS),
        has_strangers: false,
        run: 1,
        wire: Wire::Server(Protocol::Binary),
        addresses: Vec::new(),
        certificate: None,
        core: 0,
        ramp_rate_hz: 1,
        ramp_window: 1,
    });
    let status = ("status", Value::Integer(0));
    connections.opened(0, SECOND_NS);
    sends(&mut connections, &["login"]);
    receive(&mut connections, SECOND_NS, "login", &[status]);
    sends(&mut connections, &["create", "item"]);
    assert_eq!(connections.joined(), 0);
    let object = ("object", Value::Object(ObjectId(77)));
    receive(&mut connections, SECOND_NS, "create", &[object, status]);
    assert_eq!(connections.joined(), 1);
    connections.start(SCHEDULE, &[]);
    connections
}

fn due(number: u32) -> Due {
    Due { index: 0, number, intended_ns: SCHEDULE.intended_ns(0, number) }
}

#[test]
fn a_set_is_measured_from_when_it_was_due_to_its_answer() {
    let mut connections = begun();
    let at_ns = |number| due(number).intended_ns;
    connections.act(due(0), at_ns(0));
    sends(&mut connections, &["set", "durable"]);
    // The second waits for the first.
    connections.act(due(1), at_ns(1));
    sends(&mut connections, &[]);
    assert_eq!(connections.sets_waiting(), 2);
    receive(&mut connections, at_ns(1) + 5, "set", &[("status", Value::Integer(0))]);
    sends(&mut connections, &["set", "durable"]);
    receive(&mut connections, at_ns(1) + 9, "set", &[("status", Value::Integer(0))]);
    let report = connections.report(at_ns(2), 0, 0);
    let sets = report.sets.unwrap();
    assert_eq!((sets.sent, sets.durable, sets.unanswered), (2, 2, 0));
    assert_eq!((report.latencies.count(), sets.durable_latencies.count()), (2, 2));
    assert!(report.latencies.quantile_ns(1.0) >= SECOND_NS);
    assert!(report.latencies.quantile_ns(0.0) < 1_000);
}

#[test]
fn what_was_acknowledged_has_to_be_there_at_the_end() {
    for (value, lost) in [(Some(1), 0), (Some(0), 1), (None, 1)] {
        let mut connections = begun();
        connections.act(due(0), due(0).intended_ns);
        receive(&mut connections, 11 * SECOND_NS, "set", &[("status", Value::Integer(0))]);
        sends(&mut connections, &["set"]);
        connections.read_back(20 * SECOND_NS);
        sends(&mut connections, &["get"]);
        assert_eq!(connections.objects_reading(), 1);
        let fields = match value {
            Some(value) => [("value", Value::Integer(value)), ("status", Value::Integer(0))],
            None => [("error", Value::Text("unknown-object")), ("status", Value::Integer(404))],
        };
        receive(&mut connections, 20 * SECOND_NS, "get", &fields);
        assert_eq!(connections.objects_reading(), 0);
        assert_eq!(connections.report(20 * SECOND_NS, 0, 0).sets.unwrap().lost, lost, "{value:?}");
    }
}

#[test]
fn refusals_answers_to_nothing_and_lost_users_are_counted() {
    let mut connections = begun();
    connections.act(due(0), due(0).intended_ns);
    let refused = [("error", Value::Text("log-behind")), ("status", Value::Integer(503))];
    receive(&mut connections, 11 * SECOND_NS, "set", &refused);
    assert_eq!(connections.counters().refused["log-behind (503)"], 1);
    receive(&mut connections, 11 * SECOND_NS, "set", &[("status", Value::Integer(0))]);
    connections.act(due(1), due(1).intended_ns);
    connections.closed(0, 12 * SECOND_NS);
    let report = connections.report(20 * SECOND_NS, 0, 0);
    assert_eq!(report.tally.duplicated, 1);
    let sets = report.sets.unwrap();
    assert_eq!((sets.refused, sets.acknowledged, sets.unanswered), (1, 0, 1));
    // Its object cannot be read any more.
    assert_eq!((sets.unread, sets.missing()), (1, 2));
}
