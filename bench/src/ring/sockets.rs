//! Sockets and limits by system call: what is done once for each connection and not in the loop.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// The kernel's form of an address.
pub(super) fn socket_address(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// A socket that connects from this address, or from any, and sends without delay.
///
/// # Errors
/// When descriptors have run out, or the address is not ours.
pub fn connect_socket(source: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    if let Some(source) = source {
        // The port is chosen at the connect, when the other end is known: so each address has all
        // ports for each server.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
        let address = socket_address(&SocketAddrV4::new(source, 0));
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        // SAFETY: `address` is a whole `sockaddr_in` of that length.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(socket)
}

/// A listener on a free port of the loopback, whose connections send without delay.
///
/// # Errors
/// When there is none.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: no memory is passed. A second listen only changes the length of the queue.
    if unsafe { libc::listen(listener.as_raw_fd(), 4_096) } != 0 {
        return Err(io::Error::last_os_error());
    }
    set_option(&listener, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    Ok(listener)
}

fn set_option(socket: &impl std::os::fd::AsRawFd, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is an int, and its length is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Raises the limit of open descriptors as far as it may be raised, and tells it.
///
/// # Errors
/// When the kernel refuses.
pub fn descriptors_raise() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit in both calls.
    let result = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        } else {
            -1
        }
    };
    if result == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}
