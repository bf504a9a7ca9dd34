//! The ids of a session's latest requests, so that one that is sent again after a cut does not run
//! twice. Only an id that came on an earlier connection of the session is a repeat, once: who uses
//! one id for everything is taken for one who repeats at most as often as replies were missed.

use alloc::collections::VecDeque;
use core::hash::{BuildHasher, Hasher};

use crate::hashing::HashSeed;
use crate::message::{Message, Value};

/// Requests of one session that are remembered.
pub(crate) const REMEMBERED_REQUESTS_MAX: usize = 64;

/// The position of a reply that has not come.
const PENDING: u64 = u64::MAX;
/// The position of a reply that was told and not kept.
const UNKEPT: u64 = u64::MAX - 1;

/// One request.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// Its id, hashed.
    id: u64,
    /// Where its reply is in the log.
    reply_at: u64,
    /// On which of the session's connections it came.
    connection: u32,
}

/// The latest requests of a session whose replies its client may not have heard.
#[derive(Debug, Default)]
pub(crate) struct RememberedRequests {
    /// In the order of the connections on which they came.
    list: VecDeque<Request>,
}

impl RememberedRequests {
    /// Whether the id, which comes on this connection, came on an earlier one. From now on it is as
    /// if it had come on this one.
    pub(crate) fn take_repeat(&mut self, id: u64, connection: u32) -> bool {
        let earlier = self.list.partition_point(|known| known.connection < connection);
        let Some(at) = self.list.range(..earlier).position(|known| known.id == id) else {
            return false;
        };
        let known = self.list.remove(at).expect("it was found there");
        self.list.push_back(Request { connection, ..known });
        true
    }

    /// Remembers a request that is under way now.
    pub(crate) fn asked(&mut self, id: u64, connection: u32) {
        if self.list.len() == REMEMBERED_REQUESTS_MAX {
            self.list.pop_front();
        }
        self.list.push_back(Request { id, reply_at: PENDING, connection });
    }

    /// The reply to a request was told, and stands at this position, if it was kept.
    pub(crate) fn answered(&mut self, id: u64, position: Option<u64>) {
        let is_asked = |known: &&mut Request| known.id == id && known.reply_at == PENDING;
        if let Some(known) = self.list.iter_mut().rev().find(is_asked) {
            known.reply_at = position.unwrap_or(UNKEPT);
        }
    }

    /// The session is resumed, and its client has heard every reply before this position, and those
    /// that were not kept, since it could not resume without them: it has no reason to ask again.
    pub(crate) fn forget_heard(&mut self, position: u64) {
        let is_heard = |known: &Request| known.reply_at < position || known.reply_at == UNKEPT;
        self.list.retain(|known| !is_heard(known));
    }
}

/// The hash of a message's `id`, if it has one. Its type counts: 7 and "7" are two ids.
pub(crate) fn id_of(message: Message<'_>, seed: HashSeed) -> Option<u64> {
    let mut hasher = seed.build_hasher();
    match message.get("id")? {
        Value::Null => return None,
        Value::Text(text) => {
            hasher.write_u8(1);
            hasher.write(text.as_bytes());
        }
        Value::Integer(integer) => {
            hasher.write_u8(2);
            hasher.write_i64(integer);
        }
        Value::Float(float) => {
            hasher.write_u8(3);
            hasher.write_u64(float.to_bits());
        }
        Value::Boolean(boolean) => hasher.write_u8(4 + u8::from(boolean)),
        Value::Bytes(bytes) => {
            hasher.write_u8(6);
            hasher.write(bytes);
        }
        Value::Object(object) => {
            hasher.write_u8(7);
            hasher.write_u64(object.0);
        }
        Value::List(list) => {
            hasher.write_u8(8);
            for text in list.iter() {
                hasher.write_usize(text.len());
                hasher.write(text.as_bytes());
            }
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::packed;

    #[test]
    fn only_what_came_on_an_earlier_connection_is_a_repeat_and_once() {
        let mut requests = RememberedRequests::default();
        for id in [7, 8, 7] {
            requests.asked(id, 1);
        }
        assert!(!requests.take_repeat(7, 1));
        assert!(!requests.take_repeat(9, 2));
        // As often as it was asked.
        assert_eq!([7, 7, 7].map(|id| requests.take_repeat(id, 2)), [true, true, false]);
        requests.asked(7, 2);
        assert!(requests.take_repeat(8, 2));
        assert_eq!([7, 7, 7, 7].map(|id| requests.take_repeat(id, 3)), [true, true, true, false]);
        assert_eq!([8, 8].map(|id| requests.take_repeat(id, 4)), [true, false]);
        let connections = requests.list.iter().map(|known| known.connection);
        assert!(connections.is_sorted());
    }

    #[test]
    fn what_was_answered_is_remembered_until_it_was_heard() {
        let mut requests = RememberedRequests::default();
        for id in 1..=4 {
            requests.asked(id, 1);
        }
        requests.answered(1, Some(40));
        requests.answered(2, Some(50));
        requests.answered(3, None);
        // What is asked again may cross the reply.
        assert!(requests.take_repeat(3, 2));
        requests.forget_heard(50);
        let repeats = [1, 2, 3, 4].map(|id| requests.take_repeat(id, 3));
        assert_eq!(repeats, [false, true, false, true]);
        // An answer after the cut is of the request all the same.
        requests.answered(4, Some(60));
        requests.forget_heard(61);
        assert_eq!(requests.list.len(), 0);
    }

    #[test]
    fn the_latest_are_remembered_and_no_more() {
        let mut requests = RememberedRequests::default();
        for id in 0..=REMEMBERED_REQUESTS_MAX as u64 {
            requests.asked(id, 1);
        }
        assert_eq!(requests.list.len(), REMEMBERED_REQUESTS_MAX);
        // An answer to what is forgotten changes nothing.
        requests.answered(0, Some(5));
        requests.forget_heard(6);
        assert_eq!(requests.list.len(), REMEMBERED_REQUESTS_MAX);
        assert_eq!([0, 1].map(|id| requests.take_repeat(id, 2)), [false, true]);
    }

    #[test]
    fn ids_of_every_type_are_told_apart() {
        let values = [
            Value::Text("7"),
            Value::Integer(7),
            Value::Float(7.0),
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Bytes(b"7"),
            Value::Object(crate::ids::ObjectId(7)),
        ];
        let id = |value| {
            let bytes = packed("chat", &[("id", value)]);
            id_of(Message::from_checked(&bytes), HashSeed(1, 2)).unwrap()
        };
        for (at, value) in values.iter().enumerate() {
            assert!(values[..at].iter().all(|earlier| id(*earlier) != id(*value)), "{value:?}");
            assert_eq!(id(*value), id(*value));
        }
        let without = packed("chat", &[]);
        assert_eq!(id_of(Message::from_checked(&without), HashSeed(1, 2)), None);
    }
}
