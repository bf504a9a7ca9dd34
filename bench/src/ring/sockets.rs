//! Sockets that connect from an address of our choice: what the standard library does not do.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Connects from one address to another, waits until it is connected, and sends without delay.
pub(super) fn connect_from(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    enable(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    bind_and_connect(&socket, source, target)?;
    Ok(socket)
}

fn bind_and_connect(socket: &OwnedFd, source: Ipv4Addr, target: SocketAddrV4) -> io::Result<()> {
    // The port is chosen at the connect, when the other end is known: so each address has all
    // ports for each server.
    enable(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
    let source = native(SocketAddrV4::new(source, 0));
    let target = native(target);
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: `source` is a whole `sockaddr_in` of that length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const source).cast(), length) })?;
    // SAFETY: as before, for `target`.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const target).cast(), length) })?;
    Ok(())
}

/// Begins to connect from one address to another, and never waits. With a receive buffer of so many
/// bytes, and with segments of so many at most, if they are given.
pub(crate) fn connect_begun(
    source: Ipv4Addr,
    target: SocketAddrV4,
    receive_buffer_bytes: Option<libc::c_int>,
    segment_bytes_max: Option<libc::c_int>,
) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let socket = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    enable(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    if let Some(bytes) = receive_buffer_bytes {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    if let Some(bytes) = segment_bytes_max {
        set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, bytes)?;
    }
    match bind_and_connect(&socket, source, target) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        result => result.map(|()| socket),
    }
}

/// From now on a ring waits for what the socket cannot do at once, as it does for sockets that were
/// connected first.
pub(super) fn wait_in_ring(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) })?;
    let flags = flags & !libc::O_NONBLOCK;
    // SAFETY: as before.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags) })?;
    Ok(())
}

/// When it is closed, the peer is told by a reset.
pub(super) fn reset_when_closed(socket: &OwnedFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value is an initialised `linger`, and its length is given.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        )
    })?;
    Ok(())
}

/// The kernel's form of an address.
fn native(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

fn enable(socket: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    set(socket, level, option, 1)
}

fn set(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an initialised int, and its length is given.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
