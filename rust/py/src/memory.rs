//! Memory of what is over: given back to the system while the process has nothing to do.
//!
//! The allocator keeps what a burst of visitors has used, and the code that only the start needed
//! stays mapped: the interpreter's, that of reading plans and making certificates. Both go once the
//! process was idle for a while, and come back by themselves where they are needed again.

use std::time::Duration;

use tokio::time::sleep;

/// What the start has used is let go of this long after it.
const STARTED: Duration = Duration::from_secs(1);
/// How often it is looked whether the process is idle.
const LOOK: Duration = Duration::from_secs(5);
/// Processor time of an idle process between two looks.
const IDLE: Duration = Duration::from_millis(50);
/// Growth that is worth the trouble, in bytes.
const WORTH: usize = 1 << 20;

/// Gives memory back whenever the process is idle and has grown; never ends.
pub(crate) async fn give_back() {
    sleep(STARTED).await;
    let mut kept = release();
    loop {
        let used = processor_time();
        sleep(LOOK).await;
        if processor_time().saturating_sub(used) < IDLE && resident() > kept + WORTH {
            kept = release();
        }
    }
}

/// Gives back what can be; bytes that stay.
fn release() -> usize {
    trim();
    #[cfg(target_os = "linux")]
    code::forget();
    resident()
}

/// Free heap memory, back to the system.
#[allow(unsafe_code)]
pub(crate) fn trim() {
    // SAFETY: the call takes the allocator's own locks and touches free memory only.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of this process in memory; 0 where it cannot be told.
fn resident() -> usize {
    const PAGE: usize = 4096;
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: usize| pages * PAGE)
}

/// Processor time this process has used, in user and in system mode.
#[cfg(unix)]
#[allow(unsafe_code)]
fn processor_time() -> Duration {
    // SAFETY: all bit patterns are valid for this struct of integers, and the call gets a pointer
    // to one that lives as long as it runs.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    // The width of both fields differs between systems.
    let spent = |time: libc::timeval| {
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    spent(usage.ru_utime) + spent(usage.ru_stime)
}

#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
}

/// Code of this module and of the interpreter, read from their files again when it runs.
#[cfg(target_os = "linux")]
mod code {
    /// A mapping of `/proc/self/smaps`.
    struct Mapping {
        start: usize,
        end: usize,
        /// Readable and executable, not writable; a file's, not shared with others for writing.
        code: bool,
        /// Bytes that differ from the file.
        changed: usize,
    }

    /// Drops the pages of both from this process; the page cache has them still.
    pub(super) fn forget() {
        let Ok(text) = std::fs::read_to_string("/proc/self/smaps") else {
            return;
        };
        let ours = forget as *const () as usize;
        let python = pyo3::ffi::Py_IsInitialized as *const () as usize;
        for mapping in mappings(&text) {
            let wanted = [ours, python]
                .iter()
                .any(|address| (mapping.start..mapping.end).contains(address));
            if wanted && mapping.code && mapping.changed == 0 {
                drop_pages(&mapping);
            }
        }
    }

    #[allow(unsafe_code)]
    fn drop_pages(mapping: &Mapping) {
        let start = mapping.start as *mut libc::c_void;
        // SAFETY: the range is the executable segment of a library that stays loaded as long as
        // the process lives: it holds this function or the interpreter. It cannot be written to and
        // has no page that differs from its file, so what is dropped reads the same again.
        unsafe {
            libc::madvise(start, mapping.end - mapping.start, libc::MADV_DONTNEED);
        }
    }

    fn mappings(smaps: &str) -> Vec<Mapping> {
        let mut found: Vec<Mapping> = Vec::new();
        for line in smaps.lines() {
            if let Some((mapping, rest)) = heading(line) {
                let code = rest.starts_with("r-xp") && rest.contains('/');
                found.push(Mapping { code, ..mapping });
            } else if let Some(mapping) = found.last_mut()
                && let Some((name, size)) = line.split_once(':')
                && matches!(name, "Private_Dirty" | "Shared_Dirty" | "Anonymous")
            {
                let size = size.trim().trim_end_matches(" kB");
                mapping.changed += size
                    .parse::<usize>()
                    .map_or(usize::MAX >> 8, |kib| kib << 10);
            }
        }
        found
    }

    /// `start-end permissions …`, as each mapping begins.
    fn heading(line: &str) -> Option<(Mapping, &str)> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let mapping = Mapping {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            code: false,
            changed: 0,
        };
        Some((mapping, rest))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn mappings_are_read_with_what_has_changed_in_them() {
            let smaps = "\
7f00-7f10 r-xp 00001000 fe:00 12 /usr/lib/libx.so
Size:                 64 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
7f10-7f20 r-xp 00001000 fe:00 12 /usr/lib/liby.so
Private_Dirty:         4 kB
VmFlags: rd ex mr mw me
7f20-7f30 rw-p 00000000 00:00 0
Private_Dirty:         8 kB
";
            let found: Vec<_> = mappings(smaps)
                .iter()
                .map(|it| (it.start, it.end, it.code, it.changed))
                .collect();
            assert_eq!(
                found,
                [
                    (0x7f00, 0x7f10, true, 0),
                    (0x7f10, 0x7f20, true, 4096),
                    (0x7f20, 0x7f30, false, 8192),
                ]
            );
        }
    }
}
