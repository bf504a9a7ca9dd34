//! Connections in TLS: told by their first byte, decrypted before the gateways, encrypted behind
//! them.
//!
//! A handshake costs about a millisecond, as much as thousands of messages, and anybody may ask for
//! one. So a turn makes a few, and then none are made for as long as they took; the others wait in
//! order, their bytes in memory of their own, since receive buffers are everybody's.

use warren_core::ids::ConnectionId;
use warren_core::reason::Reason;
use warren_core::turn::Now;

use super::Reactor;
use super::receive::{Intake, Received};
use crate::connection::{Fault, Phase};
use crate::egress::{Arena, MESSAGES_BYTES_MAX};
use crate::io::operation::OperationKind;
use crate::io::ring::ImmediateSend;
use crate::tls::{TLS_FIRST_BYTE, Tls, TlsIdentity};

/// A buffer for plaintext that a burst has made larger than this is given back.
const PLAINTEXT_BYTES_KEPT_MAX: usize = MESSAGES_BYTES_MAX;

/// What a handshake takes at most, for the time in which none is made after it.
const HANDSHAKE_NS_MAX: u64 = 1_000_000;

impl Reactor {
    /// How many handshakes this turn may make: none until as much time has gone by without any as
    /// the last ones took. What they took is known to be no more than their turn.
    pub(super) fn handshakes_of_turn(&mut self, now: Now) -> usize {
        if let Some((began_ns, count)) = self.handshakes_made.take() {
            let turn_ns = now.monotonic_ns.saturating_sub(began_ns);
            let took_ns = turn_ns.min(HANDSHAKE_NS_MAX.saturating_mul(count as u64));
            self.handshakes_due_ns = now.monotonic_ns.saturating_add(took_ns);
        }
        let rests = now.monotonic_ns < self.handshakes_due_ns;
        if rests { 0 } else { self.settings.tls_handshakes_per_turn_max.max(1) }
    }

    /// The turn has made so many.
    pub(super) fn note_handshakes(&mut self, now: Now, count: usize) {
        if count > 0 {
            self.handshakes_made = Some((now.monotonic_ns, count));
        }
    }

    /// Connections that begin from now on get this certificate.
    pub fn set_tls(&mut self, identity: TlsIdentity) {
        self.settings.tls = Some(identity);
    }

    /// Looks at the first byte of a connection whose protocol is not known.
    pub(super) fn look_for_tls(&mut self, index: u32, first: Option<u8>) -> Result<(), Fault> {
        let connection = &mut self.connections[index as usize];
        let begins = connection.tls.is_none() && connection.partial_bytes() == 0;
        if !begins {
            return Ok(());
        }
        match &self.settings.tls {
            Some(identity) if first == Some(TLS_FIRST_BYTE) => {
                connection.tls = Some(Box::new(Tls::new(identity)));
                self.counters.tls_connections += 1;
                Ok(())
            }
            _ if self.settings.tls_required => Err(Fault(Reason::TlsRequired)),
            _ => Ok(()),
        }
    }

    /// Makes the handshakes whose turn it is.
    pub(super) fn shake_hands(&mut self, intake: &mut Intake<'_>) {
        while intake.handshakes_left > 0 && self.can_take(intake) {
            let Some(id) = self.handshakes.pop_front() else { return };
            let Some(connection) = self.connection(id) else { continue };
            let Some(tls) = &mut connection.tls else { continue };
            let (mut waiting, end) = tls.take_waiting();
            self.counters.tls_waiting_bytes -= waiting.len() as u64;
            if !self.connections[id.index as usize].is_alive() {
                continue;
            }
            self.feed_tls(id, Received::Elsewhere(&mut waiting), intake);
            if let Some(reason) = end {
                self.peer_ended(id, reason, intake);
            }
        }
    }

    /// Decrypts received bytes, and decodes what they say.
    pub(super) fn feed_tls(
        &mut self,
        id: ConnectionId,
        received: Received<'_>,
        intake: &mut Intake<'_>,
    ) {
        let index = id.index;
        let bytes = match &received {
            Received::Buffer { buffer, length } => self.ring.buffers().bytes(*buffer, *length),
            Received::Elsewhere(bytes) => bytes,
        };
        let tls = self.connections[index as usize].tls.as_mut().expect("it is in TLS");
        let was_handshaking = tls.is_handshaking();
        let waits = tls.waiting_bytes() > 0;
        if was_handshaking && (waits || intake.handshakes_left == 0) {
            let result = tls.wait(bytes);
            if result.is_ok() {
                self.counters.tls_waiting_bytes += bytes.len() as u64;
            }
            self.give_back(&received);
            match result {
                Ok(()) if waits => {}
                Ok(()) => self.handshakes.push_back(id),
                Err(_) => self.fail_tls(index, &"too much before its turn"),
            }
            return;
        }
        let mut plaintext = std::mem::take(&mut self.plaintext);
        self.counters.tls_record_bytes -= tls.record_bytes() as u64;
        let result = tls.receive(bytes, &mut plaintext);
        self.counters.tls_record_bytes += tls.record_bytes() as u64;
        let (wants_write, record_began) = (tls.wants_write(), tls.record_began());
        // Only its answers cost: they sign and agree on keys.
        intake.handshakes_left -= usize::from(was_handshaking && (wants_write || result.is_err()));
        self.give_back(&received);
        if !plaintext.is_empty() {
            self.feed_plain(id, Received::Elsewhere(&mut plaintext), intake);
        } else {
            // A half-received frame has its time, in however many records it comes.
            let began = record_began && self.connections[index as usize].partial_bytes() == 0;
            self.time_frame(index, began, intake.now);
        }
        self.keep_plaintext(plaintext);
        if wants_write {
            self.push_nothing(index);
        }
        match result {
            Ok(()) => self.heed_close_notify(id, intake),
            Err(error) => self.fail_tls(index, &error),
        }
    }

    /// The peer may have said, within TLS, that it says no more.
    pub(super) fn heed_close_notify(&mut self, id: ConnectionId, intake: &mut Intake<'_>) {
        let connection = &self.connections[id.index as usize];
        let closed = connection.tls.as_ref().is_some_and(|tls| tls.peer_closed());
        if closed && matches!(connection.phase, Phase::Undetected | Phase::Open(_)) {
            self.peer_ended(id, Reason::PeerClosed, intake);
        }
    }

    /// The peer hears an alert, if rustls has one for it, and nothing more.
    fn fail_tls(&mut self, index: u32, error: &dyn std::fmt::Display) {
        tracing::debug!(connection = index, %error, "TLS failed");
        if self.connections[index as usize].is_alive() {
            self.push_nothing(index);
            self.end_output(index);
            self.leave(index, Reason::TlsFailed);
        }
    }

    /// The connection gets what its TLS has to say, with the rest of the turn's output.
    fn push_nothing(&mut self, index: u32) {
        let nothing = self.egress.raw(&[]);
        self.egress.push(index, &mut self.connections[index as usize], nothing);
    }

    /// Those that leave are to hear within TLS that no more comes.
    pub(super) fn close_tls(&mut self) {
        for at in 0..self.leaving.len() {
            let index = self.leaving[at];
            let connection = &mut self.connections[index as usize];
            let Some(tls) = &mut connection.tls else { continue };
            if !connection.send_broken {
                tls.close();
                self.push_nothing(index);
            }
        }
    }

    /// Encrypts what a recipient gets, as much as its queue may hold, and sends or queues it.
    /// Returns whether more is to follow, which is known when this is sent.
    pub(super) fn seal(&mut self, entry: usize) -> bool {
        let index = self.egress.recipient(entry).index;
        let (room, limit) = self.queue_room(index);
        let connection = &mut self.connections[index as usize];
        let has_queue = connection.queue.is_some();
        let mut plaintext = std::mem::take(&mut self.plaintext);
        let (is_all, dropped) = self.egress.take_messages(entry, room, !has_queue, &mut plaintext);
        // Its end is decided: of what its queue has no room for it hears the last words.
        let is_cut_short = !is_all && has_queue && !connection.is_alive();
        if is_cut_short {
            self.egress.take_last_words(entry, &mut plaintext);
        }
        let tls = connection.tls.as_mut().expect("it is in TLS");
        if let Some(queue) = &mut connection.queue {
            let before = queue.waiting.len();
            tls.seal(&plaintext, &mut queue.waiting);
            if is_all || is_cut_short {
                tls.seal_close(&mut queue.waiting);
            }
            self.counters.send_queue_bytes += (queue.waiting.len() - before) as u64;
            if !is_all && !is_cut_short {
                self.egress.drop_messages(entry);
                self.close_overflowed(index, limit);
            }
            self.send_waiting(index);
        } else {
            let bytes = self.egress.seal(entry, |sealed| {
                tls.seal(&plaintext, sealed);
                if is_all {
                    tls.seal_close(sealed);
                }
            });
            if bytes.length > 0 {
                self.counters.sends += 1;
                self.counters.sent_bytes += u64::from(bytes.length);
                self.sends.push(ImmediateSend {
                    user_data: self.user_data(OperationKind::Send, index),
                    slot: index,
                    arena: Arena::Gathered as u32,
                    start: bytes.start,
                    length: bytes.length,
                });
            }
        }
        self.keep_plaintext(plaintext);
        if dropped > 0 {
            self.frames_stalled(index, dropped);
        }
        !is_all && !has_queue
    }

    fn keep_plaintext(&mut self, mut plaintext: Vec<u8>) {
        plaintext.clear();
        if plaintext.capacity() <= PLAINTEXT_BYTES_KEPT_MAX {
            self.plaintext = plaintext;
        }
    }
}
