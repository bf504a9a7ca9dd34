//! What holds of the shards themselves: at every turn, at rest, and when everyone is gone.

use std::collections::BTreeSet;

use warren::shard_turn::ShardTurn;
use warren_core::counters::ShardCounters;
use warren_core::ids::ShardId;
use warren_core::limits::Limits;
use warren_core::mesh::{EventKind, MeshBatch, MeshMessage};
use warren_core::message::Message;
use warren_core::partition::Partition;
use warren_core::peer::PeerAddress;
use warren_core::turn::Span;

use crate::auditor::Auditor;
use crate::oracle::Oracle;
use crate::workload::TEXT_BYTES_MAX;

/// Bytes that the mesh adds to a request: its header and the user's name.
const EVENT_BYTES_MAX: usize = size_of::<MeshMessage>() + 64;
/// Bytes of any one message of the workload, with its mesh header.
const MESSAGE_BYTES_MAX: usize = TEXT_BYTES_MAX as usize + 700;

/// The most that a shard had at once, as far as its staging depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks {
    connections: usize,
    /// What the clients' messages of one turn come to on the mesh.
    input_bytes: usize,
}

impl Peaks {
    pub(crate) fn note_connections(&mut self, count: usize) {
        self.connections = self.connections.max(count);
    }

    pub(crate) fn note_input(&mut self, lengths: &[usize]) {
        let bytes = lengths.iter().map(|length| length + EVENT_BYTES_MAX).sum();
        self.input_bytes = self.input_bytes.max(bytes);
    }
}

/// What waits for a peer that does not take it stays bounded. What answers the peer's own requests
/// and what ends sessions cannot be refused, and is bounded by those. All else is:
///
/// * what talks to the peer (room messages, direct messages, what watchers hear, notices of
///   objects, pages of rooms) by `mesh_staging_bytes_max` and one message more;
/// * what the peer is asked by half of that, and what the clients of one turn, and those whose
///   login was answered in it, can ask.
pub(crate) fn check_staging(shard: &ShardTurn, limits: &Limits, peaks: Peaks) {
    let talk_max = limits.mesh_staging_bytes_max + MESSAGE_BYTES_MAX;
    // A parked request of 20 bytes gets a header and a name.
    let parked_max = peaks.connections * limits.parked_bytes_max * 10;
    let asked_max = limits.mesh_staging_bytes_max / 2 + peaks.input_bytes + parked_max;
    for batch in &shard.outputs().mesh {
        if batch.size_bytes() <= talk_max.min(asked_max) {
            continue;
        }
        let (talk, asked) = staged_bytes(batch);
        assert!(talk <= talk_max, "{talk} bytes of talk are staged, {talk_max} are allowed");
        assert!(asked <= asked_max, "{asked} bytes of requests are staged, not {asked_max}");
    }
}

/// What waits for the log is bounded, but for what one event of the workload adds.
pub(crate) fn check_log_wait(shard: &ShardTurn, limits: &Limits) {
    let waiting = shard.shard().counters().log_waiting_bytes as usize;
    let most = limits.log_wait_bytes_max + 1500;
    assert!(waiting <= most, "{waiting} bytes wait for the log, {most} are allowed");
}

/// A turn leaves nothing undone whose time had come, and no message waits for longer than rooms
/// gather.
pub(crate) fn check_deadlines(shard: &ShardTurn, limits: &Limits, now_ns: u64) {
    let shard = shard.shard();
    let due_ns = shard.next_deadline_ns();
    assert!(due_ns.is_none_or(|due_ns| due_ns > now_ns), "due at {due_ns:?}, and it is {now_ns}");
    let is_soon = due_ns.is_some_and(|due_ns| due_ns <= now_ns + limits.gather_ns);
    assert!(shard.gathered_bytes() == 0 || is_soon, "what is gathered waits until {due_ns:?}");
}

/// Bytes of talk and of requests in a batch.
fn staged_bytes(batch: &MeshBatch) -> (usize, usize) {
    let (mut talk, mut asked) = (0, 0);
    let header = size_of::<MeshMessage>();
    let size = |span: Span| header + span.length as usize;
    let method = |span: Span| Message::from_checked(span.of(&batch.bytes)).method();
    for message in &batch.list {
        match message {
            // Who is gone has left, however full the way.
            MeshMessage::RoomMessage { message, .. } if method(*message) == "left" => {}
            MeshMessage::RoomMessage { message, .. }
            | MeshMessage::Direct { message, .. }
            | MeshMessage::ObjectMessage { message, .. } => {
                talk += size(*message);
            }
            MeshMessage::RoomsPage { request, gathered, .. } => {
                talk += size(*request) + gathered.length as usize;
            }
            MeshMessage::Event { header, user, message }
                if matches!(header.kind, EventKind::Request { .. } | EventKind::Task { .. }) =>
            {
                asked += size(*message) + user.length as usize;
            }
            MeshMessage::Event { header, user, message }
                if header.kind == EventKind::ObjectNotice =>
            {
                talk += size(*message) + user.length as usize;
            }
            _ => {}
        }
    }
    (talk, asked)
}

/// When all is quiet, shards know of as many sessions and rooms as their clients do.
pub(crate) fn check_at_rest(shards: &[ShardTurn], auditor: &Auditor) {
    for (index, shard) in shards.iter().enumerate() {
        let counters = shard.shard().counters();
        assert!(counters.queued_events == 0, "events wait");
        let waiting = (counters.log_waiting, counters.log_waiting_bytes);
        assert!(waiting == (0, 0), "what is durable is told");
        assert!(counters.delta_batches_waiting == 0, "what was synced is durable");
        let expected = auditor.expected_on(index);
        let (relays, rooms) = (shard.shard().relay_count(), expected.rooms);
        assert!(relays == rooms, "shard {index} relays {relays} rooms instead of {rooms}");
        let (relays, objects) = (shard.shard().watch_relay_count(), expected.objects);
        assert!(relays == objects, "shard {index} relays {relays} objects instead of {objects}");
        let (known, sessions) = (counters.sessions, expected.sessions as u64);
        assert!(known == sessions, "shard {index} has {known} sessions, not {sessions}");
    }
    let sum = |read: fn(&ShardCounters) -> u64| -> u64 {
        shards.iter().map(|shard| read(shard.shard().counters())).sum()
    };
    let (watches, expected) = (sum(|shard| shard.watches), auditor.oracle.watch_count() as u64);
    assert!(watches == expected, "{watches} watches are counted, {expected} are there");
    let notices = sum(|shard| {
        shard.object_notices + shard.object_notices_unheard + shard.object_notices_dropped
    });
    let made = auditor.oracle.notices_made;
    assert!(notices == made, "{made} notices were made, {notices} came to something");
}

/// When all is quiet, the addresses are counted from which somebody is there, each by one shard.
pub(crate) fn check_addresses(shards: &[ShardTurn], present: &BTreeSet<PeerAddress>) {
    let counted: u64 = shards.iter().map(|shard| shard.shard().counters().addresses).sum();
    let expected = present.len() as u64;
    assert!(counted == expected, "{counted} addresses are counted, not {expected}");
}

/// When everyone is gone and the grace time has passed, only what is meant to stay is there.
pub(crate) fn check_empty(shards: &[ShardTurn], oracle: &Oracle) {
    for shard in shards {
        let counters = shard.shard().counters();
        assert!(counters.sessions == 0 && counters.queued_events == 0);
        assert!(shard.shard().relay_count() == 0, "rooms are relayed to nobody");
        assert!(shard.shard().watch_relay_count() == 0, "objects are relayed to nobody");
        assert!(counters.watches == 0, "nobody watches");
        assert!(counters.npcs == 0 && counters.world_entities == 0, "worlds are awake for nobody");
        assert!(counters.npc_moves_invalid == 0, "NPCs go astray");
        assert!(shard.shard().next_deadline_ns().is_none(), "a room is looked at for ever");
        assert!(shard.shard().gathered_bytes() == 0 && !shard.shard().owes_crowds());
        assert!(!shard.has_staged() && !shard.has_work());
    }
    let mut counts = vec![0; shards.len()];
    for (id, room) in oracle.living_rooms() {
        assert!(room.members.is_empty(), "{} has members", room.name);
        let homes = || {
            (0..).zip(shards).filter_map(|(index, shard)| {
                let partition = shard.shard().partition(id.partition())?;
                Some((ShardId(index), partition))
            })
        };
        let (home, partition): (ShardId, &Partition) = homes().next().expect("a room has a home");
        let object = partition.object(id).expect("a room has an object");
        assert!(object.get("transient").is_none(), "{} outlived its grace time", room.name);
        counts[home.index()] += 1;
    }
    for (shard, count) in shards.iter().zip(counts) {
        assert!(shard.shard().counters().rooms == count, "rooms are counted wrong");
    }
}
