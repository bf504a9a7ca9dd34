//! The process's limit on descriptors: read, and raised as far as the hard limit lets it.

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
