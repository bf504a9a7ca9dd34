//! Where the kernel writes the addresses of those who connect: one place for each accept that may
//! be under way.

use std::cell::UnsafeCell;
use std::mem;
use std::net::IpAddr;

/// Most accepts under way at a time: how many connections are taken in between two looks at the
/// ring. More only wait in the listener's queue for so long.
pub const ACCEPTS_MAX: u32 = 64;

struct Place {
    address: UnsafeCell<libc::sockaddr_storage>,
    length: UnsafeCell<libc::socklen_t>,
}

/// The places, by the number of the accept.
pub(super) struct AcceptPlaces {
    places: Box<[Place]>,
    /// Bit per place: the kernel may write there.
    under_way: u64,
}

const _: () = assert!(ACCEPTS_MAX <= u64::BITS);

impl AcceptPlaces {
    pub(super) fn new() -> Self {
        let place = |_| Place {
            // SAFETY: all bytes zero is a valid value of this plain structure.
            address: UnsafeCell::new(unsafe { mem::zeroed() }),
            length: UnsafeCell::new(0),
        };
        Self { places: (0..ACCEPTS_MAX).map(place).collect(), under_way: 0 }
    }

    /// Where the kernel is to write, from now until that accept has completed.
    ///
    /// # Panics
    /// When it is under way already.
    pub(super) fn begin(&mut self, accept: u32) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        assert!(!self.is_under_way(accept), "accept {accept} is under way");
        self.under_way |= 1 << accept;
        let Place { address, length } = &self.places[accept as usize];
        // SAFETY: no accept of this number was under way, so nobody else reads or writes it.
        unsafe { *length.get() = size_of::<libc::sockaddr_storage>() as libc::socklen_t };
        (address.get().cast(), length.get())
    }

    fn is_under_way(&self, accept: u32) -> bool {
        self.under_way & 1 << accept != 0
    }

    /// The accept of this number has completed.
    pub(super) fn end(&mut self, accept: u32) {
        self.under_way &= !(1 << accept);
    }

    /// Who connected by the accept of this number, which has completed; none for a Unix socket.
    ///
    /// # Panics
    /// When it is under way.
    pub(super) fn peer(&self, accept: u32) -> Option<IpAddr> {
        assert!(!self.is_under_way(accept), "accept {accept} is under way");
        // SAFETY: the accept has completed, so the kernel writes no more.
        let storage = unsafe { *self.places[accept as usize].address.get() };
        match libc::c_int::from(storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: of this family it is this structure, and the storage is larger and
                // aligned for it.
                let native = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
                Some(IpAddr::from(native.sin_addr.s_addr.to_ne_bytes()))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let native = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
                Some(IpAddr::from(native.sin6_addr.s6_addr))
            }
            _ => None,
        }
    }
}
