//! What clients hear of objects: those that they watch, version by version, and those of their
//! rooms.

use warren_core::message::{Message, Value};
use warren_core::object::is_room_kind;

use super::replies::object_of;
use super::{Auditor, integer_of, text_of};

/// Fields of messages about objects that are none of the objects' own.
const AROUND: [&str; 6] = ["object", "version", "room", "seq", "kind", "moved"];

impl Auditor {
    /// A reply tells all of an object as it was at one version.
    pub(super) fn told_object(
        &self,
        conversation: usize,
        request: Message<'_>,
        reply: Message<'_>,
    ) -> u64 {
        let facts = self.oracle.objects.get(&object_of(request)).expect("it exists");
        let version = integer_of(reply, "version").expect("an object has a version") as u64;
        assert!((1..=facts.version).contains(&version), "{reply:?}");
        assert!(text_of(reply, "kind") == Some(&*facts.kind));
        let fields = &facts.history[version as usize - 1];
        let is_owner = fields.get("owner") == self.views[conversation].user.as_ref();
        for (name, text) in fields {
            let told = reply.get(name).map(|value| value.to_string());
            let expected = Some(text).filter(|_| name != "room" || is_owner);
            assert!(told.as_ref() == expected, "{name} is {text:?}, not {told:?}: {reply:?}");
        }
        version
    }

    pub(super) fn began_watch(
        &mut self,
        conversation: usize,
        request: Message<'_>,
        reply: Message<'_>,
    ) {
        let version = self.told_object(conversation, request, reply);
        let object = object_of(request);
        let view = &mut self.views[conversation];
        let session = view.session.expect("only who is logged in watches");
        let begin = self.oracle.claim_watch(session, object);
        assert!(version == begin, "the watch began at {begin}: {reply:?}");
        let earlier = view.watches.insert(object, version);
        assert!(earlier.is_none(), "client {conversation} watches {object} twice");
        let most = self.limits.watches_per_session_max;
        assert!(view.watches.len() <= most, "client {conversation} watches too many");
    }

    /// The client watches the object no more, and has heard all until then.
    pub(super) fn finish_watch(&mut self, conversation: usize, object: u64) {
        let view = &mut self.views[conversation];
        let heard = view.watches.remove(&object);
        let heard = heard.unwrap_or_else(|| panic!("client {conversation} did not watch {object}"));
        let session = view.session.expect("only who is logged in watches");
        let end = self.oracle.claim_watch_end(session, object);
        assert!(heard == end, "client {conversation} heard {object} up to {heard}, not {end}");
    }

    /// A client hears of an object that it watches.
    pub(super) fn object_message(&mut self, conversation: usize, message: Message<'_>) {
        self.reach(message.method(), "watched");
        let object = object_of(message);
        let facts = self.oracle.objects.get(&object).expect("what is heard of was there");
        if message.method() == "deleted" {
            let is_revoked = is_room_kind(&facts.kind);
            assert!(facts.is_deleted || is_revoked, "{message:?}");
            if !facts.is_deleted {
                self.reach("deleted", "revoked");
            }
            self.finish_watch(conversation, object);
            return;
        }
        let version = self.check_change(message);
        let watched = self.views[conversation].watches.get_mut(&object);
        let Some(heard) = watched else {
            panic!("client {conversation} does not watch and hears {message:?}");
        };
        assert!(version == *heard + 1, "client {conversation} heard {heard}, then {message:?}");
        *heard = version;
    }

    /// A client hears of an object of a room. The versions only rise; there may be gaps.
    pub(super) fn object_notice(&mut self, conversation: usize, room: &str, message: Message<'_>) {
        let object = object_of(message);
        let facts = self.oracle.objects.get(&object).expect("what is heard of was there");
        assert!(!matches!(&*facts.kind, "room" | "world" | "user"), "{message:?}");
        let version = match message.method() {
            "deleted" => {
                assert!(facts.is_deleted, "{message:?}");
                u64::MAX
            }
            _ if message.get("moved").is_some() => {
                assert!(message.field_count() == 5, "{message:?} tells where it went");
                self.reach("changed", "moved");
                integer_of(message, "version").expect("a change has a version") as u64
            }
            _ => {
                let version = self.check_change(message);
                let facts = &self.oracle.objects[&object];
                let is_here = facts.history[version as usize - 1].get("room");
                assert!(is_here.is_some_and(|now| now == room), "{message:?} is in {is_here:?}");
                version
            }
        };
        let noticed = &mut self.views[conversation].noticed;
        let last = noticed.insert((room.to_owned(), object), version);
        assert!(last < Some(version), "client {conversation}: {message:?} after {last:?}");
        self.note_heard_version(object, version);
    }

    /// The message tells what a change made of the object: all of it if it names the kind, and
    /// otherwise what was changed.
    fn check_change(&self, message: Message<'_>) -> u64 {
        let facts = &self.oracle.objects[&object_of(message)];
        let version = integer_of(message, "version").expect("a change has a version") as u64;
        assert!((1..=facts.version).contains(&version), "{message:?} is not yet");
        let after = &facts.history[version as usize - 1];
        // A room is told in which room the object is, which is itself; a watcher, that it moved.
        if message.get("seq").is_none() {
            let before = &facts.history[version as usize - 2];
            let has_moved = before.get("room") != after.get("room");
            assert!(message.get("moved").is_some() == has_moved, "{message:?}");
            assert!(message.get("room").is_none(), "{message:?}");
        }
        let own = |name: &&str| !AROUND.contains(name);
        for (name, value) in message.fields().filter(|(name, _)| own(name)) {
            let text = after.get(name).map_or("", String::as_str);
            assert!(value.to_string() == text, "{name} is {text:?}: {message:?}");
            assert!(value != Value::Text(""), "what is removed is null: {message:?}");
        }
        let told = |name: &str| message.fields().any(|(told, _)| told == name);
        let is_whole = message.get("kind").is_some();
        assert!(!is_whole || text_of(message, "kind") == Some(&*facts.kind));
        let mut expected: Vec<&str> = match is_whole {
            true => after.keys().map(String::as_str).collect(),
            false => facts.changed[version as usize - 1].iter().map(String::as_str).collect(),
        };
        expected.retain(|name| own(name));
        assert!(expected.iter().all(|name| told(name)), "{expected:?} changed: {message:?}");
        let count = message.fields().filter(|(name, _)| own(name)).count();
        assert!(count == expected.len(), "{expected:?} changed: {message:?}");
        version
    }
}
