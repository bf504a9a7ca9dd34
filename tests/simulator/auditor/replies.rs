//! What a granted request promises.

use warren_core::message::{Message, Value};

use super::tasks::is_step;
use super::{Auditor, Fate, Pending, integer_of, text_of};
use crate::tasks::TOIL;

impl Auditor {
    pub(super) fn granted(
        &mut self,
        conversation: usize,
        id: i64,
        pending: &Pending,
        request: Message<'_>,
        reply: Message<'_>,
    ) {
        self.check_durable(request, reply);
        match request.method() {
            "hello" => assert!(reply.get("server").is_some()),
            "ping" | "time" => assert!(integer_of(reply, "time_ms") > Some(0)),
            "quit" => self.views[conversation].has_quit = true,
            "login" => self.logged_in(conversation, request, reply),
            "resume" => self.resumed(conversation, id, reply),
            "join" => {
                let room = text_of(request, "room").expect("a granted join names a room");
                self.begin_stay(conversation, room, reply);
            }
            "leave" => {
                let room = text_of(request, "room").expect("a granted leave names a room");
                self.finish_stay(conversation, room);
            }
            "chat" | "say" | "emit" => self.said(conversation, id, pending, request, reply),
            "who" => self.told_who(conversation, request, reply),
            "rooms" => {
                let names = page(reply, "rooms", integer_of(request, "count"));
                let after = text_of(request, "after").unwrap_or("");
                for name in names {
                    assert!(self.oracle.room_names.contains(name) && name > after, "{reply:?}");
                }
            }
            "create" => {
                let object = object_of(reply);
                let facts = self.oracle.objects.get(&object).expect("a created object exists");
                assert!(text_of(request, "kind") == Some(&*facts.kind));
                assert!(self.views[conversation].user.as_ref() == facts.owners.first());
                assert!(integer_of(reply, "version") == Some(1));
            }
            "get" => _ = self.told_object(conversation, request, reply),
            "watch" => self.began_watch(conversation, request, reply),
            "unwatch" => self.finish_watch(conversation, object_of(request)),
            "set" => {
                let object = object_of(request);
                let facts = self.oracle.objects.get(&object).expect("a changed object exists");
                let version = integer_of(reply, "version").expect("a change has a version") as u64;
                assert!(version >= 2 && version <= facts.version, "{reply:?}");
                let other = self.changes.insert((object, version), id);
                assert!(other.is_none(), "two requests made version {version} of {object}");
            }
            "delete" => {
                let facts = self.oracle.objects.get(&object_of(request)).expect("it existed");
                assert!(facts.is_deleted, "{request:?} was granted");
            }
            "find" => self.found(request, reply),
            "work" => {}
            TOIL => self.toil_granted(request, reply),
            step if is_step(step) => self.step_granted(conversation, request),
            other => panic!("{other} was granted"),
        }
    }

    fn logged_in(&mut self, conversation: usize, request: Message<'_>, reply: Message<'_>) {
        let view = &mut self.views[conversation];
        assert!(view.session.is_none(), "client {conversation} logged in twice");
        let session = text_of(reply, "session").expect("a login gives a session");
        let session = u64::from_str_radix(session, 16).expect("a session is a number");
        assert!(self.oracle.sessions.contains(&session), "nobody is here with {session:016x}");
        assert!(session >> 48 == view.shard as u64, "a session names its shard");
        assert!(self.sessions.insert(session, conversation).is_none(), "a session is one client's");
        view.session = Some(session);
        let (user, room) = match text_of(request, "user") {
            Some(user) => (user, None),
            None => {
                let player = text_of(request, "player").expect("a login names a user");
                player.split_once('@').map_or((player, None), |(user, room)| (user, Some(room)))
            }
        };
        view.user = Some(user.to_owned());
        view.first_room = room.map(str::to_owned);
        self.attach_first(conversation, reply);
        let object = self.oracle.objects.get(&object_of(reply)).expect("a user has an object");
        assert!(object.kind == "user" && object.owner() == user);
    }

    fn said(
        &mut self,
        conversation: usize,
        id: i64,
        pending: &Pending,
        request: Message<'_>,
        reply: Message<'_>,
    ) {
        let to = text_of(request, "to").expect("what is said is said to someone");
        let fate = match integer_of(reply, "seq") {
            Some(sequence) => {
                let stay = self.views[conversation].stays.get(to);
                let stay = stay.unwrap_or_else(|| panic!("{conversation} spoke outside {to}"));
                let room = self.oracle.stays[stay.stay].room;
                Fate::InRoom { room, sequence: sequence as u64 }
            }
            None => {
                // Sessions do not come back: who is here now as then was here all the time.
                let now = self.oracle.session_of(to);
                Fate::ToUser { recipient: pending.recipient.filter(|_| now == pending.recipient) }
            }
        };
        let utterance = self.utterances.get_mut(&id).expect("it was said");
        assert!(utterance.fate == Fate::Unknown);
        utterance.fate = fate;
    }

    fn told_who(&self, conversation: usize, request: Message<'_>, reply: Message<'_>) {
        let count = integer_of(request, "count");
        let names = page(reply, "users", count);
        for name in &names {
            assert!(self.oracle.users.contains_key(*name), "nobody is {name}");
        }
        let view = &self.views[conversation];
        let room = text_of(request, "room").expect("it asked for a room");
        if view.stays.contains_key(room) && !self.is_superseded(conversation) {
            let user = view.user.as_deref().expect("it is logged in");
            let is_beyond = reply.get("after").is_some() && names.last() < Some(&user);
            assert!(is_beyond || names.contains(&user), "{user} is in {room}, not {reply:?}");
        }
    }

    fn found(&self, request: Message<'_>, reply: Message<'_>) {
        let Some(Value::List(objects)) = reply.get("objects") else { panic!("{reply:?}") };
        assert!(objects.len() as i64 <= integer_of(request, "count").unwrap_or(100));
        for object in objects.iter() {
            let object = Value::Text(object).as_object().expect("an object's id");
            let facts = self.oracle.objects.get(&object.0).expect("what is found exists");
            assert!(text_of(request, "kind") == Some(&*facts.kind));
        }
    }
}

/// The names on a page: in order, each once, no more than were asked for.
fn page<'m>(reply: Message<'m>, field: &str, count: Option<i64>) -> Vec<&'m str> {
    let Some(Value::List(list)) = reply.get(field) else { panic!("{reply:?} has no {field}") };
    let names: Vec<&str> = list.iter().collect();
    assert!(names.is_sorted_by(|one, next| one < next), "{reply:?}");
    assert!(names.len() as i64 <= count.unwrap_or(100), "{reply:?}");
    names
}

pub(super) fn object_of(message: Message<'_>) -> u64 {
    message.get("object").and_then(Value::as_object).expect("an object is named").0
}
