//! The state of a partition: objects, and what is derived from them for rooms and users. It
//! changes only by [`Partition::apply`], live, in recovery and on a replica alike.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::authorize::Roles;
use crate::delta::{Delta, DeltaBatch};
use crate::hashing::{HashMap, HashSeed};
use crate::ids::{Address, ObjectId, PartitionId, SessionId};
use crate::kinds::Kinds;
use crate::message::{Message, Value};
use crate::object::{
    FIELD_OWNER, FIELD_SECRET, KIND_OVERHEAD_BYTES, KIND_ROOM, KIND_USER, KIND_WORLD, Object,
    PARTITION_OVERHEAD_BYTES, WATCH_OVERHEAD_BYTES, WATCHED_OVERHEAD_BYTES, record_memory_bytes,
};
use crate::room::{Member, Room};
use crate::snapshot::RestoreError;
use crate::tasks::record::{KIND_TASK, TaskRecord};
use crate::watch::{Watcher, Watchers};
use crate::world::WorldSettings;

/// What a partition knows of a user whose name lives in it.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// The user's own object.
    pub object: ObjectId,
    /// The session by which the user is here, if any.
    pub session: Option<SessionId>,
    /// How often the user has logged in.
    pub login_count: u64,
}

/// What a shard sums up over its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionTotals {
    /// Objects, rooms and users among them.
    pub objects: u64,
    /// Rooms.
    pub rooms: u64,
    /// Bytes in memory of the objects.
    pub bytes: u64,
    /// Watches of the objects.
    pub watches: u64,
}

/// The state of one partition.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    objects: BTreeMap<Address, Object>,
    kinds: Kinds,
    /// The sum of the objects' `memory_bytes`.
    object_bytes: usize,
    watchers: HashMap<ObjectId, Watchers>,
    watch_count: usize,
    rooms: HashMap<ObjectId, Room>,
    room_names: HashMap<Box<str>, ObjectId>,
    users: HashMap<Box<str>, User>,
    next_address: Address,
}

impl Partition {
    pub(crate) fn new(id: PartitionId, seed: HashSeed, next_address: Address) -> Self {
        Self {
            id,
            objects: BTreeMap::new(),
            kinds: Kinds::new(seed),
            object_bytes: 0,
            watchers: HashMap::with_hasher(seed),
            watch_count: 0,
            rooms: HashMap::with_hasher(seed),
            room_names: HashMap::with_hasher(seed),
            users: HashMap::with_hasher(seed),
            next_address,
        }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    /// Number of objects, rooms and users among them.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Number of rooms.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Bytes that the objects and their watches take in memory, against `partition_bytes_max`.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_partition = if self.objects.is_empty() { 0 } else { PARTITION_OVERHEAD_BYTES };
        let of_watches =
            self.watch_count * WATCH_OVERHEAD_BYTES + self.watchers.len() * WATCHED_OVERHEAD_BYTES;
        self.object_bytes + self.kinds.memory_bytes() + of_partition + of_watches
    }

    /// Bytes that a new object with this record would add to that.
    #[must_use]
    pub fn memory_bytes_of_new(&self, record: Message<'_>) -> usize {
        let is_first = !self.kinds.contains(record.method());
        let of_kind = if is_first { KIND_OVERHEAD_BYTES } else { 0 };
        let of_partition = if self.objects.is_empty() { PARTITION_OVERHEAD_BYTES } else { 0 };
        record_memory_bytes(record) + of_kind + of_partition
    }

    /// Bytes that one more watch of the object would add.
    #[must_use]
    pub fn memory_bytes_of_watch(&self, object: ObjectId) -> usize {
        let is_first = !self.watchers.contains_key(&object);
        WATCH_OVERHEAD_BYTES + if is_first { WATCHED_OVERHEAD_BYTES } else { 0 }
    }

    /// What the shard sums up.
    #[must_use]
    pub fn totals(&self) -> PartitionTotals {
        PartitionTotals {
            objects: self.objects.len() as u64,
            rooms: self.rooms.len() as u64,
            bytes: self.memory_bytes() as u64,
            watches: self.watch_count as u64,
        }
    }

    /// The id that the next object gets when so many are made before it, unless the address space is
    /// used up.
    #[must_use]
    pub fn object_after_next(&self, before: u64) -> Option<ObjectId> {
        let address = Address::new(self.next_address.get().checked_add(before)?)?;
        (address < Address::MAX).then(|| ObjectId::new(self.id, address))
    }

    /// Its tasks, in the order in which they were made.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.objects_of_kind_after(KIND_TASK, BEFORE_FIRST_ADDRESS)
    }

    pub(crate) fn next_address(&self) -> Address {
        self.next_address
    }

    /// The object.
    #[must_use]
    pub fn object(&self, object: ObjectId) -> Option<&Object> {
        assert!(object.partition() == self.id);
        self.objects.get(&object.address())
    }

    /// Objects with an address above `after`, in order.
    pub fn objects_after(&self, after: Address) -> impl Iterator<Item = (ObjectId, &Object)> {
        use core::ops::Bound;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.objects
            .range(range)
            .map(|(address, object)| (ObjectId::new(self.id, *address), object))
    }

    /// Objects of the kind with an address above `after`, in order.
    pub fn objects_of_kind_after(
        &self,
        kind: &str,
        after: Address,
    ) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.kinds.after(kind, after).map(|address| {
            let object = self.objects.get(&address).expect("what is indexed is there");
            (ObjectId::new(self.id, address), object)
        })
    }

    /// Those who watch the object, if anyone does.
    #[must_use]
    pub fn watchers(&self, object: ObjectId) -> Option<&Watchers> {
        self.watchers.get(&object)
    }

    /// Whether the session watches the object.
    #[must_use]
    pub fn is_watching(&self, object: ObjectId, session: SessionId) -> bool {
        self.watchers(object).is_some_and(|watchers| watchers.contains(session))
    }

    /// The room.
    #[must_use]
    pub fn room(&self, room: ObjectId) -> Option<&Room> {
        self.rooms.get(&room)
    }

    pub(crate) fn room_mut(&mut self, room: ObjectId) -> Option<&mut Room> {
        self.rooms.get_mut(&room)
    }

    /// The room of that name.
    #[must_use]
    pub fn room_named(&self, name: &str) -> Option<(ObjectId, &Room)> {
        let id = *self.room_names.get(name)?;
        Some((id, self.rooms.get(&id).expect("a room's name goes with it")))
    }

    /// The user of that name, here or not.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.users.get(name).copied()
    }

    /// Notes whether the object waits to be stored, and says whether it did; nothing when there is
    /// no such object.
    pub(crate) fn mark_changed(&mut self, address: Address, is_changed: bool) -> Option<bool> {
        let object = self.objects.get_mut(&address)?;
        Some(core::mem::replace(&mut object.is_changed, is_changed))
    }

    /// A partition without objects and without a shard: to look whether objects can be its.
    #[must_use]
    pub fn alone(id: PartitionId, seed: HashSeed) -> Self {
        Self::new(id, seed, FIRST_ADDRESS)
    }

    /// Takes an object as it was stored; those of the partition in the order of their addresses. What it
    /// refuses no shard could load.
    ///
    /// # Errors
    /// [`RestoreError`]; the partition is as before.
    pub fn restore(
        &mut self,
        id: ObjectId,
        version: u64,
        record: &[u8],
    ) -> Result<(), RestoreError> {
        let message = Message::parse(record).map_err(|_| RestoreError::RecordMalformed)?;
        self.check_restored(id, version, message)?;
        self.apply(&Delta::ObjectCreated { object: id.0, version, record: record.to_vec() });
        Ok(())
    }

    /// Whether an object that was stored can come back as the partition's next one.
    pub(crate) fn check_restored(
        &self,
        id: ObjectId,
        version: u64,
        record: Message<'_>,
    ) -> Result<(), RestoreError> {
        if id.address() < self.next_address || id.address() == Address::MAX {
            return Err(RestoreError::AddressOutOfOrder);
        }
        if version == 0 {
            return Err(RestoreError::VersionMissing);
        }
        if !matches!(record.get(FIELD_OWNER), None | Some(Value::Text(_))) {
            return Err(RestoreError::RecordMalformed);
        }
        let field = match record.method() {
            KIND_TASK if TaskRecord::is_sound(record) => return Ok(()),
            KIND_TASK => return Err(RestoreError::RecordMalformed),
            KIND_USER => FIELD_OWNER,
            KIND_ROOM | KIND_WORLD => "name",
            _ => return Ok(()),
        };
        let name = record.name(field).map_err(|_| RestoreError::NameInvalid)?;
        if PartitionId::of_name(name) != self.id {
            return Err(RestoreError::NameInvalid);
        }
        if self.users.contains_key(name) || self.room_names.contains_key(name) {
            return Err(RestoreError::NameTwice);
        }
        Ok(())
    }

    /// Whether an object that is there can have changed so.
    pub(crate) fn check_changed(
        &self,
        id: ObjectId,
        version: u64,
        changes: Message<'_>,
    ) -> Result<(), RestoreError> {
        let object = self.object(id).ok_or(RestoreError::ObjectMissing)?;
        if version != object.version() + 1 {
            return Err(RestoreError::VersionSkipped);
        }
        if changes.method() != object.kind() {
            return Err(RestoreError::RecordMalformed);
        }
        if !matches!(changes.get(FIELD_OWNER), None | Some(Value::Text(_) | Value::Null)) {
            return Err(RestoreError::RecordMalformed);
        }
        if object.kind() == KIND_TASK && !TaskRecord::is_sound_change(changes) {
            return Err(RestoreError::RecordMalformed);
        }
        let has_own_name = matches!(object.kind(), KIND_USER | KIND_ROOM | KIND_WORLD);
        let name = if object.kind() == KIND_USER { FIELD_OWNER } else { "name" };
        if has_own_name && changes.get(name).is_some() {
            return Err(RestoreError::NameInvalid);
        }
        Ok(())
    }

    /// The addresses below this one are given to no object any more.
    pub(crate) fn skip_addresses(&mut self, next: Address) {
        self.next_address = self.next_address.max(next);
    }

    /// Changes the state.
    ///
    /// # Panics
    /// When the delta does not follow from the state before it: it was not made from it.
    pub fn apply(&mut self, delta: &Delta) {
        match delta {
            Delta::ObjectCreated { object, version, record } => {
                let created = Object::new(*version, Message::from_checked(record));
                self.create(ObjectId(*object), created);
            }
            Delta::ObjectChanged { object, version, changes } => {
                let id = self.local(*object);
                let object = self.objects.get_mut(&id.address()).expect("a changed object exists");
                self.object_bytes -= object.memory_bytes();
                object.change(*version, Message::from_checked(changes));
                self.object_bytes += object.memory_bytes();
                if let Some(room) = self.rooms.get_mut(&id) {
                    configure_room(room, object);
                }
            }
            Delta::ObjectDeleted { object } => self.delete(ObjectId(*object)),
            Delta::UserPresent { user, session, login } => {
                let user = self.users.get_mut(user.as_str()).expect("a present user has an object");
                assert!(*login == user.login_count + 1, "logins are counted one by one");
                user.login_count = *login;
                user.session = Some(SessionId::from_bits(*session));
            }
            Delta::UserAbsent { user } => {
                let user = self.users.get_mut(user.as_str()).expect("an absent user has an object");
                assert!(user.session.is_some());
                user.session = None;
            }
            Delta::MemberJoined { room, user, session, login } => {
                let room = self.rooms.get_mut(&ObjectId(*room)).expect("a joined room exists");
                let session = SessionId::from_bits(*session);
                room.insert_member(user, Member { session, login: *login });
            }
            Delta::MemberLeft { room, user } => {
                let room = self.rooms.get_mut(&ObjectId(*room)).expect("a left room exists");
                room.remove_member(user);
            }
            Delta::WatchStarted { object, session, user, roles } => {
                let id = self.local(*object);
                assert!(self.objects.contains_key(&id.address()), "a watched object exists");
                let watchers = self.watchers.entry(id).or_default();
                let watcher =
                    Watcher { user: user.as_str().into(), roles: Roles::from_bits(*roles) };
                watchers.start(SessionId::from_bits(*session), watcher);
                self.watch_count += 1;
            }
            Delta::WatchEnded { object, session } => self.end_watch(*object, *session),
        }
    }

    fn end_watch(&mut self, object: u64, session: u64) {
        let id = self.local(object);
        let watchers = self.watchers.get_mut(&id).expect("a watch that ends was started");
        watchers.end(SessionId::from_bits(session));
        self.watch_count -= 1;
        if watchers.count() == 0 {
            self.watchers.remove(&id);
        }
    }

    fn local(&self, object: u64) -> ObjectId {
        let object = ObjectId(object);
        assert!(object.partition() == self.id, "a delta changes its own partition");
        object
    }

    fn create(&mut self, id: ObjectId, object: Object) {
        let id = self.local(id.0);
        assert!(id.address() >= self.next_address, "an address is used once");
        self.next_address = Address::new(id.address().get() + 1).expect("addresses do not run out");
        match object.kind() {
            KIND_USER => {
                let user = User { object: id, session: None, login_count: 0 };
                let known = self.users.insert(object.owner().into(), user);
                assert!(known.is_none(), "a user has one object");
            }
            KIND_ROOM | KIND_WORLD => {
                let Some(Value::Text(name)) = object.get("name") else {
                    panic!("a room has a name");
                };
                let mut room = Room::new(name);
                configure_room(&mut room, &object);
                let known = self.room_names.insert(name.into(), id);
                assert!(known.is_none(), "a room's name is its own");
                self.rooms.insert(id, room);
            }
            _ => {}
        }
        self.kinds.insert(object.kind(), id.address());
        self.object_bytes += object.memory_bytes();
        self.objects.insert(id.address(), object);
    }

    fn delete(&mut self, id: ObjectId) {
        let id = self.local(id.0);
        let object = self.objects.remove(&id.address()).expect("a deleted object exists");
        self.kinds.remove(object.kind(), id.address());
        self.object_bytes -= object.memory_bytes();
        let watchers = self.watchers.remove(&id);
        self.watch_count -= watchers.map_or(0, |watchers| watchers.count());
        match object.kind() {
            KIND_USER => {
                let user = self.users.remove(object.owner()).expect("a user's object is theirs");
                assert!(user.session.is_none(), "a present user has an object");
            }
            KIND_ROOM | KIND_WORLD => {
                let room = self.rooms.remove(&id).expect("a room's object is its own");
                assert!(room.member_count() == 0, "a room goes when it is empty");
                assert!(room.gathered_bytes() == 0, "what was said leaves before its room goes");
                self.room_names.remove(room.name());
            }
            _ => {}
        }
    }

    /// A number that is equal for equal states: objects, memberships, presence, watches. What it
    /// covers is put into the form of deltas, whose encoding is fixed.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut deltas = alloc::vec::Vec::new();
        for (id, object) in self.objects_after(BEFORE_FIRST_ADDRESS) {
            deltas.push(Delta::ObjectCreated {
                object: id.0,
                version: object.version(),
                record: object.record().as_bytes().into(),
            });
            let present = self.users.get(object.owner()).filter(|user| user.object == id);
            if let Some(&User { session: Some(session), login_count: login, .. }) = present {
                let user = object.owner().into();
                let session = session.to_bits();
                deltas.push(Delta::UserPresent { user, session, login });
            }
            for (user, member) in self.rooms.get(&id).into_iter().flat_map(Room::members) {
                let (user, session) = (user.into(), member.session.to_bits());
                let login = member.login;
                deltas.push(Delta::MemberJoined { room: id.0, user, session, login });
            }
            for (session, watcher) in self.watchers(id).into_iter().flat_map(Watchers::sessions) {
                let (session, user) = (session.to_bits(), watcher.user.as_ref().into());
                let roles = watcher.roles.to_bits();
                deltas.push(Delta::WatchStarted { object: id.0, session, user, roles });
            }
        }
        let next = self.next_address.get();
        let state = DeltaBatch { group: self.id.0, epoch: 0, sequence: next, deltas };
        let mut hasher = SipHasher24::new();
        hasher.write(&state.encode());
        hasher.finish()
    }

    /// A number that is equal for equal objects, in whatever order they are looked at.
    #[must_use]
    pub(crate) fn objects_digest(&self) -> u64 {
        let objects = self.objects_after(BEFORE_FIRST_ADDRESS);
        let digest = |(id, object): (ObjectId, &Object)| {
            object_digest(id, object.version(), object.record())
        };
        objects.map(digest).fold(0, u64::wrapping_add)
    }
}

/// A number of an object's values: id, version, kind, and each field's name and value, the owner's
/// among them. The order of fields is no part of it, since a world that moved through Postgres has
/// another one.
#[must_use]
pub fn object_digest(id: ObjectId, version: u64, record: Message<'_>) -> u64 {
    let fields = record.packed_fields().fold(0, |sum: u64, field| {
        let mut hasher = SipHasher24::new();
        hasher.write(field.bytes);
        sum.wrapping_add(hasher.finish())
    });
    let mut hasher = SipHasher24::new();
    hasher.write_u64(id.0);
    hasher.write_u64(version);
    hasher.write_u64(fields);
    hasher.write(record.method().as_bytes());
    hasher.finish()
}

const BEFORE_FIRST_ADDRESS: Address = match Address::new(0) {
    Some(address) => address,
    None => unreachable!(),
};
/// The address of a partition's first object.
pub const FIRST_ADDRESS: Address = match Address::new(1) {
    Some(address) => address,
    None => unreachable!(),
};

/// Takes a room's settings from the fields of its object.
fn configure_room(room: &mut Room, object: &Object) {
    room.members_max = match object.get("members_max") {
        Some(Value::Integer(count)) => usize::try_from(count).ok(),
        _ => None,
    };
    room.is_secret = object.get(FIELD_SECRET) == Some(Value::Boolean(true));
    room.is_transient = object.get("transient") == Some(Value::Boolean(true));
    room.world =
        (object.kind() == KIND_WORLD).then(|| Box::new(WorldSettings::of(object.record())));
}

#[cfg(test)]
mod tests;
