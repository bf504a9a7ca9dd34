//! Users who are cut and come back: what a session has to remember until then, when each comes, and
//! what comes of it. Pure, as all of [`Connections`](super::Connections).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::{Connections, Fault, State, describe};
use crate::generator::beats::Beats;
use crate::generator::control::StormReport;
use crate::pacing::{Due, Schedule};
use crate::payload::{Payload, mix};
use crate::profile::storm::Storm;
use crate::wire::resume::{Pass, closed_in_json};

/// Who is refused comes again after about this long, and after twice as long each time.
const BACKOFF_NS: u64 = 100_000_000;
/// But not more often doubled than this.
const BACKOFF_DOUBLED_MAX: u32 = 4;
/// Without a free socket a user tries again after this.
const SOCKET_WAIT_NS: u64 = 10_000_000;
/// Statuses of refusals that are over after a while.
const STATUS_LATER: [u16; 2] = [429, 503];
/// What a connection that ended without a word is counted as.
const UNTOLD: &str = "connection lost";

/// One user's way back.
#[derive(Debug, Default)]
struct Return {
    session: String,
    token: String,
    /// Messages that the session has counted.
    received: u64,
    /// Of those that are told again, how many are still to come.
    replaying: u64,
    /// Lines without an answer, oldest first.
    unanswered: VecDeque<Due>,
    /// Lines that were due while the user was away.
    held: Vec<Due>,
    attempts: u32,
    /// When the user meant to come back.
    meant_ns: u64,
    /// Why the server said that it closes.
    reason: Option<String>,
}

/// The ways back of all users of a generator.
pub(super) struct Returns {
    storm: Storm,
    list: Vec<Return>,
    /// Who is to come next, and when.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    report: StormReport,
}

impl Returns {
    pub(super) fn new(storm: Storm, user_count: u32) -> Self {
        Self {
            storm,
            list: (0..user_count).map(|_| Return::default()).collect(),
            due: BinaryHeap::new(),
            report: StormReport::default(),
        }
    }

    /// A login was granted: counting begins.
    pub(super) fn logged_in(&mut self, index: u32, pass: Pass<'_>) -> Result<(), Fault> {
        let session = pass.session.ok_or(Fault::Protocol)?;
        let token = pass.token.to_owned();
        self.list[index as usize] =
            Return { session: session.to_owned(), token, ..Return::default() };
        Ok(())
    }

    /// A line was answered: the oldest, since one room answers a user in order.
    pub(super) fn line_answered(&mut self, index: u32) {
        self.list[index as usize].unanswered.pop_front();
    }

    /// A line is said.
    pub(super) fn line_said(&mut self, due: Due) {
        self.list[due.index].unanswered.push_back(due);
    }

    /// The server says why it ends a connection.
    pub(super) fn told(&mut self, index: u32, reason: &str) {
        self.list[index as usize].reason = Some(reason.to_owned());
    }

    /// Records the latency of a line that was heard as it was said: neither told again, nor due
    /// while its speaker was away. Before and after the storm, and between those who are back.
    pub(super) fn measure_line(
        &mut self,
        index: u32,
        schedule: Schedule,
        said: Payload,
        now_ns: u64,
    ) {
        let away = self.storm.is_away(&schedule, said.user, said.intended_ns);
        let told_again = self.list[index as usize].replaying > 0;
        if schedule.is_measured(said.intended_ns) && !away && !told_again {
            self.report.line_latencies.record_ns(now_ns.saturating_sub(said.intended_ns));
        }
    }

    /// Someone who was there was cut by the server.
    pub(super) fn lost(&mut self, index: u32) {
        let reason = self.list[index as usize].reason.take();
        *self.report.refusals.entry(reason.unwrap_or_else(|| UNTOLD.to_owned())).or_default() += 1;
    }

    pub(super) fn report(&self) -> StormReport {
        self.report.clone()
    }

    /// Lines that nobody came back to say.
    pub(super) fn unsaid(&self) -> u64 {
        self.list.iter().map(|user| user.held.len() as u64).sum()
    }

    /// Someone will come again, or not, for this reason.
    fn refused(&mut self, index: u32, reason: String, again: bool, now_ns: u64) {
        *self.report.refusals.entry(reason).or_default() += 1;
        if again {
            let user = &self.list[index as usize];
            let doubled = user.attempts.saturating_sub(1).min(BACKOFF_DOUBLED_MAX);
            let longest_ns = BACKOFF_NS << doubled;
            let drawn = mix(u64::from(index), u64::from(user.attempts)) % longest_ns;
            self.due.push(Reverse((now_ns + longest_ns / 2 + drawn, index)));
        }
    }
}

impl Connections {
    fn returns_mut(&mut self) -> &mut Returns {
        self.returns.as_mut().expect("only users of a storm come back")
    }

    /// Cuts a user, who will come back at the time that was drawn; false for one who is not there.
    pub fn cut(&mut self, index: u32, now_ns: u64) -> bool {
        if self.list[index as usize].state != State::Joined {
            return false;
        }
        if !self.plan.wire.client_beats() {
            let amiss =
                self.list[index as usize].beats.amiss(now_ns, self.plan.profile.heartbeat_ns);
            self.checks.counters.heartbeats_missing += amiss.missing;
            self.checks.counters.heartbeats_surplus += amiss.surplus;
        }
        self.checks.joined -= 1;
        self.leave(index, State::Away);
        let schedule = self.schedule.expect("a storm is a part of a schedule");
        let user = self.list[index as usize].seat.user;
        let returns = self.returns_mut();
        let meant_ns = returns.storm.returns_ns(&schedule, user);
        let way = &mut returns.list[index as usize];
        way.meant_ns = meant_ns;
        // What is cut off is told again from the beginning.
        way.replaying = 0;
        returns.due.push(Reverse((meant_ns, index)));
        true
    }

    /// When the next user comes back.
    #[must_use]
    pub fn return_next_ns(&self) -> Option<u64> {
        let Reverse((at_ns, _)) = self.returns.as_ref()?.due.peek()?;
        Some(*at_ns)
    }

    /// The next user whose time to come back has come.
    pub fn take_return(&mut self, now_ns: u64) -> Option<u32> {
        self.return_next_ns().filter(|at_ns| *at_ns <= now_ns)?;
        self.returns_mut().due.pop().map(|Reverse((_, index))| index)
    }

    /// There is no socket for the user yet.
    pub fn postpone_return(&mut self, index: u32, now_ns: u64) {
        self.returns_mut().due.push(Reverse((now_ns + SOCKET_WAIT_NS, index)));
    }

    /// A connection was begun: the user goes on with its session.
    pub fn returning(&mut self, index: u32, now_ns: u64) {
        let wire = self.plan.wire;
        let returns = self.returns.as_mut().expect("only users of a storm come back");
        let way = &mut returns.list[index as usize];
        if way.attempts == 0 {
            self.checks.lateness.record_ns(now_ns.saturating_sub(way.meant_ns));
        }
        way.attempts += 1;
        way.reason = None;
        let (session, token, received) = (way.session.clone(), way.token.clone(), way.received);
        let connection = &mut self.list[index as usize];
        connection.state = State::Resuming;
        connection.beats = Beats::opened(now_ns);
        self.output(index, now_ns, |_, out| {
            wire.greet(out);
            wire.resume(&session, &token, received, out);
        });
    }

    /// A resume was granted: the user is back, hears what it missed, and then says what it has to say.
    pub(super) fn resumed(&mut self, index: u32, pass: Pass<'_>, now_ns: u64) -> Result<(), Fault> {
        let connection = &mut self.list[index as usize];
        if connection.state != State::Resuming {
            return Err(Fault::Protocol);
        }
        connection.state = State::Joined;
        connection.beats.answered(now_ns);
        self.checks.joined += 1;
        let returns = self.returns.as_mut().expect("only users of a storm come back");
        let way = &mut returns.list[index as usize];
        way.token = pass.token.to_owned();
        way.replaying = pass.replayed;
        let meant_ns = way.meant_ns;
        returns.report.back += 1;
        returns.report.back_last_ns = now_ns;
        returns.report.replayed += pass.replayed;
        let schedule = self.schedule.expect("a storm is a part of a schedule");
        self.checks.measure(schedule, meant_ns, now_ns);
        if pass.replayed == 0 {
            self.catch_up(index, now_ns);
        }
        Ok(())
    }

    /// A resume was refused: some refusals are over after a while, the others are for good.
    pub(super) fn resume_refused(
        &mut self,
        index: u32,
        status: u16,
        reason: &str,
        now_ns: u64,
    ) -> Result<(), Fault> {
        if self.list[index as usize].state != State::Resuming {
            return Err(Fault::Protocol);
        }
        let again = STATUS_LATER.contains(&status);
        self.leave(index, if again { State::Away } else { State::Gone });
        self.returns_mut().refused(index, describe(status, reason), again, now_ns);
        Err(Fault::Left)
    }

    /// The connection of a user on its way back has ended without an answer.
    pub(super) fn return_broken(&mut self, index: u32, now_ns: u64) {
        let partial = std::mem::take(&mut self.list[index as usize].partial);
        self.leave(index, State::Away);
        let returns = self.returns_mut();
        let told = returns.list[index as usize].reason.take();
        let told = told.or_else(|| closed_in_json(&partial).map(str::to_owned));
        returns.refused(index, told.unwrap_or_else(|| UNTOLD.to_owned()), true, now_ns);
    }

    /// A message of the session was heard, and counts.
    pub(super) fn count(&mut self, index: u32, now_ns: u64) {
        let way = &mut self.returns_mut().list[index as usize];
        way.received += 1;
        if way.replaying > 0 {
            way.replaying -= 1;
            if way.replaying == 0 {
                self.catch_up(index, now_ns);
            }
        }
    }

    /// Keeps a line for later when its speaker is not there, or has not heard all that it missed.
    pub(super) fn holds(&mut self, due: Due) -> bool {
        let state = self.list[due.index].state;
        let Some(returns) = &mut self.returns else { return false };
        let way = &mut returns.list[due.index];
        let there = state == State::Joined && way.replaying == 0;
        let comes = matches!(state, State::Joined | State::Away | State::Resuming);
        let held = !there && comes;
        if held {
            returns.report.lines_held += 1;
            way.held.push(due);
        }
        held
    }

    /// Says again what had no answer, by the same ids, and then what was held.
    fn catch_up(&mut self, index: u32, now_ns: u64) {
        let returns = self.returns_mut();
        returns.report.caught_up += 1;
        returns.report.caught_up_last_ns = now_ns;
        let way = &mut returns.list[index as usize];
        let again: Vec<Due> = way.unanswered.iter().copied().collect();
        let held = std::mem::take(&mut way.held);
        returns.report.lines_said_again += again.len() as u64;
        let user = self.list[index as usize].seat.user;
        for due in again {
            self.say(user, due, now_ns);
        }
        for due in held {
            self.line(user, due, now_ns);
        }
    }

    /// Forgets what belonged to a connection that the user has no more.
    fn leave(&mut self, index: u32, state: State) {
        let connection = &mut self.list[index as usize];
        self.checks.awaited -= connection.awaited.len() as u64;
        connection.awaited.clear();
        connection.state = state;
        connection.partial = Vec::new();
        connection.output = Vec::new();
    }
}

#[cfg(test)]
mod tests;
