//! What is true, learned from the delta batches of all shards: objects, users, members of rooms.
//! Every batch is encoded, decoded and replayed into a replica of its shard, which must end up
//! equal to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::{Epoch, ObjectId, PARTITION_COUNT, PartitionId};
use warren_core::limits::Limits;
use warren_core::message::{Message, Value};
use warren_core::object::is_room_kind;
use warren_core::routing::RoutingTable;
use warren_core::shard::Shard;

use self::tasks::{TaskFacts, deed_of};

mod tasks;

/// By how much the record of a task grows while it is worked at, at most.
const TASK_GROWTH_BYTES: u64 = 160;

/// What is known of an object.
#[derive(Debug)]
pub(crate) struct ObjectFacts {
    pub(crate) kind: String,
    /// Everyone who ever owned it, the present owner last.
    pub(crate) owners: Vec<String>,
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
    /// By version from 1, its fields in canonical text.
    pub(crate) history: Vec<BTreeMap<String, String>>,
    /// By version from 1, the names of the fields that were set or removed.
    pub(crate) changed: Vec<BTreeSet<String>>,
}

impl ObjectFacts {
    pub(crate) fn owner(&self) -> &str {
        self.owners.last().expect("users own what they make")
    }

    fn room(&self) -> Option<&String> {
        self.history.last().and_then(|fields| fields.get("room"))
    }
}

/// What is known of a room, in one of its lives.
#[derive(Debug)]
pub(crate) struct RoomFacts {
    pub(crate) name: String,
    home: usize,
    /// Session and stay of each member.
    pub(crate) members: BTreeMap<String, (u64, usize)>,
    /// The number that its next message gets, as of the end of its home's last turn.
    pub(crate) next_sequence: u64,
    is_deleted: bool,
    /// What was heard under each number: the same for all.
    pub(crate) heard: BTreeMap<u64, Vec<u8>>,
    /// How many members it has to those who heard such a number of its members: the same for all.
    pub(crate) counts: BTreeMap<u64, i64>,
}

/// One session's time in a room. It hears what is numbered between its two moments; each moment
/// is known to lie between the numbers before and after a turn of the room's home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StayFacts {
    pub(crate) room: u64,
    pub(crate) begin: (u64, u64),
    pub(crate) end: Option<(u64, u64)>,
}

/// How many objects a partition holds, and the most that it ever held.
#[derive(Clone, Copy, Debug, Default)]
struct Population {
    now: usize,
    peak: usize,
    bytes_peak: u64,
}

/// All that is true.
#[derive(Debug)]
pub(crate) struct Oracle {
    replicas: Vec<Shard>,
    limits: Limits,
    /// By shard, the most bytes that its objects ever took.
    state_bytes_peaks: Vec<u64>,
    /// Who watches what, as session and object.
    watches: BTreeSet<(u64, u64)>,
    /// Versions at which watches began and ended of which their clients have not heard yet.
    watch_begins: BTreeMap<(u64, u64), VecDeque<u64>>,
    watch_ends: BTreeMap<(u64, u64), VecDeque<u64>>,
    pub(crate) tasks: BTreeMap<u64, TaskFacts>,
    /// By the id of the request that made them.
    pub(crate) task_requests: BTreeMap<i64, Vec<u64>>,
    /// How often a task was leased.
    pub(crate) lease_count: u64,
    /// How often an object's room was to hear of it.
    pub(crate) notices_made: u64,
    pub(crate) objects: BTreeMap<u64, ObjectFacts>,
    /// Ids of all objects but tasks, in order of creation.
    pub(crate) object_list: Vec<u64>,
    populations: BTreeMap<u16, Population>,
    /// The session of every user that was ever here.
    pub(crate) users: BTreeMap<String, Option<u64>>,
    /// Sessions whose users logged in elsewhere.
    pub(crate) superseded: BTreeSet<u64>,
    /// Every session by which a user was ever here.
    pub(crate) sessions: BTreeSet<u64>,
    pub(crate) rooms: BTreeMap<u64, RoomFacts>,
    pub(crate) room_names: BTreeSet<String>,
    pub(crate) stays: Vec<StayFacts>,
    /// Stays whose clients have not yet heard that they began, by session and room.
    unclaimed: BTreeMap<(u64, String), VecDeque<usize>>,
    /// Stays of which this turn moved the begin or the end.
    touched: Vec<usize>,
}

impl Oracle {
    pub(crate) fn new(replicas: Vec<Shard>, limits: Limits) -> Self {
        Self {
            state_bytes_peaks: vec![0; replicas.len()],
            replicas,
            limits,
            watches: BTreeSet::new(),
            watch_begins: BTreeMap::new(),
            watch_ends: BTreeMap::new(),
            tasks: BTreeMap::new(),
            task_requests: BTreeMap::new(),
            lease_count: 0,
            notices_made: 0,
            objects: BTreeMap::new(),
            object_list: vec![],
            populations: BTreeMap::new(),
            users: BTreeMap::new(),
            superseded: BTreeSet::new(),
            sessions: BTreeSet::new(),
            rooms: BTreeMap::new(),
            room_names: BTreeSet::new(),
            stays: vec![],
            unclaimed: BTreeMap::new(),
            touched: vec![],
        }
    }

    /// Takes what a turn of a shard changed.
    pub(crate) fn absorb(&mut self, index: usize, shard: &Shard, batches: &[DeltaBatch]) {
        for batch in batches {
            let decoded = DeltaBatch::decode(&batch.encode()).expect("an encoded batch decodes");
            assert!(decoded == *batch, "a batch changed on its way through its encoding");
            self.replicas[index].replay(&decoded);
            let open = self.open_before(batch);
            for delta in &batch.deltas {
                self.note(index, delta);
            }
            self.check_deeds(batch, &open);
            self.check_bytes(index, batch);
        }
        for (id, room) in &mut self.rooms {
            if room.home == index && !room.is_deleted {
                let partition = shard.partition(ObjectId(*id).partition());
                let live = partition.and_then(|partition| partition.room(ObjectId(*id)));
                let live = live.expect("a room goes with a delta");
                assert!(live.next_sequence() >= room.next_sequence, "numbers went back");
                room.next_sequence = live.next_sequence();
            }
        }
        for touched in self.touched.drain(..) {
            let stay = &mut self.stays[touched];
            let room = &self.rooms[&stay.room];
            // A room that was deleted since is no more there to be asked.
            let high = if room.is_deleted { u64::MAX } else { room.next_sequence };
            if stay.begin.1 == 0 {
                stay.begin.1 = high;
            }
            if let Some(end) = stay.end.as_mut().filter(|end| end.1 == 0) {
                end.1 = high;
            }
        }
    }

    /// The tasks of this batch's deeds that are not over before it.
    fn open_before(&self, batch: &DeltaBatch) -> Vec<u64> {
        let is_open = |task: &u64| self.tasks.get(task).is_some_and(|facts| !facts.is_over);
        batch.deltas.iter().filter_map(deed_of).filter(is_open).collect()
    }

    /// What a task does happens with its end, in one batch, and so once.
    fn check_deeds(&mut self, batch: &DeltaBatch, open: &[u64]) {
        for task in batch.deltas.iter().filter_map(deed_of) {
            let facts = self.tasks.get_mut(&task).expect("a deed is of a task");
            facts.deeds += 1;
            let is_end = facts.is_over && open.contains(&task);
            assert!(is_end, "what {task} does is not one with its end");
        }
    }

    /// What a batch made of its partitions stays within their bounds.
    fn check_bytes(&mut self, index: usize, batch: &DeltaBatch) {
        let bytes = self.replicas[index].counters().state_bytes;
        self.state_bytes_peaks[index] = self.state_bytes_peaks[index].max(bytes);
        // Tasks become larger when they are leased, whatever there is.
        let tasks = self.tasks.values().filter(|task| !task.is_over).count() as u64;
        let most = self.limits.state_bytes_max as u64 + tasks * TASK_GROWTH_BYTES;
        assert!(bytes <= most, "{bytes} bytes on shard {index}");
        for delta in &batch.deltas {
            let (Delta::ObjectCreated { object, .. }
            | Delta::ObjectChanged { object, .. }
            | Delta::WatchStarted { object, .. }) = delta
            else {
                continue;
            };
            let id = ObjectId(*object).partition();
            let partition = self.replicas[index].partition(id).expect("it has objects");
            let bytes = partition.memory_bytes() as u64;
            let most = self.limits.partition_bytes_max as u64 + tasks * TASK_GROWTH_BYTES;
            assert!(bytes <= most, "{bytes} bytes in {id:?}");
            let population = self.populations.entry(id.0).or_default();
            population.bytes_peak = population.bytes_peak.max(bytes);
        }
    }

    fn note(&mut self, index: usize, delta: &Delta) {
        match delta {
            Delta::ObjectCreated { object, version, record } => {
                assert!(*version == 1, "a new object is at version 1");
                let record = Message::parse(record).expect("a record is a message");
                self.note_created(index, *object, record);
            }
            Delta::ObjectChanged { object, version, changes } => {
                let changes = Message::parse(changes).expect("changes are a message");
                self.note_changed(*object, *version, changes);
            }
            Delta::ObjectDeleted { object } => {
                let facts = self.objects.get_mut(object).expect("a deleted object exists");
                assert!(!facts.is_deleted, "an object is deleted once");
                facts.is_deleted = true;
                self.tasks.get_mut(object).into_iter().for_each(TaskFacts::end);
                self.notices_made += u64::from(facts.room().is_some());
                let watched = self.watches.iter().filter(|(_, watched)| watched == object);
                let sessions: Vec<u64> = watched.map(|(session, _)| *session).collect();
                sessions.into_iter().for_each(|session| self.end_watch(session, *object));
                if let Some(room) = self.rooms.get_mut(object) {
                    assert!(room.members.is_empty(), "a room with members was deleted");
                    room.is_deleted = true;
                }
                self.populations.entry(ObjectId(*object).partition().0).or_default().now -= 1;
            }
            Delta::UserPresent { user, session, .. } => {
                assert!(self.sessions.insert(*session), "a session logs in once");
                if let Some(Some(older)) = self.users.insert(user.clone(), Some(*session)) {
                    self.superseded.insert(older);
                }
            }
            Delta::UserAbsent { user } => {
                let was = self.users.insert(user.clone(), None).flatten();
                assert!(was.is_some(), "only who is here goes");
            }
            Delta::MemberJoined { room, user, session, .. } => {
                self.note_joined(*room, user, *session);
            }
            Delta::MemberLeft { room, user } => {
                let facts = self.rooms.get_mut(room).expect("a left room exists");
                let (_, stay) = facts.members.remove(user).expect("only members leave");
                self.end_stay(stay);
            }
            Delta::WatchStarted { object, session, user, .. } => {
                assert!(self.users.contains_key(user), "nobody is {user}");
                let watch = (*session, *object);
                assert!(self.watches.insert(watch), "a session watches an object once");
                let version = self.objects[object].version;
                self.watch_begins.entry(watch).or_default().push_back(version);
            }
            Delta::WatchEnded { object, session } => self.end_watch(*session, *object),
        }
    }

    fn note_changed(&mut self, object: u64, version: u64, changes: Message<'_>) {
        let facts = self.objects.get_mut(&object).expect("a changed object exists");
        assert!(version == facts.version + 1 && !facts.is_deleted, "versions are dense");
        facts.version = version;
        let before = facts.room().cloned();
        let mut fields = facts.history.last().cloned().expect("it has a first version");
        for (name, value) in changes.fields() {
            match value {
                Value::Null => _ = fields.remove(name),
                value => _ = fields.insert(name.to_owned(), value.to_string()),
            }
        }
        if let Some(owner) = fields.get("owner").filter(|owner| *owner != facts.owner()) {
            facts.owners.push(owner.clone());
        }
        facts.history.push(fields);
        facts.changed.push(changes.fields().map(|(name, _)| name.to_owned()).collect());
        let rooms = BTreeSet::from([before.as_ref(), facts.room()]);
        self.notices_made += rooms.iter().flatten().count() as u64;
        self.note_task_changed(object, changes);
    }

    fn end_watch(&mut self, session: u64, object: u64) {
        assert!(self.watches.remove(&(session, object)), "only a watch that is there ends");
        let version = self.objects[&object].version;
        self.watch_ends.entry((session, object)).or_default().push_back(version);
    }

    fn note_created(&mut self, index: usize, object: u64, record: Message<'_>) {
        let kind = record.method().to_owned();
        let owner = record.text("owner").expect("users own what they make").to_owned();
        if is_room_kind(&kind) {
            let Some(Value::Text(name)) = record.get("name") else { panic!("a room has a name") };
            self.room_names.insert(name.to_owned());
            let facts = RoomFacts {
                name: name.to_owned(),
                home: index,
                members: BTreeMap::new(),
                next_sequence: 1,
                is_deleted: false,
                heard: BTreeMap::new(),
                counts: BTreeMap::new(),
            };
            self.rooms.insert(object, facts);
        }
        let population = self.populations.entry(ObjectId(object).partition().0).or_default();
        population.now += 1;
        population.peak = population.peak.max(population.now);
        let fields: BTreeMap<String, String> =
            record.fields().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
        let changed = vec![fields.keys().cloned().collect()];
        let (owners, history) = (vec![owner], vec![fields]);
        let facts = ObjectFacts { kind, owners, version: 1, is_deleted: false, history, changed };
        self.notices_made += u64::from(facts.room().is_some());
        assert!(self.objects.insert(object, facts).is_none(), "an id is used once");
        match record.method() {
            "task" => self.note_task_made(object, record),
            _ => self.object_list.push(object),
        }
    }

    fn note_joined(&mut self, room: u64, user: &str, session: u64) {
        let facts = self.rooms.get_mut(&room).expect("a joined room exists");
        let stay = self.stays.len();
        self.stays.push(StayFacts { room, begin: (facts.next_sequence, 0), end: None });
        self.touched.push(stay);
        let claim = (session, facts.name.clone());
        self.unclaimed.entry(claim).or_default().push_back(stay);
        if let Some((_, older)) = facts.members.insert(user.to_owned(), (session, stay)) {
            self.end_stay(older);
        }
    }

    fn end_stay(&mut self, stay: usize) {
        let low = self.rooms[&self.stays[stay].room].next_sequence;
        assert!(self.stays[stay].end.is_none(), "a stay ends once");
        self.stays[stay].end = Some((low, 0));
        self.touched.push(stay);
    }

    /// The stay that a session's client now hears to have begun.
    pub(crate) fn claim_stay(&mut self, session: u64, room: &str) -> usize {
        let unclaimed = self.unclaimed.get_mut(&(session, room.to_owned()));
        let stay = unclaimed.and_then(VecDeque::pop_front);
        stay.expect("a join was granted that never happened")
    }

    /// The most objects that the partition ever held.
    pub(crate) fn population_peak(&self, partition: PartitionId) -> usize {
        self.populations.get(&partition.0).map_or(0, |population| population.peak)
    }

    /// The most bytes that the partition's objects ever took.
    pub(crate) fn partition_bytes_peak(&self, partition: PartitionId) -> u64 {
        self.populations.get(&partition.0).map_or(0, |population| population.bytes_peak)
    }

    /// The most bytes that the objects of the partition's shard ever took.
    pub(crate) fn state_bytes_peak(&self, partition: PartitionId) -> u64 {
        let routing = RoutingTable::even(self.replicas.len() as u16, Epoch(1));
        self.state_bytes_peaks[routing.shard_of(partition).index()]
    }

    /// The version at which a watch began, of which the session's client now hears.
    pub(crate) fn claim_watch(&mut self, session: u64, object: u64) -> u64 {
        let begin = self.watch_begins.get_mut(&(session, object)).and_then(VecDeque::pop_front);
        begin.expect("a watch was granted that never began")
    }

    /// The version at which a watch ended, of which the session's client now hears.
    pub(crate) fn claim_watch_end(&mut self, session: u64, object: u64) -> u64 {
        let end = self.watch_ends.get_mut(&(session, object)).and_then(VecDeque::pop_front);
        end.expect("a watch ended that is still there")
    }

    /// The most messages of a room that a stay in it can still hear, after those it heard.
    pub(crate) fn numbered_in(&self, stay: usize, next: Option<u64>) -> u64 {
        let facts = self.stays[stay];
        let end = self.rooms[&facts.room].next_sequence;
        let end = facts.end.map_or(end, |(_, high)| high.min(end));
        end.saturating_sub(next.unwrap_or(facts.begin.0))
    }

    /// The most that can be heard of an object after a version: each change, and its end.
    pub(crate) fn versions_after(&self, object: u64, version: u64) -> u64 {
        self.objects[&object].version - version + 1
    }

    /// The most that the session can hear of rooms and objects of which it does not know that it
    /// hears them.
    pub(crate) fn unclaimed_by(&self, session: u64) -> u64 {
        let stays = self.unclaimed.range((session, String::new())..(session + 1, String::new()));
        let stays = stays.flat_map(|(_, stays)| stays).map(|stay| self.numbered_in(*stay, None));
        let watches = self.watch_begins.range((session, 0)..=(session, u64::MAX));
        let watches = watches.flat_map(|((_, object), begins)| {
            begins.iter().map(|begin| self.versions_after(*object, *begin))
        });
        stays.chain(watches).sum()
    }

    /// The objects that the session watches.
    pub(crate) fn watched_by(&self, session: u64) -> BTreeSet<u64> {
        let of_session = self.watches.range((session, 0)..=(session, u64::MAX));
        of_session.map(|(_, object)| *object).collect()
    }

    /// Whether a user may read the object: secret rooms are for their owners and members.
    pub(crate) fn may_read(&self, object: u64, user: &str, session: u64) -> bool {
        let facts = &self.objects[&object];
        let Some(room) = self.rooms.get(&object) else { return true };
        let secret = facts.history.last().and_then(|fields| fields.get("secret"));
        let is_member = room.members.values().any(|(member, _)| *member == session);
        secret.is_none_or(|secret| secret != "true") || facts.owner() == user || is_member
    }

    /// How many watches there are.
    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// The session by which the user is here.
    pub(crate) fn session_of(&self, user: &str) -> Option<u64> {
        self.users.get(user).copied().flatten()
    }

    /// The rooms in which the session is a member.
    pub(crate) fn rooms_of(&self, session: u64) -> BTreeSet<&str> {
        let is_in = |room: &&RoomFacts| room.members.values().any(|(member, _)| *member == session);
        self.rooms.values().filter(is_in).map(|room| &*room.name).collect()
    }

    /// Rooms that still exist, with the kind of life that they have.
    pub(crate) fn living_rooms(&self) -> impl Iterator<Item = (ObjectId, &RoomFacts)> {
        let live = |(_, room): &(&u64, &RoomFacts)| !room.is_deleted;
        self.rooms.iter().filter(live).map(|(id, room)| (ObjectId(*id), room))
    }

    /// The shard's state equals that of its replica.
    pub(crate) fn check_replica(&self, index: usize, shard: &Shard) {
        let replica = &self.replicas[index];
        for number in 0..PARTITION_COUNT {
            let id = PartitionId(u16::try_from(number).expect("partitions have 16 bits"));
            match (shard.partition(id), replica.partition(id)) {
                (None, None) => {}
                (Some(live), None) => {
                    assert!(live.object_count() == 0, "partition {number} was not replayed");
                }
                (None, Some(_)) => panic!("partition {number} was made by replay alone"),
                (Some(live), Some(replayed)) => assert!(
                    live.digest() == replayed.digest(),
                    "replay made another partition {number}"
                ),
            }
        }
    }
}
