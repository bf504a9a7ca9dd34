//! The sockets of users who are cut and come back. Each user has two in turn, since the old one may
//! not be closed yet when the new one opens.

use anyhow::{Context as _, Result};

use super::{Engine, Run, Socket};
use crate::clock;
use crate::generator::control::{Event, StormReport};
use crate::generator::tls::TlsClient;
use crate::ring::Leave;

/// What a generator knows of its storm.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// CPU and time at the cut.
    cut: Option<(u64, u64)>,
    /// How many users were cut.
    cut_count: u32,
    /// What it took until all of them were back.
    taken: Option<(u64, u64)>,
}

/// Who is cut without a word: every second user's connection is reset, the others' are closed.
pub(super) fn leaves_by(user: u32) -> Leave {
    if user.is_multiple_of(2) { Leave::Close } else { Leave::Reset }
}

impl Engine {
    /// Cuts everyone when it is time to, and lets those come back whose time has come.
    pub(super) fn storm(&mut self, now_ns: u64) -> Result<()> {
        let (Some(storm), Some(Run { schedule, .. })) = (self.plan.profile.storm, &self.run) else {
            return Ok(());
        };
        if self.course.cut.is_none() {
            if now_ns < storm.cut_ns(schedule) {
                return Ok(());
            }
            self.course.cut = Some((clock::process_cpu_ns(), now_ns));
            self.cut_all(now_ns);
        }
        while let Some(index) = self.connections.take_return(clock::monotonic_ns()) {
            self.come_back(index)?;
        }
        self.tell_when_back(now_ns)
    }

    fn cut_all(&mut self, now_ns: u64) {
        for index in 0..self.plan.user_count() {
            if self.connections.cut(index, now_ns) {
                self.course.cut_count += 1;
                self.abandon(self.slots[index as usize]);
            }
        }
    }

    fn come_back(&mut self, index: u32) -> Result<()> {
        let (count, now_ns) = (self.plan.user_count(), clock::monotonic_ns());
        let slots =
            [(self.slots[index as usize] + count) % (2 * count), self.slots[index as usize]];
        let Some(slot) = slots.into_iter().find(|slot| !self.sockets[*slot as usize].taken) else {
            self.connections.postpone_return(index, now_ns);
            return Ok(());
        };
        let (seat, source, address) = self.way(index);
        // Times are taken before: a connect is a part of a resume.
        let tls = self.tls.as_ref().map(TlsClient::connection).transpose()?;
        self.slots[index as usize] = slot;
        self.ring
            .connect_begun(slot, source, address, leaves_by(seat.user))
            .context("a user cannot connect again")?;
        self.sockets[slot as usize] = Socket::opened(tls.map(Box::new));
        self.connections.returning(index, now_ns);
        Ok(())
    }

    /// Tells the parent that all users of this generator are back, once.
    fn tell_when_back(&mut self, now_ns: u64) -> Result<()> {
        let Some((cpu_ns, cut_ns)) = self.course.cut else { return Ok(()) };
        let all = self.connections.joined() == self.course.cut_count;
        if self.course.taken.is_some() || !all {
            return Ok(());
        }
        self.course.taken = Some((clock::process_cpu_ns() - cpu_ns, now_ns - cut_ns));
        Event::Back.write()
    }

    /// Adds what the storm took to what was counted of it. Of one in which not all came back, all
    /// that there was until now.
    pub(super) fn complete_storm(&self, report: &mut StormReport) {
        let Some((cpu_ns, cut_ns)) = self.course.cut else { return };
        let until_now = || (clock::process_cpu_ns() - cpu_ns, clock::monotonic_ns() - cut_ns);
        (report.cpu_ns, report.elapsed_ns) = self.course.taken.unwrap_or_else(until_now);
    }

    /// Leaves a connection: its slot is free when nothing of it is under way.
    pub(super) fn abandon(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        socket.open = false;
        socket.tls = None;
        if socket.receiving {
            self.ring.stop_receiving(slot);
        }
        self.free(slot);
    }

    /// Frees the slot of a connection that was left, if nothing of it is under way. Only users who
    /// come back need that.
    pub(super) fn free(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        let over = socket.taken && !socket.open && !socket.receiving && !socket.sending;
        if over && self.plan.profile.storm.is_some() {
            socket.taken = false;
            self.ring.close(slot);
        }
    }
}
