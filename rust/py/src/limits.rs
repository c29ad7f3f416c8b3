//! Open files: as many as the system lets this process have.

/// Raises the limit to the hard one; how many files may be open then.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn raise_open_files() -> usize {
    /// More is never used, and some systems say "infinite".
    const MOST: libc::rlim_t = 1 << 20;
    let mut limit = libc::rlimit {
        rlim_cur: 1024,
        rlim_max: 1024,
    };
    // SAFETY: both calls get a pointer to a valid `rlimit` that lives as long as they run.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            let wanted = libc::rlimit {
                rlim_cur: limit.rlim_max.min(MOST).max(limit.rlim_cur),
                rlim_max: limit.rlim_max,
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) == 0 {
                limit = wanted;
            }
        }
    }
    usize::try_from(limit.rlim_cur.min(MOST)).unwrap_or(1024)
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> usize {
    8192
}
