//! How connections begin: accepted, counted as strangers, and admitted when their clients have
//! logged in.

use std::net::IpAddr;
use std::sync::Arc;

use warren_core::bans::Bans;
use warren_core::ids::ConnectionId;
use warren_core::peer::PeerAddress;
use warren_core::rate::Meter;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput};

use super::receive::Intake;
use super::{Origin, Reactor};
use crate::connection::{NEVER, Phase};
use crate::gateway::Protocol;
use crate::io::accepts::ACCEPTS_MAX;
use crate::io::operation::{Completion, OperationKind, Outcome, UserData};

impl Reactor {
    /// Accepts connections, so many at a time that each finds a slot: those there may be, and one
    /// more to tell it that there are too many. What the kernel has no slot for it would close
    /// without a word.
    pub(super) fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if self.accept_retry_ns.is_some() {
            return;
        }
        // One more than there may be.
        let slots = self.settings.connections_max + 1;
        let coming = self.accepts_armed.count_ones() as usize + self.hand_overs.coming_count();
        let taken = self.in_use_count() + coming;
        for _ in taken..slots {
            let accept = self.accepts_armed.trailing_ones();
            if accept == ACCEPTS_MAX {
                return;
            }
            self.accepts_armed |= 1 << accept;
            self.ring.accept_one(UserData::new(OperationKind::Accept, 0, accept), listener);
        }
    }

    pub(super) fn accepted(&mut self, completion: Completion, intake: &mut Intake<'_>) {
        let accept = completion.user_data.index();
        self.accepts_armed &= !(1 << accept);
        match completion.outcome {
            Outcome::Done(slot) => self.adopt(slot, self.ring.accepted_peer(accept), intake),
            Outcome::Cancelled => {}
            Outcome::TableFull
            | Outcome::WouldBlock
            | Outcome::BuffersExhausted
            | Outcome::Failed(_) => {
                self.accept_later(intake.now);
                return;
            }
        }
        self.accept();
    }

    /// A socket was accepted into the slot.
    fn adopt(&mut self, slot: u32, peer: Option<IpAddr>, intake: &mut Intake<'_>) {
        self.occupy(slot);
        self.counters.accepted += 1;
        self.counters.connections_undetected += 1;
        self.counters.connections_unauthenticated += 1;
        let now = intake.now;
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Undetected;
        connection.heard_ns = now.monotonic_ns;
        connection.peer = peer;
        connection.login_due_ns = Self::deadline_after_ms(now, self.settings.login_ms);
        self.wheel.schedule(slot, connection.login_due_ns);
        self.arm_receive(slot);
        if self.listener.is_none() {
            self.close(slot, Reason::Draining);
            return;
        }
        // A proxy is not whom it brings.
        let is_proxied = self.comes_by_proxy(slot);
        if !is_proxied && self.is_banned(slot, now) {
            self.turn_away(slot, Reason::Banned);
            return;
        }
        if self.in_use_count() > self.settings.connections_max {
            self.counters.accept_table_full += 1;
            self.turn_away(slot, Reason::Busy);
            return;
        }
        let strangers_max = self.settings.unauthenticated_max as u64;
        if self.counters.connections_unauthenticated > strangers_max {
            self.turn_away(slot, Reason::TooManyUnauthenticated);
            return;
        }
        if is_proxied {
            self.connections[slot as usize].phase = Phase::Proxied;
            return;
        }
        self.let_in(slot, intake);
    }

    /// From where the client comes is known, and it may stay as far as this reactor goes.
    pub(super) fn let_in(&mut self, slot: u32, intake: &mut Intake<'_>) {
        self.tell_accepted(slot, false, intake);
        let fixed = self.settings.fixed_protocol.filter(|fixed| !fixed.is_always_detected());
        // In TLS or not, its first byte tells.
        let fixed = fixed.filter(|_| self.settings.tls.is_none());
        if let Some(protocol) = fixed {
            let id = self.id_of(slot);
            let connection = &mut self.connections[slot as usize];
            connection.open(id, protocol, &self.settings.gateway, intake.inputs);
            self.opened(slot, protocol, intake.now);
        }
    }

    /// Lets nobody in from the addresses of this list. Who is here and there is told to the shard,
    /// which knows the session, before [`receive`](Self::receive); who has not said a protocol yet
    /// is closed here. Only what the list before did not have is looked for.
    pub fn set_bans(&mut self, now: Now, bans: &Arc<Bans>, inputs: &mut Vec<ShardInput>) {
        let news = bans.addresses_beyond(&self.bans);
        self.bans = Arc::clone(bans);
        if !news.has_addresses() {
            return;
        }
        for index in 0..self.connections.len() as u32 {
            let connection = &self.connections[index as usize];
            if !connection.peer.is_some_and(|peer| news.has_address(peer, now.wall_ms)) {
                continue;
            }
            match connection.phase {
                Phase::Undetected => self.close(index, Reason::Banned),
                Phase::Open(_) | Phase::Ended(_) => {
                    inputs.push(ShardInput::Banned { connection: self.id_of(index) });
                }
                // One that moves is looked at where it arrives, and a proxy's when its client is known.
                _ => {}
            }
        }
    }

    /// What is known of an open connection; none when it is gone, or goes.
    #[must_use]
    pub fn origin_of(&self, id: ConnectionId) -> Option<Origin> {
        let connection = self.connections.get(id.index as usize)?;
        let (Phase::Open(protocol) | Phase::Ended(protocol)) = connection.phase else {
            return None;
        };
        let is_it = connection.generation == id.generation;
        is_it.then_some(Origin { protocol, address: connection.peer })
    }

    /// Whether nobody from the client's address is let in.
    pub(super) fn is_banned(&self, index: u32, now: Now) -> bool {
        let peer = self.connections[index as usize].peer;
        peer.is_some_and(|peer| self.bans.has_address(peer, now.wall_ms))
    }

    /// Tells the shard where a connection comes from, if it comes from an address.
    pub(super) fn tell_accepted(&mut self, slot: u32, has_moved: bool, intake: &mut Intake<'_>) {
        let id = self.id_of(slot);
        let connection = &mut self.connections[slot as usize];
        let Some(peer) = connection.peer.map(PeerAddress::of) else { return };
        connection.is_placed = true;
        intake.inputs.list.push(ShardInput::Accepted { connection: id, peer, has_moved });
    }

    /// The connection counts here no longer.
    pub(super) fn tell_departed(&mut self, slot: u32, has_moved: bool) {
        let id = self.id_of(slot);
        if std::mem::take(&mut self.connections[slot as usize].is_placed) {
            self.to_tell_departed.push(ShardInput::Departed { connection: id, has_moved });
        }
    }

    /// No more connections are wanted.
    pub(super) fn cancel_accepts(&mut self) {
        for accept in (0..ACCEPTS_MAX).filter(|accept| self.accepts_armed & 1 << accept != 0) {
            let target = UserData::new(OperationKind::Accept, 0, accept);
            self.ring.cancel(UserData::new(OperationKind::Cancel, 0, 0), target);
        }
    }

    /// Closes a connection that is one too many: told why, and not waited for.
    pub(super) fn turn_away(&mut self, index: u32, reason: Reason) {
        self.connections[index as usize].is_surplus = true;
        self.close(index, reason);
    }

    /// Closes a connection because its shard says so.
    pub(super) fn close_for_shard(&mut self, index: u32, reason: Reason) {
        let is_alive = self.connections[index as usize].is_alive();
        match reason {
            Reason::TooManyConnections if is_alive => self.turn_away(index, reason),
            _ => self.close(index, reason),
        }
    }

    /// The limit that a client of this connection has hit.
    pub(super) fn limit_of(&self, index: u32, reason: Reason) -> Option<&'static str> {
        let is_stranger = !self.connections[index as usize].is_admitted();
        let has_less =
            self.stranger_gateway.frame_bytes_max < self.settings.gateway.frame_bytes_max;
        let is_of_size = matches!(reason, Reason::FrameTooLarge | Reason::SlowConsumer);
        if is_of_size && is_stranger && has_less {
            return Some("limits.unauthenticated_frame_bytes_max");
        }
        reason.limit_of(self.connections[index as usize].is_worker)
    }

    /// The connection's client has logged in: the limits for strangers are not for it any more.
    /// A worker has limits of its own from here on.
    pub(super) fn admit(&mut self, id: ConnectionId, is_worker: bool, now: Now) {
        let Some(connection) = self.connection(id) else { return };
        if connection.is_alive() && !connection.is_admitted() {
            connection.login_due_ns = NEVER;
            connection.is_worker = is_worker;
            self.counters.connections_unauthenticated -= 1;
            if is_worker {
                // What came before was counted at another rate.
                let connection = &mut self.connections[id.index as usize];
                (connection.messages, connection.bytes) = (Meter::default(), Meter::default());
                self.resume(id.index, now);
            }
        }
    }

    /// The protocol became known: its heartbeat begins.
    pub(super) fn opened(&mut self, index: u32, protocol: Protocol, now: Now) {
        self.counters.connections_undetected -= 1;
        self.counters.connections[protocol as usize] += 1;
        self.start_heartbeat(index, protocol, now);
    }

    /// A slot has a connection.
    pub(super) fn occupy(&mut self, slot: u32) {
        while self.connections.len() <= slot as usize {
            self.connections.push(Default::default());
        }
        let phase = self.connections[slot as usize].phase;
        assert_eq!(phase, Phase::Free, "the kernel gives out free slots");
        self.open_count += 1;
    }

    pub(super) fn start_heartbeat(&mut self, index: u32, protocol: Protocol, now: Now) {
        let heartbeats = if protocol.is_kept_alive_by_client() { 2 } else { 1 };
        let after_ms = self.settings.heartbeat_ms.saturating_mul(heartbeats);
        let connection = &mut self.connections[index as usize];
        connection.heartbeat_ns = Self::deadline_after_ms(now, after_ms);
        self.wheel.schedule(index, connection.due_ns());
    }
}
