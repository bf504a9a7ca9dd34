//! Hand-over: a connection leaves for the reactor of another shard, with everything about it that
//! is not its old shard's.
//!
//! ```text
//! here    HandOver -> receive cancelled -> output has left -> descriptor made -> slot closed
//! there   descriptor -> slot -> Opened, the messages, the unread bytes -> receive
//! ```
//!
//! From the first `HandOver` on nothing more is decoded here: bytes that still come are unread
//! bytes. What the shard was told before comes back from it as further messages to take along, all
//! of them before the connection has gone. A half-closed peer needs no word: its end is received
//! again at the other reactor.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use warren_core::ids::{ConnectionId, ShardId};
use warren_core::peer::PeerAddress;
use warren_core::rate::Meter;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput};

use super::receive::{Held, HeldWhat, Intake, Received};
use super::{Reactor, SURPLUS_SLOTS};
use crate::connection::{NEVER, Phase};
use crate::gateway::{Protocol, websocket};
use crate::io::buffers::BufferId;
use crate::io::operation::{Completion, OperationKind, Outcome};
use crate::tls::Tls;

/// Connections from other shards that are taken in at a time; the others wait in their rings.
pub(super) const ARRIVALS_MAX: usize = 64;

/// Most bytes of messages that a connection takes along; with more it is closed. A client has little
/// to say behind a `resume` before it knows the answer.
const LUGGAGE_MESSAGES_BYTES_MAX: usize = 64 * 1024;

/// What a connection takes along, or has brought.
#[derive(Debug, Default)]
pub(crate) struct Luggage {
    /// Where it goes; none where it has arrived.
    to: Option<ShardId>,
    /// Packed messages that the old shard gave back, one after the other.
    messages: Vec<u8>,
    /// Bytes of each, and why it is not to be run, if it is not.
    lengths: Vec<(u32, Option<Reason>)>,
    /// A WebSocket message of which some fragments are here.
    assembly: Option<Box<websocket::Assembly>>,
    /// The half-received frame: plaintext, if the connection is in TLS.
    partial: Vec<u8>,
    /// Received bytes that were not decoded, nor decrypted.
    unread: Vec<u8>,
    /// How many of them have been, at the new place.
    taken: usize,
}

/// A connection on its way between two reactors.
#[derive(Debug)]
pub struct MovedConnection {
    socket: OwnedFd,
    state: MovedState,
}

/// A connection on its way, but for its socket.
#[derive(Debug)]
struct MovedState {
    protocol: Protocol,
    heard_ns: u64,
    peer: Option<IpAddr>,
    login_due_ns: u64,
    tls: Option<Box<Tls>>,
    messages: Meter,
    bytes: Meter,
    refusals: u32,
    luggage: Box<Luggage>,
}

/// What the reactor knows of connections that come and go.
#[derive(Debug, Default)]
pub(super) struct HandOvers {
    /// Connections that are to leave, and have not yet.
    leaving: Vec<ConnectionId>,
    /// Connections that have left, until somebody takes them.
    departed: Vec<(ShardId, MovedConnection)>,
    /// Connections that have come, and have no slot.
    arrivals: Vec<MovedConnection>,
    /// No slot was free: they wait until one is.
    arrivals_wait: bool,
    /// Those that the kernel finds a slot for, by number.
    entering: Vec<(u32, MovedState)>,
    next_number: u32,
}

impl HandOvers {
    /// Connections that have left their slot, and still are this reactor's.
    pub(super) fn departed_count(&self) -> usize {
        self.departed.len()
    }

    /// Connections that have come, and have no slot yet.
    pub(super) fn coming_count(&self) -> usize {
        self.arrivals.len() + self.entering.len()
    }

    /// A slot is free.
    pub(super) fn slot_freed(&mut self) {
        self.arrivals_wait = false;
    }
}

impl Reactor {
    /// Offers each connection that has left its slot, with the shard to which it goes. One that is
    /// given back is offered again; until it is taken it counts as a connection of this reactor.
    pub fn take_departures(
        &mut self,
        mut offer: impl FnMut(ShardId, MovedConnection) -> Result<(), MovedConnection>,
    ) {
        if self.hand_overs.departed.is_empty() {
            return;
        }
        for (to, moved) in std::mem::take(&mut self.hand_overs.departed) {
            if let Err(moved) = offer(to, moved) {
                self.hand_overs.departed.push((to, moved));
            }
        }
        self.accept();
    }

    /// Whether connections wait to be taken to their new shards.
    #[must_use]
    pub fn has_departures(&self) -> bool {
        !self.hand_overs.departed.is_empty()
    }

    /// Whether connections from other shards may [`arrive`](Self::arrive).
    #[must_use]
    pub fn takes_arrivals(&self) -> bool {
        self.hand_overs.coming_count() < ARRIVALS_MAX
    }

    /// Takes in a connection from another shard's reactor, before [`receive`](Self::receive). If
    /// there are too many it is told `busy` and closed.
    pub fn arrive(&mut self, moved: MovedConnection) {
        self.hand_overs.arrivals.push(moved);
    }

    /// The shard gives a connection away, and a message with it.
    pub(super) fn hand_over(
        &mut self,
        id: ConnectionId,
        to: ShardId,
        (message, refused): (&[u8], Option<Reason>),
        now: Now,
    ) {
        let accepts = self.listener.is_some();
        let Some(connection) = self.connection(id) else { return };
        match connection.phase {
            Phase::Moving(_) => {}
            Phase::Open(_) | Phase::Ended(_) if !accepts => {
                // The other shard drains too, and may be gone before it could tell.
                self.close(id.index, Reason::Draining);
                return;
            }
            Phase::Open(protocol) | Phase::Ended(protocol) if !connection.send_broken => {
                self.start_moving(id, protocol, to, now);
            }
            _ => return,
        }
        let Some(luggage) = &mut self.connections[id.index as usize].luggage else { return };
        assert_eq!(luggage.to, Some(to), "a connection goes to one shard");
        if luggage.messages.len() + message.len() > LUGGAGE_MESSAGES_BYTES_MAX {
            self.close(id.index, Reason::Busy);
            return;
        }
        luggage.messages.extend_from_slice(message);
        luggage.lengths.push((message.len() as u32, refused));
    }

    fn start_moving(&mut self, id: ConnectionId, protocol: Protocol, to: ShardId, now: Now) {
        let connection = &mut self.connections[id.index as usize];
        self.egress.hurry(connection);
        connection.phase = Phase::Moving(protocol);
        // What may come is counted on at its new place.
        self.counters.connections_paused -= u64::from(connection.is_paused());
        connection.resume_ns = NEVER;
        let mut luggage = connection.luggage.take().unwrap_or_default();
        assert!(luggage.lengths.is_empty(), "the shard has heard what came along");
        self.counters.partial_frame_bytes -= connection.partial_bytes() as u64;
        luggage.assembly = connection.take_assembly();
        luggage.partial = connection.take_partial();
        if let Some(code) = connection.close_code.take() {
            // The client has said that it says no more: it says so again at the new place.
            websocket::write_clients_close(code, &mut luggage.partial);
        }
        let taken = std::mem::take(&mut luggage.taken);
        luggage.unread.drain(..taken);
        luggage.to = Some(to);
        connection.luggage = Some(luggage);
        if connection.receive_armed {
            let receive = self.user_data(OperationKind::Receive, id.index);
            let cancel = self.user_data(OperationKind::Cancel, id.index);
            self.ring.cancel(cancel, receive);
        }
        self.wheel.schedule(id.index, Self::deadline_after_ms(now, self.settings.linger_ms));
        self.hand_overs.leaving.push(id);
        self.take_held_along(id);
    }

    /// Received bytes that waited for a later turn go along.
    fn take_held_along(&mut self, id: ConnectionId) {
        if self.connections[id.index as usize].held_count == 0 {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.retain(|Held { id: whose, what }| {
            if *whose != id {
                return true;
            }
            match *what {
                HeldWhat::Bytes { buffer, length } => {
                    self.held_buffer_count -= 1;
                    self.keep_unread(id.index, buffer, length);
                }
                HeldWhat::End(Reason::PeerClosed) | HeldWhat::Luggage => {}
                HeldWhat::End(reason) => self.leave(id.index, reason),
            }
            false
        });
        self.held = held;
        self.connections[id.index as usize].held_count = 0;
    }

    /// Bytes of a connection that moves are for its new place.
    pub(super) fn keep_unread(&mut self, index: u32, buffer: BufferId, length: u32) {
        if let Some(luggage) = &mut self.connections[index as usize].luggage {
            luggage.unread.extend_from_slice(self.ring.buffers().bytes(buffer, length));
        }
        self.ring.buffers_mut().give_back(buffer);
    }

    /// The turn's output has been sent, or queued: makes descriptors for those connections that
    /// have nothing under way any more.
    pub(super) fn advance_moving(&mut self) {
        let mut leaving = std::mem::take(&mut self.hand_overs.leaving);
        leaving.retain(|id| {
            let Some(connection) = self.connection(*id) else { return false };
            if !matches!(connection.phase, Phase::Moving(_)) {
                return false;
            }
            let busy = connection.has_operations() || connection.queue.is_some();
            if !busy {
                connection.install_armed = true;
                let install = self.user_data(OperationKind::Install, id.index);
                self.ring.make_descriptor(install, id.index);
            }
            true
        });
        self.hand_overs.leaving = leaving;
    }

    /// A connection that moves has its descriptor: it has left.
    pub(super) fn installed(&mut self, completion: Completion) {
        let index = completion.user_data.index();
        let socket = self.ring.take_installed(index);
        let id = self.id_of(index);
        let connection = &mut self.connections[index as usize];
        connection.install_armed = false;
        let Phase::Moving(protocol) = connection.phase else {
            self.free_when_idle(index);
            return;
        };
        let Some(socket) = socket else {
            // The process has as many descriptors as it may have.
            self.close(index, Reason::Busy);
            return;
        };
        if connection.queue.is_some() {
            // It got something meanwhile.
            return;
        }
        let luggage = connection.luggage.take().expect("a connection that moves has luggage");
        let to = luggage.to.expect("it goes somewhere");
        self.counters.connections_unauthenticated -= u64::from(!connection.is_admitted());
        self.counters.tls_connections -= u64::from(connection.tls.is_some());
        self.counters.tls_record_bytes -= connection.record_bytes() as u64;
        let state = MovedState {
            protocol,
            heard_ns: connection.heard_ns,
            peer: connection.peer,
            login_due_ns: connection.login_due_ns,
            messages: connection.messages,
            bytes: connection.bytes,
            refusals: connection.refusals,
            tls: connection.tls.take(),
            luggage,
        };
        connection.phase = Phase::Closing;
        self.wheel.cancel(index);
        self.counters.connections[protocol as usize] -= 1;
        self.counters.connections_moved_out += 1;
        tracing::debug!(connection = index, protocol = protocol.label(), to = to.0, "moved");
        self.to_tell_closed.push(id);
        self.tell_departed(index, true);
        self.hand_overs.departed.push((to, MovedConnection { socket, state }));
        self.free_when_idle(index);
    }

    /// Asks the kernel for slots for those that have come.
    pub(super) fn enter_arrivals(&mut self) {
        if self.hand_overs.arrivals_wait {
            return;
        }
        let slots = self.settings.connections_max + SURPLUS_SLOTS;
        for moved in std::mem::take(&mut self.hand_overs.arrivals) {
            let promised = self.accepts_armed.count_ones() as usize;
            if self.open_count + self.hand_overs.entering.len() + promised >= slots {
                self.hand_overs.arrivals.push(moved);
                continue;
            }
            let MovedConnection { socket, state } = moved;
            let number = self.hand_overs.next_number;
            self.hand_overs.next_number = number.wrapping_add(1);
            self.ring.enter_table(number, socket);
            self.hand_overs.entering.push((number, state));
        }
    }

    /// A connection that has come has its slot, or none is free.
    pub(super) fn entered(&mut self, completion: Completion, intake: &mut Intake<'_>) {
        let number = completion.user_data.index();
        let entering = &mut self.hand_overs.entering;
        let at = entering.iter().position(|(other, _)| *other == number);
        let (_, mut state) = entering.swap_remove(at.expect("it was asked for"));
        let socket = self.ring.take_entered(number).expect("it was asked for");
        match completion.outcome {
            Outcome::Done(slot) => {
                // The table keeps the socket: its descriptor has served.
                drop(socket);
                state.luggage.to = None;
                self.settle(slot, state, intake);
            }
            Outcome::TableFull => {
                self.hand_overs.arrivals.push(MovedConnection { socket, state });
                self.hand_overs.arrivals_wait = true;
            }
            outcome => {
                tracing::debug!(?outcome, "a connection from another shard was lost");
                self.counters.closes[Reason::SocketError as usize] += 1;
                let lost = state.peer.map(|peer| ShardInput::Lost { peer: PeerAddress::of(peer) });
                self.to_tell_departed.extend(lost);
            }
        }
    }

    /// A connection that has come lives in this slot.
    fn settle(&mut self, slot: u32, state: MovedState, intake: &mut Intake<'_>) {
        let MovedState {
            protocol,
            heard_ns,
            peer,
            login_due_ns,
            messages,
            bytes,
            refusals,
            tls,
            mut luggage,
        } = state;
        self.occupy(slot);
        self.counters.connections_moved_in += 1;
        self.counters.connections[protocol as usize] += 1;
        let id = self.id_of(slot);
        let connection = &mut self.connections[slot as usize];
        connection.heard_ns = heard_ns;
        connection.peer = peer;
        connection.login_due_ns = login_due_ns;
        (connection.messages, connection.bytes) = (messages, bytes);
        connection.refusals = refusals;
        self.counters.connections_unauthenticated += u64::from(!connection.is_admitted());
        connection.tls = tls;
        self.counters.tls_connections += u64::from(connection.tls.is_some());
        self.counters.tls_record_bytes += connection.record_bytes() as u64;
        connection.bring_assembly(luggage.assembly.take());
        self.counters.partial_frame_bytes += connection.partial_bytes() as u64;
        connection.luggage = Some(luggage);
        self.tell_accepted(slot, true, intake);
        let connection = &mut self.connections[slot as usize];
        connection.open(id, protocol, &self.settings.gateway, intake.inputs);
        self.start_heartbeat(slot, protocol, intake.now);
        self.arm_receive(slot);
        if self.listener.is_none() {
            self.close(slot, Reason::Draining);
        } else if self.in_use_count() > self.settings.connections_max {
            self.counters.accept_table_full += 1;
            self.turn_away(slot, Reason::Busy);
        } else if self.is_banned(slot, intake.now) {
            // The ban came while it was on its way.
            self.close(slot, Reason::Banned);
        } else {
            self.hold(id, HeldWhat::Luggage);
        }
    }

    /// Gives the shard what a connection has brought: all messages, and as many of the unread bytes
    /// as the turn takes. The rest stays before anything that is received.
    pub(super) fn unpack(&mut self, id: ConnectionId, intake: &mut Intake<'_>) {
        let index = id.index as usize;
        let Some(mut luggage) = self.connections[index].luggage.take() else { return };
        let mut at = 0;
        for (length, refused) in luggage.lengths.drain(..) {
            let message = &luggage.messages[at..at + length as usize];
            let start = intake.inputs.bytes.len();
            intake.inputs.bytes.extend_from_slice(message);
            match refused {
                Some(reason) => intake.inputs.push_refused(id, start, reason),
                None => intake.inputs.push_message(id, start),
            }
            intake.frames_left = intake.frames_left.saturating_sub(1);
            at += message.len();
        }
        luggage.messages.clear();
        let mut partial = std::mem::take(&mut luggage.partial);
        if !partial.is_empty() {
            self.feed_plain(id, Received::Elsewhere(&mut partial), intake);
        }
        while luggage.taken < luggage.unread.len() && self.connections[index].is_alive() {
            if !self.can_take(intake) {
                self.connections[index].luggage = Some(luggage);
                self.hold_first(id, HeldWhat::Luggage);
                return;
            }
            let rest = &mut luggage.unread[luggage.taken..];
            let piece_bytes = rest.len().min(self.settings.receive_buffer_bytes);
            self.feed(id, Received::Elsewhere(&mut rest[..piece_bytes]), intake);
            luggage.taken += piece_bytes;
        }
        // A record may be half here, and nothing else.
        self.time_frame(id.index, false, intake.now);
        self.heed_close_notify(id, intake);
    }
}
