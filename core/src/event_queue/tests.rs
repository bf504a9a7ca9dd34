use super::*;
use crate::acknowledgement::AckLevel;
use crate::ids::{ConnectionId, Epoch, ObjectId, SessionId, ShardId};
use crate::mesh::Origin;
use alloc::vec;

const REQUEST: EventKind = EventKind::Request { level: AckLevel::Applied };

fn header(partition: u16, kind: EventKind) -> EventHeader {
    let partition = PartitionId(partition);
    let session = SessionId { shard: ShardId(0), generation: 0, index: 0 };
    let connection = ConnectionId { index: 0, generation: 0 };
    EventHeader {
        partition,
        epoch: Epoch(1),
        kind,
        origin: Origin { session, connection, echoes_request: false },
        user_partition: partition,
        login: 0,
        roles: crate::authorize::Roles::USER,
    }
}

#[test]
fn partitions_take_turns_and_each_is_first_in_first_out() {
    let mut queue = EventQueue::new(3);
    for (partition, user) in [(7, "a"), (7, "b"), (7, "c"), (9, "d"), (8, "e")] {
        queue.push(header(partition, REQUEST), user.as_bytes(), b"\x01m").unwrap();
    }
    let mut order = vec![];
    while let Some(event) = queue.pop() {
        order.push((event.header.partition.0, event.user().chars().next().unwrap()));
        assert_eq!(event.message().method(), "m");
        queue.recycle(event);
    }
    assert_eq!(order, [(7, 'a'), (9, 'd'), (8, 'e'), (7, 'b'), (7, 'c')]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_full_queue_refuses_requests_but_not_the_end_of_a_session() {
    let mut queue = EventQueue::new(1);
    let (request, gone) = (header(1, REQUEST), header(1, EventKind::LogOut));
    queue.push(request, b"a", b"\x01m").unwrap();
    assert_eq!(queue.push(request, b"b", b"\x01m"), Err(QueueFull));
    queue.push(gone, b"c", b"").unwrap();
    queue.push(header(1, EventKind::LeaveRoom { room: ObjectId(1) }), b"d", b"").unwrap();
    queue.push(header(2, REQUEST), b"e", b"\x01m").unwrap();
    assert_eq!(queue.len(), 4);
}

#[test]
fn partitions_without_events_keep_no_queue() {
    let mut queue = EventQueue::new(3);
    for partition in 0..5_000 {
        queue.push(header(partition, REQUEST), b"a", b"\x01m").unwrap();
        let event = queue.pop().unwrap();
        assert_eq!(event.header.partition, PartitionId(partition));
        queue.recycle(event);
    }
    assert_eq!((queue.queues.len(), queue.free.len()), (1, 1));
    for partition in 0..5_000 {
        queue.push(header(partition, REQUEST), b"a", b"\x01m").unwrap();
    }
    while let Some(event) = queue.pop() {
        queue.recycle(event);
    }
    let kept = queue.queues.iter().filter(|queue| queue.events.capacity() > 0).count();
    assert_eq!((queue.queues.len(), kept), (5_000, SPARE_QUEUES_MAX));
}

#[test]
fn buffers_that_are_kept_have_a_bound_in_all() {
    let mut queue = EventQueue::new(2_000);
    let kept = |queue: &EventQueue| {
        let bytes: usize = queue.spare_buffers.iter().map(Vec::capacity).sum();
        assert_eq!(queue.spare_bytes, bytes);
        (queue.spare_buffers.len(), bytes)
    };
    let mut go_round = |count: usize, bytes: usize| {
        let message = [&b"\x01m"[..], &vec![0; bytes - 2]].concat();
        for _ in 0..count {
            queue.push(header(1, REQUEST), b"", &message).unwrap();
        }
        while let Some(event) = queue.pop() {
            queue.recycle(event);
        }
        kept(&queue)
    };
    // A large one is kept for the next.
    assert_eq!(go_round(1, 40_000), (1, 40_000));
    assert_eq!(go_round(1, 40_000), (1, 40_000));
    assert_eq!(go_round(1, 100), (1, 40_000));
    assert_eq!(go_round(200, 40_000), (SPARE_BYTES_MAX / 40_000, 4_160_000));
    let (count, bytes) = go_round(2_000, 100);
    assert!((105..=SPARE_BUFFERS_MAX).contains(&count) && bytes <= SPARE_BYTES_MAX);
}
