//! What holds when clients are silent and everything they asked for is done.

use std::collections::BTreeSet;

use super::{Auditor, Fate, Utterance};

/// What a shard has when all is quiet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Rooms that its sessions hear.
    pub(crate) rooms: usize,
    /// Objects that its sessions watch.
    pub(crate) objects: usize,
    pub(crate) sessions: usize,
}

impl Auditor {
    /// Nothing is owed to anyone.
    pub(crate) fn check_at_rest(&mut self) {
        for conversation in 0..self.views.len() {
            if !self.views[conversation].is_over {
                self.check_client(conversation);
            }
        }
        let utterances = std::mem::take(&mut self.utterances);
        for (id, utterance) in &utterances {
            self.check_utterance(*id, utterance);
        }
        for cut in self.cut_stays.drain(..) {
            let facts = self.oracle.stays[cut.stay];
            let (_, high) = facts.end.expect("a stay ends with its connection");
            let heard = cut.next_sequence;
            assert!(heard.is_none_or(|next| next <= high), "heard {heard:?} of {facts:?}");
        }
        let present: BTreeSet<u64> = self.oracle.users.values().copied().flatten().collect();
        let open = self.views.iter().filter(|view| !view.is_over);
        let open: BTreeSet<u64> = open.filter_map(|view| view.session).collect();
        assert!(present == open, "users here with {present:x?}, sessions open: {open:x?}");
    }

    /// What the open sessions of a shard amount to.
    pub(crate) fn expected_on(&self, shard: usize) -> Expected {
        let here = || self.views.iter().filter(|view| view.shard == shard && !view.is_over);
        let rooms: BTreeSet<&String> = here().flat_map(|view| view.stays.keys()).collect();
        let objects: BTreeSet<&u64> = here().flat_map(|view| view.watches.keys()).collect();
        let sessions = here().filter(|view| view.session.is_some()).count();
        Expected { rooms: rooms.len(), objects: objects.len(), sessions }
    }

    fn check_watches(&self, conversation: usize) {
        let view = &self.views[conversation];
        let session = view.session.unwrap_or(u64::MAX);
        let known: BTreeSet<u64> = view.watches.keys().copied().collect();
        let watched = self.oracle.watched_by(session);
        assert!(known == watched, "client {conversation} watches {watched:?}, not {known:?}");
        for (object, heard) in &view.watches {
            let version = self.oracle.objects[object].version;
            assert!(
                *heard == version,
                "client {conversation} heard {object} up to {heard} of {version}"
            );
            let user = view.user.as_deref().expect("who watches is logged in");
            let may_read = self.oracle.may_read(*object, user, session);
            assert!(may_read, "client {conversation} watches the secret room {object}");
        }
    }

    fn check_client(&self, conversation: usize) {
        self.check_watches(conversation);
        let view = &self.views[conversation];
        let unanswered: Vec<i64> = view.pending.keys().copied().collect();
        assert!(unanswered.is_empty(), "client {conversation} waits for {unanswered:?}");
        assert!(view.first_room.is_none(), "client {conversation} waits for its first room");
        assert!(!self.is_superseded(conversation), "client {conversation} is not displaced");
        assert!(!view.has_quit, "client {conversation} quit and is still there");
        let is_attached = view.session.is_none() || view.bond.is_attached;
        assert!(is_attached, "client {conversation} has lost its session");
        let known: BTreeSet<&str> = view.stays.keys().map(String::as_str).collect();
        let true_rooms = view.session.map(|session| self.oracle.rooms_of(session));
        let true_rooms = true_rooms.unwrap_or_default();
        assert!(known == true_rooms, "client {conversation} is in {true_rooms:?}, not {known:?}");
        for (room, stay) in &view.stays {
            let facts = self.oracle.stays[stay.stay];
            assert!(facts.end.is_none(), "client {conversation} lost {room} in silence");
            let home = &self.oracle.rooms[&facts.room];
            let (told, count) = (stay.count, home.members.len() as i64);
            assert!(told == count, "client {conversation} counts {told} in {room}, not {count}");
            let next = home.next_sequence;
            match stay.next_sequence {
                Some(heard) => assert!(
                    heard == next,
                    "client {conversation} heard {room} up to {heard} of {next}"
                ),
                None => assert!(
                    facts.begin.1 >= next,
                    "client {conversation} heard nothing of {room} from {:?} to {next}",
                    facts.begin
                ),
            }
        }
    }

    fn check_utterance(&self, id: i64, utterance: &Utterance) {
        let Utterance { speaker, fate, heard_in_room, heard_directly, .. } = utterance;
        let is_speaker_over = self.views[*speaker].is_over;
        match *fate {
            Fate::Unknown => assert!(is_speaker_over, "{id} has no answer"),
            Fate::Refused => {
                assert!(heard_in_room.is_none(), "{id} was refused and heard in a room");
                assert!(*heard_directly == 0, "{id} was refused and heard");
            }
            Fate::InRoom { room, sequence } => {
                let place = Some((room, sequence));
                let is_unheard = heard_in_room.is_none() && is_speaker_over;
                assert!(is_unheard || *heard_in_room == place, "{id} is not {place:?}");
                assert!(*heard_directly == 0, "{id} was said in a room and heard directly");
            }
            Fate::ToUser { recipient } => {
                assert!(heard_in_room.is_none(), "{id} was for a user and heard in a room");
                let listener = recipient.and_then(|session| self.sessions.get(&session));
                let is_there = listener.is_some_and(|listener| !self.views[*listener].is_over);
                assert!(!is_there || *heard_directly == 1, "{id} never reached its user");
            }
        }
    }
}
