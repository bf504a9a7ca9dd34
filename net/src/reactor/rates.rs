//! What clients may send in which time: how those hear that sent more, and how receiving pauses.
//!
//! Too many messages are refused one by one, by the shard: it counts all that a session hears. Too many bytes are left with the peer: its socket
//! fills, and TCP tells it. A connection that pauses has no receive under way and holds no buffer.

use warren_core::ids::ConnectionId;
use warren_core::message::Message;
use warren_core::reason::Reason;
use warren_core::turn::{Now, Span};

use super::Reactor;
use crate::connection::{NEVER, Phase};
use crate::egress::{Encodings, write_notice};
use crate::io::operation::OperationKind;

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
        let rate = self.settings.rates.bytes;
        let connection = &mut self.connections[index as usize];
        let is_open =
            matches!(connection.phase, Phase::Proxied | Phase::Undetected | Phase::Open(_));
        if !is_open || !connection.bytes.is_over(rate, now.monotonic_ns) {
            return;
        }
        let was_paused = connection.is_paused();
        connection.resume_ns = connection.bytes.within_ns(rate);
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
