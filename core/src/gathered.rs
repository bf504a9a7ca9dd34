//! What a crowded room has said and not yet sent: numbered messages, and between them the members
//! who hear the room from there on. What is not taken back by then leaves at once, in this order.

use alloc::vec::Vec;

use crate::ids::SessionId;
use crate::mesh::MeshMessage;
use crate::turn::Span;

/// A buffer that has grown beyond this is not kept for the next room.
const BYTES_KEPT_MAX: usize = 128 << 10;

/// One thing that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The room's message with this number.
    Message { sequence: u64, message: Span },
    /// The session hears the room from here on.
    Join { session: SessionId, user: Span },
}

/// What waits, in order.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    list: Vec<Waiting>,
    bytes: Vec<u8>,
    /// Bytes of the copies that were made for members who left meanwhile.
    pub(crate) copied_bytes: usize,
}

impl Gathered {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The most that it comes to on the way to one shard: the measure of the staging bound. Joins
    /// go to their own shards only, and the name of one that was taken back still counts.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.list.len() * size_of::<MeshMessage>()
    }

    pub(crate) fn push_message(&mut self, sequence: u64, message: &[u8]) {
        let message = self.push_bytes(message);
        self.list.push(Waiting::Message { sequence, message });
    }

    pub(crate) fn push_join(&mut self, session: SessionId, user: &[u8]) {
        let user = self.push_bytes(user);
        self.list.push(Waiting::Join { session, user });
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::since(start, &self.bytes)
    }

    /// All that waits, in order.
    pub(crate) fn list(&self) -> &[Waiting] {
        &self.list
    }

    /// The bytes of a message or name.
    pub(crate) fn bytes_of(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The messages that a member hears: all of them, unless its own join waits among them.
    pub(crate) fn messages_for(&self, session: SessionId) -> impl Iterator<Item = &[u8]> {
        let first = self.join_of(session).map_or(0, |at| at + 1);
        self.list[first..].iter().filter_map(|waiting| match waiting {
            Waiting::Message { message, .. } => Some(self.bytes_of(*message)),
            Waiting::Join { .. } => None,
        })
    }

    /// Takes the session's join out again, if it waits here.
    pub(crate) fn cancel_join(&mut self, session: SessionId) -> bool {
        let at = self.join_of(session);
        if let Some(at) = at {
            self.list.remove(at);
        }
        at.is_some()
    }

    /// Where the session's join waits. A session has at most one: it joins again only after it
    /// left, which takes the one before out.
    fn join_of(&self, wanted: SessionId) -> Option<usize> {
        let is_wanted = |waiting: &Waiting| matches!(waiting, Waiting::Join { session, .. } if *session == wanted);
        self.list.iter().position(is_wanted)
    }

    /// Empties it and keeps its memory, unless a burst has made it large.
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > BYTES_KEPT_MAX {
            self.bytes = Vec::new();
        }
        self.list.clear();
        self.bytes.clear();
        self.copied_bytes = 0;
    }
}
