//! Where connections come from, told to the shards that count addresses, and what these refuse.

use super::Shard;
use crate::admission::{AddressEvent, Whose, shard_of};
use crate::event_queue::QueuedEvent;
use crate::ids::{ConnectionId, ShardId};
use crate::mesh::MeshMessage;
use crate::peer::PeerAddress;
use crate::reason::Reason;
use crate::turn::{ShardOutput, ShardOutputs};

impl Shard {
    /// A connection is there, new or from another shard.
    pub(super) fn connection_accepted(
        &mut self,
        connection: ConnectionId,
        (peer, has_moved): (PeerAddress, bool),
        outputs: &mut ShardOutputs,
    ) {
        self.places.enter(connection, peer);
        let event = if has_moved { AddressEvent::Moved } else { AddressEvent::Came };
        self.post_address_event(peer, connection, event, outputs);
    }

    /// A connection is no longer here.
    pub(super) fn connection_departed(
        &mut self,
        connection: ConnectionId,
        has_moved: bool,
        outputs: &mut ShardOutputs,
    ) {
        let peer = self.places.leave(connection);
        if !has_moved {
            self.post_address_event(peer, connection, AddressEvent::Gone, outputs);
        }
    }

    /// A client tries to log in or to resume: it counts whatever comes of it. A `resume` counts on
    /// the shard that answers it.
    pub(super) fn count_login(&mut self, connection: ConnectionId, outputs: &mut ShardOutputs) {
        if let Some(peer) = self.places.get(connection) {
            self.post_address_event(peer, connection, AddressEvent::LogsIn, outputs);
        }
    }

    pub(super) fn post_address_event(
        &mut self,
        peer: PeerAddress,
        connection: ConnectionId,
        event: AddressEvent,
        outputs: &mut ShardOutputs,
    ) {
        let to = shard_of(peer, self.settings.routing.shard_count());
        let from = self.id();
        self.post(to, outputs, MeshMessage::AddressEvent { peer, connection, from, event });
    }

    /// An address that is counted here does something on that shard.
    pub(super) fn take_address_event(
        &mut self,
        (peer, event): (PeerAddress, AddressEvent),
        (connection, from): (ConnectionId, ShardId),
        outputs: &mut ShardOutputs,
    ) {
        let (limits, now_ns) = (&self.settings.limits, self.now.monotonic_ns);
        if let Err(reason) = self.admission.count(peer, event, limits, now_ns) {
            self.post(from, outputs, MeshMessage::ConnectionRefused { connection, reason });
        }
    }

    /// The address has too many connections, or logs in too often.
    pub(super) fn connection_refused(
        &mut self,
        connection: ConnectionId,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) {
        if self.connections.is_known(connection) {
            self.close(connection, reason, outputs);
        } else if self.places.get(connection).is_some() {
            // Its protocol is not known yet.
            outputs.list.push(ShardOutput::Close { connection, reason });
        }
    }

    /// Counts a login that is granted otherwise, where the account is.
    pub(super) fn count_account_login(&mut self, event: &QueuedEvent) -> Result<(), Reason> {
        let limits = &self.settings.limits;
        let whose = Whose::account(event.user().as_bytes(), self.settings.seed);
        let (per_minute, idle_max) = (limits.logins_per_minute_per_account, limits.addresses_max);
        let now_ns = self.now.monotonic_ns;
        let fits = self.admission.log_in(whose, per_minute, idle_max, now_ns);
        if fits { Ok(()) } else { Err(Reason::AccountLoginRate) }
    }
}
