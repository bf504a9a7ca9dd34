use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

/// Turns until `found` says so, and takes what was received on the way.
fn turn_until(ring: &mut Ring, mut found: impl FnMut(Completion, &[u8]) -> bool) {
    let mut completions = Vec::new();
    loop {
        ring.turn(SECOND_NS, &mut completions).unwrap();
        let mut done = false;
        for completion in completions.drain(..) {
            let received = match completion {
                Completion::Received { result: Ok(received), .. } => received,
                _ => None,
            };
            done |= found(completion, received.map_or(&[], |received| ring.bytes(received)));
            received.into_iter().for_each(|received| ring.recycle(received));
        }
        if done {
            return;
        }
    }
}

fn listener() -> (TcpListenerOnPort, SocketAddrV4) {
    let listener = listen().unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    (listener, address)
}

type TcpListenerOnPort = std::net::TcpListener;

#[test]
fn it_connects_sends_and_receives_until_the_end() {
    let (listener, address) = listener();
    let mut ring = Ring::new(&[address]).unwrap();
    let socket = connect_socket(Some(source_address(5_000))).unwrap();
    ring.connect(7, socket.as_raw_fd(), 0).unwrap();
    turn_until(&mut ring, |completion, _| {
        matches!(completion, Completion::Connected { index: 7, result: Ok(()) })
    });
    let (mut peer, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source_address(5_000));
    ring.receive(7, socket.as_raw_fd()).unwrap();
    ring.send(7, socket.as_raw_fd(), b"over there".to_vec()).unwrap();
    turn_until(&mut ring, |completion, _| {
        matches!(completion, Completion::Sent { index: 7, whole: true })
    });
    let mut heard = [0; 10];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"over there");

    // More than all buffers hold: they go round.
    let long: Vec<u8> = (0..10_000_000u32).map(|at| (at % 251) as u8).collect();
    let sender = std::thread::spawn(move || {
        peer.write_all(&long).unwrap();
        long
    });
    let mut received = Vec::new();
    let mut rearm = false;
    let mut completions = Vec::new();
    let mut ended = false;
    while !ended {
        if std::mem::take(&mut rearm) {
            ring.receive(7, socket.as_raw_fd()).unwrap();
        }
        ring.turn(SECOND_NS, &mut completions).unwrap();
        for completion in completions.drain(..) {
            let Completion::Received { index: 7, result, more } = completion else { continue };
            match result {
                Ok(Some(bytes)) => {
                    received.extend_from_slice(ring.bytes(bytes));
                    ring.recycle(bytes);
                }
                Ok(None) => ended = true,
                Err(error) => assert_eq!(error, libc::ENOBUFS),
            }
            rearm |= !more;
        }
    }
    assert!(received == sender.join().unwrap(), "bytes came otherwise than they were sent");
}

#[test]
fn a_send_that_the_socket_does_not_take_whole_is_told_and_others_are_not() {
    let (listener, address) = listener();
    let mut ring = Ring::new(&[]).unwrap();
    ring.accept(listener.as_raw_fd()).unwrap();
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let mut accepted = Vec::new();
    turn_until(&mut ring, |completion, _| {
        if let Completion::Accepted { result: Ok(socket), .. } = completion {
            accepted.push(socket);
        }
        accepted.len() == 2
    });
    let (short, long) = (vec![1u8; 100], vec![2u8; 64 << 20]);
    let sends = [(0, accepted[0], &short[..]), (1, accepted[1], &long[..])];
    ring.send_now(sends.into_iter()).unwrap();
    let mut told = Vec::new();
    turn_until(&mut ring, |completion, _| {
        if let Completion::Sent { index, whole } = completion {
            told.push((index, whole));
        }
        !told.is_empty()
    });
    assert_eq!(told, [(1, false)]);
}

#[test]
fn a_refused_connect_is_told() {
    let (listener, address) = listener();
    drop(listener);
    let mut ring = Ring::new(&[address]).unwrap();
    let socket = connect_socket(None).unwrap();
    ring.connect(3, socket.as_raw_fd(), 0).unwrap();
    turn_until(&mut ring, |completion, _| {
        matches!(completion, Completion::Connected { index: 3, result: Err(libc::ECONNREFUSED) })
    });
}

#[test]
fn waiting_ends_without_a_completion() {
    let mut ring = Ring::new(&[]).unwrap();
    let mut completions = Vec::new();
    ring.turn(1_000, &mut completions).unwrap();
    assert!(completions.is_empty());
}

#[test]
fn source_addresses_are_rotated_within_the_loopback() {
    for (connection, address) in [
        (0, [127, 1, 0, 1]),
        (4_095, [127, 1, 0, 1]),
        (4_096, [127, 1, 0, 2]),
        (250 * 4_096, [127, 1, 1, 1]),
    ] {
        assert_eq!(source_address(connection), Ipv4Addr::from(address));
    }
}
