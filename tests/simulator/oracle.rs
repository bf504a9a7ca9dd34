//! What is true, learned from the delta batches of all shards: objects, users, members of rooms.
//! Every batch is encoded, decoded and replayed into a replica of its shard, which must end up
//! equal to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::{ObjectId, PARTITION_COUNT, PartitionId};
use warren_core::message::{Message, Value};
use warren_core::shard::Shard;

/// What is known of an object.
#[derive(Debug)]
pub(crate) struct ObjectFacts {
    pub(crate) kind: String,
    pub(crate) owner: String,
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
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
}

/// All that is true.
#[derive(Debug)]
pub(crate) struct Oracle {
    replicas: Vec<Shard>,
    pub(crate) objects: BTreeMap<u64, ObjectFacts>,
    /// Ids of all objects, in order of creation.
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
    pub(crate) fn new(replicas: Vec<Shard>) -> Self {
        Self {
            replicas,
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
            for delta in &batch.deltas {
                self.note(index, delta);
            }
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

    fn note(&mut self, index: usize, delta: &Delta) {
        match delta {
            Delta::ObjectCreated { object, version, record } => {
                assert!(*version == 1, "a new object is at version 1");
                let record = Message::parse(record).expect("a record is a message");
                self.note_created(index, *object, record);
            }
            Delta::ObjectChanged { object, version, .. } => {
                let facts = self.objects.get_mut(object).expect("a changed object exists");
                assert!(*version == facts.version + 1 && !facts.is_deleted, "versions are dense");
                facts.version = *version;
            }
            Delta::ObjectDeleted { object } => {
                let facts = self.objects.get_mut(object).expect("a deleted object exists");
                assert!(!facts.is_deleted, "an object is deleted once");
                facts.is_deleted = true;
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
        }
    }

    fn note_created(&mut self, index: usize, object: u64, record: Message<'_>) {
        let kind = record.method().to_owned();
        let owner = record.text("owner").expect("users own what they make").to_owned();
        if kind == "room" {
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
        let facts = ObjectFacts { kind, owner, version: 1, is_deleted: false };
        assert!(self.objects.insert(object, facts).is_none(), "an id is used once");
        self.object_list.push(object);
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
