//! The process's descriptors: the limit on them, read and raised as far as the hard limit lets it, and which
//! another program does not get.

/// The soft limit on descriptors, which also bounds a ring's file table.
#[must_use]
pub fn descriptors_max() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a writable structure of the right type.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX)
}

/// Raises the soft limit on descriptors to `needed`, if it is lower and the hard limit lets it.
pub fn descriptors_raise(needed: u32) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a writable structure of the right type.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if limit.rlim_cur < libc::rlim_t::from(needed) {
        limit.rlim_cur = limit.rlim_max.min(libc::rlim_t::from(needed));
        // SAFETY: the pointer is to an initialised structure. A failure shows when a table of that
        // size is asked for.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Descriptors from this one on are closed when the process becomes another program.
///
/// # Errors
/// That of `close_range`.
pub fn descriptors_close_at_exec(first: u32) -> std::io::Result<()> {
    // SAFETY: the call takes no pointers, and closes nothing now.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
