use super::*;
use crate::generator::control::Plan;
use crate::profile::storm;
use crate::wire::{Protocol, Wire, room_name, user_name};

const SECOND_NS: u64 = 1_000_000_000;
const RUN: u64 = 77;
/// Ten seconds are measured, and everyone is cut after a third of them.
const SCHEDULE: Schedule = Schedule {
    start_ns: 100 * SECOND_NS,
    measure_from_ns: 110 * SECOND_NS,
    end_ns: 122 * SECOND_NS,
    period_ns: SECOND_NS,
};
const CUT_NS: u64 = 114 * SECOND_NS;

/// Two users in one room, and the schedule begun.
fn joined() -> Connections {
    let mut connections = Connections::new(Plan {
        generator: 0,
        generator_count: 1,
        users: 2,
        profile: storm::profile(2, 8 * SECOND_NS),
        has_strangers: false,
        run: RUN,
        wire: Wire::Server(Protocol::Connserver),
        addresses: Vec::new(),
        certificate: None,
        core: 0,
        ramp_rate_hz: 1,
        ramp_window: 1,
    });
    for index in 0..2 {
        connections.opened(index, 90 * SECOND_NS);
        let login = format!("msg:login\nsession:s{index}\nstatus:0\ntoken:t{index}\n\0");
        receive(&mut connections, index, &login).unwrap();
        receive(&mut connections, index, "msg:join\nstatus:0\n\0").unwrap();
    }
    output(&mut connections);
    connections.start(SCHEDULE, &[]);
    connections
}

fn receive(connections: &mut Connections, index: u32, text: &str) -> Result<(), Fault> {
    connections.received(index, text.as_bytes(), 113 * SECOND_NS)
}

fn output(connections: &mut Connections) -> Vec<(u32, String)> {
    let waiting = connections.take_waiting();
    let take = |index| (index, String::from_utf8(connections.take_output(index)).unwrap());
    waiting.into_iter().map(take).filter(|(_, said)| !said.is_empty()).collect()
}

fn cut_all(connections: &mut Connections) {
    assert!(connections.cut(0, CUT_NS) && connections.cut(1, CUT_NS));
    assert_eq!(connections.joined(), 0);
}

/// The user comes back as soon as it means to, and asks for its session.
fn come_back(connections: &mut Connections, user: u32) -> u64 {
    let returns = storm::profile(2, 1).storm.unwrap().returns_ns(&SCHEDULE, user);
    while let Some(index) = connections.take_return(returns) {
        if index == user {
            connections.returning(user, returns);
            return returns;
        }
    }
    panic!("nobody comes back");
}

fn due(user: u32, number: u32) -> Due {
    let intended_ns = SCHEDULE.intended_ns(user, number);
    Due { index: user as usize, number, intended_ns }
}

fn heard(sequence: u64, user: u32, number: u32) -> String {
    let said = Payload { user, number, intended_ns: SCHEDULE.intended_ns(user, number) };
    let (room, from, text) = (room_name(0), user_name(user), said.to_text(RUN, 64));
    format!("from:{from}\nmsg:chat\nroom:{room}\nseq:{sequence}\ntext:{text}\n\0")
}

fn storm_of(connections: &Connections) -> StormReport {
    connections.report(130 * SECOND_NS, 0, 1).storm.unwrap()
}

#[test]
fn who_was_cut_asks_for_its_session_with_what_it_has_counted() {
    let mut connections = joined();
    // Of these the line, the answer and who came count; with the answer to the join they are four.
    let told = [
        heard(1, 1, 0),
        "msg:chat\nseq:2\nstatus:0\n\0".to_owned(),
        "msg:joined\nroom:r000000\nseq:2\nuser:u9\n\0".to_owned(),
        "msg:pong\nstatus:0\n\0".to_owned(),
        "msg:ping\nstatus:0\ntime_ms:1\n\0".to_owned(),
        "error:malformed\nmsg:error\nstatus:400\n\0".to_owned(),
    ];
    connections.ping(0, None, 100 * SECOND_NS);
    receive(&mut connections, 0, &told.concat()).unwrap();
    output(&mut connections);
    cut_all(&mut connections);
    assert_eq!(connections.report(CUT_NS, 0, 1).counters.disconnects, 0);
    assert!(!connections.cut(0, CUT_NS), "nobody is cut twice");

    let meant_ns = come_back(&mut connections, 0);
    let asked = "msg:resume\nreceived:4\nsession:s0\ntoken:t0\n\0".to_owned();
    assert_eq!(output(&mut connections), [(0, asked)]);
    let granted = "msg:resume\nreplayed:0\nstatus:0\ntoken:next\n\0";
    connections.received(0, granted.as_bytes(), meant_ns + 7_000_000).unwrap();
    assert_eq!(connections.joined(), 1);
    let report = connections.report(CUT_NS, 0, 1);
    assert_eq!((report.latencies.count(), report.latencies.quantile_ns(1.0) / 1_000_000), (1, 7));
    assert_eq!(report.tally.out_of_order, 0);
    let storm = report.storm.unwrap();
    assert_eq!((storm.back, storm.back_last_ns), (1, meant_ns + 7_000_000));
    assert_eq!((storm.caught_up, storm.caught_up_last_ns), (1, meant_ns + 7_000_000));

    // The next time it shows the next token.
    assert!(connections.cut(0, CUT_NS));
    come_back(&mut connections, 0);
    let asked = "msg:resume\nreceived:4\nsession:s0\ntoken:next\n\0".to_owned();
    assert_eq!(output(&mut connections), [(0, asked)]);
}

#[test]
fn what_had_no_answer_is_said_again_and_what_was_held_behind_it_when_all_was_heard() {
    let mut connections = joined();
    connections.act(due(0, 0), SCHEDULE.intended_ns(0, 0));
    let said = output(&mut connections).remove(0).1;
    assert!(said.starts_with("id:1\nmsg:chat\n"), "{said}");
    cut_all(&mut connections);
    connections.act(due(0, 1), CUT_NS + 1);
    let meant_ns = come_back(&mut connections, 0);
    output(&mut connections);
    let granted = "msg:resume\nreplayed:2\nstatus:0\ntoken:a\n\0";
    connections.received(0, granted.as_bytes(), meant_ns).unwrap();
    receive(&mut connections, 0, &heard(1, 1, 0)).unwrap();
    assert_eq!(output(&mut connections), [], "it has not heard all that it missed");
    let storm = storm_of(&connections);
    assert_eq!((storm.back, storm.back_last_ns, storm.caught_up), (1, meant_ns, 0));
    connections.received(0, heard(2, 1, 1).as_bytes(), meant_ns + 9).unwrap();
    let storm = storm_of(&connections);
    assert_eq!((storm.back_last_ns, storm.caught_up_last_ns), (meant_ns, meant_ns + 9));
    assert_eq!(storm.caught_up, 1);
    let both = output(&mut connections).remove(0).1;
    let lines: Vec<&str> = both.split_terminator('\0').collect();
    assert_eq!(format!("{}\0", lines[0]), said, "the same by the same id");
    assert!(lines[1].starts_with("id:2\nmsg:chat\n") && lines.len() == 2, "{lines:?}");
    let report = connections.report(130 * SECOND_NS, 0, 1);
    assert_eq!(report.tally.sent, [2, 0], "what is said again was said once");
    let storm = report.storm.unwrap();
    assert_eq!((storm.lines_held, storm.lines_said_again, storm.replayed), (1, 1, 2));
    assert_eq!(storm.line_latencies.count(), 0, "what was told again has no latency");
    assert_eq!(report.counters.unsent, 0);
}

#[test]
fn what_was_answered_among_the_missed_is_not_said_again() {
    let mut connections = joined();
    connections.act(due(0, 0), SCHEDULE.intended_ns(0, 0));
    cut_all(&mut connections);
    let meant_ns = come_back(&mut connections, 0);
    output(&mut connections);
    let answer = "msg:resume\nreplayed:1\nstatus:0\ntoken:a\n\0msg:chat\nseq:1\nstatus:0\n\0";
    connections.received(0, answer.as_bytes(), meant_ns).unwrap();
    assert_eq!((output(&mut connections), storm_of(&connections).lines_said_again), (vec![], 0));
}

#[test]
fn who_is_refused_for_a_while_comes_again_later_each_time_and_others_do_not() {
    let busy = "error:busy\nmsg:resume\nstatus:503\n\0";
    let too_old = "error:resume-too-old\nmsg:resume\nstatus:410\n\0";
    let mut connections = joined();
    cut_all(&mut connections);
    let mut now_ns = come_back(&mut connections, 0);
    while connections.take_return(u64::MAX).is_some() {}
    for doubled in 0..7 {
        let refused = connections.received(0, busy.as_bytes(), now_ns);
        assert_eq!(refused, Err(Fault::Left));
        let wait_ns = connections.return_next_ns().unwrap() - now_ns;
        let longest_ns = BACKOFF_NS << doubled.min(BACKOFF_DOUBLED_MAX);
        assert!((longest_ns / 2..longest_ns * 3 / 2).contains(&wait_ns), "{wait_ns} at {doubled}");
        now_ns += wait_ns;
        assert_eq!(connections.take_return(now_ns - 1), None);
        assert_eq!(connections.take_return(now_ns), Some(0));
        connections.returning(0, now_ns);
    }
    assert_eq!(connections.received(0, too_old.as_bytes(), now_ns), Err(Fault::Left));
    assert_eq!(connections.return_next_ns(), None);
    // What it was to say nobody says.
    connections.act(due(0, 1), CUT_NS + 1);
    let report = connections.report(130 * SECOND_NS, 0, 1);
    assert_eq!((report.counters.unsent, report.lateness.count()), (1, 1));
    let refusals = report.storm.unwrap().refusals;
    assert_eq!((refusals["busy (503)"], refusals["resume-too-old (410)"]), (7, 1));
}

#[test]
fn a_connection_that_ends_without_an_answer_is_made_again_and_counted_by_why() {
    let mut connections = joined();
    cut_all(&mut connections);
    let now_ns = come_back(&mut connections, 0);
    while connections.take_return(u64::MAX).is_some() {}
    for (told, reason) in [
        ("", UNTOLD),
        ("error:login-rate\nmsg:closed\nstatus:429\n\0", "login-rate"),
        ("{\"msg\":\"closed\",\"status\":503,\"error\":\"busy\"}\n", "busy"),
    ] {
        connections.received(0, told.as_bytes(), now_ns).unwrap();
        connections.closed(0, now_ns);
        assert_eq!(storm_of(&connections).refusals[reason], 1, "{told}");
        assert_eq!(connections.take_return(u64::MAX), Some(0));
        connections.returning(0, now_ns);
    }
    assert_eq!(connections.report(CUT_NS, 0, 1).counters.disconnects, 0);
}

#[test]
fn lines_are_measured_but_for_those_whose_speakers_were_away() {
    let mut connections = joined();
    let storm = storm::profile(2, 1).storm.unwrap();
    let away = |number| storm.is_away(&SCHEDULE, 1, SCHEDULE.intended_ns(1, number));
    let numbers = 0..SCHEDULE.message_count(1);
    let measured = |number| {
        let intended_ns = SCHEDULE.intended_ns(1, number);
        SCHEDULE.is_measured(intended_ns) && !away(number)
    };
    let expected = numbers.clone().filter(|number| measured(*number)).count() as u64;
    assert!(expected > 0 && numbers.clone().any(away), "some are away and some are not");
    for number in numbers {
        let line = heard(u64::from(number) + 1, 1, number);
        receive(&mut connections, 0, &line).unwrap();
    }
    assert_eq!(storm_of(&connections).line_latencies.count(), expected);
    assert_eq!(connections.report(CUT_NS, 0, 1).latencies.count(), 0, "resumes are measured");
}
