//! The operator's commands, carried out where they come in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Shard;
use crate::control::{
    Answer, Command, DIGEST_BYTES_MAX, DigestRow, Leases, PLACES_MAX, Page, ROWS_MAX, RoomRow,
    SessionRow, WorkerRow,
};
use crate::ids::{Address, ObjectId, PARTITION_COUNT, PartitionId, SessionId, ShardId};
use crate::mesh::MeshMessage;
use crate::object::is_room_kind;
use crate::partition::object_digest;
use crate::reason::Reason;
use crate::session::{Phase, Session};
use crate::turn::ShardOutputs;

impl Shard {
    pub(super) fn carry_out(&mut self, command: &Command, outputs: &mut ShardOutputs) {
        let answer = match command {
            Command::ListSessions { from, count } => {
                Answer::Sessions(self.list_sessions(*from, *count))
            }
            Command::ListWorkers { from, count } => {
                Answer::Workers(self.list_workers(*from, *count))
            }
            Command::CountLeases { sessions } => Answer::Leases(
                sessions.iter().take(ROWS_MAX).map(|session| self.leases_of(*session)).collect(),
            ),
            Command::ListRooms { from, count } => Answer::Rooms(self.list_rooms(*from, *count)),
            Command::DigestObjects { from, count } => {
                Answer::Digests(self.digest_objects(*from, *count))
            }
            Command::FindUser { user } => Answer::Session(self.present_session(user)),
            Command::EndSession { user, reason } => {
                Answer::Session(self.end_session_of(user, *reason, outputs))
            }
            Command::SetBans(bans) => {
                self.bans.clone_from(bans);
                Answer::BansSet
            }
            Command::ListQueues { from, count } => Answer::Queues(self.list_queues(*from, *count)),
            Command::DeepestPartitions { from, count } => {
                Answer::Partitions(self.deepest_partitions(*from, *count))
            }
            Command::ListDead { from, count, method } => {
                Answer::Dead(self.list_dead(*from, *count, method.as_deref()))
            }
            Command::ShowDead(task) => Answer::DeadTask(self.show_dead(*task).map(Box::new)),
            Command::SettleDead { order, tasks } => {
                Answer::DeadSettled(self.settle_dead(*order, tasks, outputs))
            }
            Command::SetInline(table) => {
                self.inline.replace(table);
                self.tasks.set_inline(&table.methods);
                Answer::InlineSet
            }
        };
        outputs.answers.push(answer);
    }

    fn list_sessions(&self, from: u32, count: usize) -> Page<SessionRow, u32> {
        self.page_of_sessions((from, count), |id, session| {
            Some(SessionRow {
                session: id,
                user: session.user.clone(),
                connection: self.hearing.connection(id),
                is_logging_in: matches!(session.phase, Phase::LoggingIn { .. }),
                rooms: session.rooms.len(),
                watches: session.watches.len(),
            })
        })
    }

    fn list_workers(&self, from: u32, count: usize) -> Page<WorkerRow, u32> {
        self.page_of_sessions((from, count), |id, session| {
            // One that has only just begun is not known here yet.
            let worker = self.tasks.workers.get(id).filter(|_| session.is_worker)?;
            let behaviours = || self.inline.behaviours.workers.names_of(id);
            let methods = worker.method_names();
            let plugins = methods.filter_map(|method| worker.plugin_of(method));
            Some(WorkerRow {
                session: id,
                user: session.user.clone(),
                plugins: each_once(plugins.chain(behaviours().filter_map(|(_, plugin)| plugin))),
                methods: worker.method_names().map(Box::from).collect(),
                behaviours: behaviours().map(|(name, _)| Box::from(name)).collect(),
                credits: worker.credits,
            })
        })
    }

    fn leases_of(&self, session: SessionId) -> Leases {
        let Some(worker) = self.tasks.workers.get(session) else { return Leases::default() };
        let age_ns = worker.oldest_lease_ns().map_or(0, |since| self.now.monotonic_ns - since);
        // Of tasks, or of NPCs.
        let behaviours = &self.inline.behaviours.workers;
        let moves = behaviours.silent_since_ns(session);
        let silent_since_ns = worker.silent_since_ns().into_iter().chain(moves).min();
        let silent_ns = silent_since_ns.map(|since| self.now.monotonic_ns - since);
        let silent_ms = silent_ns.map(|silent_ns| silent_ns / 1_000_000);
        let (count, thinks) = (worker.leased_count(), behaviours.thinks_of(session));
        Leases { count, oldest_ms: age_ns / 1_000_000, thinks, silent_ms }
    }

    /// Rows of those sessions that have one, from that index on.
    fn page_of_sessions<Row>(
        &self,
        (from, count): (u32, usize),
        row_of: impl Fn(SessionId, &Session) -> Option<Row>,
    ) -> Page<Row, u32> {
        let most = count.min(ROWS_MAX);
        let mut rows = Vec::new();
        let mut places = self.sessions.places_from(from).take(PLACES_MAX);
        let places_count = places.len();
        while rows.len() < most {
            let Some((id, session)) = places.next() else { break };
            rows.extend(session.and_then(|session| row_of(id, session)));
        }
        let looked_at = places_count - places.len();
        let next = from.saturating_add(u32::try_from(looked_at).expect("a few thousand"));
        let next = (self.sessions.places_from(next).len() > 0).then_some(next);
        Page { rows, next }
    }

    /// Rooms in the order of their ids, of this shard's partitions.
    fn list_rooms(&self, from: ObjectId, count: usize) -> Page<RoomRow, ObjectId> {
        let most = count.min(ROWS_MAX);
        let mut rows = Vec::new();
        let first = usize::from(from.partition().0);
        for number in first..PARTITION_COUNT {
            let id = PartitionId(u16::try_from(number).expect("partitions have 16 bits"));
            let begins = if number == first { from.address().get() } else { 0 };
            if number >= first + PLACES_MAX {
                return Page { rows, next: Some(object_at(id, begins)) };
            }
            let Some(partition) = &self.partitions[number] else { continue };
            let after = Address::new(begins.saturating_sub(1)).expect("below an address");
            for (object, kind) in partition.objects_after(after) {
                // Worlds are rooms too, and a page is in the order of addresses.
                if !is_room_kind(kind.kind()) {
                    continue;
                }
                if rows.len() >= most {
                    return Page { rows, next: Some(object) };
                }
                let room = partition.room(object).expect("an object of that kind is a room");
                rows.push(RoomRow {
                    object,
                    name: room.name().into(),
                    members: room.member_count(),
                    last_sequence: room.next_sequence() - 1,
                    is_secret: room.is_secret,
                    is_transient: room.is_transient,
                });
            }
        }
        Page { rows, next: None }
    }

    /// Digests of objects in the order of their ids, until it is enough for one turn.
    fn digest_objects(&self, from: ObjectId, count: usize) -> Page<DigestRow, ObjectId> {
        let most = count.min(ROWS_MAX);
        let mut rows: Vec<DigestRow> = Vec::new();
        let (mut places, mut bytes) = (0, 0);
        let first = usize::from(from.partition().0);
        for number in first..PARTITION_COUNT {
            let id = PartitionId(u16::try_from(number).expect("partitions have 16 bits"));
            let begins = if number == first { from.address().get() } else { 0 };
            if places >= PLACES_MAX {
                return Page { rows, next: Some(object_at(id, begins)) };
            }
            places += 1;
            let Some(partition) = &self.partitions[number] else { continue };
            let after = Address::new(begins.saturating_sub(1)).expect("below an address");
            for (object, state) in partition.objects_after(after) {
                let has_row = rows.last().is_some_and(|row| row.group == id.group());
                let is_full = !has_row && rows.len() >= most;
                if is_full || places >= PLACES_MAX || bytes >= DIGEST_BYTES_MAX {
                    return Page { rows, next: Some(object) };
                }
                if !has_row {
                    rows.push(DigestRow { group: id.group(), objects: 0, digest: 0 });
                }
                let row = rows.last_mut().expect("it was added");
                row.objects += 1;
                row.digest =
                    row.digest.wrapping_add(object_digest(object, state.version(), state.record()));
                places += 1;
                bytes += state.record().as_bytes().len();
            }
        }
        Page { rows, next: None }
    }

    fn present_session(&self, user: &str) -> Option<SessionId> {
        let partition = self.partition(PartitionId::of_name(user))?;
        partition.user(user)?.session
    }

    /// Tells the shard of the user's session to end it. What the session leaves behind goes as at
    /// any other end.
    fn end_session_of(
        &mut self,
        user: &str,
        reason: Reason,
        outputs: &mut ShardOutputs,
    ) -> Option<SessionId> {
        assert!(matches!(reason, Reason::Kicked | Reason::Banned), "the operator's reasons");
        let session = self.present_session(user)?;
        let to: ShardId = session.shard;
        self.post(to, outputs, MeshMessage::Displace { session, reason });
        Some(session)
    }
}

/// What the worker is, each once.
fn each_once<'p>(plugins: impl Iterator<Item = &'p str>) -> Vec<Box<str>> {
    let mut known: Vec<Box<str>> = Vec::new();
    for plugin in plugins {
        if !known.iter().any(|known| **known == *plugin) {
            known.push(plugin.into());
        }
    }
    known
}

fn object_at(partition: PartitionId, address: u64) -> ObjectId {
    ObjectId::new(partition, Address::new(address).expect("an address of an object"))
}
