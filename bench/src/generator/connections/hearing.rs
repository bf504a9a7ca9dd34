//! What users hear: bytes become frames, and each is checked and counted.

use super::{Connection, Connections, Fault};
use crate::payload::Payload;
use crate::wire::{Decoded, Frame, Place, Request, name_number};

impl Connections {
    /// Takes in what a connection received.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn received(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Result<(), Fault> {
        let mut partial = std::mem::take(&mut self.list[index as usize].partial);
        if partial.is_empty() {
            let consumed = self.frames(index, bytes, now_ns)?;
            partial.extend_from_slice(&bytes[consumed..]);
        } else {
            partial.extend_from_slice(bytes);
            let consumed = self.frames(index, &partial, now_ns)?;
            if consumed == partial.len() {
                partial = Vec::new();
            } else {
                partial.drain(..consumed);
            }
        }
        self.list[index as usize].partial = partial;
        Ok(())
    }

    /// Takes in whole frames and tells how many bytes they are.
    fn frames(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Result<usize, Fault> {
        let mut position = 0;
        loop {
            match self.plan.wire.decode(&bytes[position..]) {
                Decoded::Incomplete => return Ok(position),
                Decoded::Fault => {
                    self.checks.counters.faults += 1;
                    return Err(Fault::Protocol);
                }
                Decoded::Frame { consumed, frame } => {
                    position += consumed;
                    self.frame(index, frame, now_ns)?;
                }
            }
        }
    }

    fn frame(&mut self, index: u32, frame: Frame<'_>, now_ns: u64) -> Result<(), Fault> {
        self.take_frame(index, frame, now_ns)?;
        if self.returns.is_some() && frame.is_counted() {
            self.count(index, now_ns);
        }
        Ok(())
    }

    fn take_frame(&mut self, index: u32, frame: Frame<'_>, now_ns: u64) -> Result<(), Fault> {
        let counters = &mut self.checks.counters;
        match frame {
            Frame::World(frame) => match &mut self.worlds {
                Some(worlds) => worlds.frame(index as usize, &frame, now_ns, &mut self.checks),
                None => self.checks.tally.corrupted += 1,
            },
            Frame::Heard { sequence, place, text } => {
                self.checks.count_heard(1, now_ns);
                if !self.heard(index, sequence, place, text, now_ns) {
                    self.checks.tally.corrupted += 1;
                }
            }
            Frame::Reply { request: Request::Say, status, reason } => {
                counters.replies += 1;
                counters.count_refusal(status, reason);
                if let Some(returns) = &mut self.returns {
                    returns.line_answered(index);
                }
            }
            Frame::Made { object } => return self.made(index, object, now_ns),
            Frame::Found { .. } | Frame::Reply { request: Request::Get | Request::Set, .. } => {
                self.object_frame(index, frame, now_ns);
            }
            Frame::Entered { world, entity } => {
                if let Some(worlds) = &mut self.worlds {
                    worlds.entered(index as usize, world, entity);
                }
                return self.entered(index, 0, "", now_ns);
            }
            Frame::Reply {
                request: Request::Login | Request::Create | Request::Join,
                status,
                reason,
            } => {
                return self.entered(index, status, reason, now_ns);
            }
            Frame::Reply { request: Request::Resume, status, reason } => {
                return self.resume_refused(index, status, reason, now_ns);
            }
            Frame::Session { request: Request::Resume, pass } => {
                return self.resumed(index, pass, now_ns);
            }
            Frame::Session { pass, .. } => {
                if let Some(returns) = &mut self.returns {
                    returns.logged_in(index, pass)?;
                }
                return self.entered(index, 0, "", now_ns);
            }
            Frame::Closed { reason } => {
                if let Some(returns) = &mut self.returns {
                    returns.told(index, reason);
                }
            }
            Frame::Reply { request: Request::Ping, status, reason } => {
                counters.count_refusal(status, reason);
                self.answered(index, now_ns);
            }
            Frame::Heartbeat => {
                counters.heartbeats += 1;
                self.list[index as usize].beats.beat();
            }
            Frame::Presence => counters.presence += 1,
            Frame::Numbered { sequence, room } => {
                counters.presence += 1;
                let Connection { seat, listener, .. } = &mut self.list[index as usize];
                if room.is_none_or(|room| name_number(room, 'r') == Some(seat.room)) {
                    listener.number(&mut self.checks.tally, sequence);
                } else {
                    self.checks.tally.corrupted += 1;
                }
            }
            Frame::Other | Frame::Aside => {}
        }
        Ok(())
    }

    /// A ping was answered: the oldest, since a server answers them in their order.
    fn answered(&mut self, index: u32, now_ns: u64) {
        let Connection { seat, awaited, .. } = &mut self.list[index as usize];
        let Some(number) = awaited.pop_front() else {
            self.checks.tally.duplicated += 1;
            return;
        };
        self.checks.awaited -= 1;
        let (Some(number), Some(schedule)) = (number, self.schedule) else {
            self.checks.counters.heartbeats += 1;
            return;
        };
        let user = seat.user;
        self.checks.count_heard(1, now_ns);
        self.checks.tally.delivered[user as usize] += 1;
        self.checks.measure(schedule, schedule.intended_ns(user, number), now_ns);
    }

    /// Checks a message and notes it; false when it is not one that was said here.
    fn heard(
        &mut self,
        index: u32,
        sequence: u64,
        place: Option<Place<'_>>,
        text: &str,
        now_ns: u64,
    ) -> bool {
        let Connection { seat, listener, .. } = &mut self.list[index as usize];
        let profile = &self.plan.profile;
        let length = profile.line_bytes();
        let Ok(said) = Payload::decode(self.plan.run, length, text) else { return false };
        let Some(schedule) = self.schedule else { return false };
        let Some(line) = profile.line(said.user, said.number) else { return false };
        let placed = place.is_none_or(|place| {
            name_number(place.room, 'r') == Some(seat.room)
                && name_number(place.from, 'u') == Some(said.user)
        });
        if !placed
            || said.user >= self.plan.users
            || self.rooms.of(said.user) != seat.room
            || said.number >= schedule.message_count(said.user)
            || said.intended_ns != schedule.intended_ns(said.user, said.number)
        {
            return false;
        }
        let checks = &mut self.checks;
        let place = self.places.of(said.user, line);
        listener.note(&mut checks.tally, sequence, place, said.user, said.number);
        match &mut self.returns {
            None if self.worlds.is_some() => {
                checks.measure_line(schedule, said.intended_ns, now_ns);
            }
            None => checks.measure(schedule, said.intended_ns, now_ns),
            Some(returns) => returns.measure_line(index, schedule, said, now_ns),
        }
        true
    }
}
