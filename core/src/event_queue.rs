//! The queues of a shard's partitions: one bounded FIFO each, and one FIFO of the partitions that
//! have something in theirs, so that a busy partition delays itself and no other.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{PARTITION_COUNT, PartitionId};
use crate::mesh::{EventHeader, EventKind};
use crate::message::Message;

/// Buffers kept for reuse. More are made and freed when more events wait.
const SPARE_BUFFERS_MAX: usize = 1024;
/// Bytes of all of these. One with which there would be more is freed.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Queues kept for reuse: partitions whose events wait at one time share them.
const SPARE_QUEUES_MAX: usize = 1024;
/// A queue that has grown beyond this is freed when it is empty.
const QUEUE_EVENTS_KEPT_MAX: usize = 64;
/// The place of a partition without events.
const NO_QUEUE: u32 = u32::MAX;

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
        use EventKind::{MakeEvent, ObjectNotice, Request, RunTask, Task};
        let kind = self.header.kind;
        let has_message = matches!(kind, Request { .. } | Task { .. } | RunTask { .. });
        assert!(has_message || matches!(kind, ObjectNotice | MakeEvent));
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
    /// By partition, where in `queues` its events wait.
    places: Vec<u32>,
    /// Queues of partitions that have events, and empty ones.
    queues: Vec<PartitionQueue>,
    /// Places of the empty ones.
    free: Vec<u32>,
    ready: VecDeque<PartitionId>,
    spare_buffers: Vec<Vec<u8>>,
    spare_bytes: usize,
    partition_events_max: usize,
    count: usize,
}

impl EventQueue {
    pub(crate) fn new(partition_events_max: usize) -> Self {
        assert!(partition_events_max > 0);
        Self {
            places: vec![NO_QUEUE; PARTITION_COUNT],
            queues: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            spare_buffers: Vec::new(),
            spare_bytes: 0,
            partition_events_max,
            count: 0,
        }
    }

    /// Events that wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Puts an event behind those of its partition. A request, or a scheduled event of a task elsewhere, is
    /// refused when the queue is full, a notice when as many of them wait. The end of a session never is: there are no more of those
    /// than memberships and watches; nor is a task that is done inline, of which a shard has few out.
    pub(crate) fn push(
        &mut self,
        header: EventHeader,
        user: &[u8],
        message: &[u8],
    ) -> Result<(), QueueFull> {
        let place = self.place_of(header.partition);
        let queue = &mut self.queues[place as usize];
        let is_full = match header.kind {
            EventKind::Request { .. } | EventKind::Task { .. } | EventKind::MakeEvent => {
                queue.events.len() - queue.notice_count >= self.partition_events_max
            }
            EventKind::ObjectNotice => queue.notice_count >= self.partition_events_max,
            EventKind::LeaveRoom { .. }
            | EventKind::EndWatch { .. }
            | EventKind::LoseTask { .. }
            | EventKind::RunTask { .. }
            | EventKind::LogOut => false,
        };
        // A queue that was just taken is not full: the bound is above 0.
        if is_full {
            return Err(QueueFull);
        }
        queue.notice_count += usize::from(header.kind == EventKind::ObjectNotice);
        if queue.events.is_empty() {
            self.ready.push_back(header.partition);
        }
        let mut buffer = self.spare_buffers.pop().unwrap_or_default();
        self.spare_bytes -= buffer.capacity();
        buffer.extend_from_slice(user);
        buffer.extend_from_slice(message);
        queue.events.push_back(QueuedEvent { header, buffer, user_length: user.len() });
        self.count += 1;
        Ok(())
    }

    /// The next event: partitions take turns, and within one the oldest is first.
    pub(crate) fn pop(&mut self) -> Option<QueuedEvent> {
        let partition = self.ready.pop_front()?;
        let place = self.places[usize::from(partition.0)];
        assert!(place != NO_QUEUE, "a ready partition has a queue");
        let queue = &mut self.queues[place as usize];
        let event = queue.events.pop_front().expect("a ready partition has an event");
        queue.notice_count -= usize::from(event.header.kind == EventKind::ObjectNotice);
        if queue.events.is_empty() {
            self.places[usize::from(partition.0)] = NO_QUEUE;
            if queue.events.capacity() > QUEUE_EVENTS_KEPT_MAX
                || self.free.len() >= SPARE_QUEUES_MAX
            {
                queue.events = VecDeque::new();
            }
            self.free.push(place);
        } else {
            self.ready.push_back(partition);
        }
        self.count -= 1;
        Some(event)
    }

    /// Where the partition's events wait: an empty queue, when none do yet.
    fn place_of(&mut self, partition: PartitionId) -> u32 {
        let place = &mut self.places[usize::from(partition.0)];
        if *place == NO_QUEUE {
            *place = self.free.pop().unwrap_or_else(|| {
                self.queues.push(PartitionQueue::default());
                u32::try_from(self.queues.len() - 1).expect("there are fewer than 2^32 partitions")
            });
        }
        *place
    }

    /// Takes back the buffer of an event that was handled.
    pub(crate) fn recycle(&mut self, event: QueuedEvent) {
        let mut buffer = event.buffer;
        if self.spare_buffers.len() < SPARE_BUFFERS_MAX
            && self.spare_bytes + buffer.capacity() <= SPARE_BYTES_MAX
        {
            self.spare_bytes += buffer.capacity();
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
