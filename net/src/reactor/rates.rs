//! What clients may send in which time: how those hear that sent more, and how receiving pauses.
//!
//! Too many messages are refused one by one, by the shard: it counts all that a session hears. Too many
//! bytes are left with the peer: its socket fills, and TCP tells it. So are the pieces of a frame of
//! somebody who has not logged in, from the third on: each would cost a receive, however little it
//! brings. A connection that pauses has no receive under way and holds no buffer.

use warren_core::ids::ConnectionId;
use warren_core::message::Message;
use warren_core::reason::Reason;
use warren_core::turn::{Now, Span};

use super::{NS_PER_MS, Reactor};
use crate::connection::{NEVER, Phase};
use crate::egress::{Encodings, write_notice};
use crate::io::operation::OperationKind;

/// How long a stranger is not heard after the third piece of a frame, and how many times longer after
/// each that follows, until the frame or the login is almost due.
const PIECE_PAUSE_NS: u64 = 64 * NS_PER_MS;
const PIECE_PAUSE_FACTOR: u64 = 16;
/// How long before that it is heard in any case.
const LAST_PIECES_NS: u64 = 1000 * NS_PER_MS;
/// Pieces behind the first that are heard as they come.
const PIECES_AT_ONCE: u8 = 1;

impl Reactor {
    /// Answers a frame that is no message.
    pub(super) fn refuse(&mut self, index: u32, reason: Reason) {
        self.counters.refusals[reason as usize] += 1;
        let limit = self.limit_of(index, reason);
        write_notice(&mut self.notice, "error", reason, limit);
        if let Some(bytes) = self.encode_notice(index) {
            self.egress.push(index, &mut self.connections[index as usize], bytes);
        }
    }

    /// The message that was just written, as the connection hears it; nothing if it hears nothing more.
    pub(super) fn encode_notice(&mut self, index: u32) -> Option<Span> {
        let protocol = self.connections[index as usize].output_protocol()?;
        let notice = std::iter::once(Message::from_checked(&self.notice));
        let gateway = &self.settings.gateway;
        Some(self.egress.encoding(&mut Encodings::default(), protocol, gateway, notice))
    }

    /// Stops receiving for as long as the bytes that have come take.
    pub(super) fn pause_if_over(&mut self, index: u32, now: Now) {
        let connection = &self.connections[index as usize];
        let rate = self.settings.rates_of(connection.is_worker).bytes;
        let bytes = &connection.bytes;
        if bytes.is_over(rate, now.monotonic_ns) {
            self.pause_until(index, bytes.within_ns(rate));
        }
    }

    /// Counts the pieces in which the frames of somebody who has not logged in come.
    pub(super) fn count_piece(&mut self, index: u32, goes_on: bool, now: Now) {
        let connection = &mut self.connections[index as usize];
        if !goes_on {
            if std::mem::take(&mut connection.pieces) > PIECES_AT_ONCE {
                self.resume(index, now);
            }
            return;
        }
        if connection.is_admitted() {
            return;
        }
        connection.pieces = connection.pieces.saturating_add(1);
        if let Some(pauses_before) = connection.pieces.checked_sub(PIECES_AT_ONCE + 1) {
            let factor = PIECE_PAUSE_FACTOR.saturating_pow(u32::from(pauses_before));
            let pause_ns = PIECE_PAUSE_NS.saturating_mul(factor);
            let due_ns = connection.login_due_ns.min(connection.frame_due_ns);
            let last_ns = due_ns.saturating_sub(LAST_PIECES_NS);
            let resume_ns = now.monotonic_ns.saturating_add(pause_ns).min(last_ns);
            if resume_ns > now.monotonic_ns {
                self.pause_until(index, resume_ns);
            }
        }
    }

    fn pause_until(&mut self, index: u32, resume_ns: u64) {
        let connection = &mut self.connections[index as usize];
        if !matches!(connection.phase, Phase::Proxied | Phase::Undetected | Phase::Open(_)) {
            return;
        }
        let was_paused = connection.is_paused();
        connection.resume_ns =
            if was_paused { connection.resume_ns.max(resume_ns) } else { resume_ns };
        self.wheel.advance(index, connection.resume_ns);
        if was_paused {
            return;
        }
        self.counters.connections_paused += 1;
        self.counters.receive_pauses += 1;
        if connection.receive_armed {
            let target = self.user_data(OperationKind::Receive, index);
            self.ring.cancel(self.user_data(OperationKind::Cancel, index), target);
        }
    }

    /// Receives again on a connection that pauses, if it does.
    pub(super) fn resume(&mut self, index: u32, now: Now) {
        let id: ConnectionId = self.id_of(index);
        let connection = &mut self.connections[index as usize];
        if !connection.is_paused() {
            return;
        }
        connection.resume_ns = NEVER;
        // It could not be heard meanwhile.
        connection.heard_ns = connection.heard_ns.max(now.monotonic_ns);
        self.counters.connections_paused -= 1;
        if !connection.receive_armed {
            self.to_receive.push_back(id);
        }
    }
}
