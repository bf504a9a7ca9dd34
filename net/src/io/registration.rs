//! A ring's own descriptor, registered for the thread that owns it: `enter` need not look it up then.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::IoUring;

const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// The kernel's `io_uring_rsrc_update`.
#[repr(C)]
struct DescriptorUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Registers the ring's own descriptor for this thread. The crate's method forgets the index with
/// the value it was called on, so it is done here.
pub(super) fn register_descriptor(ring: &IoUring) -> io::Result<u32> {
    let data = ring.as_raw_fd() as u64;
    let mut update = DescriptorUpdate { offset: u32::MAX, reserved: 0, data };
    register_call(ring, REGISTER_RING_FDS, &mut update)?;
    Ok(update.offset)
}

/// The other way round.
pub(super) fn unregister_descriptor(ring: &IoUring, index: u32) {
    let mut update = DescriptorUpdate { offset: index, reserved: 0, data: 0 };
    // The kernel does it as well when the thread ends.
    let _ = register_call(ring, UNREGISTER_RING_FDS, &mut update);
}

fn register_call(
    ring: &IoUring,
    operation: libc::c_uint,
    update: &mut DescriptorUpdate,
) -> io::Result<()> {
    let update: *mut DescriptorUpdate = update;
    // SAFETY: the descriptor is the ring's, and the structure is the one that both operations take,
    // writable, and alive during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), operation, update, 1)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
