//! The end of a connection: told why, given time to hear it, and taken apart in an order that
//! neither loses its last words nor lets an operation meet the slot's next user.

use std::net::Shutdown;

use warren_core::ids::ConnectionId;
use warren_core::message::Message;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardInputs};

use super::Reactor;
use crate::connection::{Connection, EGRESS_NONE, NEVER, Phase};
use crate::egress::{Encodings, is_told, write_notice};
use crate::gateway::websocket::{write_close, write_close_answer};
use crate::gateway::{Protocol, closed_line};
use crate::io::operation::{GENERATION_MASK, OperationKind};

/// Milliseconds that the shard has to answer a client that has ended its side, and to ask for the
/// close. It does so as soon as all is answered; this is for an answer that never comes.
const ENDED_MS_MAX: u64 = 30_000;

impl Reactor {
    /// The peer has said all it will say. If the shard knows it, it gets its answers, and leaves
    /// when the shard asks for the close.
    pub(super) fn end_input(&mut self, id: ConnectionId, now: Now, inputs: &mut ShardInputs) {
        let index = id.index;
        let connection = &mut self.connections[index as usize];
        let protocol = match connection.phase {
            Phase::Open(protocol) => protocol,
            // It has said so itself, in a WebSocket close frame.
            Phase::Ended(_) => return,
            _ => {
                self.leave(index, Reason::PeerClosed);
                return;
            }
        };
        if connection.send_broken {
            self.leave(index, Reason::SocketError);
            return;
        }
        connection.phase = Phase::Ended(protocol);
        self.counters.partial_frame_bytes -= connection.partial_bytes() as u64;
        connection.discard_partial(&mut self.spare);
        inputs.list.push(ShardInput::Ended { connection: id });
        self.wheel.schedule(index, Self::deadline_after_ms(now, ENDED_MS_MAX));
    }

    /// Decides the end of a connection, unless it was decided before, and tells the client.
    pub(super) fn close(&mut self, index: u32, reason: Reason) {
        let limit = self.limit_of(index, reason);
        let connection = &mut self.connections[index as usize];
        if !connection.is_alive() {
            return;
        }
        if is_told(reason) && !connection.send_broken {
            let bytes = match connection.protocol {
                Some(protocol) => {
                    write_notice(&mut self.notice, "closed", reason, limit);
                    let notice = Message::from_checked(&self.notice);
                    let gateway = &self.settings.gateway;
                    self.egress.encoding(
                        &mut Encodings::default(),
                        protocol,
                        gateway,
                        std::iter::once(notice),
                    )
                }
                None if reason == Reason::PolicyRequest => {
                    self.egress.raw(&self.settings.flash_policy)
                }
                None => self.egress.raw(closed_line(reason).as_bytes()),
            };
            self.egress.push_last_words(index, connection, bytes);
        }
        self.say_goodbye(index, reason);
        self.end_output(index);
        self.leave(index, reason);
    }

    /// Sends a WebSocket client the close frame, behind all that was pushed already.
    fn say_goodbye(&mut self, index: u32, reason: Reason) {
        let connection = &mut self.connections[index as usize];
        let speaks = connection.output_protocol().is_some_and(Protocol::is_websocket);
        if !speaks || reason == Reason::SocketError {
            return;
        }
        self.notice.clear();
        match connection.close_code {
            Some(code) if reason == Reason::PeerClosed => {
                write_close_answer(code, &mut self.notice)
            }
            _ => write_close(reason, &mut self.notice),
        }
        let bytes = self.egress.raw(&self.notice);
        self.egress.push_last_words(index, connection, bytes);
    }

    /// Those whose last frame was a fault leave behind the answers to the frames before it.
    pub(super) fn say_goodbyes(&mut self) {
        for position in 0..self.leaving.len() {
            let index = self.leaving[position];
            if let Some(reason) = self.connections[index as usize].leave_reason {
                if is_told_last(reason) {
                    let limit = self.limit_of(index, reason);
                    write_notice(&mut self.notice, "closed", reason, limit);
                    if let Some(bytes) = self.encode_notice(index) {
                        let connection = &mut self.connections[index as usize];
                        self.egress.push_last_words(index, connection, bytes);
                    }
                }
                self.say_goodbye(index, reason);
            }
        }
    }

    /// Nothing more is sent to it than what was pushed already.
    pub(super) fn end_output(&mut self, index: u32) {
        self.connections[index as usize].protocol = None;
    }

    /// The end is decided. What the shard still says in this turn is sent.
    pub(super) fn leave(&mut self, index: u32, reason: Reason) {
        let id = self.id_of(index);
        let connection = &mut self.connections[index as usize];
        let is_admitted = connection.is_admitted();
        let protocol = match connection.phase {
            Phase::Proxied | Phase::Undetected => {
                self.counters.connections_undetected -= 1;
                "undetected"
            }
            Phase::Open(protocol) | Phase::Ended(protocol) | Phase::Moving(protocol) => {
                self.counters.connections[protocol as usize] -= 1;
                self.to_tell_closed.push(id);
                protocol.label()
            }
            _ => return,
        };
        self.tell_departed(index, false);
        let connection = &mut self.connections[index as usize];
        self.counters.connections_unauthenticated -= u64::from(!is_admitted);
        self.counters.closes[reason as usize] += 1;
        // Where the level is off, this is one relaxed load.
        tracing::debug!(connection = index, protocol, reason = reason.word(), "closed");
        self.counters.partial_frame_bytes -= connection.partial_bytes() as u64;
        connection.discard_partial(&mut self.spare);
        connection.luggage = None;
        if let Some(tls) = &mut connection.tls {
            self.counters.tls_waiting_bytes -= tls.take_waiting().0.len() as u64;
        }
        connection.phase = Phase::Leaving;
        connection.leave_reason = Some(reason);
        if connection.is_paused() {
            // Its end is waited for.
            connection.resume_ns = NEVER;
            self.counters.connections_paused -= 1;
            self.to_receive.extend((!connection.receive_armed).then_some(id));
        }
        self.wheel.cancel(index);
        self.leaving.push(index);
    }

    /// The turn's output has been sent, or queued: those that leave go on.
    pub(super) fn finish_leaving(&mut self, now: Now) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for index in leaving.drain(..) {
            self.end_output(index);
            let connection = &mut self.connections[index as usize];
            if connection.queue.is_some() {
                connection.phase = Phase::Draining;
                self.wheel.schedule(index, Self::deadline_after_ms(now, self.settings.linger_ms));
            } else {
                self.drained(index, now);
            }
        }
        self.leaving = leaving;
    }

    /// All is sent. If the peer has not ended its side, it is told that ours has, and what it still
    /// sends is discarded: closing at once would make the kernel reset the connection, and the
    /// client might never see the reason. One in the slot that is kept for those who are too many
    /// makes room for the next; what it said before it heard the reason has been received.
    pub(super) fn drained(&mut self, index: u32, now: Now) {
        let connection = &mut self.connections[index as usize];
        if connection.receive_ended || connection.send_broken || connection.is_surplus {
            self.start_closing(index);
            return;
        }
        connection.phase = Phase::Lingering;
        self.shut_down(index, Shutdown::Write);
        self.wheel.schedule(index, Self::deadline_after_ms(now, self.settings.linger_ms));
    }

    pub(super) fn shut_down(&mut self, index: u32, how: Shutdown) {
        let user_data = self.user_data(OperationKind::Shutdown, index);
        let connection = &mut self.connections[index as usize];
        if !connection.shutdown_armed {
            connection.shutdown_armed = true;
            self.ring.shutdown(user_data, index, how);
        }
    }

    /// Cancels what is under way; the last completion frees the slot.
    pub(super) fn start_closing(&mut self, index: u32) {
        self.wheel.cancel(index);
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Closing;
        let (receives, sends) = (connection.receive_armed, connection.send_in_flight());
        let cancel = self.user_data(OperationKind::Cancel, index);
        if receives {
            self.ring.cancel(cancel, self.user_data(OperationKind::Receive, index));
        }
        if sends {
            self.ring.cancel(cancel, self.user_data(OperationKind::SendQueued, index));
        }
        self.free_when_idle(index);
    }

    /// Closes the slot if no operation on it is under way. From here on the kernel may give it to
    /// a new connection: the accept can only complete after the close.
    pub(super) fn free_when_idle(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.phase != Phase::Closing || connection.has_operations() {
            return;
        }
        assert_eq!(connection.egress_entry, EGRESS_NONE, "its output has left");
        self.ring.close(self.user_data(OperationKind::Close, index), index);
        let connection = &mut self.connections[index as usize];
        self.counters.send_queue_bytes -= connection.queue_bytes() as u64;
        self.counters.tls_connections -= u64::from(connection.tls.is_some());
        self.counters.tls_record_bytes -= connection.record_bytes() as u64;
        let generation = (connection.generation + 1) & GENERATION_MASK;
        *connection = Connection::of_generation(generation);
        self.open_count -= 1;
        self.hand_overs.slot_freed();
        self.accept();
    }
}

/// Whether a client that goes on for too long hears its end behind the answers, which are its
/// shard's, to what came before.
pub(super) fn is_told_last(reason: Reason) -> bool {
    matches!(reason, Reason::MessageRate | Reason::ByteRate)
}
