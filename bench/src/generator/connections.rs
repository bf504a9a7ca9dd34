//! The users that a generator plays, one connection each, and what they send. How they come in is in
//! `entry.rs`, the check of all that they hear in `hearing.rs`. Pure: bytes and times in, bytes out; the engine has the sockets.

mod entry;
mod hearing;
mod sets;
mod storm;

use std::collections::VecDeque;

use self::storm::Returns;
use super::beats::Beats;
use super::checks::Checks;
use super::control::{Counters, Plan, Report, describe};
use super::series::Series;
use super::setters::Setters;
use super::worlds::Worlds;
use crate::ledger::{Listener, Places, Tally};
use crate::pacing::{Due, Schedule};
use crate::payload::Payload;
use crate::profile::{Activity, Rooms};
use crate::wire::Seat;

/// How far a user has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unconnected,
    LoggingIn,
    Creating,
    Joining,
    /// On the way to an object of its own.
    Owning,
    Joined,
    /// Cut, or refused for a while: the user will come back.
    Away,
    Resuming,
    Gone,
}

#[derive(Debug)]
struct Connection {
    seat: Seat,
    state: State,
    /// Beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// To be sent.
    output: Vec<u8>,
    sent_last_ns: u64,
    listener: Listener,
    beats: Beats,
    /// Pings whose answers have not come, oldest first: the numbers of those that the schedule
    /// has; the others are signs of life.
    awaited: VecDeque<Option<u32>>,
}

/// The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server sent what is no frame.
    Protocol,
    /// The server refused the login or the join.
    Refused(String),
    /// TLS failed.
    Tls(String),
    /// The server has said that it says no more.
    Ended,
    /// The user leaves it.
    Left,
}

/// All users of a generator.
pub struct Connections {
    plan: Plan,
    rooms: Rooms,
    schedule: Option<Schedule>,
    places: Places,
    list: Vec<Connection>,
    /// Where users move.
    worlds: Option<Worlds>,
    /// Connections with output, each once.
    waiting: Vec<u32>,
    /// Logins and joins to be tried again, by time.
    retries: VecDeque<(u64, u32)>,
    /// How users come back, if they are cut.
    returns: Option<Returns>,
    /// What users set, if they do.
    setters: Option<Setters>,
    checks: Checks,
}

impl Connections {
    /// The users of the plan, none connected.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let rooms = plan.rooms();
        let list = (0..plan.user_count()).map(|connection| {
            let user = plan.user(connection);
            let room = rooms.of(user);
            Connection {
                seat: Seat { user, room },
                state: State::Unconnected,
                partial: Vec::new(),
                output: Vec::new(),
                sent_last_ns: 0,
                listener: Listener::default(),
                beats: Beats::default(),
                awaited: VecDeque::new(),
            }
        });
        let list: Vec<Connection> = list.collect();
        let seats = list.iter().map(|connection| connection.seat);
        Self {
            worlds: Worlds::new(&plan.profile, plan.run, plan.has_strangers, seats),
            checks: Checks::new(Tally::new(plan.users, rooms)),
            list,
            setters: plan.profile.sets.map(|_| Setters::new(plan.user_count())),
            returns: plan.profile.storm.map(|storm| Returns::new(storm, plan.user_count())),
            plan,
            rooms,
            schedule: None,
            places: Places::default(),
            waiting: Vec::new(),
            retries: VecDeque::new(),
        }
    }

    /// The user of a connection, and its room.
    #[must_use]
    pub fn seat(&self, index: u32) -> Seat {
        self.list[index as usize].seat
    }

    /// Users in their rooms now.
    #[must_use]
    pub fn joined(&self) -> u32 {
        self.checks.joined
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.checks.counters
    }

    /// The longest latency since the last call.
    pub fn take_latency_max_ns(&mut self) -> u64 {
        std::mem::take(&mut self.checks.latency_max_ns)
    }

    /// In worlds: the entity of each user here.
    #[must_use]
    pub fn entities(&self) -> Vec<(u32, u16)> {
        let users = self.list.iter().map(|connection| connection.seat.user);
        users.zip(self.worlds.iter().flat_map(Worlds::entities)).collect()
    }

    /// From now on, messages are expected to be those of this schedule. In worlds it is told which
    /// entities the users of all generators are.
    pub fn start(&mut self, schedule: Schedule, entities: &[(u32, u16)]) {
        if let Some(worlds) = &mut self.worlds {
            let rooms = self.rooms;
            let seat = |user| Seat { user, room: rooms.of(user) };
            worlds.start(schedule, entities.iter().map(|(user, entity)| (seat(*user), *entity)));
        }
        self.schedule = Some(schedule);
        self.checks.series = Series::new(schedule);
        let profile = &self.plan.profile;
        self.places =
            Places::new(self.rooms, |user| profile.line_count(user, schedule.message_count(user)));
        if profile.activity != Activity::Ping {
            for connection in &mut self.list {
                connection.listener.begin(self.places.count(connection.seat.room));
            }
        }
    }

    /// How many first deliveries there are when nothing is lost, from the start on.
    #[must_use]
    pub fn deliveries_expected(&self) -> u64 {
        let said_in = |room| u64::from(self.places.count(room));
        self.list.iter().map(|connection| said_in(connection.seat.room)).sum()
    }

    /// First deliveries so far.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.checks.tally.delivered_total()
    }

    /// Pings that are not answered yet.
    #[must_use]
    pub fn awaited(&self) -> u64 {
        self.checks.awaited
    }

    /// The connection is lost, or never came to be.
    pub fn closed(&mut self, index: u32, now_ns: u64) {
        let connection = &mut self.list[index as usize];
        if connection.state == State::Resuming {
            return self.return_broken(index, now_ns);
        }
        if connection.state == State::Joined {
            self.checks.joined -= 1;
            self.checks.counters.disconnects += 1;
            if let Some(returns) = &mut self.returns {
                returns.lost(index);
            }
        }
        if let Some(setters) = &mut self.setters {
            setters.lost(index);
        }
        self.checks.awaited -= connection.awaited.len() as u64;
        connection.awaited = VecDeque::new();
        connection.state = State::Gone;
        connection.partial = Vec::new();
        connection.output = Vec::new();
    }

    /// Says a message or pings, when its time has come, unless the connection is lost.
    pub fn act(&mut self, due: Due, now_ns: u64) {
        let index = due.index;
        let schedule = self.schedule.expect("what is due is of a schedule");
        let measured = schedule.is_measured(due.intended_ns);
        let Connection { seat, state, .. } = self.list[index];
        if self.holds(due) {
            return;
        }
        if state != State::Joined {
            self.checks.counters.unsent += 1;
            return;
        }
        match self.plan.profile.activity {
            Activity::Say => self.line(seat.user, due, now_ns),
            Activity::Ping => {
                self.ping(index, Some(due.number), now_ns);
                self.count_sent(seat.user, now_ns);
            }
            Activity::Set => {
                self.set(due, now_ns);
                self.count_said(now_ns);
            }
            Activity::Move => {
                self.walk(due, now_ns);
                self.checks.worlds.moves += 1;
                self.count_said(now_ns);
                if self.plan.profile.line(seat.user, due.number).is_some() {
                    self.line(seat.user, due, now_ns);
                }
            }
        }
        let lateness_ns = now_ns - due.intended_ns;
        if let Some(second) = self.checks.series.at(now_ns) {
            second.lateness.record_ns(lateness_ns);
        }
        if measured {
            self.checks.lateness.record_ns(lateness_ns);
        }
    }

    /// Says a line for the first time.
    fn line(&mut self, user: u32, due: Due, now_ns: u64) {
        if let Some(returns) = &mut self.returns {
            returns.line_said(due);
        }
        self.say(user, due, now_ns);
        self.count_sent(user, now_ns);
    }

    fn count_sent(&mut self, user: u32, now_ns: u64) {
        self.checks.tally.sent[user as usize] += 1;
        self.count_said(now_ns);
    }

    fn count_said(&mut self, now_ns: u64) {
        self.checks.counters.sent += 1;
        if let Some(second) = self.checks.series.at(now_ns) {
            second.sent += 1;
        }
    }

    fn say(&mut self, user: u32, due: Due, now_ns: u64) {
        let payload = Payload { user, number: due.number, intended_ns: due.intended_ns };
        let text = payload.to_text(self.plan.run, self.plan.profile.line_bytes());
        let wire = self.plan.wire;
        // Who may have to say it again needs an id for it.
        let id = if self.returns.is_some() { due.number + 1 } else { 0 };
        self.output(due.index as u32, now_ns, |seat, out| wire.say_with_id(seat, &text, id, out));
    }

    fn walk(&mut self, due: Due, now_ns: u64) {
        let worlds = self.worlds.as_ref().expect("users move in worlds");
        let (wire, connection) = (self.plan.wire, &mut self.list[due.index]);
        let output = connection.begin_output(due.index as u32, now_ns, &mut self.waiting);
        worlds.walk(wire, due.index, due.number, output);
    }

    /// Pings, whether or not it is in the schedule.
    fn ping(&mut self, index: usize, number: Option<u32>, now_ns: u64) {
        let wire = self.plan.wire;
        self.list[index].awaited.push_back(number);
        self.checks.awaited += 1;
        self.output(index as u32, now_ns, |_, out| wire.ping(out));
    }

    /// Gives a sign of life whose time has come, unless the connection is lost.
    pub fn sign(&mut self, due: Due, now_ns: u64) {
        if self.list[due.index].state == State::Joined {
            self.ping(due.index, None, now_ns);
        }
    }

    /// Whether users have to give signs of life because they speak too seldom.
    #[must_use]
    pub fn signs_are_due(&self) -> bool {
        let profile = &self.plan.profile;
        self.plan.wire.client_beats() && profile.message_period_ns > profile.heartbeat_ns
    }

    /// Lets users who were silent for one and a half heartbeats give a sign of life, where servers
    /// close their connections after two: before the start and at the end, when no schedule does.
    /// Those who ping by the schedule do nothing else, so that the answers are to their pings.
    pub fn ping_silent(&mut self, now_ns: u64) {
        let scheduled = self.schedule.is_some() && self.plan.profile.activity == Activity::Ping;
        if scheduled || !self.plan.wire.client_beats() {
            return;
        }
        let silence_ns = self.plan.profile.heartbeat_ns / 2 * 3;
        for index in 0..self.list.len() {
            let connection = &self.list[index];
            let silent = now_ns.saturating_sub(connection.sent_last_ns) >= silence_ns;
            if silent && connection.state == State::Joined {
                self.ping(index, None, now_ns);
            }
        }
    }

    /// Takes connections that have something to send, with it.
    pub fn take_waiting(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.waiting)
    }

    /// Gives the list of [`take_waiting`](Self::take_waiting) back, with those that could not
    /// send yet.
    pub fn put_waiting(&mut self, mut waiting: Vec<u32>) {
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
    }

    /// Takes what a connection has to send.
    pub fn take_output(&mut self, index: u32) -> Vec<u8> {
        std::mem::take(&mut self.list[index as usize].output)
    }

    /// Lends what a connection has to send, which is sent in another form.
    pub fn lend_output<T>(&mut self, index: u32, form: impl FnOnce(&[u8]) -> T) -> T {
        let output = &mut self.list[index as usize].output;
        let formed = form(output);
        output.clear();
        formed
    }

    /// A connection has something to send that is not the user's: it is among those of
    /// [`take_waiting`](Self::take_waiting), perhaps twice.
    pub fn wake(&mut self, index: u32) {
        self.waiting.push(index);
    }

    /// So many bytes leave a connection now, as they are on the wire.
    pub fn count_bytes_sent(&mut self, count: usize, now_ns: u64) {
        if let Some(second) = self.checks.series.at(now_ns) {
            second.bytes_sent += count as u64;
        }
    }

    /// So many bytes came on a connection, as they were on the wire.
    pub fn count_bytes_received(&mut self, count: usize, now_ns: u64) {
        if let Some(second) = self.checks.series.at(now_ns) {
            second.bytes_received += count as u64;
        }
    }

    /// What came on a connection was not to be read.
    pub fn count_fault(&mut self) {
        self.checks.counters.faults += 1;
    }

    fn output(&mut self, index: u32, now_ns: u64, encode: impl FnOnce(Seat, &mut Vec<u8>)) {
        let connection = &mut self.list[index as usize];
        let seat = connection.seat;
        encode(seat, connection.begin_output(index, now_ns, &mut self.waiting));
    }

    /// The end: everything that was counted, with the CPU and the time that measuring took.
    #[must_use]
    pub fn report(&self, now_ns: u64, cpu_ns: u64, elapsed_ns: u64) -> Report {
        let mut tally = self.checks.tally.clone();
        let mut counters = self.checks.counters.clone();
        let mut worlds = self.checks.worlds;
        if let Some(played) = &self.worlds {
            worlds.watched = played.watched();
            played.finish(now_ns, &mut worlds);
        }
        for connection in &self.list {
            tally.note_digest(connection.seat.room, connection.listener.digest());
            if connection.state == State::Joined {
                self.count_beats(connection, now_ns, &mut counters);
            }
        }
        counters.unsent += self.returns.as_ref().map_or(0, Returns::unsaid);
        Report {
            tally,
            worlds,
            sets: self.set_report(),
            storm: self.returns.as_ref().map(Returns::report),
            latencies: self.checks.latencies.clone(),
            lateness: self.checks.lateness.clone(),
            line_latencies: self.checks.line_latencies.clone(),
            counters,
            seconds: self.checks.series.seconds().to_vec(),
            cpu_ns,
            elapsed_ns,
        }
    }

    /// Adds the heartbeats that are due and did not come, or came and are not due.
    fn count_beats(&self, connection: &Connection, now_ns: u64, counters: &mut Counters) {
        if self.plan.wire.client_beats() {
            let unanswered = connection.awaited.iter().filter(|number| number.is_none());
            counters.heartbeats_missing += unanswered.count() as u64;
        } else {
            let amiss = connection.beats.amiss(now_ns, self.plan.profile.heartbeat_ns);
            counters.heartbeats_missing += amiss.missing;
            counters.heartbeats_surplus += amiss.surplus;
        }
    }
}

impl Connection {
    /// Where to append what it sends; it is among those that wait from now on.
    fn begin_output(&mut self, index: u32, now_ns: u64, waiting: &mut Vec<u32>) -> &mut Vec<u8> {
        if self.output.is_empty() {
            waiting.push(index);
        }
        self.sent_last_ns = now_ns;
        &mut self.output
    }
}

#[cfg(test)]
mod tests;
