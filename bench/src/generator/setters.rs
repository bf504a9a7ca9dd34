//! Users who set a field of an object of their own: what is due, what is on its way, and what has to be
//! there at the end. Pure: times in, requests out.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::histogram::Latencies;
use crate::pacing::Due;

/// What was counted and measured of sets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SetReport {
    /// Sets that were sent.
    pub sent: u64,
    /// Of those, such as were acknowledged.
    pub acknowledged: u64,
    /// Of these again, such as were durable.
    pub durable: u64,
    /// Sets that were refused.
    pub refused: u64,
    /// Sets without an answer, and sets that waited for it.
    pub unanswered: u64,
    /// Durable sets of the measured part, acknowledged within it.
    pub durable_in_time: u64,
    /// Objects that were read at the end.
    pub read_back: u64,
    /// Objects that could not be read at the end.
    pub unread: u64,
    /// Objects that were not, at the end, what was acknowledged or sent later.
    pub lost: u64,
    /// Intended send to acknowledgement, of measured durable sets.
    pub durable_latencies: Latencies,
    /// The same of those that were answered when they were applied.
    pub applied_latencies: Latencies,
}

impl SetReport {
    /// Adds that of another generator.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.durable += other.durable;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.durable_in_time += other.durable_in_time;
        self.read_back += other.read_back;
        self.unread += other.unread;
        self.lost += other.lost;
        self.durable_latencies.merge(&other.durable_latencies);
        self.applied_latencies.merge(&other.applied_latencies);
    }

    /// Whether everything that was acknowledged was there.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.unanswered + self.unread + self.lost
    }
}

/// One user's object.
#[derive(Debug, Default)]
struct Setter {
    object: u64,
    /// Sets whose time has come and that are not answered, oldest first: the first is on its way.
    due: VecDeque<Due>,
    /// The value that was sent last, and the last that was acknowledged.
    sent: u32,
    acknowledged: u32,
    is_reading: bool,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetRequest {
    pub(super) object: u64,
    pub(super) value: u32,
}

/// The objects of all users of a generator.
#[derive(Debug, Default)]
pub(super) struct Setters {
    list: Vec<Setter>,
    /// Sets that are not answered.
    waiting: u64,
    /// Objects that are being read.
    reading: u64,
    report: SetReport,
}

impl Setters {
    pub(super) fn new(user_count: u32) -> Self {
        Self { list: (0..user_count).map(|_| Setter::default()).collect(), ..Self::default() }
    }

    /// The user's object is there.
    pub(super) fn made(&mut self, index: u32, object: u64) {
        self.list[index as usize].object = object;
    }

    /// Sets that are not answered.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Objects that are being read.
    pub(super) fn reading(&self) -> u64 {
        self.reading
    }

    /// A set is due: the request, unless another is on its way.
    pub(super) fn due(&mut self, due: Due) -> Option<SetRequest> {
        self.waiting += 1;
        let setter = &mut self.list[due.index];
        setter.due.push_back(due);
        (setter.due.len() == 1).then(|| self.next(due.index)).flatten()
    }

    fn next(&mut self, index: usize) -> Option<SetRequest> {
        let setter = &mut self.list[index];
        // Numbers are counted from 0, and so is the value before the first.
        let value = setter.due.front()?.number + 1;
        setter.sent = value;
        self.report.sent += 1;
        Some(SetRequest { object: setter.object, value })
    }

    /// The set that was on its way was answered, well or not: which it was, and the next request. Nothing
    /// when none was.
    pub(super) fn answered(
        &mut self,
        index: u32,
        is_granted: bool,
    ) -> Option<(Due, Option<SetRequest>)> {
        let setter = &mut self.list[index as usize];
        let due = setter.due.pop_front()?;
        self.waiting -= 1;
        if is_granted {
            setter.acknowledged = due.number + 1;
            self.report.acknowledged += 1;
        } else {
            self.report.refused += 1;
        }
        Some((due, self.next(index as usize)))
    }

    /// Notes what an acknowledged set has shown.
    pub(super) fn measure(&mut self, is_durable: bool, measured: Option<u64>, is_in_time: bool) {
        self.report.durable += u64::from(is_durable);
        let Some(latency_ns) = measured else { return };
        if is_durable {
            self.report.durable_latencies.record_ns(latency_ns);
            self.report.durable_in_time += u64::from(is_in_time);
        } else {
            self.report.applied_latencies.record_ns(latency_ns);
        }
    }

    /// The user is gone: nothing that it sent will be answered.
    pub(super) fn lost(&mut self, index: u32) {
        let setter = &mut self.list[index as usize];
        let unanswered = setter.due.len() as u64;
        setter.due.clear();
        self.waiting -= unanswered;
        self.report.unanswered += unanswered;
        if std::mem::take(&mut setter.is_reading) {
            self.reading -= 1;
            self.report.unread += 1;
        }
    }

    /// At the end: the object that a user has to read.
    pub(super) fn read(&mut self, index: u32) -> u64 {
        self.reading += 1;
        let setter = &mut self.list[index as usize];
        setter.is_reading = true;
        setter.object
    }

    /// The value that an object has at the end, if it has one. False when nobody asked.
    pub(super) fn found(&mut self, index: u32, value: Option<i64>) -> bool {
        let setter = &mut self.list[index as usize];
        if !std::mem::take(&mut setter.is_reading) {
            return false;
        }
        self.reading -= 1;
        self.report.read_back += 1;
        let right = i64::from(setter.acknowledged)..=i64::from(setter.sent);
        self.report.lost += u64::from(!value.is_some_and(|value| right.contains(&value)));
        true
    }

    /// All of it, at the end. So many users could not be asked.
    pub(super) fn report(&self, unasked: u64) -> SetReport {
        let mut report = self.report.clone();
        report.unanswered += self.waiting;
        report.unread += self.reading + unasked;
        report
    }
}

#[cfg(test)]
mod tests;
