//! What clients hear of each other.

use warren_core::message::Message;

use super::{Auditor, StayView, integer_of, text_of};

impl Auditor {
    /// A client hears a message of a room, or one for itself alone.
    pub(super) fn talk(&mut self, conversation: usize, message: Message<'_>) {
        match integer_of(message, "seq") {
            Some(sequence) => {
                let sequence = u64::try_from(sequence).expect("numbers begin at 1");
                self.room_message(conversation, sequence, message);
            }
            None if matches!(message.method(), "changed" | "deleted") => {
                self.object_message(conversation, message);
            }
            None if message.method() == "task" => self.told_of_task(conversation, message),
            None => self.direct_message(conversation, message),
        }
    }

    /// A join was granted: from the next message on, the client hears the room.
    pub(super) fn begin_stay(&mut self, conversation: usize, room: &str, reply: Message<'_>) {
        let count = integer_of(reply, "members").expect("a join says how many are in the room");
        assert!(count >= 1, "whoever joins is in the room");
        let view = &mut self.views[conversation];
        let session = view.session.expect("only who is logged in is let in");
        let stay = self.oracle.claim_stay(session, room);
        let known =
            view.stays.insert(room.to_owned(), StayView { stay, next_sequence: None, count });
        assert!(view.stays.len() <= self.limits.rooms_per_session_max, "in too many rooms");
        if let Some(known) = known {
            // Its user's newer session took its place there and has left since.
            assert!(self.is_superseded(conversation), "client {conversation} joined {room} twice");
            self.cut_stays.push(known);
        }
    }

    /// A leave was granted: the client has heard all that was numbered before it.
    pub(super) fn finish_stay(&mut self, conversation: usize, room: &str) {
        let stay = self.views[conversation].stays.remove(room);
        let stay = stay.unwrap_or_else(|| panic!("client {conversation} was not in {room}"));
        let facts = self.oracle.stays[stay.stay];
        let (low, high) = facts.end.expect("a leave was granted that never happened");
        match stay.next_sequence {
            Some(next) => assert!(
                next >= low && next <= high,
                "client {conversation} left {room} in {low}..={high} and heard up to {next}"
            ),
            None => assert!(
                facts.begin.1 >= low,
                "client {conversation} heard nothing of {room} in {:?}..{low}",
                facts.begin
            ),
        }
    }

    fn room_message(&mut self, conversation: usize, sequence: u64, message: Message<'_>) {
        let room = text_of(message, "room").expect("a room's message names it");
        let view = &mut self.views[conversation];
        let Some(stay) = view.stays.get_mut(room) else {
            panic!("client {conversation} is not in {room} and hears {message:?}");
        };
        let facts = self.oracle.stays[stay.stay];
        match stay.next_sequence {
            Some(next) => assert!(
                sequence == next,
                "client {conversation} expects {next} in {room} and hears {message:?}"
            ),
            None => assert!(
                (facts.begin.0..=facts.begin.1).contains(&sequence),
                "client {conversation} joined in {:?} and first hears {message:?}",
                facts.begin
            ),
        }
        stay.next_sequence = Some(sequence + 1);
        match message.method() {
            "joined" => stay.count += 1,
            "left" => stay.count -= 1,
            "members" => stay.count = integer_of(message, "count").expect("members are counted"),
            _ => {}
        }
        let count = stay.count;
        assert!(count >= 1, "client {conversation} is in {room} and hears {message:?}");
        let home = self.oracle.rooms.get_mut(&facts.room).expect("a stay is in a room");
        if matches!(message.method(), "joined" | "left" | "members") {
            let first = *home.counts.entry(sequence).or_insert(count);
            assert!(first == count, "client {conversation} counts {count}, others {first}");
        }
        let bytes = message.as_bytes();
        let first = home.heard.entry(sequence).or_insert_with(|| bytes.to_vec());
        assert!(
            first == bytes,
            "{sequence} of {room} is {message:?} to client {conversation} and was {:?}",
            Message::from_checked(first)
        );
        self.reach(message.method(), "heard");
        match message.method() {
            "chat" | "emit" => {
                let id = self.said_in(message, room);
                let utterance = self.utterances.get_mut(&id).expect("it was said");
                let place = (facts.room, sequence);
                let heard = *utterance.heard_in_room.get_or_insert(place);
                assert!(heard == place, "heard twice, at {heard:?} and {place:?}: {message:?}");
            }
            "joined" | "left" => {
                let user = text_of(message, "user").expect("someone joined or left");
                assert!(self.oracle.users.contains_key(user), "nobody is {user}");
            }
            "members" | "tick-rate" => {}
            "changed" | "deleted" => self.object_notice(conversation, room, message),
            other => panic!("a room said {other}"),
        }
    }

    fn direct_message(&mut self, conversation: usize, message: Message<'_>) {
        assert!(matches!(message.method(), "chat" | "emit"), "{message:?}");
        let to = text_of(message, "to").expect("a direct message says for whom it is");
        let view = &self.views[conversation];
        assert!(view.user.as_deref() == Some(to), "client {conversation} hears {message:?}");
        let id = self.said_in(message, to);
        let utterance = self.utterances.get_mut(&id).expect("it was said");
        utterance.heard_directly += 1;
        assert!(utterance.heard_directly == 1, "heard twice: {message:?}");
    }

    /// The id of the request that said this, to this recipient.
    fn said_in(&self, message: Message<'_>, to: &str) -> i64 {
        let text = text_of(message, "text").expect("what is said has a text");
        let id = text.strip_prefix('t').and_then(|text| text.split(' ').next());
        let id: i64 = id.and_then(|id| id.parse().ok()).expect("a text begins with its request");
        let utterance = self.utterances.get(&id);
        let utterance = utterance.unwrap_or_else(|| panic!("nobody said {message:?} of late"));
        assert!(utterance.to == to, "{message:?} was said to {}", utterance.to);
        let speaker = &self.views[utterance.speaker];
        // Who is gone may not have heard that its login was granted.
        let is_known = speaker.user.is_some() || !speaker.is_over;
        let from = text_of(message, "from");
        assert!(from.is_some(), "{message:?} is from nobody");
        assert!(!is_known || from == speaker.user.as_deref(), "{message:?} has a wrong from");
        id
    }
}
