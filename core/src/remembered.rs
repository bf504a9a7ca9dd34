//! The ids of a session's latest requests, so that one that is sent again after a cut does not run
//! twice. Only an id that came on an earlier connection of the session is a repeat: who uses one
//! id for everything is never taken for one who repeats.

use alloc::collections::VecDeque;
use core::hash::{BuildHasher, Hasher};

use crate::hashing::HashSeed;
use crate::message::{Message, Value};

/// Requests of one session that are remembered.
pub(crate) const REMEMBERED_REQUESTS_MAX: usize = 64;

/// The position of a reply that has not come.
const PENDING: u64 = u64::MAX;

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

/// What is known of a request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It was not asked before, or is not remembered.
    No,
    /// It was asked, and the reply is still to come.
    Pending,
    /// It was asked and answered; the position of the reply.
    Answered(u64),
}

/// The latest requests of a session.
#[derive(Debug, Default)]
pub(crate) struct RememberedRequests {
    list: VecDeque<Request>,
}

impl RememberedRequests {
    /// What is known of the id, which comes on this connection.
    pub(crate) fn find(&self, id: u64, connection: u32) -> Repeat {
        let is_repeat = |known: &&Request| known.id == id && known.connection != connection;
        match self.list.iter().rev().find(is_repeat) {
            None => Repeat::No,
            Some(known) if known.reply_at == PENDING => Repeat::Pending,
            Some(known) => Repeat::Answered(known.reply_at),
        }
    }

    /// Remembers a request that is under way now.
    pub(crate) fn asked(&mut self, id: u64, connection: u32) {
        if self.list.len() == REMEMBERED_REQUESTS_MAX {
            self.list.pop_front();
        }
        self.list.push_back(Request { id, reply_at: PENDING, connection });
    }

    /// The reply to a request was told, and stands at this position.
    pub(crate) fn answered(&mut self, id: u64, position: u64) {
        let is_asked = |known: &&mut Request| known.id == id && known.reply_at == PENDING;
        if let Some(known) = self.list.iter_mut().rev().find(is_asked) {
            known.reply_at = position;
        }
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
    fn only_what_came_on_an_earlier_connection_is_a_repeat() {
        let mut requests = RememberedRequests::default();
        requests.asked(7, 1);
        assert_eq!(requests.find(7, 1), Repeat::No);
        assert_eq!(requests.find(8, 2), Repeat::No);
        assert_eq!(requests.find(7, 2), Repeat::Pending);
        requests.answered(7, 40);
        assert_eq!(requests.find(7, 2), Repeat::Answered(40));
        // The same id anew, on the second connection: the third asks for this one.
        requests.asked(7, 2);
        assert_eq!(requests.find(7, 2), Repeat::Answered(40));
        assert_eq!(requests.find(7, 3), Repeat::Pending);
    }

    #[test]
    fn the_latest_are_remembered_and_no_more() {
        let mut requests = RememberedRequests::default();
        for id in 0..=REMEMBERED_REQUESTS_MAX as u64 {
            requests.asked(id, 1);
        }
        assert_eq!(requests.find(0, 2), Repeat::No);
        assert_eq!(requests.find(1, 2), Repeat::Pending);
        assert_eq!(requests.list.len(), REMEMBERED_REQUESTS_MAX);
        // An answer to what is forgotten changes nothing.
        requests.answered(0, 5);
        assert_eq!(requests.find(1, 2), Repeat::Pending);
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
