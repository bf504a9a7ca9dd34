//! Handlers: code that turns a request into effects. They read the partition's state and write
//! nothing; what they ask for is carried out when they succeed.

use crate::authorize::{Policy, Subject, Target, Verb};
use crate::bans::Bans;
use crate::effects::Effects;
use crate::ids::{ObjectId, PartitionId, ShardId};
use crate::limits::{Limits, PAGE_COUNT_DEFAULT, PAGE_COUNT_MAX};
use crate::mesh::{EventHeader, MeshBatch};
use crate::message::{Message, MessageBuilder, Value};
use crate::object::{Object, is_room_kind};
use crate::partition::Partition;
use crate::reason::Reason;
use crate::room::{LOBBY, Room, WATCHTOWER};
use crate::shard::WorkerStep;
use crate::tasks::methods::TaskMethods;
use crate::tasks::record::KIND_TASK;
use crate::watch::Watchers;
use crate::world::Worlds;
use crate::world::behaviours::ShardBehaviours;

mod find;
mod objects;
mod presence;
mod rooms;
mod schedule;
mod talk;
mod tasks;
mod watches;

/// The methods that every server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Hello,
    Login,
    Resume,
    Ping,
    Time,
    Quit,
    Create,
    Get,
    Set,
    Delete,
    Find,
    Watch,
    Unwatch,
    Join,
    Leave,
    Rooms,
    Who,
    Chat,
    Emit,
    Move,
    Work,
    Begin,
    Effect,
    Extend,
    Done,
    Fail,
    Release,
    Thought,
    NewEvent,
    CancelEvent,
    Pending,
    RegisterWatcher,
}

/// Where a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Where its connection is.
    Here,
    /// In a partition, by its queue.
    Partition(PartitionId),
    /// By every shard in turn.
    EveryShard,
}

impl Method {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::RegisterWatcher as usize + 1;

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "hello" => Self::Hello,
            "login" => Self::Login,
            "resume" => Self::Resume,
            "ping" => Self::Ping,
            "time" => Self::Time,
            "quit" => Self::Quit,
            "create" => Self::Create,
            "get" => Self::Get,
            "set" => Self::Set,
            "delete" => Self::Delete,
            "find" => Self::Find,
            "watch" => Self::Watch,
            "unwatch" => Self::Unwatch,
            "join" => Self::Join,
            "leave" => Self::Leave,
            "rooms" => Self::Rooms,
            "who" => Self::Who,
            "chat" | "say" => Self::Chat,
            "emit" => Self::Emit,
            "move" => Self::Move,
            "work" => Self::Work,
            "begin" => Self::Begin,
            "effect" => Self::Effect,
            "extend" => Self::Extend,
            "done" => Self::Done,
            "fail" => Self::Fail,
            "release" => Self::Release,
            "thought" => Self::Thought,
            "new-event" => Self::NewEvent,
            "cancel-event" => Self::CancelEvent,
            "pending" => Self::Pending,
            "register-watcher" => Self::RegisterWatcher,
            _ => return None,
        })
    }

    /// What a worker says of a task by it.
    pub(crate) const fn worker_step(self) -> Option<WorkerStep> {
        Some(match self {
            Self::Begin => WorkerStep::Begin,
            Self::Effect => WorkerStep::Effect,
            Self::Extend => WorkerStep::Extend,
            Self::Done => WorkerStep::Done,
            Self::Fail => WorkerStep::Fail,
            Self::Release => WorkerStep::Release,
            _ => return None,
        })
    }

    /// Its name. `chat` is called `say` too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Login => "login",
            Self::Resume => "resume",
            Self::Ping => "ping",
            Self::Time => "time",
            Self::Quit => "quit",
            Self::Create => "create",
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Find => "find",
            Self::Watch => "watch",
            Self::Unwatch => "unwatch",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Rooms => "rooms",
            Self::Who => "who",
            Self::Chat => "chat",
            Self::Emit => "emit",
            Self::Move => "move",
            Self::Work => "work",
            Self::Begin => "begin",
            Self::Effect => "effect",
            Self::Extend => "extend",
            Self::Done => "done",
            Self::Fail => "fail",
            Self::Release => "release",
            Self::Thought => "thought",
            Self::NewEvent => "new-event",
            Self::CancelEvent => "cancel-event",
            Self::Pending => "pending",
            Self::RegisterWatcher => "register-watcher",
        }
    }

    /// Where the request is answered. `user_partition` is where the user's own object lives.
    pub(crate) fn route(
        self,
        message: Message<'_>,
        user_partition: PartitionId,
    ) -> Result<Route, Reason> {
        Ok(match self {
            Self::Hello
            | Self::Login
            | Self::Resume
            | Self::Ping
            | Self::Time
            | Self::Quit
            | Self::Move
            | Self::Work => Route::Here,
            Self::Begin
            | Self::Effect
            | Self::Extend
            | Self::Done
            | Self::Fail
            | Self::Release
            | Self::CancelEvent => {
                let task = message.get("task").ok_or(Reason::FieldMissing)?;
                Route::Partition(task.as_object().ok_or(Reason::FieldInvalid)?.partition())
            }
            Self::Thought => {
                let world = message.get("world").ok_or(Reason::FieldMissing)?;
                Route::Partition(world.as_object().ok_or(Reason::FieldInvalid)?.partition())
            }
            Self::NewEvent => {
                let target = target_of_task(message)?;
                Route::Partition(target.map_or(user_partition, ObjectId::partition))
            }
            Self::RegisterWatcher => Route::Partition(PartitionId::of_name(WATCHTOWER)),
            Self::Rooms => Route::EveryShard,
            Self::Join | Self::Leave | Self::Who => named(message, "room")?,
            Self::Chat | Self::Emit => named(message, "to")?,
            Self::Get | Self::Set | Self::Delete | Self::Watch | Self::Unwatch => {
                let object = message.get("object").ok_or(Reason::FieldMissing)?;
                let object = object.as_object().ok_or(Reason::FieldInvalid)?;
                Route::Partition(object.partition())
            }
            Self::Create
                if message.get("kind").and_then(Value::as_text).is_some_and(is_room_kind) =>
            {
                named(message, "room")?
            }
            Self::Create | Self::Find | Self::Pending => {
                Route::Partition(match message.get("partition") {
                    None => user_partition,
                    Some(value) => {
                        let number = value.as_integer().ok_or(Reason::FieldInvalid)?;
                        PartitionId(u16::try_from(number).map_err(|_| Reason::FieldInvalid)?)
                    }
                })
            }
        })
    }
}

/// The partition of a room or user. The lobby has none.
fn named(message: Message<'_>, field: &str) -> Result<Route, Reason> {
    let name = message.name(field)?;
    if name == LOBBY {
        return Err(Reason::Lobby);
    }
    Ok(Route::Partition(PartitionId::of_name(name)))
}

/// How full the way to each other shard is.
#[derive(Clone, Copy)]
pub(crate) struct Staging<'a> {
    pub(crate) own: ShardId,
    pub(crate) batches: &'a [MeshBatch],
    /// What rooms have gathered: it may go to any shard, and all at once.
    pub(crate) gathered_bytes: usize,
    pub(crate) bytes_max: usize,
}

impl Staging<'_> {
    /// [`Reason::Busy`] when the shard cannot take another message.
    pub(crate) fn check_shard(self, shard: ShardId) -> Result<(), Reason> {
        self.check_catch_up(shard, 0)
    }

    /// The same, when so much more goes there first.
    pub(crate) fn check_catch_up(self, shard: ShardId, more_bytes: usize) -> Result<(), Reason> {
        let batch_bytes = self.batches[shard.index()].size_bytes();
        let staged_bytes = batch_bytes + self.gathered_bytes + more_bytes;
        let is_full = shard != self.own && staged_bytes >= self.bytes_max;
        if is_full { Err(Reason::Busy) } else { Ok(()) }
    }

    /// [`Reason::Busy`] when a shard with members of the room cannot take another message: asked
    /// before the message gets its number, since a numbered message is never lost.
    pub(crate) fn check_room(self, room: &Room) -> Result<(), Reason> {
        room.shards().try_for_each(|shard| self.check_shard(shard))
    }

    /// The same for those who watch an object: asked before it changes, since they hear every
    /// version.
    pub(crate) fn check_watchers(self, watchers: Option<&Watchers>) -> Result<(), Reason> {
        let shards = watchers.into_iter().flat_map(Watchers::shards);
        shards.into_iter().try_for_each(|shard| self.check_shard(shard))
    }
}

/// An object as those see it who decide who may do what with it.
fn target_of<'a>(request: &Request<'a>, id: ObjectId, object: &'a Object) -> Target<'a> {
    match request.partition.room(id) {
        Some(room) => room_target(request, object, room),
        None if object.kind() == KIND_TASK => Target::Task { owner: object.owner() },
        None => Target::Object { owner: object.owner() },
    }
}

fn room_target<'a>(request: &Request<'a>, object: &'a Object, room: &Room) -> Target<'a> {
    Target::Room {
        owner: object.owner(),
        is_secret: room.is_secret,
        is_member: room.has_member(request.user, request.header.origin.session),
    }
}

/// Whether the request's user may do this: asked for every object that a request reads or writes.
#[cfg_attr(test, track_caller)]
fn authorize(
    request: &Request<'_>,
    id: ObjectId,
    object: &Object,
    verb: Verb,
) -> Result<(), Reason> {
    request.policy.authorize(request.subject(), verb, target_of(request, id, object))
}

/// [`authorize`] for a room that a request names.
#[cfg_attr(test, track_caller)]
fn authorize_room(
    request: &Request<'_>,
    (id, room): (ObjectId, &Room),
    verb: Verb,
) -> Result<(), Reason> {
    let object = request.partition.object(id).expect("a room is an object");
    let target = room_target(request, object, room);
    request.policy.authorize(request.subject(), verb, target)
}

/// [`Reason::FanOutRate`] when the room may not send this now because of the request's user: asked
/// before the message is numbered, and charged when it is.
fn check_fan_out(request: &Request<'_>, room: &Room, message: &[u8]) -> Result<(), Reason> {
    let (rate, now_ns) = (request.limits.fan_out, request.now_ns);
    let fits = room.may_fan_out(request.user, message.len(), rate, now_ns);
    if fits { Ok(()) } else { Err(Reason::FanOutRate) }
}

/// A request, and what its handler may look at.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) header: &'a EventHeader,
    pub(crate) user: &'a str,
    pub(crate) message: Message<'a>,
    pub(crate) partition: &'a Partition,
    pub(crate) policy: &'a Policy,
    pub(crate) limits: &'a Limits,
    pub(crate) staging: Staging<'a>,
    /// Bytes of the objects of all the shard's partitions.
    pub(crate) state_bytes: u64,
    pub(crate) join_creates_rooms: bool,
    pub(crate) bans: &'a Bans,
    pub(crate) task_methods: &'a TaskMethods,
    pub(crate) worlds: &'a Worlds,
    pub(crate) behaviours: &'a ShardBehaviours,
    /// The shard's time, in nanoseconds.
    pub(crate) now_ns: u64,
    /// The time, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
}

impl<'a> Request<'a> {
    /// Who asks. An event comes from a session that is open, or that its `login` opens.
    pub(crate) fn subject(&self) -> Subject<'a> {
        let (session, roles) = (self.header.origin.session, self.header.roles);
        Subject { user: self.user, session: Some(session), roles }
    }
}

/// Runs the method's handler.
pub(crate) fn handle(
    method: Method,
    request: &Request<'_>,
    effects: &mut Effects,
) -> Result<(), Reason> {
    match method {
        Method::Login => presence::login(request, effects),
        Method::Create => objects::create(request, effects),
        Method::Get => objects::get(request, effects),
        Method::Set => objects::set(request, effects),
        Method::Delete => objects::delete(request, effects),
        Method::Find => find::find(request, effects),
        Method::Watch => watches::watch(request, effects),
        Method::Unwatch => watches::unwatch(request, effects),
        Method::Join => rooms::join(request, effects),
        Method::Leave => rooms::leave(request, effects),
        Method::Who => rooms::who(request, effects),
        Method::Chat => talk::chat(request, effects),
        Method::Emit => talk::emit(request, effects),
        Method::NewEvent => schedule::new_event(request, effects),
        Method::CancelEvent => schedule::cancel_event(request, effects),
        Method::Pending => schedule::pending(request, effects),
        Method::RegisterWatcher => rooms::register_watcher(request, effects),
        Method::Hello
        | Method::Resume
        | Method::Ping
        | Method::Time
        | Method::Quit
        | Method::Move
        | Method::Work
        | Method::Rooms => {
            panic!("the session's shard answers {method:?} itself")
        }
        Method::Begin
        | Method::Effect
        | Method::Extend
        | Method::Done
        | Method::Fail
        | Method::Release => panic!("{method:?} is a step of a task"),
        Method::Thought => panic!("{method:?} changes no object"),
    }?;
    if effects.size_bytes() > request.limits.effects_bytes_max {
        return Err(Reason::EffectsTooLarge);
    }
    Ok(())
}

pub(crate) use rooms::session_left;
pub(crate) use schedule::build_start_event;
pub(crate) use tasks::{
    check_effect, check_room_for_answer, check_staged, count_effects, effects_of, home_of_event,
    new_task, push_effect, run_effects, target_of_task,
};
pub(crate) use watches::{build_deleted, hear_notice};

/// `count` of a paged request: the default when it is missing, the most when it asks for more.
pub(crate) fn page_count(message: Message<'_>) -> Result<usize, Reason> {
    let Some(value) = message.get("count") else { return Ok(PAGE_COUNT_DEFAULT) };
    let count = value.as_integer().ok_or(Reason::FieldInvalid)?;
    if count < 1 {
        return Err(Reason::FieldInvalid);
    }
    Ok(usize::try_from(count).unwrap_or(PAGE_COUNT_MAX).min(PAGE_COUNT_MAX))
}

/// `after` of a page of names; the empty name is before all others.
pub(crate) fn page_after(message: Message<'_>) -> Result<&str, Reason> {
    match message.get("after") {
        None => Ok(""),
        Some(value) => value.as_text().ok_or(Reason::FieldInvalid),
    }
}

/// Adds a page of names as a list, and `after` when there are more than `count`.
pub(crate) fn write_page<'n>(
    reply: &mut MessageBuilder<'_>,
    field: &str,
    names: impl Iterator<Item = &'n str>,
    count: usize,
) {
    let (mut last, mut more, mut taken) = ("", false, 0);
    let page = names.take_while(|name| {
        more = taken == count;
        if !more {
            taken += 1;
            last = name;
        }
        !more
    });
    reply.list(field, page);
    if more {
        reply.field("after", Value::Text(last));
    }
}
