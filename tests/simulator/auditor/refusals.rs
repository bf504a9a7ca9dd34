//! Which refusals are just. `busy` always is, and `message-rate`, which strikes at random; every other reason has to fit the request, what its
//! client knows, and what is true.

use warren_core::ids::{ObjectId, PartitionId};
use warren_core::limits::Limits;
use warren_core::message::{Message, Value};
use warren_core::object::is_room_kind;
use warren_core::reason::Reason;

use super::tasks::is_step;
use super::worlds::npc_count;
use super::{Auditor, Fate, Pending, integer_of, text_of};
use crate::oracle::ObjectFacts;
use crate::tasks::TOIL;

/// No object or watch of the workload adds more to its partition's bytes.
const OBJECT_BYTES_MAX: u64 = 2800;

impl Auditor {
    pub(super) fn refused(
        &mut self,
        conversation: usize,
        id: i64,
        pending: &Pending,
        request: Message<'_>,
        reason: Reason,
    ) {
        if let Some(utterance) = self.utterances.get_mut(&id) {
            assert!(utterance.fate == Fate::Unknown);
            utterance.fate = Fate::Refused;
        }
        let method = request.method();
        if matches!(method, "login" | "resume") {
            self.views[conversation].bond.count_refused_login(reason);
        }
        if method == "resume" {
            self.resume_refused(conversation, id, reason);
            return;
        }
        if method == "login" && self.views[conversation].session.is_none() {
            let others = self.views[conversation].pending.values();
            let is_login =
                |pending: &Pending| Message::from_checked(&pending.bytes).method() == "login";
            self.views[conversation].has_sent_login = others.into_iter().any(is_login);
        }
        if reason == Reason::UnknownMethod
            && self.views[conversation].traits.closes_on_unknown_method
        {
            self.views[conversation].was_refused_unknown = true;
        }
        if is_step(method) {
            self.step_refused(conversation, request, reason);
        }
        let is_just = match reason {
            Reason::Busy | Reason::MessageRate => true,
            Reason::FieldMissing
            | Reason::FieldInvalid
            | Reason::BadName
            | Reason::ReservedField
            | Reason::VersionUnsupported => pending.is_malformed || method == "set",
            _ => self.is_just(conversation, pending, request, reason),
        };
        assert!(is_just, "client {conversation}: {request:?} was refused with {reason:?}");
    }

    fn is_just(
        &self,
        conversation: usize,
        pending: &Pending,
        request: Message<'_>,
        reason: Reason,
    ) -> bool {
        let view = &self.views[conversation];
        let method = request.method();
        let (room, to) = (text_of(request, "room"), text_of(request, "to"));
        let is_in = |name: Option<&str>| name.is_some_and(|name| view.stays.contains_key(name));
        let is_superseded = self.is_superseded(conversation);
        match reason {
            Reason::NotLoggedIn => !view.bond.is_attached,
            Reason::AlreadyLoggedIn => method == "login" && view.session.is_some(),
            Reason::Lobby => [room, to, login_name(request)].contains(&Some("lobby")),
            Reason::NotAMember => match method {
                "chat" | "say" | "emit" => is_superseded || !is_in(to),
                "leave" => is_superseded || !is_in(room),
                _ => false,
            },
            Reason::AlreadyMember => method == "join" && (is_in(room) || is_superseded),
            Reason::UnknownRoom => {
                matches!(method, "leave" | "who") && (is_superseded || !is_in(room))
            }
            Reason::Displaced => method == "join" && is_superseded,
            Reason::FanOutRate => {
                matches!(method, "chat" | "say" | "emit") && is_in(to) && self.is_fan_out_tight()
            }
            Reason::RoomCreationDisabled => method == "join" && !self.join_creates_rooms,
            Reason::RoomFull => method == "join" && !is_in(room),
            // No world of the workload comes to what production allows.
            Reason::WorldFull => {
                let production = Limits::PRODUCTION.world_entities_max;
                method == "join" && self.limits.world_entities_max < production
            }
            Reason::TickRateTooHigh => {
                let asked = integer_of(request, "tick_hz");
                asked > Some(i64::from(self.limits.world_tick_hz_max))
            }
            Reason::TooManyWorlds => {
                method == "join" && self.limits.worlds_max < Limits::PRODUCTION.worlds_max
            }
            Reason::TooManyNpcs => {
                let npcs = text_of(request, "npcs").map_or(0, npc_count);
                method == "create" && npcs > self.limits.world_npcs_max
            }
            Reason::NpcsFull => {
                method == "join" && self.limits.npcs_max < Limits::PRODUCTION.npcs_max
            }
            Reason::TooManyWatches => method == "watch" && self.has_many_watches(conversation),
            Reason::AlreadyWatching => method == "watch" && self.is_watched(conversation, request),
            Reason::NotWatching => method == "unwatch" && !self.is_watched(conversation, request),
            Reason::TooManyRooms => method == "join" && self.has_many_rooms(conversation),
            Reason::NameTaken => self.is_name_known(request),
            Reason::UnknownRecipient => {
                let now = to.and_then(|to| self.oracle.session_of(to));
                let was_here = pending.recipient.is_some() && pending.recipient == now;
                (is_superseded || !is_in(to)) && !was_here
            }
            Reason::UnknownMethod => method == "dance",
            Reason::PartitionFull => {
                let partition = self.partition_that_grows(conversation, request);
                let peak = partition.map(|partition| self.oracle.population_peak(partition));
                // One event may make several.
                let more = integer_of(request, "effects").map_or(1, |effects| effects as usize);
                let most = self.limits.objects_per_partition_max;
                peak.is_some_and(|peak| peak + more > most - most / 8)
            }
            Reason::PartitionMemoryFull => {
                let partition = self.partition_that_grows(conversation, request);
                let peak = partition.map(|partition| self.oracle.partition_bytes_peak(partition));
                let most = self.limits.partition_bytes_max as u64;
                peak.is_some_and(|peak| peak + OBJECT_BYTES_MAX > most - most / 8)
            }
            Reason::ServerFull => {
                let partition = self.partition_that_grows(conversation, request);
                let peak = partition.map(|partition| self.oracle.state_bytes_peak(partition));
                let most = self.limits.state_bytes_max as u64;
                peak.is_some_and(|peak| peak + OBJECT_BYTES_MAX > most - most / 8)
            }
            Reason::EffectsTooLarge => {
                let effects = integer_of(request, "effects").unwrap_or(0);
                let most = self.limits.tasks_per_partition_max as i64;
                // More events than there can ever be room for.
                self.limits.effects_bytes_max < 4096 || method == "done" && effects > most
            }
            Reason::LevelUnavailable | Reason::LogBehind => self.is_durable(request),
            Reason::ObjectTooLarge => matches!(method, "create" | "set" | TOIL | "done"),
            Reason::VersionConflict => {
                matches!(method, "set" | "delete") && request.get("version").is_some()
            }
            Reason::UnknownObject | Reason::NotOwner | Reason::RoomOccupied => {
                self.is_object_refused(conversation, request, reason)
            }
            _ if method == TOIL => self.is_toil_refused(request, reason),
            _ if is_step(method) => self.is_step_refused(request, reason),
            _ => false,
        }
    }

    fn is_object_refused(&self, conversation: usize, request: Message<'_>, reason: Reason) -> bool {
        let Some(object) = request.get("object").and_then(Value::as_object) else { return false };
        let facts = self.oracle.objects.get(&object.0);
        // Owners change: what counts is who it was when the request was handled.
        let user = self.views[conversation].user.as_ref();
        let is_owner = |facts: &ObjectFacts| facts.owners.iter().all(|owner| Some(owner) == user);
        match (reason, facts) {
            // Another's room may be secret, and then looks as if it were not there.
            (Reason::UnknownObject, facts) => facts.is_none_or(|facts| {
                facts.is_deleted || (is_room_kind(&facts.kind) && !is_owner(facts))
            }),
            (Reason::NotOwner, Some(facts)) => {
                !is_owner(facts) || (request.method() == "delete" && facts.kind == "user")
            }
            (Reason::RoomOccupied, Some(facts)) => is_room_kind(&facts.kind),
            _ => false,
        }
    }

    /// No room of the workload comes to what production allows.
    fn is_fan_out_tight(&self) -> bool {
        let (rate, production) = (self.limits.fan_out, Limits::PRODUCTION.fan_out);
        rate.per_s < production.per_s || rate.burst < production.burst
    }

    /// Joins under way count as rooms.
    fn has_many_rooms(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        let is_join = |pending: &&Pending| Message::from_checked(&pending.bytes).method() == "join";
        let joins = view.pending.values().filter(is_join).count();
        let joins = joins + usize::from(view.first_room.is_some());
        view.stays.len() + joins >= self.limits.rooms_per_session_max
    }

    /// Watches under way count.
    fn has_many_watches(&self, conversation: usize) -> bool {
        let view = &self.views[conversation];
        let method = |pending: &Pending| Message::from_checked(&pending.bytes).method().to_owned();
        let pending = view.pending.values().filter(|pending| method(pending) == "watch");
        view.watches.len() + pending.count() >= self.limits.watches_per_session_max
    }

    fn is_watched(&self, conversation: usize, request: Message<'_>) -> bool {
        let object = request.get("object").and_then(Value::as_object);
        let object = object.expect("it was looked up by its object");
        self.views[conversation].watches.contains_key(&object.0)
    }

    fn is_name_known(&self, request: Message<'_>) -> bool {
        let is_room = |name: &str| self.oracle.room_names.contains(name);
        let is_user = |name: &str| self.oracle.users.contains_key(name);
        match request.method() {
            "login" => login_name(request).is_some_and(is_room),
            "join" => text_of(request, "room").is_some_and(is_user),
            "create" => text_of(request, "room").is_some_and(|name| is_room(name) || is_user(name)),
            _ => false,
        }
    }

    /// The partition that the request would make larger.
    fn partition_that_grows(
        &self,
        conversation: usize,
        request: Message<'_>,
    ) -> Option<PartitionId> {
        match request.method() {
            "login" => login_name(request).map(PartitionId::of_name),
            "join" => text_of(request, "room").map(PartitionId::of_name),
            "set" | "watch" => {
                request.get("object").and_then(Value::as_object).map(ObjectId::partition)
            }
            TOIL => match request.get("target").and_then(Value::as_object) {
                Some(target) => Some(target.partition()),
                None => self.views[conversation].user.as_deref().map(PartitionId::of_name),
            },
            "done" => request.get("task").and_then(Value::as_object).map(ObjectId::partition),
            "create" if text_of(request, "kind").is_some_and(is_room_kind) => {
                text_of(request, "room").map(PartitionId::of_name)
            }
            "create" => match integer_of(request, "partition") {
                Some(number) => u16::try_from(number).ok().map(PartitionId),
                None => self.views[conversation].user.as_deref().map(PartitionId::of_name),
            },
            _ => None,
        }
    }
}

/// The user's name in a login.
fn login_name(request: Message<'_>) -> Option<&str> {
    let name = text_of(request, "user").or_else(|| text_of(request, "player"))?;
    name.split('@').next()
}
