//! The ring on real sockets: what the rest relies on, tried on this kernel.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::listener::Listener;
use super::operation::{Completion, OperationKind, Outcome, UserData};
use super::probe::{
    Environment, FEATURES, Feature, Finding, Remedy, explain, findings, probe, survey,
};
use super::ring::{ImmediateSend, Ring, RingSettings, Wait};

const SETTINGS: RingSettings = RingSettings {
    submission_entries: 16,
    completion_entries: 256,
    files_max: 256,
    receive_buffer_count: 16,
    receive_buffer_bytes: 64,
};

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Waits until there are `count` completions.
fn completions(ring: &mut Ring, count: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        let gather = Duration::from_micros(100);
        let timeout = Some(Duration::from_millis(10));
        ring.wait(Wait { want: 8, gather, timeout });
        ring.take_completions(&mut all);
        if all.len() >= count {
            return all;
        }
    }
    panic!("{} of {count} completions: {all:?}", all.len());
}

fn send(slot: u32, length: usize) -> ImmediateSend {
    let user_data = UserData::new(OperationKind::Send, 5, slot);
    ImmediateSend { user_data, slot, arena: 0, start: 0, length: length as u32 }
}

#[test]
fn a_name_keeps_its_parts() {
    for (generation, index) in [(0, 0), (1, u32::MAX), (0xff_ffff, 7)] {
        let user_data = UserData::new(OperationKind::PeerWoken, generation, index);
        assert_eq!(user_data.kind(), Some(OperationKind::PeerWoken));
        assert_eq!((user_data.generation(), user_data.index()), (generation, index));
    }
    assert_eq!(UserData::new(OperationKind::Accept, 1 << 24, 0).generation(), 0);
}

#[test]
fn this_kernel_has_all_features() {
    probe().unwrap();
}

#[test]
fn each_fault_has_its_remedy() {
    let new = Environment { kernel: Some((6, 18)), io_uring_disabled: Some(0), descriptors_max: 9 };
    let old = Environment { kernel: Some((5, 15)), io_uring_disabled: None, descriptors_max: 9 };
    let disabled = |value| Environment { io_uring_disabled: Some(value), ..new };
    for (feature, errno, environment, remedy, word) in [
        (Feature::RingSetup, libc::EINVAL, old, Remedy::NewerKernel { since: (6, 6) }, "6.6"),
        (Feature::GatheringWait, libc::EINVAL, old, Remedy::NewerKernel { since: (6, 12) }, "6.12"),
        (Feature::RingSetup, libc::ENOSYS, old, Remedy::NewerKernel { since: (6, 6) }, "Linux"),
        (
            Feature::RingSetup,
            libc::EPERM,
            disabled(1),
            Remedy::EnableIoUring { disabled: 1 },
            "kernel.io_uring_group",
        ),
        (
            Feature::RingSetup,
            libc::EPERM,
            disabled(2),
            Remedy::EnableIoUring { disabled: 2 },
            "kernel.io_uring_disabled=0",
        ),
        (Feature::RingSetup, libc::EPERM, new, Remedy::AllowInSeccomp, "Docker and containerd"),
        (Feature::RingSetup, libc::EPERM, old, Remedy::AllowInSeccomp, "seccomp"),
        (Feature::RingSetup, libc::ENOSYS, new, Remedy::AllowInSeccomp, "seccomp"),
        (Feature::BufferRing, libc::ENOMEM, new, Remedy::RaiseMemlock, "LimitMEMLOCK"),
        (
            Feature::FileTable,
            libc::EMFILE,
            new,
            Remedy::RaiseDescriptorLimit { limit: 9 },
            "limit is 9",
        ),
        (Feature::PeerWake, libc::EIO, new, Remedy::Unknown, "report"),
    ] {
        let missing = explain(feature, errno, &environment);
        assert_eq!((missing.feature, missing.errno, missing.remedy), (feature, errno, remedy));
        let text = missing.to_string();
        assert!(text.contains(word) && text.contains(feature.row().label), "{text}");
    }
    for (at, row) in FEATURES.iter().enumerate() {
        assert_eq!(row.feature as usize, at, "{}", row.label);
    }
}

#[test]
fn a_survey_finds_what_the_probe_finds() {
    assert_eq!(survey(), vec![Finding::Works; FEATURES.len()]);
}

#[test]
fn a_missing_feature_leaves_the_others_of_its_trial_untried() {
    const FIRST: &[Feature] = &[Feature::AcceptDirect, Feature::Closing];
    const SECOND: &[Feature] = &[Feature::ReceiveMultishot, Feature::Closing];
    let environment = Environment { kernel: None, io_uring_disabled: None, descriptors_max: 9 };
    let lacks = |feature| explain(feature, libc::EINVAL, &environment);
    let check = |first, second, works: &[Feature], missing: &[Feature]| {
        let found = findings([(FIRST, first), (SECOND, second)]);
        for row in FEATURES {
            let expected = if missing.contains(&row.feature) {
                Finding::Missing(lacks(row.feature))
            } else if works.contains(&row.feature) {
                Finding::Works
            } else {
                Finding::Untried
            };
            assert_eq!(found[row.feature as usize], expected, "{}", row.label);
        }
    };
    let setup = lacks(Feature::GatheringWait);
    check(Err(setup), Err(setup), &[Feature::RingSetup], &[Feature::GatheringWait]);
    let set_up = [
        Feature::RingSetup,
        Feature::GatheringWait,
        Feature::RegisteredRing,
        Feature::WakeCounter,
        Feature::FileTable,
        Feature::BufferRing,
    ];
    // One trial that gets past a feature is enough; one that fails at it is too.
    let works = [&set_up[..], SECOND].concat();
    check(Err(lacks(Feature::AcceptDirect)), Ok(()), &works, &[Feature::AcceptDirect]);
    let works = [&set_up[..], &[Feature::AcceptDirect, Feature::ReceiveMultishot]].concat();
    check(Err(lacks(Feature::Closing)), Ok(()), &works, &[Feature::Closing]);
    check(Ok(()), Err(lacks(Feature::Closing)), &works, &[Feature::Closing]);
}

#[test]
fn a_table_beyond_the_limit_and_odd_buffers_are_refused() {
    let huge = RingSettings { files_max: 1 << 30, ..SETTINGS };
    let missing = Ring::new(&huge).err().expect("no limit is so high");
    assert_eq!(missing.feature, Feature::FileTable);
    assert!(matches!(missing.remedy, Remedy::RaiseDescriptorLimit { .. }), "{missing}");
    let odd = RingSettings { receive_buffer_count: 3, ..SETTINGS };
    let missing = Ring::new(&odd).err().expect("the kernel wants a power of two");
    assert_eq!(missing.feature, Feature::BufferRing);
}

#[test]
fn listeners_share_a_port() {
    let listeners = Listener::bind_all(any_port(), 3).unwrap();
    let address = listeners[0].local_addr();
    assert_ne!(address.port(), 0);
    assert!(listeners.iter().all(|listener| listener.local_addr() == address));
    TcpStream::connect(address).unwrap();
    let six = "[::1]:0".parse().unwrap();
    if let Ok(listener) = Listener::bind(six) {
        TcpStream::connect(listener.local_addr()).unwrap();
    }
}

#[test]
fn accepted_sockets_send_without_delay() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let listener = Listener::bind(any_port()).unwrap();
    ring.accept(UserData::new(OperationKind::Accept, 0, 0), &listener);
    let clients: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(listener.local_addr()).unwrap()).collect();
    let accepted = completions(&mut ring, clients.len());
    for (slot, completion) in (0..).zip(&accepted) {
        assert_eq!(completion.outcome, Outcome::Done(slot));
        assert!(completion.more);
    }
    // A hundred were ready, and one call of the kernel makes no more than it is asked for.
    let counters = ring.counters();
    assert_eq!(counters.completions, 100);
    let sends: Vec<ImmediateSend> = (0..100).map(|slot| send(slot, 5)).collect();
    ring.send_now(&sends, &[b"hello"]);
    for mut client in clients {
        let mut received = [0; 5];
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello");
    }
    assert_eq!(ring.counters().completions, 100, "a send that went out completes silently");
}

#[test]
fn more_ready_work_than_one_call_makes_is_all_reaped() {
    let mut ring = Ring::new(&RingSettings { receive_buffer_count: 256, ..SETTINGS }).unwrap();
    let pairs: Vec<_> = (0..200).map(|_| connected()).collect();
    let mut peers = Vec::new();
    for (slot, (client, server)) in (0..).zip(pairs) {
        ring.install(slot, OwnedFd::from(server)).unwrap();
        ring.receive(UserData::new(OperationKind::Receive, 0, slot), slot);
        peers.push(client);
    }
    ring.submit();
    for peer in &mut peers {
        std::io::Write::write_all(peer, b"x").unwrap();
    }
    let enters = ring.counters().enters;
    ring.wait(Wait { want: 20, gather: Duration::ZERO, timeout: None });
    let mut received = Vec::new();
    ring.take_completions(&mut received);
    assert_eq!(received.len(), 200);
    let calls = ring.counters().enters - enters;
    assert!(calls <= 200 / 20 + 1, "{calls} calls");
    for completion in &received {
        let buffer = completion.buffer.expect("it holds the byte");
        assert_eq!(ring.buffers().bytes(buffer, 1), b"x");
        ring.buffers_mut().give_back(buffer);
    }
    ring.buffers_mut().publish();
    assert_eq!(ring.buffers().free_count(), 256);
}

#[test]
fn a_wait_does_not_ask_on_for_work_that_does_not_come() {
    let mut ring = Ring::new(&RingSettings { receive_buffer_count: 256, ..SETTINGS }).unwrap();
    let (mut client, server) = connected();
    ring.install(0, OwnedFd::from(server)).unwrap();
    ring.receive(UserData::new(OperationKind::Receive, 0, 0), 0);
    ring.submit();
    // So many pieces of one socket that the kernel puts it back in line, and says that there is
    // more: it goes on saying so when all is done.
    std::io::Write::write_all(&mut client, &[1; 100 * 64]).unwrap();
    let enters = ring.counters().enters;
    let (gather, timeout) = (Duration::from_micros(50), Some(Duration::from_millis(1)));
    ring.wait(Wait { want: 200, gather, timeout });
    let calls = ring.counters().enters - enters;
    let mut received = Vec::new();
    ring.take_completions(&mut received);
    assert_eq!(received.len(), 100);
    assert!(calls < 10, "{calls} calls");
}

#[test]
fn a_wait_ends_at_the_first_completion_when_the_time_to_gather_is_over() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let handle = ring.wake_handle();
    for gather in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2)] {
        for timeout in [None, Some(Duration::from_secs(600))] {
            ring.wake_read();
            handle.wake();
            ring.wait(Wait { want: 20, gather, timeout });
            let woken = ring.take_completion().expect("it was woken");
            assert_eq!(woken.user_data.kind(), Some(OperationKind::WakeRead));
        }
    }
    // Nothing under way: only looks.
    let enters = ring.counters().enters;
    ring.wait(Wait { want: 20, gather: Duration::ZERO, timeout: Some(Duration::ZERO) });
    assert_eq!(ring.counters().enters, enters);
}

#[test]
fn a_short_send_says_how_much_went_out() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let (mut client, server) = connected();
    ring.install(0, OwnedFd::from(server)).unwrap();
    let arena: Vec<u8> = (0..32 << 20).map(|at: usize| (at % 251) as u8).collect();
    ring.send_now(&[send(0, arena.len())], &[&arena]);
    let short = ring.take_completion().expect("no socket takes so much");
    assert_eq!(short.user_data, send(0, 0).user_data);
    let Outcome::Done(sent) = short.outcome else { panic!("{short:?}") };
    assert!(sent > 0 && (sent as usize) < arena.len());
    ring.send_now(&[send(0, arena.len())], &[&arena]);
    let full = ring.take_completion().expect("it takes nothing now");
    assert_eq!(full.outcome, Outcome::WouldBlock);
    // The rest waits for room in the ring's own buffer.
    let user_data = UserData::new(OperationKind::SendQueued, 5, 0);
    ring.send_queued(user_data, 0, arena.clone(), sent as usize);
    ring.submit();
    assert_eq!(ring.take_sent(0), None, "it is under way");
    client.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    let mut completed = Vec::new();
    while received.len() < arena.len() {
        match client.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(_) => {
                let (gather, timeout) = (Duration::ZERO, Some(Duration::from_millis(1)));
                ring.wait(Wait { want: 1, gather, timeout });
                ring.take_completions(&mut completed);
            }
        }
    }
    assert!(received == arena, "the bytes differ");
    completed.extend(if completed.is_empty() { completions(&mut ring, 1) } else { Vec::new() });
    assert_eq!(completed[0].user_data, user_data);
    assert_eq!(completed[0].outcome, Outcome::Done(arena.len() as u32 - sent));
    assert_eq!(ring.take_sent(0).map(|bytes| bytes.len()), Some(arena.len()));
}

#[test]
fn sends_that_fail_say_so_each() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    // More than the submission queue holds, and no socket in any slot but one.
    let (_client, server) = connected();
    ring.install(50, OwnedFd::from(server)).unwrap();
    let sends: Vec<ImmediateSend> = (0..100).map(|slot| send(slot, 5)).collect();
    ring.send_now(&sends, &[b"hello"]);
    let mut failed = Vec::new();
    ring.take_completions(&mut failed);
    let slots: Vec<u32> = failed.iter().map(|completion| completion.user_data.index()).collect();
    assert_eq!(slots, (0..100).filter(|slot| *slot != 50).collect::<Vec<_>>());
    assert!(failed.iter().all(|completion| completion.outcome == Outcome::Failed(libc::EBADF)));
}

#[test]
#[should_panic(expected = "out of range")]
fn a_send_beyond_its_arena_is_refused() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    ring.send_now(&[send(0, 5), send(0, 6)], &[b"hello"]);
}

#[test]
fn a_buffer_is_the_programs_until_it_is_given_back() {
    let mut ring = Ring::new(&RingSettings { receive_buffer_count: 2, ..SETTINGS }).unwrap();
    let (mut client, server) = connected();
    ring.install(0, OwnedFd::from(server)).unwrap();
    ring.receive(UserData::new(OperationKind::Receive, 0, 0), 0);
    let bytes: Vec<u8> = (0..200).collect();
    std::io::Write::write_all(&mut client, &bytes).unwrap();
    let first = completions(&mut ring, 3);
    assert_eq!(first[2].outcome, Outcome::BuffersExhausted);
    assert!(first[0].more && first[1].more && !first[2].more);
    assert_eq!(ring.buffers().free_count(), 0);
    let held: Vec<_> = first[..2].iter().map(|completion| completion.buffer.unwrap()).collect();
    ring.buffers_mut().give_back(held[1]);
    ring.buffers_mut().publish();
    ring.receive(UserData::new(OperationKind::Receive, 0, 0), 0);
    let second = completions(&mut ring, 2);
    assert_eq!(second[0].buffer, Some(held[1]));
    assert_eq!(ring.buffers().bytes(held[0], 64), &bytes[..64]);
    assert_eq!(ring.buffers().bytes(held[1], 64), &bytes[128..192]);
}

#[test]
#[should_panic(expected = "given back once")]
fn a_buffer_is_given_back_once() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let (mut client, server) = connected();
    ring.install(0, OwnedFd::from(server)).unwrap();
    ring.receive(UserData::new(OperationKind::Receive, 0, 0), 0);
    std::io::Write::write_all(&mut client, b"x").unwrap();
    let buffer = completions(&mut ring, 1)[0].buffer.unwrap();
    ring.buffers_mut().give_back(buffer);
    ring.buffers_mut().give_back(buffer);
}

#[test]
fn what_is_under_way_may_be_dropped_with_its_ring() {
    for _ in 0..10 {
        let mut ring = Ring::new(&SETTINGS).unwrap();
        let (_client, server) = connected();
        ring.install(0, OwnedFd::from(server)).unwrap();
        ring.receive(UserData::new(OperationKind::Receive, 0, 0), 0);
        ring.wake_read();
        let user_data = UserData::new(OperationKind::SendQueued, 0, 0);
        ring.send_queued(user_data, 0, vec![1; 32 << 20], 0);
        ring.submit();
        assert_eq!(ring.take_completion().map(|completion| completion.outcome), None);
    }
}

#[test]
fn cancelling_ends_a_receive_and_closing_ends_the_stream() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let (mut client, server) = connected();
    ring.install(9, OwnedFd::from(server)).unwrap();
    let receive = UserData::new(OperationKind::Receive, 1, 9);
    ring.receive(receive, 9);
    ring.cancel(UserData::new(OperationKind::Cancel, 1, 9), receive);
    let ended = completions(&mut ring, 1);
    assert_eq!((ended[0].user_data, ended[0].outcome), (receive, Outcome::Cancelled));
    let shutdown = UserData::new(OperationKind::Shutdown, 1, 9);
    ring.shutdown(shutdown, 9, Shutdown::Write);
    assert_eq!(completions(&mut ring, 1)[0].user_data, shutdown);
    assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
    ring.close(UserData::new(OperationKind::Close, 1, 9), 9);
    ring.close(UserData::new(OperationKind::Close, 1, 9), 9);
    let twice = completions(&mut ring, 1);
    assert_eq!(twice.len(), 1, "the first completes silently");
    assert_eq!(twice[0].outcome, Outcome::Failed(libc::EBADF));
}

#[test]
fn shutdowns_start_no_thread_of_the_kernel() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let mut clients = Vec::new();
    for slot in 0..8 {
        let (client, server) = connected();
        ring.install(slot, OwnedFd::from(server)).unwrap();
        ring.shutdown(UserData::new(OperationKind::Shutdown, 1, slot), slot, Shutdown::Write);
        clients.push(client);
    }
    for completion in completions(&mut ring, 8) {
        assert_eq!(completion.outcome, Outcome::Done(0), "{:?}", completion.user_data);
    }
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
    }
    assert_eq!(kernel_workers(), Vec::<String>::new());

    let (mut client, server) = connected();
    ring.install(9, OwnedFd::from(server)).unwrap();
    let by_helper = UserData::new(OperationKind::Shutdown, 1, 9);
    ring.shutdown_by_helper(by_helper, Shutdown::Write);
    let done = completions(&mut ring, 1);
    assert_eq!((done[0].user_data, done[0].outcome), (by_helper, Outcome::Done(0)));
    assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
    ring.close(UserData::new(OperationKind::Close, 1, 9), 9);

    // Nothing is there to be shut down: the helper is asked, and says so, once.
    let empty = UserData::new(OperationKind::Shutdown, 1, 9);
    ring.shutdown(empty, 9, Shutdown::Both);
    let failed = completions(&mut ring, 1);
    assert_eq!((failed.len(), failed[0].user_data), (1, empty));
    assert_eq!(failed[0].outcome, Outcome::Failed(libc::EBADF));
}

#[test]
fn many_shutdowns_wait_for_each_other_and_all_complete() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let mut clients = Vec::new();
    for slot in 0..200 {
        let (client, server) = connected();
        ring.install(slot, OwnedFd::from(server)).unwrap();
        clients.push(client);
    }
    for slot in 0..200 {
        ring.shutdown(UserData::new(OperationKind::Shutdown, 1, slot), slot, Shutdown::Write);
    }
    let mut slots: Vec<u32> = Vec::new();
    while slots.len() < 200 {
        for completion in completions(&mut ring, 1) {
            assert_eq!(completion.outcome, Outcome::Done(0));
            slots.push(completion.user_data.index());
        }
    }
    slots.sort_unstable();
    assert_eq!(slots, (0..200).collect::<Vec<_>>());
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
    }
}

#[test]
fn a_ring_leaves_no_descriptor_of_a_shutdown_behind() {
    let mut ring = Ring::new(&SETTINGS).unwrap();
    let (mut client, server) = connected();
    ring.install(9, OwnedFd::from(server)).unwrap();
    ring.shutdown(UserData::new(OperationKind::Shutdown, 1, 9), 9, Shutdown::Write);
    ring.submit();
    drop(ring);
    assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
}

/// Threads that the kernel has started for this thread's rings.
fn kernel_workers() -> Vec<String> {
    // SAFETY: a call without arguments that cannot fail.
    let name = format!("iou-wrk-{}", unsafe { libc::gettid() });
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.map(|known| known.trim().to_owned()).filter(|known| *known == name).collect()
}
