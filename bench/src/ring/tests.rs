use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Turns until `found` says so; it gets the received bytes too.
fn turn_until(ring: &mut Ring, turn: Turn, mut found: impl FnMut(Completion, &[u8]) -> bool) {
    let mut completions = Vec::new();
    loop {
        ring.turn(turn, SECOND, &mut completions);
        let mut done = false;
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { index, bytes, more } => {
                    done |= found(completion, ring.bytes(bytes));
                    ring.recycle(bytes);
                    if !more {
                        ring.receive(index);
                    }
                }
                Completion::Unarmed { index } => ring.receive(index),
                _ => done |= found(completion, &[]),
            }
        }
        if done {
            return;
        }
    }
}

fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    (listener, address)
}

#[test]
fn it_connects_sends_and_receives_until_the_end() {
    let (listener, address) = listener();
    let mut ring = Ring::new(8).unwrap();
    ring.connect(7, source_address(5_000, 4_096), address, Leave::Close).unwrap();
    let (mut peer, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source_address(5_000, 4_096));
    ring.send(7, b"over there".to_vec());
    turn_until(&mut ring, Turn::AtOnce, |completion, _| {
        matches!(completion, Completion::Sent { index: 7, whole: true })
    });
    let mut heard = [0; 10];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"over there");

    // More than all buffers hold: they go round.
    let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            peer.write_all(&sent).unwrap();
            drop(peer);
        });
        turn_until(&mut ring, Turn::AtOnce, |completion, bytes| {
            received.extend_from_slice(bytes);
            matches!(completion, Completion::Ended { index: 7 })
        });
    });
    assert!(received == sent, "bytes came otherwise than they were sent");
}

#[test]
fn a_receive_without_buffers_is_told_and_goes_on_when_there_are_some() {
    let (listener, address) = listener();
    let mut ring = Ring::new(8).unwrap();
    ring.connect(0, source_address(0, 4_096), address, Leave::Close).unwrap();
    let mut peer = listener.accept().unwrap().0;
    let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
    let (mut received, mut held, mut unarmed) = (Vec::new(), Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            peer.write_all(&sent).unwrap();
            drop(peer);
        });
        let mut completions = Vec::new();
        let mut ended = false;
        while !ended {
            ring.turn(Turn::AtOnce, SECOND, &mut completions);
            for completion in completions.drain(..) {
                match completion {
                    Completion::Received { bytes, .. } => {
                        received.extend_from_slice(ring.bytes(bytes));
                        held.push(bytes);
                    }
                    Completion::Unarmed { index: 0 } => {
                        unarmed += 1;
                        held.drain(..).for_each(|bytes| ring.recycle(bytes));
                        ring.receive(0);
                    }
                    Completion::Ended { index: 0 } => ended = true,
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    assert!(unarmed > 0 && received == sent, "bytes came otherwise than they were sent");
}

#[test]
fn a_send_that_the_socket_does_not_take_whole_is_told_and_others_are_not() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut ring = Ring::new(8).unwrap();
    ring.accept(&listener);
    let address = listener.local_addr();
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let mut accepted = Vec::new();
    turn_until(&mut ring, Turn::Gathering(Duration::from_millis(1)), |completion, _| {
        if let Completion::Accepted { index: Some(index), more: true } = completion {
            accepted.push(index);
        }
        accepted.len() == 2
    });
    let arena = vec![1; 64 << 20];
    ring.stage(accepted[0], 0, 100);
    ring.stage(accepted[1], 100, arena.len() - 100);
    ring.send_now(&arena);
    let mut told = Vec::new();
    turn_until(&mut ring, Turn::AtOnce, |completion, _| {
        if let Completion::Sent { index, whole } = completion {
            told.push((index, whole));
        }
        !told.is_empty()
    });
    assert_eq!(told, [(accepted[1], false)]);
}

#[test]
fn a_queued_send_that_fails_is_told() {
    let (listener, address) = listener();
    let mut ring = Ring::new(8).unwrap();
    ring.connect(0, source_address(0, 4_096), address, Leave::Close).unwrap();
    let peer = listener.accept().unwrap().0;
    ring.send(0, vec![1; 64 << 20]);
    ring.shutdown(0);
    turn_until(&mut ring, Turn::AtOnce, |completion, _| {
        matches!(completion, Completion::Sent { index: 0, whole: false })
    });
    drop(peer);
}

#[test]
fn a_refused_connect_is_an_error() {
    let (listener, address) = listener();
    drop(listener);
    let mut ring = Ring::new(8).unwrap();
    let error = ring.connect(3, source_address(0, 4_096), address, Leave::Close).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn waiting_ends_without_a_completion() {
    let mut ring = Ring::new(8).unwrap();
    let mut completions = Vec::new();
    for turn in [Turn::AtOnce, Turn::Gathering(SECOND)] {
        ring.turn(turn, Duration::from_micros(1), &mut completions);
        assert!(completions.is_empty());
    }
}

#[test]
fn source_addresses_are_rotated_within_the_loopback() {
    for (connection, address) in [
        (0, [127, 1, 0, 1]),
        (4_095, [127, 1, 0, 1]),
        (4_096, [127, 1, 0, 2]),
        (250 * 4_096, [127, 1, 1, 1]),
    ] {
        assert_eq!(source_address(connection, CONNECTIONS_PER_ADDRESS), Ipv4Addr::from(address));
    }
}

#[test]
fn a_slot_that_was_closed_is_used_again_and_the_peer_hears_how_it_was_left() {
    let (listener, address) = listener();
    let mut ring = Ring::new(2).unwrap();
    for leave in [Leave::Close, Leave::Reset, Leave::Close] {
        ring.connect_begun(1, source_address(0, 4_096), address, leave).unwrap();
        ring.send(1, b"here again".to_vec());
        let mut peer = listener.accept().unwrap().0;
        turn_until(&mut ring, Turn::AtOnce, |completion, _| {
            matches!(completion, Completion::Sent { index: 1, whole: true })
        });
        let mut heard = [0; 10];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"here again");
        ring.stop_receiving(1);
        turn_until(&mut ring, Turn::AtOnce, |completion, _| {
            matches!(completion, Completion::Ended { index: 1 })
        });
        ring.close(1);
        ring.turn(Turn::AtOnce, Duration::ZERO, &mut Vec::new());
        let end = peer.read(&mut heard).map_err(|error| error.kind());
        match leave {
            Leave::Close => assert_eq!(end, Ok(0)),
            Leave::Reset => assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset)),
        }
    }
}

#[test]
fn a_connection_that_nobody_takes_ends() {
    let (listener, address) = listener();
    drop(listener);
    let mut ring = Ring::new(2).unwrap();
    ring.connect_begun(0, source_address(0, 4_096), address, Leave::Close).unwrap();
    turn_until(&mut ring, Turn::AtOnce, |completion, _| {
        matches!(completion, Completion::Ended { index: 0 })
    });
}

#[test]
fn the_floor_gathers_for_as_long_as_servers_do() {
    assert_eq!(server_turn_interval(), Duration::from_micros(1_100));
}
