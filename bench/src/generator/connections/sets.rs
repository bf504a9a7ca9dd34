//! What users set, what becomes of it, and the look at the end whether it is there.

use super::{Connections, State};
use crate::generator::setters::{SetReport, SetRequest};
use crate::pacing::Due;
use crate::profile::Activity;
use crate::wire::{Frame, Request};

impl Connections {
    /// Sets the user's object, or will when the set before is answered, unless the connection is lost.
    pub fn set(&mut self, due: Due, now_ns: u64) {
        if self.list[due.index].state != State::Joined {
            self.checks.counters.unsent += 1;
            return;
        }
        let setters = self.setters.as_mut().expect("who sets has an object");
        let request = setters.due(due);
        self.send_set(due.index as u32, request, now_ns);
    }

    fn send_set(&mut self, index: u32, request: Option<SetRequest>, now_ns: u64) {
        let Some(SetRequest { object, value }) = request else { return };
        let is_durable = self.is_durable(index);
        let wire = self.plan.wire;
        self.output(index, now_ns, |_, out| wire.set(object, value, is_durable, out));
    }

    fn is_durable(&self, index: u32) -> bool {
        let user = self.list[index as usize].seat.user;
        self.plan.profile.sets.is_some_and(|sets| sets.is_durable(user))
    }

    /// An answer to a set or a get.
    pub(super) fn object_frame(&mut self, index: u32, frame: Frame<'_>, now_ns: u64) {
        match frame {
            Frame::Reply { request: Request::Set, status, reason } => {
                self.set_answered(index, status, reason, now_ns);
            }
            Frame::Found { value } => self.object_found(index, value),
            _ => self.object_found(index, None),
        }
    }

    /// A set was answered: the one that was on its way.
    fn set_answered(&mut self, index: u32, status: u16, reason: &str, now_ns: u64) {
        self.checks.counters.count_refusal(status, reason);
        let is_durable = self.is_durable(index);
        let answered = self.setters.as_mut().and_then(|it| it.answered(index, status == 0));
        let (Some((due, next)), Some(schedule)) = (answered, self.schedule) else {
            self.checks.tally.duplicated += 1;
            return;
        };
        if let (0, Some(setters)) = (status, &mut self.setters) {
            let is_measured = schedule.is_measured(due.intended_ns);
            let latency_ns = now_ns.saturating_sub(due.intended_ns);
            let is_in_time = now_ns < schedule.end_ns;
            setters.measure(is_durable, is_measured.then_some(latency_ns), is_in_time);
            if self.plan.profile.activity == Activity::Set {
                self.checks.count_heard(1, now_ns);
                self.checks.measure(schedule, due.intended_ns, now_ns);
            }
        }
        self.send_set(index, next, now_ns);
    }

    /// Sets that are not answered yet.
    #[must_use]
    pub fn sets_waiting(&self) -> u64 {
        self.setters.as_ref().map_or(0, |setters| setters.waiting())
    }

    /// Objects that are being read.
    #[must_use]
    pub fn objects_reading(&self) -> u64 {
        self.setters.as_ref().map_or(0, |setters| setters.reading())
    }

    /// At the end: asks what everyone's object is.
    pub fn read_back(&mut self, now_ns: u64) {
        let wire = self.plan.wire;
        for index in 0..self.list.len() as u32 {
            let state = self.list[index as usize].state;
            let Some(setters) = self.setters.as_mut().filter(|_| state == State::Joined) else {
                continue;
            };
            let object = setters.read(index);
            self.output(index, now_ns, |_, out| wire.get(object, out));
        }
    }

    /// Somebody was told what an object is.
    fn object_found(&mut self, index: u32, value: Option<i64>) {
        let was_asked = self.setters.as_mut().is_some_and(|setters| setters.found(index, value));
        if !was_asked {
            self.checks.tally.duplicated += 1;
        }
    }

    /// All that was counted of sets, at the end.
    pub(super) fn set_report(&self) -> Option<SetReport> {
        let gone = self.list.iter().filter(|it| it.state != State::Joined).count() as u64;
        self.setters.as_ref().map(|setters| setters.report(gone))
    }
}

#[cfg(test)]
mod tests;
