//! What clients ask for next. Names are few, so that requests collide.

use warren_core::ids::ObjectId;
use warren_core::message::{Value, packed};
use warren_core::object::is_room_kind;

use crate::auditor::View;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::prng::Prng;

/// Longest text of a message.
pub(crate) const TEXT_BYTES_MAX: u64 = 300;

/// A request, and whether no server may grant it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_malformed: bool,
}

/// The names in use, and how requests are drawn.
#[derive(Debug)]
pub(crate) struct Workload {
    users: Vec<String>,
    rooms: Vec<String>,
    direct_percent: u64,
    rooms_percent: u64,
    prng: Prng,
}

/// NPCs of worlds: in the cell in which everybody is, from where they do not get out.
const NPCS: &[&str] = &[
    "wander:1:9:30:30:4",
    "patrol:2:5:30:30:9",
    "seek:2:3:20:20:19",
    "flee:1:3:30:30:20|flock:1:9:30:30:5",
    "flock:3:9:30:30:5",
    "wander:40:9:30:30:9",
];

/// What kinds of request there are, each as often as it stands here.
const KINDS: &[(u64, Kind)] = &[
    (30, Kind::RoomTalk),
    (8, Kind::DirectTalk),
    (16, Kind::Join),
    (7, Kind::Leave),
    (4, Kind::Who),
    (3, Kind::Rooms),
    (5, Kind::Create),
    (2, Kind::CreateRoom),
    (4, Kind::Get),
    (6, Kind::Set),
    (3, Kind::Delete),
    (3, Kind::Find),
    (7, Kind::Watch),
    (3, Kind::Unwatch),
    (3, Kind::Plain),
    (1, Kind::Login),
    (1, Kind::Quit),
    (1, Kind::Unknown),
    (3, Kind::Malformed),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    RoomTalk,
    DirectTalk,
    Join,
    Leave,
    Who,
    Rooms,
    Create,
    CreateRoom,
    Get,
    Set,
    Delete,
    Find,
    Watch,
    Unwatch,
    Plain,
    Login,
    Quit,
    Unknown,
    Malformed,
}

impl Workload {
    pub(crate) fn new(plan: &Plan, prng: Prng) -> Self {
        Self {
            users: (0..plan.user_count).map(|index| format!("u{index}")).collect(),
            rooms: (0..plan.room_count).map(|index| format!("r{index}")).collect(),
            direct_percent: plan.direct_percent,
            rooms_percent: plan.rooms_percent,
            prng,
        }
    }

    /// The next request of a client. Its `id` is found again in what it says.
    pub(crate) fn draft(&mut self, id: i64, view: &View, oracle: &Oracle) -> Draft {
        let kind = match (view.has_sent_login, self.prng.below(100)) {
            (false, 0..80) => Kind::Login,
            (true, below) if below < self.direct_percent => Kind::DirectTalk,
            (true, _) if self.prng.chance(self.rooms_percent) => Kind::Rooms,
            _ => self.kind(),
        };
        let is_malformed = matches!(kind, Kind::Malformed | Kind::Unknown);
        let bytes = match kind {
            Kind::RoomTalk | Kind::DirectTalk => self.talk(id, kind, view),
            Kind::Join | Kind::Leave | Kind::Who => self.room_request(id, kind, view),
            Kind::Create | Kind::CreateRoom => self.create(id, kind, view),
            Kind::Watch | Kind::Unwatch => self.watch(id, kind, view, oracle),
            Kind::Get | Kind::Set | Kind::Delete => self.object_request(id, kind, view, oracle),
            Kind::Find => self.find(id, oracle),
            Kind::Login => self.login(id),
            Kind::Malformed => self.malformed(id),
            Kind::Rooms => {
                let count = Value::Integer(self.prng.between(1, 8) as i64);
                let after = self.prng.pick(&["", "", "r1", "zz"]);
                build("rooms", id, &[("count", count), ("after", Value::Text(after))])
            }
            Kind::Plain => {
                let method = self.prng.pick(&["ping", "time", "hello"]);
                build(method, id, &[])
            }
            Kind::Quit => build("quit", id, &[]),
            Kind::Unknown => build("dance", id, &[("text", Value::Text("tango"))]),
        };
        Draft { bytes, is_malformed }
    }

    fn kind(&mut self) -> Kind {
        let total = KINDS.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.prng.below(total);
        for (weight, kind) in KINDS {
            if drawn < *weight {
                return *kind;
            }
            drawn -= weight;
        }
        unreachable!("the weights add up to their total")
    }

    /// A room: more often than not one in which the client believes itself to be.
    fn room(&mut self, view: &View, percent_inside: u64) -> String {
        let inside: Vec<&String> = view.stays.keys().collect();
        if !inside.is_empty() && self.prng.chance(percent_inside) {
            return (*self.prng.pick(&inside)).clone();
        }
        match self.prng.below(60) {
            0 => "lobby".into(),
            1 => self.prng.pick(&self.users).clone(),
            _ => self.prng.pick(&self.rooms).clone(),
        }
    }

    fn talk(&mut self, id: i64, kind: Kind, view: &View) -> Vec<u8> {
        let to = match kind {
            Kind::DirectTalk => self.prng.pick(&self.users).clone(),
            _ => self.room(view, 85),
        };
        let length_max = if self.prng.chance(20) { TEXT_BYTES_MAX } else { 40 };
        let padding = "x".repeat(self.prng.between(0, length_max) as usize);
        let text = format!("t{id} {padding}");
        let (to, text) = (("to", Value::Text(&to)), Value::Text(&text));
        match self.prng.below(5) {
            0 => build("emit", id, &[to, ("event", Value::Text("wave")), ("text", text)]),
            1 => build("say", id, &[("text", text), to]),
            _ => build("chat", id, &[to, ("text", text)]),
        }
    }

    fn room_request(&mut self, id: i64, kind: Kind, view: &View) -> Vec<u8> {
        let (method, percent_inside) = match kind {
            Kind::Join => ("join", 10),
            Kind::Leave => ("leave", 80),
            _ => ("who", 60),
        };
        let room = self.room(view, percent_inside);
        let room = ("room", Value::Text(&room));
        if method == "who" && self.prng.chance(50) {
            let count = Value::Integer(self.prng.between(1, 6) as i64);
            return build(method, id, &[room, ("count", count)]);
        }
        build(method, id, &[room])
    }

    fn create(&mut self, id: i64, kind: Kind, view: &View) -> Vec<u8> {
        let number = Value::Integer(self.prng.below(4) as i64);
        if matches!(kind, Kind::CreateRoom) {
            let room = self.prng.pick(&self.rooms).clone();
            let members = Value::Integer(self.prng.between(1, 6) as i64);
            let secret = Value::Boolean(self.prng.chance(30));
            let fields = [
                ("kind", Value::Text("room")),
                ("room", Value::Text(&room)),
                ("members_max", members),
                ("secret", secret),
            ];
            if self.prng.chance(40) {
                let [_, room, members, _] = fields;
                let kind = ("kind", Value::Text("world"));
                let tick_hz = ("tick_hz", Value::Integer(60));
                let npcs = ("npcs", Value::Text(self.prng.pick::<&str>(NPCS)));
                let fields = match self.prng.chance(50) {
                    true => [kind, room, tick_hz, npcs, members],
                    false => [kind, room, tick_hz, members, npcs],
                };
                let count = self.prng.between(3, 4) as usize;
                return build("create", id, &fields[..count]);
            }
            let count = self.prng.between(2, 4) as usize;
            return build("create", id, &fields[..count]);
        }
        let padding = "y".repeat(self.prng.between(0, 70) as usize);
        let partition = Value::Integer(self.prng.between(1, 3) as i64);
        let fields = [
            ("kind", Value::Text("thing")),
            ("number", number),
            ("note", Value::Text(&padding)),
            ("partition", partition),
        ];
        let count = self.prng.between(2, 4) as usize;
        if self.prng.chance(40) {
            let room = self.room(view, 90);
            let [kind, number, .., partition] = fields;
            let fields = [kind, number, partition, ("room", Value::Text(&room))];
            return build("create", id, &fields);
        }
        build("create", id, &fields[..count])
    }

    /// An object: more often than not one of the client's own.
    fn object(&mut self, view: &View, oracle: &Oracle) -> ObjectId {
        if oracle.object_list.is_empty() || self.prng.chance(3) {
            return ObjectId(self.prng.next());
        }
        let is_own = |object: &u64| view.user() == Some(oracle.objects[object].owner());
        let drawn = [(); 6].map(|()| *self.prng.pick(&oracle.object_list));
        ObjectId(drawn.into_iter().find(is_own).unwrap_or(drawn[0]))
    }

    fn object_request(&mut self, id: i64, kind: Kind, view: &View, oracle: &Oracle) -> Vec<u8> {
        let object = self.object(view, oracle);
        let is_room = oracle.objects.get(&object.0).is_some_and(|facts| is_room_kind(&facts.kind));
        let version = oracle.objects.get(&object.0).map_or(1, |facts| facts.version as i64);
        let version = version + i64::from(self.prng.chance(30));
        let object = ("object", Value::Object(object));
        match kind {
            Kind::Get => build("get", id, &[object]),
            Kind::Delete => build("delete", id, &[object]),
            _ => {
                let note = ["", "a", "a longer note", "a note that is too long for a tiny object"];
                let note = ("note", Value::Text(self.prng.pick::<&str>(&note)));
                let number = ("number", Value::Integer(self.prng.below(4) as i64));
                let level = ("ack", Value::Text(self.prng.pick::<&str>(&["applied", "durable"])));
                let (room, owner) = (self.room(view, 80), self.prng.pick(&self.users).clone());
                let room = if self.prng.chance(20) { String::new() } else { room };
                let secret = ("secret", Value::Boolean(self.prng.chance(60)));
                match self.prng.below(8) {
                    0 | 7 if is_room => build("set", id, &[object, secret]),
                    0 => build("set", id, &[object, note, number, level]),
                    2 | 3 => build("set", id, &[object, ("room", Value::Text(&room)), number]),
                    4 => build("set", id, &[object, ("owner", Value::Text(&owner))]),
                    1 => build("set", id, &[object, ("version", Value::Integer(version)), number]),
                    _ => build("set", id, &[object, note, number]),
                }
            }
        }
    }

    fn watch(&mut self, id: i64, kind: Kind, view: &View, oracle: &Oracle) -> Vec<u8> {
        let watched: Vec<u64> = view.watches.keys().copied().collect();
        let is_known = !watched.is_empty() && self.prng.chance(80);
        match kind {
            Kind::Unwatch if is_known => {
                let object = Value::Object(ObjectId(*self.prng.pick(&watched)));
                build("unwatch", id, &[("object", object)])
            }
            Kind::Unwatch => {
                build("unwatch", id, &[("object", Value::Object(self.object(view, oracle)))])
            }
            _ => build("watch", id, &[("object", Value::Object(self.object(view, oracle)))]),
        }
    }

    fn find(&mut self, id: i64, oracle: &Oracle) -> Vec<u8> {
        let kind =
            ("kind", Value::Text(self.prng.pick::<&str>(&["thing", "user", "room", "world"])));
        let count = ("count", Value::Integer(self.prng.between(1, 4) as i64));
        if oracle.object_list.is_empty() || self.prng.chance(50) {
            return build("find", id, &[kind, count, ("number", Value::Text("1"))]);
        }
        let near = ObjectId(*self.prng.pick(&oracle.object_list));
        let partition = ("partition", Value::Integer(i64::from(near.partition().0)));
        let (owner, room) =
            (self.prng.pick(&self.users).clone(), self.prng.pick(&self.rooms).clone());
        match self.prng.below(4) {
            0 => build("find", id, &[kind, count, partition, ("owner", Value::Text(&owner))]),
            1 => build("find", id, &[kind, count, partition, ("room", Value::Text(&room))]),
            _ => build("find", id, &[kind, count, partition]),
        }
    }

    fn login(&mut self, id: i64) -> Vec<u8> {
        let user = match self.prng.below(40) {
            0 => "lobby".into(),
            1 => self.prng.pick(&self.rooms).clone(),
            _ => self.prng.pick(&self.users).clone(),
        };
        let password = ("pw", Value::Text("secret"));
        if self.prng.chance(20) {
            let player = format!("{user}@{}", self.prng.pick(&self.rooms));
            return build("login", id, &[("player", Value::Text(&player)), password]);
        }
        build("login", id, &[("user", Value::Text(&user)), password])
    }

    fn malformed(&mut self, id: i64) -> Vec<u8> {
        let object = Value::Object(ObjectId(u64::MAX));
        match self.prng.below(8) {
            0 => build("chat", id, &[("to", Value::Text("r0"))]),
            1 => build("join", id, &[("room", Value::Text("9bad"))]),
            2 => build("create", id, &[("kind", Value::Text("thing")), ("seq", object)]),
            3 => build("who", id, &[("room", Value::Text("r0")), ("count", Value::Integer(0))]),
            4 => build("hello", id, &[("protocol", Value::Integer(2))]),
            5 => build("get", id, &[("object", Value::Text("nowhere"))]),
            6 => build("create", id, &[("kind", Value::Text("user"))]),
            _ => build("login", id, &[("user", Value::Integer(7))]),
        }
    }
}

fn build(method: &str, id: i64, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut all = vec![("id", Value::Integer(id))];
    all.extend_from_slice(fields);
    packed(method, &all)
}
