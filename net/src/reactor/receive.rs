//! The first part of a turn: completions to inputs.
//!
//! Bytes are decoded as their completions are taken. What a turn cannot take (the shard accepts
//! nothing, or has enough) stays in its receive buffers, in one queue for all connections. When
//! all buffers are there, receives end with "exhausted" and are armed again as buffers come free;
//! meanwhile TCP pushes back.

use warren_core::ids::ConnectionId;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardInputs};

use super::Reactor;
use super::close::is_told_last;
use crate::connection::{Decoding, Fault, Phase};
use crate::io::buffers::BufferId;
use crate::io::operation::{Completion, OperationKind, Outcome};

/// What a connection received and a turn could not take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) id: ConnectionId,
    pub(super) what: HeldWhat,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HeldWhat {
    Bytes {
        buffer: BufferId,
        length: u32,
    },
    /// What it has brought from another shard.
    Luggage,
    End(Reason),
}

/// Bytes of a connection, and where they stand.
#[derive(Debug)]
pub(super) enum Received<'a> {
    /// In a receive buffer, which is given back.
    Buffer { buffer: BufferId, length: u32 },
    /// In memory of our own: decrypted, behind a proxy's header, or brought from another shard.
    Elsewhere(&'a mut [u8]),
}

impl Received<'_> {
    fn buffer(&self) -> Option<BufferId> {
        match self {
            Self::Buffer { buffer, .. } => Some(*buffer),
            Self::Elsewhere(_) => None,
        }
    }
}

/// What a turn takes in.
pub(super) struct Intake<'a> {
    pub(super) now: Now,
    pub(super) inputs: &'a mut ShardInputs,
    /// Frames that it still takes.
    pub(super) frames_left: usize,
    /// Handshakes of TLS that it still makes.
    pub(super) handshakes_left: usize,
}

impl Reactor {
    /// Takes held bytes, then completions, then makes ready to receive more.
    pub(super) fn receive_all(&mut self, now: Now, inputs: &mut ShardInputs) {
        let frames_left = self.settings.inputs_per_turn_max.max(1);
        let handshakes_left = self.handshakes_of_turn(now);
        let mut intake = Intake { now, inputs, frames_left, handshakes_left };
        self.shake_hands(&mut intake);
        self.take_held(&mut intake);
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.take_completions(&mut completions);
        for completion in completions.drain(..) {
            self.complete(completion, &mut intake);
        }
        self.completions = completions;
        self.note_handshakes(now, handshakes_left - intake.handshakes_left);
        self.ring.buffers_mut().publish();
        self.arm_receives();
    }

    /// Tells the shard of connections that have ended.
    pub(super) fn tell_closed(&mut self, inputs: &mut ShardInputs) {
        // Ends after it: what is told of a connection is told before its end.
        inputs.list.append(&mut self.to_tell_frames);
        let closed = self.to_tell_closed.drain(..);
        inputs.list.extend(closed.map(|connection| ShardInput::Closed { connection }));
        inputs.list.append(&mut self.to_tell_departed);
    }

    fn take_held(&mut self, intake: &mut Intake<'_>) {
        while self.can_take(intake) {
            let Some(Held { id, what }) = self.held.pop_front() else { return };
            let Some(connection) = self.connection(id) else {
                self.drop_held(what);
                continue;
            };
            connection.held_count -= 1;
            if !connection.is_alive() {
                self.drop_held(what);
                continue;
            }
            match what {
                HeldWhat::Bytes { buffer, length } => {
                    self.held_buffer_count -= 1;
                    self.feed(id, Received::Buffer { buffer, length }, intake);
                }
                HeldWhat::Luggage => self.unpack(id, intake),
                HeldWhat::End(reason) => self.peer_ended(id, reason, intake),
            }
        }
    }

    fn drop_held(&mut self, what: HeldWhat) {
        if let HeldWhat::Bytes { buffer, .. } = what {
            self.held_buffer_count -= 1;
            self.ring.buffers_mut().give_back(buffer);
        }
    }

    pub(super) fn can_take(&self, intake: &Intake<'_>) -> bool {
        self.accepting_input && intake.frames_left > 0
    }

    fn complete(&mut self, completion: Completion, intake: &mut Intake<'_>) {
        let index = completion.user_data.index();
        match completion.user_data.kind() {
            Some(OperationKind::Receive) => self.received(completion, intake),
            Some(OperationKind::Accept) => self.accepted(completion, intake),
            Some(OperationKind::SendQueued) => self.sent_queued(completion, intake.now),
            Some(OperationKind::Shutdown) => {
                self.connections[index as usize].shutdown_armed = false;
                self.free_when_idle(index);
            }
            Some(OperationKind::Enter) => self.entered(completion, intake),
            Some(OperationKind::Install) => self.installed(completion),
            Some(OperationKind::WakeRead) => self.ring.wake_read(),
            Some(OperationKind::Close) => {
                panic!("slot {index} was closed twice: {:?}", completion.outcome)
            }
            // A cancel that came too late, a peer that is gone, or just a wake. Failed sends are
            // taken where they were made.
            _ => {}
        }
    }

    fn received(&mut self, completion: Completion, intake: &mut Intake<'_>) {
        let index = completion.user_data.index();
        let id = self.id_of(index);
        assert_eq!(
            completion.user_data.generation(),
            id.generation,
            "a slot is closed when its receive has ended"
        );
        let connection = &mut self.connections[index as usize];
        connection.receive_armed = completion.more;
        match completion.outcome {
            Outcome::Done(length @ 1..) => {
                connection.heard_ns = intake.now.monotonic_ns;
                self.counters.receives += 1;
                self.counters.received_bytes += u64::from(length);
                let buffer = completion.buffer.expect("received bytes stand in a buffer");
                let rate = self.settings.rates_of(connection.is_worker).bytes;
                connection.bytes.charge(rate, u64::from(length), intake.now.monotonic_ns);
                self.take_bytes(id, buffer, length, intake);
                self.pause_if_over(index, intake.now);
                self.receive_again(id);
            }
            Outcome::BuffersExhausted => {
                self.counters.receive_buffers_exhausted += 1;
                self.receive_again(id);
            }
            Outcome::Cancelled | Outcome::WouldBlock => self.receive_again(id),
            Outcome::Done(0) | Outcome::TableFull | Outcome::Failed(_) => {
                if let Some(buffer) = completion.buffer {
                    self.ring.buffers_mut().give_back(buffer);
                }
                let broken = self.connections[index as usize].send_broken;
                let orderly = completion.outcome == Outcome::Done(0) && !broken;
                let reason = if orderly { Reason::PeerClosed } else { Reason::SocketError };
                self.receive_ended(id, reason, intake);
            }
        }
    }

    /// Decodes received bytes now, later or never.
    fn take_bytes(
        &mut self,
        id: ConnectionId,
        buffer: BufferId,
        length: u32,
        intake: &mut Intake<'_>,
    ) {
        let connection = &self.connections[id.index as usize];
        if !connection.is_alive() {
            self.ring.buffers_mut().give_back(buffer);
        } else if matches!(connection.phase, Phase::Moving(_)) {
            self.keep_unread(id.index, buffer, length);
        } else if connection.held_count == 0 && self.can_take(intake) {
            self.feed(id, Received::Buffer { buffer, length }, intake);
        } else {
            self.hold(id, HeldWhat::Bytes { buffer, length });
        }
    }

    pub(super) fn hold(&mut self, id: ConnectionId, what: HeldWhat) {
        self.connections[id.index as usize].held_count += 1;
        self.held_buffer_count += usize::from(matches!(what, HeldWhat::Bytes { .. }));
        self.held.push_back(Held { id, what });
    }

    /// Holds what comes before all else that is held of the connection.
    pub(super) fn hold_first(&mut self, id: ConnectionId, what: HeldWhat) {
        self.connections[id.index as usize].held_count += 1;
        self.held.push_front(Held { id, what });
    }

    /// If its receive is no longer under way: it is to be armed again, or was waited for.
    fn receive_again(&mut self, id: ConnectionId) {
        let connection = &self.connections[id.index as usize];
        if connection.receive_armed {
            return;
        }
        match connection.phase {
            Phase::Closing => self.free_when_idle(id.index),
            // It is received from at its new place.
            Phase::Moving(_) => {}
            _ if connection.is_paused() => {}
            _ => self.to_receive.push_back(id),
        }
    }

    fn receive_ended(&mut self, id: ConnectionId, reason: Reason, intake: &mut Intake<'_>) {
        let connection = &mut self.connections[id.index as usize];
        connection.receive_armed = false;
        connection.receive_ended = true;
        match connection.phase {
            Phase::Proxied | Phase::Undetected | Phase::Open(_) if connection.held_count > 0 => {
                self.hold(id, HeldWhat::End(reason));
            }
            Phase::Proxied | Phase::Undetected | Phase::Open(_) => {
                self.peer_ended(id, reason, intake);
            }
            Phase::Moving(_) if reason == Reason::SocketError => self.leave(id.index, reason),
            Phase::Lingering => self.start_closing(id.index),
            Phase::Closing => self.free_when_idle(id.index),
            // The rest of the output goes first.
            Phase::Ended(_) | Phase::Leaving | Phase::Draining | Phase::Free => {}
            // The end is received again at the new place.
            Phase::Moving(_) => {}
        }
    }

    /// All that the peer said was heard, or waits within TLS: then so does the end.
    pub(super) fn peer_ended(&mut self, id: ConnectionId, reason: Reason, intake: &mut Intake<'_>) {
        let tls = &mut self.connections[id.index as usize].tls;
        if let Some(tls) = tls.as_mut().filter(|tls| tls.waiting_bytes() > 0) {
            tls.end_waits(reason);
            return;
        }
        if reason == Reason::PeerClosed {
            self.end_input(id, intake.now, intake.inputs);
        } else {
            self.leave(id.index, reason);
        }
    }

    /// Arms receives again: as many as there are free buffers, in the order in which they ended,
    /// so that none of many is always too late for few buffers.
    fn arm_receives(&mut self) {
        for _ in 0..self.ring.buffers().free_count() {
            let Some(id) = self.to_receive.pop_front() else { return };
            let Some(connection) = self.connection(id) else { continue };
            if connection.receive_armed || connection.receive_ended || connection.is_paused() {
                continue;
            }
            if !matches!(connection.phase, Phase::Closing | Phase::Moving(_)) {
                self.arm_receive(id.index);
            }
        }
    }

    pub(super) fn arm_receive(&mut self, index: u32) {
        self.connections[index as usize].receive_armed = true;
        self.ring.receive(self.user_data(OperationKind::Receive, index), index);
    }

    /// Decodes received bytes, decrypted before if the connection is in TLS, and behind what a proxy
    /// has to say.
    pub(super) fn feed(
        &mut self,
        id: ConnectionId,
        received: Received<'_>,
        intake: &mut Intake<'_>,
    ) {
        match self.connections[id.index as usize].phase {
            Phase::Proxied => {
                self.feed_proxied(id, received, intake);
                return;
            }
            Phase::Undetected => {
                let first = self.bytes_of(&received).first().copied();
                if let Err(Fault(reason)) = self.look_for_tls(id.index, first) {
                    self.give_back(&received);
                    self.close(id.index, reason);
                    return;
                }
            }
            _ => {}
        }
        if self.connections[id.index as usize].tls.is_some() {
            self.feed_tls(id, received, intake);
        } else {
            self.feed_plain(id, received, intake);
        }
    }

    pub(super) fn bytes_of<'a>(&'a self, received: &'a Received<'_>) -> &'a [u8] {
        match received {
            Received::Buffer { buffer, length } => self.ring.buffers().bytes(*buffer, *length),
            Received::Elsewhere(bytes) => bytes,
        }
    }

    pub(super) fn give_back(&mut self, received: &Received<'_>) {
        if let Some(buffer) = received.buffer() {
            self.ring.buffers_mut().give_back(buffer);
        }
    }

    /// Decodes what nobody has encrypted.
    pub(super) fn feed_plain(
        &mut self,
        id: ConnectionId,
        received: Received<'_>,
        intake: &mut Intake<'_>,
    ) {
        let connection = &mut self.connections[id.index as usize];
        let was_undetected = connection.phase == Phase::Undetected;
        let partial_before = connection.partial_bytes() as u64;
        let is_admitted = connection.is_admitted();
        let mut decoding = Decoding {
            settings: if is_admitted { &self.settings.gateway } else { &self.stranger_gateway },
            fixed_protocol: self.settings.fixed_protocol,
            upgrade: &self.settings.upgrade,
            inputs: intake.inputs,
            spare: &mut self.spare,
            rates: self.settings.rates_of(connection.is_worker),
            now_ns: intake.now.monotonic_ns,
            refused: &mut self.refused,
            messages: 0,
            answered: 0,
            frames: 0,
            frame_began: false,
            answer: &mut self.answer,
            client_closed: false,
        };
        let (bytes, used) = match received {
            Received::Buffer { buffer, length } => {
                (self.ring.buffers_mut().bytes_mut(buffer, length), Some(buffer))
            }
            Received::Elsewhere(bytes) => (bytes, None),
        };
        let result = connection.feed(id, bytes, &mut decoding);
        let Decoding { messages, frames, frame_began, client_closed, .. } = decoding;
        self.counters.messages_in += messages;
        self.counters.partial_frame_bytes += connection.partial_bytes() as u64;
        self.counters.partial_frame_bytes -= partial_before;
        intake.frames_left = intake.frames_left.saturating_sub(frames as usize);
        let phase = connection.phase;
        if let Some(buffer) = used {
            self.ring.buffers_mut().give_back(buffer);
        }
        if let Phase::Open(protocol) = phase
            && was_undetected
        {
            self.opened(id.index, protocol, intake.now);
        }
        self.time_frame(id.index, frame_began, intake.now);
        self.answer_frames(id.index);
        match (result, phase) {
            (Ok(()), _) if client_closed => self.end_input(id, intake.now, intake.inputs),
            (Ok(()), _) => {}
            // The frames before it are still answered.
            (Err(Fault(reason)), Phase::Open(_)) if is_told_last(reason) => {
                self.leave(id.index, reason);
            }
            (Err(Fault(reason)), Phase::Open(_)) => {
                self.refuse(id.index, reason);
                self.leave(id.index, reason);
            }
            (Err(Fault(reason)), _) => self.close(id.index, reason),
        }
    }

    /// Sends what the protocol answers by itself, and tells of refused frames.
    fn answer_frames(&mut self, index: u32) {
        if !self.answer.is_empty() {
            let bytes = self.egress.raw(&self.answer);
            self.answer.clear();
            let connection = &mut self.connections[index as usize];
            if !connection.send_broken {
                self.egress.push(index, connection, bytes);
            }
        }
        let mut refused = std::mem::take(&mut self.refused);
        for reason in refused.drain(..) {
            self.refuse(index, reason);
        }
        self.refused = refused;
    }
}
