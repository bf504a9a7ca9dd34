//! Listening sockets.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// A listening TCP socket that may share its address with those of other shards: the kernel
/// spreads connections over them. `TCP_NODELAY` is set, and accepted sockets inherit it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on the address. Port 0 takes a free one.
    ///
    /// # Errors
    /// Those of `socket`, `setsockopt`, `bind` and `listen`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket_for(address)?;
        for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
            enable(&socket, libc::SOL_SOCKET, option)?;
        }
        enable(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
        bind(&socket, address)?;
        // SAFETY: listen takes no pointers.
        check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// One listener for each of `count` shards, all on the same address and port.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let mut listeners = Vec::with_capacity(count);
        let mut address = address;
        for _ in 0..count {
            let listener = Self::bind(address)?;
            address = listener.address;
            listeners.push(listener);
        }
        Ok(listeners)
    }

    /// The address it listens on, with the port it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket_for(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket takes no pointers.
    let descriptor =
        check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn enable(socket: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an initialised int, and its length is given.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    })?;
    Ok(())
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (address, length) = to_native(address);
    // SAFETY: the address is initialised, and at least `length` bytes long.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(())
}

fn to_native(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all bytes zero is a valid value of this plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match address {
        SocketAddr::V4(address) => {
            let native = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is as large as any address and aligned for it.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(native) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            let native = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: the storage is as large as any address and aligned for it.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(native) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
