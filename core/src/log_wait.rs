//! What is told when a change is durable, and not before: replies, and notices to the rooms of objects.
//! One queue for a shard, in the order in which the changes were made, so that what is told of an object
//! keeps the order of its versions. What tasks ask of other partitions waits in another of the same kind.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{GROUP_COUNT, GroupId, Sequence};
use crate::mesh::{EventHeader, Origin};
use crate::message::Message;

/// Buffers kept for reuse.
const SPARE_BUFFERS_MAX: usize = 4096;
/// A buffer that grew beyond this is freed instead of kept.
const SPARE_BUFFER_BYTES_MAX: usize = 4096;

/// To whom something is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Telling {
    /// Whoever asked.
    Reply(Origin),
    /// Nobody: whoever asked is gone. What is told later still waits behind it.
    Nobody,
    /// The members of a room, or a partition that is to make an event. The user's name stands before the
    /// message.
    Notice { header: EventHeader, user_length: usize },
}

/// Something that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) group: GroupId,
    /// What of the group has to be durable first.
    pub(crate) sequence: Sequence,
    pub(crate) telling: Telling,
    buffer: Vec<u8>,
}

impl Waiting {
    /// The user of a notice; empty for a reply.
    pub(crate) fn user(&self) -> &[u8] {
        &self.buffer[..self.user_length()]
    }

    /// The packed reply or notice.
    pub(crate) fn message(&self) -> Message<'_> {
        Message::from_checked(&self.buffer[self.user_length()..])
    }

    fn user_length(&self) -> usize {
        match self.telling {
            Telling::Reply(_) | Telling::Nobody => 0,
            Telling::Notice { user_length, .. } => user_length,
        }
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.buffer.len()
    }
}

/// All that waits on a shard.
#[derive(Debug)]
pub(crate) struct LogWait {
    queue: VecDeque<Waiting>,
    /// By group, how much of it waits.
    counts: Vec<u32>,
    bytes: usize,
    spare_buffers: Vec<Vec<u8>>,
}

impl LogWait {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            counts: vec![0; GROUP_COUNT],
            bytes: 0,
            spare_buffers: Vec::new(),
        }
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of all that waits, the queue's own included.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something of this group waits: what is told of it later has to wait behind that.
    pub(crate) fn has(&self, group: GroupId) -> bool {
        self.counts[usize::from(group.0)] > 0
    }

    /// Adds something at the end. `fill` writes the user's name, if there is one, and the message.
    pub(crate) fn push(
        &mut self,
        (group, sequence): (GroupId, Sequence),
        telling: Telling,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut buffer = self.spare_buffers.pop().unwrap_or_default();
        fill(&mut buffer);
        let waiting = Waiting { group, sequence, telling, buffer };
        self.bytes += waiting.size_bytes();
        self.counts[usize::from(group.0)] += 1;
        self.queue.push_back(waiting);
    }

    /// What has waited longest.
    pub(crate) fn first(&self) -> Option<&Waiting> {
        self.queue.front()
    }

    /// Takes that out.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let first = self.queue.pop_front()?;
        self.bytes -= first.size_bytes();
        self.counts[usize::from(first.group.0)] -= 1;
        Some(first)
    }

    /// Takes back the buffer of what was told.
    pub(crate) fn recycle(&mut self, waiting: Waiting) {
        let mut buffer = waiting.buffer;
        if self.spare_buffers.len() < SPARE_BUFFERS_MAX
            && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX
        {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}
