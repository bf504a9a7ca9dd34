//! The queues of a shard's partitions: one bounded FIFO each, and one FIFO of the partitions that
//! have something in theirs, so that a busy partition delays itself and no other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::PartitionId;
use crate::mesh::{EventHeader, EventKind};
use crate::message::Message;

/// Buffers kept for reuse. More are made and freed when more events wait.
const SPARE_BUFFERS_MAX: usize = 1024;
/// A buffer that grew beyond this is freed instead of kept.
const SPARE_BUFFER_BYTES_MAX: usize = 4096;

/// A queue that has grown beyond this is freed when it is empty.
const QUEUE_EVENTS_KEPT_MAX: usize = 64;

/// An event that waits, with the bytes of its user and message.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) header: EventHeader,
    buffer: Vec<u8>,
    user_length: usize,
}

impl QueuedEvent {
    /// Name of the user who asked.
    pub(crate) fn user(&self) -> &str {
        core::str::from_utf8(&self.buffer[..self.user_length]).expect("names are ASCII")
    }

    /// The request, or the notice.
    pub(crate) fn message(&self) -> Message<'_> {
        assert!(matches!(self.header.kind, EventKind::Request | EventKind::ObjectNotice));
        Message::from_checked(&self.buffer[self.user_length..])
    }
}

/// The queue of this partition is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// What waits for one partition.
#[derive(Debug, Default)]
struct PartitionQueue {
    events: VecDeque<QueuedEvent>,
    /// How many of the events are notices of objects: counted apart, so that they do not take the
    /// place of requests.
    notice_count: usize,
}

/// The queues of a shard.
#[derive(Debug)]
pub(crate) struct EventQueue {
    queues: HashMap<PartitionId, PartitionQueue>,
    ready: VecDeque<PartitionId>,
    spare_buffers: Vec<Vec<u8>>,
    partition_events_max: usize,
    count: usize,
}

impl EventQueue {
    pub(crate) fn new(seed: HashSeed, partition_events_max: usize) -> Self {
        assert!(partition_events_max > 0);
        Self {
            queues: HashMap::with_hasher(seed),
            ready: VecDeque::new(),
            spare_buffers: Vec::new(),
            partition_events_max,
            count: 0,
        }
    }

    /// Events that wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Puts an event behind those of its partition. A request is refused when the queue is full, a
    /// notice when as many of them wait. The end of a session never is: there are no more of those
    /// than memberships and watches.
    pub(crate) fn push(
        &mut self,
        header: EventHeader,
        user: &[u8],
        message: &[u8],
    ) -> Result<(), QueueFull> {
        let queue = self.queues.entry(header.partition).or_default();
        let is_full = match header.kind {
            EventKind::Request => {
                queue.events.len() - queue.notice_count >= self.partition_events_max
            }
            EventKind::ObjectNotice => queue.notice_count >= self.partition_events_max,
            EventKind::LeaveRoom { .. } | EventKind::EndWatch { .. } | EventKind::LogOut => false,
        };
        if is_full {
            return Err(QueueFull);
        }
        queue.notice_count += usize::from(header.kind == EventKind::ObjectNotice);
        if queue.events.is_empty() {
            self.ready.push_back(header.partition);
        }
        let mut buffer = self.spare_buffers.pop().unwrap_or_default();
        buffer.extend_from_slice(user);
        buffer.extend_from_slice(message);
        queue.events.push_back(QueuedEvent { header, buffer, user_length: user.len() });
        self.count += 1;
        Ok(())
    }

    /// The next event: partitions take turns, and within one the oldest is first.
    pub(crate) fn pop(&mut self) -> Option<QueuedEvent> {
        let partition = self.ready.pop_front()?;
        let queue = self.queues.get_mut(&partition).expect("a ready partition has a queue");
        let event = queue.events.pop_front().expect("a ready partition has an event");
        queue.notice_count -= usize::from(event.header.kind == EventKind::ObjectNotice);
        if !queue.events.is_empty() {
            self.ready.push_back(partition);
        } else if queue.events.capacity() > QUEUE_EVENTS_KEPT_MAX {
            queue.events = VecDeque::new();
        }
        self.count -= 1;
        Some(event)
    }

    /// Takes back the buffer of an event that was handled.
    pub(crate) fn recycle(&mut self, event: QueuedEvent) {
        let mut buffer = event.buffer;
        if self.spare_buffers.len() < SPARE_BUFFERS_MAX
            && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX
        {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
