//! The log of the operating system, for a service: the journal, syslog, or the event log of Windows.
//!
//! All of them know the time of a record, so it has none of its own. Under systemd stderr is the
//! journal, and a number in angle brackets is the priority of the line (sd-daemon(3)). macOS leads
//! syslog into its unified log.

use std::io::{self, IsTerminal};

use crate::format::Level;

/// Where the records of a service go on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// stderr, with priorities.
    Journal,
    /// stderr, as for anybody: somebody tries the service by hand.
    Terminal,
    /// syslog(3), or the event log.
    Log,
}

// === impl System ===

impl System {
    pub(crate) fn find() -> Self {
        if stderr_is_journal() {
            return Self::Journal;
        }
        if io::stderr().is_terminal() {
            return Self::Terminal;
        }
        open();
        Self::Log
    }
}

/// Priorities of syslog(3).
pub(crate) fn priority(level: Level) -> u8 {
    match level {
        Level::Debug => 7,
        Level::Info => 6,
        Level::Warn => 4,
        Level::Error => 3,
        Level::Crit => 2,
    }
}

/// systemd names the device and inode of the stream that it connected to the journal.
#[cfg(unix)]
fn stderr_is_journal() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stream = io::stderr().as_fd().try_clone_to_owned();
    let found = stream.and_then(|stream| std::fs::File::from(stream).metadata());
    found.is_ok_and(|meta| named == format!("{}:{}", meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn stderr_is_journal() -> bool {
    false
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn open() {
    // SAFETY: the name is a constant, so it lives for as long as syslog(3) keeps the pointer.
    unsafe { libc::openlog(c"portway".as_ptr(), libc::LOG_PID, libc::LOG_DAEMON) };
}

/// Hands one record to the operating system.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn write(level: Level, line: &str) -> io::Result<()> {
    let text = std::ffi::CString::new(line.replace('\0', "\u{fffd}"))?;
    // SAFETY: both are C strings that outlive the call, and the format takes exactly one string.
    unsafe { libc::syslog(i32::from(priority(level)), c"%s".as_ptr(), text.as_ptr()) };
    Ok(())
}

#[cfg(windows)]
fn open() {}

/// Hands one record to the event log, under the name of the service; ids are those of the levels.
#[cfg(windows)]
#[allow(unsafe_code)]
pub(crate) fn write(level: Level, line: &str) -> io::Result<()> {
    use std::ptr::{null, null_mut};
    use std::sync::atomic::{AtomicPtr, Ordering};

    type Handle = *mut std::ffi::c_void;
    #[link(name = "advapi32")]
    unsafe extern "system" {
        fn RegisterEventSourceW(server: *const u16, source: *const u16) -> Handle;
        fn ReportEventW(
            log: Handle,
            kind: u16,
            category: u16,
            event: u32,
            user: *const std::ffi::c_void,
            strings: u16,
            bytes: u32,
            texts: *const *const u16,
            data: *const std::ffi::c_void,
        ) -> i32;
    }
    static SOURCE: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(null_mut());

    let wide = |text: &str| -> Vec<u16> { text.encode_utf16().chain([0]).collect() };
    let mut source = SOURCE.load(Ordering::Relaxed);
    if source.is_null() {
        let name = wide("portway");
        // SAFETY: no server is this machine; the name ends with zero and outlives the call.
        source = unsafe { RegisterEventSourceW(null(), name.as_ptr()) };
        if source.is_null() {
            return Err(io::Error::last_os_error());
        }
        SOURCE.store(source, Ordering::Relaxed);
    }
    // EVENTLOG_ERROR_TYPE, EVENTLOG_WARNING_TYPE, EVENTLOG_INFORMATION_TYPE.
    let (kind, event) = match level {
        Level::Crit | Level::Error => (1, 1),
        Level::Warn => (2, 2),
        Level::Info | Level::Debug => (4, 3),
    };
    let text = wide(&line.replace('\0', "\u{fffd}"));
    let texts = [text.as_ptr()];
    // SAFETY: the handle came from above and is never closed; one string is announced and one is there,
    // ending with zero; there is no user and no data.
    let done =
        unsafe { ReportEventW(source, kind, 0, event, null(), 1, 0, texts.as_ptr(), null()) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
