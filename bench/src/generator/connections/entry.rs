//! The way in: a user logs in, makes the world where there is one to make, and joins.

use super::{Connection, Connections, Fault, State, describe};
use crate::generator::beats::Beats;
use crate::profile::Activity;

/// What was refused with `busy` on the way into the room is tried again after this.
pub(super) const RETRY_NS: u64 = 20_000_000;
/// The status with which a server says that it is busy.
const STATUS_BUSY: u16 = 503;
/// The status with which it says that a world is there already.
const STATUS_TAKEN: u16 = 409;

impl Connections {
    /// The connection stands: the user logs in.
    pub fn opened(&mut self, index: u32, now_ns: u64) {
        let wire = self.plan.wire;
        self.list[index as usize].state = State::LoggingIn;
        self.list[index as usize].beats = Beats::opened(now_ns);
        self.output(index, now_ns, |seat, out| {
            wire.greet(out);
            wire.login(seat, out);
        });
    }

    /// Tries again what a busy server refused.
    pub fn retry(&mut self, now_ns: u64) {
        let wire = self.plan.wire;
        while let Some(&(at_ns, index)) = self.retries.front()
            && at_ns <= now_ns
        {
            self.retries.pop_front();
            match self.list[index as usize].state {
                State::LoggingIn => self.output(index, now_ns, |seat, out| wire.login(seat, out)),
                State::Creating | State::Joining | State::Owning => self.come_in(index, now_ns),
                _ => {}
            }
        }
    }

    /// Asks to come into the room, or first to make the world; and at last to have an object.
    fn come_in(&mut self, index: u32, now_ns: u64) {
        let (wire, connection) = (self.plan.wire, &mut self.list[index as usize]);
        let Connection { seat, state, .. } = *connection;
        let output = connection.begin_output(index, now_ns, &mut self.waiting);
        match (&self.worlds, state) {
            (_, State::Owning) => wire.make_object(seat, output),
            (None, _) => wire.join(seat, output),
            (Some(worlds), State::Creating) => worlds.create(wire, seat, output),
            (Some(worlds), _) => worlds.enter(wire, index as usize, seat, output),
        }
    }

    /// The login or the join was answered.
    pub(super) fn entered(
        &mut self,
        index: u32,
        status: u16,
        reason: &str,
        now_ns: u64,
    ) -> Result<(), Fault> {
        let connection = &mut self.list[index as usize];
        if connection.state == State::LoggingIn {
            connection.beats.answered(now_ns);
        }
        let makes_worlds = self.worlds.is_some() && self.plan.wire.makes_worlds();
        match (connection.state, status) {
            (State::LoggingIn, 0)
                if matches!(self.plan.profile.activity, Activity::Ping | Activity::Set) =>
            {
                self.settle(index, now_ns);
            }
            (State::LoggingIn, 0) if makes_worlds => {
                connection.state = State::Creating;
                self.come_in(index, now_ns);
            }
            // Whoever asks first makes the world.
            (State::LoggingIn, 0) | (State::Creating, 0 | STATUS_TAKEN) => {
                connection.state = State::Joining;
                self.come_in(index, now_ns);
            }
            (State::Joining, 0) => self.settle(index, now_ns),
            (State::Owning, 0) => {
                connection.state = State::Joined;
                self.checks.joined += 1;
            }
            (State::LoggingIn | State::Creating | State::Joining | State::Owning, STATUS_BUSY) => {
                self.checks.counters.ramp_retries += 1;
                self.retries.push_back((now_ns + RETRY_NS, index));
            }
            (State::LoggingIn | State::Creating | State::Joining | State::Owning, _) => {
                return Err(Fault::Refused(describe(status, reason)));
            }
            _ => return Err(Fault::Protocol),
        }
        Ok(())
    }

    /// The user is where it is to be: it makes its object, if it is to have one.
    fn settle(&mut self, index: u32, now_ns: u64) {
        if self.setters.is_some() {
            self.list[index as usize].state = State::Owning;
            self.come_in(index, now_ns);
        } else {
            self.list[index as usize].state = State::Joined;
            self.checks.joined += 1;
        }
    }

    /// Something was made: the world, or the user's object.
    pub(super) fn made(&mut self, index: u32, object: u64, now_ns: u64) -> Result<(), Fault> {
        if self.list[index as usize].state == State::Owning
            && let Some(setters) = &mut self.setters
        {
            setters.made(index, object);
        }
        self.entered(index, 0, "", now_ns)
    }
}
