use warren_core::message::{Value, packed};

use super::entry::RETRY_NS;
use super::*;
use crate::profile::{Profile, chat, crowd, idle, walk};
use crate::wire::{Protocol, Wire, room_name, user_name};

const SECOND_NS: u64 = 1_000_000_000;
const RUN: u64 = 77;
const WIRE: Wire = Wire::Server(Protocol::Connserver);

fn schedule() -> Schedule {
    Schedule {
        start_ns: 100 * SECOND_NS,
        measure_from_ns: 110 * SECOND_NS,
        end_ns: 120 * SECOND_NS,
        period_ns: 10 * SECOND_NS,
    }
}

/// Time between two signs of life.
const HEARTBEAT_NS: u64 = 8 * SECOND_NS;

/// A generator that plays all of these users, with rooms of two.
fn connections(users: u32) -> Connections {
    connections_of(users, chat::profile(2, HEARTBEAT_NS), WIRE)
}

fn connections_of(users: u32, profile: Profile, wire: Wire) -> Connections {
    Connections::new(Plan {
        generator: 0,
        generator_count: 1,
        users,
        profile,
        has_strangers: false,
        run: RUN,
        wire,
        addresses: Vec::new(),
        certificate: None,
        core: 0,
        ramp_rate_hz: 1,
        ramp_window: 1,
    })
}

fn receive(connections: &mut Connections, index: u32, text: &str) -> Result<(), Fault> {
    connections.received(index, text.as_bytes(), 50 * SECOND_NS)
}

fn output(connections: &mut Connections) -> Vec<(u32, String)> {
    let waiting = connections.take_waiting();
    let take = |index| (index, String::from_utf8(connections.take_output(index)).unwrap());
    waiting.into_iter().map(take).collect()
}

/// All users in their rooms, and the schedule begun.
fn joined(users: u32) -> Connections {
    let mut connections = connections(users);
    for index in 0..users {
        connections.opened(index, SECOND_NS);
        connections.received(index, b"msg:login\nstatus:0\n\0", SECOND_NS).unwrap();
        connections.received(index, b"msg:join\nstatus:0\n\0", SECOND_NS).unwrap();
    }
    assert_eq!(connections.joined(), users);
    output(&mut connections);
    connections.start(schedule(), &[]);
    connections
}

/// The frame by which a member hears a message of another.
fn heard(sequence: u64, user: u32, number: u32) -> String {
    let intended_ns = schedule().intended_ns(user, number);
    heard_as(sequence, user / 2, user, Payload { user, number, intended_ns })
}

fn heard_as(sequence: u64, room: u32, from: u32, payload: Payload) -> String {
    let text = payload.to_text(RUN, 64);
    let (room, from) = (room_name(room), user_name(from));
    format!("from:{from}\nmsg:chat\nroom:{room}\nseq:{sequence}\ntext:{text}\n\0")
}

#[test]
fn a_user_logs_in_then_joins_and_then_is_in() {
    let mut connections = connections(4);
    connections.opened(3, SECOND_NS);
    assert_eq!(output(&mut connections), [(3, "msg:login\nuser:u000003\n\0".to_owned())]);
    receive(&mut connections, 3, "msg:login\nstatus:0\n\0").unwrap();
    assert_eq!(output(&mut connections), [(3, "msg:join\nroom:r000001\n\0".to_owned())]);
    assert_eq!(connections.joined(), 0);
    receive(&mut connections, 3, "msg:join\nstatus:0\n\0").unwrap();
    assert_eq!((connections.joined(), output(&mut connections).len()), (1, 0));
}

#[test]
fn what_a_busy_server_refused_is_asked_again_later() {
    let mut connections = connections(1);
    connections.opened(0, SECOND_NS);
    output(&mut connections);
    receive(&mut connections, 0, "error:busy\nmsg:login\nstatus:503\n\0").unwrap();
    connections.retry(50 * SECOND_NS + RETRY_NS - 1);
    assert!(output(&mut connections).is_empty());
    connections.retry(50 * SECOND_NS + RETRY_NS);
    assert_eq!(output(&mut connections), [(0, "msg:login\nuser:u000000\n\0".to_owned())]);
    connections.retry(u64::MAX);
    assert!(output(&mut connections).is_empty());
}

#[test]
fn any_other_refusal_ends_the_ramp() {
    let mut connections = connections(1);
    connections.opened(0, SECOND_NS);
    let refused = receive(&mut connections, 0, "error:bad-name\nmsg:login\nstatus:400\n\0");
    assert_eq!(refused, Err(Fault::Refused("bad-name (400)".to_owned())));
}

#[test]
fn a_said_message_counts_as_sent_and_late_by_how_much_it_was() {
    let mut connections = joined(2);
    let due = Due { index: 1, number: 1, intended_ns: schedule().intended_ns(1, 1) };
    connections.act(due, due.intended_ns + 3_000_000);
    let said = output(&mut connections);
    assert!(said[0].1.starts_with("msg:chat\ntext:0000000100000001"), "{said:?}");
    let report = connections.report(50 * SECOND_NS, 0, 1);
    assert_eq!(report.tally.sent, [0, 1]);
    assert_eq!(report.lateness.quantile_ns(1.0) / 1_000_000, 3);
}

#[test]
fn a_heard_message_is_measured_from_its_intended_time() {
    let mut connections = joined(2);
    let intended_ns = schedule().intended_ns(1, 1);
    assert!(schedule().is_measured(intended_ns));
    let frames = [heard(5, 1, 0), heard(6, 1, 1)].concat();
    connections.received(0, frames.as_bytes(), intended_ns + 2_000_000).unwrap();
    assert_eq!(connections.take_latency_max_ns(), 2_000_000);
    assert_eq!(connections.deliveries(), 2);
    let report = connections.report(50 * SECOND_NS, 0, 1);
    assert_eq!(report.latencies.count(), 1, "the first was warm-up");
    assert_eq!((report.tally.corrupted, report.tally.out_of_order), (0, 0));
}

#[test]
fn what_was_not_said_here_is_corrupt() {
    let good = Payload { user: 1, number: 0, intended_ns: schedule().intended_ns(1, 0) };
    let damaged = heard(5, 1, 0).replace("text:00000001", "text:00000000");
    for frame in [
        damaged,
        heard_as(5, 1, 1, good),
        heard_as(5, 0, 0, good),
        heard(5, 2, 0).replace("r000001", "r000000"),
        heard_as(5, 0, 1, Payload { intended_ns: good.intended_ns + 1, ..good }),
        heard_as(5, 0, 1, Payload { number: 2, intended_ns: schedule().intended_ns(1, 2), ..good }),
        heard_as(5, 0, 1, Payload { user: u32::MAX, ..good }),
    ] {
        let mut connections = joined(4);
        receive(&mut connections, 0, &frame).unwrap();
        let report = connections.report(50 * SECOND_NS, 0, 1);
        assert_eq!(report.tally.corrupted, 1, "{frame}");
        assert_eq!(report.tally.delivered_total(), 0);
    }
    let mut connections = joined(4);
    receive(&mut connections, 0, &heard_as(5, 0, 1, good)).unwrap();
    assert_eq!(connections.report(50 * SECOND_NS, 0, 1).tally.corrupted, 0);
}

#[test]
fn frames_in_any_pieces_are_the_same_frames() {
    let frames = [heard(5, 1, 0), "msg:pong\nstatus:0\n\0".to_owned(), heard(6, 0, 0)].concat();
    for piece in [1, 2, 7, 100, frames.len()] {
        let mut connections = joined(2);
        for bytes in frames.as_bytes().chunks(piece) {
            connections.received(0, bytes, 120 * SECOND_NS).unwrap();
        }
        assert_eq!((connections.deliveries(), connections.counters().heartbeats), (2, 1));
        assert!(connections.list[0].partial.is_empty());
    }
}

#[test]
fn all_that_the_schedule_says_is_expected_by_each_member() {
    let connections = joined(4);
    let said: u64 = (0..4).map(|user| u64::from(schedule().message_count(user))).sum();
    assert_eq!(connections.deliveries_expected(), said * 2);
}

#[test]
fn a_lost_connection_is_counted_once_and_says_nothing_more() {
    let mut connections = joined(2);
    connections.closed(1, 50 * SECOND_NS);
    connections.closed(1, 50 * SECOND_NS);
    connections.act(Due { index: 1, number: 0, intended_ns: 0 }, 0);
    assert!(output(&mut connections).is_empty());
    let counters = connections.counters();
    assert_eq!((counters.disconnects, counters.unsent, counters.sent), (1, 1, 0));
    assert_eq!(connections.joined(), 1);
}

#[test]
fn a_refused_message_is_counted_by_its_reason() {
    let mut connections = joined(2);
    receive(&mut connections, 0, "error:busy\nmsg:chat\nstatus:503\n\0").unwrap();
    receive(&mut connections, 0, "msg:chat\nseq:9\nstatus:0\n\0").unwrap();
    let counters = connections.counters();
    assert_eq!(counters.refused, [("busy (503)".to_owned(), 1)].into());
    assert_eq!(counters.replies, 2);
}

/// Users of the binary protocol, logged in and, where there are rooms, in them.
fn joined_binary(users: u32, profile: Profile) -> Connections {
    let profile_has_rooms = profile.activity == Activity::Say;
    let mut connections = connections_of(users, profile, Wire::Server(Protocol::Binary));
    for index in 0..users {
        connections.opened(index, SECOND_NS);
        answer_at(&mut connections, index, "login", SECOND_NS);
        if profile_has_rooms {
            answer_at(&mut connections, index, "join", SECOND_NS);
        }
    }
    connections.take_waiting();
    (0..users).for_each(|index| drop(connections.take_output(index)));
    assert_eq!(connections.joined(), users);
    connections
}

/// A good answer of a binary server.
fn answer_at(connections: &mut Connections, index: u32, method: &str, now_ns: u64) {
    let payload = packed(method, &[("status", Value::Integer(0))]);
    let length = u32::try_from(payload.len() + 1).unwrap();
    let frame = [&length.to_le_bytes(), &[1][..], &payload].concat();
    connections.received(index, &frame, now_ns).unwrap();
}

fn pinging(connections: &mut Connections) -> Vec<u32> {
    let waiting = connections.take_waiting();
    waiting.iter().for_each(|index| drop(connections.take_output(*index)));
    waiting
}

#[test]
fn only_those_who_were_silent_for_long_ping_and_only_where_somebody_has_to() {
    let mut connections = joined_binary(3, chat::profile(2, HEARTBEAT_NS));
    connections.start(schedule(), &[]);
    connections.act(Due { index: 1, number: 0, intended_ns: 0 }, 60 * SECOND_NS);
    pinging(&mut connections);
    connections.closed(2, 50 * SECOND_NS);
    connections.ping_silent(60 * SECOND_NS + HEARTBEAT_NS / 2 * 3 - 1);
    assert_eq!(pinging(&mut connections), [0]);
    let often = connections_of(1, chat::profile(2, 10 * SECOND_NS), connections.plan.wire);
    assert!(!often.signs_are_due(), "each message is a sign of life");
    let mut text = joined(3);
    text.ping_silent(600 * SECOND_NS);
    assert!(output(&mut text).is_empty());
}

#[test]
fn who_speaks_seldom_gives_signs_of_life_and_misses_those_that_nobody_answers() {
    let mut connections = joined_binary(2, crowd::profile(2, HEARTBEAT_NS));
    connections.start(schedule(), &[]);
    assert!(connections.signs_are_due());
    for index in [0, 1] {
        connections.sign(Due { index, number: 0, intended_ns: 0 }, 105 * SECOND_NS);
    }
    assert_eq!((pinging(&mut connections), connections.awaited()), (vec![0, 1], 2));
    answer_at(&mut connections, 1, "ping", 111 * SECOND_NS);
    let counters = connections.report(120 * SECOND_NS, 0, 1).counters;
    assert_eq!((counters.heartbeats, counters.heartbeats_missing), (1, 1));
    connections.closed(0, 50 * SECOND_NS);
    assert_eq!(connections.awaited(), 0);
    let counters = connections.report(120 * SECOND_NS, 0, 1).counters;
    assert_eq!((counters.disconnects, counters.heartbeats_missing), (1, 0), "it is counted once");
}

#[test]
fn the_servers_heartbeats_are_counted_against_the_time() {
    let mut connections = joined(4);
    for (index, count) in [(0, 2), (1, 1), (2, 4), (3, 0)] {
        for _ in 0..count {
            receive(&mut connections, index, "msg:pong\nstatus:0\n\0").unwrap();
        }
    }
    connections.closed(3, 50 * SECOND_NS);
    let counters = connections.report(SECOND_NS + 20 * SECOND_NS, 0, 1).counters;
    let amiss = (counters.heartbeats_missing, counters.heartbeats_surplus);
    assert_eq!((counters.heartbeats, amiss), (7, (1, 2)));
}

#[test]
fn the_answer_to_a_ping_is_measured_from_its_intended_time() {
    let mut connections = joined_binary(2, idle::profile(Protocol::Binary, 10 * SECOND_NS));
    assert!(!connections.signs_are_due(), "its pings are signs of life");
    // A sign of life from before the start, not answered yet.
    connections.ping_silent(99 * SECOND_NS);
    connections.start(schedule(), &[]);
    assert_eq!(connections.deliveries_expected(), 4);
    let due = |number| Due { index: 1, number, intended_ns: schedule().intended_ns(1, number) };
    connections.act(due(0), due(0).intended_ns);
    connections.act(due(1), due(1).intended_ns + 3_000_000);
    let frames = pinging(&mut connections);
    assert_eq!((frames, connections.awaited()), (vec![0, 1], 4));
    for _ in 0..2 {
        answer_at(&mut connections, 1, "ping", 111 * SECOND_NS);
    }
    assert_eq!((connections.deliveries(), connections.awaited()), (1, 2));
    connections.ping_silent(900 * SECOND_NS);
    assert!(pinging(&mut connections).is_empty(), "the schedule has begun");
    answer_at(&mut connections, 1, "ping", 111 * SECOND_NS);
    let report = connections.report(112 * SECOND_NS, 0, 1);
    assert_eq!((report.tally.sent, report.tally.delivered), (vec![0, 2], vec![0, 2]));
    assert_eq!((report.latencies.count(), report.lateness.count()), (1, 1), "one was warm-up");
    assert_eq!((report.counters.heartbeats, report.counters.heartbeats_missing), (1, 1));
    assert_eq!(report.tally.duplicated, 0);
    answer_at(&mut connections, 1, "ping", 111 * SECOND_NS);
    assert_eq!(connections.report(112 * SECOND_NS, 0, 1).tally.duplicated, 1);
}

#[test]
fn where_the_server_beats_one_user_in_ten_pings() {
    let profile = idle::profile(Protocol::Connserver, 10 * SECOND_NS);
    let mut connections = connections_of(20, profile, WIRE);
    connections.opened(3, SECOND_NS);
    receive(&mut connections, 3, "msg:login\nstatus:0\n\0").unwrap();
    assert_eq!(connections.joined(), 1, "there is no room to join");
    connections.start(schedule(), &[]);
    let pings = |user| u64::from(schedule().message_count(user));
    assert_eq!(connections.deliveries_expected(), pings(0) + pings(10));
}

#[test]
fn what_a_room_numbers_is_in_its_order_with_what_is_said() {
    let numbered =
        |method, room, sequence| format!("msg:{method}\nroom:r00000{room}\nseq:{sequence}\n\0");
    for (frames, out_of_order, corrupted) in [
        (vec![numbered("joined", 0, 4), heard(5, 1, 0), numbered("members", 0, 6)], 0, 0),
        (vec![heard(5, 1, 0), numbered("members", 0, 6), heard(7, 1, 1)], 0, 0),
        (vec![heard(5, 1, 0), heard(7, 1, 1)], 1, 0),
        (vec![heard(5, 1, 0), numbered("members", 0, 5), heard(6, 1, 1)], 1, 0),
        (vec![heard(5, 1, 0), numbered("changed", 1, 6), heard(6, 1, 1)], 0, 1),
    ] {
        let mut connections = joined(4);
        for frame in &frames {
            receive(&mut connections, 0, frame).unwrap();
        }
        let tally = connections.report(50 * SECOND_NS, 0, 1).tally;
        assert_eq!((tally.out_of_order, tally.corrupted), (out_of_order, corrupted), "{frames:?}");
    }
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let mut connections = joined(1);
    assert_eq!(receive(&mut connections, 0, "nonsense\0"), Err(Fault::Protocol));
    assert_eq!(connections.counters().faults, 1);
}

#[test]
fn what_is_lent_is_sent_once_and_who_is_woken_has_a_turn() {
    let mut connections = connections(2);
    connections.opened(1, SECOND_NS);
    assert_eq!(connections.take_waiting(), [1]);
    let length = connections.lend_output(1, |said| said.len());
    assert_eq!(length, "msg:login\nuser:u000001\n\0".len());
    assert_eq!(connections.lend_output(1, |said| said.len()), 0);
    connections.wake(1);
    receive(&mut connections, 1, "msg:login\nstatus:0\n\0").unwrap();
    assert_eq!(connections.take_waiting(), [1, 1]);
    let said = connections.lend_output(1, |said| String::from_utf8(said.to_vec()).unwrap());
    assert_eq!(said, "msg:join\nroom:r000000\n\0");
}

#[test]
fn the_measured_part_is_counted_second_by_second() {
    let mut connections = joined(2);
    // Said before the measured part, and in it; heard a second later.
    let (early, measured) = (schedule().intended_ns(0, 0), schedule().intended_ns(0, 1));
    for (number, intended_ns) in [(0, early), (1, measured)] {
        connections.act(Due { index: 0, number, intended_ns }, intended_ns);
        let text = heard(u64::from(number) + 1, 0, number);
        connections.received(1, text.as_bytes(), intended_ns + SECOND_NS).unwrap();
        connections.count_bytes_sent(70, intended_ns);
        connections.count_bytes_received(90, intended_ns + SECOND_NS);
    }
    let seconds = connections.report(130 * SECOND_NS, 0, 1).seconds;
    assert_eq!(seconds.len(), 10);
    let at = ((measured - schedule().measure_from_ns) / SECOND_NS) as usize;
    for (index, second) in seconds.iter().enumerate() {
        let sums = [second.sent, second.heard, second.bytes_sent, second.bytes_received];
        let said = u64::from(index == at);
        let heard = u64::from(index == at + 1);
        assert_eq!(sums, [said, heard, 70 * said, 90 * heard], "second {index}");
        // The latency is of the second in which it was to be said.
        let latency_us = second.latencies.quantile_us(1.0);
        assert_eq!(latency_us.is_some(), index == at, "second {index}: {latency_us:?}");
    }
}

#[test]
fn a_user_makes_its_world_unless_it_is_there_and_then_enters_it() {
    let wire = Wire::Server(Protocol::Binary);
    let mut connections = connections_of(4, walk::profile(2, HEARTBEAT_NS), wire);
    let reply = |method: &str, fields: &[(&str, Value<'_>)]| {
        let message = packed(method, fields);
        let length = u32::try_from(message.len() + 1).unwrap();
        [&length.to_le_bytes(), &[1][..], &message].concat()
    };
    let status = |status| ("status", Value::Integer(status));
    let text = |output: Vec<u8>| String::from_utf8_lossy(&output).into_owned();
    for (index, created) in [(2, 0), (3, 409)] {
        connections.opened(index, SECOND_NS);
        connections.take_output(index);
        connections.received(index, &reply("login", &[status(0)]), SECOND_NS).unwrap();
        let asked = text(connections.take_output(index));
        assert!(asked.contains("create") && asked.contains("r000001"), "{asked}");
        let busy = [status(503), ("error", Value::Text("busy"))];
        connections.received(index, &reply("create", &busy), SECOND_NS).unwrap();
        connections.retry(SECOND_NS + RETRY_NS);
        assert!(text(connections.take_output(index)).contains("create"));
        connections.received(index, &reply("create", &[status(created)]), SECOND_NS).unwrap();
        assert!(text(connections.take_output(index)).contains("join"));
        let world = ("world", Value::Object(warren_core::ids::ObjectId(9)));
        let entity = ("entity", Value::Integer(i64::from(index) - 2));
        let entered = reply("join", &[status(0), world, entity]);
        connections.received(index, &entered, SECOND_NS).unwrap();
    }
    assert_eq!(connections.joined(), 2);
    assert_eq!(connections.entities(), [(0, 0), (1, 0), (2, 0), (3, 1)]);
    let refused = connections.received(3, &reply("create", &[status(400)]), SECOND_NS);
    assert_eq!(refused, Err(Fault::Protocol));
}

#[test]
fn who_walks_among_npcs_says_a_line_now_and_then_that_all_are_to_hear() {
    let profile = crate::profile::ai::profile(2, crate::profile::ai::Wander::BuiltIn, HEARTBEAT_NS);
    let schedule = Schedule { period_ns: SECOND_NS / 10, ..schedule() };
    let wire = Wire::Server(Protocol::Binary);
    let mut connections = connections_of(2, profile.clone(), wire);
    for index in 0..2 {
        connections.opened(index, SECOND_NS);
        for method in ["login", "create", "join"] {
            answer_at(&mut connections, index, method, SECOND_NS);
        }
        connections.take_output(index);
    }
    connections.start(schedule, &[(0, 0), (1, 1)]);
    let lines: u64 =
        (0..2).map(|user| u64::from(profile.line_count(user, schedule.message_count(user)))).sum();
    assert_eq!(connections.deliveries_expected(), 2 * lines);
    let mut said = Vec::new();
    for number in 0..40 {
        let intended_ns = schedule.intended_ns(1, number);
        connections.act(Due { index: 1, number, intended_ns }, intended_ns);
        let output = connections.take_output(1);
        if let Some(line) = output.get(crate::wire::floor::MOVE_FRAME_BYTES..)
            && !line.is_empty()
        {
            said.push((number, intended_ns));
        }
    }
    let numbers: Vec<u32> = said.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 21]);
    let heard = |number, intended_ns, seq| {
        let text = Payload { user: 1, number, intended_ns }.to_text(connections.plan.run, 64);
        let message = packed(
            "chat",
            &[
                ("room", Value::Text("r000000")),
                ("from", Value::Text("u000001")),
                ("text", Value::Text(&text)),
                ("seq", Value::Integer(seq)),
            ],
        );
        let length = u32::try_from(message.len() + 1).unwrap();
        [&length.to_le_bytes(), &[1][..], &message].concat()
    };
    let right: Vec<Vec<u8>> =
        (5..).zip(&said).map(|(seq, (number, at_ns))| heard(*number, *at_ns, seq)).collect();
    // A line that no move of this number comes with.
    let wrong = heard(2, schedule.intended_ns(1, 2), 7);
    for index in 0..2 {
        for frame in &right {
            connections.received(index, frame, schedule.measure_from_ns).unwrap();
        }
    }
    let report = connections.report(schedule.measure_from_ns, 0, 1);
    assert_eq!((report.worlds.moves, &report.tally.sent[..]), (40, &[0, 2][..]));
    assert_eq!((&report.tally.delivered[..], report.tally.corrupted), (&[0, 4][..], 0));
    assert_eq!(report.latencies.count(), 0);
    connections.received(0, &wrong, schedule.measure_from_ns).unwrap();
    assert_eq!(connections.report(schedule.measure_from_ns, 0, 1).tally.corrupted, 1);
}
